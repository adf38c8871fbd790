"""Everything that was tried: what it came to, whether it holds, and why not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.capacity import RATE, CapacityCard, Trials, Tried
from reports.figure import Figure
from reports.numbers import number, quantity, whole
from reports.palette import role
from reports.templating import render


class Cell(NamedTuple):
    """A number in words, and the one that sorts it (NaN: none)."""

    text: str
    value: float


class Row(NamedTuple):
    """One that was tried, ready for the template."""

    tried: Tried
    colour: str
    cells: list[Cell]


class Column(NamedTuple):
    """A column of numbers: what heads it, and what programs call it."""

    title: str
    name: str


class Table(NamedTuple):
    """One table."""

    trials: Trials
    columns: list[Column]
    rows: list[Row]


def applies(card: CapacityCard) -> bool:
    """Whether anything was tried."""
    return any(table.rows for table in card.tables)


def draw(card: CapacityCard) -> Markup:
    """All tables."""
    return render("capacity_tried.html", tables=[_table(each, card) for each in card.tables if each.rows])


def _table(trials: Trials, card: CapacityCard) -> Table:
    columns = [
        Column("Devices", "devices"), Column(trials.rate, "requests_per_s"),
        *(Column(goal, goal) for goal in trials.goals), Column("USD/h", "usd_per_hour"),
        Column(card.work.usd_title, "usd"), Column(card.work.j_title, "j"), Column("Busy", "utilisation"),
    ]  # fmt: skip
    rows = [Row(each, role("class", each.device_class), _cells(each, len(trials.goals))) for each in trials.rows]
    kept = [k for k in range(len(columns)) if _tells([row.cells[k].value for row in rows], alike=k > 1)]
    if trials.first == RATE:
        kept = [k for k in kept if columns[k].title != trials.rate]
    return Table(
        trials, [columns[k] for k in kept], [row._replace(cells=[row.cells[k] for k in kept]) for row in rows]
    )  # fmt: skip


def _tells(values: Sequence[float], alike: bool) -> bool:
    """Whether a column says anything: some value is known, and where all are ``alike`` that is worth a column."""
    known = {value for value in values if math.isfinite(value)}
    return len(known) > 1 or (alike and bool(known))


def _cells(each: Tried, goals: int) -> list[Cell]:
    latencies = (*each.latencies, *((math.nan,) * (goals - len(each.latencies))))
    values = (
        (each.devices, "count"), (each.rate_per_s, ""), *((value, "s") for value in latencies),
        (each.usd_per_hour, ""), (each.usd_per_work, "usd"), (each.j_per_work, "j"), (each.utilisation, "fraction"),
    )  # fmt: skip
    return [Cell(_text(value, dimension), value) for value, dimension in values]


def _text(value: float, dimension: str) -> str:
    if not math.isfinite(value):
        return ""
    if dimension == "count":
        return whole(value)
    return quantity(value, dimension) if dimension else number(value)


FIGURE: Final = Figure(
    "tried",
    "Everything that was tried",
    30,
    "Latencies are quantiles of the requests that are judged: without the first tenth of a run and its last twentieth. "
    "Both halves of them must keep every bound.",
    applies,
    draw,
)
