"""``silicost study``: what is on the disk is listed, shown, compared and exported."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from silicost import cli
from silicost.commands import study as commands
from simulator.explore.executors import InProcess, run_parts
from simulator.explore.manifest import Definition, read_manifest
from simulator.explore.parts import part_key, part_path, write_part
from simulator.explore.points import Column, Points
from simulator.explore.samplers import Grid
from simulator.explore.space import Axis, Space
from simulator.explore.store import open_store
from simulator.explore.work import Work

Run = Callable[..., Any]


@dataclass(frozen=True)
class Evaluator:
    """Time is batch / speed; one device does not fit batches of 64."""

    speed: float
    fingerprint: str = "one"

    def __call__(self, points: Points) -> dict[str, NDArray[Any] | Column]:
        rows = [points.row(number) for number in range(len(points))]
        fits = np.array([row["device"] != "h100" or row["batch"] != 64 for row in rows])
        time_s = np.array([float(row["batch"]) / self.speed for row in rows])
        return {
            "time_s": np.where(fits, time_s, np.nan), "fits": fits, "feasible": fits,
            "reason": Column((~fits).astype(np.int32), ("", "memory")),
        }  # fmt: skip


def write(folder: Path, devices: tuple[str, ...] = ("h100", "tpu"), speed: float = 2.0, stop: int = 0) -> None:
    """A study of devices and batches 1, 8, 64, with a part for each device."""
    space = Space((Axis(("device",), tuple((each,) for each in devices)), Axis(("batch",), ((1,), (8,), (64,)))))
    evaluator = Evaluator(speed, f"speed {speed}")
    definition = Definition(
        "Which device?", "[axes]", space.names, repr(devices), "grid", evaluator.fingerprint, space.size, 3, 5,
        facts={"laws": "abc", "calibrations": ("mine", "yours")},
    )  # fmt: skip

    def tell(progress: Any) -> None:
        if stop and progress.parts_done == stop:
            raise KeyboardInterrupt

    with open_store(folder, definition) as writer:
        run_parts(writer, InProcess(), Work(Grid(space), evaluator), progress=tell)


@pytest.fixture
def run(silicost: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command in a folder that has two studies, one of which was stopped."""
    if all(group.name != "study" for group in cli.app.registered_groups):
        monkeypatch.setattr(cli.app, "registered_groups", list(cli.app.registered_groups))
        cli.app.add_typer(commands.app, name="study")
    monkeypatch.chdir(tmp_path)
    write(Path("runs/one"))
    with pytest.raises(KeyboardInterrupt):
        write(Path("runs/deep/two"), ("h100", "tpu", "fpga"), 4.0, stop=2)
    return silicost


def test_ls(run: Run) -> None:
    rows = run("study ls --format json").json
    assert [(row["folder"], row["title"], row["state"], row["rows"]) for row in rows] == [
        ("runs/deep/two", "Which device?", "6 of 9 points", 6), ("runs/one", "Which device?", "complete", 6),
    ]  # fmt: skip
    assert "complete" in run("study ls").out
    assert run("study ls runs/one --format csv").out.count("\n") == 2


def test_ls_says_what_cannot_be_read(run: Run) -> None:
    Path("runs/one/study.json").write_text("{}")
    (other, broken) = run("study ls --format json").json
    assert other["state"] == "6 of 9 points"
    assert "is no manifest of a study" in broken["state"]


def test_ls_of_nothing(run: Run, refused: Run) -> None:
    Path("empty").mkdir()
    ran = run("study ls empty")
    assert (ran.status, ran.out.strip(), ran.err) == (0, "", "silicost: no study in empty\n")
    assert "there is no such folder" in refused("study ls nowhere")


