"""The table of a comparison: every metric of all, ratios to the first, chances, and what differs."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from reports.compared import Comparison
from reports.comparing import written
from reports.figure import Figure
from reports.numbers import chance_text
from reports.templating import render

READING: Final = (
    "Each value with its 80\u00a0% interval below it, then that value over the one of the first; where 80\u00a0% "
    "intervals overlap, the difference may be an error of the predictions."
)


def draw(shown: Comparison, valued: bool = True) -> Markup:
    """The table, its notes, and the differences of configuration.

    Args:
        valued: with the values of the others, not their ratios alone.
    """
    return render("differences.html", shown=shown, chance_text=chance_text, written=written, valued=valued)


FIGURES: Final = (Figure("differences", "Beside the first", 10, READING, lambda shown: bool(shown.metrics), draw),)
