"""What was asked: what all points share, and what they differ by."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from reports.figure import Figure
from reports.study import StudyCard
from reports.templating import render


def applies(card: StudyCard) -> bool:
    """Whether anything is known of it."""
    return bool(card.asked)


def draw(card: StudyCard) -> Markup:
    """Groups of facts."""
    return render("environment.html", groups=card.asked)


FIGURE: Final = Figure(
    "asked",
    "What was asked",
    80,
    "What all points share, the axes with their values, the conditions, constraints and sample that say which points "
    "there are, and what an hour of each device costs.",
    applies,
    draw,
)
