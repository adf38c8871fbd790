"""The page of a what-if, and what its figures promise."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

import reports
from reports.axis import Axis
from reports.calibration import Headline
from reports.figure import Figure
from reports.whatif import (
    Bar,
    Border,
    Bought,
    Budget,
    Curves,
    KnobRow,
    Probability,
    Slope,
    Step,
    Tornado,
    Waterfall,
    WhatIf,
)
from reports.whatif_axis import fine_ticks, fine_values, round_step
from reports.whatif_figures import WHATIF_FIGURES, elasticities, tornado, waterfall
from reports.whatif_page import render_whatif, write_whatif

NAN = math.nan
EMPTY = WhatIf("nothing", "")


def whole(name: str = "device.memory.bandwidth") -> WhatIf:
    """A what-if that has something of everything."""
    x = np.linspace(-1.0, 2.0, 61)
    return WhatIf(
        f"What if {name}",
        "A lead.",
        cards=(Headline(name, "now", "8.89 ms", "a sub", (("a", "b"),)),),
        metrics=("tpot_s", "ttft_s"),
        knobs=(
            KnobRow(name, "bandwidth", "3.35 TB/s", "sourced", (
                Slope(-0.69, -0.7, -0.68, False), Slope(NAN, NAN, NAN, False))),
            KnobRow("isl", "tokens", "2048", "asked", (Slope(1.5, 0.9, 2.1, True), Slope(0.0001, NAN, 0.0, True))),
        ),
        knobs_idle=3,
        tornados=(
            Tornado("tpot_s", "s", 0.009, (
                Bar(name, "3 TB/s", "4 TB/s", "a tenth", 0.0095, 0.0083), Bar("cap", "1 W", "2 W", "x", NAN, 0.01))),
        ),
        waterfalls=(
            Waterfall("By operators: tpot_s", "s", "lower", ("first", 0.009), (
                Step(f"{name}, memory", "1 to 2", -0.003), Step("host", "", 0.0005)), ("second", 0.0065)),
        ),
        curves=(
            Curves("tpot_s over batch", "batch", "", "tpot_s", "s", ("one", name), np.array([1.0, 2.0, 4.0]),
                   np.array([[0.01, 0.02, NAN], [0.015, 0.016, 0.017]]), ((2.0, "2: two"),), 0.012),
        ),
        border=Border("isl", "", "batch", "", ((128.0, 4.0, "one"), (256.0, 3.0, "one"), (256.0, 9.0, name))),
        probability=Probability(
            ("one", name), "tpot_s", x, np.exp(-x * x), 0.7, (("everything", 0.7), ("errors alone", 0.6))
        ),
        budget=Budget("tpot_s", "s", (Bought("HBM", 4000.0, 0.007),), (
            Bought("nothing", 0.0, 0.009), Bought(name, 300.0, 0.0085)), Bought(name, 300.0, 0.0085)),
        notes=("a note",),
        laws_hash="abc",
        silicost_version="1",
    )  # fmt: skip


def by_name(figure: Figure[WhatIf]) -> str:
    return figure.name


@pytest.mark.parametrize("figure", WHATIF_FIGURES, ids=by_name)
def test_conformance(figure: Figure[WhatIf]) -> None:
    assert re.fullmatch(r"[a-z-]+", figure.name)
    assert figure.reading.endswith(".")
    assert figure.applies(whole())
    drawn = figure.draw(whole())
    assert isinstance(drawn, Markup)
    assert figure.draw(whole()) == drawn
    assert "aria-label" in drawn
    assert "#0101" not in drawn
    assert not figure.applies(EMPTY)


def test_every_file_is_a_figure() -> None:
    files = {path.stem for path in (Path(reports.__file__).parent / "whatif_figures").glob("[!_]*.py")}
    assert len(WHATIF_FIGURES) == len(files) == len({figure.name for figure in WHATIF_FIGURES})
    orders = [figure.order for figure in WHATIF_FIGURES]
    assert orders == sorted(orders)


def test_the_page_is_whole_and_stays_offline(parse: Callable[[str], Any], tmp_path: Path) -> None:
    page = render_whatif(whole())
    assert page == render_whatif(whole())
    parse(page)
    for figure in WHATIF_FIGURES:
        assert f'id="{figure.name}"' in page
    assert "http" not in page.replace("http-equiv", "")
    write_whatif(tmp_path / "page.html", whole())
    assert (tmp_path / "page.html").read_text() == page
    bare = render_whatif(EMPTY)
    assert "<figure" not in bare


def hostile_whatif(bad: str) -> WhatIf:
    """A what-if with ``bad`` wherever a string of any content can stand."""
    slope = Slope(-0.69, NAN, 3.0, True)
    x = np.linspace(-1.0, 2.0, 21)
    return WhatIf(
        bad, bad, (Headline(bad, bad, bad, bad, ((bad, bad),)),), (bad,), (KnobRow(bad, bad, bad, bad, (slope,)),), 1,
        (Tornado(bad, bad, 0.009, (Bar(bad, bad, bad, bad, 0.0095, NAN),)),),
        (Waterfall(bad, bad, bad, (bad, 1.0), (Step(bad, bad, -0.5),), (bad, 0.5)),),
        (Curves(bad, bad, "s", bad, "s", (bad,), np.array([1.0, 2.0]), np.array([[1.0, NAN]]), ((2.0, bad),), 0.5),),
        Border(bad, "", bad, "s", ((1.0, 2.0, bad),)),
        Probability((bad, bad), bad, x, np.exp(-x * x), 0.7, ((bad, 0.7),)),
        Budget(bad, "s", (Bought(bad, 1.0, 2.0),), (Bought(bad, 1.0, 2.0),), Bought(bad, 1.0, 2.0)), (bad,), bad, bad,
    )  # fmt: skip


def test_hostile_strings_are_only_text(hostile: str, parse: Callable[[str], Any]) -> None:
    text = render_whatif(hostile_whatif(hostile))
    text.encode("utf-8")
    page = parse(text)
    assert (page.scripts, page.tags.count("style")) == (2, 1)
    assert "img" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not {"\u202e", "\x00", "\x07"} & set(text)
    assert not any("http" in value for value in page.values("style"))
    if hostile.startswith("<script>"):
        assert any(hostile in shown for shown in page.shown)


def test_bars_of_a_tornado_begin_at_the_base() -> None:
    panel = tornado.panel_of(whole().tornados[0])
    first, second = panel.lines
    ends = sorted((piece.left, piece.left + piece.width) for piece in first.pieces)
    assert ends[0][1] == pytest.approx(panel.base)
    assert ends[1][0] == pytest.approx(panel.base)
    assert first.value == "14.5\u00a0%"
    assert (len(second.pieces), second.value) == (1, "one end")
    assert "3 TB/s" in first.hint


@given(
    st.lists(st.integers(-5000, 5000).map(lambda n: n / 1000.0), min_size=1, max_size=40),
    st.sampled_from(["lower", "higher"]),
)
def test_a_waterfall_joins_its_ends(amounts: list[float], better: str) -> None:
    first = 300.0
    last = first + math.fsum(amounts)
    steps = tuple(Step(f"step {i}", "", amount) for i, amount in enumerate(amounts))
    fall = Waterfall("", "", better, ("first", first), steps, ("last", last))
    panel = waterfall.panel_of(fall)
    assert len(panel.lines) <= waterfall.MOST_STEPS + 2
    assert all(-1e-6 <= line.left <= line.left + line.width <= 100.0 + 1e-6 for line in panel.lines)
    assert all(0.0 <= tick.at <= 100.0 for tick in panel.ticks)
    moved = [line.width * (-1.0 if (line.kind == "good") == (better == "lower") else 1.0) for line in panel.lines[1:-1]]
    assert panel.lines[0].width + math.fsum(moved) == pytest.approx(panel.lines[-1].width, abs=1e-6)


def test_waterfalls_that_are_flat_or_reach_zero() -> None:
    for first, amount in ((0.0, 0.0), (5.0, 0.0), (5.0, -5.0), (0.0, 3.0)):
        fall = Waterfall("", "s", "lower", ("a", first), (Step("s", "", amount),), ("b", first + amount))
        panel = waterfall.panel_of(fall)
        assert all(math.isfinite(line.left) and math.isfinite(line.width) for line in panel.lines)
    assert waterfall.panel_of(fall).cut is False


@pytest.mark.parametrize(
    ("slope", "text", "sides", "left", "width"),
    [
        (Slope(-0.69, 0.0, 0.0, False), "−0.69", "", 15.5, 34.5),
        (Slope(2.0, 1.0, 3.0, True), "+2.00", "◂\u00a0+1.00 ▸\u00a0+3.00", 50.0, 50.0),
        (Slope(0.0001, NAN, 0.0, True), "0", "◂\u00a0none ▸\u00a00", 50.0, 0.005),
        (Slope(NAN, NAN, NAN, False), "none", "", 50.0, 0.0),
    ],
)
def test_cells_of_slopes(slope: Slope, text: str, sides: str, left: float, width: float) -> None:
    cell = elasticities.cell_of(slope)
    assert (cell.text, cell.sides) == (text, sides)
    assert (cell.left, cell.width) == (pytest.approx(left), pytest.approx(width))


@given(st.floats(-9.0, 9.0), st.floats(0.02, 6.0))
def test_fine_axes_have_ticks(low: float, span: float) -> None:
    axis = Axis(low, low + span)
    values = fine_values(axis)
    assert 1 <= len(values) <= 12
    assert values == sorted(values)
    assert all(0.0 <= tick.at <= 100.0 for tick in fine_ticks(axis, "s"))


@given(st.floats(1e-9, 1e9), st.integers(2, 9))
def test_round_steps(span: float, most: int) -> None:
    step = round_step(span, most)
    assert 0.35 * most < span / step <= most * (1.0 + 1e-9)
