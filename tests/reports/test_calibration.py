"""The page of a calibration, and what its figures promise."""

from __future__ import annotations

import dataclasses
import math
import re
import subprocess
import sys
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
from reports.calibration import (
    CacheMark,
    Copy,
    Dispatch,
    Entry,
    Group,
    Headline,
    MachineCard,
    Parameter,
    Point,
    ProductPanel,
    RateCurve,
    RatePoint,
    Roof,
    Scaling,
    Shortfall,
    StreamPoint,
)
from reports.calibration_figures import (
    copies,
    entries,
    hierarchy,
    parameters,
    power,
    products,
    residuals,
    roofline,
    scaling,
)
from reports.calibration_page import render_calibration, write_calibration
from reports.figure import Figure, calibration_figures

Parse = Callable[[str], Any]
FAMILIES = ("gemm", "attention_prefill", "attention_decode", "vector")
NAN = math.nan


def point_of(number: int, ratio: float = 1.1, **changes: Any) -> Point:
    """A call of 10 us to 100 ms at 0.1 to 100 FLOP/B."""
    time_s, intensity = 10.0 ** (-5 + number % 5), 10.0 ** (-1 + number % 4)
    point = Point(
        f"call {number}", FAMILIES[number % 4], ("fp32", "bf16")[number % 2], "torch", 1e9 * time_s * intensity,
        1e9 * time_s, time_s, 0.9 * time_s, 1.2 * time_s, ratio * time_s, 0.5 * ratio * time_s, 2.0 * ratio * time_s,
        "an entry", NAN, NAN,
    )  # fmt: skip
    return point._replace(**changes)


PARAMETER = Parameter("floor_s", "shortest call", "s", 2e-5, 1e-5, 4e-5, 1e-7, 1e-3)
ENTRY = Entry("matrix products", "gemm", "fp32", "torch", 53, 17, 0.08, 0.12, 0.4, 0.8, 1.3, (PARAMETER,))
CURVE = RateCurve(
    "fp32", "torch", (RatePoint(1.0, 5e9, 4e9, 6e9), RatePoint(16.0, 5e10, 4e10, 6e10)), (1.0, 4.0, 16.0),
    (5.5e9, 2e10, 5e10), (1e10, 4e10, 1e11),
)  # fmt: skip
STREAMS = tuple(
    StreamPoint(name, threads, size, threads * 1e10 * rank, threads * 0.9e10 * rank, threads * 1.1e10 * rank)
    for name in ("triad", "read")
    for threads in (1, 2)
    for rank, size in ((4, 1e4), (3, 1e5), (2, 1e6), (1, 1e9))
)


def card_of(**changes: Any) -> MachineCard:
    card = MachineCard(
        title="Calibration of a machine", device="my-cpu", date="2026-11-25", lead="Measured on 2026-11-25.",
        cards=(Headline("Peaks", "bf16 products", "439 GFLOP/s", "2 cores", (("DRAM", "20 GB/s"),)),),
        absent=(Shortfall("power", "nothing read it"),),
        roofs=(
            Roof("fp32", "peak", 2e11, "fp32"), Roof("bf16", "peak", 4e11, "bf16"), Roof("DRAM", "memory", 2e10),
            Roof("cache", "cache", 1.6e11), Roof("L1", "cache", 3e11, fitted=False),
            Roof("registers", "vector", 1.9e11, "fp32", False),
        ),
        points=tuple(point_of(i, power_w=50.0 + i, clock_hz=2e9 + i * 1e7) for i in range(24)),
        streams=STREAMS, caches=(CacheMark("L1", 32768.0, 65536.0), CacheMark("L2", 2.0**20, 2.0**21)),
        entries=(ENTRY, ENTRY._replace(label="norm", family="vector", median=NAN, mean=NAN, low_80=NAN)),
        products=(ProductPanel(1024.0, 768.0, (CURVE, CURVE._replace(runtime="numpy", dtype="bf16"))),),
        scalings=(Scaling("a product", "gemm", (1, 2, 4), (1.0, 1.9, 3.4)),),
        dispatches=(Dispatch("add", "torch", "fp32", 1e-6, 0.9e-6, 1.1e-6),),
        copies=(
            *(Copy("disk read", "direct", 10.0**i, 1e-3, 0.9e-3, 1.1e-3) for i in (3, 5, 7)),
            Copy("host copy", "pageable", 1e8, 1e-2, 0.9e-2, 1.1e-2),
        ),
        power_limit_w=100.0, idle_w=12.0, environment=(Group("machine", (("CPU", "a CPU"),)), Group("settings", ())),
        shortfalls=(Shortfall("disturbed samples", "3 of 24"),), laws_hash="ab12", silicost_version="0.1.0",
    )  # fmt: skip
    return dataclasses.replace(card, **changes)


