"""From the answers to what-ifs to the pages that show them."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from reports.calibration import Headline
from reports.numbers import number, quantity
from reports.palette import in_words
from reports.whatif import (
    Bar,
    Border,
    Bought,
    Budget,
    Curves,
    KnobRow,
    Probability,
    Slope,
    Step,
    Tornado,
    Waterfall,
    WhatIf,
)
from reports.whatif_page import write_whatif
from silicost import __version__
from silicost.questions import Span, labelled
from silicost.whatif_words import (
    bound_in_words,
    gain_percent,
    percent,
    some,
    what_is_required,
    what_to_buy,
    where_they_cross,
    who_is_better,
)
from simulator.decisions.knobs import Knob
from simulator.decisions.sensitivity import largest
from simulator.identity import laws_hash
from simulator.metrics import BY_NAME

if TYPE_CHECKING:
    from simulator.decisions.break_even import BreakEven, Row
    from simulator.decisions.deltas import Delta
    from simulator.decisions.inverse import Answer, Bound, Seen
    from simulator.decisions.purchases import Purchase, Purchases
    from simulator.decisions.sensitivity import Sensitivity, Swing
    from simulator.decisions.superiority import Superiority

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
_LEAST: Final = 5e-4
"""Knobs of smaller elasticity are counted, not listed; swings that are smaller are not drawn."""
_DENSITY_POINTS: Final = 241
_WIDTH: Final = 3.2
"""Standard deviations to either side that a density is drawn over."""
_PER_HOUR: Final = {"usd_per_s": (3600.0, "USD/h"), "usd_per_j": (3.6e6, "USD/kWh"), "g_per_j": (3.6e6, "g/kWh")}
"""Dimensions whose human unit is none of a prefix: drawn as plain numbers in it."""


def write_sensitivity(
    path: str, name: str, values: Mapping[str, float | None], found: Sequence[Sensitivity], swings: Sequence[Swing],
    step: float,
) -> None:  # fmt: skip
    """The page of ``silicost sensitivity``.

    Raises:
        InputError: the place cannot be written.
    """
    felt = [each for each in found if max(map(largest, each.slopes.values()), default=0.0) > _LEAST]
    felt.sort(key=lambda each: (-max(map(largest, each.slopes.values())), each.knob.path))
    cards = tuple(_strongest(metric, value, found) for metric, value in values.items())
    lead = "; ".join(said for metric, value in values.items() if (said := _moves_most(metric, value, found)))
    lead = f"{lead}." if lead else f"No knob of {name} changes {', '.join(values)}."
    how = f"Central differences of the logarithms over a step of {step:g} to either side; whole numbers to neighbours."
    write_page_of(
        path, f"Sensitivity: {name}", lead, cards=cards, metrics=tuple(values),
        knobs=tuple(_knob_row(each) for each in felt), knobs_idle=len(found) - len(felt), notes=(how,),
        tornados=tuple(_tornado(metric, value or math.nan, swings) for metric, value in values.items()),
    )  # fmt: skip


def _moves_most(metric: str, value: float | None, found: Sequence[Sensitivity]) -> str:
    """Which knob a metric follows most, in a line; "" where none."""
    most = max(found, key=lambda each: abs(each.slopes[metric].elasticity or 0.0), default=None)
    slope = most.slopes[metric].elasticity if most is not None else None
    if most is None or not slope or value is None:
        return ""
    now = quantity(value, BY_NAME[metric].dimension)
    return f"{metric} ({now}) follows {most.knob.path} most: {slope:+.2f}% for 1% more of it".replace("-", "\u2212")


def _strongest(metric: str, value: float | None, found: Sequence[Sensitivity]) -> Headline:
    """A card: the metric, and the knobs that move it most."""
    order = sorted(found, key=lambda each: (-abs(each.slopes[metric].elasticity or 0.0), each.knob.path))[:4]
    lines = tuple((each.knob.path, f"{each.slopes[metric].elasticity or 0.0:+.2f}") for each in order)
    figure = quantity(value if value is not None else math.nan, BY_NAME[metric].dimension)
    return Headline(BY_NAME[metric].title, "as it stands", figure, "The knobs that move it most", lines)


def _knob_row(each: Sensitivity) -> KnobRow:
    knob = each.knob
    slopes = tuple(
        Slope(
            _or_nan(slope.elasticity), _or_nan(slope.left), _or_nan(slope.right), slope.shape not in ("smooth", "none")
        )
        for slope in each.slopes.values()
    )
    return KnobRow(knob.path, knob.what, knob.written(knob.value), knob.mark, slopes)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _tornado(metric: str, base: float, swings: Sequence[Swing]) -> Tornado:
    order = sorted(swings, key=lambda swing: (-swing.size(metric, base), swing.knob.path))
    bars = tuple(
        Bar(
            swing.knob.path, swing.knob.written(swing.range.low), swing.knob.written(swing.range.high),
            "; ".join(filter(None, (swing.range.why, swing.reason))), *_ends(swing, metric),
        )
        for swing in order
        if swing.size(metric, base) > _LEAST
    )  # fmt: skip
    return Tornado(metric, BY_NAME[metric].dimension, base, bars)


def _ends(swing: Swing, metric: str) -> tuple[float, float]:
    low, high = swing.low[metric], swing.high[metric]
    return low if low else math.nan, high if high else math.nan


def write_upgrades(path: str, name: str, metric: str, found: Purchases, budget_usd: float) -> None:
    """The page of ``silicost upgrades``; raises as ``write_sensitivity``."""
    dimension = BY_NAME[metric].dimension
    best = found.best
    lines = (
        ("better by", "unknown" if best.gain is None else gain_percent(best.gain)),
        ("cost", quantity(best.cost_usd, "usd")),
        ("budget", quantity(budget_usd, "usd") if math.isfinite(budget_usd) else "none"),
        ("weighed", f"{found.sets:,} sets{'' if found.exact else ', greedily'}"),
    )
    figure = quantity(best.value, dimension) if best.value is not None else "none"
    card = Headline("The best set", BY_NAME[metric].title, figure, " + ".join(best.options) or "nothing", lines)
    budget = Budget(
        metric, dimension, tuple(map(_bought, (each for each in found.singles if each.value is not None))),
        tuple(map(_bought, (each for each in found.frontier if each.value is not None))), _bought(best),
    )  # fmt: skip
    lead = what_to_buy(metric, dimension, found, budget_usd)
    left = tuple(f"{' + '.join(each.options)}: {each.reason}" for each in found.singles if each.reason)
    write_page_of(
        path, f"What to buy: {name}", f"{lead[0].upper()}{lead[1:]}.", cards=(card,), budget=budget, notes=left
    )


def _bought(each: Purchase) -> Bought:
    value = each.value if each.value is not None else math.nan
    return Bought(" + ".join(each.options) or "nothing", each.cost_usd, value)


def write_break_even(
    path: str, names: tuple[str, str], metric: str, span: Span, found: BreakEven,
    second: tuple[str, Knob, list[float]] | None, rows: Sequence[Row],
) -> None:  # fmt: skip
    """The page of ``silicost break-even``; raises as ``write_sensitivity``."""
    scale, dimension, label = axis_of(span.knob, span.label)
    values = [[getattr(sample, side) for sample in found.samples] for side in ("a", "b")]
    marks = tuple(
        (scale * each.at, f"{span.knob.written(each.at)}: {who_is_better(each.after, names)}")
        for each in found.crossovers
    )
    curves = Curves(
        f"{metric} over {label}", label, dimension, metric, BY_NAME[metric].dimension, names,
        scale * np.array([sample.at for sample in found.samples]), _filled(values), marks, math.nan,
    )  # fmt: skip
    lead = where_they_cross(names, metric, span, found)
    border = None
    if second is not None:
        own, own_dimension, own_label = axis_of(second[1], labelled(second[0], second[1]))
        points = tuple(
            (own * row.at, scale * each.at, who_is_better(each.after, names))
            for row in rows
            for each in row.found.crossovers
        )
        border = Border(own_label, own_dimension, label, dimension, points)
    cards = tuple(_side_card(name, side, metric, span, found) for name, side in zip(names, ("a", "b"), strict=True))
    title = f"Break-even: {names[0]} and {names[1]}"
    answer = _stretches(names, metric, span, found)
    write_page_of(
        path, title, answer, cards=cards, curves=(curves,), border=border, notes=(f"{lead[0].upper()}{lead[1:]}.",)
    )


def _stretches(names: tuple[str, str], metric: str, span: Span, found: BreakEven) -> str:
    """Which of two is better where, stretch by stretch."""
    says = {
        "a": f"{names[0]} is better", "b": f"{names[1]} is better", "equal": "they are equal",
        "only a": f"only {names[0]} runs", "only b": f"only {names[1]} runs", "neither": "neither runs",
    }  # fmt: skip
    shown = found.stretches[:4]
    parts = [
        f"{says[each.state]} from {span.knob.written(each.low)} to {span.knob.written(each.high)}" for each in shown
    ]
    more = f" and {len(found.stretches) - len(shown)} more stretches" if len(found.stretches) > len(shown) else ""
    return f"By {metric}, along {span.label}: {', then '.join(parts)}{more}."


def _side_card(name: str, side: str, metric: str, span: Span, found: BreakEven) -> Headline:
    """How often one of two is the better one, and its metric at both ends."""
    from simulator.decisions.break_even import better_of

    states = [better_of(sample.a, sample.b, BY_NAME[metric].better) for sample in found.samples]
    count = sum(state in (side, f"only {side}") for state in states)
    ends = [found.samples[0], found.samples[-1]]
    lines = tuple(
        (f"at {span.knob.written(sample.at)}", "none" if value is None else quantity(value, BY_NAME[metric].dimension))
        for sample in ends
        for value in (getattr(sample, side),)
    )
    return Headline(name, "better at", f"{count} of {len(states)}", "of the points that were looked at", lines)


def axis_of(knob: Knob, label: str) -> tuple[float, str, str]:
    """Factor, dimension and label by which the values of a knob are drawn."""
    if knob.dimension in _PER_HOUR:
        factor, unit = _PER_HOUR[knob.dimension]
        return factor, "", f"{label} [{unit}]"
    return 1.0, "" if knob.dimension == "number" else knob.dimension, label


def _filled(rows: Sequence[Sequence[float | None]]) -> Floats:
    """Values with NaN for none."""
    return np.array([[math.nan if value is None else value for value in row] for row in rows])


def write_requirement(
    path: str, name: str, bounds: Sequence[Bound], span: Span, found: Answer, seen: Mapping[float, Seen]
) -> None:
    """The page of ``silicost require``; raises as ``write_sensitivity``."""
    knob = span.knob
    scale, dimension, label = axis_of(knob, span.label)
    at = sorted(seen)
    marks: tuple[tuple[float, str], ...] = ()
    if found.value is not None:
        marks = ((scale * found.value, f"{found.kind}: {knob.written(found.value, 6)}"),)
    curves = tuple(
        Curves(
            bound_in_words(bound), label, dimension, bound.metric, BY_NAME[bound.metric].dimension,
            (bound.metric,), scale * np.array(at), _filled([[seen[x].values[place] for x in at]]), marks, bound.value,
        )
        for place, bound in enumerate(bounds)
    )  # fmt: skip
    figure = "none" if found.value is None else knob.written(found.value, 5)
    there = seen[found.nearest]
    lines = tuple(
        (BY_NAME[bound.metric].title, "none" if value is None else quantity(value, BY_NAME[bound.metric].dimension))
        for bound, value in zip(bounds, there.values, strict=True)
    )
    card = Headline(knob.path, found.kind, figure, f"What binds: {found.binding or 'nothing'}", lines)
    verdict = what_is_required(bounds, span, found)
    write_page_of(path, f"Requirement: {name}", f"{verdict[0].upper()}{verdict[1:]}.", cards=(card,), curves=curves)


def write_delta(path: str, names: tuple[str, str], found: Delta) -> None:
    """The page of ``silicost delta``; raises as ``write_sensitivity``."""
    metric = BY_NAME[found.metric]
    ends = {"first": (names[0], found.before), "last": (names[1], found.after)}
    facts = tuple(
        Step(some(cause.facts), f"{some(cause.before)} to {some(cause.after)}", cause.in_order)
        for cause in found.causes
    )
    alone = (
        *(Step(step.what, step.hint, cause.alone or 0.0) for step, cause in zip(facts, found.causes, strict=True)),
        Step("their interaction", "what the others leave of the difference", found.interaction),
    )
    pieces = tuple(
        Step(
            f"{in_words('family', piece.family)}, {piece.bound}",
            f"{quantity(piece.before, metric.dimension)} to {quantity(piece.after, metric.dimension)}", piece.delta,
        )
        for piece in found.pieces
        if abs(piece.delta) > 1e-12 * abs(found.before)
    )  # fmt: skip
    falls = [
        ("By operators and what bounds them", pieces),
        ("By what was changed, one after the other", facts),
        ("By what was changed, each alone", alone if facts else ()),
    ]
    waterfalls = tuple(
        Waterfall(
            f"{title}: {metric.title}", metric.dimension, metric.better, ends["first"], _largest(steps), ends["last"]
        )
        for title, steps in falls
    )
    ratio = number(found.after / found.before) if found.before else "none"
    card = Headline(
        metric.title, "times", ratio, f"{names[1]} over {names[0]}",
        tuple((name, quantity(value, metric.dimension)) for name, value in ends.values()),
    )  # fmt: skip
    lead = f"{_better_or_worse(names, found)}."
    note = (f"{found.idle} differences between the two have no effect on it.",) if found.idle else ()
    write_page_of(path, f"From {names[0]} to {names[1]}", lead, cards=(card,), waterfalls=waterfalls, notes=note)


def _better_or_worse(names: tuple[str, str], found: Delta) -> str:
    """By how much the second is better than the first, and the piece that moves most."""
    metric = BY_NAME[found.metric]
    before, after = (quantity(value, metric.dimension) for value in (found.before, found.after))
    ends = f"{before} ({names[0]}) to {after} ({names[1]})"
    if not found.before or found.total == 0.0:
        return f"{found.metric}: {ends}"
    better = (found.total < 0.0) == (metric.better == "lower")
    share = percent(abs(found.total / found.before))
    piece = max(found.pieces, key=lambda each: abs(each.delta), default=None)
    said = ""
    if piece is not None:
        delta = quantity(piece.delta, metric.dimension)
        what = f"{in_words('family', piece.family)}, {piece.bound}"
        said = f"; the largest part: {'+' if piece.delta > 0.0 else ''}{delta} of {what}"
    return f"{found.metric} gets {'better' if better else 'worse'} by {share}: from {ends}{said}"


def _largest(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps that can be seen beside the largest one, and the others as one."""
    most = max((abs(step.amount) for step in steps), default=0.0)
    seen = [step for step in steps if abs(step.amount) > _LEAST * most]
    rest = [step.amount for step in steps if abs(step.amount) <= _LEAST * most]
    return (*seen, Step(f"{len(rest)} smaller ones", "", math.fsum(rest))) if any(rest) else tuple(seen)


