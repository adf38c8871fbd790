"""The command line itself: help, version, pipes, encodings."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
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


def as_process(arguments: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments.split()], check=False, **more)


SMALL = "simulate --model gpt2 --device a10g --isl 64 --osl 2"


def test_a_reader_of_a_help_text_that_goes_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ran = as_process("--help", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.parametrize("stream", [1, 2])
def test_closed_streams(stream: int) -> None:
    ran = as_process(SMALL, preexec_fn=lambda: os.close(stream), stderr=subprocess.PIPE if stream == 1 else None)
    assert ran.returncode == (2 if stream == 1 else 0)
    if stream == 1:
        assert ran.stderr == b"silicost: standard output is closed\n"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A cache of kernels as a first run leaves it, and what that run printed."""
    folder = tmp_path_factory.mktemp("kernels")
    ran = as_process(SMALL, capture_output=True, env={**os.environ, "NUMBA_CACHE_DIR": str(folder)})
    assert ran.returncode == 0 and ran.stdout
    return folder, ran.stdout


@pytest.mark.parametrize("content", [b"no kernel", b""])
def test_a_damaged_kernel_cache_is_left_alone_and_the_answer_comes(
    tmp_path: Path, content: bytes, compiled: tuple[Path, bytes]
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "TMPDIR": str(scratch)}
    shutil.copytree(compiled[0], tmp_path / "cache")
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert files
    for path in files:
        path.write_bytes(content)
    ran = as_process(SMALL, capture_output=True, env=environment)
    assert (ran.returncode, ran.stdout) == (0, compiled[1])
    # An end of file reaches typer, which answers with an empty line of its own.
    said = ran.stderr.strip()
    assert said.startswith(b"silicost: warning: the cache of compiled kernels cannot be used")
    assert said.count(b"\n") == 0
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("room", "words"),
    [
        (0, b"silicost: no room for compiled kernels: "),
        (500, b"silicost: the cache of compiled kernels cannot be used, a new one neither: "),
    ],
)
def test_no_room_for_kernels_is_said_in_one_line(tmp_path: Path, room: int, words: bytes) -> None:
    def nothing_fits() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    ran = as_process(SMALL, capture_output=True, env=environment, preexec_fn=nothing_fits)
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert b"Traceback" not in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith(words)


def test_a_data_folder_that_is_none(silicost: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SILICOST_DATA_DIR", str(tmp_path / "missing"))
    ran = silicost("sites list")
    assert (ran.status, ran.err) == (
        0, f"silicost: warning: SILICOST_DATA_DIR {tmp_path / 'missing'}: there is no such folder\n",
    )  # fmt: skip
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SILICOST_DATA_DIR", str(tmp_path / "file"))
    ran = silicost("sites list")
    assert (ran.status, ran.out) == (2, "")
    assert "SILICOST_DATA_DIR" in ran.err
    assert "must be a folder" in ran.err


@pytest.mark.parametrize("columns", [30, 60, 80, 120])
def test_numbers_are_never_folded(silicost: Run, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    wide = silicost(SMALL).out.splitlines()
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = {line.split()[0]: line for line in silicost(SMALL).out.splitlines() if line.strip()}
    for line in wide:
        if line.startswith(("ttft_s", "tpot_s", "prefill_tokens_per_s", "j_per_output_token", "memory_bytes.")):
            narrow = lines[line.split()[0]].split()
            assert narrow == line.split()[: len(narrow)]
            assert len(narrow) in (1, 3) or columns > 30
