"""Parts in worker processes of this machine.

Workers are new interpreters, not forks, so that threads and compiled kernels of this process do no harm. One that dies
(killed by hand, for want of memory, by a crash) is replaced, and only its part is computed again; a part whose workers
die ``MOST_DEATHS`` times is given up.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from hardware_specs.errors import InputError
from simulator.explore.durable import remove_unfinished
from simulator.explore.parts import part_path
from simulator.explore.work import Failed, Job, Made, Recipe, Refused, Task
from simulator.explore.worker import SHORT_OF_MEMORY, Message, Order, Ready, Setup

MOST_DEATHS: Final = 3
"""A part that cost so many workers is given up; as many that die before they are ready end the run."""
_LAST_S: Final = 5.0
"""How long a worker that is told to end may take [s]."""
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class LocalProcesses:
    """Worker processes on this machine.

    Args:
        workers: how many; default one per core that this process may use.

    Raises:
        InputError: fewer than one.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise InputError(f"--workers {workers}: must be 1 or more")
        self.workers = workers or cores()

    def run(self, tasks: Iterator[Task], job: Job) -> Generator[Made | Failed, None, None]:
        """See ``executors.Executor``."""
        crew = _Crew(self.workers, job)
        ahead: deque[Order] = deque()
        orders = (Order(task.start, task.stop, task.key) for task in tasks)
        try:
            while True:
                while not ahead or crew.has_room:
                    order = ahead.popleft() if ahead else next(orders, None)
                    if order is None:
                        break
                    if not crew.has_room:
                        ahead.append(order)
                        break
                    crew.give(order)
                if not crew.is_busy:
                    return
                yield from crew.next_answers(ahead)
        finally:
            crew.end()


class _Worker:
    """One process and what it is at; ``inbox`` gets its messages, and None at its end."""

    def __init__(self, setup: Setup, workers: int, inbox: queue.SimpleQueue[tuple[_Worker, bytes | None]]) -> None:
        self.order: Order | None = None
        self.is_ready = False
        try:
            with _no_interrupt():
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "simulator.explore.worker"], env=_environment(workers),
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                )  # fmt: skip
        except OSError as error:
            raise InputError(f"no worker process can be started ({error.strerror})") from None
        threading.Thread(target=self._listen, args=(inbox,), daemon=True).start()
        self.tell(setup)

    def tell(self, message: Setup | Order) -> None:
        """Send a line; a dead worker is noticed elsewhere."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.write(msgspec.json.encode(message) + b"\n")
            self.process.stdin.flush()

    def dismiss(self) -> None:
        """Tell the process to end, at once if it is at work."""
        if self.order:
            self.process.kill()
        with suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()

    def join(self) -> None:
        """Wait for the end of the process, not for ever."""
        try:
            self.process.wait(_LAST_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def death(self) -> str:
        """Why it is dead."""
        status = self.process.wait()
        if status == SHORT_OF_MEMORY:
            return "no memory left"
        if status >= 0:
            return f"worker ended with status {status}"
        with suppress(ValueError):
            name = signal.Signals(-status).name
            why = ", perhaps for want of memory" if name == "SIGKILL" else ""
            return f"worker killed by {name}{why}"
        return f"worker killed by signal {-status}"

    def _listen(self, inbox: queue.SimpleQueue[tuple[_Worker, bytes | None]]) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                if line.endswith(b"\n"):  # a line that is cut off is that of a dead worker
                    inbox.put((self, line))
        inbox.put((self, None))


class _Crew:
    """The workers of a run."""

    def __init__(self, most: int, job: Job) -> None:
        recipe: Recipe = job.shared()
        self._setup = Setup(str(job.folder.absolute()), recipe.builder, recipe.text)
        self._folder = job.folder
        self._most = most
        self._workers: list[_Worker] = []
        self._inbox: queue.SimpleQueue[tuple[_Worker, bytes | None]] = queue.SimpleQueue()
        self._deaths: Counter[str] = Counter()
        self._stillborn = 0

    @property
    def is_busy(self) -> bool:
        """Whether a part is being computed."""
        return any(worker.order for worker in self._workers)

    @property
    def has_room(self) -> bool:
        """Whether a worker has nothing to do, or may be started."""
        return len(self._workers) < self._most or any(worker.order is None for worker in self._workers)

    def give(self, order: Order) -> None:
        """Have an order carried out by a worker that has nothing to do, or by a new one."""
        worker = next((worker for worker in self._workers if worker.order is None), None)
        if worker is None:
            worker = _Worker(self._setup, self._most, self._inbox)
            self._workers.append(worker)
        worker.order = order
        worker.tell(order)

    def next_answers(self, ahead: deque[Order]) -> Iterator[Made | Failed]:
        """Wait for a worker and take what it says; the order of one that died goes to the front of ``ahead``."""
        worker, line = self._inbox.get()
        if line is None:
            yield from self._bury(worker, ahead)
            return
        message: Message = msgspec.json.decode(line, type=Message)
        if isinstance(message, Refused):
            raise InputError(message.message)
        if isinstance(message, Ready):
            worker.is_ready, self._stillborn = True, 0
            return
        worker.order = None
        yield message

    def end(self) -> None:
        """End all workers, at once those that are at work."""
        for worker in self._workers:
            worker.dismiss()
        for worker in self._workers:
            worker.join()
        self._workers.clear()
        with suppress(InputError):
            remove_unfinished(self._folder / "parts")

    def _bury(self, worker: _Worker, ahead: deque[Order]) -> Iterator[Failed]:
        """Take a dead worker off; its part is computed again, or given up."""
        self._workers.remove(worker)
        reason, order = worker.death(), worker.order
        if not worker.is_ready:
            self._stillborn += 1
            if self._stillborn >= MOST_DEATHS:
                raise InputError(f"worker processes die before they are ready: {reason}")
        if order is None:
            return
        unfinished = f"{part_path(self._folder, order.key).name}.{worker.process.pid}-"
        with suppress(InputError):
            remove_unfinished(self._folder / "parts", unfinished)
        self._deaths[order.key] += worker.is_ready
        if self._deaths[order.key] < MOST_DEATHS:
            ahead.appendleft(order)
            return
        yield Failed(order.start, order.stop, f"{reason}, {MOST_DEATHS} times")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Hold back Ctrl-C; a process that is started here is deaf to it until it says how it takes it."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _environment(workers: int) -> dict[str, str]:
    """The environment of a worker: the modules that we see, and its share of the cores for threads."""
    threads = str(max(1, cores() // workers))
    paths = [str(Path(path).absolute()) if path else str(Path.cwd()) for path in sys.path]
    return {**dict.fromkeys(_THREADS, threads), **os.environ, "PYTHONPATH": os.pathsep.join(paths)}