NOTHING = MachineCard("Nothing", "none", "", "")


@pytest.fixture(scope="module")
def card() -> MachineCard:
    return card_of()


@pytest.fixture(scope="module")
def text(card: MachineCard) -> str:
    return render_calibration(card)


@pytest.fixture(scope="module")
def page(text: str, parse: Parse) -> Any:
    return parse(text)


@pytest.mark.parametrize("figure", calibration_figures(), ids=lambda figure: figure.name)
def test_conformance(figure: Figure[MachineCard], card: MachineCard) -> None:
    assert re.fullmatch(r"[a-z-]+", figure.name)
    assert figure.reading.endswith(".")
    assert figure.applies(card)
    drawn = figure.draw(card)
    assert isinstance(drawn, Markup)
    assert figure.draw(card) == drawn
    assert "aria-label" in drawn or "<h3" in drawn
    assert "#0101" not in drawn
    assert not figure.applies(NOTHING)


def test_every_file_is_a_figure_with_a_place_of_its_own() -> None:
    files = {path.stem for path in (Path(reports.__file__).parent / "calibration_figures").glob("[!_]*.py")}
    figures = calibration_figures()
    assert len(figures) == len(files) == len({figure.name for figure in figures}) == len({f.order for f in figures})


def test_same_card_same_bytes(card: MachineCard, text: str) -> None:
    assert render_calibration(card) == text
    assert len(text.encode()) < 500_000


def test_the_page_needs_nothing_but_itself(page: Any, text: str) -> None:
    assert page.values("http-equiv") == ["Content-Security-Policy"]
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert page.scripts == 2
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


def hostile_card(bad: str) -> MachineCard:
    """A card with ``bad`` wherever a string of any content can stand, and numbers that are none."""
    words: dict[str, Any] = dict.fromkeys(("what", "family", "dtype", "runtime", "priced_by"), bad)
    points = [
        point_of(1, **words), point_of(2, time_s=NAN), point_of(3, flops=0.0), point_of(4),
        point_of(5, predicted_s=math.inf), point_of(6, what=bad, priced_by="", power_w=40.0),
    ]  # fmt: skip
    entry = ENTRY._replace(
        label=bad, family=bad, dtype=bad, runtime=bad, median=NAN, unseen=math.inf,
        parameters=(PARAMETER._replace(name=bad, meaning=bad, dimension=bad, low=NAN),),
    )  # fmt: skip
    return MachineCard(
        bad, bad, bad, bad, (Headline(bad, bad, bad, bad, ((bad, bad),)),), (Shortfall(bad, bad),),
        (Roof(bad, "peak", 1e11, bad), Roof(bad, "cache", 1e10, fitted=False), Roof(bad, "memory", NAN)),
        tuple(points), (*(point._replace(stream=bad) for point in STREAMS), StreamPoint(bad, 1, NAN, 0.0, 0.0, 0.0)),
        (CacheMark(bad, 0.0, 0.0), CacheMark(bad, 1e5, 1e5)), (entry,),
        (ProductPanel(8.0, 8.0, (CURVE._replace(dtype=bad, runtime=bad),)),),
        (Scaling(bad, bad, (1, 2), (1.0, 2.0)),), (Dispatch(bad, bad, bad, 1.0, 1.0, 1.0),),
        (Copy(bad, bad, 1.0, 1.0, 1.0, 1.0), *(Copy(bad, "", 10.0**i, 1.0, 1.0, 1.0) for i in range(4))), NAN, math.inf,
        (Group(bad, ((bad, bad),)),), (Shortfall(bad, bad),), bad, bad,
    )  # fmt: skip


