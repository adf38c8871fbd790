"""A timeline, live: bars say what they are, and time can be moved and zoomed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from reports.live import Live, Said, hover, live_of, plot, quantities
from reports.palette import family_rank, in_words, role
from reports.svg import colour
from reports.text import short

if TYPE_CHECKING:
    from bokeh import plotting

_LANE_PX: Final = 27
_AROUND_PX: Final = 90


class Bar(NamedTuple):
    """``spans`` pieces of work as one."""

    what: str
    family: str
    start_s: float
    end_s: float
    spans: int


class Lane(NamedTuple):
    """One engine of a device, or one link; ``busy`` in words."""

    name: str
    busy: str
    bars: list[Bar]


def live_timeline(key: str, lanes: Sequence[Lane], window: tuple[float, float]) -> Live:
    """Lanes below each other over one axis of time.

    Args:
        key: unique on the page.
        window: from when to when [s].
    """
    from bokeh.models import FixedTicker, Range1d

    length = window[1] - window[0]
    made = plot(
        _AROUND_PX + _LANE_PX * len(lanes), tools="xpan,xbox_zoom,xwheel_zoom,reset",
        x_range=Range1d(start=window[0], end=window[1] + 0.001 * length,
                        bounds=(window[0], window[1] + 0.001 * length), min_interval=1e-6 * length),
        y_range=Range1d(start=len(lanes) - 0.4, end=-0.6),
    )  # fmt: skip
    made.xaxis.axis_label, made.xaxis.formatter = "time", quantities("s")
    made.yaxis.ticker = FixedTicker(ticks=list(range(len(lanes))))
    made.yaxis.major_label_overrides = {
        row: f"{short(lane.name, 34)}  {lane.busy}" for row, lane in enumerate(lanes)
    }  # fmt: skip
    made.yaxis.major_tick_line_color = made.yaxis.axis_line_color = None
    made.ygrid.visible = False
    _draw(made, lanes)
    return live_of(key, [made], {"across": True})


def _draw(made: plotting.figure, lanes: Sequence[Lane]) -> None:
    """Bars by family, so that a family can be hidden; names once, by their place."""
    from bokeh.models import ColumnDataSource

    placed = [(row, bar) for row, lane in enumerate(lanes) for bar in lane.bars]
    drawn, names = [], list(dict.fromkeys(bar.what for _, bar in placed))
    places = {name: k for k, name in enumerate(names)}
    families = sorted({bar.family for _, bar in placed}, key=family_rank)
    for at, family in enumerate(families):
        own = [(row, bar) for row, bar in placed if bar.family == family]
        rows = np.array([row for row, _ in own], np.float32)
        start, end = np.array([bar.start_s for _, bar in own]), np.array([bar.end_s for _, bar in own])
        source = ColumnDataSource({
            "start": start, "end": end, "top": rows - 0.36, "bottom": rows + 0.36,
            "lasts": (end - start).astype(np.float32), "lane": rows.astype(np.uint8),
            "family": np.full(len(own), at, np.uint8),
            "what": np.array([places[bar.what] for _, bar in own], np.uint16),
            "spans": np.array([bar.spans for _, bar in own], np.float32),
        })  # fmt: skip
        shade = role("family", family)
        bars = made.quad(
            left="start", right="end", top="top", bottom="bottom", source=source, fill_color=colour(shade),
            line_color=colour(shade), line_width=0.5,
        )  # fmt: skip
        bars.tags = ["show", shade]
        drawn.append(bars)
    said = [
        Said("", "what", None, [short(name, 80) for name in names]),
        Said("family", "family", None, [in_words("family", family) for family in families]),
        Said("lane", "lane", None, [short(lane.name, 40) for lane in lanes]), Said("from", "start", "s"),
        Said("to", "end", "s"), Said("takes", "lasts", "s"), Said("spans in it", "spans"),
    ]  # fmt: skip
    made.add_tools(hover(said, "lanes", renderers=drawn, limit=1))
