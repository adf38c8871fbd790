"""What a comparison shows: metrics of two or more, each beside the first one. Plain data.

Values are in the SI unit of their metric; a number that is not known is NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


class Compared(NamedTuple):
    """A metric of one of those that are compared.

    Args:
        low, high: ends of the 80% interval; NaN without one.
        ratio: it over that of the first.
        overlaps: "yes" or "no": whether its 80% interval and that of the first have a number in common; "" where one
            has none.
        chance: that it is better than the first, from both intervals, errors taken as independent.
        reason: why there is no value.
        lowest, highest: ends of the 95% interval; NaN without one.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    ratio: float = math.nan
    overlaps: str = ""
    chance: float = math.nan
    reason: str = ""
    lowest: float = math.nan
    highest: float = math.nan


class MetricRow(NamedTuple):
    """A metric of all; ``better`` is "lower", "higher" or "", ``best`` the place of the best one, -1 without any."""

    name: str
    title: str
    dimension: str
    better: str
    cells: tuple[Compared, ...]
    best: int = -1


class Difference(NamedTuple):
    """A fact that not all have alike, in words; "" where one has none of the kind."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two or more beside each other, the first one being what the others are measured by.

    Args:
        names: all different.
        alike: facts that all share, in words.
    """

    title: str
    lead: str
    names: tuple[str, ...]
    metrics: tuple[MetricRow, ...]
    differences: tuple[Difference, ...] = ()
    alike: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    laws_hash: str = ""
    silicost_version: str = ""
