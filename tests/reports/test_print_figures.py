from __future__ import annotations

import dataclasses
import gc
import importlib.util
import io
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest

from reports.calibration import MachineCard, Point, Roof
from reports.calibration_figures import residuals
from reports.capacity import CapacityCard, Load, LoadPanel
from reports.page_data import Page, Subject
from reports.palette import SERIES
from reports.print_figure import (
    DASHES,
    MARKERS,
    WIDTH_IN,
    Kind,
    PrintFigure,
    _file_of,
    _settings,
    figures_for,
    ink,
    print_figures,
    printed,
)
from reports.recommendation import Answered, Option, Recommendation
from reports.scorecard import Cloud, KindScores, Scorecard
from reports.serving import Curve, Distribution, Ends, Mark, ServedCard
from reports.study import Cloud as Points
from reports.study import FrontPoint, Measure, StudyCard
from reports.whatif import Bands, Bar, Curves, Probability, Step, Tornado, Waterfall, WhatIf
from simulator.result import Result
from simulator.timeline import Span

RATES = (1.0, 2.0, 3.0, 4.0)
LOADED = CapacityCard(
    "t", "l", "a", "w", rate_per_s=2.5, low_per_s=2.1, high_per_s=5.0,
    panels=(
        LoadPanel("TTFT p99", "s", (
            Load("p99", RATES, (0.1, 0.2, 0.6, 9.0)), Load("p50", RATES, (0.05, 0.1, 0.2, math.nan)),
        ), 0.5),
        LoadPanel("Dollars per million output tokens", "usd", (Load("all devices", RATES, (4.0, 2.0, 1.5, 1.2)),)),
    ),
)  # fmt: skip


def call(number: int, ratio: float, dtype: str = "fp32", family: str = "gemm", **changes: object) -> Point:
    """A call of 10 us and more, with an interval of half to twice its prediction."""
    time_s = 1e-5 * 3.0**number
    point = Point(f"call {number}", family, dtype, "torch", 1e10 * time_s, 10.0 ** (9 + number % 2) * time_s, time_s,
                  0.8 * time_s, 1.3 * time_s, ratio * time_s, 0.5 * ratio * time_s, 2.0 * ratio * time_s, "an entry",
                  math.nan, math.nan)  # fmt: skip
    return point._replace(**changes)  # type: ignore[arg-type]


CALLS = tuple(call(number, ratio) for number, ratio in enumerate((0.9, 1.1, 1.3, 30.0)))
MEASURED = MachineCard(
    "t", "d", "2026-11-25", "l",
    roofs=(Roof("fp32", "peak", 2e11, "fp32"), Roof("DRAM", "memory", 2e10), Roof("L2", "cache", 9e10, fitted=False),
           Roof("L1", "cache", 9.5e10, fitted=False)),
    points=(*CALLS, call(1, 0.7, "bf16"), call(2, 0.6, "bf16", "vector", priced_by=""), call(3, 1.0, flops=0.0)),
)  # fmt: skip
AT = np.array([1.0, 2.0, 4.0])
VALUES = np.array([[4.0, 2.0, 1.0], [2.0, 2.0, math.nan]])
ASKED = WhatIf(
    "t", "l",
    curves=(Curves("t", "batch", "", "tpot_s", "s", ("one", "two"), AT, VALUES, ((2.0, "2: two"),), 3.0,
                   Bands("least to most", 0.5 * VALUES, 2.0 * VALUES)),),
    probability=Probability(("one", "two"), "tpot_s", np.array([-1.0, 0.0, 1.0]), np.array([0.1, 0.5, 0.2]), 0.7,
                            (("everything", 0.7), ("errors alone", 0.6))),
    waterfalls=(Waterfall("By operators", "s", "lower", ("first", 0.009),
                          (Step("decode", "", -0.005), Step("host", "", 0.0005)), ("second", 0.0045)),),
)  # fmt: skip
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing
    from matplotlib.lines import Line2D

MAGIC: dict[Kind, bytes] = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}