def test_hostile_strings_are_only_text(hostile: str, parse: Parse) -> None:
    text = render_calibration(hostile_card(hostile))
    text.encode("utf-8")
    page = parse(text)
    assert (page.scripts, page.tags.count("style")) == (2, 1)
    assert "img" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not {"\u202e", "\x00", "\x07"} & set(text)
    assert "nan" not in " ".join(page.shown).lower().split()
    assert not any("http" in value for value in page.values("style"))
    if hostile.startswith("<script>"):
        assert any(hostile in shown for shown in page.shown)


def test_nothing_at_all_makes_a_page(parse: Parse) -> None:
    page = parse(render_calibration(NOTHING))
    assert "Measured roofline" not in page.shown


PARTS = ("roofs", "points", "streams", "caches", "entries", "products", "scalings", "dispatches", "copies")


@pytest.mark.parametrize("part", [*PARTS, "environment", "shortfalls", "absent", "cards"])
def test_what_is_missing_leaves_the_rest(card: MachineCard, part: str, parse: Parse) -> None:
    nothing: dict[str, Any] = {part: ()}
    without = dataclasses.replace(card, **nothing)
    page = parse(render_calibration(without))
    left_out = {figure.title for figure in calibration_figures() if figure.applies(card)} - {
        figure.title for figure in calibration_figures() if figure.applies(without)
    }
    assert not left_out & set(page.shown)
    assert bool(left_out) == (part not in ("caches", "absent", "cards"))


def test_the_file_is_written_whole(tmp_path: Path, card: MachineCard, text: str) -> None:
    write_calibration(tmp_path / "deep" / "page.html", card)
    assert (tmp_path / "deep" / "page.html").read_text(encoding="utf-8") == text


def test_matplotlib_is_imported_only_to_draw() -> None:
    code = "import sys, reports.figure; reports.figure.calibration_figures(); print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_placed_call_is_a_dot_under_the_roofs_of_its_dtype(card: MachineCard) -> None:
    drawn = roofline.draw(card)
    assert sorted(re.findall(r"<title>(call \d+): ", drawn)) == sorted(point.what for point in card.points)
    panels = {panel.dtype: panel for panel in roofline.panels_of(card)}
    assert list(panels) == ["fp32", "bf16"]
    assert [roof.label for roof in panels["bf16"].roofs] == ["bf16", "DRAM", "cache", "L1"]
    assert "streams in L1 300 GB/s" in drawn
    across, up = roofline.axes_of(list(panels.values()))
    for point in card.points:
        assert 0.0 < across.at(point.flops / point.moved_bytes) < 100.0
        assert 0.0 < up.at(point.flops / point.time_s) < 100.0


def test_calls_without_a_place_are_counted(card: MachineCard) -> None:
    bare = dataclasses.replace(card, points=(*card.points, point_of(30, flops=0.0), point_of(31, moved_bytes=0.0)))
    assert "Not drawn: 2 calls" in roofline.draw(bare)
    assert "Not drawn" not in roofline.draw(card)


def test_many_calls_are_dots_without_words(card: MachineCard) -> None:
    many = dataclasses.replace(card, points=tuple(point_of(i, power_w=50.0) for i in range(5_000)))
    for figure, most in (
        (roofline, roofline.MOST_HINTS),
        (residuals, log_axes.MOST_HINTS),
        (power, roofline.MOST_HINTS),
    ):
        assert "<title>call 7: " in figure.draw(dataclasses.replace(many, points=many.points[:most]))
        assert "<title>" not in figure.draw(many)
        assert len(figure.draw(many)) < 500_000


