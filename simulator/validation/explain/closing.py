"""The value of a number at which the prediction meets the measurement: a bracketed root find, from the present value
outwards, so that the smallest change is found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Final, NamedTuple

from scipy.optimize import brentq

from hardware_specs.errors import InputError
from simulator.validation.explain.cases import Case
from simulator.validation.explain.setup import Candidate, changed

CLOSED: Final = 1e-3
"""|ln(predicted / measured)| below which a gap is closed."""
NO_EFFECT: Final = 1e-4
"""A number that moves ln(predicted) by less, anywhere in its range, has no effect."""
DOUBTFUL: Final = 3.0
"""A change of more standard deviations explains nothing."""
_STEPS: Final = (0.2, 0.8, 2.6, 8.0, 11.5)
"""Distances from the present value that are looked at, on the scale of logarithms; the last is a factor of 1e5."""
_BEYOND: Final = 10.0
"""How far beyond its physical range a number is followed, to say what would be needed."""

Gap = Callable[[float], float]


class Closing(NamedTuple):
    """What a candidate does about a gap.

    Args:
        needed: the value at which prediction and measurement meet; None where there is none.
        nearest: the value in the physical range that comes closest, and ``left`` what it leaves of the gap,
            ln(predicted / measured).
        size: the change to ``needed``, else to ``nearest``, in standard deviations.
    """

    candidate: Candidate
    needed: float | None
    nearest: float
    left: float
    size: float

    @property
    def in_range(self) -> bool:
        """Whether the needed value is physical."""
        return self.needed is not None and self.candidate.allows(self.needed)

    @property
    def rank(self) -> tuple[int, float]:
        """The smallest change that closes the gap first, those outside the range next, then what comes closest."""
        if self.needed is None:
            return (2, abs(self.left))
        return (0 if self.in_range else 1, self.size)


def gap_of(case: Case, candidate: Candidate, target_s: float) -> Gap:
    """ln(predicted / measured) by the value of a candidate; NaN where no such number can be."""
    known: dict[float, float] = {}

    def gap(value: float) -> float:
        if value not in known:
            try:
                known[value] = math.log(case.seconds(changed(case.setup, candidate, value)) / target_s)
            except InputError:
                known[value] = math.nan
        return known[value]

    return gap


def closing_of(case: Case, candidate: Candidate, target_s: float) -> Closing | None:
    """What ``candidate`` does about the gap between ``case`` and the measured time [s]; None where it has no effect."""
    gap = gap_of(case, candidate, target_s)
    down, up = _outwards(candidate, -1.0), _outwards(candidate, 1.0)
    start = _start(candidate)
    here = gap(start)
    down, up = ([] if _is_flat(gap, here, _allowed(candidate, side)) else side for side in (down, up))
    if math.isnan(here) or not (down or up):
        return None
    roots = [root for side in (down, up) if (root := _root(gap, [start, *side])) is not None]
    needed = min(roots, key=candidate.size, default=None)
    if needed is not None and candidate.allows(needed):
        return Closing(candidate, needed, needed, gap(needed), candidate.size(needed))
    inside = (start, *_allowed(candidate, down), *_allowed(candidate, up))
    nearest = min((value for value in inside if not math.isnan(gap(value))), key=lambda value: abs(gap(value)))
    return Closing(candidate, needed, nearest, gap(nearest), candidate.size(nearest if needed is None else needed))


def _is_flat(gap: Gap, here: float, side: list[float]) -> bool:
    """Whether going to the end of ``side`` changes nothing; the last value that can be counts."""
    end = next((gap(value) for value in reversed(side) if not math.isnan(gap(value))), here)
    return abs(end - here) < NO_EFFECT


def _start(candidate: Candidate) -> float:
    """The present value, or a negligible one where that is zero."""
    return candidate.now or math.exp(candidate.place(0.0)) * 1e-3


def _allowed(candidate: Candidate, values: list[float]) -> list[float]:
    return [value for value in values if candidate.allows(value)]


def _outwards(candidate: Candidate, way: float) -> list[float]:
    """Values from the present one down (-1) or up (1), the end of the physical range among them."""
    start, low, high = _start(candidate), candidate.low, candidate.high
    ends = (low or start * 1e-5, high if math.isfinite(high) else start * 1e5)
    end = ends[0] if way < 0.0 else ends[1]
    ends_somewhere = low > 0.0 if way < 0.0 else math.isfinite(high)
    last = end * _BEYOND**way if ends_somewhere else end
    values = [start * math.exp(way * step) for step in _STEPS]
    inner = [value for value in values if way * (last - value) > 0.0]
    return sorted({*inner, *([end] if way * (end - start) > 0.0 else []), last}, reverse=way < 0.0)


def _at(gap: Gap, known: Mapping[float, float]) -> Gap:
    """``gap`` by the logarithm of the value, where it is not ``known``."""
    return lambda place: known[place] if place in known else gap(math.exp(place))


def _root(gap: Gap, values: list[float]) -> float | None:
    """Where ``gap`` crosses zero first along ``values``; None where it does not, or jumps over it."""
    for before, value in pairwise(values):
        one, other = gap(before), gap(value)
        if math.isnan(one) or math.isnan(other):
            return None
        if one == 0.0 or one * other < 0.0:
            root = before
            if one:
                # exp(log(x)) is not x to the last bit, and across it the gap may jump.
                ends = {math.log(before): one, math.log(value): other}
                root = math.exp(brentq(_at(gap, ends), *ends, xtol=1e-7))
            return root if abs(gap(root)) < CLOSED else None
    return None
