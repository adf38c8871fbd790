"""Several results beside the first of them: ratios, chances, what differs in what was asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from reports import comparison_figures
from reports.comparing import MOST, compare, entry_of_result
from reports.figure import Figure
from reports.rests import anchor_of
from reports.text import labels_of
from simulator.result import Result

MOST_VALUED: Final = 3
"""Of more results the values stand in the table of all, and only ratios beside the first."""


def applies(results: Sequence[Result]) -> bool:
    """Whether there are several that have a metric in common, and not more than have room."""
    if not 2 <= len(results) <= MOST:
        return False
    names = [name for result in results for name in result.metrics]
    return len(set(names)) < len(names)


def draw(results: Sequence[Result]) -> Markup:
    """The table and the differences."""
    entries = [entry_of_result(label, result) for label, result in zip(labels_of(results), results, strict=True)]
    rests = {(name, place): anchor_of(place, name) for place, result in enumerate(results) for name in result.metrics}
    return comparison_figures.draw(compare(entries), len(results) <= MOST_VALUED, rests)


FIGURE = Figure("differences", "Beside the first", 21, comparison_figures.READING, applies, draw)
