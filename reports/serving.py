"""What the page of a served run shows: plain data, readable without what computed it.

Values are in SI units; a number that is not known is NaN, a text that is not known "".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from reports.calibration import Group
from reports.numbers import Cell, number, unit_of, whole
from simulator.display import frame_of, html_of

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
NONE = math.nan


class Measured(NamedTuple):
    """A number of the run with the ends of its 80% interval (NaN: none).

    ``dimension`` as in ``hardware_specs.units``, or "count"; ``reason`` says why there is no value.
    """

    name: str
    title: str
    dimension: str
    value: float
    low: float = NONE
    high: float = NONE
    reason: str = ""

    @property
    def cell(self) -> Cell:
        """It in the unit that suits its size."""
        if not math.isfinite(self.value):
            return Cell(self.name, None, reason=self.reason or "not known")
        counted = self.dimension == "count"
        scale, unit = (1.0, "") if counted else unit_of(self.value, self.dimension)
        write = whole if counted else _number if unit in ("", "%") else number
        known = math.isfinite(self.low) and math.isfinite(self.high)
        if not known or (counted and self.low == self.high == self.value):
            return Cell(self.name, self.value, write(self.value / scale), unit)
        ends = write(self.low / scale), write(self.high / scale)
        return Cell(self.name, self.value, write(self.value / scale), unit, *ends, ends=(self.low, self.high))


def _number(value: float) -> str:
    """A share or a mean count, of which small ones are as good as nothing."""
    return "< 0.001" if 0.0 < value < 1e-3 else number(value)


class ValueCard(NamedTuple):
    """A card of the summary: one number set large, and others below it."""

    title: str
    first: Measured
    others: tuple[Measured, ...]


class Objective(NamedTuple):
    """A bound on a quantile of a latency, and what was measured.

    Args:
        whose: the tenant; "" of all requests.
        share: of the requests that must be within ``bound_s``; ``kept`` those that are.
        value_s: that quantile of the answered requests, with the ends of its 80% interval.
    """

    whose: str
    title: str
    share: float
    bound_s: float
    value_s: float
    low_s: float
    high_s: float
    kept: float

    @property
    def met(self) -> bool:
        """Whether enough requests are within the bound."""
        return self.kept >= self.share

    @property
    def sure(self) -> bool:
        """Whether the whole interval, which is that of answered requests, is on one side of the bound."""
        if not (math.isfinite(self.low_s) and math.isfinite(self.high_s)):
            return False
        return self.high_s <= self.bound_s or self.low_s > self.bound_s


class Curve(NamedTuple):
    """Shares of the requests that are answered within ``at_s``, both of shape [n] and rising."""

    name: str
    at_s: Floats
    share: Floats


class Mark(NamedTuple):
    """A bound in the picture of a latency, and the share that must be within it."""

    whose: str
    bound_s: float
    share: float


class Ends(NamedTuple):
    """The 80% interval of a quantile, drawn at the height ``share``."""

    name: str
    share: float
    low_s: float
    high_s: float


class Distribution(NamedTuple):
    """One kind of latency."""

    title: str
    curves: tuple[Curve, ...]
    marks: tuple[Mark, ...]
    ends: tuple[Ends, ...]


class LatencyRow(NamedTuple):
    """Mean and quantiles of a kind of latency."""

    title: str
    definition: str
    values: tuple[Measured, ...]


class Line(NamedTuple):
    """A line over time, shape [bins]."""

    name: str
    values: Floats


class Track(NamedTuple):
    """Lines over time in one picture; ``most`` ends its axis (NaN: the largest value)."""

    title: str
    dimension: str
    lines: tuple[Line, ...]
    most: float = NONE


class Tracks(NamedTuple):
    """The pictures of a pool, or of the whole ("")."""

    name: str
    tracks: tuple[Track, ...]


class OverTime(NamedTuple):
    """The run over time: middles of bins of equal width [bins], its end, and pictures."""

    at_s: Floats
    width_s: float
    end_s: float
    groups: tuple[Tracks, ...]


class PoolRow(NamedTuple):
    """A pool: what it is, its figures (one name has one place in all pools), and what limits it, in words."""

    name: str
    machines: str
    device_class: str
    runs: str
    figures: tuple[Measured, ...]
    limit: str
    why: str


class Slice(NamedTuple):
    """A part of a whole; ``pool`` is its number, -1 for hosts, -2 for cooling and losses."""

    name: str
    pool: int
    value: float


class Split(NamedTuple):
    """Where something goes."""

    title: str
    dimension: str
    slices: tuple[Slice, ...]
    note: str


class LinkRow(NamedTuple):
    """What a link between two pools carried."""

    name: str
    figures: tuple[Measured, ...]


class Node(NamedTuple):
    """A stage on a pool: ``column`` counts stages before it; ``lines`` say what it is."""

    name: str
    device_class: str
    column: int
    lines: tuple[str, ...]


class Arrow(NamedTuple):
    """From one node to another; ``text`` stands beside it."""

    source: int
    target: int
    text: str


class TenantRow(NamedTuple):
    """A tenant, what it asks, and its figures."""

    name: str
    asks: str
    figures: tuple[Measured, ...]


@dataclass(frozen=True, eq=False)
class ServedCard:
    """A served run: everything that its page shows; what it has nothing of is left out.

    Args:
        lead: what is served, or the description of the fleet.
        answer: whether it holds its objectives, in a sentence.
        what: the traffic in words.
        definitions: title and meaning of the numbers.
    """

    title: str
    lead: str
    answer: str
    what: str
    objectives: tuple[Objective, ...] = ()
    cards: tuple[ValueCard, ...] = ()
    distributions: tuple[Distribution, ...] = ()
    latencies: tuple[LatencyRow, ...] = ()
    over_time: OverTime | None = None
    pools: tuple[PoolRow, ...] = ()
    splits: tuple[Split, ...] = ()
    links: tuple[LinkRow, ...] = ()
    nodes: tuple[Node, ...] = ()
    arrows: tuple[Arrow, ...] = ()
    tenants: tuple[TenantRow, ...] = ()
    prediction: tuple[Group, ...] = ()
    notes: tuple[str, ...] = ()
    definitions: tuple[tuple[str, str], ...] = ()
    laws_hash: str = ""
    silicost_version: str = ""

    def to_pandas(self) -> pd.DataFrame:
        """Numbers by name in SI units: value, ends of the 80% interval (NaN: none), why there is no value."""
        return frame_of(self)

    def _repr_html_(self) -> str | None:
        """What a notebook shows; None (text) where no room above has said how."""
        return html_of(self)
