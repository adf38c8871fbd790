"""Tenants: what each asks and gets."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from reports.figure import Figure
from reports.serving import ServedCard
from reports.templating import render


def applies(card: ServedCard) -> bool:
    """Whether there are tenants."""
    return bool(card.tenants)


def draw(card: ServedCard) -> Markup:
    """A table."""
    titles = [each.title for each in card.tenants[0].figures]
    rows = [(row.name, [each.cell for each in row.figures]) for row in card.tenants]
    asks = [row.asks for row in card.tenants]
    return render("serving_table.html", rows=rows, titles=titles, first="Tenant", what="Tenants", asks=asks)


FIGURE: Final = Figure(
    "tenants",
    "Tenants",
    60,
    "Requests of each tenant, the share that keeps all its objectives, and its latencies; requests that were not "
    "answered do not keep any.",
    applies,
    draw,
)
