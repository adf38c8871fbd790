"""Predictions against measurements, live: a row says what it is, and device classes can be hidden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from reports.axis import Axis
from reports.live import Live, Said, hover, live_of, plot, quantities
from reports.palette import role
from reports.scorecard import Cloud, Floats
from reports.svg import colour
from reports.text import short

if TYPE_CHECKING:
    from bokeh import plotting

_HEIGHT: Final = 400


def live_against(
    key: str, cloud: Cloud, axis: Axis, names: Sequence[str], band: tuple[Floats, Floats, Floats], bars: bool
) -> Live:
    """A panel.

    Args:
        key: unique on the page.
        axis: of both directions.
        names: device classes, the one with most rows first: it lies lowest.
        band: of the usual interval, shape [bins] each; empty where each row has a bar of its own.
        bars: whether it has.
    """
    from bokeh.models import ColumnDataSource, Range1d

    ends = (10.0**axis.low, 10.0**axis.high)
    made = plot(
        _HEIGHT, x_axis_type="log", y_axis_type="log", x_range=Range1d(start=ends[0], end=ends[1]),
        y_range=Range1d(start=ends[0], end=ends[1]),
    )  # fmt: skip
    made.xaxis.formatter = made.yaxis.formatter = quantities(cloud.dimension)
    made.xaxis.axis_label, made.yaxis.axis_label = "measured", "predicted"
    if len(band[0]):
        source = ColumnDataSource(dict(zip(("at", "low", "high"), band, strict=True)))
        made.varea("at", "low", "high", source=source, fill_color=colour("muted"), fill_alpha=0.16)
    made.line(list(ends), list(ends), line_color=colour("ink"), line_width=1.4)
    for factor in (0.5, 2.0):
        made.line(list(ends), [factor * end for end in ends], line_color=colour("muted"), line_dash="dashed")
    drawn = [_draw_class(made, cloud, name, bars) for name in names]
    rows = [
        Said("measured", "x", cloud.dimension), Said("predicted", "y", cloud.dimension),
        Said("predicted / measured", "ratio", "number"), Said("80 % from", "low", cloud.dimension),
        Said("to", "high", cloud.dimension), Said("class", "class"),
    ]  # fmt: skip
    if cloud.hints:
        rows.insert(0, Said("", "what"))
    made.add_tools(hover(rows, renderers=drawn, limit=3))
    return live_of(key, [made])


def _draw_class(made: plotting.figure, cloud: Cloud, name: str, bars: bool) -> Any:
    from bokeh.models import ColumnDataSource

    here = np.flatnonzero(cloud.device_class == name)
    x, y, low, high = (
        values[here].astype(np.float32) for values in (cloud.observed, cloud.predicted, cloud.low_80, cloud.high_80)
    )
    columns: dict[str, Any] = {
        "x": x,
        "y": y,
        "low": low,
        "high": high,
        "ratio": y / x,
        "class": [short(name, 16)] * len(x),
    }
    if cloud.hints:
        columns["what"] = [short(cloud.hints[place], 240) for place in here.tolist()]
    source, shade = ColumnDataSource(columns), role("class", name)
    if bars:
        spans = made.segment("x", "low", "x", "high", source=source, line_color=colour(shade), line_alpha=0.35)
        spans.tags = ["show", shade]
    dots = made.scatter(
        "x", "y", source=source, size=6 if bars or cloud.hints else 4, fill_color=colour(shade), line_width=0.4,
        fill_alpha=0.8 if cloud.hints else 0.6, line_color=colour("paper"),
    )  # fmt: skip
    dots.tags = ["show", shade]
    return dots
