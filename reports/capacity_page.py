"""The page of a capacity: how many devices serve a traffic within its objectives, and what proves it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from reports.capacity import CapacityCard
from reports.capacity_figures import costs, load, tried
from reports.definitions import Term
from reports.fact_figures import CAPACITY
from reports.figure import Figure, drawn
from reports.page_data import Page, write_page
from reports.templating import render_page

FIGURES: Final[tuple[Figure[CapacityCard], ...]] = tuple(
    sorted((CAPACITY, *(each.FIGURE for each in (costs, load, tried))), key=lambda figure: figure.order)
)
"""Every figure of ``reports.capacity_figures`` and the facts, in the order of the page."""
RESTS: Final = "Predicted from simulated requests; what is sourced, assumed and calibrated stands at the end."


def write_capacity(path: Path, card: CapacityCard, static: bool = False) -> None:
    """Write the page of ``card`` to ``path``, whole or not at all.

    Raises:
        InputError: the place cannot be written.
    """
    write_page(path, render_capacity(card, static), Page("capacity", card))


def render_capacity(card: CapacityCard, static: bool = False) -> str:
    """The page of ``card`` as one HTML document; the same card gives the same bytes."""
    return render_page(
        "capacity.html", static, title=card.title, lead=card.lead, figures=drawn(FIGURES, card, static), card=card,
        answer=card.answer, terms=[Term(title, title, meaning) for title, meaning in card.definitions], rests=(RESTS,),
    )  # fmt: skip