def test_show(run: Run) -> None:
    whole = run("study show runs/one --format json").json
    assert (whole["title"], whole["state"], whole["rows"], whole["seed"]) == ("Which device?", "complete", 6, 5)
    assert (whole["laws"], whole["calibrations"]) == ("abc", ["mine", "yours"])
    assert {"python version", "numpy version", "numba version", "pyarrow version", "silicost version"} <= set(whole)
    columns = {row["column"]: row for row in whole["columns"]}
    assert columns["batch"] == {
        "column": "batch", "of": "axis", "kind": "int", "unit": "", "values": 3, "least": 1, "greatest": 64,
        "unknown": 0,
    }  # fmt: skip
    assert (columns["time_s"]["least"], columns["time_s"]["greatest"], columns["time_s"]["unknown"]) == (0.5, 32.0, 1)
    assert columns["reason"]["values"] == 2
    table = run("study show runs/one").out
    assert "Which device?" in table
    assert "mine, yours" in table
    assert [row["column"] for row in csv.DictReader(io.StringIO(run("study show runs/one --format csv").out))] == list(
        columns
    )


def test_show_counts_parts_that_are_not_in_use(run: Run) -> None:
    write(Path("runs/one"), speed=8.0)
    part = part_path(Path("runs/one"), read_manifest(Path("runs/one")).parts[0].key)
    part.write_bytes(b"")
    write(Path("runs/one"), speed=8.0)
    whole = run("study show runs/one --format json").json
    assert (whole["parts"], whole["parts of other runs"], whole["damaged parts"]) == (2, 2, 1)


def test_show_the_answer_to_a_query(run: Run) -> None:
    pytest.importorskip("duckdb", reason="the extra [sql] is not installed")
    query = "select device, min(time_s) as least from study where feasible group by device order by device"
    assert run("study show runs/one --format json --sql", query).json == [
        {"device": "h100", "least": 0.5}, {"device": "tpu", "least": 0.5},
    ]  # fmt: skip


def test_diff(run: Run) -> None:
    found = run("study diff runs/one runs/deep/two --format json").json
    assert (found["rows"], found["shared"], found["only_first"], found["only_second"]) == ([6, 6], 6, 0, 0)
    assert {"space", "evaluator", "points"} == {fact["name"] for fact in found["facts"]}
    columns = {row["column"]: row for row in found["columns"]}
    assert (columns["time_s"]["changed"], columns["time_s"]["farthest_ratio"]) == (5, 0.5)
    assert columns["time_s"]["median_ratio"] == 0.5
    assert columns["time_s"]["at"] == {"device": "h100", "batch": 1}
    assert [columns[name]["changed"] for name in ("fits", "feasible", "reason")] == [0, 0, 0]
    table = run("study diff runs/one runs/deep/two").out
    assert "6 points in both, 0 in the first alone, 0 in the second alone" in table
    assert "device=h100 batch=1" in table


def test_diff_of_studies_that_share_some_points(run: Run) -> None:
    write(Path("runs/three"), ("fpga", "tpu"), 2.0)
    found = run("study diff runs/one runs/three --format json").json
    assert (found["shared"], found["only_first"], found["only_second"]) == (3, 3, 3)
    assert all(row["changed"] == 0 for row in found["columns"])
    assert "no difference in any column" in run("study diff runs/one runs/three").out


def test_diff_of_a_study_with_itself(run: Run) -> None:
    ran = run("study diff runs/one runs/one")
    assert ran.out == (
        "6 points in both, 0 in the first alone, 0 in the second alone\nno difference in any column of them\n"
    )


