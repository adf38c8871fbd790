"""The tornado of a sensitivity, for print: a metric with each knob at either end of its range."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from reports.numbers import metric_of, quantity, symbol, unit_of
from reports.palette import role
from reports.print_figure import NOTE_PT, PrintFigure, ink, legend_below, letters_in, not_drawn, set_height
from reports.text import short
from reports.whatif import Bar, Tornado, WhatIf

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

MOST_BARS: Final = 12
"""Knobs of a panel, the widest first."""
_ENDS: Final = (("low end of its range", "1"), ("high end of its range", "2"))


def _shown(each: Tornado) -> list[Bar]:
    return [bar for bar in each.bars if math.isfinite(bar.low) and math.isfinite(bar.high)][:MOST_BARS]


def applies(card: WhatIf) -> bool:
    """Whether some metric has a bar."""
    return any(_shown(each) for each in card.tornados)


def draw(card: WhatIf, drawing: Drawing) -> None:
    """A panel for each metric; the line is where all knobs stand as they are."""
    from matplotlib.patches import Patch

    shown = [each for each in card.tornados if _shown(each)]
    heights = [0.8 + 0.26 * len(_shown(each)) for each in shown]
    set_height(drawing, 0.4 + sum(heights))
    grid = drawing.subplots(len(shown), 1, squeeze=False, height_ratios=heights)
    most = letters_in(drawing, 0.42)
    for axes, each in zip(grid[:, 0], shown, strict=True):
        _panel(axes, each, most)
    keys = [Patch(color=ink(role("series", series)), label=name) for name, series in _ENDS]
    hidden = sum(len(each.bars) - len(_shown(each)) for each in shown)
    legend_below(drawing, keys, notes=[not_drawn(hidden, "knob")])


def _panel(axes: Axes, each: Tornado, most: int) -> None:
    bars = _shown(each)
    scale, unit = unit_of(each.base, each.dimension)
    reach = max(abs(end - each.base) for bar in bars for end in (bar.low, bar.high)) / scale or 1.0
    base = each.base / scale
    for row, bar in enumerate(bars):
        ends = zip((bar.low, bar.high), (bar.low_end, bar.high_end), _ENDS, strict=True)
        # Where both ends lie on one side the wider one would hide the other.
        for end, text, (_, series) in sorted(ends, key=lambda one: -abs(one[0] - each.base)):
            width = end / scale - base
            axes.barh(row, width, left=base, height=0.62, color=ink(role("series", series)))
            side = "left" if width > 0.0 else "right"
            axes.annotate(short(text, 14), (end / scale, row), (2.0 if width > 0.0 else -2.0, 0.0), ha=side,
                          textcoords="offset points", va="center", fontsize=NOTE_PT, color=ink("muted"))  # fmt: skip
    axes.axvline(base, color=ink("ink"), linewidth=0.9)
    title = metric_of(each.metric).title
    axes.set(ylim=(len(bars) - 0.4, -0.6), xlim=(base - 1.55 * reach, base + 1.55 * reach),
             xlabel=f"{short(title, 50)} [{unit or symbol(each.dimension)}]",
             title=f"as it stands: {quantity(each.base, each.dimension)}")  # fmt: skip
    axes.set_yticks(range(len(bars)), [named(bar.path, most) for bar in bars])
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x")


def named(path: str, most: int) -> str:
    """A knob; as many of the last parts of its path, which tell it from others, as there is room for."""
    parts = path.split(".")
    fitting = (each for first in range(len(parts)) if len(each := ".".join(parts[first:])) <= most)
    return next(fitting, short(parts[-1], most))


FIGURE = PrintFigure("tornado", "What moves a metric", ("whatif",), applies, draw)
