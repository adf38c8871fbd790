"""The border between two alternatives in the plane of two numbers: crossovers along one at values of the other."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from reports.axis import axis_of
from reports.figure import Figure
from reports.log_axes import dots
from reports.numbers import quantity
from reports.palette import SERIES, role
from reports.parts import Key
from reports.svg import colour, drawing, inline
from reports.templating import render
from reports.whatif import WhatIf
from reports.whatif_figures.curves import framed

_SIZE_IN: Final = (6.2, 3.6)
_BOX: Final = (0.13, 0.14, 0.83, 0.83)


def applies(shown: WhatIf) -> bool:
    """Whether there is any crossover."""
    return shown.border is not None and bool(shown.border.points)


def draw(shown: WhatIf) -> Markup:
    """Dots in the plane, coloured by what is better beyond them."""
    border = shown.border
    assert border is not None
    states = list(dict.fromkeys(state for _, _, state in border.points))
    keys = [Key(f"above: {state}", role("series", SERIES[i % len(SERIES)])) for i, state in enumerate(states)]
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        across, up = axis_of([x for x, _, _ in border.points]), axis_of([y for _, y, _ in border.points])
        framed(axes, across, up, (border.across_dimension, border.up_dimension), (border.across, border.up))
        hints = {}
        for place, state in enumerate(states):
            own = sorted(point for point in border.points if point[2] == state)
            shade, gid = colour(keys[place].colour), f"border-{place}"
            x, y = [point[0] for point in own], [point[1] for point in own]
            if len(set(x)) == len(x):
                axes.plot(x, y, color=shade, linewidth=1.1, alpha=0.6, zorder=3)
            dots(axes, x, y, shade, "o", 4, gid)
            hints[gid] = [
                f"{quantity(at, border.across_dimension)}: from {quantity(value, border.up_dimension)} on {state}"
                for at, value, _ in own
            ]
        label = f"Crossovers over {border.up} at values of {border.across}: {len(border.points)}"
        svg = inline(figure, "whatif-border", label, hints)
    return render("whatif_border.html", svg=svg, keys=keys)


FIGURE: Final = Figure(
    "border",
    "Break-even line",
    15,
    "A dot is a crossover along the upright axis at one value of the other number; its colour says what is better "
    "above it.",
    applies,
    draw,
)
