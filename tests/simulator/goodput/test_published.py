"""Reported runs: what is predicted for them stays as close as the documents say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from simulator.goodput.published import Comparison, compare_published

ROWS = {(row.run, row.quantity, row.rates): row for row in compare_published()}


def error(run: str, quantity: str, rates: str) -> float:
    return ROWS[run, quantity, rates].error


def test_effective_training_time_of_llama_3_is_above_its_bound() -> None:
    for rates in ("h100", "a100"):
        row = ROWS["Llama 3 405B", "effective", rates]
        assert row.at_least
        assert 0.90 <= row.predicted <= 0.96


def test_other_effective_times() -> None:
    assert abs(error("ByteRobust", "effective", "h100")) < 0.02
    assert abs(error("ByteRobust", "effective", "a100")) < 0.05
    assert error("MegaScale", "effective", "a100") == 0.0


def test_mean_times_that_kokolis_projects() -> None:
    assert abs(error("RSC-1 projected, 16384", "MTBF [s]", "a100")) < 0.01
    assert abs(error("RSC-1 projected, 131072", "MTBF [s]", "a100")) < 0.03


def test_small_jobs_stop_more_often_than_their_hardware_fails() -> None:
    assert error("RSC-1 measured, 1024", "MTBF [s]", "a100") > 2.0


def test_rates_of_another_cluster_are_within_a_factor_of_four() -> None:
    others = [row for row in ROWS.values() if row.quantity == "interruptions" and not row.same_cluster]
    assert len(others) == 5
    assert all(0.25 < row.predicted / row.reported < 4.0 for row in others)


def test_a_bound_that_is_kept_is_no_error() -> None:
    assert Comparison("run", "effective", 0.9, 0.95, "h100", False, True).error == 0.0
    assert Comparison("run", "effective", 0.9, 0.45, "h100", False, True).error == -0.5


def test_the_example_of_the_document_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "goodput.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(example)
    runpy.run_path(str(script))
    days, goodput = (float(line.split()[0]) for line in capsys.readouterr().out.splitlines())
    assert 600_000 * 6.46 / 86400 < days < 60.0
    assert 0.9 < goodput < 0.96
