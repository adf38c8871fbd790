"""All figures of merit by kind and device class, of all rows and of those that a fit has and has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.numbers import number, share, whole
from reports.palette import role
from reports.scorecard import KINDS, Figures, Score, Scorecard
from reports.templating import render


class Column(NamedTuple):
    """A figure of merit: its name in the report, its heading, how it is written, what it means."""

    name: str
    title: str
    form: str
    meaning: str


COLUMNS: Final = (
    Column("n", "Rows", "count", "Rows that were predicted; the figures are of these."),
    Column("skipped", "Skipped", "count", "Rows that could not be predicted."),
    Column("mape", "Mean error", "share", "Mean of |predicted / measured - 1|."),
    Column("median_ape", "Median error", "share", "Median of |predicted / measured - 1|."),
    Column("bias", "Bias", "ratio", "Median of predicted / measured: above 1 predictions are too large."),
    Column("kendall_tau", "Rank", "ratio", "Kendall's tau-b: 1 where predictions order rows as measurements do."),
    Column("coverage_80", "In 80 %", "share", "Share of measurements inside their 80% interval."),
    Column("coverage_80_p", "p", "p",
           "Two-sided exact binomial test of this share against 80%, rows taken as independent."),
    Column("coverage_95", "In 95 %", "share", "Share of measurements inside their 95% interval."),
    Column("interval_score", "Interval score", "ratio",
           "Width of the 80% interval on the logarithm plus ten times by how much the measurement lies outside: less "
           "is better."),
    Column("constant_band_score", "Constant band", "ratio",
           "The interval score of one ratio up and down for all rows that holds as many measurements: the score to "
           "beat."),
    Column("source_devices", "Origins", "count",
           "Pairs of source and device: rows of one pair are not independent, so this many say more than the rows do."),
)  # fmt: skip
"""What the table shows, in order."""

_OUTSTANDING: Final = "interval_score"


class Cell(NamedTuple):
    """A figure as text, and as the number that sorts it; ``good`` where intervals beat the constant band."""

    text: str
    value: float | int | None
    good: bool


class Row(NamedTuple):
    """A class or the whole kind, and which part of its rows; "" for all of them."""

    name: str
    colour: str
    part: str
    cells: list[Cell]


class Table(NamedTuple):
    """One kind of measurement."""

    kind: str
    rows: list[Row]


def tables_of(card: Scorecard) -> list[Table]:
    """One table per kind: the whole first, then class by class."""
    return [
        Table(
            KINDS.get(kind.kind, kind.kind),
            [
                *_rows("all classes", "muted", kind.scores),
                *(
                    row
                    for each in kind.classes
                    for row in _rows(each.device_class or "unknown", role("class", each.device_class), each.scores)
                ),
            ],
        )
        for kind in card.kinds
    ]


def _rows(name: str, colour: str, scores: Sequence[Score]) -> list[Row]:
    """All rows of a class, and its parts where both have predictions; else a word on which part all are."""
    whole_class, *parts = scores
    there = [score for score in parts if score.figures["n"]]
    shown = [("", whole_class.figures), *((score.part, score.figures) for score in there)]
    if len(there) < 2:
        shown = [(f"all {there[0].part}" if there else "", whole_class.figures)]
    return [Row(name, colour, part, [_cell(figures, column) for column in COLUMNS]) for part, figures in shown]


def _cell(figures: Figures, column: Column) -> Cell:
    value = figures[column.name]
    constant = figures["constant_band_score"]
    good = column.name == _OUTSTANDING and value is not None and constant is not None and value < constant
    return Cell("none" if value is None else written(value, column.form), value, good)


def written(value: float, form: str) -> str:
    """A figure of merit as text."""
    if form == "count":
        return whole(value)
    if form == "p":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    return share(value) if form == "share" and value < 10.0 else number(value)


def applies(card: Scorecard) -> bool:
    """Whether there is a kind of measurement."""
    return bool(card.kinds)


def draw(card: Scorecard) -> Markup:
    """The tables; the script of the page sorts them by the column that is pressed."""
    return render("scores.html", tables=tables_of(card), columns=COLUMNS)


FIGURE: Final = Figure(
    "scores",
    "Figures of merit by class",
    40,
    "Rows that a fit of the device, the runtime or the law has seen stand apart from those held out, which say more; "
    "a class with rows of one sort alone has one line. A triangle marks interval scores that beat a constant band. "
    "Press a heading to sort; what each column means stands at the end.",
    applies,
    draw,
)
