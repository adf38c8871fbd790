"""Short summaries in Markdown of what is not a result: studies, recommendations, what-ifs, served runs, scorecards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from reports.comparing import entries_of
from reports.exports.markdown import origin_of, plain, table, value_row, warned
from reports.numbers import chance_text, exact_share, quantity
from reports.page_data import Page
from reports.recommendation import Answered, Recommendation
from reports.serving import Objective, ServedCard
from reports.study import Best, Measure, StudyCard
from reports.whatif import Tornado, Waterfall, WhatIf

MOST_ROWS: Final = 14
"""Metrics of a summary."""
MOST_OPTIONS: Final = 8
"""Designs, knobs or steps of a table."""
_METRIC: Final = ("Metric", "Median", "80 % interval")


def summary_of(name: str, page: Page) -> str:
    """The answer, its numbers in a table, what a reader should know.

    Raises:
        InputError: a calibration, which has no metrics.
    """
    subject = page.subject
    title = getattr(subject, "title", "") or name
    if isinstance(subject, WhatIf):
        parts, laws, version = _what_if(subject), subject.laws_hash, subject.silicost_version
    elif isinstance(subject, Recommendation):
        parts = [part for answer in subject.answers for part in _ranking(answer)]
        laws, version = subject.laws_hash, subject.silicost_version
    else:
        entry = entries_of([(name, page)])[0]
        laws, version = entry.laws_hash, entry.silicost_version
        rows = [value_row(value) for value in list(entry.values.values())[:MOST_ROWS]]
        parts = [_study(subject)] if isinstance(subject, StudyCard) else [_numbers(rows)]
        if isinstance(subject, ServedCard) and subject.objectives:
            parts.insert(0, _objectives(subject.objectives))
        parts += warned(getattr(subject, "notes", ()))
    answer = getattr(subject, "answer", "")
    lead = [f"{plain(answer, 400)}\n"] if answer else []
    return "\n".join([f"### {plain(title)}\n", *lead, *parts, origin_of(version, laws)])


def _numbers(rows: Sequence[Sequence[str]]) -> str:
    """Numbers, with a column of intervals where one has any."""
    if any(row[2] for row in rows):
        return table(_METRIC, rows, (1, 2))
    return table(("Metric", "Value"), [row[:2] for row in rows], (1,))


def _study(card: StudyCard) -> str:
    rows = [_best(measure, best) for measure, best in zip(card.metrics, card.best, strict=True)]
    counted = f"{card.feasible:,} of {card.rows:,} points are feasible.\n"
    return f"{table(('Metric', 'Best', '80 % interval', 'With'), rows, (1, 2))}\n{counted}"


def _best(measure: Measure, best: Best | None) -> list[str]:
    if best is None:
        return [measure.title, "none", "", ""]
    words = ", ".join(f"{key} {text}" for key, text in best.configuration)
    return [measure.title, measure.text(best.value), _ends(best.low, best.high, measure.dimension), words]


def _objectives(objectives: Sequence[Objective]) -> str:
    rows = []
    for each in objectives:
        of = f"{each.title} of {each.whose}" if each.whose else each.title
        of += f" for {100.0 * each.share:g} % of the requests" if each.share < 1.0 else ""
        kept = f"{exact_share(each.kept)} within" if math.isfinite(each.kept) else ""
        met = "yes" if each.met else "**no**"
        rows.append([of, quantity(each.bound_s, "s"), quantity(each.value_s, "s"), f"{met}, {kept}" if kept else met])
    return table(("Objective", "At most", "Predicted", "Met"), rows, (1, 2))


def _ranking(answer: Answered) -> list[str]:
    """The verdict and the first of the ranking."""
    measure = answer.measure
    heads = ("Rank", "Device", "Plan", measure.title, "80 % interval", "USD/h", "Chance to be best")
    rows = [
        [
            str(rank), each.name, each.plan, measure.text(each.value), _ends(each.low, each.high, measure.dimension),
            f"{each.usd_per_hour:,.2f}" if math.isfinite(each.usd_per_hour) else "",
            chance_text(each.chance_best) if math.isfinite(each.chance_best) else "",
        ]
        for rank, each in enumerate(answer.options[:MOST_OPTIONS], start=1)
    ]  # fmt: skip
    named = [f"**{plain(answer.name)}**\n"] if answer.name else []
    parts = [*named, f"{plain(answer.verdict, 400)}\n"]
    return [*parts, *([table(heads, rows, (0, 3, 4, 5, 6))] if rows else []), *warned(answer.notes)]


def _what_if(card: WhatIf) -> list[str]:
    parts = [f"{plain(card.lead, 400)}\n"] if card.lead else []
    if card.cards:
        rows = [[each.title, each.name, each.figure, "; ".join(map(": ".join, each.lines))] for each in card.cards]
        parts.append(table(("What", "", "Figure", "More"), rows, (2,), most=400))
    parts += [_swings(each) for each in card.tornados]
    parts += [_steps(each) for each in card.waterfalls]
    if card.budget is not None:
        rows = [[each.what, quantity(each.cost_usd, "usd"), quantity(each.value, card.budget.dimension)]
                for each in card.budget.frontier[:MOST_OPTIONS]]  # fmt: skip
        parts.append(table(("Bought", "For", card.budget.metric), rows, (1, 2)))
    return parts + warned(card.notes)


def _swings(each: Tornado) -> str:
    heads = ("Knob", "From", "To", f"{each.metric} at the low end", "at the high end")
    rows = [[bar.path, bar.low_end, bar.high_end, *(_at(end, each) for end in (bar.low, bar.high))]
            for bar in each.bars[:MOST_OPTIONS]]  # fmt: skip
    return table(heads, rows, (3, 4))


def _at(end: float, each: Tornado) -> str:
    return quantity(end, each.dimension) if math.isfinite(end) else "none"


def _steps(each: Waterfall) -> str:
    (first, start), (last, end) = each.first, each.last
    rows = [[first, quantity(start, each.dimension), ""]]
    for step in each.steps:
        amount = quantity(step.amount, each.dimension)
        rows.append([step.what, f"+{amount}" if step.amount > 0.0 else amount, step.hint])
    return table((each.title, "Amount", "Of it"), [*rows, [last, quantity(end, each.dimension), ""]], (1,))


def _ends(low: float, high: float, dimension: str) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return " – ".join(quantity(end, dimension) for end in (low, high))
