"""Studies that are killed lose no part that was done, and leave nobody behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from toy_study import Toy, evaluations

from simulator.explore.executors import InProcess, run_parts
from simulator.explore.manifest import read_manifest
from simulator.explore.reading import open_study
from simulator.explore.store import open_store

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills process groups, which POSIX has")
HERE = Path(__file__).parent
PATHS = os.pathsep.join((str(HERE.parents[2]), str(HERE)))
WORKERS = 2
KILLS = 20
PATIENCE_S = 60.0


def start(folder: Path, toy: Toy) -> subprocess.Popen[bytes]:
    """A study in a process group of its own, which heeds Ctrl-C even where jobs in the background do not."""
    return subprocess.Popen(
        [sys.executable, str(HERE / "toy_run.py"), str(folder), toy.text, "local", str(WORKERS)],
        env={**os.environ, "PYTHONPATH": PATHS}, start_new_session=True, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def wait_for(what: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    until = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < until
        if process is not None and process.poll() is not None:
            return
        time.sleep(0.002)


def is_gone(group: int) -> bool:
    """Whether no process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def done(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("parts/*.parquet")}


def table_bytes(folder: Path) -> bytes:
    """The table of a study, sorted by its axes, as bytes."""
    table = open_study(folder).to_arrow()
    plain = table.set_column(0, "model", table.column("model").cast(pa.string()))
    table = plain.sort_by([("model", "ascending"), ("step", "ascending")])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


def test_killed_twenty_times(tmp_path: Path) -> None:
    """kill -9 of all processes at random moments: the table is that of a study in peace, and each kill costs at most
    one part per worker."""
    chance = random.Random(5)
    models = tuple(f"m{number:02}" for number in range(70))
    whole, folder, log = Toy(models, 20, 20), tmp_path / "killed", tmp_path / "log"
    with open_store(tmp_path / "peace", whole.definition()) as writer:
        run_parts(writer, InProcess(), whole.work)
    log.mkdir()
    toy = Toy(models, 20, 20, log=str(log), seconds=0.02)
    kept: dict[str, int] = {}
    for number in range(1, KILLS + 1):
        process = start(folder, toy)
        wanted = len(evaluations(log)) + chance.randrange(5)
        wait_for(lambda wanted=wanted: len(evaluations(log)) >= wanted, process)  # type: ignore[misc]
        time.sleep(chance.uniform(0.0, 0.05))
        assert process.poll() is None, "the study is over too soon"
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        wait_for(lambda process=process: is_gone(process.pid))  # type: ignore[misc]
        times = Counter(name.split("-")[0] for name in evaluations(log))
        assert sum(times.values()) <= len(done(folder)) + number * WORKERS
        assert all(times[start] == count for start, count in kept.items()), "a part that was done is computed again"
        records = read_manifest(folder).parts if (folder / "study.json").exists() else ()
        kept |= {str(part.start): times[str(part.start)] for part in records}
    process = start(folder, toy)
    said = process.communicate()[1].decode().splitlines()
    assert process.returncode == 0
    assert [line for line in said if "left it behind; taken over" not in line] == []
    times = Counter(name.split("-")[0] for name in evaluations(log))
    assert all(times[start] == count for start, count in kept.items())
    assert sum(times.values()) <= len(models) + KILLS * WORKERS
    assert done(folder) == done(tmp_path / "peace")
    assert table_bytes(folder) == table_bytes(tmp_path / "peace")
    assert not [path for path in folder.rglob("*") if path.suffix in (".tmp", ".lock", ".damaged")]


def test_ctrl_c_leaves_parts_and_no_process(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    folder, toy = tmp_path / "study", Toy(tuple("abcdefgh"), log=str(tmp_path / "log"), seconds=0.2)
    process = start(folder, toy)
    wait_for(lambda: len(done(folder)) >= 2)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    assert error.count(b"Traceback") == 1  # of this process, none of a worker
    assert b"KeyboardInterrupt" in error
    wait_for(lambda: is_gone(process.pid))
    assert 2 <= len(done(folder)) < 8
    assert len(done(folder)) - WORKERS <= len(read_manifest(folder).parts) <= len(done(folder))
    assert not [path for path in folder.rglob("*") if path.suffix in (".tmp", ".lock")]


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    process = start(tmp_path / "study", Toy(log=str(tmp_path / "log"), seconds=300.0))
    wait_for(lambda: len(evaluations(tmp_path / "log")) == WORKERS)
    process.kill()
    process.communicate()
    wait_for(lambda: is_gone(process.pid))
