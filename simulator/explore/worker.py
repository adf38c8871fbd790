"""A worker process: ``python -m simulator.explore.worker``, started by ``local_executor``.

It reads a setup and then tasks, a line of JSON each, on standard input and writes answers likewise; it ends as soon as
its standard input does, whatever it is doing. What evaluators print goes to standard error.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import Final

import msgspec

from hardware_specs.errors import InputError
from simulator.explore.work import Answer, Recipe, Refused, Task, compute, reason_of

SHORT_OF_MEMORY: Final = 75
"""Exit status of a worker that could not get memory (EX_TEMPFAIL of sysexits.h)."""


class Setup(msgspec.Struct, frozen=True):
    """What a worker works on."""

    folder: str
    builder: str
    text: str


class Order(msgspec.Struct, frozen=True):
    """A task on its way to a worker."""

    start: int
    stop: int
    key: str


class Ready(msgspec.Struct, frozen=True, tag=True):
    """A worker has built its work."""


Message = Answer | Ready


def main() -> None:
    """Work until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the process that started us ends us
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    out = os.dup(1)
    os.dup2(2, 1)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    setup = msgspec.json.decode(lines.get(), type=Setup)
    recipe, folder = Recipe(setup.builder, setup.text), Path(setup.folder)
    try:
        work = recipe.build()
    except InputError as error:
        _say(out, Refused(str(error)))
        return
    except Exception as error:
        _say(out, Refused(f"builder {recipe.builder!r} fails in a worker: {reason_of(error)}"))
        return
    _say(out, Ready())
    while True:
        order = msgspec.json.decode(lines.get(), type=Order)
        try:
            answer: Answer = compute(folder, work, Task(order.start, order.stop, order.key))
        except InputError as error:
            answer = Refused(str(error))
        except MemoryError:
            os._exit(SHORT_OF_MEMORY)
        _say(out, answer)


def _listen(lines: queue.SimpleQueue[bytes]) -> None:
    while line := sys.stdin.buffer.readline():
        lines.put(line)
    os._exit(0)


def _say(out: int, message: Message) -> None:
    data = msgspec.json.encode(message) + b"\n"
    try:
        while data:
            data = data[os.write(out, data) :]
    except OSError:
        os._exit(1)  # nobody listens any more


if __name__ == "__main__":
    main()
