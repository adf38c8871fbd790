"""Measured calls below the roofs of the device that was calibrated, for print: a panel for each number format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from reports.axis import Axis
from reports.calibration import MachineCard, Point, Roof
from reports.calibration_figures.roofline import SEEN, applies, axes_of, panels_of, placed, rate_dimension
from reports.log_axes import MOST_DOTS, draw_cells, parts_of
from reports.numbers import quantity
from reports.palette import family_rank, in_words, role
from reports.print_figure import (
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
from reports.print_figures.roofline import note
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

MOST_PANELS: Final = 6
_MATH: Final = ("peak", "vector")
_APART: Final = 0.06
"""Names of roofs closer than this part of the height of a panel do not both stand."""


def draw(card: MachineCard, drawing: Drawing) -> None:
    """Panels on the same axes; solid roofs are those that predictions rest on, dashed ones were seen by probes."""
    every = panels_of(card)
    shown = every[:MOST_PANELS]
    across, up = axes_of(shown)
    points = [point for panel in shown for point in panel.points]
    families = sorted({point.family for point in points}, key=family_rank)
    counted = len(card.points) > MOST_DOTS
    grid = grid_of(drawing, len(shown), 2.8, 0.7, share=True)
    columns = len({round(float(axes.get_position().x0), 3) for axes in grid})
    letter = (across.high - across.low) / letters_in(drawing, 0.7 / columns, NOTE_PT)
    nameless: dict[str, None] = {}
    for axes, panel in zip(grid, shown, strict=True):
        logarithmic(axes, "x", across, "arithmetic intensity [FLOP/B]")
        logarithmic(axes, "y", up, "attained", "flops")
        axes.grid(True)
        nameless |= dict.fromkeys(_roofs(axes, panel.roofs, across, up, letter))
        _points(axes, panel.points, families, (across, up), counted)
        axes.set(title=f"{short(panel.dtype, 20)}: {len(panel.points):,} call{'s' * (len(panel.points) != 1)}")
        axes.label_outer()
    notes = [not_drawn(len(every) - len(shown), "panel")]
    notes += [f"Also drawn: {', '.join(nameless)}."] if nameless else []
    left_out = sum(not placed(point) for point in card.points)
    notes += [f"Not drawn: {left_out:,} without FLOPs or bytes."] if left_out else []
    notes += [f"{len(points):,} calls are counted in cells: the darker, the more."] if counted else []
    legend_below(drawing, _keys(points, families, shown[0].roofs, counted), notes=notes)


def family_marker(family: str) -> str:
    """The marker of an operator family."""
    return MARKERS[family_rank(family)[0] % len(MARKERS)]


def _points(
    axes: Axes, points: Sequence[Point], families: Sequence[str], scales: tuple[Axis, Axis], counted: bool
) -> None:
    at, rates = [p.flops / p.moved_bytes for p in points], [p.flops / p.time_s for p in points]
    if counted:
        shades = [ink(role("family", family)) for family in families]
        groups = [families.index(point.family) for point in points]
        draw_cells(axes, parts_of(scales[0], at), parts_of(scales[1], rates), groups, shades)
        return
    for family in families:
        shade = ink(role("family", family))
        own = [(x, rate, point) for x, rate, point in zip(at, rates, points, strict=True) if point.family == family]
        wide = [(x, p) for x, _, p in own if p.high_s > SEEN * p.low_s > 0.0]
        axes.vlines([x for x, _ in wide], [p.flops / p.high_s for _, p in wide], [p.flops / p.low_s for _, p in wide],
                    colors=shade, linewidth=0.8, alpha=0.6, zorder=3)  # fmt: skip
        axes.scatter([x for x, _, _ in own], [rate for _, rate, _ in own], s=10.0, marker=family_marker(family),
                     color=shade, alpha=0.75, linewidths=0.3, edgecolors="white", zorder=4)  # fmt: skip


def _roofs(axes: Axes, roofs: Sequence[Roof], across: Axis, up: Axis, letter: float) -> list[str]:
    """Rates as levels from the widest slope on, bandwidths as slopes up to the highest rate, each with its value.

    Returns:
        Names of those that have no room for them.
    """
    left, right, room = 10.0**across.low, 10.0**across.high, _APART * (up.high - up.low)
    slopes, levels = [r for r in roofs if r.kind not in _MATH], [r for r in roofs if r.kind in _MATH]
    top = max((roof.value for roof in levels), default=10.0**up.high)
    widest = max((roof.value for roof in slopes), default=math.inf)
    named: list[float] = []
    nameless = []
    for roof in sorted(levels, key=lambda each: (not each.fitted, -each.value)):
        axes.plot([max(roof.value / widest, left), right], [roof.value] * 2, **_line(roof))
        if all(abs(math.log10(roof.value / other)) > room for other in named):
            named.append(roof.value)
            note(axes, _name(roof), (right, roof.value), (0.0, 1.5), ha="right", va="bottom")
        else:
            nameless.append(_name(roof))
    taken: list[float] = []
    for roof in sorted(slopes, key=lambda each: (not each.fitted, each.kind != "memory", -each.value)):
        end, start = min(top / roof.value, right), max(left, 10.0**up.low / roof.value)
        if end <= start:
            continue  # it lies out of the picture
        axes.plot([start, end], [start * roof.value, end * roof.value], **_line(roof))
        memory = roof.kind == "memory"
        at = start ** (0.45 if memory else 0.25) * end ** (0.55 if memory else 0.75)
        fits = memory or math.log10(at / left) > letter * (len(_name(roof)) + 1)
        if fits and all(abs(math.log10(at * roof.value / other)) > room for other in taken):
            taken.append(at * roof.value)
            by, ha, va = ((4.0, -3.0), "left", "top") if memory else ((-4.0, 2.0), "right", "bottom")
            note(axes, _name(roof), (at, at * roof.value), by, ha=ha, va=va)
        else:
            nameless.append(_name(roof))
    return nameless


def _name(roof: Roof) -> str:
    return f"{short(roof.label, 22)}  {quantity(roof.value, rate_dimension(roof))}"


def _line(roof: Roof) -> dict[str, Any]:
    strong = roof.kind in ("peak", "memory")
    return {
        "color": ink("ink" if strong else "muted"), "linewidth": 1.4 if strong else 0.9, "zorder": 2,
        "linestyle": "-" if roof.fitted else (0, (4, 3)),
    }  # fmt: skip


def _keys(points: Sequence[Point], families: Sequence[str], roofs: Sequence[Roof], counted: bool) -> list[Any]:
    from matplotlib.lines import Line2D

    keys = [
        Line2D([], [], marker="s" if counted else family_marker(family), linestyle="", markersize=4.5,
               color=ink(role("family", family)), label=in_words("family", family))
        for family in families
    ]  # fmt: skip
    keys.append(Line2D([], [], color=ink("ink"), linewidth=1.4, label="roof of the predictions"))
    if not all(roof.fitted for roof in roofs):
        keys.append(Line2D([], [], color=ink("muted"), linestyle=(0, (4, 3)), label="seen by probes"))
    if not counted and any(point.high_s > SEEN * point.low_s > 0.0 for point in points):
        keys.append(Line2D([], [], color=ink("muted"), linewidth=0.8, alpha=0.6, marker="|", linestyle="",
                           markersize=7.0, label="95 % interval"))  # fmt: skip
    return keys


FIGURE = PrintFigure("roofs", "Measured calls below the roofs", ("calibration",), applies, draw)
