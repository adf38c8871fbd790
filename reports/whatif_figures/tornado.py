"""Tornados: how far a metric swings with each knob alone at the ends of its range."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.axis import Axis, Tick, axis_of
from reports.figure import Figure
from reports.numbers import number, quantity
from reports.templating import render
from reports.whatif import Bar, Tornado, WhatIf
from reports.whatif_axis import fine_ticks

MOST_BARS: Final = 15


class Piece(NamedTuple):
    """A part of a bar: where it begins and how wide it is, in percent of the track."""

    left: float
    width: float
    colour: str


class Line(NamedTuple):
    """One knob."""

    path: str
    pieces: list[Piece]
    value: str
    hint: str


class Panel(NamedTuple):
    """One metric."""

    title: str
    base: float
    lines: list[Line]
    ticks: list[Tick]
    more: int


def panel_of(tornado: Tornado) -> Panel:
    """One metric, ready for the template; its axis is logarithmic, so that equal distances are equal ratios."""
    bars = tornado.bars[:MOST_BARS]
    axis = axis_of([tornado.base, *(end for bar in bars for end in (bar.low, bar.high) if math.isfinite(end))])
    title = f"{tornado.metric}: {quantity(tornado.base, tornado.dimension)} as it stands"
    lines = [_line(bar, tornado, axis) for bar in bars]
    return Panel(
        title, axis.at(tornado.base), lines, fine_ticks(axis, tornado.dimension), len(tornado.bars) - len(bars)
    )


def _line(bar: Bar, tornado: Tornado, axis: Axis) -> Line:
    pieces = []
    for end, colour in ((bar.low, "series-1"), (bar.high, "series-2")):
        if math.isfinite(end):
            ends = sorted((axis.at(tornado.base), axis.at(end)))
            pieces.append(Piece(ends[0], ends[1] - ends[0], colour))
    low, high = (quantity(end, tornado.dimension) if math.isfinite(end) else "none" for end in (bar.low, bar.high))
    hint = f"{low} at {bar.low_end}, {high} at {bar.high_end}; {bar.why}"
    known = [end for end in (bar.low, bar.high) if math.isfinite(end)]
    size = max(known) / min(known) - 1.0 if len(known) == 2 else math.nan
    value = f"{number(100.0 * size)}\u00a0%" if math.isfinite(size) else "one end"
    return Line(bar.path, sorted(pieces, key=lambda piece: -piece.width), value, hint)


def applies(shown: WhatIf) -> bool:
    """Whether any metric swings."""
    return any(tornado.bars for tornado in shown.tornados)


def draw(shown: WhatIf) -> Markup:
    """A panel per metric."""
    return render("whatif_tornado.html", panels=[panel_of(each) for each in shown.tornados if each.bars])


FIGURE: Final = Figure(
    "tornado",
    "Tornado",
    20,
    "Each bar is one knob alone at the ends of a range; what the range is stands in its tooltip. Ranges that nobody "
    "gave follow from how the number is known: what is sourced moves by a tenth, what is assumed by half as much "
    "again. Axes are logarithmic; on the right the whole swing.",
    applies,
    draw,
)