@pytest.mark.parametrize("figure", [roofline, residuals, power])
def test_more_calls_than_dots_are_counted_in_cells_and_it_is_said(
    card: MachineCard, figure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = tuple(point_of(i, power_w=50.0 + i) for i in range(41))
    monkeypatch.setattr(figure, "MOST_DOTS", 40)
    few, many = (figure.draw(dataclasses.replace(card, points=each)) for each in (points[:-1], points))
    assert "counted in cells" in many
    assert "counted in cells" not in few
    assert "<title>call 7: " in few
    assert "<title>call 7: " not in many


def test_a_cell_has_the_colour_of_the_group_with_most_dots() -> None:
    x, y, groups = [0.5, 0.5, 0.5, 0.99, 1.2], [0.5, 0.5, 0.5, 0.99, 1.0], [0, 1, 1, 0, 0]
    cells = log_axes.cells_of(x, y, groups, 2)
    assert [(place, group) for place, group, _ in cells] == [((30, 30), 1), ((59, 59), 0)]


def test_intervals_are_drawn_where_they_are_longer_than_a_dot(card: MachineCard) -> None:
    def paths(low: float) -> int:
        points = tuple(point_of(0, low_s=low * point_of(0).time_s, high_s=point_of(0).time_s) for _ in range(5))
        return roofline.draw(dataclasses.replace(card, points=points)).count("<path")

    assert paths(0.5) > paths(0.99)


def test_lines_of_streams_need_three_sizes_and_the_table_has_the_largest() -> None:
    assert list(hierarchy.lines_of(STREAMS, "triad")) == [1, 2]
    assert hierarchy.lines_of([point for point in STREAMS if point.set_bytes > 1e5], "triad") == {}
    threads, unit, rows = hierarchy.rows_of(STREAMS)
    assert (threads, unit) == ([1, 2], "GB/s")
    assert [(row.stream, [cell.text for cell in row.cells]) for row in rows] == [
        ("triad", ["10.0", "20.0"]), ("read", ["10.0", "20.0"]),
    ]  # fmt: skip
    assert [cell.best for cell in rows[0].cells] == [False, True]
    lone = [*STREAMS, StreamPoint("copy", 4, 1e9, 3e10, 2e10, 4e10)]
    assert [cell.value for cell in hierarchy.rows_of(lone)[2][2].cells] == [None, None, 3e10]


def test_streams_that_have_no_room_are_counted(card: MachineCard) -> None:
    every = tuple(each._replace(stream=f"s{k}") for k in range(8) for each in STREAMS if each.stream == "triad")
    assert "2 more streams are not drawn." in hierarchy.draw(dataclasses.replace(card, streams=every))
    assert "not drawn" not in hierarchy.draw(card)


def test_caches_off_the_axis_are_not_marked(card: MachineCard) -> None:
    far = dataclasses.replace(card, caches=(CacheMark("L9", 1e15, 1e15),))
    assert ">L9 <" not in hierarchy.draw(far)
    assert hierarchy.draw(card).count(">L1 <") == 2


@given(st.lists(st.tuples(st.floats(1e-6, 1.0), st.floats(1.1, 9.0), st.floats(1.1, 9.0)), min_size=1, max_size=60))
def test_the_band_is_the_usual_interval(rows: list[tuple[float, float, float]]) -> None:
    points = [
        point_of(0, time_s=t, predicted_s=t, low_80_s=t / down, high_80_s=t * up) for t, down, up in rows
    ]  # fmt: skip
    at, low, high = residuals.band_of(points)
    times = sorted(t for t, _, _ in rows)
    assert (at[0], at[-1]) == (times[0], times[-1])
    assert np.all(np.diff(at) >= 0.0)
    assert np.all((min(1.0 / up for _, _, up in rows) <= low + 1e-12) & (low < 1.0))
    assert np.all((high <= max(down for _, down, _ in rows) + 1e-12) & (high > 1.0))
    assert len(at) == len(low) == len(high) == 2 * max(len(rows) // 9, 1)


def test_a_band_without_intervals_is_empty() -> None:
    assert len(residuals.band_of([point_of(0, low_80_s=NAN)])[0]) == 0


def test_calls_far_off_are_named_the_worst_first() -> None:
    points = [point_of(0, 1.9), point_of(1, 2.5), point_of(2, 0.1), point_of(3, 0.51)]
    assert [(far.point.what, far.off) for far in residuals.far_of(points)] == [
        ("call 2", "10.0\u00a0× too short"), ("call 1", "2.50\u00a0× too long"),
    ]  # fmt: skip
    drawn = residuals.draw(card_of(points=tuple(points)))
    assert "2 of 4 calls" in drawn
    assert "No prediction is off" in residuals.draw(card_of())
    assert "Hollow dots" not in drawn
    assert "Hollow dots" in residuals.draw(card_of(points=(point_of(0, priced_by=""),)))


def test_notes_count_what_intervals_hold() -> None:
    points = (point_of(0, 1.2), point_of(4, 1.2), point_of(8, 3.0), point_of(12, 1.2))
    assert "4 calls; median 20 % off, 75 % inside their 80" in residuals.draw(card_of(points=points))


def test_errors_share_one_axis(card: MachineCard) -> None:
    axis = entries.axis_over(card.entries)
    row, bare = (entries.row_of(entry, axis) for entry in card.entries)
    assert (row.median, row.mean, row.unseen) == ("8.0\u00a0%", "12\u00a0%", "40\u00a0%")
    assert row.median_at is not None
    assert row.mean_at is not None
    assert row.unseen_at is not None
    assert row.median_at < row.mean_at < row.unseen_at
    assert (bare.median, bare.median_at, bare.interval) == ("none", None, "")
    assert entries.error_text(2.34) == "234\u00a0%"


def test_runtimes_stand_in_rows_only_where_they_differ(card: MachineCard) -> None:
    assert "All of them: kernels of" in entries.draw(card)
    other = dataclasses.replace(card, entries=(ENTRY, ENTRY._replace(runtime="numpy")))
    assert "All of them: kernels of" not in entries.draw(other)


def test_intervals_over_most_of_the_range_say_nothing() -> None:
    told = parameters.row_of(PARAMETER)
    assert (told.value, told.unit, told.interval, told.open) == ("20.0", "µs", "10.0 – 40.0", False)
    assert told.at == pytest.approx(100.0 * math.log(200) / math.log(1e4))
    assert parameters.row_of(PARAMETER._replace(low=1e-7, high=5e-4)).open
    assert parameters.row_of(PARAMETER._replace(low=NAN, high=NAN)).interval == ""
    constant = parameters.row_of(PARAMETER._replace(least=0.0, most=0.0, low=NAN, high=NAN))
    assert (constant.at, constant.ends, constant.open) == (None, None, False)
    shares = Parameter("share", "", "number", 0.5, 0.4, 0.6, 0.0, 1.0)
    assert parameters.row_of(shares).ends == pytest.approx((40.0, 60.0))


@given(st.floats(1e-9, 1e3), st.floats(1.0, 1e9), st.floats(-1.0, 2.0))
def test_places_lie_in_the_range(least: float, factor: float, part: float) -> None:
    parameter = PARAMETER._replace(least=least, most=least * factor * 1.001)
    value = least + part * (parameter.most - least)
    assert 0.0 <= parameters.place_of(value, parameter) <= 100.0
    assert parameters.place_of(least, parameter) == 0.0
    assert parameters.place_of(parameter.most, parameter) == pytest.approx(100.0)


def test_panels_say_how_far_the_law_is_off() -> None:
    drawn = products.draw(card_of())
    assert drawn.count("<title>") == 4
    assert "The law is off by 4.9" in drawn
    assert "in fp32 of torch" in drawn


def test_speed_ups_stand_beside_what_threads_could_reach(card: MachineCard) -> None:
    lines, ticks = scaling.lines_of(card)
    assert [tick.text for tick in ticks] == ["1\u00a0×", "2\u00a0×", "4\u00a0×"]
    assert lines[0].value == "3.40\u00a0× on 4 (85 %)"
    assert [dot.last for dot in lines[0].dots] == [False, False, True]
    assert lines[0].dots[2].at < ticks[2].at
    lone = Scaling("alone", "gemm", (1,), (1.0,))
    assert not scaling.applies(dataclasses.replace(card, scalings=(lone,)))


def test_limit_and_rest_are_lines(card: MachineCard) -> None:
    drawn = power.draw(card)
    assert ">limit 100 W<" in drawn
    assert ">idle 12.0 W<" in drawn
    assert "at most 73.0 W" in drawn
    assert "clocks from 2.00 GHz to 2.23 GHz" in drawn
    bare = dataclasses.replace(card, power_limit_w=NAN, idle_w=NAN)
    assert "limit" not in power.draw(bare)


def test_copies_of_several_sizes_are_lines_and_others_rows(card: MachineCard) -> None:
    assert list(copies.lines_of(card.copies)) == ["disk read, direct"]
    drawn = copies.draw(card)
    assert drawn.count("<title>") == 3
    assert "10.0 GB/s" in drawn
    assert drawn.count("<tr>") == 2
