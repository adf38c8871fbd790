"""How much better the first of two alternatives may be than the second, and how likely it is better at all."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from reports.figure import Figure
from reports.numbers import chance_text
from reports.palette import role
from reports.parts import Key
from reports.svg import colour, drawing, inline
from reports.templating import render
from reports.text import short
from reports.whatif import Probability, WhatIf

_SIZE_IN: Final = (6.2, 3.0)
_BOX: Final = (0.04, 0.17, 0.92, 0.8)
_ROUND: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
_NEAR: Final = (0.8, 0.9, 1.1, 1.25)
"""Ratios of an axis that reaches no further than twice and half."""


def applies(shown: WhatIf) -> bool:
    """Whether there is a chance to show."""
    return shown.probability is not None


def draw(shown: WhatIf) -> Markup:
    """A density, parted at equality, and what the chance rests on."""
    given = shown.probability
    assert given is not None
    keys = [Key(said, role("series", shade)) for said, shade, _ in sides_of(given)]
    rows = [(what, chance_text(value), 100.0 * value) for what, value in given.chances]
    return render("whatif_probability.html", svg=_density(given), keys=keys, rows=rows, names=given.names)


def ratios_along(given: Probability) -> dict[float, str]:
    """Round ratios on the axis, by their logarithm, and how they are written."""
    low, high = float(given.log_ratio.min()), float(given.log_ratio.max())
    narrow = max(-low, high) < 1.2
    values = (*_ROUND, *(_NEAR if narrow else ()))
    return {math.log(value): f"{value:g}×" for value in values if low <= math.log(value) <= high}


def sides_of(given: Probability) -> list[tuple[str, str, npt.NDArray[np.bool_]]]:
    """For each of the two: that it is better, with its chance, its place in colours, and where the density says so."""
    first, second = given.names
    x = given.log_ratio
    return [
        (f"{first} is better: {chance_text(given.chance)}", "1", x >= 0.0),
        (f"{second} is better: {chance_text(1.0 - given.chance)}", "2", x <= 0.0),
    ]


def _density(given: Probability) -> Markup:
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        x, y = given.log_ratio, given.density
        for _, shade, side in sides_of(given):
            axes.fill_between(
                x, 0.0, y, where=side.tolist(), color=colour(role("series", shade)), alpha=0.45, linewidth=0.0
            )
        axes.plot(x, y, color=colour("ink"), linewidth=1.0)
        axes.axvline(0.0, color=colour("ink"), linewidth=1.0, linestyle=(0, (4, 3)))
        ends, ticks = (float(x.min()), float(x.max())), ratios_along(given)
        axes.set_xticks(list(ticks), list(ticks.values()))
        words = short(f"how many times as good {given.names[0]} is as {given.names[1]}", 90)
        axes.set(xlim=ends, ylim=(0.0, None), yticks=[], xlabel=words)
        axes.spines["left"].set_visible(False)
        label = f"Density of the ratio of {given.metric}: {given.names[0]} is better with {chance_text(given.chance)}"
        return inline(figure, "whatif-probability", label, {})


FIGURE: Final = Figure(
    "probability",
    "Which one is better, and how sure that is",
    5,
    "The density of how many times as good the first is as the second; right of the dashed line it is better, and the "
    "area there is its chance. Errors that both predictions share cancel in the ratio.",
    applies,
    draw,
)
