"""How far a study is, on standard error."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

from simulator.explore.progress import Progress

_QUIET_S: Final = 10.0
"""Where standard error is no terminal, progress is a line as often as this [s]."""


class StudyProgress:
    """A bar where standard error is a terminal, a line now and then elsewhere, and one at the end."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(stderr=True)
        self._plain = not console.is_terminal
        self._told = time.monotonic()
        self._last: Any = None
        self._bar = Progress(
            TextColumn("points"), BarColumn(), TextColumn("{task.percentage:3.0f}%  {task.description}"),
            console=console, transient=True, disable=self._plain,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> StudyProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        if self._last is not None:
            _say(self._last)

    def tell(self, progress: Progress) -> None:
        """Show how far it is; ``run_parts`` calls it for every part."""
        self._last = progress
        self._bar.update(
            self._task, description=words(progress), completed=progress.points_done, total=max(progress.points, 1)
        )
        now = time.monotonic()
        if self._plain and now - self._told >= _QUIET_S:
            self._told = now
            _say(progress)


def words(progress: Progress) -> str:
    """Points done, what is known of the others, rate and what is left, in one line."""
    said = [f"{progress.points_done:,} of {progress.points:,} points in {progress.parts_done:,} of "
            f"{progress.parts:,} parts"]  # fmt: skip
    if progress.points_kept:
        said.append(f"{progress.points_kept:,} were there")
    if progress.parts_given_up:
        said.append(f"{progress.parts_given_up:,} part{'s' * (progress.parts_given_up > 1)} given up")
    if progress.points_made:
        said.append(f"{progress.points_per_s:,.0f} points/s")
    if progress.points_done < progress.points and progress.eta_s is not None:
        said.append(f"{_clock(progress.eta_s)} left")
    return ", ".join(said)


def _say(progress: Progress) -> None:
    sys.stderr.write(f"silicost: {words(progress)}\n")


def _clock(seconds: float) -> str:
    """A time as people say it: 42 s, 3:05 min, 2:10 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60:,}:{minutes % 60:02} h"
