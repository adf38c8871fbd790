"""Progress of a study: a line now and then where nobody watches, a bar on a terminal."""

from __future__ import annotations

import io
import sys

import pytest

from silicost.studies import progress as study_progress
from silicost.studies.progress import StudyProgress, words
from simulator.explore.progress import Progress

HALF = Progress(
    parts=10, points=1000, parts_kept=1, points_kept=100, parts_made=4, points_made=400, rows=480, seconds=2.0
)
FIVE = "500 of 1,000 points in 5 of 10 parts, 100 were there"
DONE = HALF._replace(parts_made=9, points_made=900, seconds=4.5)


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        (Progress(parts=10, points=1000), "0 of 1,000 points in 0 of 10 parts"),
        (HALF, f"{FIVE}, 200 points/s, 2 s left"),
        (HALF._replace(seconds=200.0), f"{FIVE}, 2 points/s, 4:10 min left"),
        (HALF._replace(seconds=6000.0), f"{FIVE}, 0 points/s, 2:05 h left"),
        (DONE._replace(parts_kept=0, points_kept=0, parts_given_up=1, points_given_up=100),
         "1,000 of 1,000 points in 10 of 10 parts, 1 part given up, 200 points/s"),
    ],
)  # fmt: skip
def test_words(progress: Progress, said: str) -> None:
    assert words(progress) == said


def test_lines_where_nobody_watches(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_progress, "_QUIET_S", 0.0)
    with StudyProgress() as progress:
        progress.tell(HALF)
        progress.tell(DONE)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"silicost: {words(each)}" for each in (HALF, DONE, DONE)]


def test_no_more_lines_than_anybody_reads(capsys: pytest.CaptureFixture[str]) -> None:
    with StudyProgress() as progress:
        for _ in range(100):
            progress.tell(HALF)
    assert capsys.readouterr().err == f"silicost: {words(HALF)}\n"
    with StudyProgress():
        pass
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    with StudyProgress() as progress:
        progress.tell(HALF)
        progress._bar.refresh()
    assert "50%" in terminal.getvalue()
    assert "2 s left" in terminal.getvalue()
