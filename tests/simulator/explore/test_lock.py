"""Locks: held by one, and not by the dead."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from hardware_specs.errors import InputError
from simulator.explore import lock
from simulator.explore.lock import Holder, locked

HERE = socket.gethostname()


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def leave(path: Path, pid: int, host: str = HERE, age_s: float = 0.0, started: str = "") -> None:
    path.write_bytes(msgspec.json.encode(Holder(pid, host, "2026-11-25T00:00:00+00:00", started)))
    then = time.time() - age_s
    os.utime(path, (then, then))


def take(path: Path) -> list[str]:
    said: list[str] = []
    with locked(path, said.append):
        assert msgspec.json.decode(path.read_bytes(), type=Holder).pid == os.getpid()
    assert not path.exists()
    return said


def test_one_at_a_time(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock", print),
        pytest.raises(InputError, match=f"in use by process {os.getpid()} on {HERE}"),
    ):
        take(tmp_path / "lock")
    assert take(tmp_path / "lock") == []


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    pid = dead_process()
    leave(tmp_path / "lock", pid)
    (said,) = take(tmp_path / "lock")
    assert f"process {pid} on {HERE} left it behind" in said


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks of the system to tell")
def test_a_live_process_that_has_let_go(tmp_path: Path) -> None:
    """The system's lock counts, not a number that may be that of a later process."""
    leave(tmp_path / "lock", os.getppid(), started=lock._started(os.getppid()))
    assert len(take(tmp_path / "lock")) == 1


def test_the_lock_of_another_host(tmp_path: Path) -> None:
    leave(tmp_path / "lock", 1, "elsewhere", lock.STALE_S / 2)
    with pytest.raises(InputError, match="in use by process 1 on elsewhere since 2026"):
        take(tmp_path / "lock")
    assert (tmp_path / "lock").exists()
    leave(tmp_path / "lock", 1, "elsewhere", lock.STALE_S * 2)
    assert len(take(tmp_path / "lock")) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks of the system to do without")
def test_where_the_system_locks_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    pid = os.getppid()
    leave(tmp_path / "lock", pid, started=lock._started(pid))
    with pytest.raises(InputError, match=f"in use by process {pid}"):
        take(tmp_path / "lock")
    leave(tmp_path / "lock", pid, started="a later process has the number")
    assert len(take(tmp_path / "lock")) == 1
    leave(tmp_path / "lock", dead_process())
    assert len(take(tmp_path / "lock")) == 1


def test_a_lock_that_says_nothing_is_free_if_nobody_holds_it(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("?")
    assert take(tmp_path / "lock") == []


def test_a_holder_touches_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_S", 0.01)
    with locked(tmp_path / "lock", print):
        os.utime(tmp_path / "lock", (0, 0))
        until = time.monotonic() + 10.0
        while (tmp_path / "lock").stat().st_mtime == 0 and time.monotonic() < until:
            time.sleep(0.01)
        assert time.time() - (tmp_path / "lock").stat().st_mtime < 60.0


def test_a_lock_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        take(tmp_path / "none" / "lock")
