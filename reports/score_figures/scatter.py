"""Predictions against measurements on logarithmic axes: one panel for each kind of measurement and unit.

A dot lies at (measured, predicted). Its 80% interval is drawn as an upright bar where there is room for bars. With many
rows a band around the diagonal shows where an interval of the usual width at that size still holds the measurement: the
median over neighbouring rows of predicted / high and predicted / low.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from markupsafe import Markup

from reports.axis import Axis, axis_of, round_text, round_values
from reports.figure import Figure
from reports.live import Live
from reports.live_figures.against import live_against
from reports.log_axes import MOST_DOTS, draw_cells, parts_of
from reports.palette import CLASSES, role
from reports.parts import legend_of
from reports.scorecard import Cloud, Floats, Scorecard
from reports.svg import colour, drawing, inline
from reports.templating import render
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BARS: Final = 300
MOST_HINTS: Final = 1_500
TITLES: Final = {
    ("ops", "s"): "Operators: time", ("training", "s"): "Training: step time",
    ("inference", "s"): "Inference: latencies", ("inference", "tokens/s"): "Inference: tokens per second",
    ("inference", "j"): "Inference: energy per token",
}  # fmt: skip
_SIZE_IN: Final = (4.6, 4.25)
_BOX: Final = (0.165, 0.125, 0.81, 0.855)
_BINS: Final = 16


class Panel(NamedTuple):
    """One picture, and in words how its rows are drawn."""

    title: str
    svg: Markup
    note: str
    live: Live | None = None


def applies(card: Scorecard) -> bool:
    """Whether anything was predicted."""
    return any(len(cloud) for kind in card.kinds for cloud in kind.clouds)


def draw(card: Scorecard) -> Markup:
    """A grid of live panels with one legend; panels whose rows are counted in cells stay still."""
    return _page(card, live=True)


def draw_static(card: Scorecard) -> Markup:
    """The same as still pictures."""
    return _page(card, live=False)


def _page(card: Scorecard, live: bool) -> Markup:
    clouds = [(kind.kind, cloud) for kind in card.kinds for cloud in kind.clouds if len(cloud)]
    rows = sum(len(cloud) for _, cloud in clouds)
    panels = []
    for place, (kind, cloud) in enumerate(clouds):
        counted = rows > MOST_DOTS and len(cloud) > MOST_HINTS
        panel = _panel(kind, cloud, counted, f"scatter-{place}")
        panels.append(panel if counted or not live else panel._replace(live=_live(cloud, f"scatter-live-{place}")))
    legend_keys = legend_of(classes_in([c for _, c in clouds]), "class")
    return render("scatter.html", panels=panels, legend_keys=legend_keys, live=any(panel.live for panel in panels))


def _live(cloud: Cloud, key: str) -> Live:
    axis = axis_of([*cloud.observed.tolist(), *cloud.predicted.tolist()])
    bars = len(cloud) <= MOST_BARS
    nothing = np.empty(0)
    band = (
        (nothing, nothing, nothing) if bars else band_of(cloud.observed, cloud.predicted, cloud.low_80, cloud.high_80)
    )
    return live_against(key, cloud, axis, _by_rows(cloud), band, bars)


def _by_rows(cloud: Cloud) -> list[str]:
    """Classes, the one with most rows first: it lies lowest, or it would hide the others."""
    return sorted(classes_in([cloud]), key=lambda name: -int((cloud.device_class == name).sum()))


def classes_in(clouds: Sequence[Cloud]) -> list[str]:
    """The device classes of rows in the order of legends."""
    there = {name for cloud in clouds for name in cloud.device_class.tolist()}
    return [name for name in (*CLASSES, *sorted(there - set(CLASSES))) if name in there]


def _panel(kind: str, cloud: Cloud, counted: bool, key: str) -> Panel:
    title = TITLES.get((kind, cloud.dimension), f"{kind.capitalize()}: {cloud.dimension or 'other'}")
    axis = axis_of([*cloud.observed.tolist(), *cloud.predicted.tolist()])
    bars = len(cloud) <= MOST_BARS
    hints: dict[str, Sequence[str]] = {}
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        _frame(axes, axis, cloud.dimension)
        if not bars:
            _draw_band(axes, cloud)
        names = _by_rows(cloud)
        if counted:
            _draw_cells(axes, cloud, axis, names)
        for order, name in enumerate(() if counted else names):
            here = cloud.device_class == name
            if bars:
                _draw_bars(axes, cloud, here, name)
            hints |= _draw_dots(axes, cloud, here, name, 3 + order)
        label = f"{title}: {len(cloud)} predictions against their measurements, in decades of equal length"
        return Panel(title, inline(figure, key, label, hints), _note(cloud, bars, counted))


def _note(cloud: Cloud, bars: bool, counted: bool) -> str:
    rows = f"{len(cloud):,} rows"
    if counted:
        return f"{rows}, counted in cells: the stronger, the more; in the colour of the class with most of them."
    return f"{rows}; the bars are their 80\u00a0% intervals." if bars else f"{rows}."


def _frame(axes: Axes, axis: Axis, dimension: str) -> None:
    """Equal axes, the diagonal, and lines at twice and half of it."""
    ends = np.array([10.0**axis.low, 10.0**axis.high])
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    values = round_values(axis)
    texts = [round_text(value, dimension if dimension in ("s", "j") else "") for value in values]
    axes.set_xticks(values, texts)
    axes.set_yticks(values, texts)
    axes.minorticks_off()
    unit = "" if dimension in ("s", "j", "") else f" [{short(dimension, 20)}]"
    axes.set_xlabel(f"measured{unit}")
    axes.set_ylabel(f"predicted{unit}")
    axes.grid(color=colour("line"), linewidth=0.6, alpha=0.6)
    axes.set_axisbelow(True)
    axes.plot(ends, ends, color=colour("ink"), linewidth=1.1, zorder=2)
    for factor in (0.5, 2.0):
        axes.plot(ends, ends * factor, color=colour("muted"), linewidth=0.7, linestyle=(0, (4, 3)), zorder=2)


def _draw_bars(axes: Axes, cloud: Cloud, here: Any, name: str) -> None:
    axes.vlines(
        cloud.observed[here], cloud.low_80[here], cloud.high_80[here], colors=colour(role("class", name)),
        linewidth=1.1, alpha=0.3, zorder=2.5,
    )  # fmt: skip


def _draw_dots(axes: Axes, cloud: Cloud, here: Any, name: str, order: int) -> dict[str, Sequence[str]]:
    """Dots that say what they are; without hints all dots of a class are one path of points."""
    shade = colour(role("class", name))
    if cloud.hints:
        axes.scatter(
            cloud.observed[here], cloud.predicted[here], s=15.0, c=shade, alpha=0.8, linewidths=0.4,
            edgecolors=colour("paper"), zorder=order, gid=f"dots-{order}",
        )  # fmt: skip
        return {f"dots-{order}": [cloud.hints[i] for i in np.flatnonzero(here).tolist()]}
    x, y = np.repeat(cloud.observed[here], 3), np.repeat(cloud.predicted[here], 3)
    x[2::3] = np.nan  # a line of no length, with round ends, is a dot
    axes.plot(x, y, color=shade, alpha=0.6, linewidth=2.4, solid_capstyle="round", zorder=order)
    return {}


def _draw_band(axes: Axes, cloud: Cloud) -> None:
    """The band in which measurements lie inside an interval of the usual width."""
    at, low, high = band_of(cloud.observed, cloud.predicted, cloud.low_80, cloud.high_80)
    if len(at):
        axes.fill_between(at, low, high, color=colour("muted"), alpha=0.16, linewidth=0.0, zorder=1.5)


def band_of(observed: Floats, predicted: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats, Floats]:
    """Measurements, and the lowest and highest predictions whose usual 80% interval holds them; shape [bins] each.

    Rows without an interval do not count.
    """
    known = np.flatnonzero((low > 0.0) & np.isfinite(high))
    order = known[np.argsort(observed[known], kind="stable")]
    parts = [part for part in np.array_split(order, min(_BINS, len(order) or 1)) if len(part)]
    if not parts:
        return np.empty(0), np.empty(0), np.empty(0)
    at = np.array([np.exp(np.log(observed[part]).mean()) for part in parts])
    at[0], at[-1] = observed[order[0]], observed[order[-1]]
    below = np.array([np.median(predicted[part] / high[part]) for part in parts])
    above = np.array([np.median(predicted[part] / low[part]) for part in parts])
    return at, at * below, at * above


def _draw_cells(axes: Axes, cloud: Cloud, axis: Axis, names: Sequence[str]) -> None:
    """Counts of rows in cells of equal size."""
    x, y = (parts_of(axis, values.tolist()) for values in (cloud.observed, cloud.predicted))
    groups = [names.index(name) for name in cloud.device_class.tolist()]
    draw_cells(axes, x, y, groups, [colour(role("class", name)) for name in names])


FIGURE: Final = Figure(
    "scatter",
    "Predicted against measured",
    10,
    "On the solid diagonal a prediction equals its measurement; the dashed lines are twice and half of it. Axes are "
    "logarithmic. Where a panel has many rows, the grey band takes the place of bars: in it lie predictions whose "
    "80\u00a0% interval, of the usual width at that size, holds the measurement.",
    applies,
    draw,
    draw_static,
)