def test_what_is_known_in_one_study_alone(run: Run) -> None:
    class Fits(Evaluator):
        def __call__(self, points: Points) -> dict[str, NDArray[Any] | Column]:
            ones = np.ones(len(points))
            return {"time_s": ones, "fits": ones == 1.0, "reason": Column(np.zeros(len(points), np.int32), ("",))}

    space = Space((Axis(("batch",), ((64,), (1,))), Axis(("device",), (("h100",),))))
    definition = Definition("Other", "", space.names, "", "", "fits", 2, 1)
    with open_store(Path("runs/fits"), definition) as writer:
        run_parts(writer, InProcess(), Work(Grid(space), Fits(1.0, "fits")))
    found = run("study diff runs/one runs/fits --format json").json
    columns = {row["column"]: row for row in found["columns"]}
    assert found["shared"] == 2
    assert list(columns) == ["time_s", "fits", "reason"]
    assert (columns["time_s"]["changed"], columns["time_s"]["known_once"]) == (2, 1)
    assert columns["time_s"]["at"] == {"device": "h100", "batch": 1}
    assert columns["time_s"]["farthest_ratio"] == 2.0
    assert (columns["fits"]["changed"], columns["fits"]["at"]) == (1, {"device": "h100", "batch": 64})
    assert columns["reason"]["changed"] == 1


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "arrow"])
def test_export(run: Run, ending: str) -> None:
    ran = run(f"study export runs/one --out out/all.{ending}")
    assert (ran.status, ran.out, ran.err) == (0, "", f"silicost: 6 rows in out/all.{ending}\n")
    place = Path(f"out/all.{ending}")
    if ending == "csv":
        rows: list[dict[str, Any]] = [
            {name: text or None for name, text in row.items()} for row in csv.DictReader(io.StringIO(place.read_text()))
        ]
    elif ending == "jsonl":
        rows = [json.loads(line) for line in place.read_text().splitlines()]
    elif ending == "parquet":
        rows = pq.read_table(place).to_pylist()
    else:
        import pyarrow as pa

        rows = pa.ipc.open_file(str(place)).read_all().to_pylist()
    assert [row["device"] for row in rows] == ["h100"] * 3 + ["tpu"] * 3
    assert [None if row["time_s"] is None else float(row["time_s"]) for row in rows] == [0.5, 4.0, None, 0.5, 4.0, 32.0]
    assert [path.name for path in Path("out").iterdir()] == [place.name]


def test_export_to_standard_output(run: Run) -> None:
    assert run("study export runs/one --columns batch,device,time_s").out.splitlines()[:4] == [
        '"batch","device","time_s"', '1,"h100",0.5', '8,"h100",4', '64,"h100",',
    ]  # fmt: skip


def test_export_of_a_query(run: Run) -> None:
    pytest.importorskip("duckdb", reason="the extra [sql] is not installed")
    ran = run(
        "study export runs/one --out best.csv --sql", "select device, count(*) as n from study where fits group by 1"
    )
    assert ran.status == 0
    assert sorted(Path("best.csv").read_text().splitlines()[1:]) == ['"h100",2', '"tpu",3']


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("study show nowhere", "nowhere: holds no study"),
        ("study show runs", "runs: holds no study"),
        ("study export runs/one --columns time", "unknown column 'time'; did you mean 'time_s'"),
        ("study export runs/one --out all.xlsx", "unknown ending '.xlsx'"),
        ("study export runs/one --out all.cvs", "did you mean '.csv'"),
        ("study export runs/one --columns a --sql b", "leave one of them out"),
        ("study export runs/one --out runs/one/study.json/x.csv", "study.json: is a file, not a folder"),
        ("study diff runs/one", "Missing argument 'SECOND'"),
        ("study diff runs/one nowhere", "nowhere: holds no study"),
    ],
)
def test_bad_input(run: Run, refused: Run, command: str, words: str) -> None:
    assert words in refused(command)


def test_other_axes_cannot_be_compared(run: Run, refused: Run) -> None:
    space = Space((Axis(("model",), (("a",),)),))
    with open_store(Path("runs/other"), Definition("Other", "", ("model",), "", "", "x", 1, 1)) as writer:
        points = space.points(0, 1)
        key = part_key(points, "x")
        writer.commit(0, 1, write_part(part_path(Path("runs/other"), key), key, points, {"y": np.ones(1)}))
    assert "runs/one is over batch, device, runs/other over model" in refused("study diff runs/one runs/other")


def test_a_damaged_part(run: Run, refused: Run) -> None:
    part = part_path(Path("runs/one"), read_manifest(Path("runs/one")).parts[0].key)
    part.write_bytes(part.read_bytes()[:-9])
    for command in ("study show runs/one", "study diff runs/one runs/deep/two", "study export runs/one --out x.csv"):
        assert "run the study again, which computes just this part" in refused(command)
    assert not Path("x.csv").exists()
