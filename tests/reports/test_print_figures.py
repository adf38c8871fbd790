from __future__ import annotations

import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from reports.page_data import Page
from reports.palette import SERIES
from reports.print_figure import DASHES, MARKERS, PrintFigure, figures_for, ink, print_figures, printed
from reports.recommendation import Answered, Option, Recommendation
from reports.scorecard import Cloud, KindScores, Scorecard
from reports.serving import Curve, Distribution, Ends, Mark, ServedCard
from reports.study import Cloud as Points
from reports.study import FrontPoint, Measure, StudyCard
from reports.whatif import Bar, Tornado, WhatIf
from simulator.result import Result

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
    for figure in figures_for("results", (bad, one)):
        printed(figure, (bad, one), "svg")


def test_colours_are_the_light_ones_of_the_page() -> None:
    assert ink("family-gemm") == "#0072b2"
    assert ink("paper") == "#ffffff"


def test_matplotlib_is_imported_only_to_draw() -> None:
    assert importlib.util.find_spec("matplotlib")
    code = "import sys, reports.print_figure as p; p.print_figures(); print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