def pages(seven: list[Result]) -> list[Page]:
    rows = np.array([0.1, 1.0, math.nan])
    words = np.array(["gpu", "cpu", ""], object)
    kind = KindScores("ops", (), (), (Cloud("s", words, *([rows] * 6)),), {})
    latency = Distribution("TTFT", (Curve("all", np.array([0.0, 0.1, 0.2]), np.array([0.0, 0.5, 1.0])),),
                           (Mark("", 0.3, 0.99),), (Ends("p50", 0.5, 0.08, 0.12),))  # fmt: skip
    metrics = (Measure("tpot_s", "Time", "s", "lower"), Measure("usd", "Cost", "usd", "lower"))
    ends = ((1.0, 3.0, "a"), (2.0, 1.0, "b"))
    front = tuple(FrontPoint(x, y, (x, y), (("device", name),)) for x, y, name in ends)
    options = (
        Option("h100", "gpu", 2, "tp 2", 1.0, 0.5, 2.0),
        Option("x", "none", 1, "", 3.0),
        Option("y", "", 1, "", 0.0),
    )
    bars = (Bar("device.memory.bandwidth", "1 TB/s", "2 TB/s", "why", 1.5, 0.75), Bar("x", "1", "2", "", math.nan, 1.0))
    x, y, codes = np.array([1.0, 2.0]), np.array([3.0, 1.0]), np.array([[0], [1]])
    cloud = Points(0, 1, ("tpot_s", "usd"), front, ("device",), (("a", "b"),), x, y, codes, np.array([0, -1]), "device",
                   ("a",))  # fmt: skip
    return [
        Page("results", tuple(seven)), Page("served", ServedCard("t", "", "", "", distributions=(latency,))),
        Page("study", StudyCard("t", "q", "a", 2, 2, metrics, (None, None), cloud=cloud)),
        Page("scorecard", Scorecard("t", (), (kind,), (), {}, "l", "v")),
        Page("recommendation", Recommendation("t", (Answered("q", "v", "a", metrics[1], options=options),))),
        Page("whatif", dataclasses.replace(ASKED, tornados=(Tornado("tpot_s", "s", 1.0, bars),))),
        Page("capacity", LOADED), Page("calibration", MEASURED),
    ]  # fmt: skip


def test_every_file_is_a_figure_and_every_figure_is_drawn_here(seven: list[Result]) -> None:
    files = {path.stem for path in (Path(__file__).parents[2] / "reports/print_figures").glob("*.py")} - {"__init__"}
    assert len(print_figures()) == len(files)
    drawn = {figure.name for page in pages(seven) for figure in figures_for(page.form, page.subject)}
    assert drawn == {figure.name for figure in print_figures()}


@pytest.fixture(scope="module", autouse=True)
def little_to_search() -> Iterator[None]:
    """Drawings leave circles of objects behind; what was there before is not searched for them again and again, which
    takes a fifth of the time here."""
    gc.freeze()
    yield
    gc.unfreeze()


COLUMN_IN = 2.5
COLUMNS: dict[str, tuple[Drawing, bytes]] = {}
"""Figures that several tests write to files, to draw which is what takes long here."""


def column_of(figure: PrintFigure, seven: list[Result]) -> tuple[Drawing, bytes]:
    """The figure in a column, and its SVG before its parts are laid out."""
    if figure.name not in COLUMNS:
        with _settings(COLUMN_IN) as drawing:
            figure.draw(page_of(figure, seven[-1:]).subject, drawing)
            COLUMNS[figure.name] = drawing, unplaced(drawing)
    return COLUMNS[figure.name]


def page_of(figure: PrintFigure, results: list[Result]) -> Page:
    (page,) = (page for page in pages(results) if page.form in figure.forms)
    return page


def unplaced(drawing: Drawing) -> bytes:
    """A drawing as SVG without laying out its parts, which takes longer than to write them."""
    drawing.set_layout_engine(None)
    return _file_of(drawing, "svg")


