"""Metrics along a number, with the places where the better one changes or a bound is met."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from markupsafe import Markup

from reports.axis import Axis, axis_of, round_text
from reports.definitions import in_titles
from reports.figure import Figure
from reports.log_axes import frame
from reports.numbers import quantity
from reports.palette import SERIES, role
from reports.parts import Key
from reports.svg import colour, drawing, inline
from reports.templating import render
from reports.text import short
from reports.whatif import Curves, Floats, WhatIf
from reports.whatif_axis import fine_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_IN: Final = (6.2, 3.6)
_BOX: Final = (0.13, 0.14, 0.83, 0.83)
_STRETCH: Final = 1.02
MOST_MARKS: Final = 12


class Panel(NamedTuple):
    """One picture and its curves."""

    title: str
    svg: Markup
    keys: list[Key]
    note: str


def panel_of(each: Curves, key: str) -> Panel:
    """A picture on logarithmic axes."""
    keys = [Key(name, role("series", SERIES[i % len(SERIES)])) for i, name in enumerate(each.names)]
    known = each.values[np.isfinite(each.values) & (each.values > 0.0)].tolist()
    known += [each.level] if math.isfinite(each.level) else []
    across, up = axis_of(each.at.tolist()), axis_of(known)
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        framed(axes, across, up, (each.dimension, each.metric_dimension), (each.along, in_titles(each.metric)))
        hints = {}
        for place, values in enumerate(each.values):
            hints[f"curve-{place}"] = _draw_curve(axes, each, values, keys[place].colour, f"curve-{place}")
        for at, _ in each.marks[:MOST_MARKS]:
            axes.axvline(at, color=colour("ink"), linewidth=0.9, linestyle=(0, (4, 3)), zorder=2)
        if math.isfinite(each.level):
            axes.axhline(each.level, color=colour("ink"), linewidth=1.1, zorder=2)
        label = f"{each.metric} over {each.along}: {', '.join(each.names)}"
        return Panel(each.title, inline(figure, key, label, hints), keys if len(keys) > 1 else [], _note(each))


def framed(axes: Axes, across: Axis, up: Axis, dimensions: tuple[str, str], labels: tuple[str, str]) -> None:
    """As ``log_axes.frame``, with whole steps on an axis that spans little."""
    frame(axes, across, up, dimensions, (short(labels[0]), short(labels[1])))
    for axis, dimension, set_ticks in zip((across, up), dimensions, (axes.set_xticks, axes.set_yticks), strict=True):
        values = fine_values(axis)
        set_ticks(values, [round_text(value, dimension).removesuffix("FLOP/s").rstrip() for value in values])
    axes.minorticks_off()


def _draw_curve(axes: Axes, each: Curves, values: Floats, shade: str, gid: str) -> list[str]:
    """A curve, broken where it has no value, and dots that say their numbers."""
    seen = np.isfinite(values) & (values > 0.0)
    axes.plot(each.at, np.where(seen, values, np.nan), color=colour(shade), linewidth=1.4, alpha=0.85, zorder=3)
    axes.scatter(each.at[seen], values[seen], s=13.0, c=colour(shade), linewidths=0.4, edgecolors=colour("paper"),
                 zorder=4, gid=gid)  # fmt: skip
    return [
        f"{quantity(at, each.dimension)}: {quantity(value, each.metric_dimension)}"
        for at, value in zip(each.at[seen].tolist(), values[seen].tolist(), strict=True)
    ]


def _note(each: Curves) -> str:
    """What happens at the dashed lines."""
    shown = "; ".join(text for _, text in each.marks[:MOST_MARKS])
    more = len(each.marks) - MOST_MARKS
    return f"{shown}{f'; and {more} more' if more > 0 else ''}." if shown else ""


def applies(shown: WhatIf) -> bool:
    """Whether any curve has values."""
    return any(bool((np.isfinite(each.values) & (each.values > 0.0)).any()) for each in shown.curves)


def draw(shown: WhatIf) -> Markup:
    """A panel per metric."""
    drawn = [
        panel_of(each, f"whatif-curves-{place}")
        for place, each in enumerate(shown.curves)
        if bool((np.isfinite(each.values) & (each.values > 0.0)).any())
    ]
    return render("whatif_curves.html", panels=drawn)


FIGURE: Final = Figure(
    "curves",
    "Along the number",
    10,
    "The metric at the numbers that were looked at; a curve ends where its design does not fit the memory or cannot be "
    "asked. Dashed lines stand where the better one changes, or at the answer; a level line is a bound. Axes are "
    "logarithmic.",
    applies,
    draw,
)
