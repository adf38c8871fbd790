"""Where a mixture pays: the mixture beside each alternative along an axis of numbers, from the rows of a study.

Between two neighbours of the axis where the better one changes, the crossing lies where the ratio of the two values,
a straight line in logarithms of both, is 1. What changes twice between two neighbours is missed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any, Final

import numpy as np
import pandas as pd

from reports.numbers import number
from reports.study import Contest, Crossing, Curve, Factor, Measure, Mixture, measure_of
from silicost.studies.mixed import ALTERNATIVE, Mixed
from silicost.studies.study import Study, better_of
from simulator.explore import reading
from simulator.explore.columns import text_of
from simulator.explore.space import Axis

SHARES: Final = ("waiting_share", "transfer_share")
"""Columns that say why, and are no contests."""
_OWN: Final = {
    "s": "its own devices are slower at this work", "j": "its own devices draw more for this work",
    "usd": "its own devices are dearer for this work",
}  # fmt: skip
"""Why it does not pay where no share says so, by the dimension of the metric."""
_SAME: Final = 0.005
"""Logarithm of a ratio below which two are called the same."""
_NOTABLE: Final = 0.1
"""Shares from which on they are a reason."""


def mixtures_of(asked: Study, frame: pd.DataFrame, measures: Sequence[Measure]) -> tuple[Mixture, ...]:
    """The contests of a study of mixtures along its first axis of numbers; () of any other study.

    Args:
        frame: all rows, with axes, metrics and ``feasible``.
    """
    axes = [axis for axis in asked.space.axes if isinstance(axis, Axis) and axis.names != (ALTERNATIVE,)]
    if asked.mixed is None or not axes:
        return ()
    along, others = axes[0].names[0], axes[1:]
    places = sorted({float(choice[0]) for choice in axes[0].values})
    factor = Factor(along, tuple(plain(place) for place in places), tuple(places))
    found = []
    for choices in product(*(axis.values for axis in others)):
        own = {name: value for axis, choice in zip(others, choices, strict=True)
               for name, value in zip(axis.names, choice, strict=True)}  # fmt: skip
        kept = frame
        for name, value in own.items():
            column = kept[name].to_numpy(float) if isinstance(value, (int, float)) else kept[name].astype(str)
            kept = kept[column == value]
        contests = tuple(
            contest_of(asked.mixed, kept, along, places, number_of, measure)
            for number_of, measure in enumerate(measures)
            if measure.name not in SHARES
        )
        found.append(Mixture(factor, tuple((name, text_of(value)) for name, value in own.items()), contests))
    return tuple(found)


def contest_of(
    mixed: Mixed, frame: pd.DataFrame, along: str, places: Sequence[float], which: int, measure: Measure
) -> Contest:
    """One metric of the mixture beside that of all others.

    Args:
        places: where the rows lie on the axis ``along``.
        which: the place of ``measure`` among those of the study.
    """
    curves = tuple(Curve(each.name, _values(frame, each.name, along, places, measure.name))
                   for each in mixed.alternatives)  # fmt: skip
    crossings = tuple(
        sorted((c for other in curves[1:] for c in crossings_of(places, curves[0], other, measure)), key=lambda c: c.at)
    )
    shares = {name: _values(frame, curves[0].name, along, places, name) for name in SHARES if name in frame}
    against = tuple((other.name, against_of(along, places, curves[0], other, measure)) for other in curves[1:])
    return Contest(which, curves, crossings, verdict_of(along, places, curves, measure, shares), against)


def crossings_of(places: Sequence[float], mixture: Curve, other: Curve, measure: Measure) -> list[Crossing]:
    """Where the better of two alternatives changes, among neighbours at which both are feasible."""
    gaps = [_gap(a, b, measure) for a, b in zip(mixture.values, other.values, strict=True)]
    found = []
    known = [(at, gap) for at, gap in zip(places, gaps, strict=True) if math.isfinite(gap)]
    for (low, before), (high, after) in pairwise(known):
        if (before > 0.0) != (after > 0.0):
            share = before / (before - after)
            at = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
            found.append(Crossing(other.name, low, high, at, after < 0.0))
    return found


def plain(value: float) -> str:
    """A value of the axis in words."""
    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:,.6g}"


def _gap(mixture: float, other: float, measure: Measure) -> float:
    """Logarithm of how many times worse the mixture is; NaN where it cannot be said."""
    if not (mixture > 0.0 and other > 0.0):
        return math.nan
    return math.log(mixture / other) * (-1.0 if measure.better == "higher" else 1.0)


def verdict_of(
    along: str, places: Sequence[float], curves: Sequence[Curve], measure: Measure,
    shares: dict[str, tuple[float, ...]],
) -> str:  # fmt: skip
    """Where the mixture is the best of all, where it is not, and why, in one or two sentences."""
    mixture, others = curves[0], curves[1:]
    rivals = [_rival(others, place, measure) for place in range(len(places))]
    gaps = [_state(mixture.values[i], rivals[i], measure) for i in range(len(places))]
    pays = [gap < 0.0 for gap in gaps]
    if not any(math.isfinite(value) for value in mixture.values):
        return "The mixture is not feasible anywhere."
    if not any(pays):
        known = [(gap, i) for i, gap in enumerate(gaps) if math.isfinite(gap)]
        least, most = min(known)[1], max(known)[1]
        said = f"It does not pay anywhere: {_beside(gaps, rivals, places, along, least)}"
        if number(math.exp(gaps[least])) != number(math.exp(gaps[most])):
            said += f", {_beside(gaps, rivals, places, along, most)}"
        return f"{said}{_why(shares, most, measure)}."
    best = min((gap, i) for i, gap in enumerate(gaps) if pays[i])[1]
    said = f"It pays {_stretches(along, places, pays)}: {_best(gaps, rivals, places, along, best)}"
    if all(pays[i] or math.isnan(gaps[i]) for i in range(len(places))):
        return f"{said}."
    worst = max((gap, i) for i, gap in enumerate(gaps) if math.isfinite(gap) and not pays[i])[1]
    return f"{said}. Elsewhere not: {_beside(gaps, rivals, places, along, worst)}{_why(shares, worst, measure)}."


def ever_pays(curves: Sequence[Curve], measure: Measure) -> bool:
    """Whether the first of ``curves``, the mixture, is somewhere better than all others."""
    mixture, others = curves[0], curves[1:]
    return any(_state(value, _rival(others, i, measure), measure) < 0.0 for i, value in enumerate(mixture.values))


def against_of(along: str, places: Sequence[float], mixture: Curve, other: Curve, measure: Measure) -> str:
    """How the mixture does against one of the others: where it is better, and by which factors."""
    pairs = zip(mixture.values, other.values, strict=True)
    gaps = [_state(one, (two, other.name), measure) for one, two in pairs]
    ratios = [math.exp(-gap) for gap in gaps if math.isfinite(gap)]
    if not ratios:
        return "never both feasible"
    spread = f"{number(min(ratios))}× to {number(max(ratios))}×" if len(ratios) > 1 else f"{number(ratios[0])}×"
    pays = [gap < 0.0 for gap in gaps]
    if all(abs(gap) < _SAME for gap in gaps if not math.isnan(gap)):
        return "the same within half a percent"
    if not any(pays):
        return f"worse everywhere ({spread})"
    alone = [gap == -math.inf for gap in gaps]
    # Where it is better only as the other cannot be run, the factors say the contrary of "better".
    if pays == alone:
        return f"worse where both are feasible ({spread}); {other.name} is not {_stretches(along, places, alone)}"
    lost = f"; {other.name} is not feasible {_stretches(along, places, alone)}" if any(alone) else ""
    return f"better {_stretches(along, places, pays)} ({spread}{lost})"


def _rival(others: Sequence[Curve], place: int, measure: Measure) -> tuple[float, str]:
    """The best of the others at a place; NaN where none is feasible."""
    sign = -1.0 if measure.better == "higher" else 1.0
    known = [(sign * each.values[place], each.name) for each in others if math.isfinite(each.values[place])]
    return (sign * min(known)[0], min(known)[1]) if known else (math.nan, "")


def _state(mixture: float, rival: tuple[float, str], measure: Measure) -> float:
    """Logarithm of how many times worse the mixture is than the best other; -inf where it alone is feasible, inf where
    it is not, NaN where nothing is."""
    if math.isnan(mixture):
        return math.nan if math.isnan(rival[0]) else math.inf
    return -math.inf if math.isnan(rival[0]) else _gap(mixture, rival[0], measure)


def _stretches(along: str, places: Sequence[float], pays: Sequence[bool]) -> str:
    """Where it pays, in words."""
    if all(pays):
        return "everywhere"
    found, start = [], None
    for i, (place, yes) in enumerate(zip(places, [*pays, False], strict=False)):
        start = place if yes and start is None else start
        if start is not None and (not yes or i == len(places) - 1):
            last = place if yes else places[i - 1]
            found.append(f"at {plain(start)}" if start == last else f"from {plain(start)} to {plain(last)}")
            start = None
    return f"in {along} {' and '.join(found)}"


def _best(
    gaps: Sequence[float], rivals: Sequence[tuple[float, str]], places: Sequence[float], along: str, i: int
) -> str:
    at = f"at {along} {plain(places[i])}"
    if math.isinf(gaps[i]):
        return f"{at} nothing else is feasible"
    return f"{at} it is {number(math.exp(-gaps[i]))}× as good as the next best, {rivals[i][1]}"


def _beside(
    gaps: Sequence[float], rivals: Sequence[tuple[float, str]], places: Sequence[float], along: str, i: int
) -> str:
    at = f"at {along} {plain(places[i])}"
    if math.isinf(gaps[i]):
        return f"{at} it is not feasible"
    return f"{at} {rivals[i][1]} is {number(math.exp(gaps[i]))}× as good"


def _why(shares: dict[str, tuple[float, ...]], i: int, measure: Measure) -> str:
    """What keeps the mixture back at a place, as far as its shares say."""
    found = []
    waits, moves = (shares.get(name, (math.nan,) * (i + 1))[i] for name in SHARES)
    if "usd" in measure.name and waits >= _NOTABLE:
        found.append(f"{waits:.0%} of what the mixture pays is for devices that wait")
    if measure.dimension == "j" and waits >= _NOTABLE:
        found.append(f"devices that wait ({waits:.0%} of the price) still draw power")
    if measure.dimension == "s" and moves >= _NOTABLE:
        found.append(f"transfers between its pools run {moves:.0%} of the time")
    return f"; {' and '.join(found)}" if found else f"; {_OWN.get(measure.dimension, 'its own devices do it worse')}"


def _values(frame: pd.DataFrame, name: str, along: str, places: Sequence[float], metric: str) -> tuple[float, ...]:
    """A metric of one alternative at all places; NaN where it is not feasible."""
    own = frame[frame[ALTERNATIVE].astype(str) == name]
    feasible = own["feasible"].to_numpy(bool)
    known = dict(zip(own[along].to_numpy(float)[feasible], own[metric].to_numpy(float)[feasible], strict=True))
    return tuple(float(known.get(place, np.nan)) for place in places)


def contests_of(asked: Study, stored: reading.Study) -> list[dict[str, Any]]:
    """The contests of a study that is done, for programs.

    Raises:
        InputError: a part is missing or damaged.
    """
    known = {info.name for info in stored.manifest.columns}
    measures = tuple(measure_of(name, better_of(name)) for name in asked.metrics if name in known)
    axes = [info.name for info in stored.manifest.columns if info.axis]
    frame = stored.to_pandas([*axes, *(measure.name for measure in measures), "feasible"])
    return as_json(mixtures_of(asked, frame, measures), measures)


def as_json(mixtures: Sequence[Mixture], measures: Sequence[Measure]) -> list[dict[str, Any]]:
    """The contests for programs."""
    return [
        {
            "axis": each.axis.name, "others": dict(each.others),
            "contests": [
                {
                    "metric": measures[contest.measure].name, "verdict": contest.verdict,
                    "against": dict(contest.against),
                    "crossings": [crossing._asdict() for crossing in contest.crossings],
                }
                for contest in each.contests
            ],
        }
        for each in mixtures
    ]  # fmt: skip
