"""A study in words: the answer in a sentence, what was asked, what the numbers rest on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.prices import price_of
from reports.calibration import Group
from reports.numbers import number, whole
from reports.study import Best, Factor, Gain, Measure, Mixture, Reason, better_first
from silicost.studies.crossovers import ever_pays
from silicost.studies.mixed import Mixed
from silicost.studies.page_points import words_of
from silicost.studies.study import Study
from simulator.explore import reading
from simulator.explore.space import Axis, Range

SEARCHED: Final = "A search chose the points, more of them where they are good: this is of what it looked at."
"""What is to be known of figures over many points of a search."""
_MOST_VALUES: Final = 200
"""Values of an axis that are listed."""


def answer_of(
    metrics: Sequence[Measure], best: Sequence[Best | None], gains: Sequence[Gain], factors: Sequence[Factor],
    reasons: Sequence[Reason],
) -> str:  # fmt: skip
    """The answer to a study in a sentence: the best point by the first metric, and what the first axis does to it."""
    if not metrics or best[0] is None:
        why = f": most of them because of {reasons[0].code} ({reasons[0].example})" if reasons else ""
        return f"No point is feasible{why}." if reasons else "No point has an answer."
    first, top = metrics[0], best[0]
    most = "highest" if first.better == "higher" else "lowest"
    said = f"The {most} {_inside(first.title)} is {first.text(top.value)}"
    if top.configuration:
        said += f", with {', '.join(f'{name} {value}' for name, value in top.configuration)}"
    return f"{said}{_against(first, top, gains, factors)}."


def _against(first: Measure, top: Best, gains: Sequence[Gain], factors: Sequence[Factor]) -> str:
    """What the first factor does: the level of the best point beside the first level; where that is the best, the last
    number, or the name that comes nearest."""
    known = [gain for gain in gains[1:] if math.isfinite(gain.ratios[0].median)]
    if not known:
        return ""
    own = next((gain for gain in gains if gain.best is not None and gain.best.value == top.value), gains[0])
    ratios = [gain.ratios[0].median for gain in known]
    other = known[-1] if factors[0].places else known[better_first(first, ratios)[0]]
    level = own if own in known else other
    count = level.ratios[0].pairs
    pairs = "two points that differ" if count == 1 else f"median of {whole(count)} pairs of points that differ"
    said = f"{factors[0].name} {level.level} has {number(level.ratios[0].median)}× that of {gains[0].level}"
    return f"; like for like, {said} ({pairs} in nothing else)"


def mixture_answer(metrics: Sequence[Measure], mixtures: Sequence[Mixture]) -> str:
    """In which metrics a mixture is better than every alternative, at which values of the other axes, and in which it
    never is; the figure says where and why. "" of other studies."""
    if not mixtures:
        return ""
    axis, pays, never = mixtures[0].axis.name, list[str](), list[str]()
    for place, contest in enumerate(mixtures[0].contests):
        measure = metrics[contest.measure]
        title = _inside(measure.title)
        where = [mixture for mixture in mixtures if ever_pays(mixture.contests[place].curves, measure)]
        # Of one mixture, or of all, the other axes decide nothing.
        others = "" if len(where) == len(mixtures) else " or ".join(
            ", ".join(f"{name} {value}" for name, value in mixture.others) for mixture in where
        )  # fmt: skip
        if where:
            pays.append(f"{title} ({others})" if others else title)
        else:
            never.append(title)
    said = f"The mixture is the best somewhere along {axis} in {_listed(pays)}." if pays else ""
    nowhere = "It never is" if pays else f"The mixture is nowhere along {axis} the best"
    return f"{said} {nowhere} in {_listed(never)}.".strip() if never else said


def _listed(words: Sequence[str]) -> str:
    """Words as a list in a sentence."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _inside(title: str) -> str:
    """A title inside a sentence."""
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


def asked_of(asked: Study) -> tuple[Group, ...]:
    """What all points share, what they differ by, which there are, and at which prices."""
    axes = [_axis_words(axis) for axis in asked.space.axes]
    points = [_chosen(asked)]
    points += [("condition", condition.text) for condition in asked.space.conditions]
    points += [("constraint", f"{each.metric} {each.op} {each.bound:g}") for each in asked.constraints]
    points.append(("answered by", "a simulation each" if asked.engine or asked.trains else "closed form"))
    fixed = [(name, words_of(value)) for name, value in asked.fixed.items()]
    groups = [
        Group("all points share", tuple(fixed)), Group("axes", tuple(axes)), Group("points", tuple(points)),
        Group("alternatives", tuple(_alternatives(asked))), Group("prices", tuple(_prices(asked))),
    ]  # fmt: skip
    return tuple(group for group in groups if group.rows)