def write_chance(path: str, names: tuple[str, str], found: Superiority, inputs: Sequence[tuple[str, str]]) -> None:
    """The page of ``silicost chance``; raises as ``write_sensitivity``."""
    metric = BY_NAME[found.metric]
    chances = [("with everything that is unsure", found.chance)]
    if found.of_inputs is not None:
        chances += [("errors of the predictions alone", found.of_model), ("unsure inputs alone", found.of_inputs)]
    x, density = density_of(found)
    probability = Probability(names, found.metric, x, density, found.chance, tuple(chances)) if len(x) else None
    first = found.chance >= 0.5
    winner, chance = (names[0], found.chance) if first else (names[1], 1.0 - found.chance)
    ratios = sorted(math.exp(value if first else -value) for value in found.ratio)
    low, middle, high = map(number, ratios)
    lines = (
        ("times as good", f"{middle} (80%: {low} to {high})"),
        *((name, quantity(value, metric.dimension)) for name, value in zip(names, found.values, strict=True)),
        ("share of errors of the predictions", percent(found.model_share)),
        ("draws", f"{found.draws:,}, seed {found.seed}"),
    )
    sure = f"Monte Carlo error {percent(found.error)}" if found.error else "in closed form"
    card = Headline(f"{winner} is better", "chance", percent(chance), sure, lines)
    notes = tuple(f"{name}: {shape}." for name, shape in inputs)
    ratio = f"it is {middle} times as good (80%: {low} to {high})"
    lead = f"{winner} is better by {found.metric} with a chance of {percent(chance)}: {ratio}."
    write_page_of(path, f"{names[0]} or {names[1]}?", lead, cards=(card,), probability=probability, notes=notes)


