"""What the page of a what-if shows: plain data, readable without what computed it. Values are in SI units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reports.calibration import Headline

Floats = npt.NDArray[np.float64]


class Slope(NamedTuple):
    """Elasticity of a metric to a knob, and the slopes to either side (NaN: none); ``uneven``: they differ."""

    middle: float
    left: float
    right: float
    uneven: bool


class KnobRow(NamedTuple):
    """A knob, its value in words, its mark, and its slopes in the order of the metrics."""

    path: str
    meaning: str
    value: str
    mark: str
    slopes: tuple[Slope, ...]


class Bar(NamedTuple):
    """A bar of a tornado: the metric with a knob at the low and at the high end of its range (NaN: none)."""

    path: str
    low_end: str
    high_end: str
    why: str
    low: float
    high: float


class Tornado(NamedTuple):
    """A metric and the bars of knobs, the widest first."""

    metric: str
    dimension: str
    base: float
    bars: tuple[Bar, ...]


class Step(NamedTuple):
    """A step of a waterfall, by how much it moves the metric; ``hint`` says from what to what."""

    what: str
    hint: str
    amount: float


class Waterfall(NamedTuple):
    """From one value to another in steps that sum to the difference; ``better`` is "lower" or "higher"."""

    title: str
    dimension: str
    better: str
    first: tuple[str, float]
    steps: tuple[Step, ...]
    last: tuple[str, float]


class Bands(NamedTuple):
    """Ends between which curves lie, and of what: shape [curves, n] each, NaN where there are none."""

    what: str
    low: Floats
    high: Floats


class Curves(NamedTuple):
    """Metrics along a number.

    Args:
        along, dimension: the number.
        metric, metric_dimension: what is drawn.
        names: of the curves; ``values`` shape [curves, n], NaN where there is none; ``at`` shape [n].
        marks: numbers at which something changes, and what.
        level: a bound of the metric; NaN without any.
        bands: None without any.
    """

    title: str
    along: str
    dimension: str
    metric: str
    metric_dimension: str
    names: tuple[str, ...]
    at: Floats
    values: Floats
    marks: tuple[tuple[float, str], ...]
    level: float
    bands: Bands | None = None


class Border(NamedTuple):
    """Crossovers along a number (``up``) at values of a second one (``across``), and what is better after each."""

    across: str
    across_dimension: str
    up: str
    up_dimension: str
    points: tuple[tuple[float, float, str], ...]


class Probability(NamedTuple):
    """How many times as good the first of two is as the second: density over the logarithm, shape [n] each.

    ``chances`` are chances of the first to be better, each with what it rests on.
    """

    names: tuple[str, str]
    metric: str
    log_ratio: Floats
    density: Floats
    chance: float
    chances: tuple[tuple[str, float], ...]


class Bought(NamedTuple):
    """Some options together: cost [USD] and the metric."""

    what: str
    cost_usd: float
    value: float


class Budget(NamedTuple):
    """What can be bought: single options, and the frontier of sets."""

    metric: str
    dimension: str
    singles: tuple[Bought, ...]
    frontier: tuple[Bought, ...]
    best: Bought


@dataclass(frozen=True, eq=False)
class WhatIf:
    """A what-if: everything that its page shows; what it has nothing of is left out."""

    title: str
    lead: str
    cards: tuple[Headline, ...] = ()
    metrics: tuple[str, ...] = ()
    knobs: tuple[KnobRow, ...] = ()
    knobs_idle: int = 0
    tornados: tuple[Tornado, ...] = ()
    waterfalls: tuple[Waterfall, ...] = ()
    curves: tuple[Curves, ...] = ()
    border: Border | None = None
    probability: Probability | None = None
    budget: Budget | None = None
    notes: tuple[str, ...] = ()
    laws_hash: str = ""
    silicost_version: str = ""
