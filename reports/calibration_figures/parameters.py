"""The fitted parameters of every entry, with their intervals inside the range that fits may move them in."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.calibration import Entry, MachineCard, Parameter
from reports.figure import Figure
from reports.numbers import number, unit_of
from reports.palette import role
from reports.templating import render

_OPEN: Final = 1
"""Entries whose parameters are shown without a press."""
_UNKNOWN: Final = 0.7
"""Part of its range from which on an interval says nothing."""
_DECADE: Final = 10.0
_HUGE: Final = 1e5


class Row(NamedTuple):
    """A parameter as text, and its interval as places in percent of its range (None: without one)."""

    name: str
    meaning: str
    value: str
    unit: str
    interval: str
    at: float | None
    ends: tuple[float, float] | None
    open: bool


class Block(NamedTuple):
    """The parameters of one entry; ``open`` of them are not determined by the samples."""

    entry: Entry
    colour: str
    rows: list[Row]
    undetermined: int
    open: bool


def place_of(value: float, parameter: Parameter) -> float:
    """Where a value lies in the range of its parameter, in percent: by its logarithm where that is over a decade."""
    least, most = parameter.least, parameter.most
    if least > 0.0 and most / least > _DECADE:
        value, least, most = (math.log(max(each, 1e-300)) for each in (value, least, most))
    return 100.0 * min(max((value - least) / (most - least), 0.0), 1.0)


def row_of(parameter: Parameter) -> Row:
    """A parameter, ready to be shown, in the unit that suits its value."""
    scale, unit = unit_of(parameter.value, parameter.dimension)
    ranged = parameter.least < parameter.most
    known = math.isfinite(parameter.low) and math.isfinite(parameter.high)
    ends = (place_of(parameter.low, parameter), place_of(parameter.high, parameter)) if ranged and known else None
    return Row(
        parameter.name, parameter.meaning, _short(parameter.value / scale), unit,
        f"{_short(parameter.low / scale)} – {_short(parameter.high / scale)}" if known else "",
        place_of(parameter.value, parameter) if ranged else None, ends,
        ends is not None and ends[1] - ends[0] > 100.0 * _UNKNOWN,
    )  # fmt: skip


def _short(value: float) -> str:
    return f"{value:.2g}" if abs(value) >= _HUGE or 0.0 < abs(value) < 1.0 / _HUGE else number(value)


def blocks_of(card: MachineCard) -> list[Block]:
    """One block per entry that has parameters."""
    blocks: list[Block] = []
    for entry in card.entries:
        rows = [row_of(parameter) for parameter in entry.parameters]
        if rows:
            blocks.append(
                Block(entry, role("family", entry.family), rows, sum(row.open for row in rows), len(blocks) < _OPEN)
            )
    return blocks


def applies(card: MachineCard) -> bool:
    """Whether any parameter was fitted."""
    return bool(blocks_of(card))


def draw(card: MachineCard) -> Markup:
    """A table per entry, to be opened."""
    return render("parameters.html", blocks=blocks_of(card))


FIGURE: Final = Figure(
    "parameters",
    "Parameters",
    50,
    "The line is the range in which a fit may move a parameter (by the logarithm where it spans more than a decade), "
    "the bar on it the 95\u00a0% interval. A bar over most of the line says that the samples do not determine this "
    "parameter: others stand in for it, and predictions hardly depend on it where calls were measured.",
    applies,
    draw,
)
