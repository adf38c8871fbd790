"""Rooflines for print: a panel per device, the operators below their roofs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from reports.axis import Axis
from reports.figures.roofline import Limits, Panel, applies, limits_of, panels_of, roofs_of
from reports.numbers import quantity
from reports.palette import family_rank, in_words, role
from reports.print_figure import NOTE_PT, PrintFigure, grid_of, ink, legend_below, letters_in, logarithmic, not_drawn
from reports.text import short
from simulator.result import Result, Roof

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

MOST_PANELS: Final = 6
_LARGEST_DOT: Final = 220.0
_NOTE_HIGH: Final = 0.06
"""Height of a note as a share of the axis."""


def draw(results: Sequence[Result], drawing: Drawing) -> None:
    """At most ``MOST_PANELS`` panels on the same axes; the area of a dot is its part of the time."""
    from matplotlib.lines import Line2D

    every = panels_of(results)
    panels = every[:MOST_PANELS]
    limits = limits_of(panels)
    grid = grid_of(drawing, len(panels), 2.8, 0.6, share=True)
    across = len({round(float(axes.get_position().x0), 3) for axes in grid})
    # Decades of a letter of a note, axes being about 0.7 of their share of the width.
    letter = math.log10(limits.right / limits.left) / letters_in(drawing, 0.7 / across, NOTE_PT)
    for axes, panel in zip(grid, panels, strict=True):
        _panel(axes, panel, limits, letter)
        axes.set(title=short(panel.label, letters_in(drawing, 0.58 / across)))
        axes.label_outer()
    families = sorted({dot.family for panel in panels for dot in panel.dots}, key=family_rank)
    keys = [Line2D([], [], marker="o", linestyle="", color=ink(role("family", name)), label=in_words("family", name))
            for name in families]  # fmt: skip
    markers: dict[str, list[str]] = {}
    for panel in panels:
        for dot in panel.dots:
            if dot.phase not in markers.setdefault(dot.marker, []):
                markers[dot.marker].append(dot.phase)
    if len(markers) > 1:
        keys += [Line2D([], [], marker=marker, linestyle="", color=ink("muted"), markerfacecolor="none",
                        label=", ".join(names)) for marker, names in markers.items()]  # fmt: skip
    legend_below(drawing, keys, notes=[not_drawn(len(every) - len(panels), "panel")])


def _panel(axes: Axes, panel: Panel, limits: Limits, letter: float) -> None:
    logarithmic(axes, "x", Axis(math.log10(limits.left), math.log10(limits.right)), "arithmetic intensity [FLOP/B]")
    logarithmic(axes, "y", Axis(math.log10(limits.bottom), math.log10(limits.top)), "attained", "flops")
    axes.grid(True)
    roofs = roofs_of(panel)
    for slope in roofs.slopes:
        _slope(axes, slope, limits, roofs.top, letter)
    gap, widest = _NOTE_HIGH * math.log(limits.top / limits.bottom), max(roof.value for roof in roofs.slopes)
    named: list[float] = []
    for value in roofs.drawn:
        used = value in roofs.used
        axes.hlines(value, value / widest, limits.right, color=ink("ink" if used else "muted"),
                    linewidth=1.4 if used else 0.7)  # fmt: skip
        if all(abs(math.log(value / other)) > gap for other in named):
            named.append(value)
            text = f"{short(', '.join(roofs.peaks[value]), 24)}  {quantity(value, 'flops')}"
            note(axes, text, (limits.right, value), (0.0, 1.5), ha="right", va="bottom")
    for dot in panel.dots:
        axes.scatter(
            [dot.intensity], [dot.rate], s=max(_LARGEST_DOT * dot.weight, 9.0), marker=dot.marker, alpha=0.8,
            color=ink(role("family", dot.family)), linewidths=0.4, edgecolors="white", zorder=3,
        )  # fmt: skip


def _slope(axes: Axes, roof: Roof, limits: Limits, top: float, letter: float) -> None:
    """A bandwidth: the memory's line with its name below, a cache's with its name above, inside the picture."""
    memory, end = roof.kind == "memory", top / roof.value
    start = max(limits.left, limits.bottom / roof.value)
    axes.plot([start, end], [start * roof.value, top], color=ink("ink" if memory else "muted"),
              linewidth=1.4 if memory else 0.9, linestyle="-" if memory else (0, (4, 3)))  # fmt: skip
    text = f"{short(roof.label, 14)}  {quantity(roof.value, 'bytes_per_s')}"
    if memory:
        x = start**0.4 * end**0.6
        note(axes, text, (x, x * roof.value), (4.0, -3.0), ha="left", va="top")
    else:
        x = min(max(math.sqrt(start * end), limits.left * 10.0 ** (letter * (len(text) + 2))), end)
        fits = x > limits.left * 10.0 ** (letter * len(text))
        if not fits:
            note(axes, text, (limits.left, top), (2.0, 2.0), ha="left", va="bottom")
            return
        note(axes, text, (x, x * roof.value), (-4.0, 2.0), ha="right", va="bottom")


def note(axes: Axes, text: str, at: tuple[float, float], by: tuple[float, float], **options: Any) -> None:
    """Words above all else, on a veil that lets them be read; ``by`` in points."""
    veil = {"facecolor": "white", "alpha": 0.7, "linewidth": 0.0, "pad": 0.4}
    axes.annotate(text, at, by, textcoords="offset points", fontsize=NOTE_PT, color=ink("ink"), zorder=5, bbox=veil,
                  **options)  # fmt: skip


FIGURE = PrintFigure("roofline", "Rooflines with operators", ("results",), applies, draw)
