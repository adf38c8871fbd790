"""Two logarithmic axes of a drawing, with round values beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from reports.axis import Axis, round_text, round_values
from reports.svg import colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LONG: Final = "FLOP/s"
"""A unit that is too long to stand at every tick."""


Floats = npt.NDArray[np.float64]

MOST_DOTS: Final = 20_000
"""Calls of a page above which they are counted in cells."""
CELLS: Final = 60
"""In each direction of a picture."""
_STRENGTHS: Final = (0.25, 0.4, 0.55, 0.7, 0.85, 1.0)
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


def parts_of(axis: Axis, values: Sequence[float]) -> Floats:
    """Where values lie along an axis, from 0 to 1; shape [values]."""
    return np.asarray((np.log10(values) - axis.low) / (axis.high - axis.low), np.float64)


def cells_of(
    x: npt.ArrayLike, y: npt.ArrayLike, groups: npt.ArrayLike, count: int
) -> list[tuple[tuple[int, int], int, float]]:
    """(column, row), the group with most dots and the strength of every cell of a picture with dots in it.

    Args:
        x, y: where dots lie, from 0 to 1 of the axes; what lies beyond is in the cell at the end.
        groups: places of their groups, from 0 to ``count``.
    """
    columns, rows = (np.clip(np.asarray(at) * CELLS, 0, CELLS - 1).astype(np.int64) for at in (x, y))
    counts = np.zeros((count, CELLS, CELLS), np.int64)
    np.add.at(counts, (np.asarray(groups, np.int64), columns, rows), 1)
    whole, leader = counts.sum(axis=0), counts.argmax(axis=0)
    highest = np.log1p(max(int(whole.max()), 1))
    levels = np.rint(np.log1p(whole) / highest * (len(_STRENGTHS) - 1)).astype(np.int64)
    return [
        ((int(column), int(row)), int(leader[column, row]), _STRENGTHS[levels[column, row]])
        for column, row in np.argwhere(whole > 0).tolist()
    ]


def draw_cells(axes: Axes, x: npt.ArrayLike, y: npt.ArrayLike, groups: npt.ArrayLike, shades: Sequence[str]) -> None:
    """Dots counted in cells of equal size, each in the colour of the group with most of them (see ``cells_of``)."""
    from matplotlib.collections import PolyCollection

    for (column, row), group, strength in cells_of(x, y, groups, len(shades)):
        x0, x1, y0, y1 = (place / CELLS for place in (column, column + 1, row, row + 1))
        cell = PolyCollection(
            [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)]], facecolors=shades[group], alpha=strength, linewidths=0.0,
            zorder=3, transform=axes.transAxes,
        )  # fmt: skip
        axes.add_collection(cell, autolim=False)


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
