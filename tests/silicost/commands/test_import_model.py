"""``silicost import``: what it prints, what it writes, and that what it writes runs."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from silicost.scenario_file import load_scenario
from simulator.simulate import simulate


def tensor(*sizes: int) -> dict[str, Any]:
    return {"dtype": 13, "sizes": [{"as_int": size} for size in sizes]}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """softmax(x w), written as the schema of torch has it: no torch is needed."""
    nodes = [
        ("linear", "torch.ops.aten.linear.default", {"input": "x", "weight": "w"}, "h"),
        ("softmax", "torch.ops.aten.softmax.int", {"self": "h"}, "y"),
    ]
    rows = [
        {
            "name": name, "target": target, "metadata": {}, "outputs": [{"as_tensor": {"name": out}}],
            "inputs": [{"name": key, "arg": {"as_tensor": {"name": value}}} for key, value in inputs.items()],
        }
        for name, target, inputs, out in nodes
    ]  # fmt: skip
    signature = {
        "input_specs": [
            {"parameter": {"arg": {"name": "w"}, "parameter_name": "classes.weight"}},
            {"user_input": {"arg": {"as_tensor": {"name": "x"}}}},
        ]
    }
    values = {"x": tensor(32, 1024), "w": tensor(512, 1024), "h": tensor(32, 512), "y": tensor(32, 512)}
    graph = {"inputs": [], "outputs": [{"as_tensor": {"name": "y"}}], "nodes": rows, "tensor_values": values}
    path = tmp_path / "classes.pt2"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("c/models/model.json", json.dumps({"graph_module": {"graph": graph, "signature": signature}}))
    return path


def test_table(silicost: Any, program: Path) -> None:
    ran = silicost(f"import {program}")
    assert ran.status == 0
    assert "graph of operators" in ran.out and "it has no attention" in ran.out
    assert "m=32 n=512 k=1024" in ran.out and "100% of matrix FLOPs" in ran.out


def test_json_and_csv(silicost: Any, program: Path) -> None:
    found = silicost(f"import {program} --format json").json
    assert found["totals"]["operator_flops"] == 2.0 * 32 * 512 * 1024
    assert [o["kind"] for o in found["operators"]] == ["gemm", "softmax"]
    rows = list(csv.DictReader(io.StringIO(silicost(f"import {program} --format csv").out)))
    assert [(row["operator"], row["outcome"]) for row in rows] == [
        ("aten.linear.default", "mapped"), ("aten.softmax.int", "mapped"),
    ]  # fmt: skip


def test_what_is_written_runs(silicost: Any, program: Path, tmp_path: Path) -> None:
    ran = silicost(f"import {program} --device tpu-v5e --out {tmp_path / 'out'}")
    assert ran.status == 0 and "wrote" in ran.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"scenario.toml", "report.json"}
    result = simulate(load_scenario(str(tmp_path / "out" / "scenario.toml"))[0])
    assert result.memory.weights == 512 * 1024 * 2
    assert silicost(f"run {tmp_path / 'out' / 'scenario.toml'} --format json").json["step_time_s"] > 0.0


def test_one_file(silicost: Any, program: Path, tmp_path: Path) -> None:
    assert silicost(f"import {program} --out {tmp_path / 'mine.toml'}").status == 0
    assert "classes" in (tmp_path / "mine.toml").read_text()
    assert not (tmp_path / "report.json").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--as tree", "unknown form 'tree'"), ("--batch 0", "--batch 0: must be"), ("--dim x", "must be NAME=N"),
        ("--dim x=3", "has no such symbolic dimension"), ("--device h1000", "unknown device 'h1000'"),
        ("--as architecture", "is no transformer that is known: it has no attention"), ("--seq x", "no whole number"),
    ],
)  # fmt: skip
def test_refused(silicost: Any, program: Path, more: str, words: str) -> None:
    ran = silicost(f"import {program} {more}")
    assert (ran.status, ran.out) == (2, "")
    assert words in ran.err and len(ran.err.splitlines()) == 1


def test_other_files_are_refused(silicost: Any, tmp_path: Path) -> None:
    assert "must end in .onnx or .pt2" in silicost("import model.bin").err
    (tmp_path / "a.pt2").write_bytes(b"PK")
    ran = silicost(f"import {tmp_path / 'a.pt2'}")
    assert ran.status == 2 and "not a whole zip archive" in ran.err