def can_be_read(svg: bytes, width_in: float) -> bool:
    """Whether a file holds text of letters that are large enough, and is as wide as asked."""
    sizes = [float(size) for size in re.findall(r"(?:font: |font-size: )([\d.]+)px", svg.decode())]
    return b"<text" in svg and f'width="{72.0 * width_in:g}pt"'.encode() in svg and min(sizes) >= 6.5


@pytest.mark.parametrize("figure", print_figures(), ids=lambda figure: figure.name)
def test_conformance(figure: PrintFigure, seven: list[Result]) -> None:
    with _settings(WIDTH_IN) as drawing:
        figure.draw(page_of(figure, seven).subject, drawing)
        svg = unplaced(drawing)
    assert b"mathdefault" not in svg and b"/tmp/" not in svg
    assert can_be_read(svg, WIDTH_IN)


@pytest.mark.parametrize("figure", print_figures(), ids=lambda figure: figure.name)
def test_a_column_can_be_read_and_is_the_same_each_time(figure: PrintFigure, seven: list[Result]) -> None:
    _, svg = column_of(figure, seven)
    assert can_be_read(svg, COLUMN_IN)
    with _settings(COLUMN_IN) as again:
        figure.draw(page_of(figure, seven[-1:]).subject, again)
        assert unplaced(again) == svg


