"""Where a difference comes from, for print: from one value to the other, step by step."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from reports.palette import role
from reports.print_figure import PrintFigure, ink, legend_below, letters_in, not_drawn, set_height
from reports.print_figures.tornado import named
from reports.text import short
from reports.whatif import WhatIf
from reports.whatif_figures.waterfall import Panel, applies, panel_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

MOST_PANELS: Final = 3
_LOOKS: Final = {"level": ("either of the two", "other", ""), "good": ("for the better", "3", ""),
                 "bad": ("for the worse", "2", "////")}  # fmt: skip
"""Of the kinds of bars: what they say, their colour and hatch."""


def draw(card: WhatIf, drawing: Drawing) -> None:
    """A panel for each account of the difference; steps for the worse are hatched."""
    from matplotlib.patches import Patch

    every = [panel_of(each) for each in card.waterfalls if each.steps]
    shown = every[:MOST_PANELS]
    heights = [0.75 + 0.2 * len(panel.lines) for panel in shown]
    set_height(drawing, 0.5 + sum(heights))
    grid = drawing.subplots(len(shown), 1, squeeze=False, height_ratios=heights)
    for axes, panel in zip(grid[:, 0], shown, strict=True):
        _panel(axes, panel, letters_in(drawing, 0.34), letters_in(drawing, 0.55))
        axes.set_title("\n".join(wrap(short(panel.title, 90), letters_in(drawing, 0.55))))
    keys = [Patch(label=said, **_look(kind)) for kind, (said, *_) in _LOOKS.items()]
    notes = [not_drawn(len(every) - len(shown), "panel")]
    notes += ["Axes do not begin at zero."] if any(panel.cut for panel in shown) else []
    legend_below(drawing, keys, notes=notes)


def _panel(axes: Axes, panel: Panel, most: int, across: int) -> None:
    """One account; names have ``most`` letters at the most, ticks ``across`` of them side by side."""
    for row, line in enumerate(panel.lines):
        axes.barh(row, line.width, left=line.left, height=0.66, **_look(line.kind))
        axes.annotate(line.value, (line.left + line.width, row), (2.0, 0.0), textcoords="offset points", va="center",
                      fontsize="small", color=ink("ink"), annotation_clip=False)  # fmt: skip
    axes.set(xlim=(0.0, 112.0), ylim=(len(panel.lines) - 0.4, -0.6))
    every = -(-sum(len(tick.text) + 2 for tick in panel.ticks) // across)
    ticks = panel.ticks[:: max(every, 1)]
    axes.set_xticks([tick.at for tick in ticks], [tick.text for tick in ticks])
    axes.set_yticks(range(len(panel.lines)), [named(line.what, most) for line in panel.lines])
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x")


def _look(kind: str) -> dict[str, Any]:
    _, series, hatch = _LOOKS[kind]
    return {"facecolor": ink(role("series", series)), "hatch": hatch, "edgecolor": "white", "linewidth": 0.0}


FIGURE = PrintFigure("delta", "Where the difference comes from", ("whatif",), applies, draw)
