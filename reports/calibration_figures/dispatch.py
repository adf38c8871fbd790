"""What it takes to start a call: next to nothing to do, so that the time is that of the software."""

from __future__ import annotations

from typing import Final, NamedTuple

from markupsafe import Markup

from reports.calibration import Dispatch, MachineCard
from reports.figure import Figure
from reports.numbers import quantity
from reports.templating import render

_MOST: Final = 40


class Row(NamedTuple):
    """One call, its times as text."""

    dispatch: Dispatch
    time: str
    interval: str


def rows_of(card: MachineCard) -> list[Row]:
    """Calls by the way they are started, the quickest first."""
    ordered = sorted(card.dispatches, key=lambda each: (each.way, each.time_s, each.what, each.dtype))
    return [
        Row(each, quantity(each.time_s, "s"), f"{quantity(each.low_s, 's')} – {quantity(each.high_s, 's')}")
        for each in ordered
    ]


def applies(card: MachineCard) -> bool:
    """Whether dispatch was measured."""
    return bool(card.dispatches)


def draw(card: MachineCard) -> Markup:
    """One table."""
    rows = rows_of(card)
    return render("dispatch.html", rows=rows[:_MOST], more=len(rows) - _MOST)


FIGURE: Final = Figure(
    "dispatch",
    "Dispatch",
    80,
    "The time of calls that have next to nothing to compute: what software takes to start one.",
    applies,
    draw,
)