@pytest.mark.parametrize("figure", print_figures(), ids=lambda figure: figure.name)
def test_parts_of_a_column_are_laid_out_in_pixels(
    figure: PrintFigure, seven: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.print_figure.DPI", 100)
    drawing, _ = column_of(figure, seven)
    before = drawing.axes[0].get_position().bounds
    with _settings(COLUMN_IN):
        drawing.set_layout_engine("constrained")
        data = _file_of(drawing, "png")
        drawing.set_layout_engine(None)
    assert data.startswith(MAGIC["png"])
    assert int.from_bytes(data[16:20], "big") == 100 * COLUMN_IN
    assert drawing.axes[0].get_position().bounds != before


def test_fonts_stand_in_the_file(seven: list[Result]) -> None:
    from matplotlib.backends.backend_pdf import PdfPages

    whole = io.BytesIO()
    # Every figure is a page of one file: to write the fonts of each takes longer than all of their pages.
    with _settings(COLUMN_IN), PdfPages(whole) as file:
        for figure in print_figures():
            column_of(figure, seven)[0].savefig(file, format="pdf")
    assert whole.getvalue().count(b"/Type /Page ") == len(print_figures())
    have_fonts(whole.getvalue())


def have_fonts(pdf: bytes) -> None:
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"mathdefault" not in pdf


def test_whole_files_are_as_wide_as_the_text_of_a_page() -> None:
    figure = figure_named("chance")
    files = {kind: printed(figure, ASKED, kind) for kind in MAGIC}
    assert all(files[kind].startswith(magic) for kind, magic in MAGIC.items())
    assert files["svg"] == printed(figure, ASKED, "svg")
    assert can_be_read(files["svg"], WIDTH_IN)
    with _settings(WIDTH_IN) as drawing:
        figure.draw(ASKED, drawing)
        assert unplaced(drawing) != files["svg"], "parts are laid out"
    assert int.from_bytes(files["png"][16:20], "big") == 300 * WIDTH_IN
    assert b"/MediaBox [ 0 0 496.8 " in files["pdf"]
    have_fonts(files["pdf"])


def test_series_are_told_apart_without_colours() -> None:
    assert len(set(MARKERS)) == len(set(DASHES)) == len(SERIES)


def test_bare_subjects_have_no_figure(one: Result) -> None:
    bare = msgspec.structs.replace(one, phases=(), roofs=(), breakdown={}, timeline=type(one.timeline)(()))
    assert figures_for("results", (bare,)) == []
    assert figures_for("results", ()) == []
    assert figures_for("served", ServedCard("t", "", "", "")) == []


@pytest.mark.parametrize("bad_name", ["$\\frac{1}{0}$", "\x00\x07\ud800", "", "x" * 10_000])
def test_names_are_no_formulas(one: Result, bad_name: str) -> None:
    bad = msgspec.structs.replace(one, title=bad_name, pools=(msgspec.structs.replace(one.pools[0], device=bad_name),))
    named = 0
    for figure in figures_for("results", (bad, one)):
        texts = texts_of(figure, (bad, one))
        assert max(map(len, texts)) < 120
        assert not any("mathdefault" in text for text in texts)
        named += any("$\\frac{1}{0}$" in text for text in texts)
    assert named == (2 if "$" in bad_name else 0), "in the breakdown by its title, in the roofline by its device"


def test_a_tenant_looks_alike_in_every_panel_and_in_the_legend() -> None:
    times, shares = np.array([0.1, 0.2]), np.array([0.5, 1.0])
    names = [f"t{place}" for place in range(7)]
    curves = [Curve(name, times, shares) for name in names]
    bare = Curve("t0", np.zeros(0), np.zeros(0))
    shown = (Distribution("TTFT", (bare, *curves[1:3]), (), ()), Distribution("TPOT", tuple(curves[::-1]), (), ()))
    card = ServedCard("t", "", "", "", distributions=shown)
    with _settings(6.9) as drawing:
        figure_named("latency").draw(card, drawing)
        first, second = (axes.lines for axes in drawing.axes)
        (legend,) = drawing.legends
        looks = {line.get_label(): (line.get_color(), line.get_linestyle()) for line in legend.get_lines()}
    assert [*looks] == ["t1", "t2", "t6", "t5", "t4", "t3"]
    assert [(line.get_color(), line.get_linestyle()) for line in first] == [looks["t1"], looks["t2"]]
    drawn = [(line.get_color(), line.get_linestyle()) for line in second]
    assert drawn == [looks[name] for name in ("t6", "t5", "t4", "t3", "t2", "t1")]
    assert legend.get_title().get_text() == "1 more tenant is not drawn"


@pytest.mark.parametrize(("low", "high"), [(1.2, 1.5), (1.5, 1.2), (0.8, 0.5)])
def test_the_wider_end_of_a_bar_lies_below_the_other(low: float, high: float) -> None:
    from matplotlib.patches import Rectangle

    shown = WhatIf("t", "l", tornados=(Tornado("tpot_s", "s", 1.0, (Bar("a", "1", "2", "", low, high),)),))
    with _settings(6.9) as drawing:
        figure_named("tornado").draw(shown, drawing)
        widths = [abs(patch.get_width()) for patch in drawing.axes[0].patches if isinstance(patch, Rectangle)]
    assert widths == pytest.approx(sorted((abs(low - 1.0), abs(high - 1.0)), reverse=True))


@pytest.mark.parametrize(("objectives", "x"), [(2, 1.0), (3, 1.0), (2, 0.0)])
def test_stairs_join_a_front_of_two_objectives_alone(objectives: int, x: float, seven: list[Result]) -> None:
    (card,) = (page.subject for page in pages(seven) if page.form == "study")
    assert isinstance(card, StudyCard) and card.cloud is not None
    first, second = card.cloud.front
    names = ("tpot_s", "usd", "w")[:objectives]
    cloud = dataclasses.replace(card.cloud, objectives=names, front=(first._replace(x=x), second), left_out=3)
    with _settings(6.9) as drawing:
        figure_named("pareto").draw(dataclasses.replace(card, cloud=cloud, rows=9), drawing)
        lines = {line.get_linestyle(): len(np.asarray(line.get_xdata())) for line in drawing.axes[0].lines}
        said = drawing.legends[0].get_title().get_text()
    assert lines == {"-": 3 if (objectives, x) == (2, 1.0) else 0, "None": 2 if x else 1}
    assert "Not drawn: 7 infeasible." in said and "Not drawn: 3 feasible without" in said
    assert ("of 3 objectives" in said) == (objectives == 3)


def test_what_has_no_room_is_counted(one: Result) -> None:
    option = Option("x", "gpu", 1, "", 3.0)
    ranked = Recommendation(
        "t", (Answered("q", "v", "a", Measure("usd", "Cost", "usd", "lower"), options=(option,) * 18),)
    )
    bars = (Bar("a", "1", "2", "", 0.5, 2.0),) * 13 + (Bar("b", "1", "2", "", 0.5, math.nan),)
    swung = WhatIf("t", "l", tornados=(Tornado("tpot_s", "s", 1.0, bars),))
    spans = tuple(Span("x", "gemm", "d", f"lane {k}", 0.0, 1.0, 0.0) for k in range(27))
    busy = msgspec.structs.replace(one, timeline=type(one.timeline)(spans))
    panels = tuple(
        msgspec.structs.replace(one, pools=(msgspec.structs.replace(one.pools[0], device=f"d{k}"),)) for k in range(8)
    )
    assert "3 more devices are not drawn" in notes_of(figure_named("ranking"), ranked)
    assert "2 more knobs are not drawn" in notes_of(figure_named("tornado"), swung)
    assert "3 more lanes are not drawn" in notes_of(figure_named("timeline"), (busy,))
    assert "2 more panels are not drawn" in notes_of(figure_named("roofline"), panels)


def xy_of(line: Line2D) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.column_stack((np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)))


