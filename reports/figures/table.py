"""All results side by side: one row each, one table per kind of question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.headline import best_of, device_class, kind_name, metrics_of, ranked
from reports.numbers import Cell, cell_of, metric_of, unit_of
from reports.palette import role
from reports.rests import anchor_of
from reports.templating import render
from reports.text import labels_of
from simulator.metrics import Metric
from simulator.result import Result

LEFT_OUT: Final = frozenset(
    {"prefill_tokens_per_s", "decode_tokens_per_s", "total_tokens_per_s", "tokens_per_s_per_device"}
)
"""Metrics of inference that follow from others; the details of a result list them."""


class Row(NamedTuple):
    """One result; ``best`` are the metrics in which no other fitting result is better, ``rests`` the ids of what says
    what they rest on."""

    label: str
    anchor: str
    colour: str
    device_class: str
    fits: bool
    cells: list[Cell]
    best: frozenset[str]
    rests: dict[str, str]


class Column(NamedTuple):
    """One metric and the unit of all its cells."""

    metric: Metric
    unit: str


class Table(NamedTuple):
    """The results of one kind."""

    kind: str
    columns: list[Column]
    rows: list[Row]


def tables_of(results: Sequence[Result]) -> list[Table]:
    """One table per kind of result, rows ranked by the first headline metric."""
    labels = labels_of(results)
    tables = []
    for kind in dict.fromkeys(result.kind for result in results):
        places = [place for place, result in enumerate(results) if result.kind == kind]
        group = [results[place] for place in places]
        names = [name for name in metrics_of(group) if kind != "inference" or name not in LEFT_OUT]
        middles = {name: _middle(group, name) for name in names}
        best = {name: best_of(group, name) for name in names}
        rows = [
            Row(
                labels[places[i]],
                f"result-{places[i] + 1}",
                role("class", device_class(group[i])),
                device_class(group[i]),
                group[i].fits,
                [cell_of(group[i], name, middles[name]) for name in names],
                frozenset(name for name, place in best.items() if place == i),
                {name: anchor_of(places[i], name) for name in names},
            )
            for i in ranked(group)
        ]
        columns = [_column(name, middles[name]) for name in names]
        tables.append(Table(kind_name(kind), columns, rows))
    return tables


def _middle(group: Sequence[Result], name: str) -> float | None:
    """The value in the middle, whose unit suits the whole column; None without a value."""
    values = sorted(cell.value for result in group if (cell := cell_of(result, name)).value is not None)
    return values[len(values) // 2] if values else None


def _column(name: str, middle: float | None) -> Column:
    metric = metric_of(name)
    return Column(metric, "" if middle is None else unit_of(middle, metric.dimension)[1])


def applies(results: Sequence[Result]) -> bool:
    """Whether there is more than one result to compare."""
    return len(results) > 1


def draw(results: Sequence[Result]) -> Markup:
    """The tables; a small script of the page sorts them by the column that is pressed."""
    return render("table.html", tables=tables_of(results))


FIGURE = Figure(
    "table",
    "All results side by side",
    5,
    "Each cell gives the median and below it the 80\u00a0% interval; a triangle marks the best median among designs "
    "that fit, which means little where intervals overlap. Fractions of a "
    "device's own peak have no best. Press a heading to sort; the details below have more metrics.",
    applies,
    draw,
)
