"""How it was predicted: traffic, models, software, limits, prices, and what the intervals mean."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from reports.figure import Figure
from reports.serving import ServedCard
from reports.templating import render


def applies(card: ServedCard) -> bool:
    """Whether anything is known of it."""
    return bool(card.prediction)


def draw(card: ServedCard) -> Markup:
    """Groups of facts."""
    return render("environment.html", groups=card.prediction)


FIGURE: Final = Figure(
    "prediction",
    "How this was predicted",
    70,
    "Everything that was asked, and what stands for what was not: the limits of each scheduler, prices and links with "
    "whether they are sourced, assumed or calibrated.",
    applies,
    draw,
)
