"""A fleet along the rate of requests, for print: latencies with their bounds, and what the work costs there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from reports.capacity import CapacityCard, LoadPanel
from reports.capacity_figures.load import (
    answer_in_words,
    applies,
    axis_up,
    known_in,
    most_per_s,
    rates_along,
)
from reports.numbers import quantity
from reports.palette import SERIES, role
from reports.print_figure import (
    DASHES,
    MARKERS,
    NOTE_PT,
    PrintFigure,
    grid_of,
    ink,
    legend_below,
    letters_in,
    logarithmic,
    not_drawn,
)
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

MOST_PANELS: Final = 6
MOST_CURVES: Final = len(SERIES)
_BOUND: Final = (0, (4, 3))
_HIGH: Final = 90.0
"""Percent of the height of a panel: the words of a bound above it stand below its line."""
_BELOW: Final = 4.4
"""From the axes to the names of their curves, in heights of letters: ticks and the name of the axis are between."""


def draw(card: CapacityCard, drawing: Drawing) -> None:
    """A panel for each bound and each cost; hollow dots are above the bound, the band is the interval of the rate."""
    every = [each for each in card.panels if known_in(each)]
    shown = every[:MOST_PANELS]
    grid = grid_of(drawing, len(shown), 2.7, 0.5)
    across = len({round(float(axes.get_position().x0), 3) for axes in grid})
    for axes, each in zip(grid, shown, strict=True):
        _panel(axes, card, each)
        axes.set_title(short(each.title, letters_in(drawing, 0.72 / across)))
    hidden = sum(len(each.curves[MOST_CURVES:]) for each in shown)
    notes = [not_drawn(len(every) - len(shown), "panel"), not_drawn(hidden, "curve"), *_cut(shown)]
    legend_below(drawing, _keys(card, shown), notes=notes)


def _panel(axes: Axes, card: CapacityCard, each: LoadPanel) -> None:
    most = most_per_s(card, each)
    ticks = rates_along(most)
    logarithmic(axes, "y", axis_up(each), "", each.dimension)
    axes.set(xlim=(0.0, most), xlabel="requests a second", ylabel=axes.get_ylabel().strip())
    axes.set_xticks(ticks, [f"{tick:,.6g}" for tick in ticks])
    axes.grid(True)
    if math.isfinite(card.low_per_s) and math.isfinite(card.high_per_s):
        axes.axvspan(card.low_per_s, card.high_per_s, color=ink("muted"), alpha=0.2, linewidth=0.0, zorder=1)
    axes.axvline(card.rate_per_s, color=ink("ink"), linewidth=1.1, zorder=2)
    if math.isfinite(each.bound):
        axes.axhline(each.bound, color=ink("ink"), linewidth=1.0, linestyle=_BOUND, zorder=2)
        above = axis_up(each).at(each.bound) < _HIGH
        by, side = (2.0, "bottom") if above else (-2.0, "top")
        axes.annotate(f"at most {quantity(each.bound, each.dimension)}", (0.0, each.bound), (3.0, by), va=side,
                      textcoords="offset points", fontsize=NOTE_PT, color=ink("ink"))  # fmt: skip
    curves = list(enumerate(each.curves[:MOST_CURVES]))
    for place, curve in reversed(curves):
        look: dict[str, Any] = {"color": ink(role("series", SERIES[place])), "marker": MARKERS[place]}
        first = place == 0
        values = [value if 0.0 < value < math.inf else math.nan for value in curve.values]
        axes.plot(curve.at_per_s, values, linestyle=DASHES[place], linewidth=1.8 if first else 1.1, markersize=3.6,
                  label=short(curve.name, 30), zorder=4 if first else 3, **look)  # fmt: skip
        broken = [(at, value) for at, value in zip(curve.at_per_s, values, strict=True) if value > each.bound]
        if broken:
            axes.plot(*zip(*broken, strict=True), linestyle="", markersize=3.6, markerfacecolor="white",
                      zorder=4.5 if first else 3.5, **look)  # fmt: skip
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], names[::-1], loc="upper center", bbox_to_anchor=(0.5, 0.0), handlelength=2.4,
                columnspacing=1.0, borderaxespad=_BELOW, ncols=3 if len(curves) == 3 else 2)  # fmt: skip


def _cut(shown: list[LoadPanel]) -> list[str]:
    """What has no place in the picture."""
    unknown = above = 0
    for each in shown:
        top = 10.0 ** axis_up(each).high
        values = [value for curve in each.curves[:MOST_CURVES] for value in curve.values]
        unknown += sum(not 0.0 < value < math.inf for value in values)
        above += sum(top < value < math.inf for value in values)
    notes = []
    if above:
        notes.append(f"{above:,} point{'s' * (above > 1)} far above a bound {'lie' if above > 1 else 'lies'} out of "
                     "the picture.")  # fmt: skip
    if unknown:
        notes.append(f"Not drawn: {unknown:,} without a value.")
    return notes


def _keys(card: CapacityCard, shown: list[LoadPanel]) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    keys: list[Any] = [Line2D([], [], color=ink("ink"), linewidth=1.1, label=answer_in_words(card))]
    if math.isfinite(card.low_per_s) and math.isfinite(card.high_per_s):
        keys.append(Patch(color=ink("muted"), alpha=0.2, linewidth=0.0, label="80 % interval of the highest rate"))
    bounded = [each for each in shown if math.isfinite(each.bound)]
    if bounded:
        keys.append(Line2D([], [], color=ink("ink"), linewidth=1.0, linestyle=_BOUND, label="bound"))
    if any(value > each.bound for each in bounded for curve in each.curves for value in curve.values):
        keys.append(Line2D([], [], color=ink("muted"), marker="o", linestyle="", markerfacecolor="white",
                           markersize=3.6, label="above its bound"))  # fmt: skip
    return keys


FIGURE = PrintFigure("capacity", "Along the load", ("capacity",), applies, draw)
