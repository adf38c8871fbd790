"""How far a calibration is, on standard error."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

_QUIET_S: Final = 10.0
"""Where standard error is no terminal, progress is a line as often as this [s]."""


class CalibrationProgress:
    """A bar where standard error is a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        self._plain = not console.is_terminal
        self._told = time.monotonic()
        self._bar: Any = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(), console=console, transient=True, disable=self._plain,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> CalibrationProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, name: str, done: int, of: int) -> None:
        """Say that ``done`` of ``of`` cases are done and that ``name`` comes now."""
        self._bar.update(self._task, description=f"{name[:48]:48}", completed=done, total=max(of, 1))
        now = time.monotonic()
        if self._plain and name and now - self._told >= _QUIET_S:
            self._told = now
            sys.stderr.write(f"silicost: {name}: {done} of {of}\n")