def _chosen(asked: Study) -> tuple[str, str]:
    """How the points were chosen."""
    sample, search = asked.sample, asked.search
    if search is not None:
        return "search", f"{search.method}, at most {whole(search.evaluations)} evaluations, seed {search.seed}"
    if sample.n is None:
        return "sample", sample.kind
    return "sample", f"{sample.kind}, {whole(sample.n)} points, seed {sample.seed}"


def _axis_words(axis: Axis | Range) -> tuple[str, str]:
    if isinstance(axis, Range):
        ends = f"{words_of(axis.low, axis.unit)} to {words_of(axis.high, axis.unit)}"
        return axis.name, f"{ends}{', equal ratios equally likely' if axis.log else ''}"
    choices = [", ".join(map(words_of, choice)) for choice in axis.values[:_MOST_VALUES]]
    said = ", ".join(choices) if len(axis.names) == 1 else "; ".join(choices)
    left = len(axis.values) - len(choices)
    return ", ".join(axis.names), f"{said} and {whole(left)} more" if left else said


def _prices(asked: Study) -> list[tuple[str, str]]:
    """What an hour of each device costs where no price was given, of studies with a metric in dollars."""
    if not any("usd" in name for name in asked.metrics) or "price" in {*asked.fixed, *asked.space.names}:
        return []
    devices = [asked.fixed.get("device", "")] if asked.mixed is None else list(_devices(asked.mixed))
    for axis in asked.space.axes:
        if isinstance(axis, Axis) and "device" in axis.names:
            devices = [choice[axis.names.index("device")] for choice in axis.values]
    return [(str(device), price_words(str(device))) for device in dict.fromkeys(devices) if device]


def _alternatives(asked: Study) -> list[tuple[str, str]]:
    """The devices of each alternative, of a study of a mixture."""
    if asked.mixed is None:
        return []
    return [
        (each.name, " + ".join(f"{count} × {device}" if count > 1 else device for device, count in each.devices))
        for each in asked.mixed.alternatives
    ]


def _devices(mixed: Mixed) -> dict[str, None]:
    """Devices of all alternatives, each once."""
    return dict.fromkeys(device for each in mixed.alternatives for device, _ in each.devices)


def price_words(device: str) -> str:
    """The price of a device in words."""
    try:
        found, bought = price_of(device), load_device(device).price.purchase
    except InputError:
        return "not known"
    if found is not None:
        return f"{found.usd_per_s.text}, {f'{found.provider} {found.kind}'.strip()}"
    return "none known" if bought is None else f"{bought.text} to buy, over three years of use without pause"


def _counted(count: int, what: str) -> str:
    return f"{whole(count)} {what}{'' if count == 1 else 's'}"


def provenance_of(stored: reading.Study, command: str) -> tuple[Group, ...]:
    """What the numbers of a study rest on, and the command that asked for them."""
    manifest = stored.manifest
    definition = manifest.definition
    calibrations = definition.facts.get("calibrations", ())
    own = ", ".join(calibrations) if isinstance(calibrations, tuple) else calibrations
    points = f"{whole(manifest.points)} of {whole(definition.points)} in {_counted(len(manifest.parts), 'part')}"
    run = [("command", command), ("folder", str(stored.folder)), ("begun", manifest.created), ("points", points)]
    run += [("given up", f"{each.start} to {each.stop - 1}: {each.reason}") for each in manifest.given_up]
    hashes = [
        ("laws", str(definition.facts.get("laws", ""))), ("specs and questions", definition.evaluator),
        ("axes", definition.space), ("sampler", definition.sampler.replace(" None", "")),
        ("seed", str(definition.seed)), ("calibrations", own or "those that come with silicost"),
    ]  # fmt: skip
    return (
        Group("run", tuple(row for row in run if row[1])),
        Group("versions", tuple(manifest.versions.items())),
        Group("what the numbers depend on", tuple(row for row in hashes if row[1])),
    )
