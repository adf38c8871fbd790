"""Where the time goes, for print: one stacked bar per result, in shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports.numbers import quantity
from reports.palette import family_rank, in_words, role
from reports.parts import by_family
from reports.print_figure import PrintFigure, ink, legend_below, letters_in, set_height
from reports.text import labels_of, short
from simulator.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


def _seconds(result: Result) -> dict[str, float]:
    return by_family({name: value for name, value in result.breakdown.items() if 0.0 < value < math.inf})


def applies(results: Sequence[Result]) -> bool:
    """Whether some result has time to break down."""
    return any(_seconds(result) for result in results)


def draw(results: Sequence[Result], drawing: Drawing) -> None:
    """Bars from top to bottom in the order of the results, parts in that of the legend."""
    from matplotlib.patches import Patch

    shown = [(label, _seconds(result)) for label, result in zip(labels_of(results), results, strict=True)]
    shown = [(label, seconds) for label, seconds in shown if seconds]
    set_height(drawing, 1.1 + 0.34 * len(shown))
    axes = drawing.add_subplot()
    families = sorted({family for _, seconds in shown for family in seconds}, key=family_rank)
    for row, (_, seconds) in enumerate(shown):
        total, left = math.fsum(seconds.values()), 0.0
        for family in (family for family in families if family in seconds):
            value = 100.0 * seconds[family] / total
            axes.barh(row, value, left=left, height=0.66, color=ink(role("family", family)), linewidth=0.4,
                      edgecolor="white")  # fmt: skip
            left += value
        axes.annotate(quantity(total, "s"), (101.0, row), va="center", color=ink("muted"), annotation_clip=False)
    most = letters_in(drawing, 0.42)
    axes.set_yticks(range(len(shown)), [short(label, most) for label, _ in shown])
    axes.set(xlim=(0.0, 100.0), xlabel="share of the time [%]", ylim=(len(shown) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    keys = [Patch(color=ink(role("family", family)), label=in_words("family", family)) for family in families]
    legend_below(drawing, keys)


FIGURE = PrintFigure("breakdown", "Where the time goes", ("results",), applies, draw)
