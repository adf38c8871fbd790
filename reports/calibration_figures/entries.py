"""The entries of a calibration, and how far off fits were on what they left out."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.axis import Axis, Tick, axis_of
from reports.calibration import Entry, MachineCard
from reports.figure import Figure
from reports.numbers import number
from reports.palette import role
from reports.templating import render

_TICKS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class Row(NamedTuple):
    """An entry, its errors as text and as places in percent of a track that all rows share (None: not known)."""

    entry: Entry
    colour: str
    median: str
    mean: str
    unseen: str
    interval: str
    median_at: float | None
    mean_at: float | None
    unseen_at: float | None


def axis_over(entries: tuple[Entry, ...]) -> Axis:
    """One axis for the errors of all entries."""
    errors = [error for entry in entries for error in (entry.median, entry.mean, entry.unseen)]
    return axis_of([*(error for error in errors if 0.0 < error < math.inf), 0.05, 0.5])


def row_of(entry: Entry, axis: Axis) -> Row:
    """An entry, ready to be shown."""

    def place(value: float) -> float | None:
        return axis.at(value) if math.isfinite(value) else None

    def text(value: float) -> str:
        return error_text(value) if math.isfinite(value) else "none"

    known = math.isfinite(entry.low_80) and math.isfinite(entry.high_80)
    interval = f"{number(entry.low_80, 2)} – {number(entry.high_80, 2)}\u00a0×" if known else ""
    return Row(
        entry, role("family", entry.family), text(entry.median), text(entry.mean), text(entry.unseen), interval,
        place(entry.median), place(entry.mean), place(entry.unseen),
    )  # fmt: skip


def error_text(value: float) -> str:
    """A relative error: "8.1 %", "62 %", "230 %"."""
    return f"{100.0 * value:.1f}\u00a0%" if value < 0.0995 else f"{100.0 * value:,.0f}\u00a0%"


def applies(card: MachineCard) -> bool:
    """Whether anything was fitted."""
    return bool(card.entries)


def draw(card: MachineCard) -> Markup:
    """One table; a small track in each row puts the errors of all entries on one axis."""
    axis = axis_over(card.entries)
    ticks = [
        Tick(axis.at(value), error_text(value).replace(".0", ""))
        for value in _TICKS
        if 0.0 < axis.at(value) < 100.0
    ]  # fmt: skip
    runtimes = list(dict.fromkeys(entry.runtime for entry in card.entries))
    return render("entries.html", rows=[row_of(each, axis) for each in card.entries], ticks=ticks, runtimes=runtimes)


FIGURE: Final = Figure(
    "entries",
    "Errors on what fits left out",
    40,
    "Each line is an entry: parameters of the law for these operators, number format and runtime. Shapes (all calls "
    "with the same weights or heads) were left out of the fit in turn, and predicted by the others: the filled dot is "
    "the median error on them, the hollow one the mean. The mark is the mean error where no operator of this kind was "
    "seen. Press a heading to sort.",
    applies,
    draw,
)
