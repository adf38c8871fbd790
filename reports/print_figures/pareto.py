"""Points of a study by two objectives with their front, for print."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reports.axis import axis_of
from reports.palette import SERIES, role
from reports.print_figure import MARKERS, PrintFigure, grid_of, ink, legend_below, letters_in, logarithmic
from reports.study import Cloud, StudyCard
from reports.study_figures.pareto import border_of
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing


def applies(card: StudyCard) -> bool:
    """Whether two objectives have a feasible point."""
    return card.cloud is not None and bool(card.cloud.points)


def draw(card: StudyCard, drawing: Drawing) -> None:
    """All feasible points (or cells of them, the darker the more), and the front, of two objectives with its steps."""
    cloud = card.cloud
    assert cloud is not None
    (axes,) = grid_of(drawing, 1, min(4.4, drawing.get_figwidth()))
    x, y = card.metrics[cloud.x], card.metrics[cloud.y]
    _points(axes, cloud)
    front = [(point.x, point.y) for point in cloud.front if point.x > 0.0 and point.y > 0.0]
    if front:
        axes.plot(*border_of(cloud, x, y), color=ink("ink"), linewidth=1.0, zorder=4)
        axes.plot(*zip(*front, strict=True), color=ink("ink"), marker="o", markersize=3.0, linestyle="", label="front",
                  zorder=4)  # fmt: skip
    across = [*cloud.x_values.tolist(), *(end for cell in cloud.bins for end in (cell.x_low, cell.x_high))]
    up = [*cloud.y_values.tolist(), *(end for cell in cloud.bins for end in (cell.y_low, cell.y_high))]
    across += [point.x for point in cloud.front]
    up += [point.y for point in cloud.front]
    logarithmic(axes, "x", axis_of(across), short(x.title, letters_in(drawing, 0.8)), x.dimension)
    logarithmic(axes, "y", axis_of(up), short(y.title, letters_in(drawing, 0.66)), y.dimension)
    axes.grid(True)
    legend_below(drawing, axes.get_legend_handles_labels()[0], short(cloud.coloured_by, 40), _notes(card, cloud))


def _notes(card: StudyCard, cloud: Cloud) -> list[str]:
    """What is counted in cells or not drawn, and whose front it is where that is not seen."""
    notes, infeasible = [], card.rows - card.feasible
    if cloud.bins:
        notes.append(f"{cloud.points:,} points are counted in {len(cloud.bins):,} cells: the darker, the more.")
    if infeasible > 0:
        notes.append(f"Not drawn: {infeasible:,} infeasible.")
    if cloud.left_out:
        notes.append(f"Not drawn: {cloud.left_out:,} feasible without a positive value of both metrics.")
    if len(cloud.objectives) > 2:
        notes.append(f"The front is that of {len(cloud.objectives)} objectives.")
    return notes


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
