"""A Dask cluster: the same answers, lost workers survived, clear words where there is no cluster."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from toy_study import BUILDER, Toy, evaluations

from hardware_specs.errors import InputError
from simulator.explore import dask_executor
from simulator.explore.dask_executor import DaskCluster, compute_for_dask
from simulator.explore.executors import InProcess, Outcome, run_parts
from simulator.explore.manifest import read_manifest
from simulator.explore.progress import Progress
from simulator.explore.reading import open_study
from simulator.explore.store import open_store
from simulator.explore.work import Failed, Job, Made, Recipe, Task


@pytest.fixture
def log(tmp_path: Path) -> Path:
    place = tmp_path / "log"
    place.mkdir()
    return place


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler that has two workers."""
    distributed = pytest.importorskip("distributed", reason="the extra [scale] is not installed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


def compute(folder: Path, toy: Toy, executor: Any, builder: str = BUILDER) -> Outcome:
    with open_store(folder, toy.definition()) as writer:
        return run_parts(writer, executor, toy.work, Recipe(builder, toy.text))


def test_dask_finds_what_others_find(tmp_path: Path, log: Path, scheduler: str) -> None:
    models = tuple("abcdefghij")
    compute(tmp_path / "here", Toy(models), InProcess())
    outcome = compute(tmp_path / "dask", Toy(models, log=str(log)), DaskCluster(scheduler))
    assert outcome.is_whole
    assert len(evaluations(log)) == 10
    assert open_study(tmp_path / "dask").to_arrow().equals(open_study(tmp_path / "here").to_arrow())
    assert compute(tmp_path / "dask", Toy(models, log=str(log)), DaskCluster(scheduler)).progress.parts_kept == 10
    assert len(evaluations(log)) == 10


def test_failures_on_a_cluster(tmp_path: Path, log: Path, scheduler: str) -> None:
    toy = Toy(tuple("abcdef"), log=str(log), trouble=((100, "bug"), (200, "memory"), (300, "memory once")))
    outcome = compute(tmp_path / "study", toy, DaskCluster(scheduler))
    assert [(part.start, part.reason.split(":")[0]) for part in outcome.given_up] == [
        (100, "ZeroDivisionError"), (200, "MemoryError"),
    ]  # fmt: skip
    assert [len(evaluations(log, start)) for start in range(0, 600, 100)] == [1, 1, 3, 2, 1, 1]
    with pytest.raises(InputError, match="the study is wrong"):
        compute(tmp_path / "other", Toy(trouble=((0, "refuse"),)), DaskCluster(scheduler))
    with pytest.raises(InputError, match="no such toy"):
        compute(tmp_path / "third", Toy(), DaskCluster(scheduler), "toy_study:build_nothing")


def test_a_cluster_that_writes_elsewhere(tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_executor, "_SHARED_S", 0.2)
    monkeypatch.setattr(dask_executor, "part_path", lambda folder, key: folder / "elsewhere" / key)
    with pytest.raises(InputError, match="file system that all machines share"):
        compute(tmp_path / "study", Toy(), DaskCluster(scheduler))


def test_lost_workers(tmp_path: Path, log: Path) -> None:
    """A worker that dies costs its part; a part that kills workers is given up, those beside it are not."""
    pytest.importorskip("distributed", reason="the extra [scale] is not installed")
    toy = Toy(tuple("abcdef"), log=str(log), seconds=0.05, trouble=((100, "kill once"), (300, "kill")))
    outcome = compute(tmp_path / "study", toy, DaskCluster(workers=2))
    (part,) = outcome.given_up
    assert (part.start, part.stop) == (300, 400)
    assert "Dask workers that computed it died" in part.reason
    assert len(open_study(tmp_path / "study").to_pandas()) == 500
    assert not list((tmp_path / "study" / "parts").glob("*.tmp"))


def test_a_part_that_is_there_is_not_computed_again(tmp_path: Path, log: Path) -> None:
    """Dask repeats a task whose worker is lost after it has written its part."""
    toy = Toy(log=str(log))
    compute(tmp_path / "study", toy, InProcess())
    part = read_manifest(tmp_path / "study").parts[1]
    answer = compute_for_dask(str(tmp_path / "study"), BUILDER, toy.text, part.start, part.stop, part.key)
    made = msgspec.json.decode(answer, type=Made)
    assert (made.start, made.stop, made.written.rows) == (100, 200, 100)
    assert len(evaluations(log)) == 4


def test_a_result_that_is_lost_is_waited_for(tmp_path: Path) -> None:
    """A task that has ended, and has not when it is asked: its worker was lost with its answer."""

    class Once:
        status = "lost"

        def add_done_callback(self, put: Callable[[object], None]) -> None:
            put(self)

        def result(self) -> bytes:
            return msgspec.json.encode(Failed(0, 100, "asked again"))

    class Client:
        def submit(self, *_: object, **__: object) -> Once:
            return Once()

        def nthreads(self) -> dict[str, int]:
            return {"one": 1}

    flight = dask_executor._Flight(Client(), Job(tmp_path, Toy().work, Recipe(BUILDER, "")))
    flight.send(Task(0, 100, "key"))
    assert list(flight.next_answers()) == []
    assert flight.is_busy
    Once.status = "finished"
    assert list(flight.next_answers()) == [Failed(0, 100, "asked again")]
    assert not flight.is_busy


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "tcp://", "xyz://host:1"])
def test_no_scheduler(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="the extra [scale] is not installed")
    monkeypatch.setattr(dask_executor, "CONNECT_S", 0.5)
    began = time.monotonic()
    with pytest.raises(InputError, match=f"--scheduler {address}: cannot be reached"):
        compute(tmp_path / "study", Toy(), DaskCluster(address))
    assert time.monotonic() - began < 30.0
    assert not (tmp_path / "study" / "study.lock").exists()


