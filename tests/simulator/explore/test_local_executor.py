"""Worker processes: replaced when they die, and none is left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from toy_study import BUILDER, Toy, evaluations

from hardware_specs.errors import InputError
from simulator.explore import local_executor
from simulator.explore.executors import Outcome, run_parts
from simulator.explore.local_executor import MOST_DEATHS, LocalProcesses
from simulator.explore.manifest import read_manifest
from simulator.explore.progress import Progress
from simulator.explore.reading import open_study
from simulator.explore.store import open_store
from simulator.explore.work import Recipe


@pytest.fixture
def log(tmp_path: Path) -> Path:
    place = tmp_path / "log"
    place.mkdir()
    return place


def compute(folder: Path, toy: Toy, builder: str = BUILDER, text: str = "", workers: int = 2) -> Outcome:
    with open_store(folder, toy.definition()) as writer:
        return run_parts(writer, LocalProcesses(workers), toy.work, Recipe(builder, text or toy.text))


def children() -> set[str]:
    """Worker processes of this one, by /proc."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = (place / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid() and b"simulator.explore.worker" in (place / "cmdline").read_bytes():
                found.add(place.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("trouble", ["kill once", "memory once", "crash once"])
def test_a_worker_that_dies_costs_its_part_alone(tmp_path: Path, log: Path, trouble: str) -> None:
    models = tuple("abcdefgh")
    outcome = compute(tmp_path / "study", Toy(models, log=str(log), trouble=((300, trouble),)))
    assert outcome.is_whole
    assert len(evaluations(log)) == 9
    assert len(evaluations(log, 300)) == 2
    assert len(open_study(tmp_path / "study").to_pandas()) == 800
    assert not children()


@pytest.mark.parametrize(("trouble", "words"), [("kill", "worker killed by SIGKILL"), ("memory", "no memory left")])
def test_a_part_that_kills_workers_is_given_up(tmp_path: Path, log: Path, trouble: str, words: str) -> None:
    outcome = compute(tmp_path / "study", Toy(log=str(log), trouble=((200, trouble),)))
    (part,) = outcome.given_up
    assert (part.start, part.stop) == (200, 300)
    assert words in part.reason
    assert f"{MOST_DEATHS} times" in part.reason
    assert len(evaluations(log, 200)) == MOST_DEATHS
    assert len(evaluations(log)) == 3 + MOST_DEATHS
    assert len(open_study(tmp_path / "study").to_pandas()) == 300


def test_what_evaluators_print_does_no_harm(tmp_path: Path, log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trouble = tuple((start, "print") for start in range(0, 400, 100))
    assert compute(tmp_path / "study", Toy(log=str(log), trouble=trouble)).is_whole
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("more of it") == 4


@pytest.mark.parametrize(
    ("builder", "words"),
    [
        ("toy_study:build_nothing", "no such toy"),
        ("toy_study:missing", "cannot be loaded"),
        ("toy_study:evaluations", "fails in a worker: AttributeError"),
        ("toy_study:build_and_die", "die before they are ready: worker ended with status 9"),
    ],
)
def test_workers_that_cannot_begin(tmp_path: Path, builder: str, words: str, log: Path) -> None:
    with pytest.raises(InputError, match=words):
        compute(tmp_path / "study", Toy(), builder)
    assert not children()


def test_a_worker_that_makes_other_points(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a worker makes other points"):
        compute(tmp_path / "study", Toy(), text=Toy(("x", "y", "z", "w")).text)
    assert not list((tmp_path / "study" / "parts").iterdir())


def test_no_worker_is_started_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy()
    compute(tmp_path / "study", toy)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process is started")

    monkeypatch.setattr(local_executor.subprocess, "Popen", refuse)
    assert compute(tmp_path / "study", toy).progress.parts_kept == 4


def test_an_error_here_ends_workers_at_once(tmp_path: Path, log: Path) -> None:
    toy = Toy(log=str(log), trouble=((100, "hang"),))

    def fail(progress: Progress) -> None:
        if progress.parts_made:
            raise RuntimeError("no reader any more")

    with pytest.raises(RuntimeError, match="no reader"), open_store(tmp_path / "study", toy.definition()) as writer:
        run_parts(writer, LocalProcesses(2), toy.work, Recipe(BUILDER, toy.text), fail)
    assert not children()
    assert read_manifest(tmp_path / "study").rows == 100


def test_workers_take_no_notice_of_ctrl_c(tmp_path: Path, log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It is the process that started them that ends them, or goes on."""
    toy = Toy(tuple("abcdef"), log=str(log), seconds=0.1)

    def interrupt(progress: Progress) -> None:
        for child in children():
            os.kill(int(child), signal.SIGINT)

    with open_store(tmp_path / "study", toy.definition()) as writer:
        assert run_parts(writer, LocalProcesses(2), toy.work, Recipe(BUILDER, toy.text), interrupt).is_whole
    assert len(evaluations(log)) == 6
    assert capfd.readouterr().err == ""


def test_threads_are_shared_among_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_executor, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert local_executor._environment(4)["OMP_NUM_THREADS"] == "2"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert local_executor._environment(4)["OMP_NUM_THREADS"] == "5"
