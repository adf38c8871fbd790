"""How much each metric of a scenario depends on each of its knobs: elasticities, and the swings of a tornado.

The elasticity of a metric m to a knob k is d log m / d log k: by how many percent m changes with one percent of k. It
is taken as a central difference of the logarithms over one step to either side (``STEP``; of whole numbers to the
neighbours). Predictions have folds (a roof takes over from another) and jumps (one more tile, one more wave), so both
one-sided slopes are taken as well. Where they differ, a step of a quarter tells curvature, which shrinks with the step,
from a fold at this very value, which stays, and from a jump, which grows.

A tornado turns each knob alone to the ends of a range and shows how far the metric swings (Howard, Decision Analysis:
Practice and Promise, Management Science 34(6), 1988).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError
from hardware_specs.prices import load_prices
from simulator.decisions.knobs import ASKED, Knob, result_at
from simulator.result import Result
from simulator.scenario import Scenario

Floats = npt.NDArray[np.float64]
MEMORY_SHARE: Final = "memory_share"
"""Beside the metrics of a result: the share of the memory it may use that the fullest device fills."""
Tell = Callable[[int, int], None]

STEP: Final = 0.01
"""Step of a central difference, in the logarithm of the knob: 1% to either side."""
FINER: Final = 4.0
"""By how much the second step is smaller."""
SAME: Final = 0.02
"""One-sided slopes that differ by less are equal."""

RANGES: Final[dict[str, tuple[float, str]]] = {
    "sourced": (1.1, "sourced: a tenth"),
    "calibrated": (1.15, "calibrated: 15%"),
    "assumed": (1.5, "assumed: half as much again"),
    ASKED: (2.0, "asked: half and twice"),
}
"""Default range of a tornado by mark, as a factor to either side. Assumed: parts clock up to a tenth off their
datasheet; fits leave 5 to 15% on shapes that they had not seen; what is assumed is a guess within a factor of 1.5; what
is asked may as well be half or twice that."""


class Slope(NamedTuple):
    """How a metric depends on a knob.

    Args:
        elasticity: d log metric / d log knob over one step to either side; None for a metric without a value.
        left, right: the same to either side alone; None where the knob cannot go there.
        shape: "smooth"; "fold" (slopes differ at this very value); "jump" (the metric jumps within a quarter of a
            step); "near" (a fold or jump lies within a step); "edge" (one side only); "whole" (neighbours of a whole
            number whose slopes differ); "none" (no value).
    """

    elasticity: float | None
    left: float | None
    right: float | None
    shape: str


class Sensitivity(NamedTuple):
    """The slopes of all metrics, by metric, along one knob."""

    knob: Knob
    slopes: Mapping[str, Slope]


class Range(NamedTuple):
    """From where to where a knob is turned [SI], and why."""

    low: float
    high: float
    why: str


class Swing(NamedTuple):
    """The metrics at both ends of the range of one knob; None where there is no value, ``reason`` says why."""

    knob: Knob
    range: Range
    low: Mapping[str, float | None]
    high: Mapping[str, float | None]
    reason: str = ""

    def size(self, metric: str, base: float | None) -> float:
        """How far the metric swings: |ln| of the ratio of its ends, or of the one there is to ``base``."""
        ends = [end for end in (self.low[metric], self.high[metric]) if end]
        if not ends or not base:
            return 0.0
        ends += [base] if len(ends) < 2 else []
        return abs(math.log(ends[1] / ends[0]))


def elasticities(
    scenario: Scenario, metrics: Sequence[str], knobs: Sequence[Knob], step: float = STEP, tell: Tell | None = None
) -> tuple[Sensitivity, ...]:
    """The elasticity of every metric to every knob, in their order.

    Args:
        step: of the logarithm of a knob, to either side.
        tell: is told how many of how many knobs are done.

    Raises:
        InputError: ``scenario`` itself cannot be simulated.
    """
    base = logs_of(result_at(scenario, ()), metrics)
    found = []
    for number, knob in enumerate(knobs, start=1):
        found.append(Sensitivity(knob, dict(zip(metrics, _slopes(scenario, metrics, knob, base, step), strict=True))))
        if tell:
            tell(number, len(knobs))
    return tuple(found)


def ranked(found: Iterable[Sensitivity], metric: str) -> list[Sensitivity]:
    """The knobs that a metric depends on, the strongest first."""
    felt = [each for each in found if largest(each.slopes[metric]) > 0.0]
    return sorted(felt, key=lambda each: (-largest(each.slopes[metric]), each.knob.path))


def largest(slope: Slope) -> float:
    """The largest slope of a metric in size."""
    return max((abs(s) for s in (slope.elasticity, slope.left, slope.right) if s is not None), default=0.0)


def logs_of(result: Result, metrics: Sequence[str]) -> Floats:
    """Logarithms of metrics, shape [M]; NaN without a value or for zero."""
    values = [memory_share(result) if name == MEMORY_SHARE else result.metrics.get(name) for name in metrics]
    return np.array([math.log(value) if value is not None and value > 0.0 else math.nan for value in values])


def memory_share(result: Result) -> float:
    """The share of its usable memory that the fullest device fills."""
    return result.memory.total / result.memory_capacity_bytes


def _slopes(scenario: Scenario, metrics: Sequence[str], knob: Knob, base: Floats, step: float) -> list[Slope]:
    """The slopes of all metrics along one knob."""
    if knob.step:
        apart = max(knob.step * round(knob.value * step / knob.step), knob.step)
        ends = (knob.value - apart, knob.value + apart)
    else:
        ends = (knob.value * math.exp(-step), knob.value * math.exp(step))
    left, right, middle = _differences(scenario, metrics, knob, base, ends)
    apart_by = np.abs(right - left)
    if knob.step or not (apart_by > SAME).any():
        shapes = np.where(apart_by > SAME, "whole" if knob.step else "", "smooth")
    else:
        ends = (knob.value * math.exp(-step / FINER), knob.value * math.exp(step / FINER))
        finer_left, finer_right, _ = _differences(scenario, metrics, knob, base, ends)
        shapes = np.array([_shape(a, b) for a, b in zip(apart_by, np.abs(finer_right - finer_left), strict=True)])
    return [_slope(*row) for row in zip(middle, left, right, shapes.tolist(), strict=True)]


def _differences(
    scenario: Scenario, metrics: Sequence[str], knob: Knob, base: Floats, ends: tuple[float, float]
) -> tuple[Floats, Floats, Floats]:
    """Slopes to the left, to the right and across, shape [M] each; NaN where the knob cannot go."""
    below, above = (_logs_at(scenario, metrics, knob, end) for end in ends)
    down, up = (math.log(ends[0] / knob.value) if ends[0] > 0.0 else -math.inf), math.log(ends[1] / knob.value)
    left, right = (below - base) / down, (above - base) / up
    across = (above - below) / (up - down)
    return left, right, np.where(np.isnan(left), right, np.where(np.isnan(right), left, across))


def _logs_at(scenario: Scenario, metrics: Sequence[str], knob: Knob, value: float) -> Floats:
    """As ``logs_of``; NaN for what cannot be."""
    if not knob.allows(value):
        return np.full(len(metrics), math.nan)
    try:
        return logs_of(result_at(scenario, ((knob, value),)), metrics)
    except InputError:
        return np.full(len(metrics), math.nan)


def _shape(apart: float, finer: float) -> str:
    """What two one-sided slopes are that differ by ``apart`` at a step, and by ``finer`` at a smaller one."""
    if not apart > SAME:
        return "smooth"
    share = finer / apart
    if share > 2.0:
        return "jump"
    if share > 1.6 / FINER:
        return "fold"
    return "smooth" if share > 0.6 / FINER else "near"


def _slope(middle: float, left: float, right: float, shape: str) -> Slope:
    known = [None if math.isnan(value) else float(value) + 0.0 for value in (middle, left, right)]
    if known[0] is None:
        return Slope(None, None, None, "none")
    return Slope(known[0], known[1], known[2], "edge" if None in known else shape)


def tornado(
    scenario: Scenario, metrics: Sequence[str], knobs: Sequence[Knob], given: Mapping[str, Range] | None = None,
    tell: Tell | None = None,
) -> tuple[Swing, ...]:  # fmt: skip
    """The metrics with each knob alone at the ends of its range, in the order of ``knobs``.

    Args:
        given: ranges by path; for others ``default_range`` holds.
    """
    found = []
    for number, knob in enumerate(knobs, start=1):
        turned = (given or {}).get(knob.path) or default_range(scenario, knob)
        low, why_low = _values_at(scenario, metrics, knob, turned.low)
        high, why_high = _values_at(scenario, metrics, knob, turned.high)
        found.append(Swing(knob, turned, low, high, why_low or why_high))
        if tell:
            tell(number, len(knobs))
    return tuple(found)


def default_range(scenario: Scenario, knob: Knob) -> Range:
    """The range that a knob's mark stands for, inside its physical range; of a price what providers ask."""
    if knob.path == "price" and knob.mark != ASKED:
        asked = _asked_prices(scenario)
        if asked and min(asked) < max(asked):
            return Range(
                min(*asked, knob.value), max(*asked, knob.value), f"on-demand prices of {len(asked)} providers"
            )
    factor, why = RANGES.get(knob.mark, RANGES["assumed"])
    low, high = max(knob.value / factor, knob.low), min(knob.value * factor, knob.high)
    if knob.step:
        low, high = (knob.step * max(round(end / knob.step), 1.0) for end in (low, high))
    clipped = (low, high) != (knob.value / factor, knob.value * factor) and not knob.step
    return Range(low, high, f"{why}{', inside its physical range' if clipped else ''}")


def _asked_prices(scenario: Scenario) -> list[float]:
    """The newest on-demand price of each provider for the device [USD/s]."""
    newest: dict[str, tuple[str, float]] = {}
    for price in load_prices():
        if price.device == scenario.pools[0].device.id and price.kind == "on-demand":
            dated = (price.usd_per_s.date, price.usd_per_s.value)
            newest[price.provider] = max(dated, newest.get(price.provider, dated))
    return [value for _, value in newest.values()]


def _values_at(
    scenario: Scenario, metrics: Sequence[str], knob: Knob, value: float
) -> tuple[dict[str, float | None], str]:
    """Metrics with a knob at ``value``, or why there are none."""
    try:
        result = result_at(scenario, ((knob, value),))
    except InputError as error:
        return dict.fromkeys(metrics), str(error)
    return {name: result.metrics.get(name) for name in metrics}, ""
