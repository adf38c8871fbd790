"""The command line itself: help, version, pipes, encodings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import silicost as package

COMMAND = [sys.executable, "-m", "silicost"]
Run = Callable[..., Any]


@pytest.mark.parametrize("arguments", ["--help", "-h", "simulate --help", "devices list -h", "", "models"])
def test_help(silicost: Run, arguments: str) -> None:
    ran = silicost(arguments)
    assert (ran.status, ran.err) == (0, "")
    assert "Usage: silicost" in ran.out


def test_help_names_every_command(silicost: Run) -> None:
    out = silicost("--help").out
    for command in ("simulate", "train", "run", "demo", "devices", "models", "systems", "runtimes", "links", "sites"):
        assert f" {command} " in out


def test_version(silicost: Run) -> None:
    assert silicost("--version").out == f"silicost {package.__version__}\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    for arguments in (["models", "list"], ["models", "list", "--format", "json"]):
        process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == b""
        process.stderr.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_is_said_in_one_line() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ran = subprocess.run([*COMMAND, "devices", "list"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert ran.returncode == 2
    assert ran.stderr == b"silicost: standard output: cannot be written (No space left on device)\n"


def test_a_terminal_without_greek_letters() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [*COMMAND, "simulate", "--model", "gpt2", "--device", "a10g", "--isl", "64", "--osl", "2"]
    ran = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"ttft_s" in ran.stdout
