"""The table of a comparison: every metric of all, ratios to the first, chances, and what differs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from markupsafe import Markup

from reports.compared import Compared, Comparison, MetricRow
from reports.figure import Figure
from reports.numbers import Cell, chance_text, number, unit_of, whole
from reports.templating import render

_NOWHERE: Final[Mapping[tuple[str, int], str]] = MappingProxyType({})
READING: Final = (
    "Each value with its 80\u00a0% interval below it, then that value over the one of the first; where 80\u00a0% "
    "intervals overlap, the difference may be an error of the predictions."
)


def draw(shown: Comparison, valued: bool = True, rests: Mapping[tuple[str, int], str] = _NOWHERE) -> Markup:
    """The table, its notes, and the differences of configuration.

    Args:
        valued: with the values of the others, not their ratios alone.
        rests: ids of what says what a number rests on, by its metric and the place of its owner.
    """
    rows = [
        (row, [(each, cell_of(row, each), rests.get((row.name, place), "")) for place, each in enumerate(row.cells)])
        for row in shown.metrics
    ]
    return render("differences.html", shown=shown, rows=rows, chance_text=chance_text, valued=valued)


def cell_of(row: MetricRow, each: Compared) -> Cell:
    """A number of a comparison as it is shown."""
    if not math.isfinite(each.value):
        return Cell(row.name, None, reason=each.reason or "not known")
    scale, unit = (1.0, "") if row.dimension == "count" else unit_of(each.value, row.dimension)
    write = whole if row.dimension in ("count", "sequences") else number
    low, high, lowest, highest = (
        write(end / scale) if math.isfinite(end) else "" for end in (each.low, each.high, each.lowest, each.highest)
    )
    ends = (each.low, each.high) if low and high else None
    return Cell(row.name, each.value, write(each.value / scale), unit, low, high, lowest, highest, ends=ends)


FIGURES: Final = (Figure("differences", "Beside the first", 10, READING, lambda shown: bool(shown.metrics), draw),)
