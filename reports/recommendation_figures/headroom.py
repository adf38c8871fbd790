"""What is left: to each bound of the objectives and of the memory."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.numbers import share
from reports.recommendation import Answered, Recommendation
from reports.study import Bound
from reports.templating import render

MOST_ROWS: Final = 10


class Bar(NamedTuple):
    """What is used of a bound: its length in percent, and in words."""

    width: float
    text: str
    hint: str


class Row(NamedTuple):
    """An option, with a bar for each bound; None where it is not known."""

    name: str
    bars: list[Bar | None]


class Panel(NamedTuple):
    """One question; ``heads`` are its bounds, the memory last."""

    answer: Answered
    heads: list[str]
    rows: list[Row]
    more: int


def applies(card: Recommendation) -> bool:
    """Whether any device does it."""
    return any(each.options for each in card.answers)


def draw(card: Recommendation) -> Markup:
    """A panel per question."""
    panels = [_panel(each) for each in card.answers if each.options]
    return render("recommendation_headroom.html", panels=panels, several=len(card.answers) > 1)


def _panel(each: Answered) -> Panel:
    rows = []
    for option in each.options[:MOST_ROWS]:
        full = option.needed_bytes / option.usable_bytes if option.usable_bytes else math.nan
        used = [_used(bound, left) for bound, left in zip(each.bounds, option.left, strict=True)]
        rows.append(Row(option.name, [_bar(part) for part in (*used, full)]))
    return Panel(each, [*(bound.said for bound in each.bounds), "Memory"], rows, len(each.options) - len(rows))


def _used(bound: Bound, left: float) -> float:
    """The share of a bound that a value is; of a least one the share that the bound is of the value."""
    return 1.0 - left if bound.most else 1.0 / (1.0 + left)


def _bar(used: float) -> Bar | None:
    if not math.isfinite(used):
        return None
    return Bar(100.0 * min(max(used, 0.0), 1.0), f"{share(max(1.0 - used, 0.0))} left", f"{share(used)} used")


FIGURE: Final = Figure(
    "headroom",
    "What is left",
    40,
    "How much of each bound the plan uses up, and of the memory of its fullest device: a full bar is at the bound. "
    "These are medians: where little is left, a prediction that is a little wrong breaks the bound.",
    applies,
    draw,
)
