"""Reading a study: by batches, as a frame, with SQL."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from toy_study import Toy

from hardware_specs.errors import InputError, UnknownName
from simulator.explore.executors import InProcess, run_parts
from simulator.explore.parts import part_key, part_path, write_part
from simulator.explore.points import Column, Points
from simulator.explore.reading import Study, open_study
from simulator.explore.store import open_store

QUERY = "select model, count(*) as n, min(time_s) as least from study where feasible group by model order by model"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    toy = Toy()
    with open_store(tmp_path / "study", toy.definition()) as writer:
        run_parts(writer, InProcess(), toy.work)
    return open_study(tmp_path / "study")


@pytest.fixture
def mixed(tmp_path: Path) -> Study:
    """A study whose parts differ in what an axis holds and in their metrics."""
    definition = msgspec.structs.replace(Toy().definition(points=4), axes=("x",), part_points=2)
    parts = (
        (Points({"x": Column.of_values([1, 2])}), {"a": np.array([1.0, 2.0])}),
        (Points({"x": Column.of_values(["1x", "2x"])}), {"b": np.array([3.0, 4.0])}),
    )
    with open_store(tmp_path / "mixed", definition) as writer:
        for number, (points, found) in enumerate(parts):
            key = part_key(points, "toy")
            written = write_part(part_path(tmp_path / "mixed", key), key, points, found)
            writer.commit(2 * number, 2 * number + 2, written)
    return open_study(tmp_path / "mixed")


def test_batches_in_order_and_no_larger_than_asked(study: Study) -> None:
    batches = list(study.batches(["step", "model"], rows=32))
    assert max(batch.num_rows for batch in batches) <= 32
    assert batches[0].schema.names == ["step", "model"]
    assert [row["step"] for batch in batches for row in batch.to_pylist()] == [*range(100)] * 4


def test_an_unknown_column(study: Study) -> None:
    with pytest.raises(UnknownName, match="unknown column 'tim_s'; did you mean 'time_s'"):
        study.to_pandas(["tim_s"])


def test_parts_that_differ(mixed: Study) -> None:
    assert mixed.to_arrow().to_pydict() == {
        "x": ["1", "2", "1x", "2x"], "a": [1.0, 2.0, None, None], "b": [None, None, 3.0, 4.0],
    }  # fmt: skip
    assert mixed.to_arrow(["b"]).to_pydict() == {"b": [None, None, 3.0, 4.0]}
    frame = mixed.to_pandas()
    assert frame["x"].tolist() == ["1", "2", "1x", "2x"]
    assert np.isnan(frame["a"]).tolist() == [False, False, True, True]


def test_an_empty_study(tmp_path: Path) -> None:
    with open_store(tmp_path / "study", Toy().definition()):
        pass
    assert open_study(tmp_path / "study").to_pandas().shape == (0, 0)


def test_sql(study: Study) -> None:
    pytest.importorskip("duckdb", reason="the extra [sql] is not installed")
    assert study.sql(QUERY).to_pylist() == [
        {"model": model, "n": 90, "least": 1.0 + number} for number, model in enumerate("abcd")
    ]
    assert study.sql("select step from study").to_pydict()["step"] == [*range(100)] * 4
    with pytest.raises(InputError, match=r"points.*the table of the rows is called 'study'$"):
        study.sql("select * from points")


def test_sql_over_parts_that_differ(mixed: Study) -> None:
    pytest.importorskip("duckdb", reason="the extra [sql] is not installed")
    assert mixed.sql("select max(x) as x, sum(a) as a, sum(b) as b from study").to_pylist() == [
        {"x": "2x", "a": 3.0, "b": 7.0}
    ]


@pytest.mark.parametrize(
    "query",
    ["select nothing from study", "select", "select * from read_csv('/etc/passwd')", "copy study to '/tmp/x.csv'",
     "install httpfs", ""],
)  # fmt: skip
def test_queries_that_are_refused(study: Study, query: str) -> None:
    pytest.importorskip("duckdb", reason="the extra [sql] is not installed")
    with pytest.raises(InputError, match=r"^sql: "):
        study.sql(query)


def test_sql_sees_no_variables_of_ours(study: Study) -> None:
    pytest.importorskip("duckdb", reason="the extra [sql] is not installed")
    secret = study.to_pandas()
    assert len(secret) == 400
    with pytest.raises(InputError, match="secret"):
        study.sql("select * from secret")


def test_sql_of_a_damaged_part(study: Study) -> None:
    pytest.importorskip("duckdb", reason="the extra [sql] is not installed")
    part = part_path(study.folder, study.manifest.parts[0].key)
    part.write_bytes(part.read_bytes()[:-30])
    with pytest.raises(InputError, match="damaged"):
        study.sql(QUERY)


def test_no_damage_goes_unread(study: Study) -> None:
    part = part_path(study.folder, study.manifest.parts[0].key)
    whole = part.read_bytes()
    for place in range(4, len(whole) - 8, len(whole) // 40):
        part.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(InputError, match="damaged"):
            list(open_study(study.folder).batches(["step"]))
    part.write_bytes(whole)
    assert len(open_study(study.folder).to_pandas()) == 400


def test_sql_without_duckdb(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(InputError, match=r"needs DuckDB .*pip install 'silicost\[sql\]'"):
        study.sql(QUERY)


def test_a_folder_without_a_study(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="holds no study"):
            open_study(place)
