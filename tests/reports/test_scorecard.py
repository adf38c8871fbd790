"""The page of predictions beside measurements, and what its figures promise."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

import reports
from reports import log_axes
from reports.axis import axis_of, round_values
from reports.figure import Figure, score_figures
from reports.score_figures import coverage, errors, misses, scatter, scores, skipped
from reports.scorecard import ClassScores, Cloud, KindScores, Miss, Score, Scorecard, Table
from reports.scorecard_page import render_scorecard, write_scorecard

Parse = Callable[[str], Any]
CLASSES = ("gpu", "cpu", "unheard-of")
FIGURES = {
    "n": 3, "skipped": 2, "mape": 0.34, "mape_with_skipped": 0.5, "median_ape": 0.2, "p90_ape": 0.7,
    "median_abs_log_ratio": 0.2, "bias": 0.95, "kendall_tau": 0.9, "coverage_80": 0.7, "coverage_95": 1.0,
    "interval_score": 2.1, "constant_band_score": 2.4, "coverage_80_p": 0.0001, "coverage_95_p": 0.25,
    "fitted_rows": 1, "source_devices": 2,
}  # fmt: skip
NOTHING = {**dict.fromkeys(FIGURES), "n": 0, "skipped": 4, "fitted_rows": 0, "source_devices": 0}
MISS = Miss(
    "ops", "lab", "h100-sxm-80gb", "gpu", "gemm bf16 m 8 n 8 k 8", "s", 1e-5, 1e-6, 5e-7, 2e-6, "overhead", "vllm-0.19",
    False, "h100-sxm-80gb: priors of class gpu", "no calibration: priors of class gpu",
)  # fmt: skip


def cloud_of(rows: int, dimension: str = "s", hints: bool = True) -> Cloud:
    """Rows whose predictions lie within a factor of three of measurements from 10 us to 1 s."""
    rng = np.random.default_rng(rows)
    observed = 10.0 ** rng.uniform(-5.0, 0.0, rows)
    predicted = observed * np.exp(rng.uniform(-1.0, 1.0, rows))
    classes = np.array([CLASSES[i % len(CLASSES)] for i in range(rows)], object)
    names = tuple(f"row {i}" for i in range(rows)) if hints else ()
    return Cloud(
        dimension, classes, observed, predicted, predicted / 3, predicted / 2, predicted * 2, predicted * 3, names
    )


def scores_of(figures: dict[str, Any]) -> tuple[Score, ...]:
    return Score("all rows", figures), Score("seen by a fit", figures), Score("held out", {**figures, "mape": 0.4})


def card_of(*clouds: Cloud, **changes: Any) -> Scorecard:
    kind = KindScores("ops", scores_of(FIGURES), (ClassScores("gpu", scores_of(FIGURES)),), clouds, {"m missing": 2})
    empty = KindScores("serving", scores_of(NOTHING), (ClassScores("", scores_of(NOTHING)),), (), {"not there yet": 4})
    card = Scorecard("Beside", (Table("lab", "ops", 5),), (kind, empty), (MISS,), {"seen by a fit": 7}, "ab12", "0.1.0")
    return dataclasses.replace(card, **changes)


@pytest.fixture(scope="module")
def card() -> Scorecard:
    return card_of(cloud_of(40), cloud_of(10, "tokens/s"), cloud_of(5, "j"), cloud_of(400, "x", hints=False))


@pytest.fixture(scope="module")
def text(card: Scorecard) -> str:
    return render_scorecard(card)


@pytest.fixture(scope="module")
def page(text: str, parse: Parse) -> Any:
    return parse(text)


@pytest.mark.parametrize("figure", score_figures(), ids=lambda figure: figure.name)
def test_conformance(figure: Figure[Scorecard], card: Scorecard) -> None:
    assert re.fullmatch(r"[a-z-]+", figure.name)
    assert figure.reading.endswith(".")
    assert figure.applies(card)
    drawn = figure.draw(card)
    assert isinstance(drawn, Markup)
    assert figure.draw(card) == drawn
    assert "aria-label" in drawn
    assert "#0101" not in drawn
    assert not figure.applies(Scorecard("Nothing", (), (), (), {}, "", ""))


def test_every_file_is_a_figure() -> None:
    files = {path.stem for path in (Path(reports.__file__).parent / "score_figures").glob("[!_]*.py")}
    assert len(score_figures()) == len(files)


def test_same_card_same_bytes(card: Scorecard, text: str) -> None:
    assert render_scorecard(card) == text
    assert len(text.encode()) < 1_000_000


def test_the_page_needs_nothing_but_itself(page: Any, text: str) -> None:
    assert page.values("http-equiv") == ["Content-Security-Policy"]
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert all(value.startswith("#") for value in page.values("href"))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    wanted = {value[1:] for value in page.values("href")} | set(page.values("aria-labelledby"))
    assert wanted | set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_colour_is_defined(text: str) -> None:
    css = (Path(reports.__file__).parent / "templates" / "page.css").read_text()
    assert set(re.findall(r"var\(--([\w-]+)\)", text)) - {"c"} <= set(re.findall(r"--([\w-]+):", css))


def test_hostile_strings_are_only_text(hostile: str, parse: Parse) -> None:
    words = ("source", "device", "device_class", "what", "dimension", "regime", "runtime", "provenance", "reason")
    miss = MISS._replace(**dict.fromkeys(words, hostile), low_80=math.nan)
    cloud = dataclasses.replace(
        cloud_of(3), dimension=hostile, hints=(hostile,) * 3, device_class=np.array([hostile] * 3, object)
    )
    kind = KindScores(hostile, scores_of(FIGURES), (ClassScores(hostile, scores_of(NOTHING)),), (cloud,), {hostile: 1})
    card = Scorecard(hostile, (Table(hostile, hostile, 1),), (kind,), (miss,), {hostile: 2}, hostile, hostile)
    text = render_scorecard(card)
    text.encode("utf-8")
    page = parse(text)
    assert (page.scripts, page.tags.count("style")) == (2, 1)
    assert "img" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not {"\u202e", "\x00", "\x07"} & set(text)
    assert "nan" not in " ".join(page.shown).lower().split()
    assert not any("http" in value for value in page.values("style"))


def test_nothing_at_all_makes_a_page(parse: Parse) -> None:
    parse(render_scorecard(Scorecard("Nothing", (), (), (), {}, "", "")))


def test_the_file_is_written_whole(tmp_path: Path, card: Scorecard, text: str) -> None:
    write_scorecard(tmp_path / "deep" / "page.html", card)
    assert (tmp_path / "deep" / "page.html").read_text(encoding="utf-8") == text


def test_every_dot_says_what_it_is() -> None:
    drawn = scatter.draw(card_of(cloud_of(40)))
    assert sorted(re.findall(r"<title>row (\d+)</title>", drawn), key=int) == [str(i) for i in range(40)]
    assert "40 rows; the bars are their 80" in drawn


def test_many_rows_are_counted_in_cells_and_it_is_said() -> None:
    many, few = cloud_of(log_axes.MOST_DOTS + 1, hints=False), cloud_of(50)
    drawn = scatter.draw(card_of(many, few))
    assert "20,001 rows, counted in cells" in drawn
    assert "50 rows; the bars" in drawn
    assert len(drawn) < 1_000_000
    assert "counted in cells" not in scatter.draw(card_of(cloud_of(2_000, hints=False)))


def test_cells_hold_every_row() -> None:
    cloud = cloud_of(5_000, hints=False)
    axis = axis_of([*cloud.observed, *cloud.predicted])
    parts = [log_axes.parts_of(axis, values.tolist()) for values in (cloud.observed, cloud.predicted)]
    groups = [CLASSES.index(name) for name in cloud.device_class.tolist()]
    cells = log_axes.cells_of(*parts, groups, len(CLASSES))
    places = [place for place, _, _ in cells]
    assert len(places) == len(set(places))
    assert max(strength for _, _, strength in cells) == 1.0
    step = (axis.high - axis.low) / 60
    for i in (0, 17, 4_999):
        at = [int((math.log10(value) - axis.low) / step) for value in (cloud.observed[i], cloud.predicted[i])]
        assert tuple(at) in places


@given(st.integers(1, 200), st.floats(1.1, 5.0), st.floats(1.1, 5.0))
def test_the_band_holds_what_its_intervals_hold(rows: int, down: float, up: float) -> None:
    rng = np.random.default_rng(rows)
    observed, predicted = 10.0 ** rng.uniform(-3, 3, rows), 10.0 ** rng.uniform(-3, 3, rows)
    at, low, high = scatter.band_of(observed, predicted, predicted / down, predicted * up)
    assert (at[0], at[-1]) == (observed.min(), observed.max()) or rows == 1
    # A prediction p = low has its interval end at the measurement: p * up == at.
    np.testing.assert_allclose(low * up, at)
    np.testing.assert_allclose(high / down, at)


def test_a_band_without_intervals_is_empty() -> None:
    nothing = np.full(3, np.nan)
    assert len(scatter.band_of(np.ones(3), np.ones(3), nothing, nothing)[0]) == 0


def test_boxes_are_quantiles_of_the_ratio() -> None:
    cloud = dataclasses.replace(cloud_of(5), device_class=np.array(["gpu"] * 5, object),
                                predicted=np.array([0.5, 1.0, 2.0, 4.0, 8.0]), observed=np.ones(5))  # fmt: skip
    (panel,) = errors.panels_of(card_of(cloud))
    (box,) = panel.boxes
    assert (box.name, box.rows, box.value) == ("gpu", 5, "2.00\u00a0× [1.00, 4.00]")
    assert box.whisker[0] < box.box[0] == pytest.approx(panel.even)
    assert box.box[0] < box.median < box.box[1] < box.whisker[1]


def test_coverage_is_counted_and_its_uncertainty_is_wilsons() -> None:
    cloud = dataclasses.replace(
        cloud_of(4), device_class=np.array(["tpu"] * 4, object), observed=np.array([1.0, 1.9, 2.5, 9.0]),
        predicted=np.ones(4), low_80=np.full(4, 0.5), high_80=np.full(4, 2.0), low_95=np.full(4, 1 / 3),
        high_95=np.full(4, 3.0),
    )  # fmt: skip
    (line,) = coverage.lines_of(card_of(cloud).kinds[0])
    assert (line.name, line.value, line.rows) == ("tpu", "50 % · 75 %", 4)
    assert line.below == (0.0, 0.0, 0.25, 0.5, 0.75)
    assert line.held_80.at == coverage.place_of(0.5)
    # Wilson's interval for 2 of 4, from its closed form.
    low, high = coverage.wilson(2, 4)
    assert (low, high) == pytest.approx((0.1500, 0.8500), abs=2e-4)
    assert coverage.wilson(4, 4)[1] == 1.0
    assert 0.0 < coverage.wilson(4, 4)[0] < 1.0


def test_rows_without_intervals_have_no_coverage() -> None:
    nothing = np.full(4, np.nan)
    bare = dataclasses.replace(cloud_of(4), low_80=nothing, high_80=nothing, low_95=nothing, high_95=nothing)
    assert not coverage.applies(card_of(bare))
    assert scatter.draw(card_of(bare))


def test_parts_are_shown_where_both_have_rows() -> None:
    one = KindScores("ops", (*scores_of(FIGURES)[:2], Score("held out", NOTHING)), (), (), {})
    both, single = (scores.tables_of(card_of(kinds=(kind,)))[0] for kind in (card_of().kinds[0], one))
    assert [row.part for row in both.rows[:3]] == ["", "seen by a fit", "held out"]
    assert [row.part for row in single.rows] == ["all seen by a fit"]


def test_a_triangle_marks_scores_that_beat_the_constant_band() -> None:
    worse = {**FIGURES, "interval_score": 3.0}
    for figures, marks in ((FIGURES, 1), (worse, 0)):
        kind = KindScores("ops", (Score("all rows", figures),), (), (), {})
        assert scores.draw(card_of(kinds=(kind,))).count("num best") == marks


def test_misses_say_how_far_off_they_are() -> None:
    assert misses.row_of(MISS).off == "10.0\u00a0× too small"
    assert misses.row_of(MISS._replace(predicted=3e-5)).off == "3.00\u00a0× too large"
    assert misses.row_of(MISS._replace(low_80=math.nan)).interval == ""


def test_all_reasons_are_listed() -> None:
    assert skipped.rows_of(card_of()) == [
        ("ops", "m missing", 2), ("serving", "not there yet", 4), ("", "seen by a fit", 7),
    ]  # fmt: skip


@given(st.floats(1e-9, 1e9), st.floats(1.0, 1e12))
def test_axes_hold_their_values_and_have_ticks(low: float, factor: float) -> None:
    axis = axis_of([low, low * factor])
    assert 0.0 < axis.at(low) <= axis.at(low * factor) < 100.0
    assert all(0.0 <= axis.at(value) <= 100.0 for value in round_values(axis))
    assert factor < 1e3 or 2 <= len(round_values(axis)) <= 9
