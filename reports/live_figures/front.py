"""The points of a study, live: a scatter whose brushed points stand in a table and as lines through all axes.

Parallel coordinates: Inselberg, "The plane with parallel coordinates", The Visual Computer 1, 1985. Brushing of linked
views: Becker and Cleveland, "Brushing scatterplots", Technometrics 29, 1987.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from markupsafe import escape

from reports.axis import Axis
from reports.live import TABLE_CSS, Live, Said, cells, hover, live_of, plot, quantities, text_style, units
from reports.palette import SERIES, role
from reports.slo_box import add_box, bounds_of
from reports.study import Cloud, Floats, FrontPoint, Ints, Measure, StudyCard
from reports.study_scales import label_of
from reports.svg import colour
from reports.text import plain, short

if TYPE_CHECKING:
    from bokeh import plotting
    from bokeh.models import ColumnDataSource
    from bokeh.models.widgets import DataTable

MOST_LINES: Final = 1_500
"""Points that are drawn as lines at once; of more, evenly spaced ones."""
MOST_ROWS: Final = 1_000
"""Rows of the table."""
_MOST_LABELS: Final = 12
_NUMBER: Final = re.compile(r"(-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)(\D*)")
"""A value of an axis in words: a number, and its unit."""
_TITLE: Final = 17
"""Letters of a line over an axis."""
_HEIGHTS: Final = (440, 340, 260)
_HEADS: Final = ".slick-header-column.slick-header-column:nth-child(-n+2) { display: flex; justify-content: flex-end; }"
"""Titles of the two metrics stand above their numbers."""


class Brush(NamedTuple):
    """A filter: of an axis, by its place in ``levels`` where these have an order, else one of them."""

    name: str
    levels: tuple[str, ...]
    ordered: bool


class Points(NamedTuple):
    """Points that can be brushed, shape [n] each; ``codes`` are places in levels of ``brushes``, shape [n, axes]."""

    x: Floats
    y: Floats
    codes: Ints
    group: Ints
    brushes: list[Brush]


def points_of(cloud: Cloud, card: StudyCard) -> Points:
    """All points, or those of the front where there are too many to draw; levels in the order of the study."""
    labels, codes, x, y, group = cloud.labels, cloud.codes, cloud.x_values, cloud.y_values, cloud.colours
    names = cloud.names
    if cloud.bins:
        placed = [point for point in cloud.front if point.x > 0.0 and point.y > 0.0]
        x, y = np.array([point.x for point in placed]), np.array([point.y for point in placed])
        names = tuple(name for name, _ in placed[0].configuration) if placed else ()
        rows = [[text for _, text in point.configuration] for point in placed]
        labels = tuple(tuple(dict.fromkeys(row[k] for row in rows)) for k in range(len(names)))
        codes = np.array([[labels[k].index(text) for k, text in enumerate(row)] for row in rows], np.int64)
        group = np.full(len(placed), -1, np.int64)
    brushes, columns = [], []
    factors = {factor.name: factor for factor in card.factors}
    for k, name in enumerate(names):
        factor = factors.get(name)
        order = {level: place for place, level in enumerate(factor.levels)} if factor else {}
        if not all(label in order for label in labels[k]):
            # A factor of ranges does not name the values of single points.
            order = _by_number(labels[k])
        ranks = np.argsort([order[label] for label in labels[k]]) if order else np.arange(len(labels[k]))
        ordered = bool(order) and factor is not None and bool(factor.places)
        brushes.append(Brush(name, tuple(labels[k][place] for place in ranks.tolist()), ordered))
        columns.append(np.argsort(ranks)[codes[:, k]])
    return Points(x, y, np.stack(columns, axis=1) if columns else codes, group, brushes)


def _by_number(labels: Sequence[str]) -> dict[str, int]:
    """Places of labels in the order of their numbers; {} where one has none, or units differ."""
    found = [_NUMBER.fullmatch(label) for label in labels]
    values = [float(each[1].replace(",", "")) for each in found if each]
    if len(values) < len(labels) or len({each[2] for each in found if each}) > 1:
        return {}
    ordered = sorted(zip(values, labels, strict=True))
    return {label: place for place, (_, label) in enumerate(ordered)}


def live_front(card: StudyCard, axes: tuple[Axis, Axis], steps: tuple[list[float], list[float]]) -> Live:
    """The scatter, parallel coordinates and the table of brushed points.

    Args:
        steps: the border of what the front is better than; empty where it is not drawn.
    """
    from bokeh.models import ColumnDataSource

    cloud = card.cloud
    assert cloud is not None
    measures = card.metrics[cloud.x], card.metrics[cloud.y]
    points = points_of(cloud, card)
    source = ColumnDataSource(_columns(points), name="points")
    lines = _parallel(points, measures, axes)
    scatter = _scatter(cloud, points, source, measures, axes, steps)
    add_box(scatter, *(bounds_of(measure, card.bounds) for measure in measures))
    return live_of("front", [scatter, lines, _table(points, measures)], settings_of(points, measures, axes))


def settings_of(points: Points, measures: tuple[Measure, Measure], axes: tuple[Axis, Axis]) -> dict[str, Any]:
    """What the script of the figure needs."""
    return {
        "levels": [[plain(short(level, 60)) for level in brush.levels] for brush in points.brushes],
        "names": [plain(brush.name) for brush in points.brushes],
        "metrics": [
            {
                "title": plain(measure.title),
                "units": units(measure.dimension),
                "low": axis.low,
                "high": axis.high,
            }
            for measure, axis in zip(measures, axes, strict=True)
        ],
        "lines": MOST_LINES,
        "rows": MOST_ROWS,
    }


def _columns(points: Points) -> dict[str, Any]:
    """Columns of numbers, as small as they can be."""
    small: dict[str, Any] = {"x": points.x.astype(np.float32), "y": points.y.astype(np.float32)}
    small["group"] = points.group.astype(np.int8)
    for k, brush in enumerate(points.brushes):
        kind = np.uint8 if len(brush.levels) <= 256 else np.uint16
        small[f"axis{k}"] = points.codes[:, k].astype(kind)
    return small


def _scatter(
    cloud: Cloud, points: Points, source: ColumnDataSource, measures: tuple[Measure, Measure],
    axes: tuple[Axis, Axis], steps: tuple[list[float], list[float]],
) -> plotting.figure:  # fmt: skip
    from bokeh.models import BooleanFilter, CDSView, LinearColorMapper, Range1d

    made = plot(
        _HEIGHTS[0], x_axis_type="log", y_axis_type="log", active_drag="box_select",
        tools="pan,box_zoom,wheel_zoom,box_select,lasso_select,reset",
        x_range=Range1d(start=10.0 ** axes[0].low, end=10.0 ** axes[0].high),
        y_range=Range1d(start=10.0 ** axes[1].low, end=10.0 ** axes[1].high),
    )  # fmt: skip
    for axis, measure in ((made.xaxis[0], measures[0]), (made.yaxis[0], measures[1])):
        axis.axis_label, axis.formatter = label_of(measure, ""), quantities(measure.dimension)
    said = [Said(short(m.title, 40), letter, m.dimension) for m, letter in zip(measures, "xy", strict=True)]
    said += [
        Said(short(b.name, 40), f"axis{k}", None, [short(v, 60) for v in b.levels])
        for k, b in enumerate(points.brushes)
    ]
    counted = _draw_cells(made, cloud) if cloud.bins else None
    shades = [colour(role("series", SERIES[k])) for k in range(len(cloud.legend))] or [colour(role("series", "1"))]
    other = colour(role("series", "other" if cloud.legend else "1"))
    shade = LinearColorMapper(palette=shades, low=-0.5, high=len(shades) - 0.5, low_color=other)
    look: dict[str, Any] = {"fill_color": {"field": "group", "transform": shade}, "line_color": None, "size": 5.5}
    if cloud.bins:
        look = {"fill_color": colour("paper"), "line_color": colour("ink"), "line_width": 1.3, "size": 8}
    view = CDSView(filter=BooleanFilter(name="shown"))
    dots = made.scatter(
        "x", "y", source=source, view=view, fill_alpha=0.75, nonselection_fill_alpha=0.07, nonselection_line_alpha=0.2,
        selection_fill_alpha=1.0, **look,
    )  # fmt: skip
    if steps[0]:
        made.line(steps[0], steps[1], line_color=colour("ink"), line_width=1.2)
    if not cloud.bins:
        _draw_rings(made, cloud.front)
    made.add_tools(hover(said, renderers=[dots], limit=1))
    if counted is not None:
        rows = [Said("points in this cell", "points")]
        for measure, ends in zip(measures, (("left", "right"), ("bottom", "top")), strict=True):
            rows += [Said(f"{short(measure.title, 40)} from", ends[0], measure.dimension)]
            rows += [Said("to", ends[1], measure.dimension)]
        made.add_tools(hover(rows, "lanes", renderers=[counted], limit=1))
    for tool in made.tools:
        if hasattr(tool, "overlay") and hasattr(tool, "renderers"):
            tool.renderers = [dots]
    return made


def _draw_rings(made: plotting.figure, front: Sequence[FrontPoint]) -> None:
    """Rings around the points of the front."""
    placed = [point for point in front if point.x > 0.0 and point.y > 0.0]
    made.scatter(
        np.array([point.x for point in placed], np.float32), np.array([point.y for point in placed], np.float32),
        size=9.5 if len(placed) <= 50 else 6.5, fill_color=None, line_color=colour("ink"), line_width=1.3,
    )  # fmt: skip


def _draw_cells(made: plotting.figure, cloud: Cloud) -> Any:
    """Cells with their counts, the stronger the more."""
    from bokeh.models import ColumnDataSource

    counts = np.array([each.points for each in cloud.bins], np.int64)
    ends = np.array([each[:4] for each in cloud.bins], np.float32)
    strength = 0.15 + 0.85 * np.log(counts + 0.5) / math.log(counts.max() + 1.0)
    source = ColumnDataSource({
        "left": ends[:, 0], "right": ends[:, 1], "bottom": ends[:, 2], "top": ends[:, 3],
        "points": counts.astype(np.float64), "strength": strength.astype(np.float32),
    })  # fmt: skip
    return made.quad(
        left="left", right="right", bottom="bottom", top="top", fill_alpha="strength", line_color=None,
        fill_color=colour(role("series", "1")), source=source,
    )  # fmt: skip


def _parallel(points: Points, measures: tuple[Measure, Measure], ends: tuple[Axis, Axis]) -> plotting.figure:
    """Axes side by side; lines come from the script."""
    from bokeh.models import BoxSelectTool, ColumnDataSource, FixedTicker, LinearColorMapper, Range1d, Text

    titles = [_in_lines(each) for each in (*(brush.name for brush in points.brushes), *(m.title for m in measures))]
    made = plot(
        _HEIGHTS[1], tools="reset", x_range=Range1d(start=-0.3, end=len(titles) - 0.3),
        y_range=Range1d(start=-0.06, end=1.06),
        x_axis_location="above", toolbar_location=None,
    )  # fmt: skip
    made.yaxis.visible = made.ygrid.visible = False
    made.xgrid.grid_line_color, made.xgrid.grid_line_alpha = colour("muted"), 0.9
    made.xaxis.ticker = FixedTicker(ticks=list(range(len(titles))))
    made.xaxis.major_label_overrides = dict(enumerate(titles))
    made.xaxis.axis_line_color = made.xaxis.major_tick_line_color = None
    shades = [colour(role("series", each)) for each in SERIES]
    shade = LinearColorMapper(
        palette=shades, low=-0.5, high=len(shades) - 0.5,
        low_color=colour(role("series", "other" if (points.group >= 0).any() else "1")),
    )  # fmt: skip
    made.multi_line(
        "xs", "ys", source=ColumnDataSource({"xs": [], "ys": [], "group": []}, name="lines"), line_width=1.2,
        line_color={"field": "group", "transform": shade}, line_alpha=0.35, name="parallel",
    )  # fmt: skip
    words = text_style(x_offset=5, text_baseline="middle", background_fill_color=colour("paper"), padding=1)
    made.add_glyph(
        ColumnDataSource(_ticks(points, measures, ends)),
        Text(x="x", y="y", text="text", background_fill_alpha=0.75, **words),
    )
    brush = BoxSelectTool(renderers=[])
    made.add_tools(brush)
    made.toolbar.active_drag = brush
    return made


def _in_lines(title: str) -> str:
    """A title over an axis, in at most two lines."""
    return "\n".join(wrap(plain(short(title, 2 * _TITLE)), _TITLE)[:2])


def _ticks(points: Points, measures: tuple[Measure, Measure], ends: tuple[Axis, Axis]) -> dict[str, Any]:
    """Words beside the axes, as many as there is room for."""
    x, y, text = [], [], []
    for place, brush in enumerate(points.brushes):
        last = len(brush.levels) - 1
        few = min(last, _MOST_LABELS - 1)
        for level in dict.fromkeys(round(k * last / max(few, 1)) for k in range(few + 1)):
            x.append(place)
            y.append(level / last if last else 0.5)
            text.append(short(brush.levels[level], 16))
    for k, (measure, axis) in enumerate(zip(measures, ends, strict=True)):
        for share in (0.0, 0.5, 1.0):
            x.append(len(points.brushes) + k)
            y.append(share)
            text.append(measure.text(10.0 ** (axis.low + share * (axis.high - axis.low))))
    return {"x": x, "y": y, "text": [plain(each) for each in text]}


def _width(title: str) -> int:
    """Of a column, so that its title is seen whole [px]."""
    return max(110, 7 * len(title) + 18)


def _table(points: Points, measures: tuple[Measure, Measure]) -> DataTable:
    """The table of brushed points, metrics to the right; its rows come from the script."""
    from bokeh.models import ColumnDataSource, InlineStyleSheet
    from bokeh.models.widgets import DataTable, StringFormatter, TableColumn

    fields = [
        (letter, label_of(measure, ""), cells(measure.dimension))
        for letter, measure in zip("xy", measures, strict=True)
    ]
    fields += [(f"axis{k}", short(brush.name, 24), StringFormatter()) for k, brush in enumerate(points.brushes)]
    return DataTable(
        source=ColumnDataSource({field: [] for field, _, _ in fields}, name="rows"), name="table",
        columns=[
            # The table takes titles, unlike cells, for HTML.
            TableColumn(field=field, title=str(escape(plain(title))), width=_width(title), formatter=look)
            for field, title, look in fields
        ],
        height=_HEIGHTS[2], sizing_mode="stretch_width", index_position=None, selectable=False, reorderable=False,
        stylesheets=[InlineStyleSheet(css=TABLE_CSS + _HEADS)], row_height=28,
        min_width=sum(_width(title) for _, title, _ in fields),
    )  # fmt: skip
