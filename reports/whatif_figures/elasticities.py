"""Elasticities: by how many percent each metric changes with one percent of each knob."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.palette import role
from reports.templating import render
from reports.whatif import KnobRow, Slope, WhatIf

MOST_ROWS: Final = 40
_FULL: Final = 1.0
"""The slope whose bar fills half of a cell."""


class Cell(NamedTuple):
    """A slope as text, as a number to sort by, and as a bar from the middle of the cell, in percent."""

    text: str
    sides: str
    value: float | None
    left: float
    width: float
    colour: str


class Row(NamedTuple):
    """A knob."""

    knob: KnobRow
    mark: str
    cells: list[Cell]


def cell_of(slope: Slope) -> Cell:
    """A slope, ready to be shown; what is steeper than 1 ends at the edge."""
    if not math.isfinite(slope.middle):
        return Cell("none", "", None, 50.0, 0.0, "series-1")
    length = 50.0 * min(abs(slope.middle) / _FULL, 1.0)
    sides = ""
    if slope.uneven:
        sides = " ".join(
            f"{arrow}\u00a0{text(side) if math.isfinite(side) else 'none'}"
            for arrow, side in (("◂", slope.left), ("▸", slope.right))
        )
    left = 50.0 if slope.middle > 0.0 else 50.0 - length
    return Cell(text(slope.middle), sides, slope.middle, left, length, "series-2" if slope.middle > 0.0 else "series-1")


def text(value: float) -> str:
    """A slope with its sign: "+0.69", "−1.00"; what is next to nothing is 0."""
    if abs(value) < 5e-4:
        return "0"
    digits = 2 if abs(value) >= 0.095 else 3
    return f"{value:+.{digits}f}".replace("-", "−")


def applies(shown: WhatIf) -> bool:
    """Whether any knob does anything."""
    return bool(shown.knobs)


def draw(shown: WhatIf) -> Markup:
    """One table; a press on a heading sorts it."""
    rows = [Row(knob, role("mark", knob.mark), [cell_of(slope) for slope in knob.slopes]) for knob in shown.knobs]
    return render(
        "whatif_elasticities.html", rows=rows[:MOST_ROWS], more=max(len(rows) - MOST_ROWS, 0), metrics=shown.metrics,
        idle=shown.knobs_idle,
    )  # fmt: skip


FIGURE: Final = Figure(
    "elasticities",
    "Elasticities",
    30,
    "By how many percent a metric changes when a knob grows by one percent, everything else as it is: −1 is inverse "
    "proportion. Where the slope down (◂) and the slope up (▸) differ, a fold, a jump or the edge of a whole number "
    "lies there. Press a heading to sort.",
    applies,
    draw,
)
