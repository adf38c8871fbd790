"""Traffic, machines, software and site that the answer is about."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from reports.capacity import CapacityCard
from reports.figure import Figure
from reports.templating import render


def applies(card: CapacityCard) -> bool:
    """Whether anything is known of it."""
    return bool(card.facts)


def draw(card: CapacityCard) -> Markup:
    """Groups of facts."""
    return render("environment.html", groups=card.facts)


FIGURE: Final = Figure(
    "asked",
    "What was asked, and what the answer rests on",
    60,
    "The traffic, the machines and their software with the marks of what is known of them, and what intervals mean.",
    applies,
    draw,
)
