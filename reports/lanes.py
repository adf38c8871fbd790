"""Pictures of who did what when: rows of bars over one axis of time, each with its share of busy time beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.numbers import quantity, share, unit_of
from reports.svg import colour, drawing, inline

WIDTH_IN: Final = 13.0
_ROW_IN: Final = 0.27


class Row(NamedTuple):
    """A row: its name, its bars from start to end [s] with their colours, how long it is busy [s], and what each bar
    says to a pointer (nothing where that would be too much)."""

    name: str
    bars: Sequence[tuple[float, float]]
    colours: Sequence[str]
    busy_s: float
    hints: Sequence[str] = ()


def busy_of(ends: Iterable[tuple[float, float]]) -> float:
    """Seconds that pieces from start to end fill; what overlaps counts once [s].

    >>> busy_of([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0)])
    4.0
    """
    total, reached = 0.0, -math.inf
    for start, end in sorted(ends):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total


def draw_rows(
    key: str, label: str, rows: Sequence[Row], window: tuple[float, float], margins: tuple[float, float], edge: float
) -> Markup:
    """The picture.

    Args:
        key: unique on the page.
        label: what a screen reader says.
        window: from when to when [s].
        margins: room for names at the left and for shares at the right [in].
        edge: width of the gap between neighbouring bars [pt].
    """
    start, end = window
    height = len(rows) * _ROW_IN + 0.55
    scale, unit = unit_of(end, "s")
    left, right = (margin / WIDTH_IN for margin in margins)
    with drawing(WIDTH_IN, height) as figure:
        axes = figure.add_axes((left, 0.5 / height, 1.0 - left - right, 1.0 - 0.55 / height))
        for place, row in enumerate(rows):
            axes.broken_barh(
                [(first / scale, (last - first) / scale) for first, last in row.bars], (place - 0.37, 0.74),
                facecolors=row.colours, linewidth=edge, edgecolors=colour("paper"), zorder=2, gid=f"row-{place}",
            )  # fmt: skip
            axes.annotate(f"{share(row.busy_s / (end - start))} busy", (1.01, place), fontsize=8.5, va="center",
                          xycoords=("axes fraction", "data"), color=colour("muted"), annotation_clip=False)  # fmt: skip
        axes.set(xlim=(start / scale, end / scale), ylim=(len(rows) - 0.4, -0.6), xlabel=f"time [{unit}]")
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=colour("line"), linewidth=0.6)
        axes.set_axisbelow(True)
        hints = {f"row-{place}": row.hints for place, row in enumerate(rows) if row.hints}
        return inline(figure, key, f"{label} over {quantity(end - start, 's')}", hints)