def spots_of(axes: Axes) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """All dots of a panel, sorted."""
    spots = [np.asarray(each.get_offsets(), float) for each in axes.collections]
    return np.array(sorted(spot for each in spots for spot in each.tolist() if spot[0] > 0.0))


def test_a_capacity_is_drawn_as_its_page_has_it() -> None:
    with _settings(6.9) as drawing:
        figure_named("capacity").draw(LOADED, drawing)
        latency, dollars = drawing.axes
        for axes, panel in ((latency, LOADED.panels[0]), (dollars, LOADED.panels[1])):
            drawn = {str(line.get_label()): line for line in axes.lines}
            for curve in panel.curves:
                expected = np.column_stack((curve.at_per_s, curve.values))
                assert np.array_equal(xy_of(drawn[curve.name]), expected, equal_nan=True)
        (above,) = (line for line in latency.lines if line.get_markerfacecolor() == "white")
        assert xy_of(above).tolist() == [[3.0, 0.6], [4.0, 9.0]], "hollow where the bound is broken"
        assert any(xy_of(line)[:, 1].tolist() == [0.5, 0.5] for line in latency.lines)
        (band,) = latency.patches
        assert band.get_extents().transformed(latency.transData.inverted()).intervalx == pytest.approx([2.1, 5.0])
        assert latency.get_xlim()[1] > 5.0
        looks = {str(line.get_label()): (line.get_linestyle(), line.get_marker()) for line in latency.lines}
        assert not set(looks["p99"]) & set(looks["p50"])
        said = drawing.legends[0].get_title().get_text()
        words = texts_in(drawing)
    assert "1 point far above a bound lies out of the picture" in said
    assert "Not drawn: 1 without a value" in said
    assert {"highest rate that holds, 2.50/s", "80 % interval of the highest rate", "at most 500 ms"} <= set(words)
    asked = dataclasses.replace(LOADED, asked=True, low_per_s=math.nan, high_per_s=math.nan)
    words = texts_of(figure_named("capacity"), asked)
    assert "rate to be served, 2.50/s" in words and "80 % interval of the highest rate" not in words


def test_residuals_are_those_of_the_page() -> None:
    with _settings(6.9) as drawing:
        figure_named("residuals").draw(MEASURED, drawing)
        products, vectors = drawing.axes
        edge, dots = products.get_ylim()[1], spots_of(products)
        said = drawing.legends[0].get_title().get_text()
        titles = [axes.get_title(loc="left").strip() for axes in drawing.axes]
        (hollow,) = (each for each in vectors.collections if each.get_zorder() == 3 and len(each.get_facecolor()))
        assert np.asarray(hollow.get_facecolor())[0, :3].tolist() == [1.0, 1.0, 1.0], "priced by no entry"
        words = texts_in(drawing)
    own = [point for point in MEASURED.points if point.family == "gemm"]
    assert dots == pytest.approx(np.array(sorted([p.time_s, min(p.ratio, 0.99 * edge)] for p in own)))
    assert titles == ["matrix products: 6 calls", "vector: 1 call"]
    assert "1 further off than" in said and "lies at the edge" in said
    assert residuals.how_far_off(own) in words


