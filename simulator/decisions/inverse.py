"""Inverse questions: the least, or the largest, value of a knob for which metrics stay within bounds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from hardware_specs.errors import InputError, UnitError, clipped, nearest
from hardware_specs.units import DIMENSIONS, parse_quantity
from simulator.decisions.scan import MOST_SCANNED, Scan, Stretch, grid, scan
from simulator.metrics import BY_NAME, METRICS

HOLDS: Final = "holds"
NO_MEMORY: Final = "memory"
_BOUND: Final = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*(.+?)\s*")
_PLAIN: Final = re.compile(r"([-+]?[0-9.eE_+-]+?)\s*([A-Za-z/%]*)")
_REVERSAL: Final = 1e-9
"""A metric that turns back by a smaller part of itself does not turn back."""


class Bound(NamedTuple):
    """A metric, "<=" or ">=", and the value that it must keep to [SI unit of the metric]."""

    metric: str
    relation: str
    value: float

    def kept_by(self, value: float | None) -> bool:
        """Whether ``value`` keeps to it."""
        if value is None:
            return False
        return value <= self.value if self.relation == "<=" else value >= self.value

    def gap(self, value: float | None) -> float:
        """How far ``value`` is on the wrong side, as |ln| of a ratio; 0 on the right one, infinite without a value."""
        if self.kept_by(value):
            return 0.0
        return abs(math.log(value / self.value)) if value and self.value > 0.0 else math.inf


class Seen(NamedTuple):
    """What a scenario does at one value of the knob: metrics in the order of the bounds, and whether it fits.

    ``refused`` says why it cannot be asked at all.
    """

    values: tuple[float | None, ...]
    fits: bool
    refused: str = ""


class Reversal(NamedTuple):
    """A metric that turns back: between which values of the knob it does so first."""

    metric: str
    low: float
    high: float


class Answer(NamedTuple):
    """What an inverse question comes to.

    Args:
        kind: "least", "largest", "everywhere" (all of the range will do), "between" (a stretch inside) or "nowhere".
        value: of the knob: the least or largest one that keeps to the bounds, of a stretch inside its low end; None
            where none does.
        binding: the bound that ends the stretch at ``value`` ("memory": it does not fit), else the one missed by most.
        nearest: the value that comes closest, where none does.
        stretches: where all bounds hold, or which is the first that does not.
        reversals: metrics that are not monotone along the knob: there may be stretches that no point saw.
        exact: every value was looked at.
    """

    kind: str
    value: float | None
    binding: str
    nearest: float
    stretches: tuple[Stretch, ...]
    reversals: tuple[Reversal, ...]
    exact: bool


def parse_bound(text: str, place: str = "") -> Bound:
    """The bound that ``text`` states: "tpot_s <= 30 ms".

    Raises:
        InputError: no such text, or an unknown metric with the nearest.
        UnitError: a unit of another dimension than the metric's.
    """
    where = f"{place}: " if place else ""
    match = _BOUND.fullmatch(text)
    if match is None:
        raise InputError(f"{where}{clipped(text)!r}: must be METRIC <= VALUE or METRIC >= VALUE, as 'tpot_s <= 30 ms'")
    name, relation, written = match.groups()
    if name not in BY_NAME:
        close = nearest(name, BY_NAME, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{where}unknown metric {name!r}{hint} (allowed: {', '.join(m.name for m in METRICS)})")
    return Bound(name, relation[0] + "=", _in_unit(written, name, f"{where}{clipped(text)}"))


def _in_unit(text: str, metric: str, place: str) -> float:
    """The value of a bound in the unit of its metric."""
    dimension = BY_NAME[metric].dimension
    if dimension in DIMENSIONS:
        return parse_quantity(text, dimension, place)
    match = _PLAIN.fullmatch(text)
    unit = match[2] if match else ""
    shares = {"": 1.0, "%": 0.01} if dimension == "fraction" else {"": 1.0, dimension: 1.0}
    try:
        number = float(match[1].replace("_", "")) if match else math.nan
    except ValueError:
        number = math.nan
    if unit not in shares or not math.isfinite(number):
        allowed = "0.4 or 40%" if dimension == "fraction" else f"100 or '100 {dimension}'"
        raise UnitError(
            f"{place}: {text!r} is no value of {metric}, which is in {dimension}; write for example {allowed}"
        )
    return number * shares[unit]


def solve(
    ask: Callable[[float], Seen], bounds: Sequence[Bound], low: float, high: float, step: float = 0.0,
    points: int = MOST_SCANNED,
) -> Answer:  # fmt: skip
    """The least or largest number between ``low`` and ``high`` that keeps to all ``bounds`` and fits the memory.

    Args:
        ask: what happens at a number.
        step: numbers are multiples of it; 0: any.
        points: most points that are looked at before bisection.

    Raises:
        InputError: what the question is about cannot be asked at any point of the range.
    """
    known: dict[float, Seen] = {}

    def state(x: float) -> str:
        known[x] = ask(x)
        return state_of(known[x], bounds)

    found = scan(state, low, high, step, points)
    if all(seen.refused for seen in known.values()):
        raise InputError(next(iter(known.values())).refused)
    places = grid(low, high, step, points)
    reversals = tuple(
        reversal for i, bound in enumerate(bounds) if (reversal := _reversal(bound.metric, places, known, i))
    )
    return _answer(found, bounds, known, reversals)


def state_of(seen: Seen, bounds: Sequence[Bound]) -> str:
    """HOLDS, or what does not: memory, "refused", or the metric of the bound that is missed by most."""
    if seen.refused:
        return "refused"
    gaps = [bound.gap(value) for bound, value in zip(bounds, seen.values, strict=True)]
    if max(gaps) > 0.0:
        return bounds[gaps.index(max(gaps))].metric
    return HOLDS if seen.fits else NO_MEMORY


def _answer(found: Scan, bounds: Sequence[Bound], known: dict[float, Seen], reversals: tuple[Reversal, ...]) -> Answer:
    stretches = found.stretches
    good = [i for i, each in enumerate(stretches) if each.state == HOLDS]
    if not good:
        closest = min(known, key=lambda x: (_distance(known[x], bounds), x))
        return Answer("nowhere", None, state_of(known[closest], bounds), closest, stretches, reversals, found.exact)
    first, last = good[0], good[-1]
    if len(stretches) == 1:
        kind, value, binding = "everywhere", stretches[0].low, ""
    elif first == 0:
        end = stretches[1].state
        kind, value, binding = "largest", stretches[0].high, end
    elif last == len(stretches) - 1 and len(good) == 1:
        kind, value, binding = "least", stretches[first].low, stretches[first - 1].state
    else:
        kind, value, binding = "between", stretches[first].low, stretches[first - 1].state
    return Answer(kind, value, binding, value, stretches, reversals, found.exact)


def _distance(seen: Seen, bounds: Sequence[Bound]) -> float:
    """How far a point is from keeping to all bounds; what cannot be asked is the farthest, what does not fit next."""
    if seen.refused:
        return math.inf
    gaps = sum(bound.gap(value) for bound, value in zip(bounds, seen.values, strict=True))
    return gaps + (0.0 if seen.fits else 1e6)


def _reversal(metric: str, places: Sequence[float], known: dict[float, Seen], i: int) -> Reversal | None:
    """Where a metric turns back first."""
    values = [(x, known[x].values[i]) for x in places if not known[x].refused]
    way = 0
    for (x, before), (y, after) in pairwise(values):
        if before is None or after is None or abs(after - before) <= _REVERSAL * max(abs(before), abs(after)):
            continue
        now = 1 if after > before else -1
        if way and now != way:
            return Reversal(metric, x, y)
        way = now
    return None
