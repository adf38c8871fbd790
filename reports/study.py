"""What the page of a study shows: plain data, readable without what answered its points.

Seconds, bytes and joules are SI; a number that is not known is NaN. What says how a metric goes is of feasible points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from reports.calibration import Group
from reports.numbers import metric_of, quantity
from simulator.display import frame_of, html_of

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Configuration = tuple[tuple[str, str], ...]
"""Names and values of what a point has."""

_TITLES = {
    "memory_bytes": ("Memory of a device", "bytes"), "device_j": ("Energy of the devices", "j"),
    "facility_j": ("Energy of the facility", "j"),
    "facility_j_per_output_token": ("Facility energy per output token", "j"), "usd": ("Cost of everything", "usd"),
    "waiting_share": ("Paid for waiting", "fraction"), "transfer_share": ("Time of transfers", "fraction"),
}  # fmt: skip


class Measure(NamedTuple):
    """A metric of the study; ``better`` is "lower" or "higher"."""

    name: str
    title: str
    dimension: str
    better: str

    def text(self, value: float) -> str:
        """A value with its unit; "none" for NaN."""
        return quantity(value, self.dimension) if math.isfinite(value) else "none"


class Bound(NamedTuple):
    """A bound of the objectives: at most (``most``) or at least ``value``; ``share`` of the requests keep it."""

    measure: Measure
    most: bool
    value: float
    share: float = 1.0

    @property
    def said(self) -> str:
        """In words: "Time per output token ≤ 50.0 ms"."""
        part = f" for {100.0 * self.share:g}\u00a0% of the requests" if self.share < 1.0 else ""
        return f"{self.measure.title} {'≤' if self.most else '≥'} {self.measure.text(self.value)}{part}"


class Factor(NamedTuple):
    """What varies on its own: an axis, or axes that are linked.

    Args:
        name: of the axis; of linked ones all names.
        levels: its values in words, in the order of the study; of continuous axes ranges that hold equally many points.
        places: where the levels lie on an axis of numbers; () for names.
        binned: whether levels are ranges.
    """

    name: str
    levels: tuple[str, ...]
    places: tuple[float, ...] = ()
    binned: bool = False


class Spread(NamedTuple):
    """A metric at one level of a factor, over all values of the others: 10, 50 and 90% of the feasible points."""

    asked: int
    feasible: int
    low: float
    median: float
    high: float


class Ratio(NamedTuple):
    """A metric at one level over that at the first level, for points that differ in nothing else: 10, 50, 90% of
    ``pairs``; NaN where there are none."""

    pairs: int
    low: float
    median: float
    high: float


class Best(NamedTuple):
    """The best point by a metric, with the ends of its 80% interval; NaN where there is none."""

    value: float
    configuration: Configuration
    low: float = math.nan
    high: float = math.nan


class Gain(NamedTuple):
    """A level of the first factor: its best point by the first metric, None without one, and a ratio by metric."""

    level: str
    best: Best | None
    ratios: tuple[Ratio, ...]


class Shares(NamedTuple):
    """Shares of the variance of the logarithm of a metric, one for each factor; NaN where it does not vary.

    ``points`` are the feasible points that they are of.
    """

    points: int
    of: tuple[float, ...]


class Heat(NamedTuple):
    """The first metric over two factors, by place: rows x columns."""

    rows: int
    columns: int
    cells: tuple[tuple[Spread, ...], ...]


class Bin(NamedTuple):
    """A cell of the plane of two metrics, and how many feasible points lie in it."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    points: int


class FrontPoint(NamedTuple):
    """A point that no other is better than in every objective."""

    x: float
    y: float
    values: tuple[float, ...]
    configuration: Configuration


