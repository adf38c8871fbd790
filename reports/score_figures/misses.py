"""The rows whose predictions are furthest off, with what they rest on and what may be behind it."""

from __future__ import annotations

from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.numbers import number, quantity
from reports.palette import role
from reports.scorecard import Miss, Scorecard
from reports.templating import render


class Row(NamedTuple):
    """One miss, its numbers as text; ``off`` is how many times too large or too small the prediction is."""

    miss: Miss
    colour: str
    observed: str
    predicted: str
    interval: str
    off: str


def row_of(miss: Miss) -> Row:
    """A miss, ready to be shown."""
    ratio = miss.predicted / miss.observed
    known = miss.low_80 > 0.0 and miss.high_80 > 0.0
    interval = f"{quantity(miss.low_80, miss.dimension)} – {quantity(miss.high_80, miss.dimension)}" if known else ""
    off = f"{number(ratio)}\u00a0× too large" if ratio > 1.0 else f"{number(1.0 / ratio)}\u00a0× too small"
    return Row(
        miss, role("class", miss.device_class), quantity(miss.observed, miss.dimension),
        quantity(miss.predicted, miss.dimension), interval, off,
    )  # fmt: skip


def applies(card: Scorecard) -> bool:
    """Whether anything was predicted."""
    return bool(card.misses)


def draw(card: Scorecard) -> Markup:
    """One table, the worst first."""
    return render("misses.html", rows=[row_of(miss) for miss in card.misses])


FIGURE: Final = Figure(
    "misses",
    "The rows furthest off",
    50,
    "By the ratio of prediction to measurement. The likely reason is a rule that holds for the row, not a proof.",
    applies,
    draw,
)
