"""Where the parts of a study are computed: in this process, in local worker processes, on a Dask cluster.

All executors do the same on each part: whoever computes it writes it into the study's folder; the process that holds
the study only hands out numbers and keeps the manifest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Final, Literal, NamedTuple, Protocol

from hardware_specs.errors import UnknownName
from simulator.explore.manifest import GivenUp
from simulator.explore.parts import part_key
from simulator.explore.progress import Progress
from simulator.explore.store import Writer
from simulator.explore.work import Failed, Job, Made, Recipe, Task, Work, compute, given_up

MOST_GIVEN_UP: Final = 20
"""A run ends when so many parts cannot be computed."""
EXECUTORS: Final = ("local", "dask", "here")


class Executor(Protocol):
    """A way to compute parts."""

    def run(self, tasks: Iterator[Task], job: Job) -> Generator[Made | Failed, None, None]:
        """Compute tasks, which are drawn as they are needed, in whatever order; what becomes of each.

        Closing the generator ends all work at once and leaves no process behind.

        Raises:
            InputError: a part cannot be written, the study is wrong, workers cannot be had.
        """


class Outcome(NamedTuple):
    """What a run came to; not ``is_whole`` where parts were given up."""

    progress: Progress
    given_up: tuple[GivenUp, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every point is in the store."""
        return self.progress.points_kept + self.progress.points_made == self.progress.points


class InProcess:
    """One part after the other, in this process."""

    def run(self, tasks: Iterator[Task], job: Job) -> Generator[Made | Failed, None, None]:
        """See ``Executor``."""
        for task in tasks:
            yield compute(job.folder, job.work, task)


def executor_of(
    name: Literal["local", "dask", "here"] | str, workers: int | None = None, scheduler: str = ""
) -> Executor:
    """The executor called ``name``.

    Args:
        workers: processes; default one per core that this process may use.
        scheduler: of Dask, "tcp://HOST:PORT"; default a cluster on this machine.

    Raises:
        UnknownName: there is none of that name.
    """
    if name == "local":
        from simulator.explore.local_executor import LocalProcesses

        return LocalProcesses(workers)
    if name == "dask":
        from simulator.explore.dask_executor import DaskCluster

        return DaskCluster(scheduler, workers)
    if name == "here":
        return InProcess()
    raise UnknownName("executor", name, EXECUTORS, place="--executor")


def run_parts(
    writer: Writer, executor: Executor, work: Work, recipe: Recipe | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:  # fmt: skip
    """Compute the parts of an open study that it does not have yet.

    Args:
        work: the study's, as this process has it.
        recipe: how others make it; needed by all executors but ``InProcess``.
        progress: is told of every part.

    Returns:
        What came of it; parts that cannot be computed are given up, up to ``MOST_GIVEN_UP``.

    Raises:
        InputError: a part cannot be written, the study is wrong, workers cannot be had. Parts that are done stay.
        ValueError: ``work`` is not what the study's definition says.
    """
    definition = writer.definition
    if (work.sampler.count, work.evaluator.fingerprint) != (definition.points, definition.evaluator):
        raise ValueError("the work is not that of the study's definition")
    tally = _Tally(Progress(definition.parts, definition.points), progress)
    with closing(executor.run(_missing(writer, work, tally), Job(writer.folder, work, recipe))) as done:
        for answer in done:
            if isinstance(answer, Made):
                writer.commit(answer.start, answer.stop, answer.written)
                tally.made(answer.stop - answer.start, answer.written.rows)
            else:
                writer.give_up(given_up(answer))
                tally.given_up(answer.stop - answer.start)
                if len(writer.given_up) >= MOST_GIVEN_UP:
                    break
    return Outcome(tally.progress, writer.given_up)


def _missing(writer: Writer, work: Work, tally: _Tally) -> Iterator[Task]:
    """The parts that are not there; those that are go into the manifest on the way."""
    definition = writer.definition
    for start in range(0, definition.points, definition.part_points):
        stop = min(start + definition.part_points, definition.points)
        points = work.sampler.points(start, stop)
        key = part_key(points, work.evaluator.fingerprint)
        written = writer.find(key) if len(points) else None
        if written or not len(points):
            writer.commit(start, stop, written)
            tally.kept(stop - start, len(points))
        else:
            tally.begun()
            yield Task(start, stop, key, points)


class _Tally:
    """Counts what is done and tells it."""

    def __init__(self, progress: Progress, tell: Callable[[Progress], None]) -> None:
        self.progress = progress
        self._tell = tell
        self._began_s: float | None = None

    def begun(self) -> None:
        """A part is computed from now on."""
        if self._began_s is None:
            self._began_s = time.monotonic()
            self._tell(self.progress)

    def kept(self, points: int, rows: int) -> None:
        """A part was there."""
        now = self.progress
        self._next(now._replace(
            parts_kept=now.parts_kept + 1, points_kept=now.points_kept + points, rows=now.rows + rows
        ))  # fmt: skip

    def made(self, points: int, rows: int) -> None:
        """A part was computed."""
        now = self.progress
        self._next(now._replace(
            parts_made=now.parts_made + 1, points_made=now.points_made + points, rows=now.rows + rows
        ))  # fmt: skip

    def given_up(self, points: int) -> None:
        """A part cannot be computed."""
        now = self.progress
        self._next(now._replace(
            parts_given_up=now.parts_given_up + 1, points_given_up=now.points_given_up + points
        ))  # fmt: skip

    def _next(self, progress: Progress) -> None:
        since = 0.0 if self._began_s is None else time.monotonic() - self._began_s
        self.progress = progress._replace(seconds=since)
        self._tell(self.progress)
