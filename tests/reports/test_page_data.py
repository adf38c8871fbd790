from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hardware_specs.errors import InputError
from reports.calibration import MachineCard, Point
from reports.capacity import CapacityCard, Goal, Load, LoadPanel, Trials, Tried
from reports.page import render_report
from reports.page_data import SCHEMA, TYPES, Page, data_of, data_place, page_from, write_page
from reports.recommendation import Answered, Recommendation
from reports.rendering import render_page_of
from reports.scorecard import Cloud, Scorecard
from reports.serving import Curve, Distribution, Line, OverTime, ServedCard, Track, Tracks
from reports.study import Measure, StudyCard
from reports.whatif import WhatIf
from simulator.result import Result


def again(page: Page) -> Page:
    return page_from(msgspec.json.decode(data_of(page)), "x.page.json")


def test_results_come_back_as_they_were(seven: list[Result]) -> None:
    page = Page("results", tuple(seven), "Seven", "A lead.")
    assert again(page) == page
    assert render_page_of(again(page)) == render_report(seven, "Seven", "A lead.")


def test_results_of_nearby_batches_come_back(one: Result) -> None:
    page = Page("results", (msgspec.structs.replace(one, nearby=(one, one)),), "Batches")
    assert again(page) == page
    assert render_page_of(again(page)) == render_page_of(page)


def test_numbers_that_json_lacks_come_back(one: Result) -> None:
    odd = msgspec.structs.replace(
        one, metrics={"a": math.nan, "b": -math.inf, "c": None}, memory_capacity_bytes=math.inf
    )
    (found,) = again(Page("results", (odd,))).subject  # type: ignore[misc]
    assert isinstance(found, Result)
    assert math.isnan(found.metrics["a"] or 0.0)
    assert (found.metrics["b"], found.metrics["c"]) == (-math.inf, None)
    assert found.memory_capacity_bytes == math.inf


def test_arrays_come_back_with_their_kind() -> None:
    numbers = np.array([1.0, math.nan, math.inf])
    words = np.array(["gpu", "nan", ""], object)
    cloud = Cloud("s", words, *([numbers] * 6), hints=("a", "b", "c"))
    found = page_from_cloud(cloud)
    assert found.device_class.dtype == object
    assert list(found.device_class) == ["gpu", "nan", ""]
    np.testing.assert_array_equal(found.observed, numbers)


def page_from_cloud(cloud: Cloud) -> Cloud:
    from reports.scorecard import KindScores

    card = Scorecard("t", (), (KindScores("ops", (), (), (cloud,), {}),), (), {}, "l", "v")
    found = again(Page("scorecard", card)).subject
    assert isinstance(found, Scorecard)
    return found.kinds[0].clouds[0]


POINT = Point("a", "gemm", "bf16", "r", 1.0, 1.0, 1.0, 0.9, 1.1, math.nan, math.nan, math.nan, "", math.nan, math.nan)
TRACK = Track("Queue", "count", (Line("waiting", np.array([1.0, 2.0])),))
OVER_TIME = OverTime(np.array([0.5, 1.5]), 1.0, 2.0, (Tracks("", (TRACK,)),))
LATENCY = Distribution("TTFT", (Curve("all", np.array([0.1, 0.2]), np.array([0.5, 1.0])),), (), ())
PAGES = (
    Page("served", ServedCard("t", "", "a", "w", over_time=OVER_TIME, distributions=(LATENCY,))),
    Page("study", StudyCard("t", "q", "a", 3, 2, (), ())),
    Page("calibration", MachineCard("t", "d", "2026-01-01", "l", points=(POINT,))),
    Page("whatif", WhatIf("t", "l")),
    Page("capacity", CapacityCard(
        "t", "", "a", "w", goals=(Goal("TTFT p99", 0.5),), rate_per_s=3.0,
        panels=(LoadPanel("TTFT p99", "s", (Load("p99", (1.0, 3.0), (0.1, math.nan)),), 0.5),),
        tables=(Trials("Numbers", "Replicas", (Tried("1 replica", False, "too slow"),)),),
    )),
    Page("recommendation", Recommendation("t", (Answered("n", "v", "a", Measure("tpot_s", "T", "s", "lower")),))),
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=[page.form for page in PAGES])
def test_the_same_page_from_its_data(page: Page) -> None:
    assert again(page).form == page.form
    assert data_of(again(page)) == data_of(page)
    assert render_page_of(again(page)) == render_page_of(page)


def test_every_form_is_tried_here() -> None:
    assert {page.form for page in PAGES} | {"results", "scorecard", "comparison"} == set(TYPES)


def test_hostile_strings_survive_as_text(one: Result, hostile: str) -> None:
    bad = msgspec.structs.replace(one, title=hostile, warnings=(hostile,))
    page = again(Page("results", (bad,), hostile))
    assert render_page_of(page) == render_page_of(again(page))
    assert page.title == hostile.encode("utf-8", "replace").decode()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"schema": SCHEMA + 1, "form": "results"}, "x.json: schema 2: this version of silicost reads schema 1"),
        ({"schema": 1, "form": "reslts"}, "did you mean 'results'"),
        ({"schema": 1, "form": "study", "subject": {"title": 3}}, "x.json: no page of form 'study'"),
        ({"schema": 1, "form": "results", "subject": [{}]}, "x.json: no page of form 'results'"),
        ({"schema": 1, "form": "results", "subject": [], "title": 5}, "x.json: no page of form 'results'"),
    ],
)
def test_what_is_no_page_is_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        page_from(table, "x.json")


def test_page_and_data_are_written_together(tmp_path: Path, one: Result) -> None:
    place = tmp_path / "a.html"
    write_page(place, "<html>", Page("results", (one,)))
    assert place.read_text() == "<html>"
    assert page_from(msgspec.json.decode(data_place(place).read_bytes()), "a") == Page("results", (one,))
    data_place(place).unlink()
    data_place(place).mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_page(place, "<html>2", Page("results", (one,)))
    assert place.read_text() == "<html>"
