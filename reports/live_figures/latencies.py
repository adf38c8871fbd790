"""How long requests take, live: each share of requests says within which time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from reports.live import Live, Said, hover, live_of, plot, quantities
from reports.svg import colour
from reports.text import short

Floats = npt.NDArray[np.float64]

_HEIGHT: Final = 320


class Curve(NamedTuple):
    """A distribution: its name, its colour's role, times [s] and the share of requests within them, shape [n]."""

    name: str
    colour: str
    at_s: Floats
    share: Floats


class Band(NamedTuple):
    """The 80% interval of a quantile [s]."""

    name: str
    share: float
    low_s: float
    high_s: float


class Bound(NamedTuple):
    """A bound and the share that must be within it, in words."""

    text: str
    bound_s: float
    share: float


def live_latencies(
    key: str, curves: Sequence[Curve], bands: Sequence[Band], bounds: Sequence[Bound], ends: tuple[float, float]
) -> Live:
    """Distributions over a logarithmic axis of time that goes from ``ends[0]`` to ``ends[1]`` [s]."""
    from bokeh.models import ColumnDataSource, Range1d
    from bokeh.models.annotations import Span

    made = plot(
        _HEIGHT, x_axis_type="log", x_range=Range1d(start=ends[0], end=ends[1]), y_range=Range1d(start=0.0, end=1.05),
    )  # fmt: skip
    made.xaxis.formatter, made.yaxis.formatter = quantities("s"), quantities("fraction")
    made.yaxis.ticker = [0.0, 0.25, 0.5, 0.75, 0.9, 1.0]
    for bound in bounds:
        made.add_layout(
            Span(location=bound.bound_s, dimension="height", line_color=colour("ink"), line_dash="dashed", line_width=1)
        )
    boxes = _draw_bands(made, bands, curves[0].colour) if bands else None
    drawn = [_draw_curve(made, curve, ends) for curve in curves]
    made.add_tools(
        hover([Said("of", "name"), Said("requests", "share", "fraction"), Said("within", "at", "s")], "lines", 1,
              renderers=drawn, mode="hline", line_policy="next", limit=1)
    )  # fmt: skip
    if boxes is not None:
        rows = [Said("80 % interval of", "name"), Said("from", "left", "s"), Said("to", "right", "s")]
        made.add_tools(hover(rows, renderers=[boxes]))
    if bounds:
        source = ColumnDataSource({
            "at": [bound.bound_s for bound in bounds], "share": [bound.share for bound in bounds],
            "text": [short(bound.text, 80) for bound in bounds],
        })  # fmt: skip
        rings = made.scatter(
            "at", "share", source=source, size=10, fill_color=colour("paper"), line_color=colour("ink"), line_width=1.5
        )
        made.add_tools(hover([Said("bound", "text")], renderers=[rings]))
    return live_of(key, [made])


def _draw_curve(made: Any, curve: Curve, ends: tuple[float, float]) -> Any:
    from bokeh.models import ColumnDataSource

    at = np.concatenate([[ends[0]], curve.at_s, [ends[1]]])
    share = np.concatenate([[0.0], curve.share, curve.share[-1:]])
    source = ColumnDataSource({
        "at": at.astype(np.float32), "share": share.astype(np.float32), "name": [short(curve.name, 40)] * len(at),
    })  # fmt: skip
    return made.step("at", "share", source=source, mode="after", line_color=colour(curve.colour), line_width=1.8)


def _draw_bands(made: Any, bands: Sequence[Band], shade: str) -> Any:
    from bokeh.models import ColumnDataSource

    source = ColumnDataSource({
        "left": [band.low_s for band in bands], "right": [band.high_s for band in bands],
        "top": [band.share + 0.012 for band in bands], "bottom": [band.share - 0.012 for band in bands],
        "name": [band.name for band in bands],
    })  # fmt: skip
    return made.quad(
        "left", "right", "top", "bottom", source=source, fill_color=colour(shade), fill_alpha=0.3, line_color=None
    )
