"""What the answers rest on: versions, laws, calibrations, seed, command."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from reports.figure import Figure
from reports.study import StudyCard
from reports.templating import render


def applies(card: StudyCard) -> bool:
    """Whether anything is known of it."""
    return bool(card.provenance)


def draw(card: StudyCard) -> Markup:
    """Groups of facts."""
    return render("environment.html", groups=card.provenance)


FIGURE: Final = Figure(
    "provenance",
    "Provenance",
    90,
    "The command that gave this page, and what its numbers were made with. The same command under the same versions, "
    "laws and specs gives the same numbers.",
    applies,
    draw,
)
