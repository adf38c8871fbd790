"""Round values of logarithmic axes that span little: whole steps, where decades would leave one tick or none."""

from __future__ import annotations

import math
from typing import Final

from reports.axis import Axis, Tick, round_text, round_values

_NARROW: Final = 0.9
"""Axes of fewer decades have whole steps."""
_MOST: Final = 6


def fine_values(axis: Axis) -> list[float]:
    """As ``round_values``; on a narrow axis up to six multiples of a round step."""
    if axis.high - axis.low >= _NARROW:
        return round_values(axis)
    low, high = 10.0**axis.low, 10.0**axis.high
    step = round_step(high - low, _MOST)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def round_step(span: float, most: int) -> float:
    """The least of 1, 2, 5 times a power of ten of which at most ``most`` fit into ``span``."""
    power = 10.0 ** math.floor(math.log10(span / most))
    return next((power * factor for factor in (1.0, 2.0, 5.0) if span / (power * factor) <= most), power * 10.0)


def fine_ticks(axis: Axis, dimension: str) -> list[Tick]:
    """The round values of an axis, each with its unit where it has one of its own."""
    return [Tick(axis.at(value), round_text(value, dimension)) for value in fine_values(axis)]
