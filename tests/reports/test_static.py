from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from reports.page import render_report
from reports.static import LARGEST, LEFT_OUT, without_scripts
from simulator.result import Result
from simulator.timeline import Span, Timeline

Parse = Callable[[str], Any]


def test_nothing_runs_on_a_static_page(seven: list[Result], parse: Parse) -> None:
    page = render_report(seven, "Seven", static=True)
    parse(page)
    assert "<script" in render_report(seven, "Seven")
    assert "<script" not in page
    assert "script-src" not in page
    assert "<button" not in page
    assert not re.search(r"<[^>]*\son[a-z]+=", page)
    assert "default-src 'none'" in page


def test_a_static_page_is_the_same_each_time(seven: list[Result]) -> None:
    assert render_report(seven, "Seven", static=True) == render_report(seven, "Seven", static=True)


@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_static_pages_are_small(count: int, seven: list[Result], parse: Parse) -> None:
    page = render_report((seven * 3)[:count], "Many", static=True)
    parse(page)
    assert len(page.encode()) <= LARGEST


def test_long_timelines_go_before_the_numbers(one: Result, parse: Parse) -> None:
    spans = tuple(
        Span(f"op {i}", "gemm" if i % 2 else "vector", f"gpu{i % 16}", "compute", i * 1e-3, i * 1e-3 + 9e-4, 0.0)
        for i in range(12_000)
    )  # fmt: skip
    long = msgspec.structs.replace(one, timeline=Timeline(spans))
    page = render_report([long] * 8, "Long", static=True)
    parse(page)
    assert len(page.encode()) <= LARGEST
    assert LEFT_OUT in page
    assert page.count('class="card"') == 8


def test_colours_of_shapes_stay(one: Result) -> None:
    page = render_report([one], "One", static=True)
    rules = dict(re.findall(r"\.(d\d+)\{([^}]*)\}", page))
    used = set(re.findall(r'class="(d\d+)"', page))
    assert used
    assert used == set(rules)
    assert any("--family-gemm" in rule for rule in rules.values())


def test_text_that_looks_like_a_script_stays_text() -> None:
    assert without_scripts("<p>&lt;script&gt;</p>") == "<p>&lt;script&gt;</p>"
