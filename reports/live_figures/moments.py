"""The run over time, live: small pictures that share their axis of time, so that they move and zoom together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from reports.live import Live, Said, hover, live_of, plot, quantities
from reports.numbers import unit_of
from reports.svg import colour
from reports.text import short

Floats = npt.NDArray[np.float64]

_HEIGHT: Final = 160


class Line(NamedTuple):
    """A line over time: its name, its colour's role, shape [n] each."""

    name: str
    colour: str
    at_s: Floats
    values: Floats


class Moment(NamedTuple):
    """A picture: what it shows, in which dimension, where its axis ends."""

    title: str
    dimension: str
    top: float
    lines: list[Line]


def live_moments(key: str, moments: Sequence[Moment], end_s: float) -> Live:
    """Small pictures, one root each."""
    from bokeh.models import Range1d

    across = Range1d(start=0.0, end=end_s, bounds=(0.0, end_s), min_interval=1e-4 * end_s)
    return live_of(key, [_moment(each, across) for each in moments], {"across": True})


def _unwritten(moment: Moment) -> str:
    """The dimension of the ticks: a unit without a prefix stands above the picture already."""
    return "number" if unit_of(moment.top, moment.dimension)[0] == 1.0 else moment.dimension


def _moment(moment: Moment, across: Any) -> Any:
    from bokeh.models import BasicTicker, ColumnDataSource, Range1d

    made = plot(
        _HEIGHT, tools="xpan,xbox_zoom,xwheel_zoom,reset", x_range=across,
        y_range=Range1d(start=0.0, end=1.06 * (moment.top if moment.top > 0.0 else 1.0)),
    )  # fmt: skip
    made.toolbar_inner = made.toolbar.autohide = True
    made.xaxis.formatter, made.yaxis.formatter = quantities("s"), quantities(_unwritten(moment))
    made.xaxis.ticker, made.yaxis.ticker = BasicTicker(desired_num_ticks=4), BasicTicker(desired_num_ticks=3)
    made.xgrid.visible = False
    made.axis.major_label_text_font_size = "11px"
    first = moment.lines[0]
    columns: dict[str, Any] = {"at": first.at_s.astype(np.float32)}
    columns |= {f"v{k}": line.values.astype(np.float32) for k, line in enumerate(moment.lines)}
    source = ColumnDataSource(columns)
    drawn = []
    for k, line in enumerate(moment.lines):
        if len(moment.lines) == 1:
            made.varea("at", 0.0, f"v{k}", source=source, fill_color=colour(line.colour), fill_alpha=0.14)
        drawn.append(made.line("at", f"v{k}", source=source, line_color=colour(line.colour), line_width=1.4))
    said = [Said("at", "at", "s")]
    said += [
        Said(short(line.name, 40) if len(moment.lines) > 1 else short(moment.title, 40), f"v{k}", moment.dimension)
        for k, line in enumerate(moment.lines)
    ]
    made.add_tools(hover(said, "lines", renderers=drawn[:1], mode="vline", line_policy="nearest", limit=1))
    return made
