from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from simulator.calibration.machine.system_files import SystemFiles, chosen, listed, size_bytes, whole


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0-2,8", (0, 1, 2, 8)), ("5", (5,)), ("", ()), ("0\n2-3\n", (0, 2, 3)), ("a-b", ()), ("-1", ())],
)
def test_lists_of_cpus(text: str, numbers: tuple[int, ...]) -> None:
    assert listed(text) == numbers


@pytest.mark.parametrize(
    ("text", "size"), [("32K", 32768), ("107520K", 110100480), ("2M", 2**21), ("7", 7), ("x", None)]
)
def test_sizes_of_caches(text: str, size: int | None) -> None:
    assert size_bytes(text) == size


def test_numbers_and_choices() -> None:
    assert [whole(text) for text in ("12", "0xd4f", "-1", "", "max")] == [12, 0xD4F, -1, None, None]
    assert chosen("always [madvise] never") == "madvise"
    assert chosen("performance") == "performance"


def test_what_is_not_there_is_empty(tmp_path: Path) -> None:
    files = SystemFiles(tmp_path)
    assert (files.text("proc/stat"), files.number("a"), files.names("sys"), files.exists("sys")) == (
        "",
        None,
        [],
        False,
    )


def test_names_come_by_number(write_tree: Callable[[Mapping[str, str]], Path]) -> None:
    files = SystemFiles(write_tree({f"sys/cpu{n}/x": "" for n in (10, 2, 1)}))
    assert files.names("sys", "cpu*") == ["sys/cpu1", "sys/cpu2", "sys/cpu10"]
