"""The record of accuracy: what counts as worse, what explains it, and that this checkout is in order."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PLACE = importlib.util.spec_from_file_location("accuracy", ROOT / "benchmarks" / "accuracy.py")
assert PLACE
assert PLACE.loader
accuracy: Any = importlib.util.module_from_spec(PLACE)
PLACE.loader.exec_module(accuracy)

GEMM, TTFT = ("ops", "gpu", "gemm"), ("inference", "cpu", "ttft_s")
FIGURES = {
    "n": 40,
    "skipped": 2,
    "mape": 0.1,
    "median_ape": 0.08,
    "bias": 1.0,
    "coverage_80": 0.8,
    "interval_score": 1.5,
}
needs_git = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


def groups(**changes: Any) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {GEMM: FIGURES | changes, TTFT: FIGURES}


def test_no_group_got_worse() -> None:
    found = accuracy.failures(ROOT, accuracy.predicted_now())
    assert not found, "\n".join([*found, accuracy.ADVICE])


def test_the_record_comes_back_as_it_was() -> None:
    text = accuracy.text_of(groups(mape=None, coverage_80=None))
    assert accuracy.groups_in(text) == groups(mape=None, coverage_80=None)
    assert text.count("\n") == 4
    assert accuracy.text_of(accuracy.groups_in(text)) == text


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {}, ""),
        ({}, {"mape": 0.1 + 1e-6, "coverage_80": 0.8 - 1e-6}, ""),
        ({}, {"mape": 0.109}, ""),
        ({}, {"mape": 0.112}, "mean error 11.2%, was 10.0%"),
        ({"mape": 0.5}, {"mape": 0.525}, "mean error 52.5%, was 50.0%"),
        ({"mape": 0.01}, {"mape": 0.014}, ""),
        ({"mape": 0.01}, {"mape": 0.016}, "mean error"),
        ({}, {"mape": 0.02}, ""),
        ({}, {"coverage_80": 0.76}, ""),
        ({}, {"coverage_80": 0.725}, "80% intervals hold 72.5%, held 80.0%"),
        ({"n": 8}, {"n": 8, "coverage_80": 0.675}, ""),
        ({}, {"skipped": 3}, "3 rows are skipped, were 2"),
        ({}, {"n": 39}, "has 41 rows, had 42"),
        ({}, {"n": 41}, ""),
        ({}, {"n": 0, "skipped": 42, "mape": None, "coverage_80": None}, "42 rows are skipped"),
    ],
)
def test_what_is_worse(before: dict[str, Any], after: dict[str, Any], said: str) -> None:
    lines = accuracy.worse(groups(**before), groups(**after))
    assert len(lines) == bool(said)
    assert all(line.startswith("ops gpu gemm: ") and said in line for line in lines)


def test_a_group_that_is_gone_is_worse_and_a_new_one_must_be_recorded(tmp_path: Path) -> None:
    assert accuracy.worse(groups(), {GEMM: FIGURES}) == ["inference cpu ttft_s: is gone"]
    assert accuracy.worse({GEMM: FIGURES}, groups()) == []
    (tmp_path / "benchmarks").mkdir()
    assert accuracy.failures(tmp_path, groups()) == ["benchmarks/accuracy.json is not there"]
    (tmp_path / accuracy.RECORD).write_text(accuracy.text_of({GEMM: FIGURES}))
    (line,) = accuracy.failures(tmp_path, groups())
    assert line.startswith("inference cpu ttft_s: not recorded")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository whose record and changelog are committed."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / accuracy.RECORD).write_text(accuracy.text_of(groups()))
    (tmp_path / accuracy.CHANGELOG).write_text("# Changelog\n\n- The accuracy of kernels is checked.\n")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    return tmp_path


def git(root: Path, *arguments: str) -> None:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True, env=plain)


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-qm", "Change", "--allow-empty")


def record(root: Path, **changes: Any) -> None:
    (root / accuracy.RECORD).write_text(accuracy.text_of(groups(**changes)))


def log(root: Path, line: str) -> None:
    with (root / accuracy.CHANGELOG).open("a") as file:
        file.write(f"{line}\n")


@needs_git
def test_predictions_worse_than_the_record_fail(checkout: Path) -> None:
    assert accuracy.failures(checkout, groups()) == []
    (line,) = accuracy.failures(checkout, groups(mape=0.2))
    assert line == "ops gpu gemm: mean error 20.0%, was 10.0% (predicted now, against benchmarks/accuracy.json)"
    log(checkout, "- Accuracy of products is traded for speed.")
    assert len(accuracy.failures(checkout, groups(mape=0.2))) == 1


@needs_git
@pytest.mark.parametrize("committed", [False, True])
def test_a_worse_record_must_say_why_in_the_same_change(checkout: Path, committed: bool) -> None:
    worse = groups(mape=0.2)
    record(checkout, mape=0.2)
    if committed:
        commit(checkout)
    (line,) = accuracy.failures(checkout, worse)
    assert ("the last commit" if committed else "not committed yet") in line
    assert "CHANGELOG.md does not say why" in line


@needs_git
@pytest.mark.parametrize("committed", [False, True])
def test_a_worse_record_that_says_why_is_in_order(checkout: Path, committed: bool) -> None:
    record(checkout, mape=0.2)
    log(checkout, "- Faster products.")
    if not committed:
        assert len(accuracy.failures(checkout, groups(mape=0.2))) == 1
    log(checkout, "- Accuracy of products is traded for speed.")
    if committed:
        commit(checkout)
    assert accuracy.failures(checkout, groups(mape=0.2)) == []


@needs_git
def test_a_reason_in_another_commit_is_none(checkout: Path) -> None:
    log(checkout, "- Accuracy of products is traded for speed.")
    commit(checkout)
    record(checkout, mape=0.2)
    assert len(accuracy.failures(checkout, groups(mape=0.2))) == 1
    commit(checkout)
    assert len(accuracy.failures(checkout, groups(mape=0.2))) == 1


@needs_git
def test_a_better_record_needs_no_reason(checkout: Path) -> None:
    record(checkout, mape=0.05, coverage_80=0.9, skipped=0, n=42)
    assert accuracy.failures(checkout, groups(mape=0.05, coverage_80=0.9, skipped=0, n=42)) == []


def test_without_git_the_record_alone_is_compared(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    record(tmp_path)
    assert accuracy.failures(tmp_path, groups()) == []
    assert len(accuracy.failures(tmp_path, groups(skipped=5))) == 1


@pytest.mark.parametrize(
    ("diff", "why"),
    [
        ("+- Accuracy: fits anew", True),
        ("-- accuracy", False),
        (" accuracy", False),
        ("+++ b/accuracy", False),
        (None, False),
    ],
)  # fmt: skip
def test_the_word_must_be_in_an_added_line(diff: str | None, why: bool) -> None:
    assert accuracy.says_why(diff) == why
