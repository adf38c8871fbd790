"""The question as it was put, and what the answer was made with."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from reports.figure import Figure
from reports.recommendation import Recommendation
from reports.templating import render


def applies(card: Recommendation) -> bool:
    """Whether anything is known of it."""
    return any(each.facts for each in card.answers)


def draw(card: Recommendation) -> Markup:
    """Groups of facts."""
    return render("environment.html", groups=[group for each in card.answers for group in each.facts])


FIGURE: Final = Figure(
    "asked",
    "What was asked",
    60,
    "The workload, bounds, budgets and formats, how many designs were priced, and what the chances rest on.",
    applies,
    draw,
)