def test_a_scheduler_without_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra [scale] is not installed")
    monkeypatch.setattr(dask_executor, "WORKERS_S", 0.5)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster,
        pytest.raises(InputError, match=r"no workers after 0\.5 s"),
    ):
        compute(tmp_path / "study", Toy(), DaskCluster(cluster.scheduler_address))


@pytest.mark.parametrize("failures", [1, 2])
def test_a_client_that_starts_late(
    tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    """Dask says by a bare assertion that a thread of it was slow; that is tried once more, and then told."""
    distributed = pytest.importorskip("distributed", reason="the extra [scale] is not installed")
    client, left = distributed.Client, [failures]

    def late(*arguments: Any, **options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise AssertionError
        return client(*arguments, **options)

    monkeypatch.setattr(distributed, "Client", late)
    if failures == 1:
        assert compute(tmp_path / "study", Toy(), DaskCluster(scheduler)).is_whole
    else:
        with pytest.raises(InputError, match=r"cannot be reached \(AssertionError\)"):
            compute(tmp_path / "study", Toy(), DaskCluster(scheduler))
    assert left == [0]


def test_a_scheduler_that_is_lost(tmp_path: Path, log: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra [scale] is not installed")
    toy = Toy(tuple("abcdefghijkl"), log=str(log), seconds=0.1)
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:

        def lose(progress: Progress) -> None:
            if progress.parts_made == 2:
                cluster.close()

        with (
            pytest.raises(InputError, match="scheduler is lost"),
            open_store(tmp_path / "s", toy.definition()) as writer,
        ):
            executor = DaskCluster(cluster.scheduler_address)
            run_parts(writer, executor, toy.work, Recipe(BUILDER, toy.text), lose)
    assert read_manifest(tmp_path / "s").points >= 200


def test_nothing_to_do_needs_no_cluster(tmp_path: Path) -> None:
    compute(tmp_path / "study", Toy(), InProcess())
    assert compute(tmp_path / "study", Toy(), DaskCluster("tcp://127.0.0.1:9")).progress.parts_kept == 4


def test_without_dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"--executor dask needs Dask .*pip install 'silicost\[scale\]'"):
        compute(tmp_path / "study", Toy(), DaskCluster())


def test_workers_and_a_scheduler_contradict_each_other() -> None:
    with pytest.raises(InputError, match="--workers: the workers of --scheduler are started where it is"):
        DaskCluster("tcp://127.0.0.1:9", workers=2)
