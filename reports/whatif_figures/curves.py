"""Metrics along a number, with the places where the better one changes or a bound is met."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
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
_LEFT, _BOTTOM, _RIGHT, _HEIGHT = 0.13, 0.14, 0.96, 0.83
_LETTER_PT, _LABEL_PT = 5.6, 28.0
"""Room of a letter of a tick, and of the name of the axis [pt]."""
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
    across, up = axis_of(each.at.tolist()), axis_up(each)
    longest = max((len(round_text(value, each.metric_dimension)) for value in fine_values(up)), default=0)
    left = max((longest * _LETTER_PT + _LABEL_PT) / (72.0 * _SIZE_IN[0]), _LEFT)
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes((left, _BOTTOM, _RIGHT - left, _HEIGHT))
        framed(axes, across, up, (each.dimension, each.metric_dimension), (each.along, in_titles(each.metric)))
        hints = {}
        for place, (low, high) in enumerate(zip(each.bands.low, each.bands.high, strict=True) if each.bands else ()):
            axes.fill_between(each.at, low, high, color=colour(keys[place].colour), alpha=0.16, linewidth=0.0, zorder=1)
        for place, values in enumerate(each.values):
            hints[f"curve-{place}"] = _draw_curve(axes, each, values, keys[place].colour, f"curve-{place}")
        for at, _ in each.marks[:MOST_MARKS]:
            axes.axvline(at, color=colour("ink"), linewidth=0.9, linestyle=(0, (4, 3)), zorder=2)
        if math.isfinite(each.level):
            axes.axhline(each.level, color=colour("ink"), linewidth=1.1, zorder=2)
        label = f"{each.metric} over {each.along}: {', '.join(each.names)}"
        return Panel(each.title, inline(figure, key, label, hints), keys if len(keys) > 1 else [], _note(each))


def seen_in(values: Floats) -> npt.NDArray[np.bool_]:
    """Which values have a place on a logarithmic axis."""
    return np.isfinite(values) & (values > 0.0)


def axis_up(each: Curves) -> Axis:
    """An axis that holds all values, their bands and the bound."""
    known = [each.values, *((each.bands.low, each.bands.high) if each.bands else ())]
    return axis_of([*(value for values in known for value in values[seen_in(values)].tolist()), each.level])


def framed(axes: Axes, across: Axis, up: Axis, dimensions: tuple[str, str], labels: tuple[str, str]) -> None:
    """As ``log_axes.frame``, with whole steps on an axis that spans little."""
    frame(axes, across, up, dimensions, (short(labels[0]), short(labels[1])))
    for axis, dimension, set_ticks in zip((across, up), dimensions, (axes.set_xticks, axes.set_yticks), strict=True):
        values = fine_values(axis)
        set_ticks(values, [round_text(value, dimension).removesuffix("FLOP/s").rstrip() for value in values])
    axes.minorticks_off()


def _draw_curve(axes: Axes, each: Curves, values: Floats, shade: str, gid: str) -> list[str]:
    """A curve, broken where it has no value, and dots that say their numbers."""
    seen = seen_in(values)
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
    said = f"{shown}{f'; and {more} more' if more > 0 else ''}." if shown else ""
    return f"{said} Bands: {each.bands.what}.".lstrip() if each.bands else said


def applies(shown: WhatIf) -> bool:
    """Whether any curve has values."""
    return bool(drawn_of(shown))


def drawn_of(shown: WhatIf) -> list[Curves]:
    """Curves with values."""
    return [each for each in shown.curves if seen_in(each.values).any()]


def draw(shown: WhatIf) -> Markup:
    """A panel per metric."""
    drawn = [panel_of(each, f"whatif-curves-{place}") for place, each in enumerate(drawn_of(shown))]
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
