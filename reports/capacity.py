"""What the page of a capacity shows: plain data, readable without what searched it.

Values are in SI units, money in USD, rates in requests a second; a number that is not known is NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

from reports.calibration import Group
from reports.serving import ValueCard

NONE: Final = math.nan
RATE: Final = "Rate"
"""Head of tables of rates: of one fleet at several, whose costs are drawn along the load."""


class Goal(NamedTuple):
    """A bound on a quantile of a latency: at most ``bound_s``; ``whose`` is a tenant, "" for all requests."""

    title: str
    bound_s: float
    whose: str = ""

    @property
    def name(self) -> str:
        """What it bounds: "TTFT p99 of chat"."""
        return f"{self.title} of {self.whose}" if self.whose else self.title


class Load(NamedTuple):
    """A number of one fleet along the rate of requests: ``at_per_s`` rising, NaN where it has none."""

    name: str
    at_per_s: tuple[float, ...]
    values: tuple[float, ...]


class LoadPanel(NamedTuple):
    """A drawing over the rate: ``bound`` is a level that must not be passed (NaN: none); the first curve is that of the
    fleet that the page is about."""

    title: str
    dimension: str
    curves: tuple[Load, ...]
    bound: float = NONE


class Tried(NamedTuple):
    """A fleet at a rate that was tried.

    Args:
        name: what tells it from the others of its table: "5 replicas", "11.2 requests/s", a design.
        holds: whether it keeps every objective; ``why`` says in words what it breaks, or why it cannot be.
        latencies: the quantile of each goal, in their order [s].
        usd_per_work, j_per_work: of a unit of work, see ``CapacityCard.work``.
        chosen: it is the answer.
    """

    name: str
    holds: bool
    why: str = ""
    device_class: str = ""
    replicas: float = NONE
    devices: float = NONE
    rate_per_s: float = NONE
    latencies: tuple[float, ...] = ()
    usd_per_hour: float = NONE
    usd_per_work: float = NONE
    j_per_work: float = NONE
    utilisation: float = NONE
    chosen: bool = False


class Trials(NamedTuple):
    """A table of what was tried: ``first`` heads its first column, ``rate`` that of rates, ``goals`` the bounds whose
    quantiles its rows have; ``left_out`` rows are too many to be shown."""

    title: str
    first: str
    rows: tuple[Tried, ...]
    goals: tuple[str, ...] = ()
    left_out: int = 0
    rate: str = "Requests a second"


class Work(NamedTuple):
    """What costs are of: titles of dollars and joules."""

    usd_title: str
    j_title: str


TOKENS: Final = Work("Per million output tokens", "Per output token")
REQUESTS: Final = Work("Per thousand requests", "Per request")


@dataclass(frozen=True, eq=False)
class CapacityCard:
    """What a fleet, or the best of several, can serve: everything that its page shows.

    Args:
        lead: what is served by what; ``what`` the traffic in words.
        answer: how many devices, or which rate, in a sentence.
        rate_per_s: of the answer, with ``low_per_s`` and ``high_per_s``, the ends of the 80% interval of the highest
            rate that the fleet of the answer holds.
        asked: whether ``rate_per_s`` was asked for; else it is the highest that holds.
        panels: latencies along the rate, then costs.
    """

    title: str
    lead: str
    answer: str
    what: str
    work: Work = TOKENS
    goals: tuple[Goal, ...] = ()
    rate_per_s: float = NONE
    low_per_s: float = NONE
    high_per_s: float = NONE
    asked: bool = False
    cards: tuple[ValueCard, ...] = ()
    panels: tuple[LoadPanel, ...] = ()
    tables: tuple[Trials, ...] = ()
    facts: tuple[Group, ...] = ()
    notes: tuple[str, ...] = ()
    definitions: tuple[tuple[str, str], ...] = ()
    laws_hash: str = ""
    silicost_version: str = ""
