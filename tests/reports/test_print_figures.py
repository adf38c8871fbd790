from __future__ import annotations

import dataclasses
import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest

from reports.page_data import Page, Subject
from reports.palette import SERIES
from reports.print_figure import DASHES, MARKERS, PrintFigure, _settings, figures_for, ink, print_figures, printed
from reports.recommendation import Answered, Option, Recommendation
from reports.scorecard import Cloud, KindScores, Scorecard
from reports.serving import Curve, Distribution, Ends, Mark, ServedCard
from reports.study import Cloud as Points
from reports.study import FrontPoint, Measure, StudyCard
from reports.whatif import Bar, Tornado, WhatIf
from simulator.result import Result
from simulator.timeline import Span

MAGIC = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}


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
        Page("whatif", WhatIf("t", "l", tornados=(Tornado("tpot_s", "s", 1.0, bars),))),
    ]  # fmt: skip


def test_every_file_is_a_figure_and_every_figure_is_drawn_here(seven: list[Result]) -> None:
    files = {path.stem for path in (Path(__file__).parents[2] / "reports/print_figures").glob("*.py")} - {"__init__"}
    assert len(print_figures()) == len(files)
    drawn = {figure.name for page in pages(seven) for figure in figures_for(page.form, page.subject)}
    assert drawn == {figure.name for figure in print_figures()}


@pytest.mark.parametrize("figure", print_figures(), ids=lambda figure: figure.name)
def test_conformance(figure: PrintFigure, seven: list[Result]) -> None:
    (page,) = (page for page in pages(seven) if page.form in figure.forms)
    for kind, magic in MAGIC.items():
        data = printed(figure, page.subject, kind)  # type: ignore[arg-type]
        assert data.startswith(magic)
        assert b"mathdefault" not in data
        if kind == "svg":
            assert data == printed(figure, page.subject, "svg")
            assert b"<text" in data
            assert b"/tmp/" not in data


@pytest.mark.parametrize("figure", print_figures(), ids=lambda figure: figure.name)
@pytest.mark.parametrize("width_in", [2.5, 3.3, 6.9])
def test_a_figure_is_as_wide_as_asked_and_its_letters_can_be_read(
    figure: PrintFigure, width_in: float, seven: list[Result]
) -> None:
    (page,) = (page for page in pages(seven) if page.form in figure.forms)
    drawn = printed(figure, page.subject, "svg", width_in).decode()
    assert f'width="{72.0 * width_in:g}pt"' in drawn
    sizes = [float(size) for size in re.findall(r"(?:font: |font-size: )([\d.]+)px", drawn)]
    assert min(sizes) >= 6.5
    wide = int.from_bytes(printed(figure, page.subject, "png", width_in)[16:20], "big")
    assert wide == pytest.approx(300 * width_in, abs=1)


@pytest.mark.parametrize("figure", print_figures(), ids=lambda figure: figure.name)
def test_fonts_stand_in_the_file(figure: PrintFigure, seven: list[Result]) -> None:
    (page,) = (page for page in pages(seven) if page.form in figure.forms)
    data = printed(figure, page.subject, "pdf", 3.3)
    assert b"/FontFile2" in data
    assert b"/Type3" not in data


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
    assert "3 more devices are not drawn" in texts_of(figure_named("ranking"), ranked)
    assert "2 more knobs are not drawn" in texts_of(figure_named("tornado"), swung)
    assert "3 more lanes are not drawn" in texts_of(figure_named("timeline"), (busy,))
    assert "2 more panels are not drawn" in texts_of(figure_named("roofline"), panels)


def figure_named(name: str) -> PrintFigure:
    return next(figure for figure in print_figures() if figure.name == name)


def texts_of(figure: PrintFigure, subject: Subject) -> list[str]:
    """Every text of the figure as a reader sees it."""
    drawn = ElementTree.fromstring(printed(figure, subject, "svg"))
    return ["".join(each.itertext()) for each in drawn.iter("{http://www.w3.org/2000/svg}text")]


def test_colours_are_the_light_ones_of_the_page() -> None:
    assert ink("family-gemm") == "#0072b2"
    assert ink("paper") == "#ffffff"


def test_matplotlib_is_imported_only_to_draw() -> None:
    assert importlib.util.find_spec("matplotlib")
    code = "import sys, reports.print_figure as p; p.print_figures(); print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
