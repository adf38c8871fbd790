"""Points files of each form and kind; what is wrong with one is said in a line."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hardware_specs.errors import InputError
from simulator.validation.points import Points, kind_of, numbers, read_points, read_published, select

CsvFile = Callable[..., Path]
OPS = [{"op": "gemm", "measured_s": "1e-5", "m": "8", "my note": " a "}, {"op": "add", "measured_s": "", "m": ""}]
RUNS = [{"model": "m", "metric": "ttft_s", "measured": "1", "quality": q, "batch": b} for q, b in ("A8", "B1", "C9")]


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        (["op", "measured_s", "device"], "ops"),
        (["model", "metric", "measured", "engine"], "inference"),
        (["model", "metric", "measured", "global_batch"], "training"),
        (["request_id", "arrival_s", "input_len", "output_len"], "serving"),
        (["id", "layers"], ""),
    ],
)
def test_kind_follows_from_the_columns(columns: list[str], kind: str) -> None:
    assert kind_of(columns) == kind


def test_unknown_columns_stay_and_empty_cells_are_empty_text(csv_file: CsvFile) -> None:
    (found,) = read_points([csv_file(OPS, "lab.v2.csv")])
    assert (found.kind, found.name) == ("ops", "lab.v2")
    assert list(found.table.columns) == ["op", "measured_s", "m", "my note"]
    assert found.text("my note") == ["a", ""]
    assert found.text("no such column") == ["", ""]
    assert found.sources() == ["lab.v2", "lab.v2"]


def test_csv_gzip_and_parquet_say_the_same(csv_file: CsvFile, tmp_path: Path) -> None:
    plain = csv_file(OPS)
    (tmp_path / "table2.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    typed = pd.read_csv(plain)
    typed.to_parquet(tmp_path / "table3.parquet")
    tables = [read_points([tmp_path / name])[0] for name in ("table.csv", "table2.csv.gz", "table3.parquet")]
    for column in ("measured_s", "m"):
        first, *others = (numbers(each.text(column)) for each in tables)
        for other in others:
            np.testing.assert_array_equal(first, other)
    assert {tuple(each.text("op")) for each in tables} == {("gemm", "add")}


@pytest.mark.parametrize("form", [".csv", ".csv.gz", ".parquet"])
def test_a_pipe_says_its_form_by_its_first_bytes(csv_file: CsvFile, tmp_path: Path, form: str) -> None:
    plain, pipe = csv_file(OPS), tmp_path / "fifo"
    typed = pd.read_csv(plain)
    if form == ".parquet":
        typed.to_parquet(tmp_path / "t.parquet")
    data = {
        ".csv": plain.read_bytes,
        ".csv.gz": lambda: gzip.compress(plain.read_bytes()),
        ".parquet": lambda: (tmp_path / "t.parquet").read_bytes(),
    }[form]()
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    (found,) = read_points([pipe])
    writer.join()
    assert (found.kind, found.name, found.text("op")) == ("ops", "pipe", ["gemm", "add"])


def test_published_figures_ship() -> None:
    found = read_published()
    assert {each.kind for each in found} == {"ops", "inference", "training"}
    assert all("" not in each.text("citation") for each in found)
    assert {each.kind for each in read_published("ops")} == {"ops"}
    with pytest.raises(InputError, match="no file with serving points"):
        read_published("serving")


def test_a_folder_gives_its_points_files_and_passes_over_the_rest(csv_file: CsvFile, tmp_path: Path) -> None:
    csv_file(OPS, "a.csv")
    csv_file(RUNS, "b.csv")
    csv_file([{"id": "x", "layers": 1}], "models.csv")
    (tmp_path / "README.md").write_text("words")
    assert [(p.name, p.kind) for p in read_points([tmp_path])] == [("a", "ops"), ("b", "inference")]
    assert [p.name for p in read_points([tmp_path], "ops")] == ["a"]
    with pytest.raises(InputError, match="no file with serving points"):
        read_points([tmp_path], "serving")


def test_serving_runs_are_folders(tmp_path: Path) -> None:
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "requests.csv").write_text(
            "request_id,arrival_s,input_len,output_len,queued_s,first_token_s,last_token_s\nr,0,1,2,0,1,2\n"
        )
        (tmp_path / run / "meta.json").write_text('{"device": "l4", "model": "llama-3.2-1b"}')
    assert [(p.name, p.kind) for p in read_points([tmp_path])] == [("one", "serving"), ("two", "serving")]
    assert [p.name for p in read_points([tmp_path / "one"])] == ["one"]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("t.csv", b"", "cannot be read"),
        ("t.csv", b"op,measured_s\n", "no rows to validate"),
        ("t.csv", b"op,measured_s\ngemm,1,2,3\n", "cannot be read"),
        ("t.csv", b"op,measured_s\n\xff\xfe,1\n", "cannot be read"),
        ("t.csv.gz", b"op,measured_s\n", "cannot be read"),
        ("t.parquet", b"PAR1 no", "cannot be read"),
        ("t.csv", b"op,m,measured_s,m\ngemm,1,2,3\n", "2 columns are called 'm'"),
        ("t.txt", b"op,measured_s\n", "must end in .csv, .csv.gz, .parquet"),
        ("t.csv", b"id,layers\nx,1\n", "columns of no kind of points"),
    ],
)
def test_broken_files_are_refused_in_a_line(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=said) as caught:
        read_points([tmp_path / name])
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_a_file_that_is_not_there_or_of_another_kind_is_refused(csv_file: CsvFile, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        read_points([tmp_path / "nothing.csv"])
    with pytest.raises(InputError, match="no training points: it lacks global_batch; its columns are those of infer"):
        read_points([csv_file(RUNS)], "training")


def selected(points: Points, where: str) -> list[str]:
    return [cell for each in select([points], where) for cell in each.text("quality")]


def test_where_takes_rows_by_value(points: Callable[..., Points]) -> None:
    runs = points("inference", RUNS)
    assert selected(runs, "") == ["A", "B", "C"]
    assert selected(runs, "quality=A|C") == ["A", "C"]
    assert selected(runs, "batch=8.0") == ["A"]
    assert selected(runs, "quality=A|B, batch=1|9") == ["B"]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("quality", "must be COLUMN=VALUE"),
        ("qualty=A", "did you mean 'quality'"),
        ("quality=Z", "no row is left"),
    ],
)
def test_where_that_makes_no_sense_is_refused(points: Callable[..., Points], where: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        select([points("inference", RUNS)], where)
