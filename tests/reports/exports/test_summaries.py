from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from reports.exports.summaries import MOST_OPTIONS, summary_of
from reports.page_data import Form, Page
from reports.recommendation import Answered, Option, Recommendation
from reports.scorecard import Cloud, KindScores, Scorecard
from reports.serving import Measured, Objective, ServedCard, ValueCard
from reports.study import Measure
from reports.whatif import Bar, Step, Tornado, Waterfall, WhatIf
from tests.reports.test_study import card_of

USD = Measure("usd_per_million_output_tokens", "Cost per million output tokens", "usd", "lower")
OPTIONS = tuple(
    Option(f"d|{k}", "gpu", k, "tp 1", float(k), 0.5 * k, 2.0 * k, 0.25, usd_per_hour=3.0) for k in range(1, 11)
)


def subjects(word: str = "plain") -> list[tuple[Form, Any]]:
    served = ServedCard(
        word, "", f"It does not hold {word}.", word, notes=(word, word),
        objectives=(Objective("", "TTFT", 0.99, 0.5, 0.75, 0.6, 0.9, 0.9),),
        cards=(ValueCard("a", Measured("requests", "Requests", "count", 12.0), ()),),
    )  # fmt: skip
    tornado = Tornado("tpot_s", "s", 1.0, (Bar(word, "1", "2", "why", 0.5, math.nan),))
    waterfall = Waterfall(word, "s", "lower", ("a", 1.0), (Step(word, word, -0.25),), ("b", 0.75))
    answered = Answered("", f"d {word} first", word, USD, options=OPTIONS, notes=(word,))
    numbers = np.array([1.0])
    kind = KindScores("training", (), (), (Cloud("s", np.array(["gpu"], object), *([numbers] * 6)),), {})
    return [
        ("served", served), ("study", card_of()), ("recommendation", Recommendation(word, (answered,))),
        ("whatif", WhatIf(word, word, tornados=(tornado,), waterfalls=(waterfall,), notes=(word,))),
        ("scorecard", Scorecard(word, (), (kind,), (), {}, "l", "v")),
    ]  # fmt: skip


def text_of(form: Form, word: str = "plain") -> str:
    return summary_of("mine", Page(form, dict(subjects(word))[form]))


def test_rows_of_a_table_have_the_cells_of_its_head() -> None:
    for form, subject in subjects("a|b"):
        if form == "scorecard":
            continue
        lines = [line.replace("\\|", "") for line in summary_of("mine", Page(form, subject)).splitlines()]
        for place, line in enumerate(lines):
            if line.startswith("|") and place and lines[place - 1].startswith("|"):
                assert line.count("|") == lines[place - 1].count("|"), line


def test_a_recommendation_names_its_devices_in_order() -> None:
    text = text_of("recommendation")
    assert "| 1 | d\\|1 | tp 1 | 1.00 USD | 0.500 USD – 2.00 USD | 3.00 | 25 % |" in text
    assert text.count("tp 1") == MOST_OPTIONS


def test_a_study_says_which_point_is_the_best() -> None:
    card = card_of()
    best = next(each for each in card.best if each is not None)
    text = summary_of("mine", Page("study", card))
    assert all(f"{key} {value}" in text.replace("\\", "") for key, value in best.configuration)
    assert f"{card.feasible:,} of {card.rows:,} points are feasible." in text


def test_objectives_that_are_not_met_are_seen() -> None:
    text = text_of("served")
    assert "| TTFT for 99 % of the requests | 500 ms | 750 ms | **no**, 90 % within |" in text
    assert "| Objective | At most | Predicted | Met |" in text
    assert text.count("> plain") == 1


@pytest.mark.parametrize(("kept", "said"), [(0.9995, "99.95 %"), (0.99999, "nearly 100 %"), (1.0, "100 %")])
def test_a_share_that_is_nearly_one_is_told_from_one(kept: float, said: str) -> None:
    card = dict(subjects())["served"]
    objectives = (card.objectives[0]._replace(kept=kept),)
    text = summary_of("mine", Page("served", dataclasses.replace(card, objectives=objectives)))
    assert f"| yes, {said} within |" in text


@pytest.mark.parametrize(("chance", "said"), [(0.999, "\\> 99 %"), (0.5, "50 %"), (0.0004, "\\< 1 %")])
def test_chances_of_a_ranking_are_those_of_the_page(chance: float, said: str) -> None:
    answer = Answered("", "v", "", USD, options=(OPTIONS[0]._replace(chance_best=chance),))
    text = summary_of("mine", Page("recommendation", Recommendation("t", (answer,))))
    assert text.splitlines()[-3].endswith(f"| 3.00 | {said} |")


def test_a_what_if_has_its_swings_and_steps() -> None:
    text = text_of("whatif")
    assert "| plain | 1 | 2 | 500 ms | none |" in text
    assert "| plain | -250 ms | plain |" in text


@pytest.mark.parametrize("form", [form for form, _ in subjects() if form not in ("study", "scorecard")])
def test_hostile_words_are_only_words(form: Form, hostile: str) -> None:
    text = text_of(form, hostile)
    text.encode("utf-8")
    bare = text.replace("<sub>", "").replace("</sub>", "").replace("\\<", "").replace("\\>", "").replace("\n> ", "")
    assert "<" not in bare
    assert "](" not in text
    # Lines that a word begins are these alone: what the answer says, and the lead of a what-if.
    assert sum(not line.startswith(("#", "|", ">", "<sub>")) for line in text.splitlines() if line) <= 1


def test_a_study_without_a_feasible_point_has_none() -> None:
    card = card_of()
    text = summary_of("mine", Page("study", dataclasses.replace(card, best=(None,) * len(card.best))))
    assert "| none |" in text
