"""The page of a comparison of what is no set of results: served runs, studies, scorecards."""

from __future__ import annotations

from reports.compared import Comparison
from reports.comparison_figures import FIGURES
from reports.figure import drawn
from reports.templating import render_page


def render_comparison(shown: Comparison, static: bool = False) -> str:
    """The page of ``shown`` as one HTML document; the same comparison gives the same bytes."""
    figures = drawn(FIGURES, shown, static)
    return render_page("comparison_page.html", static, title=shown.title, lead=shown.lead, figures=figures, shown=shown)
