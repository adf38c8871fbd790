"""What must hold of traffic, and the examples of its document."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware_specs.errors import InputError
from workloads.traffic.arrivals import ARRIVALS, Arrivals, ClosedLoop, arrivals_of
from workloads.traffic.law_words import TIME_LAWS, TOKEN_LAWS, law_of_times, law_of_tokens
from workloads.traffic.lengths import lengths_of
from workloads.traffic.record import Blocks, Traffic, checked, numbered
from workloads.traffic.synthetic import draw_traffic
from workloads.traffic.tables import INPUT, OUTPUT
from workloads.traffic.traces import FORMATS, TIME

PAGE = Path(__file__).parents[3] / "docs" / "traffic.md"
GOOD = Traffic(
    np.array([0.0, 1.0, 1.0]), np.array([10, 20, 600]), np.array([1, 2, 3]), session=np.array([0, 1, 0]),
    turn=np.array([0, 0, 1]), after=np.array([-1, -1, 0]), think_s=np.array([0.0, 0.0, 1.0]),
    prefix=np.array([5, 0, 11]), blocks=Blocks(np.array([0, 1, 2, 4]), np.array([0, 1, 0, 2]), 512),
)  # fmt: skip


def test_good_traffic_passes() -> None:
    assert checked(GOOD) is GOOD
    assert checked(GOOD._replace(arrival_s=np.zeros(3), concurrency=4)).concurrency == 4
    assert checked(Traffic(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))).requests == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": np.array([1])}, r"input has the shape \(1,\), arrival_s \(3,\)"),
        ({"arrival_s": np.array([0.0, 2.0, 1.0])}, "row 2: arrival_s 1.0 must be no earlier"),
        ({"arrival_s": np.array([0.0, np.nan, 1.0])}, "row 1: arrival_s nan must be a finite time"),
        ({"arrival_s": np.array([-1.0, 0.0, 1.0])}, "row 0: arrival_s -1.0 must be a finite time from 0"),
        ({"input": np.array([10, 0, 600])}, "row 1: input 0 must be from 1"),
        ({"output": np.array([1, 2, 1 << 32])}, "row 2: output 4294967296 must be from 1 to 2147483648"),
        ({"after": np.array([-1, 1, 0])}, "row 1: after 1 must be an earlier row"),
        ({"after": np.array([-2, 0, 0])}, "row 0: after -2 must be an earlier row, or -1"),
        ({"think_s": np.array([0.0, -1.0, 0.0])}, "row 1: think_s -1.0 must be a finite time"),
        ({"prefix": np.array([10, 0, 11])}, "row 0: prefix 10 must be from 0 to less than the prompt"),
        ({"concurrency": -1}, "concurrency -1"),
        ({"blocks": Blocks(np.array([0, 1, 2]), np.array([0, 1]), 512)}, "offsets must be one more than requests"),
        ({"blocks": Blocks(np.array([0, 2, 3, 4]), np.array([0, 1, 0, 2]), 512)}, "row 0: blocks 2 must be no more"),
        ({"blocks": Blocks(np.array([0, 1, 2, 4]), np.array([0, 1, 0, 2]), 0)}, "blocks of 0 tokens"),
    ],
)
def test_impossible_traffic_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked(GOOD._replace(**change))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9])
def test_the_first_requests(count: int) -> None:
    found = checked(GOOD.first(count))
    assert found.requests == min(count, 3)
    assert found.blocks is not None
    assert len(found.blocks.ids) == [0, 1, 2, 4][min(count, 3)]
    bare = Traffic(np.zeros(3), np.ones(3, np.int64), np.ones(3, np.int64)).first(count)
    assert (bare.requests, bare.after, bare.blocks) == (min(count, 3), None, None)


def test_names_by_first_appearance() -> None:
    assert numbered(np.array([7, 3, 7, -1, 3])).tolist() == [0, 1, 0, 2, 1]
    assert numbered(np.zeros(0, np.int64)).tolist() == []


def test_drawn_traffic() -> None:
    lengths = lengths_of("lognormal:mean=512,p99=4000", 128)
    found = checked(draw_traffic(Arrivals(6.45), lengths, 1000, 3))
    np.testing.assert_array_equal(found.arrival_s, Arrivals(6.45).times(1000, 3))
    np.testing.assert_array_equal(found.input, lengths.draw(1000, 3)[0])
    assert found.concurrency == 0
    loop = checked(draw_traffic(ClosedLoop(32), lengths, 1000, 3))
    assert loop.concurrency == 32
    assert not loop.arrival_s.any()
    np.testing.assert_array_equal(loop.input, found.input)
    assert draw_traffic(ClosedLoop(32), lengths, 0).requests == 0


def page_words(title: str) -> list[str]:
    """What stands in back quotes in the first column of the table below a title."""
    section = PAGE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


def test_the_arrivals_of_the_page() -> None:
    words = page_words("Arrivals")
    assert sorted(word.partition(":")[0] for word in words) == sorted(ARRIVALS)
    for word in words:
        arrivals_of(word, None if word.startswith("closed") else 5.0)


def test_the_laws_of_the_page() -> None:
    words = page_words("Lengths")
    assert {word.partition(":")[0] for word in words if not word.isdigit()} == set(TOKEN_LAWS)
    for word in words:
        law_of_tokens(word, "--isl")
    times = re.findall(r"`([a-z]+:[^`]* s)`", PAGE.read_text().split("\n## Conversations\n")[1])
    assert {word.partition(":")[0] for word in times} <= set(TIME_LAWS)
    for word in times:
        law_of_times(word, "--think")


def test_the_names_of_columns_on_the_page() -> None:
    text = PAGE.read_text()
    for name in (*TIME, *INPUT, *OUTPUT, *FORMATS):
        assert f"`{name}`" in text, name


def test_the_example_of_the_page(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "example.py").write_text(block)
    found = runpy.run_path(str(tmp_path / "example.py"))
    assert checked(found["traffic"]).requests == 10_000
    assert checked(found["chats"]).session is not None
