"""Logarithmic axes: where a value lies, and which round values stand beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from reports.numbers import unit_of


class Axis(NamedTuple):
    """A logarithmic axis from ``low`` to ``high`` in powers of ten."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Where ``value`` lies, in percent; what is off the axis lies at its end."""
        if value <= 0.0:
            return 0.0
        return 100.0 * min(max((math.log10(value) - self.low) / (self.high - self.low), 0.0), 1.0)


class Tick(NamedTuple):
    """A round value on an axis: where it lies, in percent."""

    at: float
    text: str


def axis_of(values: Iterable[float]) -> Axis:
    """An axis that holds every positive one of ``values``, with a little room on both sides."""
    exponents = [math.log10(value) for value in values if value > 0.0 and math.isfinite(value)]
    room = max(0.05 * (max(exponents) - min(exponents)), 0.05)
    return Axis(min(exponents) - room, max(exponents) + room)


def round_values(axis: Axis) -> list[float]:
    """Decades; with few of them, 2 and 5 or 3 as well; with many, every second or third."""
    span = axis.high - axis.low
    steps = (1.0, 2.0, 5.0) if span < 1.2 else (1.0, 3.0) if span < 2.0 else (1.0,)
    stride = max(1, math.ceil(span / 5.0))
    exponents = range(math.floor(axis.low), math.ceil(axis.high) + 1)
    values = [step * 10.0**e for e in exponents if e % stride == 0 for step in steps]
    return [value for value in values if axis.low <= math.log10(value) <= axis.high]


def ticks_of(axis: Axis, dimension: str) -> list[Tick]:
    """The round values of an axis, each with its unit where it has one of its own."""
    return [Tick(axis.at(value), round_text(value, dimension)) for value in round_values(axis)]


def round_text(value: float, dimension: str) -> str:
    """A round number without trailing zeros: "10 ms", "1,000"."""
    scale, unit = unit_of(value, dimension)
    return f"{value / scale:,.6g} {unit}".rstrip()
