"""What a calibration does not give: read this before a decision rests on it."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from reports.calibration import MachineCard
from reports.figure import Figure
from reports.templating import render


def applies(card: MachineCard) -> bool:
    """Whether anything falls short."""
    return bool(card.shortfalls)


def draw(card: MachineCard) -> Markup:
    """A list."""
    return render("shortfalls.html", shortfalls=card.shortfalls)


FIGURE: Final = Figure(
    "shortfalls",
    "What falls short",
    110,
    "Where this calibration says little, and why.",
    applies,
    draw,
)
