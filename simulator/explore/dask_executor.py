"""Parts on a Dask cluster: one on this machine, or whatever a scheduler commands.

Each task of Dask is one part, which the worker writes itself, so the study's folder must be on a file system that all
machines share. Dask repeats the tasks of workers that are lost, and blames each task that such a worker had for it; a
task that is blamed too often (its setting ``distributed.scheduler.allowed-failures``) it does not repeat. As most of
them only waited there, each is tried once more alone before it is given up.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import msgspec

from hardware_specs.errors import InputError, clipped
from simulator.explore.durable import remove_unfinished
from simulator.explore.local_executor import MOST_DEATHS, cores
from simulator.explore.parts import Damaged, check_part, part_path
from simulator.explore.work import Answer, Failed, Job, Made, Recipe, Refused, Task, Work, compute, reason_of

_ADDRESS: Final = re.compile(r"(?:[a-z]+://)?(?:[^\s/:\[\]]+|\[[0-9a-fA-F:.%]+\]):\d+/?")
"""Where a scheduler listens: a host and a port, in the way that the transport names it."""
CONNECT_S: Final = 15.0
"""How long a scheduler may take to answer [s]."""
WORKERS_S: Final = 120.0
"""How long a cluster may be without workers [s]."""
_SHARED_S: Final = 10.0
"""How long a part that is written elsewhere may take to be seen here [s]."""
_LOOK_S: Final = 2.0
_OWN_CLUSTER: Final = {
    "distributed.scheduler.allowed-failures": MOST_DEATHS - 1,
    "distributed.worker.profile.enabled": False,
}
"""Settings of a cluster of ours; the profiler would stop evaluators a hundred times a second."""
_AHEAD: Final = 1
"""Tasks that wait at the cluster beside one for each of its threads."""

_built = threading.local()


class DaskCluster:
    """A Dask cluster.

    Args:
        scheduler: where it listens, "tcp://HOST:PORT"; "" for a cluster on this machine.
        workers: worker processes on this machine; default one per core.

    Raises:
        InputError: fewer than one worker, or workers for a scheduler that has its own.
    """

    def __init__(self, scheduler: str = "", workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise InputError(f"--workers {workers}: must be 1 or more")
        if workers is not None and scheduler:
            raise InputError("--workers: the workers of --scheduler are started where it is; leave one of them out")
        self.scheduler = scheduler
        self.workers = workers or cores()

    def run(self, tasks: Iterator[Task], job: Job) -> Generator[Made | Failed, None, None]:
        """See ``executors.Executor``."""
        task = next(tasks, None)
        if task is None:
            return
        with ExitStack() as stack:
            stack.callback(self._tidy, job.folder)
            flight = _Flight(self._client(stack), job)
            stack.callback(flight.cancel)
            while task or flight.is_busy:
                while task and flight.has_room:
                    flight.send(task)
                    task = next(tasks, None)
                yield from flight.next_answers()
            while flight.test_a_suspect():
                yield from flight.last_answers()

    def _tidy(self, folder: Path) -> None:
        """Remove what workers of our own, which are gone, left unfinished."""
        if not self.scheduler:
            with suppress(InputError):
                remove_unfinished(folder / "parts")

    def _client(self, stack: ExitStack) -> Any:
        """A client of the scheduler, which has workers; ``stack`` closes it.

        Raises:
            InputError: Dask is missing, there is no scheduler, or it has no workers.
        """
        distributed, dask = _module("distributed"), _module("dask")
        if not self.scheduler:
            stack.enter_context(dask.config.set(_OWN_CLUSTER))
        where = self.scheduler or "a Dask cluster on this machine"
        if self.scheduler and not _ADDRESS.fullmatch(self.scheduler):
            raise InputError(f"--scheduler {clipped(where)}: cannot be reached (must be as tcp://host:8786)")
        try:
            address: Any = self.scheduler or stack.enter_context(_patient(lambda: self._cluster(distributed)))
            client = stack.enter_context(
                _patient(lambda: distributed.Client(address, timeout=CONNECT_S, set_as_default=False))
            )
            _wait_for_workers(client, where)
        except InputError:
            raise
        except Exception as error:  # Dask raises what its transports do, AssertionError included
            why = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"--scheduler {clipped(where)}: cannot be reached ({clipped(why)})") from None
        return client

    def _cluster(self, distributed: Any) -> Any:
        import logging

        return distributed.LocalCluster(
            n_workers=self.workers, threads_per_worker=1, processes=True, memory_limit=0,
            dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL,
        )  # fmt: skip


class _Flight:
    """The tasks that a cluster has."""

    def __init__(self, client: Any, job: Job) -> None:
        self._client, self._folder = client, job.folder.absolute()
        self._recipe: Recipe = job.shared()
        self._tasks: dict[Any, Task] = {}
        self._deaths: Counter[int] = Counter()
        self._suspects: deque[Task] = deque()
        self._alone = False
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._threads, self._looked_s, self._seen_s = 1, 0.0, time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether the cluster has tasks of ours."""
        return bool(self._tasks)

    @property
    def has_room(self) -> bool:
        """Whether the cluster should have more tasks; workers may come and go.

        Raises:
            InputError: it is without workers for too long.
        """
        if time.monotonic() - self._looked_s >= _LOOK_S:
            self._look()
        return len(self._tasks) < self._threads + _AHEAD

    def send(self, task: Task) -> None:
        """Hand a task to the cluster."""
        arguments = (str(self._folder), self._recipe.builder, self._recipe.text, task.start, task.stop, task.key)
        future = self._client.submit(compute_for_dask, *arguments, pure=False, key=f"{task.key}-{time.monotonic_ns()}")
        self._tasks[future] = Task(task.start, task.stop, task.key)
        future.add_done_callback(self._done.put)

    def next_answers(self) -> Iterator[Made | Failed]:
        """Wait for a task and say what became of it.

        Raises:
            InputError: the scheduler is lost, or what a worker wrote is not seen here.
        """
        try:
            future = self._done.get(timeout=_LOOK_S)
        except queue.Empty:
            self._look()
            return
        task = self._tasks.pop(future, None)
        if task is None:
            return
        if future.status == "finished":
            yield self._taken(msgspec.json.decode(future.result(), type=Answer))
        elif future.status == "error":
            yield from self._judged(task, future.exception())
        elif future.status == "cancelled":
            raise InputError("the Dask scheduler is lost; parts that are done stay, run the study again")
        else:  # its worker was lost between its end and now, and Dask repeats it
            self._tasks[future] = task
            future.add_done_callback(self._done.put)

    def last_answers(self) -> Iterator[Made | Failed]:
        """As ``next_answers``, until the cluster has no task of ours."""
        while self._tasks:
            yield from self.next_answers()

    def test_a_suspect(self) -> bool:
        """Send the next task that was blamed for lost workers, while there is no other; whether there was one."""
        self._alone = True
        if self._suspects:
            self.send(self._suspects.popleft())
            return True
        return False

    def cancel(self) -> None:
        """Take back all tasks."""
        with suppress(Exception):
            self._client.cancel(list(self._tasks), force=True)

    def _judged(self, task: Task, error: BaseException) -> Iterator[Failed]:
        """Give a task up that brought its worker down, or have it tried again."""
        lost = type(error).__name__ == "KilledWorker"
        self._deaths[task.start] += 1
        if lost and not self._alone:
            self._suspects.append(task)
        elif isinstance(error, MemoryError) and self._deaths[task.start] < MOST_DEATHS:
            self.send(task)
        else:
            reason = "the Dask workers that computed it died, again and again" if lost else reason_of(error)
            yield Failed(task.start, task.stop, reason)

    def _taken(self, answer: Answer) -> Made | Failed:
        if isinstance(answer, Refused):
            raise InputError(answer.message)
        if isinstance(answer, Made):
            path = part_path(self._folder, answer.written.key)
            until = time.monotonic() + _SHARED_S
            while not path.exists():
                if time.monotonic() > until:
                    raise InputError(f"{path}: a worker has written it, but it is not here; the study must be on a "
                                     "file system that all machines share")  # fmt: skip
                time.sleep(0.1)
        return answer

    def _look(self) -> None:
        """Count the threads of the cluster."""
        now = self._looked_s = time.monotonic()
        try:
            self._threads = sum(self._client.nthreads().values())
        except Exception as error:
            raise InputError(f"the Dask scheduler is lost ({reason_of(error)})") from None
        if self._threads:
            self._seen_s = now
        elif now - self._seen_s > WORKERS_S:
            raise InputError(f"the Dask cluster is without workers for {WORKERS_S:g} s; parts that are done stay")


