"""What the first axis changes: the best point at each of its levels, and every metric over that at the first level."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.numbers import number, whole
from reports.study import Gain, Measure, Ratio, StudyCard
from reports.templating import render

MOST_LEVELS: Final = 16
_SAME: Final = 0.005
"""A ratio that is nearer to one than this is no gain."""


class Cell(NamedTuple):
    """A ratio in words; ``value`` sorts it."""

    text: str
    band: str
    value: float | None
    gains: bool
    hint: str


class Row(NamedTuple):
    """One level of the first factor."""

    level: str
    best: str
    value: float | None
    configuration: str
    cells: list[Cell]


def rows_of(card: StudyCard) -> list[Row]:
    """A row for each level; of many levels rows for as many feasible ones as are shown, ends included."""
    shown = list(card.gains)
    if len(shown) > MOST_LEVELS:
        shown = [gain for place, gain in enumerate(card.gains) if gain.best is not None or not place]
        last = len(shown) - 1
        shown = [shown[k] for k in dict.fromkeys(round(k * last / (MOST_LEVELS - 1)) for k in range(MOST_LEVELS))]
    return [_row(gain, card) for gain in shown]


def _row(gain: Gain, card: StudyCard) -> Row:
    own = card.factors[0].name.split(", ")
    first = card.metrics[0]
    if gain.best is None:
        return Row(gain.level, "no feasible point", None, "", [cell_of(*pair) for pair in _pairs(gain, card)])
    configuration = ", ".join(f"{name} {value}" for name, value in gain.best.configuration if name not in own)
    return Row(gain.level, first.text(gain.best.value), gain.best.value, configuration,
               [cell_of(*pair) for pair in _pairs(gain, card)])  # fmt: skip


def _pairs(gain: Gain, card: StudyCard) -> list[tuple[Ratio, Measure]]:
    return list(zip(gain.ratios, card.metrics, strict=True))


def cell_of(ratio: Ratio, measure: Measure) -> Cell:
    """A ratio, and its 10 to 90% where that is wider than the last digit."""
    if not math.isfinite(ratio.median):
        return Cell("none", "", None, False, "no pair of feasible points with a known value differs in this alone")
    low, high = number(ratio.low), number(ratio.high)
    band = "" if low == high else f"{low} – {high}"
    better = ratio.median < 1.0 - _SAME if measure.better == "lower" else ratio.median > 1.0 + _SAME
    hint = f"{measure.title}: {whole(ratio.pairs)} pairs of points that differ in nothing else"
    return Cell(f"{number(ratio.median)}\u00a0×", band, ratio.median, better, hint)


def applies(card: StudyCard) -> bool:
    """Whether points have partners that differ in the first axis alone."""
    return len(card.gains) > 1


def draw(card: StudyCard) -> Markup:
    """A table."""
    rows = rows_of(card)
    empty = sum(gain.best is None for gain in card.gains) - sum(row.value is None for row in rows)
    return render(
        "study_gains.html", rows=rows, factor=card.factors[0].name, metrics=card.metrics, first=card.gains[0].level,
        left_out=len(card.gains) - len(rows) - empty, empty=empty, sample=card.sample,
    )  # fmt: skip


FIGURE: Final = Figure(
    "first-axis",
    "What the first axis changes",
    10,
    "For each value of the first axis the best point by the first metric, and how many times as large each metric is "
    "as at the first value: the median over pairs of points that differ in nothing else, below it 10 to 90\u00a0% of "
    "them. Green is better.",
    applies,
    draw,
)
