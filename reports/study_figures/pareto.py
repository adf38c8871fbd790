"""Points by two objectives, the front drawn.

Up to 20,000 points each is a dot; beyond, points are counted in cells. Where scripts run the picture is live
(``reports.live_figures.front``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from markupsafe import Markup

from reports.axis import Axis, axis_of
from reports.figure import Figure
from reports.live_figures.front import live_front, points_of
from reports.log_axes import bare_dots
from reports.numbers import whole
from reports.palette import SERIES, role
from reports.parts import Key
from reports.slo_box import bounds_of, draw_box, with_bounds
from reports.study import Cloud, Configuration, FrontPoint, Measure, StudyCard
from reports.study_scales import label_of, quiet, set_metric
from reports.svg import colour, drawing, inline
from reports.templating import render
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS: Final = 20
"""Points of the front in the table."""
MOST_MARKED: Final = 400
"""Points of the front that are marked with words of their own."""
_SIZE_IN: Final = (5.0, 4.2)
_BOX: Final = (0.17, 0.12, 0.805, 0.84)
_STRENGTHS: Final = (0.2, 0.35, 0.5, 0.65, 0.8, 1.0)
_MANY: Final = 50
"""Beyond so many marks they are small."""


class Cell(NamedTuple):
    """A value of the table and the number that sorts it; ``number`` is whether it is one."""

    text: str
    value: float
    number: bool


def applies(card: StudyCard) -> bool:
    """Whether two objectives have a feasible point."""
    return card.cloud is not None and bool(card.cloud.points)


def draw(card: StudyCard) -> Markup:
    """The points and the front, live, and a table of the front."""
    return _page(card, live=True)


def draw_static(card: StudyCard) -> Markup:
    """The same as a still picture."""
    return _page(card, live=False)


def _page(card: StudyCard, live: bool) -> Markup:
    cloud = card.cloud
    assert cloud is not None
    x, y = card.metrics[cloud.x], card.metrics[cloud.y]
    bounds = bounds_of(x, card.bounds), bounds_of(y, card.bounds)
    across, up = (with_bounds(axis, own) for axis, own in zip(axes_of(cloud), bounds, strict=True))
    objectives = [next(m for m in card.metrics if m.name == name.partition(":")[0]) for name in cloud.objectives]
    rows = rows_of(spread(cloud.front, MOST_ROWS), objectives, card)
    keys = [Key(name, role("series", SERIES[k])) for k, name in enumerate(cloud.legend)]
    if cloud.legend and bool((cloud.colours < 0).any()):
        keys.append(Key("others", role("series", "other")))
    return render(
        "study_pareto.html", svg=_drawn(card, x, y, across, up), cloud=cloud, rows=rows, objectives=objectives,
        legend_keys=keys, in_front=len(cloud.front), names=[name for name, _ in cloud.front[0].configuration],
        front=live_front(card, (across, up), border_of(cloud, x, y)) if live else None,
        brushes=points_of(cloud, card).brushes, pair=(x, y), kept=[bound.said for own in bounds for bound in own],
        counted=bool(cloud.bins), infeasible=card.rows - card.feasible,
        better=f"{'left' if x.better == 'lower' else 'right'} and {'below' if y.better == 'lower' else 'above'}",
        label=f"{x.title} and {y.title} of {whole(cloud.points)} points",
    )  # fmt: skip


def rows_of(points: Sequence[FrontPoint], objectives: Sequence[Measure], card: StudyCard) -> list[list[Cell]]:
    """The table of the front; values of axes are sorted as the study has them."""
    ranks = {factor.name: {level: k for k, level in enumerate(factor.levels)} for factor in card.factors}
    rows = []
    for point in points:
        cells = [Cell(m.text(value), value, True) for m, value in zip(objectives, point.values, strict=True)]
        for name, text in point.configuration:
            others = sorted({dict(each.configuration)[name] for each in points})
            cells.append(Cell(text, ranks.get(name, {}).get(text, others.index(text)), False))
        rows.append(cells)
    return rows


def axes_of(cloud: Cloud) -> tuple[Axis, Axis]:
    """Logarithmic axes that hold all points."""
    if cloud.bins:
        return (
            axis_of([end for each in cloud.bins for end in (each.x_low, each.x_high)]),
            axis_of([end for each in cloud.bins for end in (each.y_low, each.y_high)]),
        )
    return axis_of(cloud.x_values.tolist()), axis_of(cloud.y_values.tolist())


def spread(points: Sequence[FrontPoint], most: int) -> list[FrontPoint]:
    """At most ``most`` points, ends included."""
    if len(points) <= most:
        return list(points)
    return [points[round(k * (len(points) - 1) / (most - 1))] for k in range(most)]


def steps_of(front: Sequence[FrontPoint], x_better: str, y_better: str) -> tuple[list[float], list[float]]:
    """The border of what the front is better than: between two neighbours lies the corner that is worse in both."""
    ordered = sorted((point.x, point.y) for point in front)
    worse_x, worse_y = (max if better == "lower" else min for better in (x_better, y_better))
    xs, ys = [ordered[0][0]], [ordered[0][1]]
    for before, after in pairwise(ordered):
        xs += [worse_x(before[0], after[0]), after[0]]
        ys += [worse_y(before[1], after[1]), after[1]]
    return xs, ys


def border_of(cloud: Cloud, x: Measure, y: Measure) -> tuple[list[float], list[float]]:
    """The steps of a front of two objectives that is small enough to be marked whole; else nothing."""
    marked = [point for point in spread(cloud.front, MOST_MARKED) if point.x > 0.0 and point.y > 0.0]
    if len(cloud.objectives) != 2 or not marked or len(marked) < len(cloud.front):
        return [], []
    return steps_of(marked, x.better, y.better)


def _drawn(card: StudyCard, x: Measure, y: Measure, across: Axis, up: Axis) -> Markup:
    cloud = card.cloud
    assert cloud is not None
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        scales = set_metric(axes, across, x, upright=False), set_metric(axes, up, y)
        quiet(axes)
        axes.set_xlabel(label_of(x, scales[0].unit))
        axes.set_ylabel(label_of(y, scales[1].unit))
        draw_box(axes, bounds_of(x, card.bounds), bounds_of(y, card.bounds))
        hints: dict[str, Sequence[str]] = {}
        if cloud.bins:
            hints |= _draw_bins(axes, cloud)
        for group in range(-1, len(cloud.legend)):
            here = cloud.colours == group
            if here.any():
                alone = group < 0 and not cloud.legend
                shade = colour(role("series", "1" if alone else "other" if group < 0 else SERIES[group]))
                bare_dots(axes, cloud.x_values[here].tolist(), cloud.y_values[here].tolist(), shade, 3.0)
        hints |= _draw_front(axes, cloud, x, y)
        return inline(figure, "pareto", f"{x.title} over {y.title}", hints)


def _draw_front(axes: Axes, cloud: Cloud, x: Measure, y: Measure) -> dict[str, Sequence[str]]:
    marked = [point for point in spread(cloud.front, MOST_MARKED) if point.x > 0.0 and point.y > 0.0]
    if not marked:
        return {}
    axes.plot(*border_of(cloud, x, y), color=colour("ink"), linewidth=1.2, zorder=4)
    axes.scatter(
        [point.x for point in marked], [point.y for point in marked], s=26.0 if len(marked) <= _MANY else 11.0,
        c=colour("paper"), linewidths=1.3, edgecolors=colour("ink"), zorder=5, gid="front",
    )  # fmt: skip
    return {"front": [f"{x.text(p.x)}, {y.text(p.y)}: {words(p.configuration)}" for p in marked]}


def _draw_bins(axes: Axes, cloud: Cloud) -> dict[str, Sequence[str]]:
    """Cells, the stronger the more points lie in them."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    most = math.log(max(each.points for each in cloud.bins) + 1.0)
    hints: dict[str, Sequence[str]] = {}
    for level, strength in enumerate(_STRENGTHS):
        own = [
            each
            for each in cloud.bins
            if min(int(len(_STRENGTHS) * math.log(each.points + 0.5) / most), len(_STRENGTHS) - 1) == level
        ]
        patches = [
            Rectangle((each.x_low, each.y_low), each.x_high - each.x_low, each.y_high - each.y_low) for each in own
        ]
        if own:
            axes.add_collection(PatchCollection(patches, facecolor=colour(role("series", "1")), alpha=strength,
                                                linewidth=0.0, zorder=3, gid=f"bins-{level}"))  # fmt: skip
            hints[f"bins-{level}"] = [f"{whole(each.points)} point{'s' * (each.points != 1)}" for each in own]
    return hints


def words(configuration: Configuration) -> str:
    """What a point has, in a line."""
    return ", ".join(f"{short(name, 40)} {short(value, 40)}" for name, value in configuration)


FIGURE: Final = Figure(
    "front",
    "Pareto front",
    8,
    "Every feasible point by the first two objectives. Ringed points are the Pareto front: no point of the study is "
    "better than them in every objective.",
    applies,
    draw,
    draw_static,
)
