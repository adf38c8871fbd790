"""The page of a calibration: what was measured, what was fitted, and how far it can be trusted, in one HTML file."""

from __future__ import annotations

from pathlib import Path

from hardware_specs.files import write_text
from reports.calibration import MachineCard
from reports.figure import calibration_figures
from reports.templating import render


def write_calibration(path: Path, card: MachineCard) -> None:
    """Write the page of ``card`` to ``path``, whole or not at all.

    Raises:
        InputError: the place cannot be written.
    """
    write_text(path, render_calibration(card))


def render_calibration(card: MachineCard) -> str:
    """The page of ``card`` as one HTML document; the same card gives the same bytes."""
    figures = [(figure, figure.draw(card)) for figure in calibration_figures() if figure.applies(card)]
    return render("calibration.html", title=card.title, lead=card.lead, figures=figures, card=card)
