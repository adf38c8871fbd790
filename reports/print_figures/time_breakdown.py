"""Where the time goes, for print: one stacked bar per result, in shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports.numbers import quantity
from reports.palette import in_words, role
from reports.parts import by_family
from reports.print_figure import WIDTH_IN, PrintFigure, ink
from reports.text import labels_of
from simulator.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


def _seconds(result: Result) -> dict[str, float]:
    return by_family({name: value for name, value in result.breakdown.items() if 0.0 < value < math.inf})


def applies(results: Sequence[Result]) -> bool:
    """Whether some result has time to break down."""
    return any(_seconds(result) for result in results)


def draw(results: Sequence[Result], drawing: Drawing) -> None:
    """Bars from top to bottom in the order of the results."""
    shown = [(label, _seconds(result)) for label, result in zip(labels_of(results), results, strict=True)]
    shown = [(label, seconds) for label, seconds in shown if seconds]
    drawing.set_size_inches(WIDTH_IN, 1.1 + 0.34 * len(shown))
    axes = drawing.add_subplot()
    named: set[str] = set()
    for row, (_, seconds) in enumerate(shown):
        total, left = math.fsum(seconds.values()), 0.0
        for family, value in seconds.items():
            label = "" if family in named else in_words("family", family)
            named.add(family)
            axes.barh(row, 100.0 * value / total, left=left, height=0.66, color=ink(role("family", family)),
                      label=label or "_")  # fmt: skip
            left += 100.0 * value / total
        axes.annotate(quantity(total, "s"), (101.0, row), va="center", color=ink("muted"), annotation_clip=False)
    axes.set_yticks(range(len(shown)), [label for label, _ in shown])
    axes.set(xlim=(0.0, 100.0), xlabel="share of the time [%]", ylim=(len(shown) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    drawing.legend(loc="outside lower center", ncols=4)


FIGURE = PrintFigure("breakdown", "Where the time goes", ("results",), applies, draw)
