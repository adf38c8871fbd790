"""The page of a recommendation."""

from __future__ import annotations

import math
import re

import pytest

from reports.comparing import entries_of
from reports.page_data import Page, data_of, page_from
from reports.recommendation import Answered, Line, Lost, Option, Recommendation
from reports.recommendation_figures import chances, frontier, headroom
from reports.recommendation_page import cards_of, render_recommendation
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
    assert chances.percent(chance).replace("\u00a0", " ") == said


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