def test_measured_calls_lie_below_their_roofs() -> None:
    from matplotlib.collections import LineCollection

    with _settings(6.9) as drawing:
        figure_named("roofs").draw(MEASURED, drawing)
        fp32, bf16 = drawing.axes
        dots = spots_of(fp32)
        levels = [
            [y[0] for line in axes.lines if len(set(y := xy_of(line)[:, 1].tolist())) == 1] for axes in (fp32, bf16)
        ]
        slopes = [xy_of(line) for line in bf16.lines]
        said = drawing.legends[0].get_title().get_text()
        segments = [
            each for held in fp32.collections if isinstance(held, LineCollection) for each in held.get_segments()
        ]
        words = texts_in(drawing)
    assert levels == [[2e11], []]
    assert sorted(float(y / x) for (x, y), *_ in slopes) == pytest.approx([2e10, 9e10, 9.5e10]), (
        "all begin within the picture"
    )
    placed = [point for point in MEASURED.points if point.dtype == "fp32" and point.flops > 0.0]
    assert dots == pytest.approx(np.array(sorted([p.flops / p.moved_bytes, p.flops / p.time_s] for p in placed)))
    ends = np.array(sorted([p.time_s, p.flops / p.high_s, p.flops / p.low_s] for p in placed))[:, 1:]
    assert np.array([np.asarray(each)[:, 1] for each in segments]) == pytest.approx(ends)
    assert "Not drawn: 1 without FLOPs or bytes" in said
    assert "Also drawn:" in said and "L2  90.0 GB/s" in said, "a roof without room for its name"
    assert {"fp32  200 GFLOP/s", "DRAM  20.0 GB/s", "seen by probes", "95 % interval"} <= set(words)


def test_curves_bands_and_crossovers_are_those_of_the_page() -> None:
    with _settings(6.9) as drawing:
        figure_named("break-even").draw(ASKED, drawing)
        (axes,) = drawing.axes
        one, two, *others = axes.lines
        assert np.array_equal(xy_of(one), np.column_stack((AT, VALUES[0])))
        assert np.array_equal(xy_of(two), np.column_stack((AT, VALUES[1])), equal_nan=True)
        assert one.get_linestyle() != two.get_linestyle()
        band = np.asarray(axes.collections[0].get_paths()[0].vertices).tolist()
        for at, value in zip(AT.tolist(), VALUES[0].tolist(), strict=True):
            assert [at, 0.5 * value] in band and [at, 2.0 * value] in band
        assert [xy_of(line).tolist() for line in others] == [[[0.0, 3.0], [1.0, 3.0]], [[2.0, 0.0], [2.0, 1.0]]]
        said = drawing.legends[0].get_title().get_text()
        words = texts_in(drawing)
    assert "a: 2: two." in said
    assert "A curve ends where it has no value: two at 1 point." in said
    assert {"one", "two", "bound", "least to most", "a"} <= set(words)


def test_crossovers_of_several_panels_share_their_letters_and_more_are_counted() -> None:
    (curves,) = ASKED.curves
    marks = tuple((1.0 + 0.1 * k, f"mark {k}") for k in range(10))
    shown = dataclasses.replace(ASKED, curves=(curves._replace(marks=marks), curves._replace(marks=marks[:1])))
    words = texts_of(figure_named("break-even"), shown)
    assert words.count("a") == 2 and words.count("h") == 1
    assert "2 more crossovers are not drawn" in words


