"""The comparison of two calibrations of one machine; the measuring itself is not run."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PLACE = importlib.util.spec_from_file_location("calibrate_twice", ROOT / "benchmarks" / "calibrate_twice.py")
assert PLACE
assert PLACE.loader
twice: Any = importlib.util.module_from_spec(PLACE)
PLACE.loader.exec_module(twice)
MakeFile = Callable[..., Path]


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["calibrate_twice.py", *arguments])
    twice.main()
    return capsys.readouterr().out


def test_two_files(
    calibration_file: MakeFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = calibration_file("1.toml"), calibration_file("2.toml", scale=0.5)
    same = json.loads(run(monkeypatch, capsys, "--files", str(one), str(one), "--format", "json"))
    found = same["figures"]
    assert found["parameters with intervals in both"] == found["of these agree within 95%"] > 20
    assert found["largest difference [sd]"] == 0.0
    assert found["distance of that ratio from 1, largest"] == pytest.approx(0.0, abs=1e-12)
    other = json.loads(run(monkeypatch, capsys, "--files", str(one), str(two), "--format", "json"))["figures"]
    assert other["of these agree within 95%"] < 0.5 * other["parameters with intervals in both"]
    assert other["distance of that ratio from 1, largest"] > 0.2
    table = run(monkeypatch, capsys, "--files", str(one), str(two))
    assert "second over first" in table
    assert "parameters agree within their 95% intervals" in table


def test_each_run_is_a_fresh_process_into_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = twice.command_for(tmp_path / "one.toml", "90s", True)
    assert command[1:5] == ["-m", "silicost", "calibrate", "cpu"]
    assert command[command.index("--out") + 1] == str(tmp_path / "one.toml")
    assert command[command.index("--samples") + 1] == str(tmp_path / "one.parquet")
    assert {"--fresh", "--quick", "--budget", "90s"} <= set(command)
    ran: list[list[str]] = []

    class Failed:
        returncode, stderr = 2, "silicost: no torch"

    monkeypatch.setattr(twice.subprocess, "run", lambda command, **_: ran.append(command) or Failed())
    with pytest.raises(SystemExit, match="no torch"):
        twice.calibrated(tmp_path / "one.toml", "", False)
    assert "--budget" not in ran[0]
