"""Live figures in a browser: they answer as Python does; they are quiet, harmless and reachable by everyone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reports.figures import what_if
from reports.numbers import quantity
from reports.page import render_report
from reports.scaled import Scales, parts_of_phases
from reports.study import StudyCard
from reports.study_page import render_study
from simulator.result import Result
from tests.reports.browser.conftest import Open, Opened
from tests.reports.browser.test_every_page import violations
from tests.reports.test_scaled import simulated
from tests.reports.test_study import card_of, hostile_card

WITHIN = 1e-9
SHADOWS = """() => {
  const found = [], walk = node => {
    if (node.shadowRoot) { walk(node.shadowRoot); }
    for (const each of node.children || []) { found.push(each); walk(each); }
  };
  walk(document.body);
  return found.filter(e => e.tagName === "IMG" || e.hasAttribute("onload")).map(e => e.outerHTML);
}"""
INK = "getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()"


@pytest.fixture
def card() -> StudyCard:
    return card_of()


def opened_study(card: StudyCard, folder: Path, open_page: Open, **options: Any) -> Opened:
    path = folder / "study.html"
    path.write_text(render_study(card), encoding="utf-8")
    opened = open_page(path, **options)
    opened.page.locator("#front").scroll_into_view_if_needed()
    opened.wait("live.figures.some(each => each.element.dataset.behaviour === 'front')")
    assert opened.requests == [path.as_uri()]
    return opened


@pytest.mark.parametrize("owned", [False, True])
def test_sliders_say_what_python_says(owned: bool, one: Result, tmp_path: Path, open_page: Open) -> None:
    one = simulated("epyc-9654") if owned else one
    path = tmp_path / "run.html"
    path.write_text(render_report([one], "One"), encoding="utf-8")
    opened = open_page(path)
    opened.page.locator("#what-if").scroll_into_view_if_needed()
    opened.wait("live.figures.some(each => each.answers)")
    parts = parts_of_phases(one.phases)
    stretches = what_if.stretches_of(one, parts)
    shown = what_if.metrics_of(one, stretches)
    for scales, price in (
        (Scales(), 1.0), (Scales(memory=2.0), 1.0), (Scales(0.3, 1.7), 1.0), (Scales(0.5, 3.0, 4.0), 2.5),
    ):  # fmt: skip
        said = opened.ask("scales => live.figures.find(each => each.answers).answers(scales)",
                          {**scales._asdict(), "price": price})  # fmt: skip
        assert set(said) == {each.name for each in shown}
        for each in shown:
            assert said[each.name] == pytest.approx(
                what_if.value_at(each, stretches, parts, scales, price), rel=WITHIN
            ), (each.name, scales)
        assert owned == any(each.held not in (None, 1.0) for each in shown)
    opened.page.locator("[data-knob=memory]").press("End")
    assert "8" in opened.page.locator("#of-memory").inner_text()
    assert "device.memory.bandwidth=8x" in opened.page.locator(".said-flags").inner_text()
    opened.page.locator("[data-knob=compute]").press("ArrowRight")
    assert opened.page.locator(".said-flags").inner_text() == ""
    opened.page.locator("[data-knob=compute]").press("ArrowLeft")
    assert "device.memory.bandwidth=8x" in opened.page.locator(".said-flags").inner_text()
    assert opened.complaints == []


def test_a_slider_steps_over_simulated_batches(
    one: Result, inference_of: Callable[[int], Result], tmp_path: Path, open_page: Open
) -> None:
    others = inference_of(2), inference_of(16)
    path = tmp_path / "run.html"
    path.write_text(render_report([msgspec.structs.replace(one, nearby=others)], "One"), encoding="utf-8")
    opened = open_page(path)
    opened.page.locator("#what-if").scroll_into_view_if_needed()
    opened.wait("live.figures.some(each => each.answers)")
    runs = what_if.runs_of(msgspec.structs.replace(one, nearby=others))
    for place, run in enumerate(runs):
        said = opened.ask(f"scales => live.figures.find(each => each.answers).answers(scales, {place})",
                          {"memory": 2.0, "compute": 0.7})  # fmt: skip
        for each in run.shown:
            told = what_if.value_at(each, run.stretches, run.parts, Scales(2.0, 0.7))
            assert said[each.name] == pytest.approx(told, rel=WITHIN), (each.name, run.batch)
    shown = opened.page.locator('[data-metric="ttft_s"] .then')
    before = shown.inner_text()
    opened.page.locator("[data-knob=batch]").press("End")
    assert opened.page.locator("#of-batch").inner_text() == "16"
    assert "--batch 16" in opened.page.locator(".said-flags").inner_text()
    assert shown.inner_text() != before
    opened.page.locator(".as-is").click()
    assert (opened.page.locator("#of-batch").inner_text(), shown.inner_text()) == ("8", before)
    assert opened.complaints == []


def test_brushed_points_stand_in_the_table_and_as_lines(card: StudyCard, tmp_path: Path, open_page: Open) -> None:
    opened = opened_study(card, tmp_path, open_page)
    figure = "live.figures.find(each => each.element.dataset.behaviour === 'front')"
    points = opened.ask(f"{figure}.named('points').get_column('x').length")
    assert opened.ask(f"{figure}.named('rows').data.x.length") == points
    opened.ask(f"{figure}.named('points').selected.indices = [1, 3, 5]")
    assert opened.ask(f"{figure}.named('rows').data.x.length") == 3
    assert opened.ask(f"{figure}.named('lines').data.xs.length") == 3
    assert f"3 of {points} points brushed" in opened.page.locator(".brushed").inner_text()
    dimension, value = card.metrics[0].dimension, opened.ask(f"{figure}.named('rows').data.x[0]")
    assert opened.page.locator("#front .slick-cell").first.inner_text() == quantity(value, dimension)
    opened.page.locator("#front").get_by_role("button", name="Clear").click()
    opened.page.get_by_label("device", exact=True).select_option("0")
    kept = opened.ask(f"{figure}.named('rows').data.axis0")
    assert set(kept) == {"fast"}
    assert 0 < len(kept) < points
    assert f"{len(kept)} of {points} points pass the filters" in opened.page.locator(".brushed").inner_text()
    assert opened.complaints == []


def test_the_keyboard_goes_from_point_to_point_and_back(card: StudyCard, tmp_path: Path, open_page: Open) -> None:
    opened = opened_study(card, tmp_path, open_page)
    figure = "live.figures.find(each => each.element.dataset.behaviour === 'front')"
    opened.page.locator("#front-stage-0").focus()
    opened.page.keyboard.press("ArrowRight")
    first = opened.ask(f"{figure}.named('points').selected.indices")
    assert len(first) == 1
    assert "device" in opened.page.locator(".brushed").inner_text()
    opened.page.keyboard.press("ArrowRight")
    assert opened.ask(f"{figure}.named('points').selected.indices") != first
    before = opened.ask(f"{figure}.roots[0].x_range.end")
    opened.page.keyboard.press("+")
    assert opened.ask(f"{figure}.roots[0].x_range.end") < before
    opened.page.keyboard.press("0")
    assert opened.ask(f"{figure}.roots[0].x_range.end") == before
    assert opened.ask(f"{figure}.named('points').selected.indices") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_have_the_colours_of_the_page(scheme: str, card: StudyCard, tmp_path: Path, open_page: Open) -> None:
    opened = opened_study(card, tmp_path, open_page, scheme=scheme)
    line = ("live.figures.find(each => each.element.dataset.behaviour === 'front').places"
            ".filter(each => each[2] === 'var(--ink)').map(each => {"
            "const value = live.figures[0].document.get_model_by_id(each[0])[each[1]];"
            "return value && value.value !== undefined ? value.value : value; })")  # fmt: skip
    assert set(opened.ask(line)) == {opened.ask(INK)}
    before = opened.ask(INK)
    opened.ask(f"document.documentElement.dataset.theme = '{'dark' if scheme == 'light' else 'light'}'")
    assert opened.ask(INK) != before
    opened.wait(f"({line}).every(each => each === {INK})")


def test_in_print_the_still_picture_stands_in_its_place(card: StudyCard, tmp_path: Path, open_page: Open) -> None:
    opened = opened_study(card, tmp_path, open_page)
    assert not opened.page.locator("#front .still").first.is_visible()
    opened.page.emulate_media(media="print")
    assert opened.page.locator("#front .still").first.is_visible()
    assert not opened.page.locator("#front-stage-0").is_visible()


def test_without_scripts_the_still_picture_is_there(card: StudyCard, tmp_path: Path, open_page: Open) -> None:
    path = tmp_path / "study.html"
    path.write_text(render_study(card), encoding="utf-8")
    opened = open_page(path, java_script_enabled=False)
    assert opened.page.locator("#front .still svg").is_visible()
    assert not opened.page.locator("#front-stage-0").is_visible()


@pytest.mark.parametrize("bad", ["<img src=x onerror=a()>", "</script><script>a()</script>", "@x{safe}<b>$index"])
def test_hostile_names_are_only_text_in_live_figures(bad: str, tmp_path: Path, open_page: Open) -> None:
    opened = opened_study(hostile_card(bad), tmp_path, open_page)
    stage = opened.page.locator("#front-stage-0").bounding_box()
    for part in range(2, 19):
        for height in (0.3, 0.5, 0.7):
            opened.page.mouse.move(stage["x"] + part / 20 * stage["width"], stage["y"] + height * stage["height"])
    opened.page.locator("#front-stage-2").scroll_into_view_if_needed()
    opened.page.wait_for_timeout(200)
    assert opened.ask(SHADOWS) == []
    assert opened.complaints == []


@pytest.mark.parametrize("width", [400, 1600])
def test_live_pages_can_be_read_by_everyone(width: int, card: StudyCard, tmp_path: Path, open_page: Open) -> None:
    opened = opened_study(card, tmp_path, open_page, width=width)
    opened.wait("document.querySelectorAll('[data-drawn]').length === document.querySelectorAll('[data-live]').length")
    assert violations(opened, context="#front") == []
    assert opened.ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_still_pictures_stand_until_live_ones_are_drawn(one: Result, tmp_path: Path, open_page: Open) -> None:
    path = tmp_path / "run.html"
    path.write_text(render_report([one], "One"), encoding="utf-8")
    opened = open_page(path, 400)
    still = "getComputedStyle(document.querySelector('#roofline .still')).display"
    assert opened.ask(still) != "none"
    opened.page.locator("#roofline").scroll_into_view_if_needed()
    opened.wait(f"{still} === 'none'")
