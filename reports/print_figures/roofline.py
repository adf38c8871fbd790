"""Rooflines for print: a panel per device, the operators below their roofs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from reports.axis import Axis
from reports.figures.roofline import Limits, Panel, applies, limits_of, panels_of
from reports.palette import family_rank, in_words, role
from reports.print_figure import WIDTH_IN, PrintFigure, ink, logarithmic
from reports.text import short
from simulator.result import Result, Roof

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

MOST_PANELS: Final = 6
_LARGEST_DOT: Final = 220.0


def draw(results: Sequence[Result], drawing: Drawing) -> None:
    """At most ``MOST_PANELS`` panels on the same axes; the area of a dot is its part of the time."""
    from matplotlib.lines import Line2D

    panels = panels_of(results)[:MOST_PANELS]
    across = min(len(panels), 2)
    down = math.ceil(len(panels) / across)
    drawing.set_size_inches(WIDTH_IN, 0.6 + 2.9 * down)
    limits = limits_of(panels)
    grid = drawing.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for place, axes in enumerate(grid.flat):
        if place < len(panels):
            _panel(axes, panels[place], limits)
        else:
            axes.set_visible(False)
    families = sorted({dot.family for panel in panels for dot in panel.dots}, key=family_rank)
    keys = [Line2D([], [], marker="o", linestyle="", color=ink(role("family", name)), label=in_words("family", name))
            for name in families]  # fmt: skip
    drawing.legend(handles=keys, loc="outside lower center", ncols=4)


def _panel(axes: Axes, panel: Panel, limits: Limits) -> None:
    logarithmic(axes, "x", Axis(math.log10(limits.left), math.log10(limits.right)), "arithmetic intensity [FLOP/B]")
    logarithmic(axes, "y", Axis(math.log10(limits.bottom), math.log10(limits.top)), "attained", "flops")
    axes.set(title=short(panel.label, 44))
    axes.grid(True)
    peaks = [roof for roof in panel.roofs if roof.kind == "peak"]
    highest = max((roof.value for roof in peaks), default=limits.top)
    for roof in panel.roofs:
        _roof(axes, roof, highest, limits, used=roof in peaks and any(name in roof.label for name in panel.dtypes))
    for value in dict.fromkeys(roof.value for roof in peaks):
        names = ", ".join(roof.label.removesuffix(" peak") for roof in peaks if roof.value == value)
        axes.annotate(short(f"{names} peak", 30), (limits.right, value), ha="right", va="bottom", fontsize=7,
                      color=ink("muted"))  # fmt: skip
    for dot in panel.dots:
        axes.scatter(
            [dot.intensity], [dot.rate], s=max(_LARGEST_DOT * dot.weight, 9.0), marker=dot.marker, alpha=0.8,
            color=ink(role("family", dot.family)), linewidths=0.4, edgecolors="white", zorder=3,
        )  # fmt: skip


def _roof(axes: Axes, roof: Roof, highest: float, limits: Limits, used: bool) -> None:
    """A level line for a rate of math, a rising one for a bandwidth."""
    if roof.kind == "peak":
        axes.hlines(roof.value, limits.left, limits.right, color=ink("ink" if used else "muted"), linewidth=0.9)
        return
    end = min(highest / roof.value, limits.right)
    axes.plot([limits.left, end], [limits.left * roof.value, end * roof.value], color=ink("muted"), linewidth=0.9,
              linestyle="-" if roof.kind == "memory" else ":")  # fmt: skip


FIGURE = PrintFigure("roofline", "Rooflines with operators", ("results",), applies, draw)
