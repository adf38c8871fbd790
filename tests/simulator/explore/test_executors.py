"""What all executors have in common: outcome, progress, parts that are given up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy_study import BUILDER, Toy, evaluations

from hardware_specs.errors import InputError, UnknownName
from simulator.explore.executors import MOST_GIVEN_UP, InProcess, Outcome, executor_of, run_parts
from simulator.explore.manifest import read_manifest
from simulator.explore.parts import part_path
from simulator.explore.points import Points
from simulator.explore.progress import Progress
from simulator.explore.reading import open_study
from simulator.explore.store import open_store
from simulator.explore.work import Recipe, Work

Run = Callable[..., Outcome]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    place = tmp_path / "log"
    place.mkdir()
    return place


def compute(folder: Path, toy: Toy, executor: str = "here", progress: list[Progress] | None = None) -> Outcome:
    with open_store(folder, toy.definition()) as writer:
        tell = (lambda _: None) if progress is None else progress.append
        return run_parts(writer, executor_of(executor, 2), toy.work, Recipe(BUILDER, toy.text), tell)


@pytest.mark.parametrize("executor", ["here", "local"])
def test_all_executors_find_the_same(tmp_path: Path, log: Path, executor: str) -> None:
    compute(tmp_path / "here", Toy())
    outcome = compute(tmp_path / executor / "other", Toy(log=str(log)), executor)
    assert outcome.is_whole
    assert len(evaluations(log)) == 4
    one, other = open_study(tmp_path / "here"), open_study(tmp_path / executor / "other")
    assert one.manifest.parts == other.manifest.parts
    assert one.to_arrow().equals(other.to_arrow())
    for part in (tmp_path / "here" / "parts").iterdir():
        assert part.read_bytes() == (tmp_path / executor / "other" / "parts" / part.name).read_bytes()


@pytest.mark.parametrize("executor", ["here", "local"])
def test_progress(tmp_path: Path, executor: str) -> None:
    compute(tmp_path / "study", Toy(("a",)))
    told: list[Progress] = []
    outcome = compute(tmp_path / "study", Toy(), executor, told)
    assert [each.parts_done for each in told] == sorted(each.parts_done for each in told)
    assert told[-1] == outcome.progress
    assert (outcome.progress.parts_kept, outcome.progress.parts_made, outcome.progress.rows) == (1, 3, 400)
    assert outcome.progress.points_per_s == 300 / outcome.progress.seconds
    assert outcome.progress.eta_s == 0.0


@pytest.mark.parametrize("executor", ["here", "local"])
def test_a_part_that_the_evaluator_fails_on_is_given_up(tmp_path: Path, log: Path, executor: str) -> None:
    outcome = compute(tmp_path / "study", Toy(log=str(log), trouble=((100, "bug"),)), executor)
    (part,) = outcome.given_up
    assert (part.start, part.stop) == (100, 200)
    assert part.reason.startswith("ZeroDivisionError: a bug (toy_study.py:")
    assert not outcome.is_whole
    assert outcome.progress.parts_given_up == 1
    manifest = read_manifest(tmp_path / "study")
    assert manifest.given_up == outcome.given_up
    assert [part.start for part in manifest.parts] == [0, 200, 300]
    assert not manifest.is_whole
    assert len(open_study(tmp_path / "study").to_pandas()) == 300
    assert compute(tmp_path / "study", Toy(log=str(log))).is_whole
    assert len(evaluations(log)) == 5
    assert read_manifest(tmp_path / "study").given_up == ()


def test_a_part_that_was_there_and_cannot_be_computed_again(tmp_path: Path) -> None:
    compute(tmp_path / "study", Toy())
    part_path(tmp_path / "study", read_manifest(tmp_path / "study").parts[1].key).unlink()
    compute(tmp_path / "study", Toy(trouble=((100, "bug"),)))
    assert [part.start for part in read_manifest(tmp_path / "study").parts] == [0, 200, 300]
    assert len(open_study(tmp_path / "study").to_pandas()) == 300


@pytest.mark.parametrize("executor", ["here", "local"])
def test_a_study_that_is_wrong_ends(tmp_path: Path, log: Path, executor: str) -> None:
    with pytest.raises(InputError, match="the study is wrong"):
        compute(tmp_path / "study", Toy(log=str(log), trouble=((100, "refuse"),)), executor)
    assert not (tmp_path / "study" / "study.lock").exists()
    done = len(list((tmp_path / "study" / "parts").iterdir()))
    assert len(read_manifest(tmp_path / "study").parts) <= done < 4


def test_too_many_failures_end_the_run(tmp_path: Path, log: Path) -> None:
    models = tuple(map(str, range(2 * MOST_GIVEN_UP)))
    toy = Toy(models, 10, 10, str(log), trouble=tuple((10 * number, "bug") for number in range(len(models))))
    assert len(compute(tmp_path / "study", toy).given_up) == MOST_GIVEN_UP
    assert len(evaluations(log)) == MOST_GIVEN_UP


class Halves:
    """The points of a toy, of which a condition drops those of every other part, and half of the others."""

    def __init__(self, toy: Toy) -> None:
        self._sampler = toy.work.sampler
        self.count = self._sampler.count

    def points(self, start: int, stop: int) -> Points:
        return self._sampler.points(start, stop).take(slice(0, 50 * (start // 100 % 2)))


def test_conditions_may_leave_nothing_of_a_part(tmp_path: Path) -> None:
    toy = Toy()
    for kept in (2, 4):
        with open_store(tmp_path / "study", toy.definition()) as writer:
            outcome = run_parts(writer, InProcess(), Work(Halves(toy), toy.work.evaluator))
        assert outcome.is_whole
        assert (outcome.progress.parts_kept, outcome.progress.rows) == (kept, 100)
    manifest = read_manifest(tmp_path / "study")
    assert [part.rows for part in manifest.parts] == [0, 50, 0, 50]
    assert manifest.is_whole
    assert len(list((tmp_path / "study" / "parts").iterdir())) == 2
    assert len(open_study(tmp_path / "study").to_pandas()) == 100


def test_work_that_is_not_the_study_s(tmp_path: Path) -> None:
    with open_store(tmp_path / "study", Toy().definition()) as writer, pytest.raises(ValueError, match="not that of"):
        run_parts(writer, InProcess(), Toy(fingerprint="other").work)


def test_executors_by_name() -> None:
    with pytest.raises(UnknownName, match="unknown executor 'dusk'; did you mean 'dask'"):
        executor_of("dusk")
    for name in ("local", "dask"):
        with pytest.raises(InputError, match="--workers 0: must be 1 or more"):
            executor_of(name, 0)


def test_parts_are_drawn_as_they_are_needed(tmp_path: Path) -> None:
    """Nobody makes the points of a billion before the first is computed."""
    toy, drawn = Toy(tuple(map(str, range(1000)))), []

    class Watched(Halves):
        def points(self, start: int, stop: int) -> Points:
            drawn.append(start)
            return toy.work.sampler.points(start, stop)

    class First:
        def run(self, tasks: Iterator[object], job: object) -> Iterator[object]:
            next(tasks)
            yield from ()

    with open_store(tmp_path / "study", toy.definition()) as writer:
        run_parts(writer, First(), Work(Watched(toy), toy.work.evaluator))  # type: ignore[arg-type]
    assert drawn == [0]


@pytest.mark.parametrize(
    ("builder", "words"),
    [("toy_study:nothing", "cannot be loaded"), ("no_such_module:build", "cannot be loaded"), ("", "cannot be loaded"),
     ("toy_study", "cannot be loaded"), ("toy_study:build_nothing", "no such toy")],
)  # fmt: skip
def test_builders_that_cannot_be_used(builder: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Recipe(builder, "").build()


def test_rate_and_time_left() -> None:
    before = Progress(parts=10, points=1000)
    assert (before.points_per_s, before.eta_s) == (0.0, None)
    half = before._replace(parts_kept=1, points_kept=100, parts_made=4, points_made=400, seconds=2.0)
    assert (half.parts_done, half.points_done, half.points_per_s, half.eta_s) == (5, 500, 200.0, 2.5)
