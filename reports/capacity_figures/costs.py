"""What each of those that were tried costs in dollars an hour and in joules, beside whether it holds."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.capacity import RATE, CapacityCard, Trials, Tried
from reports.figure import Figure
from reports.numbers import quantity
from reports.templating import render

MOST_ROWS: Final = 16


class Bar(NamedTuple):
    """A cost: its length in percent of the longest, and in words."""

    width: float
    text: str


class Row(NamedTuple):
    """One that was tried; ``bars`` are dollars an hour and joules, None where they are not known."""

    name: str
    verdict: str
    holds: bool
    chosen: bool
    bars: tuple[Bar | None, Bar | None]


class Panel(NamedTuple):
    """One table as bars."""

    title: str
    rows: list[Row]
    more: int


def applies(card: CapacityCard) -> bool:
    """Whether costs of two fleets or more are known."""
    return bool(_shown(card))


def _shown(card: CapacityCard) -> list[Trials]:
    return [table for table in card.tables if table.first != RATE and len(_priced(table)) > 1]


def _priced(table: Trials) -> list[Tried]:
    return [row for row in table.rows if math.isfinite(row.usd_per_hour) or math.isfinite(row.j_per_work)]


def draw(card: CapacityCard) -> Markup:
    """Two bars for each."""
    panels = [_panel(table) for table in _shown(card)]
    return render("capacity_costs.html", panels=panels, j_title=card.work.j_title, several=len(panels) > 1)


def _panel(table: Trials) -> Panel:
    priced = _priced(table)
    shown = priced[:MOST_ROWS]
    most = [
        max((value for value in column if math.isfinite(value)), default=math.nan)
        for column in ([row.usd_per_hour for row in shown], [row.j_per_work for row in shown])
    ]
    rows = [
        Row(
            row.name, "chosen" if row.chosen else "holds" if row.holds else "breaks", row.holds, row.chosen,
            (_bar(row.usd_per_hour, most[0], "usd", " an hour"), _bar(row.j_per_work, most[1], "j", "")),
        )
        for row in shown
    ]  # fmt: skip
    return Panel(table.title, rows, len(priced) - len(shown))


def _bar(value: float, most: float, dimension: str, ends: str) -> Bar | None:
    if not math.isfinite(value):
        return None
    return Bar(100.0 * value / most if most > 0.0 else 0.0, f"{quantity(value, dimension)}{ends}")


FIGURE: Final = Figure(
    "costs",
    "What each costs",
    20,
    "Dollars an hour of all devices, and joules of what they answer, idle time included, each to a scale of its own. "
    "Blue ones hold every objective, grey ones break one.",
    applies,
    draw,
)
