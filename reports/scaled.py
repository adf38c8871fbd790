"""Time after a what-if: operators whose resources are made faster or slower.

An operator takes ``factor * (compute^order + memory^order)^(1 / order) + communication + fixed`` seconds: an ``order``
of 1 adds its resources, an infinite one takes the longest, as laws of devices join them. Results carry the parts and
the time, so ``order`` follows: at scales of one the time is that of the result, to rounding. Scaling a resource divides
its part. What a law changes besides (tiles, cache hits, clocks under a power cap) is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

from simulator.result import OperatorCost, PhaseCost

_STEPS: Final = 60
_HIGHEST: Final = 64.0


class Scales(NamedTuple):
    """How many times as fast resources become."""

    memory: float = 1.0
    compute: float = 1.0
    link: float = 1.0


AS_IS: Final = Scales()


class Part(NamedTuple):
    """An operator of a phase: seconds of each resource, what no scale changes."""

    phase: str
    family: str
    compute_s: float
    memory_s: float
    communication_s: float
    fixed_s: float
    order: float
    factor: float

    def at(self, scales: Scales) -> float:
        """Seconds after a change [s]."""
        ends = self.compute_s / scales.compute, self.memory_s / scales.memory
        return self.factor * joined(*ends, self.order) + self.communication_s / scales.link + self.fixed_s


def joined(one_s: float, other_s: float, order: float) -> float:
    """Two resources at work at once [s]: ``(one^order + other^order)^(1 / order)``."""
    long, short = max(one_s, other_s), min(one_s, other_s)
    if short <= 0.0 or not math.isfinite(order):
        return long
    return long * math.pow(1.0 + math.pow(short / long, order), 1.0 / order)


def order_of(one_s: float, other_s: float, whole_s: float) -> float:
    """The order with which two resources join to ``whole_s``: 1 where they take longer, infinite where less."""
    long, short = max(one_s, other_s), min(one_s, other_s)
    if short <= 0.0 or whole_s <= joined(long, short, _HIGHEST):
        return math.inf
    low, high = 1.0, _HIGHEST
    if whole_s >= long + short:
        return low
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if joined(long, short, middle) > whole_s else (low, middle)
    return low


def part_of(phase: str, operator: OperatorCost) -> Part:
    """The law of an operator, from the parts that its result carries; host work and the like is fixed."""
    compute, memory = max(operator.compute_s, 0.0), max(operator.memory_s, 0.0)
    rest = operator.time_s - operator.overhead_s - operator.communication_s
    if max(compute, memory) <= 0.0 or rest <= 0.0:
        fixed = max(operator.time_s - operator.communication_s, 0.0)
        return Part(phase, operator.family, 0.0, 0.0, operator.communication_s, fixed, math.inf, 1.0)
    order = order_of(compute, memory, rest)
    factor = rest / joined(compute, memory, order)
    return Part(
        phase, operator.family, compute, memory, operator.communication_s, operator.overhead_s, order, factor
    )  # fmt: skip


def parts_of_phases(phases: Iterable[PhaseCost]) -> list[Part]:
    """The laws of all operators."""
    return [part_of(phase.name, operator) for phase in phases for operator in phase.operators if operator.time_s > 0.0]


def seconds(parts: Iterable[Part], scales: Scales = AS_IS) -> float:
    """All of them after a change, one after the other [s]."""
    return math.fsum(part.at(scales) for part in parts)
