"""What the page of a calibration shows: plain data, readable without what measured and fitted it.

Seconds, bytes, FLOPs and watts are SI; a number that is not known is NaN, a text that is not known "".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

RoofKind = Literal["peak", "vector", "memory", "cache"]


class Roof(NamedTuple):
    """A limit of the device: a rate of math [FLOP/s] or a bandwidth [B/s].

    ``fitted`` roofs are those of the calibrated device; others were seen by probes and are drawn beside them. ``dtype``
    is "" where it holds for all.
    """

    label: str
    kind: RoofKind
    value: float
    dtype: str = ""
    fitted: bool = True


class Point(NamedTuple):
    """One measured call, and what the calibration says of it.

    Args:
        what: the call in words.
        flops: of the matrix units, or of the vector units where those have none [FLOP].
        moved_bytes: bytes that must cross the memory interface [B].
        time_s: median, with the ends of its 95% interval [s].
        predicted_s: NaN where the calibration does not price it; with the ends of the 80% interval [s].
        priced_by: the entry that the prediction comes from; "" for the priors of the class.
        power_w, clock_hz: means during the calls; NaN where nothing read them.
    """

    what: str
    family: str
    dtype: str
    runtime: str
    flops: float
    moved_bytes: float
    time_s: float
    low_s: float
    high_s: float
    predicted_s: float
    low_80_s: float
    high_80_s: float
    priced_by: str
    power_w: float
    clock_hz: float

    @property
    def ratio(self) -> float:
        """Predicted over measured time."""
        return self.predicted_s / self.time_s


class StreamPoint(NamedTuple):
    """Bandwidth of a stream [B/s] over arrays of ``set_bytes`` together; 0 threads: the whole device."""

    stream: str
    threads: int
    set_bytes: float
    rate: float
    low: float
    high: float


class CacheMark(NamedTuple):
    """A cache: the size of one, and of all that the measured cores reach [B]."""

    label: str
    one_bytes: float
    all_bytes: float


class Parameter(NamedTuple):
    """A fitted parameter of the law, its 95% interval (NaN: none), and the range in which fits may move it."""

    name: str
    meaning: str
    dimension: str
    value: float
    low: float
    high: float
    least: float
    most: float


class Entry(NamedTuple):
    """One entry of the calibration.

    ``median`` and ``mean`` are relative errors of fits on shapes that they left out, ``unseen`` the mean error on these
    operators where none of their kind was measured (NaN: not known), ``low_80`` and ``high_80`` the ends of the 80%
    interval over the prediction.
    """

    label: str
    family: str
    dtype: str
    runtime: str
    samples: int
    shapes: int
    median: float
    mean: float
    unseen: float
    low_80: float
    high_80: float
    parameters: tuple[Parameter, ...]


class RatePoint(NamedTuple):
    """A measured product of m rows: its rate with the 95% interval [FLOP/s]."""

    m: float
    rate: float
    low: float
    high: float


class RateCurve(NamedTuple):
    """Products with the same weights in one dtype under one runtime: what was measured, law, roof [FLOP/s]."""

    dtype: str
    runtime: str
    points: tuple[RatePoint, ...]
    rows: tuple[float, ...]
    law: tuple[float, ...]
    roof: tuple[float, ...]


class ProductPanel(NamedTuple):
    """Products with weights [n, k]."""

    n: float
    k: float
    curves: tuple[RateCurve, ...]


class Scaling(NamedTuple):
    """One call on several numbers of threads: how many times as fast as on the fewest."""

    what: str
    family: str
    threads: tuple[int, ...]
    speedups: tuple[float, ...]


class Dispatch(NamedTuple):
    """What it takes to start a call [s], with its 95% interval."""

    what: str
    way: str
    dtype: str
    time_s: float
    low_s: float
    high_s: float


class Copy(NamedTuple):
    """A message of ``message_bytes`` between memories, a drive or devices [s], with its 95% interval."""

    what: str
    way: str
    message_bytes: float
    time_s: float
    low_s: float
    high_s: float


class Shortfall(NamedTuple):
    """What a user must not rely on, and why."""

    what: str
    why: str


class Group(NamedTuple):
    """Facts of the environment that belong together."""

    name: str
    rows: tuple[tuple[str, str], ...]


class Headline(NamedTuple):
    """A card of the summary: a large figure, and lines of name and text."""

    title: str
    name: str
    figure: str
    sub: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class MachineCard:
    """A calibration: everything that its page shows.

    Args:
        device: its id.
        cards: the summary.
        absent: what was not measured, and why.
        power_limit_w, idle_w: limit of the device, and what it takes at rest; NaN where not known.
        shortfalls: the most important first.
    """

    title: str
    device: str
    date: str
    lead: str
    cards: tuple[Headline, ...] = ()
    absent: tuple[Shortfall, ...] = ()
    roofs: tuple[Roof, ...] = ()
    points: tuple[Point, ...] = ()
    streams: tuple[StreamPoint, ...] = ()
    caches: tuple[CacheMark, ...] = ()
    entries: tuple[Entry, ...] = ()
    products: tuple[ProductPanel, ...] = ()
    scalings: tuple[Scaling, ...] = ()
    dispatches: tuple[Dispatch, ...] = ()
    copies: tuple[Copy, ...] = ()
    power_limit_w: float = math.nan
    idle_w: float = math.nan
    environment: tuple[Group, ...] = ()
    shortfalls: tuple[Shortfall, ...] = ()
    laws_hash: str = ""
    silicost_version: str = ""
