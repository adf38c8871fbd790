"""How sure the ranking is: intervals on one axis, and the chance that the first is better."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.axis import Axis, Tick, axis_of
from reports.figure import Figure
from reports.numbers import chance_text
from reports.palette import role
from reports.recommendation import Answered, Option, Recommendation
from reports.templating import render
from reports.whatif_axis import fine_ticks

MOST_ROWS: Final = 15


class Row(NamedTuple):
    """An option: where its median and interval lie, in percent of the track."""

    name: str
    colour: str
    at: float
    left: float
    width: float
    hint: str
    chance: str


class Panel(NamedTuple):
    """One question."""

    answer: Answered
    rows: list[Row]
    ticks: list[Tick]
    more: int


def applies(card: Recommendation) -> bool:
    """Whether there is anything to be sure of."""
    return any(_shown(each) for each in card.answers)


def draw(card: Recommendation) -> Markup:
    """A panel per question."""
    panels = [_panel(each) for each in card.answers if _shown(each)]
    return render("recommendation_chances.html", panels=panels, several=len(card.answers) > 1)


def _shown(each: Answered) -> list[Option]:
    """Options with an interval, where there are two or more."""
    known = [option for option in each.options if math.isfinite(option.low) and option.low > 0.0]
    return known if len(known) > 1 else []


def _panel(each: Answered) -> Panel:
    known = _shown(each)
    shown = known[:MOST_ROWS]
    axis = axis_of([end for option in shown for end in (option.low, option.high)])
    rows = [_row(option, each, axis) for option in shown]
    return Panel(each, rows, fine_ticks(axis, each.measure.dimension), len(known) - len(shown))


def _row(option: Option, each: Answered, axis: Axis) -> Row:
    text, (low, high) = each.measure.text, (axis.at(option.low), axis.at(option.high))
    chance = chance_text(option.first_beats) if math.isfinite(option.first_beats) else ""
    if option is each.options[0]:
        chance = "the first"
    said = f"{text(option.value)}, 80\u00a0% from {text(option.low)} to {text(option.high)}"
    if math.isfinite(option.first_beats) and option is not each.options[0]:
        said += f"; the first is better with {chance}"
    return Row(option.name, role("class", option.device_class), axis.at(option.value), low, high - low, said, chance)


FIGURE: Final = Figure(
    "sure",
    "How sure the ranking is",
    20,
    "The dot is the median of the metric that ranks, the bar its 80\u00a0% interval, on a logarithmic axis. On the "
    "right is the chance that the first is better than this one: bars that overlap may still be told apart, since two "
    "predictions share part of their errors.",
    applies,
    draw,
)
