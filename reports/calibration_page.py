"""The page of a calibration: what was measured, what was fitted, and how far it can be trusted, in one HTML file."""

from __future__ import annotations

from pathlib import Path

from reports.calibration import MachineCard
from reports.figure import calibration_figures, drawn
from reports.page_data import Page, write_page
from reports.templating import render_page


def write_calibration(path: Path, card: MachineCard, static: bool = False) -> None:
    """Write the page of ``card`` to ``path``, whole or not at all.

    Raises:
        InputError: the place cannot be written.
    """
    write_page(path, render_calibration(card, static), Page("calibration", card))


def render_calibration(card: MachineCard, static: bool = False) -> str:
    """The page of ``card`` as one HTML document; the same card gives the same bytes."""
    figures = drawn(calibration_figures(), card, static)
    return render_page("calibration.html", static, title=card.title, lead=card.lead, figures=figures, card=card)
