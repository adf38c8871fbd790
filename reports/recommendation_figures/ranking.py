"""The ranking: every device that does it, under its best plan."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.numbers import chance_text, number, share
from reports.palette import role
from reports.recommendation import Answered, Option, Recommendation
from reports.study import Measure, measure_of
from reports.templating import render

_BESIDE: Final = (
    ("ttft_s", "lower"), ("tpot_s", "lower"), ("e2e_s", "lower"), ("output_tokens_per_s", "higher"),
    ("step_time_s", "lower"), ("mfu", "higher"), ("j_per_output_token", "lower"),
    ("device_j", "lower"),
)  # fmt: skip
"""Metrics that a row has beside the one that ranks, where any option knows them."""
MOST_ROWS: Final = 15
"""Options that stand open; the others open by a press."""
_MOST_BESIDE: Final = 4


class Cell(NamedTuple):
    """A number in words, and the one that sorts it (NaN: none)."""

    text: str
    value: float


class Row(NamedTuple):
    """An option, ready for the template."""

    option: Option
    colour: str
    value: str
    band: str
    beside: list[Cell]
    price: Cell
    rated: str
    memory: Cell
    chance: Cell


class Table(NamedTuple):
    """The options of one question."""

    answer: Answered
    beside: list[Measure]
    rows: list[Row]
    more: list[Row]


def applies(card: Recommendation) -> bool:
    """Whether any device does it."""
    return any(each.options for each in card.answers)


def draw(card: Recommendation) -> Markup:
    """A table per question."""
    tables = [_table(each) for each in card.answers if each.options]
    return render("recommendation_ranking.html", tables=tables, several=len(card.answers) > 1)


def _table(each: Answered) -> Table:
    known = {name for option in each.options for name, value in option.metrics if math.isfinite(value)}
    beside = [each.measure_of(name, better) for name, better in _BESIDE if name in known and name != each.measure.name]
    beside = [measure for measure in beside if measure.name != "device_j" or "j_per_output_token" not in known]
    shown = beside[:_MOST_BESIDE]
    rows = [_row(option, each, shown) for option in each.options]
    return Table(each, shown, rows[:MOST_ROWS], rows[MOST_ROWS:])


def _row(option: Option, each: Answered, beside: list[Measure]) -> Row:
    text = each.measure.text
    full = option.needed_bytes / option.usable_bytes if option.usable_bytes else math.nan
    return Row(
        option, role("class", option.device_class), text(option.value),
        f"{text(option.low)} – {text(option.high)}" if math.isfinite(option.low) else "",
        [Cell(measure.text(option.metric(measure.name)), option.metric(measure.name)) for measure in beside],
        Cell(number(option.usd_per_hour) if math.isfinite(option.usd_per_hour) else "none", option.usd_per_hour),
        measure_of("power_w", "lower").text(option.rated_w),
        Cell(share(full) if math.isfinite(full) else "none", full),
        Cell(chance_text(option.chance_best) if math.isfinite(option.chance_best) else "", option.chance_best),
    )  # fmt: skip


FIGURE: Final = Figure(
    "ranking",
    "Ranking",
    10,
    "Every device that can do it and keeps bounds and budgets, under its own best plan, the best first. Below the "
    "metric that ranks stands its 80\u00a0% interval. Prices and rated power are those of all devices together.",
    applies,
    draw,
)
