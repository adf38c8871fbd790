"""Live figures in a browser: they answer as Python does; they are quiet, harmless and reachable by everyone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from reports.figures import roofline, timeline, what_if
from reports.numbers import quantity
from reports.page import render_report
from reports.palette import in_words
from reports.scaled import Scales, parts_of_phases
from reports.score_figures import scatter
from reports.serving_figures import latency
from reports.study import Bin, StudyCard
from reports.study_page import render_study
from reports.templating import render_page
from simulator.result import Result
from simulator.timeline import Span
from tests.reports.browser.conftest import Open, Opened
from tests.reports.browser.test_every_page import violations
from tests.reports.test_scaled import simulated
from tests.reports.test_scorecard import card_of as scorecard_of
from tests.reports.test_scorecard import cloud_of as rows_of
from tests.reports.test_serving import served
from tests.reports.test_study import card_of, cloud_of, hostile_card

WITHIN = 1e-9
SHADOWS = """() => {
  const found = [], walk = node => {
    if (node.shadowRoot) { walk(node.shadowRoot); }
    for (const each of node.children || []) { found.push(each); walk(each); }
  };
  walk(document.body);
  return found.filter(e => e.tagName === "IMG" || e.hasAttribute("onload")).map(e => e.outerHTML);
}"""
TOLD = """() => {
  const rows = [...document.querySelectorAll("#tip:not([hidden]) .said-rows > div")];
  const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
  return [
    rows.map(row => [...row.children].map(e => e.textContent)), document.querySelector(".told").textContent,
    box(document.querySelector(".ring:not([hidden])")), box(document.activeElement),
  ];
}"""
GONE = """document.getElementById("tip").hidden && document.querySelector(".ring").hidden
  && document.querySelector(".told").textContent === "" """
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


def like_the_tip(value: float, dimension: str) -> str:
    """A quantity as live figures write it: without zeros at its end, and zero without a unit."""
    figures, _, unit = quantity(value, dimension).partition(" ")
    if figures == "0":
        return figures
    return f"{figures.rstrip('0').rstrip('.') if '.' in figures else figures} {unit}".rstrip()


def page_of(figure: Any, subject: Any) -> str:
    """A page of one figure."""
    return render_page("base.html", False, title="One figure", lead="", figures=[(figure, figure.draw(subject))])


def focused(text: str, stage: str, folder: Path, open_page: Open, **options: Any) -> Opened:
    """The page with this text, its live figure drawn and focused."""
    path = folder / "page.html"
    path.write_text(text, encoding="utf-8")
    opened = open_page(path, **options)
    opened.page.locator(f"#{stage}").locator("xpath=../..").scroll_into_view_if_needed()
    opened.wait(f"document.getElementById('{stage}').closest('[data-live]').dataset.drawn === 'yes'")
    opened.page.locator(f"#{stage}").focus()
    assert opened.ask("document.querySelector('.ring')") is None
    return opened


def told(opened: Opened, *keys: str) -> dict[str, str]:
    """What the tip says after these keys, by row; the same is read out, and a ring in the picture marks the place."""
    for key in keys:
        opened.page.keyboard.press(key)
    rows, spoken, ring, stage = opened.ask(TOLD)
    assert spoken == ", ".join(" ".join(filter(None, row)) for row in rows)
    assert stage[0] <= ring[0] < ring[2] <= stage[2]
    assert stage[1] <= ring[1] < ring[3] <= stage[3]
    return dict(rows)


def left(opened: Opened) -> bool:
    """Whether Escape takes tip, words and ring away and leaves the picture as it is."""
    opened.page.keyboard.press("Escape")
    return bool(opened.ask(GONE))


def test_the_keyboard_goes_from_point_to_point_and_back(card: StudyCard, tmp_path: Path, open_page: Open) -> None:
    opened = opened_study(card, tmp_path, open_page)
    figure = "live.figures.find(each => each.element.dataset.behaviour === 'front')"
    opened.page.locator("#front-stage-0").focus()
    assert card.cloud is not None
    xs = card.cloud.x_values.tolist()
    for place in (0, 1, 2):
        assert told(opened, "ArrowRight")[card.metrics[0].title] == like_the_tip(xs[place], "s")
        assert opened.ask(f"{figure}.named('points').selected.indices") == [place]
        assert opened.ask(f"{figure}.named('rows').data.x.length") == 1
    assert "1 of" in opened.page.locator(".brushed").inner_text()
    before = opened.ask(f"{figure}.roots[0].x_range.end")
    opened.page.keyboard.press("+")
    assert opened.ask(f"{figure}.roots[0].x_range.end") < before
    # What lies outside of the picture is moved into it.
    assert told(opened, "End")[card.metrics[0].title] == like_the_tip(xs[-1], "s")
    assert opened.ask(f"{figure}.roots[0].x_range.end") > xs[-1]
    opened.page.keyboard.press("0")
    assert opened.ask(f"{figure}.roots[0].x_range.end") == before
    assert opened.ask(f"{figure}.named('points').selected.indices") == []
    opened.page.keyboard.press("ArrowRight")
    assert left(opened)
    assert opened.ask(f"{figure}.named('points').selected.indices") == []
    # What was brushed before is so again afterwards; what is brushed meanwhile stays.
    opened.ask(f"{figure}.named('points').selected.indices = [1, 3, 5]")
    assert told(opened, "ArrowRight", "ArrowRight")
    assert opened.ask(f"{figure}.named('points').selected.indices") == [1]
    assert left(opened)
    assert opened.ask(f"{figure}.named('points').selected.indices") == [1, 3, 5]
    assert told(opened, "ArrowRight")
    opened.ask(f"{figure}.named('points').selected.indices = [2, 4]")
    assert left(opened)
    assert opened.ask(f"{figure}.named('points').selected.indices") == [2, 4]
    opened.page.keyboard.press("Shift+ArrowRight")
    assert opened.ask(f"{figure}.roots[0].x_range.end") > before
    opened.page.keyboard.press("Escape")
    assert opened.ask(f"{figure}.roots[0].x_range.end") == before
    opened.page.get_by_label("device", exact=True).select_option("1")
    opened.page.locator("#front-stage-0").focus()
    assert [told(opened, "ArrowRight")["device"] for _ in range(4)] == ["slow"] * 4
    assert opened.complaints == []


def test_cells_say_their_counts_to_the_keyboard(card: StudyCard, tmp_path: Path, open_page: Open) -> None:
    bins = (Bin(0.001, 0.002, 1e3, 2e3, 7_000), Bin(0.002, 0.004, 1e3, 2e3, 1), Bin(0.002, 0.004, 4e3, 8e3, 20_000))
    empty: dict[str, Any] = {"x_values": np.zeros(0), "y_values": np.zeros(0), "codes": np.zeros((0, 2), np.int64),
             "colours": np.zeros(0, np.int64), "legend": ()}  # fmt: skip
    counted = dataclasses.replace(card, cloud=cloud_of(bins=bins, **empty))
    opened = focused(render_study(counted), "front-stage-0", tmp_path, open_page)
    assert "device" in told(opened, "ArrowRight")
    up, low = told(opened, "ArrowDown"), told(opened, "ArrowDown", "Home")
    assert up["points in this cell"] == "20,000"
    assert up[f"{card.metrics[1].title} from"] == like_the_tip(4e3, "tokens/s")
    assert low["points in this cell"] == "7,000"
    assert told(opened, "ArrowRight")["points in this cell"] == "1"
    assert "device" in told(opened, "ArrowUp", "ArrowUp")
    assert left(opened)


def test_the_keyboard_reads_a_roofline(one: Result, tmp_path: Path, open_page: Open) -> None:
    opened = focused(page_of(roofline.FIGURE, [one]), "roofline-live-0-stage-0", tmp_path, open_page)
    (panel,) = roofline.panels_of([one])
    dots = sorted(panel.dots, key=lambda dot: (dot.intensity, dot.rate, -dot.weight))
    for dot in dots:
        assert told(opened, "ArrowRight") == {
            "operator": dot.name, "attained": like_the_tip(dot.rate, "flops"),
            "intensity [FLOP/B]": like_the_tip(dot.intensity, "number"), "phase": dot.phase,
            "family": in_words("family", dot.family), "time": like_the_tip(dot.time_s, "s"),
            "of the time": like_the_tip(dot.weight, "fraction"), "bound by": dot.bound,
        }  # fmt: skip
    assert told(opened, "ArrowRight")["operator"] == dots[-1].name
    assert told(opened, "Home")["operator"] == dots[0].name
    roofs = roofline.roofs_of(panel)
    said = {quantity(roof.value, "bytes_per_s") for roof in roofs.slopes}
    said |= {quantity(value, "flops") for value in roofs.drawn}
    found = [told(opened, "ArrowDown", "Home")["at most"]]
    found += [told(opened, "ArrowRight")["at most"] for _ in range(len(said) - 1)]
    assert set(found) == said
    assert told(opened, "ArrowUp")["operator"]
    assert left(opened)
    # The ring is no less visible where the system chooses the colours.
    opened.page.emulate_media(forced_colors="active")
    told(opened, "ArrowRight")
    ring = "getComputedStyle(document.querySelector('.ring')).borderTopColor"
    assert opened.ask(ring) != opened.ask("getComputedStyle(document.body).backgroundColor")
    assert opened.complaints == []


def test_the_keyboard_reads_a_timeline(mixed_of: Callable[[int], Result], tmp_path: Path, open_page: Open) -> None:
    result = mixed_of(4)
    opened = focused(page_of(timeline.FIGURE, [result]), "timeline-0-live-stage-0", tmp_path, open_page)
    lanes: dict[tuple[str, str], list[Span]] = {}
    for span in result.timeline.spans:
        lanes.setdefault((span.resource, span.lane), []).append(span)
    order = list(dict.fromkeys(span.resource for span in result.timeline.spans))
    names = sorted(lanes, key=lambda lane: (order.index(lane[0]), lane[1]))
    words = dict(zip(names, timeline.lane_names(names), strict=True))

    def saying(span: Span) -> dict[str, str]:
        return {
            "": span.name, "family": in_words("family", span.family), "lane": words[span.resource, span.lane],
            "from": like_the_tip(span.start_s, "s"), "to": like_the_tip(span.end_s, "s"),
            "takes": like_the_tip(span.end_s - span.start_s, "s"), "spans in it": "1",
        }  # fmt: skip

    first = lanes[names[0]]
    for span in first[:5]:
        assert told(opened, "ArrowRight") == saying(span)
    assert told(opened, "ArrowLeft") == saying(first[3])
    middle = (first[3].start_s + first[3].end_s) / 2.0
    for name in names[1:]:
        near = min(lanes[name], key=lambda span: max(span.start_s - middle, middle - span.end_s, 0.0))
        assert told(opened, "ArrowDown") == saying(near)
    assert told(opened, "End") == saying(lanes[names[-1]][-1])
    assert told(opened, "ArrowUp", "Home") == saying(lanes[names[-2]][0])
    assert left(opened)
    assert opened.complaints == []


def test_the_keyboard_reads_curves(tmp_path: Path, open_page: Open) -> None:
    card = served("decode")
    opened = focused(page_of(latency.FIGURE, card), "latency-live-0-stage-0", tmp_path, open_page)
    one, other = card.distributions[0].curves
    for place in (0, 1, 2):
        share, at = one.share[place], one.at_s[place]
        assert told(opened, "ArrowRight") == {
            "of": one.name, "requests": like_the_tip(share, "fraction"), "within": like_the_tip(at, "s"),
        }  # fmt: skip
    assert told(opened, "End")["within"] == like_the_tip(one.at_s[-1], "s")
    below = told(opened, "ArrowDown")
    near = int(np.argmin(np.abs(np.log(other.at_s / one.at_s[-1]))))
    assert (below["of"], below["within"]) == (other.name, like_the_tip(other.at_s[near], "s"))
    # Who leaves finds the mark again, ring, tip and words.
    opened.page.keyboard.press("Shift+Tab")
    assert opened.ask(GONE)
    assert told(opened, "Tab") == below
    (ends,) = card.distributions[0].ends
    assert told(opened, "ArrowDown") == {
        "80 % interval of": ends.name, "from": like_the_tip(ends.low_s, "s"), "to": like_the_tip(ends.high_s, "s"),
    }  # fmt: skip
    assert told(opened, "ArrowDown", "Home")["bound"] == latency.mark_text(card.distributions[0], 0)
    assert left(opened)
    assert opened.complaints == []


def test_the_keyboard_reads_predictions(tmp_path: Path, open_page: Open) -> None:
    cloud = rows_of(12)
    opened = focused(page_of(scatter.FIGURE, scorecard_of(cloud)), "scatter-live-0-stage-0", tmp_path, open_page)
    for place in np.argsort(cloud.observed).tolist():
        measured, predicted = float(cloud.observed[place]), float(cloud.predicted[place])
        assert told(opened, "ArrowRight") == {
            "": cloud.hints[place], "measured": like_the_tip(measured, "s"), "predicted": like_the_tip(predicted, "s"),
            "predicted / measured": like_the_tip(predicted / measured, "number"),
            "80 % from": like_the_tip(cloud.low_80[place], "s"), "to": like_the_tip(cloud.high_80[place], "s"),
            "class": cloud.device_class[place],
        }  # fmt: skip
    opened.page.locator("[data-show=class-gpu]").uncheck()
    opened.page.locator("#scatter-live-0-stage-0").focus()
    seen = [told(opened, "Home"), *(told(opened, "ArrowRight") for _ in range(11))]
    assert {each["class"] for each in seen} == {"cpu", "unheard-of"}
    heights = np.sort(cloud.predicted[cloud.device_class != "gpu"])
    lowest = [told(opened, "ArrowDown") for _ in heights][-1]
    assert lowest["predicted"] == like_the_tip(float(heights[0]), "s")
    assert told(opened, "ArrowUp")["predicted"] == like_the_tip(float(heights[1]), "s")
    assert left(opened)
    assert opened.complaints == []


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
    # Arrow keys are taken from a screen reader only where they lead from mark to mark, not in lines or in a table.
    told_of = ("role", "aria-roledescription", "aria-keyshortcuts", "aria-describedby", "tabindex")
    scatter, lines, table = (
        [opened.page.locator(f"#front-stage-{stage}").get_attribute(name) for name in told_of] for stage in range(3)
    )
    assert scatter[:2] == ["application", "live figure"] and scatter[4] == "0"
    assert {"ArrowRight", "Plus", "-"} < set(str(scatter[2]).split())
    assert "between points" in opened.page.locator(f"#{scatter[3]}").inner_text(), "its keys are told"
    assert lines == ["group", None, None, None, "0"] and table == ["group", None, None, None, None]
    assert opened.ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_still_pictures_stand_until_live_ones_are_drawn(one: Result, tmp_path: Path, open_page: Open) -> None:
    path = tmp_path / "run.html"
    path.write_text(render_report([one], "One"), encoding="utf-8")
    opened = open_page(path, 400)
    still = "getComputedStyle(document.querySelector('#roofline .still')).display"
    assert opened.ask(still) != "none"
    assert opened.ask("typeof Bokeh") == "undefined"
    opened.page.locator("#roofline").scroll_into_view_if_needed()
    opened.wait(f"{still} === 'none'")
