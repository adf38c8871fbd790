"""The first metric over the two axes that matter most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.numbers import number, unit_of, whole
from reports.study import Measure, Spread, StudyCard, better_first
from reports.study_scales import band_text
from reports.templating import render

MOST_ROWS: Final = 24
MOST_COLUMNS: Final = 16
_STRONGEST: Final = 58
"""Part of the colour in the best cell [percent]: text must stay readable on it."""


class Cell(NamedTuple):
    """A cell in words; ``strength`` is the part of colour in percent."""

    text: str
    strength: int
    best: bool
    hint: str


def shown(count: int, most: int, worth: Sequence[int]) -> list[int]:
    """Places of at most ``most`` of ``count`` levels in their order: those that stand first in ``worth``."""
    return sorted(worth[:most]) if count > most else list(range(count))


def cell_of(
    spread: Spread, measure: Measure, scale: float, ends: tuple[float, float], top: float, where: str
) -> Cell:  # fmt: skip
    """A median, the stronger the better it is.

    Args:
        ends: the smallest and the largest positive median, ends of the colours.
        top: the best median of all.
    """
    if not math.isfinite(spread.median):
        return Cell("–", 0, False, f"{where}: none of {whole(spread.asked)} points is feasible")
    low, high = ends
    # What has no logarithm stands with the smallest.
    part = 0.0 if spread.median <= 0.0 else 0.5 if high == low else math.log(spread.median / low) / math.log(high / low)
    good = part if measure.better == "higher" else 1.0 - part
    hint = f"{where}: {band_text(measure, (spread.low, spread.median, spread.high))}, {_of(spread)}"
    return Cell(number(spread.median / scale), round(_STRONGEST * good), spread.median == top, hint)


def _of(spread: Spread) -> str:
    return f"{whole(spread.feasible)} of {whole(spread.asked)} points feasible"


def applies(card: StudyCard) -> bool:
    """Whether two axes vary and a cell has a positive median."""
    return card.heat is not None and any(_positive(each) for row in card.heat.cells for each in row)


def _positive(spread: Spread) -> bool:
    return math.isfinite(spread.median) and spread.median > 0.0


def draw(card: StudyCard) -> Markup:
    """A table whose cells are coloured."""
    heat, measure = card.heat, card.metrics[0]
    assert heat is not None
    rows, columns = card.factors[heat.rows], card.factors[heat.columns]
    medians = [each.median for row in heat.cells for each in row if _positive(each)]
    ends = (min(medians), max(medians))
    finite = [each.median for row in heat.cells for each in row if math.isfinite(each.median)]
    top = max(finite) if measure.better == "higher" else min(finite)
    scale, unit = unit_of(math.sqrt(ends[0] * ends[1]), measure.dimension)
    down = shown(len(rows.levels), MOST_ROWS, _worth(measure, heat.cells))
    across = shown(len(columns.levels), MOST_COLUMNS, _worth(measure, tuple(zip(*heat.cells, strict=True))))
    lines = [
        (rows.levels[i], [
            cell_of(heat.cells[i][j], measure, scale, ends, top,
                    f"{rows.name} {rows.levels[i]}, {columns.name} {columns.levels[j]}")
            for j in across
        ])
        for i in down
    ]  # fmt: skip
    return render(
        "study_heat.html", lines=lines, heads=[columns.levels[j] for j in across], rows=rows.name, columns=columns.name,
        metric=measure.title, unit=unit, ends=[measure.text(end) for end in ends], strongest=_STRONGEST,
        better=measure.better, left_out=(len(rows.levels) - len(down), len(columns.levels) - len(across)),
    )  # fmt: skip


def _worth(measure: Measure, cells: Sequence[Sequence[Spread]]) -> list[int]:
    """Levels by their best cell, the best first."""
    signed = []
    for row in cells:
        known = [each.median for each in row if math.isfinite(each.median)]
        signed.append((max if measure.better == "higher" else min)(known) if known else math.nan)
    return better_first(measure, signed)


FIGURE: Final = Figure(
    "map",
    "The two axes that matter most",
    40,
    "The first metric over the two axes with the largest shares of its variance: in each cell the median over all "
    "values of the other axes, feasible points alone. The stronger the colour, the better. A dash: no point is "
    "feasible.",
    applies,
    draw,
)
