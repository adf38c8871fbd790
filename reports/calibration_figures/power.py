"""The power of the device during calls, over their arithmetic intensity."""

from __future__ import annotations

import math
from typing import Final

from markupsafe import Markup

from reports.axis import axis_of, round_text, round_values
from reports.calibration import MachineCard, Point
from reports.calibration_figures.roofline import MOST_HINTS, placed
from reports.figure import Figure
from reports.log_axes import MOST_DOTS, bare_dots, dots, draw_cells, parts_of
from reports.numbers import quantity
from reports.palette import family_rank, role
from reports.parts import legend_of
from reports.svg import colour, drawing, inline
from reports.templating import render
from reports.text import short

_SIZE_IN: Final = (5.8, 3.9)
_BOX: Final = (0.125, 0.13, 0.835, 0.85)


def metered(card: MachineCard) -> list[Point]:
    """Calls during which power was read, and that have an intensity."""
    return [point for point in card.points if math.isfinite(point.power_w) and point.power_w > 0.0 and placed(point)]


def applies(card: MachineCard) -> bool:
    """Whether power was read during any call."""
    return bool(metered(card))


def draw(card: MachineCard) -> Markup:
    """One picture, and what clocks did."""
    points = metered(card)
    most = max(points, key=lambda point: point.power_w)
    clocks = [point.clock_hz for point in points if math.isfinite(point.clock_hz) and point.clock_hz > 0.0]
    ends = [quantity(end, "hz") for end in (min(clocks), max(clocks))] if clocks else []
    clock = f"clocks from {ends[0]} to {ends[1]}" if len(set(ends)) > 1 else f"clock {ends[0]}" if ends else ""
    return render(
        "power.html",
        svg=_drawn(card, points),
        legend_keys=legend_of((point.family for point in points), "family"),
        words=f"{len(points)} calls; at most {quantity(most.power_w, 'w')} ({short(most.what, 80)})"
        + (f"; {clock}" if clock else ""),
        counted=len(points) > MOST_DOTS,
    )


def _drawn(card: MachineCard, points: list[Point]) -> Markup:
    limit = card.power_limit_w
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        across = axis_of([point.flops / point.moved_bytes for point in points])
        highest = max(point.power_w for point in points)
        top = 1.1 * max(highest, limit if math.isfinite(limit) else 0.0)
        axes.set(xscale="log", xlim=(10.0**across.low, 10.0**across.high), ylim=(0.0, top),
                 xlabel="arithmetic intensity [FLOP/B]", ylabel="power [W]")  # fmt: skip
        values = round_values(across)
        axes.set_xticks(values, [round_text(value, "") for value in values])
        axes.minorticks_off()
        axes.grid(color=colour("line"), linewidth=0.6, alpha=0.6)
        axes.set_axisbelow(True)
        for word, level in (("limit", limit), ("idle", card.idle_w)):
            if math.isfinite(level):
                axes.axhline(level, color=colour("ink"), linewidth=1.1, zorder=2)
                axes.text(10.0**across.high, level, f"{word} {quantity(level, 'w')}", ha="right", va="bottom",
                          fontsize=8.5)  # fmt: skip
        hints = {}
        families = sorted({point.family for point in points}, key=family_rank, reverse=True)
        counted = len(points) > MOST_DOTS
        if counted:
            intensities, parts = [p.flops / p.moved_bytes for p in points], [p.power_w / top for p in points]
            groups = [families.index(point.family) for point in points]
            shades = [colour(role("family", family)) for family in families]
            draw_cells(axes, parts_of(across, intensities), parts, groups, shades)
        for order, family in enumerate(() if counted else families):
            same = [point for point in points if point.family == family]
            at, watts = [p.flops / p.moved_bytes for p in same], [p.power_w for p in same]
            if len(points) > MOST_HINTS:
                bare_dots(axes, at, watts, colour(role("family", family)), 3 + order)
                continue
            dots(axes, at, watts, colour(role("family", family)), "o", 3 + order, f"watts-{order}")
            hints[f"watts-{order}"] = [
                f"{short(p.what, 90)}: {quantity(p.power_w, 'w')}"
                + (f" at {quantity(p.clock_hz, 'hz')}" if math.isfinite(p.clock_hz) else "")
                for p in same
            ]
        return inline(figure, "power-0", f"Power over arithmetic intensity of {len(points)} calls", hints)


FIGURE: Final = Figure(
    "power",
    "Power",
    90,
    "Mean power of the device while it did one call over and over.",
    applies,
    draw,
)
