"""The page of a recommendation."""

from __future__ import annotations

import math
import re

import pytest

from reports.comparing import entries_of
from reports.numbers import chance_text
from reports.page_data import Page, data_of, page_from
from reports.recommendation import Answered, Called, Line, Lost, Option, Recommendation
from reports.recommendation_figures import frontier, headroom
from reports.recommendation_page import cards_of, render_recommendation, terms_of
from reports.study import Bound, Measure

USD = Measure("usd_per_million_output_tokens", "Cost per million output tokens", "usd", "lower")
TPOT = Measure("tpot_s", "Time per output token", "s", "lower")


def option(device: str, value: float, **more: float) -> Option:
    metrics = {"tpot_s": 0.01, "j_per_output_token": 1.0, **more}
    return Option(
        device, "gpu", 2, "tp 2, batch 4", value, value / 1.5, value * 1.5, 0.5, 0.8, 3.0, "list", 700.0, 8e9, 80e9,
        left=(0.25,), bound="memory bandwidth", why="2x: dearer", metrics=tuple(metrics.items()),
    )  # fmt: skip


def card(*options: Option, **more: object) -> Recommendation:
    lines = tuple(
        Line(each.name, "gpu", ("b 1", "b 2"), ((each.value, 9.0), (0.01, 0.1)), (True, False), 0) for each in options
    )
    answered = Answered(
        "chat", "one is the best", "a question", USD, (Bound(TPOT, True, 0.04),), (USD, TPOT), options,
        (Lost("tiny", "fpga", "memory", "does not fit", "1 GB over"),), lines, 7, "errors",
    )  # fmt: skip
    return Recommendation("t", (answered._replace(**more),), "laws", "0")


def test_the_same_card_gives_the_same_page_and_comes_back() -> None:
    shown = card(option("a", 1.0), option("b", 2.0, j_per_output_token=0.5))
    html = render_recommendation(shown)
    assert html == render_recommendation(shown)
    import msgspec

    back = page_from(msgspec.json.decode(data_of(Page("recommendation", shown))), "x").subject
    assert isinstance(back, Recommendation)
    assert render_recommendation(back) == html
    assert "<script" not in render_recommendation(shown, static=True)


def test_the_best_by_what_was_not_asked_has_a_card() -> None:
    (answer,) = card(option("a", 1.0), option("b", 2.0, j_per_output_token=0.5, tpot_s=0.02)).answers
    assert [(each.title, each.sub) for each in cards_of(answer)] == [
        ("Recommended", "2 × a"), ("Least energy per token", "2 × b"),
    ]  # fmt: skip


def test_nothing_that_does_it_still_has_a_page() -> None:
    html = render_recommendation(card(lines=()))
    assert "does not fit" in html.lower() and 'id="ranking"' not in html and 'id="frontier"' not in html


@pytest.mark.parametrize(("chance", "said"), [(0.999, "> 99 %"), (0.5, "50 %"), (0.0004, "< 1 %")])
def test_a_chance_is_never_sure(chance: float, said: str) -> None:
    assert chance_text(chance) == said


def test_what_is_used_of_bounds_and_memory() -> None:
    html = headroom.draw(card(option("a", 1.0)))
    assert re.findall(r"(\d+ %) used", html) == ["75 %", "10 %"]


def test_the_box_and_designs_stand_in_the_frontier() -> None:
    shown = card(option("a", 1.0), option("b", math.nan))
    drawn = frontier.draw(shown)
    assert drawn.count("<svg") == 1
    assert "2 × a, b 1" in drawn and "b 2: 9.00 USD at Time per output token 100 ms; breaks a bound" in drawn
    assert drawn.count("nan") == 0
    (answer,) = shown.answers
    unbounded = frontier.draw(Recommendation("t", (answer._replace(bounds=()),)))
    assert drawn.count("stroke-dasharray") > unbounded.count("stroke-dasharray")


def test_the_first_stands_beside_other_runs() -> None:
    (entry,) = entries_of([("mine", Page("recommendation", card(option("a", 1.0))))])
    assert entry.values["usd_per_million_output_tokens"].high == 1.5
    assert entry.values["tpot_s"].value == 0.01


def test_latencies_of_traffic_are_called_by_their_quantile() -> None:
    called = (Called("tpot_s", "Time per output token, p99", "Mean gap; p99 of the requests."),)
    html = render_recommendation(card(option("a", 1.0), option("b", 2.0), called=called))
    head = re.search(r"<thead>.*?</thead>", html, re.DOTALL)
    assert head is not None and "Time per output token, p99</a>" in head[0]
    assert "Mean gap; p99 of the requests." in html and "mean decode step as one sequence sees it" not in html
    batch, traffic = card(option("a", 1.0)).answers[0], card(option("a", 1.0), called=called).answers[0]
    (both,) = [term for term in terms_of(Recommendation("t", (batch, traffic))) if term.name == "tpot_s"]
    assert "mean decode step as one sequence sees it" in both.meaning and "Of traffic: Mean gap" in both.meaning


def test_notes_stand_below_the_ranking_and_lines_of_an_option_on_its_card() -> None:
    first = option("a", 1.0)._replace(more=(("a replica holds", "7.33 requests/s"),))
    shown = card(first, option("b", 2.0), notes=("Prices are of two kinds.",))
    assert ("a replica holds", "7.33 requests/s") in cards_of(shown.answers[0])[0].lines
    ranking = render_recommendation(shown).partition('id="ranking"')[2].partition("</section>")[0]
    assert "Prices are of two kinds." in ranking


def test_dots_without_batches_have_the_number_of_their_device() -> None:
    shown = card(option("a", 1.0), option("b", 2.0))
    (answer,) = shown.answers
    dots = tuple(line._replace(labels=("plan",), values=((1.0,), (0.01,)), holds=(True,)) for line in answer.lines)
    drawn = frontier.draw(Recommendation("t", (answer._replace(lines=dots),)))
    assert ">1</text>" in drawn and ">2</text>" in drawn and "1. 2 × a" in drawn
    assert "1. 2 × a" not in frontier.draw(shown)
