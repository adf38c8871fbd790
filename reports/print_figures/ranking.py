"""The ranking of a recommendation, for print: each device under its best plan, with its 80% interval."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from reports.axis import axis_of
from reports.palette import class_rank, role
from reports.print_figure import (
    PrintFigure,
    class_marker,
    ink,
    legend_below,
    letters_in,
    logarithmic,
    not_drawn,
    set_height,
)
from reports.recommendation import Answered, Option, Recommendation
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

MOST_OPTIONS: Final = 15
"""Devices of a panel, the best first."""


def _shown(answer: Answered) -> list[Option]:
    return [each for each in answer.options[:MOST_OPTIONS] if 0.0 < each.value < math.inf]


def applies(card: Recommendation) -> bool:
    """Whether some question has an answer."""
    return any(_shown(answer) for answer in card.answers)


def draw(card: Recommendation, drawing: Drawing) -> None:
    """A panel for each question, the best device on top; a dot is the median, a line the 80% interval."""
    from matplotlib.lines import Line2D

    answers = [answer for answer in card.answers if _shown(answer)]
    heights = [0.75 + 0.24 * len(_shown(answer)) for answer in answers]
    set_height(drawing, 0.4 + sum(heights))
    grid = drawing.subplots(len(answers), 1, squeeze=False, height_ratios=heights)
    most = letters_in(drawing, 0.35)
    for axes, answer in zip(grid[:, 0], answers, strict=True):
        _panel(axes, answer, most)
    classes = {each.device_class for answer in answers for each in _shown(answer)}
    ordered = sorted(classes, key=class_rank)
    keys = [
        Line2D([], [], marker=class_marker(name), linestyle="", color=ink(role("class", name)), label=name or "unknown")
        for name in ordered
    ]
    keys.append(Line2D([], [], color=ink("muted"), linewidth=1.2, label="80 % interval"))
    hidden = sum(len(answer.options) - len(_shown(answer)) for answer in answers)
    legend_below(drawing, keys, notes=[not_drawn(hidden, "device")])


def _panel(axes: Axes, answer: Answered, most: int) -> None:
    shown = _shown(answer)
    seen = []
    for row, each in enumerate(shown):
        if 0.0 < each.low <= each.high < math.inf:
            axes.hlines(row, each.low, each.high, color=ink("muted"), linewidth=1.2)
            seen += [each.low, each.high]
        axes.scatter([each.value], [row], s=22.0, zorder=3, color=ink(role("class", each.device_class)),
                     marker=class_marker(each.device_class))  # fmt: skip
    measure = answer.measure
    logarithmic(axes, "x", axis_of([*seen, *(each.value for each in shown)]), short(measure.title, 50),
                measure.dimension)  # fmt: skip
    axes.set(ylim=(len(shown) - 0.4, -0.6), title=short(answer.name, most) if answer.name else "")
    axes.set_yticks(range(len(shown)), [short(each.name, most) for each in shown])
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x")


FIGURE = PrintFigure("ranking", "Devices under their best plans", ("recommendation",), applies, draw)