def _patient(start: Callable[[], Any]) -> Any:
    """What ``start`` makes, tried once more if it fails an assertion without words.

    On a busy machine a thread of Dask may take longer to start than Dask waits, of which its bare assertion tells.
    """
    try:
        return start()
    except AssertionError as error:
        if error.args:
            raise
        return start()


def _wait_for_workers(client: Any, where: str) -> None:
    """Wait for the first worker; the clusters of batch systems start them one by one."""
    until = time.monotonic() + WORKERS_S
    while not client.nthreads():
        if time.monotonic() > until:
            raise InputError(f"--scheduler {clipped(where)}: no workers after {WORKERS_S:g} s; start some for it")
        time.sleep(0.1)


def compute_for_dask(folder: str, builder: str, text: str, start: int, stop: int, key: str) -> bytes:
    """Compute a part in a worker of Dask and say what became of it, in JSON.

    A part that is there is of a worker that was lost before it could say so.
    """
    with suppress(FileNotFoundError, Damaged, InputError):
        written = check_part(part_path(Path(folder), key), key)
        return msgspec.json.encode(Made(start, stop, written))
    try:
        work = _work(Recipe(builder, text))
        answer: Answer = compute(Path(folder), work, Task(start, stop, key))
    except InputError as error:
        answer = Refused(str(error))
    return msgspec.json.encode(answer)


def _work(recipe: Recipe) -> Work:
    """The work of a recipe, built once a thread."""
    if getattr(_built, "recipe", None) != recipe:
        _built.work, _built.recipe = recipe.build(), recipe
    found: Work = _built.work
    return found


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(f"--executor dask needs Dask ({error}): pip install 'silicost[scale]'") from None
