from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from reports.notebook import result_html
from reports.numbers import quantity
from reports.scorecard import KindScores, Score, Scorecard
from reports.serving import Measured, ServedCard, ValueCard
from reports.study import Best, Measure, StudyCard
from silicost.notebooks import register
from simulator.display import html_of, show_with
from simulator.result import Result

register()
Parse = Callable[[str], Any]
VALUE = ValueCard("L", Measured("tpot_s.p99", "TPOT", "s", 0.1, 0.09, 0.2), ())
SERVED = ServedCard("Served", "", "It holds.", "", cards=(VALUE,))
COST = Measure("usd", "Cost", "usd", "lower")
STUDY = StudyCard("Study", "q", "The best is a.", 3, 2, (COST,), (Best(2.5, (), 2.0, 3.0),))
KIND = KindScores("ops", (Score("all rows", {"mape": 0.1, "n": 3}),), (), (), {})
SCORES = Scorecard("Scores", (), (KIND,), (), {}, "l", "v")


def test_a_result_shows_its_headlines(one: Result, parse: Parse) -> None:
    html = result_html(one)
    parse(html)
    band = one.intervals["tpot_s"]
    assert f"{quantity(band.p10, 's')} – {quantity(band.p90, 's')}" in html
    assert len(html) < 6_000


@pytest.mark.parametrize("card", [SERVED, STUDY, SCORES], ids=["served", "study", "scorecard"])
def test_cards_show_themselves(card: ServedCard | StudyCard | Scorecard, parse: Parse) -> None:
    html = card._repr_html_()
    parse(html)
    assert card.title in html
    assert "<script" not in html
    assert "<style" not in html
    frame = card.to_pandas()
    assert frame.index.name == "metric"
    assert frame["value"].notna().any()


def test_frames_have_the_numbers_of_the_record(one: Result) -> None:
    frame = one.to_pandas()
    assert list(frame.index) == list(one.metrics)
    for name, value in one.metrics.items():
        assert frame.loc[name, "value"] == value or (value is None and math.isnan(frame.loc[name, "value"]))
    assert frame.loc["tpot_s", "p90"] == one.intervals["tpot_s"].p90
    assert STUDY.to_pandas().loc["usd", ["value", "p10", "p90"]].tolist() == [2.5, 2.0, 3.0]


def test_hostile_strings_are_only_text(one: Result, hostile: str, parse: Parse) -> None:
    html = result_html(msgspec.structs.replace(one, title=hostile, warnings=(hostile,)))
    parse(html)
    assert not any(word in html for word in ("<script", "<img", "<svg"))


def test_records_are_shown_by_whoever_says_how() -> None:
    class Mine:
        pass

    assert html_of(Mine()) is None
    show_with({f"{Mine.__module__}.{Mine.__qualname__}": lambda record: "<b>mine</b>"})
    assert html_of(Mine()) == "<b>mine</b>"


def test_a_result_alone_imports_no_page() -> None:
    code = (
        "import sys; from simulator.result import Result; "
        "print(any(name.split('.')[0] in ('reports', 'jinja2', 'pandas') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_importing_silicost_says_how_results_are_shown() -> None:
    code = (
        "import silicost, sys; silicost.Result; from simulator import display; "
        "print('simulator.result.Result' in display._RENDERERS, 'reports' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
