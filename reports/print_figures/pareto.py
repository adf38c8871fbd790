"""Points of a study by two objectives with their front, for print."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reports.axis import axis_of
from reports.palette import SERIES, role
from reports.print_figure import MARKERS, PrintFigure, grid_of, ink, legend_below, letters_in, logarithmic
from reports.study import Cloud, StudyCard
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing


def applies(card: StudyCard) -> bool:
    """Whether two objectives have a feasible point."""
    return card.cloud is not None and bool(card.cloud.points)


def draw(card: StudyCard, drawing: Drawing) -> None:
    """All feasible points (or cells of them, the darker the more), and the front as a line of steps."""
    cloud = card.cloud
    assert cloud is not None
    (axes,) = grid_of(drawing, 1, min(4.4, drawing.get_figwidth()))
    x, y = card.metrics[cloud.x], card.metrics[cloud.y]
    _points(axes, cloud)
    front = sorted((point.x, point.y) for point in cloud.front)
    if front:
        steps = "steps-post" if x.better == "lower" else "steps-pre"
        axes.plot(
            *zip(*front, strict=True), drawstyle=steps, color=ink("ink"), marker="o", markersize=3.0, linewidth=1.0,
            label="front", zorder=4,
        )  # fmt: skip
    across = [*cloud.x_values.tolist(), *(end for cell in cloud.bins for end in (cell.x_low, cell.x_high))]
    up = [*cloud.y_values.tolist(), *(end for cell in cloud.bins for end in (cell.y_low, cell.y_high))]
    across += [point.x for point in cloud.front]
    up += [point.y for point in cloud.front]
    logarithmic(axes, "x", axis_of(across), short(x.title, letters_in(drawing, 0.8)), x.dimension)
    logarithmic(axes, "y", axis_of(up), short(y.title, letters_in(drawing, 0.66)), y.dimension)
    axes.grid(True)
    legend_below(drawing, axes.get_legend_handles_labels()[0], short(cloud.coloured_by, 40))


def _points(axes: Axes, cloud: Cloud) -> None:
    for cell in cloud.bins:
        strength = 0.15 + 0.75 * min(np.log10(cell.points) / 4.0, 1.0)
        axes.fill_between([cell.x_low, cell.x_high], cell.y_low, cell.y_high, color=ink("series-1"), alpha=strength,
                          linewidth=0.0)  # fmt: skip
    for place, name in enumerate(cloud.legend or ("points",)):
        here = cloud.colours == place if cloud.legend else np.ones(len(cloud.x_values), bool)
        if here.any():
            axes.scatter(cloud.x_values[here], cloud.y_values[here], s=9.0, alpha=0.7, linewidths=0.0,
                         marker=MARKERS[place % len(MARKERS)], label=short(name, 40),
                         color=ink(role("series", SERIES[place % len(SERIES)])))  # fmt: skip
    others = cloud.colours < 0
    if cloud.legend and others.any():
        axes.scatter(cloud.x_values[others], cloud.y_values[others], s=7.0, alpha=0.6, linewidths=0.0,
                     marker="X", color=ink("series-other"), label="others")  # fmt: skip


FIGURE = PrintFigure("pareto", "Points by two objectives", ("study",), applies, draw)
