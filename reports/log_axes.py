"""Two logarithmic axes of a drawing, with round values beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from reports.axis import Axis, round_text, round_values
from reports.svg import colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LONG: Final = "FLOP/s"
"""A unit that is too long to stand at every tick."""


MOST_HINTS: Final = 1_500
"""Calls above which they are drawn without words, as one path of points: a page stays below 1.5 MB."""


def dots(axes: Axes, x: Sequence[float], y: Sequence[float], shade: str, marker: str, order: float, gid: str) -> None:
    """Dots that can carry words: one shape each, as a collection with this gid."""
    axes.scatter(
        x, y, s=17.0, c=shade, marker=marker, alpha=0.85, linewidths=0.4, edgecolors=colour("paper"), zorder=order,
        gid=gid,
    )  # fmt: skip


def bare_dots(axes: Axes, x: Sequence[float], y: Sequence[float], shade: str, order: float) -> None:
    """Dots of one colour as one path: lines of no length with round ends."""
    across, up = (np.repeat(np.asarray(values, np.float64), 3) for values in (x, y))
    across[2::3] = np.nan
    axes.plot(across, up, color=shade, alpha=0.6, linewidth=2.8, solid_capstyle="round", zorder=order)


def frame(axes: Axes, across: Axis, up: Axis, dimensions: tuple[str, str], labels: tuple[str, str]) -> None:
    """Give ``axes`` the two scales, ticks with units of their dimensions, a quiet grid, and what is on them.

    Rates of math have their prefix alone ("100 G"): the label says FLOP/s.
    """
    axes.set(
        xscale="log", yscale="log", xlim=(10.0**across.low, 10.0**across.high), ylim=(10.0**up.low, 10.0**up.high),
        xlabel=labels[0], ylabel=labels[1],
    )  # fmt: skip
    for axis, dimension, set_ticks in zip((across, up), dimensions, (axes.set_xticks, axes.set_yticks), strict=True):
        values = round_values(axis)
        set_ticks(values, [round_text(value, dimension).removesuffix(_LONG).rstrip() for value in values])
    axes.minorticks_off()
    axes.tick_params(length=3)
    axes.grid(color=colour("line"), linewidth=0.6, alpha=0.6)
    axes.set_axisbelow(True)
