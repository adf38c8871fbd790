"""The page of a served run: whether it holds its objectives, what it costs, and why, in one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from reports.axis import Axis, Tick, axis_of
from reports.definitions import Term
from reports.fact_figures import SERVED
from reports.figure import Figure, drawn
from reports.numbers import Cell, exact_share, quantity, share
from reports.serving import Measured, Objective, ServedCard
from reports.serving_figures import latency, links, over_time, pipeline, pools, splits, tenants
from reports.templating import render_page
from reports.text import short
from reports.whatif_axis import fine_ticks

FIGURES: Final[tuple[Figure[ServedCard], ...]] = tuple(
    sorted(
        (SERVED, *(each.FIGURE for each in (latency, links, over_time, pipeline, pools, splits, tenants))),
        key=lambda figure: (figure.order, figure.name),
    )
)
"""Every figure of ``reports.serving_figures`` and the facts, in the order of the page."""

MOST_OBJECTIVES: Final = 24
_IN_ANSWER: Final = 3
"""Objectives that the answer has room for."""
_ROOM: Final = 16.0
"""What a tick of a card takes of its width [%]."""


class Shown(NamedTuple):
    """An objective, ready to be shown: ``bound_at``, ``at``, ``low``, ``width`` are places on an axis in percent."""

    title: str
    whose: str
    quantile: str
    bound: str
    cell: Cell
    good: bool
    verdict: str
    sentence: str
    bound_at: float
    at: float
    low: float
    width: float
    ticks: list[Tick]


def render_served(card: ServedCard, static: bool = False) -> str:
    """The page of ``card`` as one HTML document; the same card gives the same bytes."""
    figures = drawn(FIGURES, card, static)
    shown = [shown_objective(each) for each in card.objectives[:MOST_OBJECTIVES]]
    left_out = len(card.objectives) - len(shown)
    return render_page(
        "serving.html", static, title=card.title, lead=card.lead, figures=figures, card=card, objectives=shown,
        left_out=left_out, answer=answer_of(card, shown), terms=terms_of(card), rests=rests_of(card),
    )  # fmt: skip


def answer_of(card: ServedCard, shown: Sequence[Shown]) -> str:
    """Whether objectives are held, by how much where there are few, and what it costs."""
    said = [
        f"{each.title} {each.quantile} is {each.cell.number} {each.cell.unit}, at most {each.bound}"
        for each in shown
        if each.cell.number and not each.whose
    ]
    numbers = "; ".join(said) if len(said) <= _IN_ANSWER else ""
    cost = next((each.first for each in card.cards if each.first.dimension == "usd" and each.first.cell.number), None)
    price = f"{cost.title}: {cost.cell.number} {cost.cell.unit}" if cost is not None else ""
    return " ".join([card.answer, *(f"{part}." for part in (numbers, price) if part)]).strip()


def terms_of(card: ServedCard) -> list[Term]:
    """The numbers of the run, by their titles; those of latencies last."""
    terms = [Term(title, title, meaning) for title, meaning in card.definitions]
    return terms + [Term(row.title, row.title, row.definition) for row in card.latencies]


def rests_of(card: ServedCard) -> tuple[str, ...]:
    """What all numbers of the run rest on, in a line or two."""
    groups = ", ".join(group.name for group in card.prediction)
    said = "Predicted from simulated requests; what is sourced, assumed and calibrated stands below"
    return (f"{said} ({short(groups, 200)}).",) if groups else (f"{said}.",)


def shown_objective(each: Objective) -> Shown:
    """An objective with its verdict; every one has an axis of its own, since their bounds lie far apart."""
    quantile = f"p{100.0 * each.share:g}"
    measured = Measured("", "", "s", each.value_s, each.low_s, each.high_s, "no request was answered")
    values = [value for value in (each.value_s, each.low_s, each.high_s) if value > 0.0]
    axis = axis_of([each.bound_s, *values, each.bound_s * 0.5, each.bound_s * 1.25])
    low, high = (axis.at(end) if end > 0.0 else axis.at(each.value_s) for end in (each.low_s, each.high_s))
    return Shown(
        each.title, each.whose, quantile, quantity(each.bound_s, "s"), measured.cell, each.met, verdict_of(each),
        sentence_of(each), axis.at(each.bound_s), axis.at(each.value_s) if each.value_s > 0.0 else -10.0, low,
        max(high - low, 0.6), _few(axis),
    )  # fmt: skip


def _few(axis: Axis) -> list[Tick]:
    """Ticks that have room in a card."""
    found: list[Tick] = []
    for tick in fine_ticks(axis, "s"):
        if 6.0 <= tick.at <= 94.0 and (not found or tick.at - found[-1].at >= _ROOM):
            found.append(tick)
    return found


def verdict_of(each: Objective) -> str:
    """Met or missed, and how surely."""
    if not each.value_s > 0.0:
        return "Missed"
    return f"{'Met' if each.met else 'Missed'}{'' if each.sure or not each.low_s > 0.0 else ', not surely'}"


def sentence_of(each: Objective) -> str:
    """By how much, which share of the requests is within the bound, and what the interval says."""
    if not each.value_s > 0.0:
        return "no request was answered."
    off = each.value_s / each.bound_s
    if each.met:
        how = f"{share(1.0 - off)} below the bound" if off < 1.0 else "at the bound"
    elif off > 1.0:
        how = f"{share(off - 1.0)} above the bound" if off < 2.0 else f"{off:,.3g} times the bound"
    else:
        how = "those that were answered keep it, but too many were not answered"
    within = f"{exact_share(each.kept)} of all requests are within it, {exact_share(each.share)} must be"
    if not each.low_s > 0.0:
        return f"{how}; {within}."
    return f"{how}; {within}; {_side(each)}."


def _side(each: Objective) -> str:
    """Where the interval lies; answered requests may keep a bound that is missed for those without an answer."""
    if not each.sure:
        return "the interval reaches over the bound"
    below = each.high_s <= each.bound_s
    if below == each.met:
        return "all of the interval is on this side"
    return f"all of the interval is {'below' if below else 'above'} the bound"
