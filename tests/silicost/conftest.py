"""The command line in this process: arguments in; exit status, stdout and stderr out."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from silicost import cli


class Ran(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]
QUIET = (
    "calibration_progress._QUIET_S",
    "commands.validate.QUIET_S",
    "questions._QUIET_S",
    "studies.progress._QUIET_S",
)
"""How long commands work before they say how far they are: on a slow machine that may be any test."""


@pytest.fixture
def silicost(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``silicost("simulate --model x", "--set", "a = b")``: text is split at spaces, further arguments are whole."""
    monkeypatch.delenv("COLUMNS", raising=False)
    for name in QUIET:
        monkeypatch.setattr(f"silicost.{name}", math.inf)

    def run(command: str, *more: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["silicost", *command.split(), *more])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return Ran(int(caught.value.code or 0), out, err)

    return run


@pytest.fixture
def refused(silicost: Run) -> Callable[..., str]:
    """Run a command that must be refused: status 2, one line on stderr, nothing on stdout; returns the line."""

    def run(command: str, *more: str) -> str:
        ran = silicost(command, *more)
        assert (ran.status, ran.out) == (2, ""), ran
        assert ran.err.startswith("silicost: "), ran.err
        assert ran.err.count("\n") == 1, ran.err
        assert ran.err.endswith("\n"), ran.err
        assert len(ran.err) < 2100
        return ran.err

    return run
