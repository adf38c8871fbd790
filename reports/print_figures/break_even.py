"""A metric along a number, for print: where the better of two changes, or where a bound is met."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from reports.axis import axis_of
from reports.definitions import in_titles
from reports.palette import SERIES, role
from reports.print_figure import DASHES, PrintFigure, grid_of, ink, legend_below, letters_in, logarithmic, not_drawn
from reports.text import short
from reports.whatif import Curves, WhatIf
from reports.whatif_figures.curves import applies, axis_up, drawn_of, seen_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

MOST_PANELS: Final = 4
MOST_CURVES: Final = len(SERIES)
_LETTERS: Final = "abcdefgh"
"""Of crossovers, which are named below the picture; more are not drawn."""
_MARK: Final = (0, (4, 3))


def draw(card: WhatIf, drawing: Drawing) -> None:
    """A panel for each metric on logarithmic axes; dashed lines are crossovers, named below by their letters."""
    every = drawn_of(card)
    shown = every[:MOST_PANELS]
    marks = list(dict.fromkeys(mark for each in shown for mark in each.marks))
    letters = dict(zip(marks, _LETTERS, strict=False))
    notes = [f"{letter}: {said}." for (_, said), letter in letters.items()]
    for axes, each in zip(grid_of(drawing, len(shown), 2.7, 0.6 + 0.13 * len(letters)), shown, strict=True):
        _panel(axes, each)
        for mark in each.marks:
            if mark in letters:
                axes.axvline(mark[0], color=ink("ink"), linewidth=0.9, linestyle=_MARK, zorder=2)
                axes.annotate(letters[mark], (mark[0], 1.0), (0.0, 1.0), xycoords=("data", "axes fraction"),
                              ha="center", textcoords="offset points", va="bottom", color=ink("ink"))  # fmt: skip
    notes.append(not_drawn(len(marks) - len(letters), "crossover"))
    notes.append(not_drawn(len(every) - len(shown), "panel"))
    notes.append(not_drawn(sum(len(each.names[MOST_CURVES:]) for each in shown), "curve"))
    notes += [f"A curve ends where it has no value: {gaps}." for gaps in [_gaps(shown)] if gaps]
    legend_below(drawing, _keys(shown, letters_in(drawing, 0.4)), notes=[each for each in notes if each])


def _panel(axes: Axes, each: Curves) -> None:
    logarithmic(axes, "x", axis_of(each.at.tolist()), short(each.along, 60), each.dimension)
    logarithmic(axes, "y", axis_up(each), short(in_titles(each.metric), 40), each.metric_dimension)
    axes.grid(True)
    for place, values in enumerate(each.values[:MOST_CURVES]):
        shade = ink(role("series", SERIES[place]))
        if each.bands:
            axes.fill_between(each.at, each.bands.low[place], each.bands.high[place], color=shade, alpha=0.2,
                              linewidth=0.0, zorder=1)  # fmt: skip
        axes.plot(each.at, np.where(seen_in(values), values, np.nan), color=shade, linestyle=DASHES[place], zorder=3)
    if math.isfinite(each.level):
        axes.axhline(each.level, color=ink("ink"), linewidth=1.1, zorder=2)


def _gaps(shown: list[Curves]) -> str:
    """How many points of which drawn curve have no value, in all panels together."""
    gaps: dict[str, int] = {}
    for each in shown:
        for name, values in zip(each.names[:MOST_CURVES], each.values, strict=False):
            gaps[name] = gaps.get(name, 0) + int((~seen_in(values)).sum())
    return ", ".join(
        f"{short(name, 30)} at {count:,} point{'s' * (count > 1)}" for name, count in gaps.items() if count
    )


def _keys(shown: list[Curves], most: int) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    # A name that stands at another place in another panel has another look there.
    looks = dict.fromkeys(
        (short(name, most), place) for each in shown for place, name in enumerate(each.names[:MOST_CURVES])
    )
    keys: list[Any] = [
        Line2D([], [], color=ink(role("series", SERIES[place])), linestyle=DASHES[place], label=name)
        for name, place in looks
    ]
    if any(math.isfinite(each.level) for each in shown):
        keys.append(Line2D([], [], color=ink("ink"), linewidth=1.1, label="bound"))
    for what in dict.fromkeys(each.bands.what for each in shown if each.bands):
        keys.append(Patch(color=ink("muted"), alpha=0.3, linewidth=0.0, label=what))
    return keys


FIGURE = PrintFigure("break-even", "Along the number", ("whatif",), applies, draw)
