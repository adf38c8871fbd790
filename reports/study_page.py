"""The page of a study: its question, the answer, and what the answer rests on, in one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from reports.figure import Figure, drawn
from reports.page_data import Page, write_page
from reports.study import StudyCard
from reports.study_figures import asked, bars, gains, heat, lines, mixtures, pareto, provenance, reasons, shares
from reports.templating import render_page

FIGURES: Final[tuple[Figure[StudyCard], ...]] = tuple(
    sorted(
        (each.FIGURE for each in (asked, bars, gains, heat, lines, mixtures, pareto, provenance, reasons, shares)),
        key=lambda figure: figure.order,
    )
)
"""Every figure of ``reports.study_figures``, in the order of the page."""


def write_study(path: Path, card: StudyCard, static: bool = False) -> None:
    """Write the page of ``card`` to ``path``, whole or not at all.

    Raises:
        InputError: the place cannot be written.
    """
    write_page(path, render_study(card, static), Page("study", card))


def render_study(card: StudyCard, static: bool = False) -> str:
    """The page of ``card`` as one HTML document; the same card gives the same bytes."""
    figures = drawn(FIGURES, card, static)
    return render_page("study.html", static, title=card.title, lead=card.question, figures=figures, card=card)