def test_gaps_and_looks_of_several_panels_are_those_of_all() -> None:
    (curves,) = ASKED.curves
    whole = np.array([[2.0, 2.0, 3.0], [1.0, 1.0, 1.0]])
    shown = (curves, curves._replace(values=VALUES[::-1]), curves._replace(names=("two", "one"), values=whole))
    with _settings(6.9) as drawing:
        figure_named("break-even").draw(dataclasses.replace(ASKED, curves=shown), drawing)
        (legend,) = drawing.legends
        keys = [(line.get_label(), line.get_color(), line.get_linestyle()) for line in legend.get_lines()]
        drawn = {
            (name, line.get_color(), line.get_linestyle())
            for axes, each in zip(drawing.axes, shown, strict=False)
            for name, line in zip(each.names, axes.lines, strict=False)
        }
        said = legend.get_title().get_text()
    assert "A curve ends where it has no value: one at 1 point, two at 1 point." in said
    twice = dataclasses.replace(ASKED, curves=(curves, curves))
    assert "two at 2 points." in notes_of(figure_named("break-even"), twice)
    assert len(drawn) == 4 and drawn < set(keys) and keys[4][0] == "bound"


def test_steps_of_a_difference_are_as_long_as_they_are_large() -> None:
    from matplotlib.patches import Rectangle

    with _settings(6.9) as drawing:
        figure_named("delta").draw(ASKED, drawing)
        (axes,) = drawing.axes
        bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        widths = np.array([bar.get_width() for bar in bars])
        hatched = [bool(bar.get_hatch()) for bar in bars]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "decode", "host", "second"]
        words = [text.replace("µ", "u") for text in texts_in(drawing)]
    assert widths / widths[0] == pytest.approx(np.array([9.0, 5.0, 0.5, 4.5]) / 9.0)
    assert hatched == [False, False, True, False], "what is for the worse is told without its colour"
    (fall,) = ASKED.waterfalls
    cut = dataclasses.replace(ASKED, waterfalls=(fall._replace(steps=fall.steps[1:], last=("second", 0.0095)),))
    assert "Axes do not begin at zero." in texts_of(figure_named("delta"), cut)
    assert "Axes do not begin at zero." not in words
    assert {"9.00 ms", "−5.00 ms", "+500 us", "4.50 ms"} <= set(words)


def test_a_chance_is_parted_where_both_are_equal() -> None:
    with _settings(6.9) as drawing:
        figure_named("chance").draw(ASKED, drawing)
        (axes,) = drawing.axes
        better, worse = (
            np.vstack([np.asarray(path.vertices) for path in each.get_paths()]) for each in axes.collections
        )
        assert better[:, 0].min() >= 0.0 and worse[:, 0].max() <= 0.0
        assert better[:, 1].max() == worse[:, 1].max() == 0.5
        assert axes.collections[1].get_hatch() and not axes.collections[0].get_hatch()
        words = texts_in(drawing)
    assert {"one is better: 70 %", "two is better: 30 %", "chance by errors alone: 60 %"} <= set(words)


def figure_named(name: str) -> PrintFigure:
    return next(figure for figure in print_figures() if figure.name == name)


def notes_of(figure: PrintFigure, subject: Subject) -> str:
    """What stands above the keys of the figure."""
    with _settings(WIDTH_IN) as drawing:
        figure.draw(subject, drawing)
        return str(drawing.legends[0].get_title().get_text())


def texts_of(figure: PrintFigure, subject: Subject) -> list[str]:
    """Every text of the figure as a reader sees it."""
    with _settings(WIDTH_IN) as drawing:
        figure.draw(subject, drawing)
        return texts_in(drawing)


def texts_in(drawing: Drawing) -> list[str]:
    drawn = ElementTree.fromstring(unplaced(drawing))
    return ["".join(each.itertext()) for each in drawn.iter("{http://www.w3.org/2000/svg}text")]


def test_colours_are_the_light_ones_of_the_page() -> None:
    assert ink("family-gemm") == "#0072b2"
    assert ink("paper") == "#ffffff"


def test_matplotlib_is_imported_only_to_draw() -> None:
    assert importlib.util.find_spec("matplotlib")
    code = "import sys, reports.print_figure as p; p.print_figures(); print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
