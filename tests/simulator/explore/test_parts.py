"""Parts: what goes in comes out, under a name that says it, and damage is seen."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from simulator.explore.columns import ColumnInfo
from simulator.explore.parts import (
    Damaged,
    check_part,
    part_batches,
    part_key,
    set_aside,
    write_part,
)
from simulator.explore.points import Column, Points

POINTS = Points({
    "device": Column(np.array([1, 0, 1], dtype=np.int32), ("h100", "tpu-v5p")),
    "batch": Column.of_values([1, 2, 1]),
    "scale": Column.of_values([1, 2.5, 2.5]),
    "fused": Column.of_values([True, False, True]),
    "mixed": Column.of_values(["auto", 4, True]),
    "memory.bandwidth": Column.of_numbers(np.array([1.5, 2.5, 3.5]), "TB/s"),
    "arrays": Column.of_numbers(np.array([1, 2, 3], dtype=np.int64)),
})  # fmt: skip
FOUND: dict[str, Any] = {
    "tpot_s": np.array([0.25, np.nan, 1e-300]),
    "usd": np.array([1.0, 2.0, 3.0], dtype=np.float32),
    "steps": np.array([1, 2, 3], dtype=np.int32),
    "fits": np.array([True, False, True]),
    "reason": Column(np.array([0, 1, 0], dtype=np.int32), ("", "memory")),
}


def rows_of(path: Path, names: list[str] | None = None) -> list[dict[str, Any]]:
    batches = [batch for _, batch in part_batches(path, names)]
    return [row for batch in batches for row in batch.to_pylist()]


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "part.parquet"
    write_part(path, "key", POINTS, FOUND)
    return path


def test_rows_come_out_as_they_went_in(part: Path) -> None:
    assert rows_of(part) == [
        {"device": "tpu-v5p", "batch": 1, "scale": 1.0, "fused": True, "mixed": "auto", "memory.bandwidth": 1.5,
         "arrays": 1, "tpot_s": 0.25, "usd": 1.0, "steps": 1, "fits": True, "reason": ""},
        {"device": "h100", "batch": 2, "scale": 2.5, "fused": False, "mixed": "4", "memory.bandwidth": 2.5,
         "arrays": 2, "tpot_s": None, "usd": 2.0, "steps": 2, "fits": False, "reason": "memory"},
        {"device": "tpu-v5p", "batch": 1, "scale": 2.5, "fused": True, "mixed": "true", "memory.bandwidth": 3.5,
         "arrays": 3, "tpot_s": 1e-300, "usd": 3.0, "steps": 3, "fits": True, "reason": ""},
    ]  # fmt: skip


def test_the_note_says_what_there_is(part: Path) -> None:
    note = check_part(part, "key")
    assert (note.key, note.rows) == ("key", 3)
    assert [info.name for info in note.columns if info.axis] == list(POINTS.columns)
    kinds = {info.name: (info.kind, info.unit) for info in note.columns}
    assert kinds["memory.bandwidth"] == ("float", "TB/s")
    assert [kinds[name][0] for name in ("device", "batch", "scale", "fused", "mixed", "arrays", "tpot_s", "fits")] == [
        "text", "int", "float", "bool", "text", "int", "float", "bool",
    ]  # fmt: skip
    assert ColumnInfo("reason", "text") in note.columns


def test_texts_and_reasons_are_dictionaries(part: Path) -> None:
    (batch,) = (batch for _, batch in part_batches(part, ["device", "reason"]))
    assert batch.schema.types == [pa.dictionary(pa.int32(), pa.string())] * 2


def test_batches_hold_no_more_rows_than_asked(tmp_path: Path) -> None:
    n = 1000
    points = Points({"n": Column.of_numbers(np.arange(n))})
    write_part(tmp_path / "p", "key", points, {"x": np.arange(n) * 1.0})
    batches = [batch for _, batch in part_batches(tmp_path / "p", ["x"], 64)]
    assert max(batch.num_rows for batch in batches) <= 64
    assert [row["x"] for batch in batches for row in batch.to_pylist()] == list(range(n))


def test_the_key_is_of_points_and_evaluator() -> None:
    same = Points({name: POINTS.columns[name] for name in reversed(POINTS.columns)})
    assert part_key(POINTS, "one") == part_key(same, "one")
    assert part_key(POINTS, "one") != part_key(POINTS, "two")
    assert part_key(POINTS, "one") != part_key(POINTS.take(slice(2)), "one")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"x": np.zeros(2)}, "'x' has not one value for each of 3 points"),
        ({"x": np.zeros((3, 2))}, "'x' is of float64"),
        ({"x": np.array(["a", "b", "c"])}, "'x' is of <U1"),
        ({"batch": np.zeros(3)}, "'batch' is called like an axis"),
    ],
)
def test_tables_that_do_not_go_with_the_points(tmp_path: Path, found: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        write_part(tmp_path / "p", "key", POINTS, found)
    assert list(tmp_path.iterdir()) == []


def test_no_damage_goes_unseen(part: Path) -> None:
    """Whatever bit is flipped, whatever is cut off or put at the end."""
    whole, chance = part.read_bytes(), random.Random(3)
    places = {*range(0, len(whole), 11), *range(len(whole) - 50, len(whole))}
    broken = [whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :] for at in places]
    lengths = {0, 1, 4, 8, 12, 44, len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(50))}
    broken += [whole[:length] for length in lengths] + [whole + b"PAR1", whole[:-8] + b"\xff\xff\xff\xffPAR1"]
    for data in broken:
        part.write_bytes(data)
        with pytest.raises(Damaged):
            check_part(part, "key")
    part.write_bytes(whole)
    assert check_part(part, "key").rows == 3


def test_parts_are_parquet_to_others(part: Path) -> None:
    import pyarrow.parquet as pq

    assert pq.read_table(part).to_pylist() == rows_of(part)
    duckdb = pytest.importorskip("duckdb", reason="the extra [sql] is not installed")
    with duckdb.connect() as connection:
        assert connection.execute(f"select sum(batch), max(tpot_s) from '{part}'").fetchall() == [(4, 0.25)]


def test_a_part_under_the_name_of_another(part: Path) -> None:
    with pytest.raises(Damaged, match="another part"):
        check_part(part, "other")


def test_a_parquet_file_of_others_is_no_part(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": [1]}), tmp_path / "p")
    with pytest.raises(Damaged):
        check_part(tmp_path / "p", "key")


def test_what_is_set_aside_is_kept(part: Path) -> None:
    names = []
    for text in ("one", "two", "three"):
        part.write_text(text)
        aside = set_aside(part)
        assert aside is not None
        assert aside.read_text() == text
        names.append(aside.name)
    assert names == ["part.parquet.damaged", "part.parquet.1.damaged", "part.parquet.2.damaged"]
    assert not part.exists()
