"""Links between pools: what they carried."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from reports.figure import Figure
from reports.serving import ServedCard
from reports.templating import render


def applies(card: ServedCard) -> bool:
    """Whether pools hand anything on."""
    return bool(card.links)


def draw(card: ServedCard) -> Markup:
    """A table."""
    titles = [each.title for each in card.links[0].figures]
    rows = [(row.name, [each.cell for each in row.figures]) for row in card.links]
    return render("serving_table.html", rows=rows, titles=titles, first="Link", what="Links")


FIGURE: Final = Figure(
    "links",
    "Links between pools",
    50,
    "Bytes that went over each link, the share of the run in which anything was on it, and what it can carry: a port "
    "of a replica, and all of them together.",
    applies,
    draw,
)
