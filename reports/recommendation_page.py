"""The page of a recommendation: which hardware, how sure that is, what is left to the bounds, and why others lose."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final, NamedTuple

from reports.definitions import Term, term_of
from reports.fact_figures import RECOMMENDED
from reports.figure import Figure, drawn
from reports.numbers import chance_text, metric_of, number, share
from reports.page_data import Page, write_page
from reports.recommendation import Answered, Option, Recommendation
from reports.recommendation_figures import chances, frontier, headroom, losers, ranking
from reports.templating import render_page

FIGURES: Final[tuple[Figure[Recommendation], ...]] = tuple(
    sorted(
        (RECOMMENDED, *(each.FIGURE for each in (chances, frontier, headroom, losers, ranking))),
        key=lambda figure: figure.order,
    )
)
"""Every figure of ``reports.recommendation_figures`` and the facts, in the order of the page."""
_OTHERWISE: Final = (
    ("usd_per_million_output_tokens", "Cheapest tokens"), ("usd_per_step", "Cheapest step"),
    ("j_per_output_token", "Least energy per token"), ("device_j", "Least energy"), ("tpot_s", "Fastest answers"),
    ("ttft_s", "Soonest first token"), ("step_time_s", "Shortest step"),
)  # fmt: skip
"""What else may matter than what was asked, and how the first by it is called."""
_MOST_CARDS: Final = 4


class Card(NamedTuple):
    """A card of the summary."""

    title: str
    colour: str
    sub: str
    name: str
    value: str
    band: str
    lines: tuple[tuple[str, str], ...]


def write_recommendation(path: Path, card: Recommendation, static: bool = False) -> None:
    """Write the page of ``card`` to ``path``, whole or not at all.

    Raises:
        InputError: the place cannot be written.
    """
    write_page(path, render_recommendation(card, static), Page("recommendation", card))


def render_recommendation(card: Recommendation, static: bool = False) -> str:
    """The page of ``card`` as one HTML document; the same card gives the same bytes."""
    figures = drawn(FIGURES, card, static)
    return render_page(
        "recommendation.html", static, title=card.title, lead="", figures=figures, card=card,
        answer=" ".join(f"{each.verdict}." for each in card.answers),
        groups=[(each, cards_of(each)) for each in card.answers], terms=terms_of(card),
        rests=(rests_on(card),),
    )  # fmt: skip


def terms_of(card: Recommendation) -> list[Term]:
    """What is named on the page; where a metric means something else for a question, that as well."""
    names = dict.fromkeys(measure.name for each in card.answers for measure in (each.measure, *each.axes))
    own = {called.name: called for each in card.answers for called in each.called}
    usual = any(not each.called for each in card.answers)
    found = []
    for name in dict.fromkeys((*names, *own)):
        term = term_of(name)
        if name in own:
            said = f"{term.meaning} Of traffic: {own[name].meaning}" if usual else own[name].meaning
            term = term._replace(title=term.title if usual else own[name].title, meaning=said)
        found.append(term)
    return found


def rests_on(card: Recommendation) -> str:
    """What all numbers of the page rest on."""
    priced = sum(each.designs for each in card.answers)
    return (
        f"Rests on {priced:,} designs that were priced; silicost explain says what the numbers of one rest on, with "
        "marks and sources."
    )


def cards_of(each: Answered) -> list[Card]:
    """The first, and the best by what was not asked among the plans that are ranked."""
    if not each.options:
        return []
    first = each.options[0]
    cards = [_card("Recommended", first, each.measure.name, each)]
    skipped = {"device_j"} if any(option.metric("j_per_output_token") > 0.0 for option in each.options) else set()
    for name, title in _OTHERWISE:
        known = [option for option in each.options if math.isfinite(option.metric(name))]
        if name == each.measure.name or name in skipped or not known or len(cards) == _MOST_CARDS:
            continue
        best = min(known, key=lambda option: option.metric(name))
        if best is not first and best.device not in {card.sub for card in cards}:
            cards.append(_card(title, best, name, each))
    return cards


def _card(title: str, option: Option, name: str, each: Answered) -> Card:
    ranks = name == each.measure.name
    measure = each.measure if ranks else each.measure_of(name, metric_of(name).better)
    value = option.value if ranks else option.metric(name)
    known = ranks and math.isfinite(option.low)
    lines = [("plan", option.plan), *option.more]
    if not ranks:
        lines.append((each.measure.title, each.measure.text(option.value)))
    if math.isfinite(option.usd_per_hour):
        lines.append((f"price ({option.price})", f"{number(option.usd_per_hour)} USD/h"))
    if option.metric("j_per_output_token") > 0.0 and name != "j_per_output_token":
        energy = each.measure_of("j_per_output_token", "lower")
        lines.append((energy.title, energy.text(option.metric(energy.name))))
    lines.append(("memory", f"{share(option.needed_bytes / option.usable_bytes)} full"))
    if math.isfinite(option.chance_best):
        lines.append(("chance to be the best", chance_text(option.chance_best)))
    return Card(
        title, option.device_class, option.name, measure.title, measure.text(value),
        f"[{measure.text(option.low)}, {measure.text(option.high)}]" if known else "", tuple(lines),
    )  # fmt: skip
