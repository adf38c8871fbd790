"""A roofline, live: operators and roofs say what they are, and the picture can be moved and zoomed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from reports.live import Live, Said, hover, live_of, plot, quantities, text_style
from reports.numbers import quantity
from reports.palette import in_words, role
from reports.svg import colour
from reports.text import short

if TYPE_CHECKING:
    from bokeh import plotting

_HEIGHT: Final = 400
_LONG: Final = 0.3
"""Share of the axis from which on a cache's line has room for its name at its left."""
_NAME_HIGH: Final = 0.045
"""Height of a name as a share of the axis."""
_MARKERS: Final = {"o": "circle", "D": "diamond", "s": "square", "^": "triangle", "v": "inverted_triangle", "P": "plus"}


class Line(NamedTuple):
    """A roof as a line between two points: its name, its rate, whether it is one of those in use."""

    name: str
    value: float
    dimension: str
    x: tuple[float, float]
    y: tuple[float, float]
    strong: bool


class Dot(NamedTuple):
    """An operator: intensity [FLOP/B], rate [FLOP/s], time [s] and its share of all, a marker of matplotlib's."""

    name: str
    phase: str
    family: str
    bound: str
    intensity: float
    rate: float
    time_s: float
    share: float
    marker: str


def live_roofline(
    key: str, lines: Sequence[Line], dots: Sequence[Dot], limits: tuple[float, float, float, float]
) -> Live:
    """A roofline.

    Args:
        key: unique on the page.
        limits: left, right [FLOP/B], bottom, top [FLOP/s].
    """
    from bokeh.models import Range1d

    left, right, bottom, top = limits
    made = plot(
        _HEIGHT, x_axis_type="log", y_axis_type="log", x_range=Range1d(start=left, end=right),
        y_range=Range1d(start=bottom, end=top),
    )  # fmt: skip
    made.xaxis.axis_label, made.yaxis.axis_label = "arithmetic intensity [FLOP/B]", "attained"
    made.xaxis.formatter, made.yaxis.formatter = quantities(""), quantities("flops")
    roofs = _draw_lines(made, lines, limits)
    _draw_dots(made, dots)
    rows = [Said("roof", "name"), Said("at most", "said")]
    made.add_tools(hover(rows, "each", renderers=roofs, line_policy="none", limit=1))
    return live_of(key, [made])


def _draw_lines(made: plotting.figure, lines: Sequence[Line], limits: tuple[float, float, float, float]) -> list[Any]:
    from bokeh.models import ColumnDataSource

    drawn = []
    for line in lines:
        slope = line.dimension == "bytes_per_s"
        source = ColumnDataSource({
            "x": list(line.x), "y": list(line.y), "name": [line.name] * 2,
            "said": [quantity(line.value, line.dimension)] * 2,
        })  # fmt: skip
        drawn.append(
            made.line(
                "x", "y", source=source, line_width=1.8 if line.strong else 1.1,
                line_color=colour("ink" if line.strong else "muted"),
                line_dash="dashed" if slope and not line.strong else "solid",
            )
        )  # fmt: skip
        if slope:
            _name_slope(made, line, limits[:2])
    peaks = _named(lines, limits)
    made.text(
        [limits[1]] * len(peaks), [line.value for line in peaks],
        [f"{short(line.name, 24)}  {quantity(line.value, 'flops')} " for line in peaks],
        y_offset=-3, text_align="right", text_baseline="bottom", **text_style(),
    )  # fmt: skip
    return drawn


def _named(lines: Sequence[Line], limits: tuple[float, float, float, float]) -> list[Line]:
    """Peaks that have room for their name: of two that lie close the one in use, which comes first."""
    gap = _NAME_HIGH * math.log(limits[3] / limits[2])
    named: list[Line] = []
    for line in lines:
        if line.dimension == "flops" and all(abs(math.log(line.value / each.value)) > gap for each in named):
            named.append(line)
    return named


def _name_slope(made: plotting.figure, line: Line, limits: tuple[float, float]) -> None:
    """The memory's name below the middle of its line, a cache's to the left of its middle, or above a line that is too
    short to have a name beside it."""
    text = f"{short(line.name, 14)}  {quantity(line.value, line.dimension)}"
    if line.strong:
        style = text_style(x_offset=8, y_offset=4, text_baseline="top")
        made.text([math.sqrt(line.x[0] * line.x[1])], [math.sqrt(line.y[0] * line.y[1])], [text], **style)
    elif math.log(line.x[1] / line.x[0]) > _LONG * math.log(limits[1] / limits[0]):
        style = text_style(x_offset=-8, y_offset=-3, text_align="right", text_baseline="bottom")
        made.text([line.x[0] ** 0.3 * line.x[1] ** 0.7], [line.y[0] ** 0.3 * line.y[1] ** 0.7], [text], **style)
    else:
        made.text([line.x[0]], [line.y[1]], [text], **text_style(x_offset=4, y_offset=-3, text_baseline="bottom"))


def _draw_dots(made: plotting.figure, dots: Sequence[Dot]) -> None:
    """Operators by family and marker, the largest lowest; each family can be hidden."""
    from bokeh.models import ColumnDataSource

    drawn: list[Any] = []
    ordered = sorted(dots, key=lambda dot: -dot.share)
    for family, marker in dict.fromkeys((dot.family, dot.marker) for dot in ordered):
        same = [dot for dot in ordered if (dot.family, dot.marker) == (family, marker)]
        source = ColumnDataSource({
            "x": [dot.intensity for dot in same], "y": [dot.rate for dot in same],
            "name": [short(dot.name) for dot in same], "phase": [short(dot.phase, 24) for dot in same],
            "bound": [short(dot.bound, 24) for dot in same], "family": [in_words("family", family)] * len(same),
            "time": [dot.time_s for dot in same], "share": [dot.share for dot in same],
            "size": [1.33 * math.sqrt(26.0 + 420.0 * dot.share) for dot in same],
        })  # fmt: skip
        shade = role("family", family)
        shown = made.scatter(
            "x", "y", size="size", source=source, marker=_MARKERS[marker], fill_color=colour(shade), fill_alpha=0.85,
            line_color=colour("paper"), line_width=1,
        )  # fmt: skip
        shown.tags = ["show", shade]
        drawn.append(shown)
    rows = [
        Said("operator", "name"), Said("attained", "y", "flops"), Said("intensity [FLOP/B]", "x", "number"),
        Said("phase", "phase"), Said("family", "family"), Said("time", "time", "s"),
        Said("of the time", "share", "fraction"), Said("bound by", "bound"),
    ]  # fmt: skip
    made.add_tools(hover(rows, renderers=drawn))