def density_of(found: Superiority) -> tuple[Floats, Floats]:
    """The density of the log ratio: a normal for each draw, as narrow as a tenth of all where errors cancel."""
    if not len(found.gaps):
        return np.empty(0), np.empty(0)
    sd = np.sqrt(found.variances)
    whole = math.sqrt(float(found.gaps.var() + found.variances.mean())) or 0.01
    sd = np.maximum(sd, 0.1 * whole)
    middle = float(found.gaps.mean())
    ends = max(_WIDTH * math.hypot(whole, 0.1 * whole), 1.1 * abs(middle))
    x = np.linspace(middle - ends, middle + ends, _DENSITY_POINTS)
    each = np.exp(-0.5 * ((x[:, None] - found.gaps) / sd) ** 2) / (sd * math.sqrt(2.0 * math.pi))
    return x, np.asarray(each.mean(axis=1))


def write_page_of(path: str, title: str, lead: str, **parts: object) -> None:
    """A page of a what-if; ``parts`` are those of ``WhatIf``.

    Raises:
        InputError: the place cannot be written.
    """
    shown = WhatIf(title, lead, laws_hash=laws_hash(), silicost_version=__version__, **parts)  # type: ignore[arg-type]
    write_whatif(Path(path), shown)
    sys.stderr.write(f"silicost: report: {path}\n")
