"""Where along a number something changes: states at points, and the ends of their stretches found by bisection.

Whole numbers that are not more than ``MOST_SCANNED`` are all looked at: then nothing is missed. Of others as many
points at equal ratios are, and between two that differ the end is found by bisection, down to neighbours for whole
numbers. What changes twice between two points that look alike is missed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Final, NamedTuple

MOST_SCANNED: Final = 65
"""Points at which a state is looked at before bisection."""
TOLERANCE: Final = 1e-9
"""Relative width to which the end of a stretch of real numbers is found."""


class Stretch(NamedTuple):
    """A stretch of numbers of one state: the first and the last that was seen in it."""

    low: float
    high: float
    state: str


class Scan(NamedTuple):
    """The stretches of a range, in order; ``exact`` says that every number was looked at."""

    stretches: tuple[Stretch, ...]
    exact: bool

    @property
    def changes(self) -> list[tuple[Stretch, Stretch]]:
        """Neighbouring stretches."""
        return list(pairwise(self.stretches))


def grid(low: float, high: float, step: float = 0.0, points: int = MOST_SCANNED) -> list[float]:
    """Points from ``low`` to ``high``: all multiples of ``step`` if they are few enough, else at equal ratios.

    Raises:
        ValueError: a range that does not go up, or does not begin above 0.
    """
    if not 0.0 < low <= high or not math.isfinite(high):
        raise ValueError(f"no range of positive numbers: {low} to {high}")
    if step:
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first < points:
            return [step * number for number in range(first, last + 1)]
        ratios = (first * (last / first) ** (i / (points - 1)) for i in range(points))
        return [step * number for number in sorted({min(max(round(r), first), last) for r in ratios} | {first, last})]
    if low == high:
        return [low]
    inner = [low * (high / low) ** (i / (points - 1)) for i in range(1, points - 1)]
    return [low, *inner, high]


def scan(state: Callable[[float], str], low: float, high: float, step: float = 0.0, points: int = MOST_SCANNED) -> Scan:
    """The stretches of equal ``state`` between ``low`` and ``high``.

    Args:
        state: in a word; it is asked once at most for each number.
        step: numbers are multiples of it; 0: any.
        points: most points that are looked at first.
    """
    known: dict[float, str] = {}

    def at(x: float) -> str:
        if x not in known:
            known[x] = state(x)
        return known[x]

    places = grid(low, high, step, points)
    for a, b in pairwise(places):
        _bisect(at, a, b, step)
    if len(places) == 1:
        at(places[0])
    stretches: list[Stretch] = []
    for x in sorted(known):
        if stretches and stretches[-1].state == known[x]:
            stretches[-1] = stretches[-1]._replace(high=x)
        else:
            stretches.append(Stretch(x, x, known[x]))
    exact = bool(step) and all(b - a <= step for a, b in pairwise(places))
    return Scan(tuple(stretches), exact)


def _bisect(at: Callable[[float], str], low: float, high: float, step: float) -> None:
    """Ask for states until neighbours that differ are as close as can be told."""
    while at(low) != at(high) and not _close(low, high, step):
        middle = step * round(0.5 * (low + high) / step) if step else math.sqrt(low * high)
        if at(middle) == at(low):
            low = middle
        elif at(middle) == at(high):
            high = middle
        else:
            _bisect(at, low, middle, step)
            low = middle


def _close(low: float, high: float, step: float) -> bool:
    return high - low <= step if step else high - low <= TOLERANCE * high
