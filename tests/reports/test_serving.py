"""The page of a served run, and what its figures promise."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import Markup

import reports
from reports.axis import Axis
from reports.calibration import Group
from reports.fact_figures import SERVED
from reports.figure import Figure
from reports.numbers import exact_share
from reports.serving import (
    Arrow,
    Curve,
    Distribution,
    Ends,
    LatencyRow,
    Line,
    LinkRow,
    Mark,
    Measured,
    Node,
    Objective,
    OverTime,
    PoolRow,
    ServedCard,
    Slice,
    Split,
    TenantRow,
    Track,
    Tracks,
    ValueCard,
)
from reports.serving_figures import latency, over_time, pipeline, splits
from reports.serving_page import FIGURES, render_served, sentence_of, verdict_of

NAN = math.nan
EMPTY = ServedCard("nothing", "", "No requests were asked for.", "")
BINS = 96


def measured(name: str = "TTFT p99", dimension: str = "s", value: float = 0.138) -> Measured:
    return Measured(name, name, dimension, value, value * 0.7, value * 1.4)


def served(text: str = "decode", pools: int = 2) -> ServedCard:
    """A run that has something of everything, with ``text`` wherever a string of any content can stand."""
    at = np.linspace(0.05, 3.0, 150)
    x = (np.arange(BINS) + 0.5) * 2.0
    wave = 20.0 + 15.0 * np.sin(x / 7.0) ** 2 + np.linspace(0.0, 0.321, BINS)
    tracks = tuple(
        Track(title, dimension, (Line("one", wave), Line("other", wave / 3.0))[:lines])
        for title, dimension, lines in (
            ("Queue", "count", 1), ("Running batch", "count", 1), ("Cache in use", "fraction", 1),
            ("Tokens a second", "count", 2), ("Power", "w", 1), ("Busy", "count", 1), ("Waiting", "fraction", 2),
        )
    )  # fmt: skip
    none = Measured("swaps", "Swaps", "count", NAN, reason=text)
    figures = (measured("jobs", "count", 1000.0), measured("utilisation", "fraction", 0.5), none)
    return ServedCard(
        f"Serving {text}", text, text, text,
        objectives=(
            Objective("", "TTFT", 0.99, 0.5, 0.138, 0.1, 0.2, 0.9999),
            Objective(text, "E2E", 0.9, 2.0, 3.0, NAN, NAN, 0.4),
        ),
        cards=(ValueCard("Latency", measured(), (measured("MFU", "fraction", 0.4), none)),),
        distributions=(
            Distribution("TTFT", (Curve("all", at, np.linspace(0.01, 0.97, 150)), Curve(text, at * 2.0, at / 3.0)), (
                Mark(text, 0.5, 0.99), Mark("", 1.0, 0.9)), (Ends("p50", 0.5, 0.3, 0.6),)),
        ),
        latencies=(LatencyRow("TTFT", "meaning", (measured("p50"), Measured("p99", "p99", "s", NAN, reason=text))),),
        over_time=OverTime(x, 2.0, 192.0, tuple(Tracks(f"{text} {place}", tracks) for place in range(pools))),
        pools=tuple(PoolRow(f"{text} {place}", text, text, text, figures, text, text) for place in range(pools)),
        splits=(
            Split("Energy", "Wh", (Slice(text, 0, 3.0), Slice("hosts", -1, 1.0), Slice("losses", -2, 1.0)), ""),
            Split("Dollars", "usd", (Slice(text, 0, NAN),), text),
        ),
        links=(LinkRow(text, (measured("Carried", "bytes", 1e9),)),),
        nodes=(Node(text, "gpu", 0, (text, text)), Node("b", text, 1, ()), Node("c", "cpu", 1, (text,))),
        arrows=(Arrow(0, 1, text), Arrow(0, 2, "")),
        tenants=(TenantRow(text, text, (measured("Requests", "count", 5.0), none)),),
        prediction=(Group(text, ((text, text),)),), notes=(text,), definitions=((text, text),), laws_hash=text,
        silicost_version=text,
    )  # fmt: skip


def by_name(figure: Figure[ServedCard]) -> str:
    return figure.name


@pytest.mark.parametrize("figure", FIGURES, ids=by_name)
def test_conformance(figure: Figure[ServedCard]) -> None:
    assert re.fullmatch(r"[a-z-]+", figure.name)
    assert figure.reading.endswith(".")
    assert figure.applies(served())
    drawn = figure.draw(served())
    assert isinstance(drawn, Markup)
    assert figure.draw(served()) == drawn
    assert "#0101" not in drawn
    assert not figure.applies(EMPTY)


def test_every_file_is_a_figure() -> None:
    files = {path.stem for path in (Path(reports.__file__).parent / "serving_figures").glob("[!_]*.py")}
    assert SERVED in FIGURES
    assert len(FIGURES) - 1 == len(files) == len({figure.name for figure in FIGURES} - {SERVED.name})
    orders = [figure.order for figure in FIGURES]
    assert orders == sorted(orders)


def test_the_page_is_whole_and_stays_offline(parse: Callable[[str], Any]) -> None:
    text = render_served(served())
    assert text == render_served(served())
    page = parse(text)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    links = [value for value in page.values("href") if value]
    assert links
    assert {value[1:] for value in links} <= set(ids)
    assert all(value.startswith("#") for value in links)
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)
    assert "http" not in text.replace("http-equiv", "")
    assert "default-src 'none'" in text
    assert not page.values("src")
    assert "<figure" not in render_served(EMPTY)


def test_many_pools_stay_small() -> None:
    text = render_served(served("a pool", 40))
    assert len(text.encode()) < 650_000
    assert len(render_served(served("a pool", 40), static=True).encode()) < 400_000
    assert "Not drawn:" in text


def test_hostile_strings_are_only_text(hostile: str, parse: Callable[[str], Any]) -> None:
    text = render_served(served(hostile))
    text.encode("utf-8")
    page = parse(text)
    assert page.scripts == 2
    assert page.tags.count("style") == 2
    assert "img" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not {"\u202e", "\x00", "\x07"} & set(text)
    assert not any("http" in value for value in page.values("style"))
    if hostile.startswith("<script>"):
        assert any(hostile in shown for shown in page.shown)


@pytest.mark.parametrize(
    ("value", "low", "high", "kept", "verdict", "words"),
    [
        (0.25, 0.2, 0.4, 1.0, "Met", "50 % below the bound; 100 % of all requests are within it, 99 % must be; all of"),
        (0.25, 0.2, 0.6, 1.0, "Met, not surely", "reaches over the bound"),
        (0.6, 0.4, 0.8, 0.5, "Missed, not surely", "20 % above the bound; 50 % of all requests"),
        (5.0, 4.0, 8.0, 0.001, "Missed", "10 times the bound; 0.1 % of all requests"),
        (
            0.25,
            0.2,
            0.3,
            0.6,
            "Missed",
            "too many were not answered; 60 % of all requests are within it, 99 % must be; "
            "all of the interval is below the bound.",
        ),
        (0.25, 0.2, 0.6, 0.6, "Missed, not surely", "reaches over the bound"),
        (0.25, NAN, NAN, 1.0, "Met", "99 % must be."),
        (0.25, NAN, NAN, 0.6, "Missed", "too many were not answered"),
        (0.5000001, NAN, NAN, 0.99, "Met", "at the bound"),
        (NAN, NAN, NAN, 0.0, "Missed", "no request was answered"),
    ],
)
def test_verdicts(value: float, low: float, high: float, kept: float, verdict: str, words: str) -> None:
    each = Objective("", "TTFT", 0.99, 0.5, value, low, high, kept)
    assert verdict_of(each) == verdict
    assert words in sentence_of(each)


def test_shares_near_one_are_told_from_one() -> None:
    shares = [1.0, 0.99999, 0.9995, 0.99, 0.5, 0.00001, 0.0]
    texts = ["100 %", "nearly 100 %", "99.95 %", "99 %", "50 %", "nearly 0 %", "0 %"]
    assert [exact_share(each) for each in shares] == texts


def test_cells_say_why_there_is_no_value() -> None:
    assert Measured("usd", "", "usd", NAN, reason="no price").cell.reason == "no price"
    assert (measured("x", "s", 0.138).cell.low, measured("x", "s", 0.138).cell.unit) == ("96.6", "ms")
    assert Measured("n", "", "count", 7.0, 7.0, 7.0).cell.low == ""
    assert Measured("n", "", "count", 7.0, 6.0, 9.0).cell.high == "9"


def test_bars_are_whole() -> None:
    bars = [splits.bar_of(split) for split in served().splits]
    assert math.fsum(part.width for part in bars[0].parts) == pytest.approx(100.0)
    assert len({part.colour for part in bars[0].parts}) == 3
    assert (bars[1].parts, bars[1].total) == ([], "none")


def test_boxes_do_not_overlap() -> None:
    nodes = [Node(str(i), "gpu", column, ("x",) * (i % 3)) for i, column in enumerate((0, 1, 1, 1, 2, 2, 4))]
    places, width, height = pipeline.places_of(nodes)
    for one, node in zip(places, nodes, strict=True):
        assert 0.0 <= one.left <= width
        assert one.top >= 0.0
        assert one.top + one.height <= height + 1e-9
        for other, another in zip(places, nodes, strict=True):
            if other is not one and another.column == node.column:
                assert one.top + one.height < other.top or other.top + other.height < one.top


@pytest.mark.parametrize("end_s", [1e-4, 1.0, 120.0, 600.0, 7300.0, 90_000.0])
def test_any_length_of_a_run_has_an_axis(end_s: float) -> None:
    scale, unit = over_time.time_scale(end_s)
    assert 0.05 <= end_s / scale <= 1000.0
    assert unit
    run = OverTime(np.array([end_s / 2.0]), end_s, end_s, ())
    panel = over_time.panel_of(run, Track("Queue", "count", (Line("x", np.zeros(1)),)), "k")
    assert "mean 0, peak 0" in panel.note


@pytest.mark.parametrize("span", [0.05, 0.5, 1.0, 1.9, 3.0, 8.0])
def test_axes_of_latencies_have_ticks(span: float) -> None:
    for low in (-6.0, -1.37, 0.02):
        ticks = latency.ticks_of(Axis(low, low + span))
        assert 1 <= len(ticks) <= 7
        assert ticks == sorted(ticks)
