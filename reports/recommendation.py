"""What the page of a recommendation shows: plain data, readable without what ranked the hardware.

Values are in SI units, money in USD; a number that is not known is NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from reports.calibration import Group
from reports.study import Bound, Measure, measure_of


class Option(NamedTuple):
    """A device under its best plan.

    Args:
        devices: how many of it.
        value, low, high: the metric that ranks, with the ends of its 80% interval.
        chance_best: that it is the best of those that are compared; ``first_beats``: that the first is better.
        price: whose price ``usd_per_hour`` of all devices is.
        left: what is left to each bound, as a share of it, in the order of the bounds.
        bound: what bounds its longest phase; ``why``: why it is not the first.
        metrics: what it does, by name.
        more: what else its card says, name and text.
    """

    device: str
    device_class: str
    devices: int
    plan: str
    value: float
    low: float = math.nan
    high: float = math.nan
    chance_best: float = math.nan
    first_beats: float = math.nan
    usd_per_hour: float = math.nan
    price: str = ""
    rated_w: float = math.nan
    needed_bytes: float = math.nan
    usable_bytes: float = math.nan
    left: tuple[float, ...] = ()
    bound: str = ""
    why: str = ""
    metrics: tuple[tuple[str, float], ...] = ()
    more: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The device and how many of it."""
        return f"{self.devices} × {self.device}" if self.devices > 1 else self.device

    def metric(self, name: str) -> float:
        """A metric by name; NaN where it has none."""
        return dict(self.metrics).get(name, math.nan)


class Lost(NamedTuple):
    """A device without an answer: the reason as programs know it and in words, and what it is of this device."""

    device: str
    device_class: str
    code: str
    reason: str
    why: str


class Line(NamedTuple):
    """Designs of one device: what each is called, its values in the order of the axes (shape [axes, n]), and whether it
    keeps every bound and budget. ``chosen`` is the place of the one that is ranked; -1 for none."""

    name: str
    device_class: str
    labels: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    holds: tuple[bool, ...]
    chosen: int = -1


class Called(NamedTuple):
    """A metric that means something else for a question than it usually does: its name, title and meaning there."""

    name: str
    title: str
    meaning: str


class Answered(NamedTuple):
    """One question and its answer.

    Args:
        name: of the question; "" where it is the only one.
        verdict: the answer in a sentence; ``asked``: the question in one.
        measure: the metric that ranks.
        axes: metrics of the designs: the one that ranks, then those to draw it over.
        options: the best first; ``lost``: the nearest miss first.
        designs: how many were priced.
        rests_on: what the chances rest on.
        called: metrics that mean something else here.
        notes: what a reader of the ranking should know.
    """

    name: str
    verdict: str
    asked: str
    measure: Measure
    bounds: tuple[Bound, ...] = ()
    axes: tuple[Measure, ...] = ()
    options: tuple[Option, ...] = ()
    lost: tuple[Lost, ...] = ()
    lines: tuple[Line, ...] = ()
    designs: int = 0
    rests_on: str = ""
    facts: tuple[Group, ...] = ()
    called: tuple[Called, ...] = ()
    notes: tuple[str, ...] = ()

    def measure_of(self, name: str, better: str) -> Measure:
        """A metric as this question calls it."""
        usual = measure_of(name, better)
        return next((usual._replace(title=each.title) for each in self.called if each.name == name), usual)


@dataclass(frozen=True, eq=False)
class Recommendation:
    """Hardware for one workload or several: everything that its page shows."""

    title: str
    answers: tuple[Answered, ...]
    laws_hash: str = ""
    silicost_version: str = ""