@dataclass(frozen=True, eq=False)
class Cloud:
    """Feasible points by two objectives.

    Args:
        x, y: places of the metrics.
        x_values, y_values: shape [n] each; empty where there are too many points, which are then counted in ``bins``.
        codes: place of each point's value in ``labels`` by name, shape [n, names].
        colours: place of each point's colour in ``legend``, shape [n]; -1 for others.
        objectives: metrics of the front, with their direction.
        left_out: feasible points without a place on logarithmic axes.
    """

    x: int
    y: int
    objectives: tuple[str, ...]
    front: tuple[FrontPoint, ...]
    names: tuple[str, ...] = ()
    labels: tuple[tuple[str, ...], ...] = ()
    x_values: Floats = field(default_factory=lambda: np.zeros(0))
    y_values: Floats = field(default_factory=lambda: np.zeros(0))
    codes: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    colours: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    coloured_by: str = ""
    legend: tuple[str, ...] = ()
    bins: tuple[Bin, ...] = ()
    left_out: int = 0

    @property
    def points(self) -> int:
        """Points that are drawn or counted."""
        return len(self.x_values) + sum(each.points for each in self.bins)


class Curve(NamedTuple):
    """One alternative along the axis: its values, NaN where it is not feasible."""

    name: str
    values: tuple[float, ...]


class Crossing(NamedTuple):
    """Where the better of the mixture and another alternative changes: between two neighbours of the axis, and at which
    number by a line through both in logarithms; ``pays`` says that the mixture is better behind it."""

    other: str
    low: float
    high: float
    at: float
    pays: bool


class Contest(NamedTuple):
    """A metric along the axis: the mixture first, its crossings, in a sentence where it pays and why not elsewhere, and
    in words how it does against each of the others."""

    measure: int
    curves: tuple[Curve, ...]
    crossings: tuple[Crossing, ...]
    verdict: str
    against: tuple[tuple[str, str], ...] = ()


class Mixture(NamedTuple):
    """A mixture beside what its devices would do alone, along one axis of numbers at one value of each other axis."""

    axis: Factor
    others: Configuration
    contests: tuple[Contest, ...]


class Reason(NamedTuple):
    """Why points have no answer: a code, how many they are, and one of the messages."""

    code: str
    points: int
    example: str


@dataclass(frozen=True, eq=False)
class StudyCard:
    """A study: everything that its page shows.

    Args:
        question, answer: a sentence each.
        rows, feasible: points.
        metrics: the first one ranks.
        best: the best point of each metric, None where no point has a value.
        mixtures: of a study with a mixture; one for each combination of the other axes.
        factors: in the order of the study; only those with two levels or more.
        gains: one for each level of the first factor; () where points have no partners that differ in it alone.
        shares: by metric.
        spreads: by factor and metric, one for each level.
        bounds: what feasible points keep.
        sample: in words, which points ``gains``, ``shares`` and ``spreads`` are of, "" for all.
    """

    title: str
    question: str
    answer: str
    rows: int
    feasible: int
    metrics: tuple[Measure, ...]
    best: tuple[Best | None, ...]
    factors: tuple[Factor, ...] = ()
    gains: tuple[Gain, ...] = ()
    shares: tuple[Shares, ...] = ()
    spreads: tuple[tuple[tuple[Spread, ...], ...], ...] = ()
    heat: Heat | None = None
    cloud: Cloud | None = None
    reasons: tuple[Reason, ...] = ()
    mixtures: tuple[Mixture, ...] = ()
    asked: tuple[Group, ...] = ()
    provenance: tuple[Group, ...] = ()
    sample: str = ""
    bounds: tuple[Bound, ...] = ()
    silicost_version: str = ""

    def to_pandas(self) -> pd.DataFrame:
        """Numbers by name in SI units: value, ends of the 80% interval (NaN: none), why there is no value."""
        return frame_of(self)

    def _repr_html_(self) -> str | None:
        """What a notebook shows; None (text) where no room above has said how."""
        return html_of(self)

    laws_hash: str = ""


def measure_of(name: str, better: str) -> Measure:
    """A metric as pages show it."""
    title, dimension = _TITLES.get(name) or (metric_of(name).title, metric_of(name).dimension)
    return Measure(name, title, dimension, better)


def better_first(measure: Measure, values: Sequence[float]) -> list[int]:
    """Places of ``values``, the best first, NaN last."""
    sign = -1.0 if measure.better == "higher" else 1.0
    return sorted(range(len(values)), key=lambda place: (math.isnan(values[place]), sign * values[place], place))
