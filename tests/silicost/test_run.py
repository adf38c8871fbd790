"""``silicost run``: files and shipped scenarios, printed and written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from silicost.scenario_file import shipped_scenarios

Run = Callable[..., Any]


def test_list_names_every_scenario(silicost: Run) -> None:
    rows = silicost("run list --format json").json
    assert [row["id"] for row in rows] == list(shipped_scenarios())
    assert all(row["title"] and row["description"] for row in rows)


def test_out_holds_what_is_printed(silicost: Run, tmp_path: Path) -> None:
    ran = silicost("run two-devices --format json", "--out", str(tmp_path / "deep" / "folder"))
    assert ran.status == 0, ran.err
    folder = tmp_path / "deep" / "folder"
    assert {path.name for path in folder.iterdir()} == {"result.json", "report.html", "report.page.json"}
    assert json.loads((folder / "result.json").read_text()) == ran.json
    page = (folder / "report.html").read_text()
    assert ran.json["title"] in page
    beside_scripts = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert "http://" not in beside_scripts.replace("http://www.w3.org", "")


def test_a_second_run_replaces_the_first(silicost: Run, tmp_path: Path) -> None:
    for _ in range(2):
        assert silicost("run two-devices", "--out", str(tmp_path)).status == 0
    assert {path.name for path in tmp_path.iterdir()} == {"result.json", "report.html", "report.page.json"}


def test_metrics_of_each_kind(silicost: Run) -> None:
    dataflow = silicost("run mnist-tpu-slice --format json").json
    assert {"makespan_s", "step_time_s", "samples_per_s"} <= dataflow.keys()
    lifecycle = silicost("run gpt-train-gpu-infer-tpu --format json").json
    assert {"step_time_s", "ttft_s", "handover_s", "makespan_s"} <= lifecycle.keys()
    assert {pool["device"] for pool in lifecycle["pools"]} == {"h100-sxm-80gb", "tpu-v5e"}


def test_what_cannot_be_written_whole_leaves_the_old(silicost: Run, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "result.json").write_text("old")
    (tmp_path / "report.html").mkdir()
    ran = silicost("run two-devices", "--out", str(tmp_path))
    assert ran.status == 2
    assert "report.html: cannot be written (Is a directory)" in ran.err
    assert (tmp_path / "result.json").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2

    def broken(*_: object) -> str:
        raise RuntimeError("a figure cannot be drawn")

    (tmp_path / "report.html").rmdir()
    monkeypatch.setattr("reports.page.render_report", broken)
    with pytest.raises(RuntimeError, match="cannot be drawn"):
        silicost("run two-devices", "--out", str(tmp_path))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("result.json", "old")]


def test_counts_are_shown_pool_by_pool(silicost: Run) -> None:
    out = silicost("run gpt-train-gpu-infer-tpu").out
    assert [line.split()[1:] for line in out.splitlines() if line.startswith("count ")] == [["8", "+", "8"]]
