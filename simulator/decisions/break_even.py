"""Where of two alternatives the better one changes: crossovers along a number, and their line over a second one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from hardware_specs.errors import InputError
from simulator.decisions.scan import MOST_SCANNED, Scan, Stretch, grid, scan

A: Final = "a"
B: Final = "b"
EQUAL: Final = "equal"
ONLY_A: Final = "only a"
ONLY_B: Final = "only b"
NEITHER: Final = "neither"
_SAME: Final = 1e-12
"""Values whose ratio differs less from 1 are equal."""

Value = Callable[[float], float | None]
"""A metric along a number; None where the alternative cannot be run there."""


class Crossover(NamedTuple):
    """A change of the better alternative.

    Args:
        at: the first number on the far side; of real numbers the middle between the last and the first.
        before, after: which is better: "a", "b", "equal"; "only a", "only b" or "neither" can be run.
    """

    at: float
    before: str
    after: str


class Sample(NamedTuple):
    """Both alternatives at one number."""

    at: float
    a: float | None
    b: float | None


class BreakEven(NamedTuple):
    """Two alternatives along a number.

    Args:
        stretches: which one is better, from where to where.
        crossovers: between them.
        samples: both at points of the range, for a picture.
        exact: every number was looked at; else a pair of crossovers between two points may be missed.
    """

    stretches: tuple[Stretch, ...]
    crossovers: tuple[Crossover, ...]
    samples: tuple[Sample, ...]
    exact: bool


def break_even(
    a: Value, b: Value, better: str, low: float, high: float, step: float = 0.0, points: int = MOST_SCANNED
) -> BreakEven:
    """The crossovers of two alternatives between ``low`` and ``high``.

    Args:
        better: "lower" or "higher".
        step: numbers are multiples of it; 0: any.
        points: most points that are looked at before bisection.
    """
    known: dict[float, tuple[float | None, float | None]] = {}

    def state(x: float) -> str:
        known[x] = (a(x), b(x))
        return better_of(*known[x], better)

    found: Scan = scan(state, low, high, step, points)
    crossovers = tuple(
        Crossover(after.low if step else math.sqrt(before.high * after.low), before.state, after.state)
        for before, after in found.changes
    )
    samples = tuple(Sample(x, *known[x]) for x in grid(low, high, step, points))
    return BreakEven(found.stretches, crossovers, samples, found.exact)


def better_of(a: float | None, b: float | None, better: str) -> str:
    """Which of two values is better."""
    if a is None or b is None:
        return NEITHER if a is None and b is None else ONLY_B if a is None else ONLY_A
    if a == b or abs(a - b) <= _SAME * max(abs(a), abs(b)):
        return EQUAL
    return A if (a < b) == (better == "lower") else B


class Row(NamedTuple):
    """The crossovers along one number at one value of a second."""

    at: float
    found: BreakEven


def lines(along: Callable[[float], tuple[Value, Value]], values: Sequence[float], better: str, low: float, high: float,
          step: float = 0.0, points: int = MOST_SCANNED) -> tuple[Row, ...]:  # fmt: skip
    """``break_even`` at each of some values of a second number.

    Args:
        along: both alternatives at a value of the second number, as functions of the first.
    """
    return tuple(Row(value, break_even(*along(value), better, low, high, step, points)) for value in values)


def unless_refused(ask: Callable[[float], float | None]) -> Value:
    """``ask``, with None where the input is refused."""

    def asked(x: float) -> float | None:
        try:
            return ask(x)
        except InputError:
            return None

    return asked
