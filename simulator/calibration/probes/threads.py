"""Calls on a chosen number of threads, which leave the number for others as it was."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Final, Literal

from simulator.calibration.probes.registry import Call, Machine

Library = Literal["numba", "blas", "torch"]
Limit = Callable[[int], AbstractContextManager[object]]

NO_THREADPOOLCTL: Final = "threadpoolctl is not installed (pip install threadpoolctl): threads of numpy's BLAS stay"
_BLAS_VARIABLES: Final = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def powers(cores: int) -> tuple[int, ...]:
    """1, 2, 4 ... and ``cores`` itself."""
    return (*(1 << power for power in range(cores.bit_length()) if 1 << power < cores), cores)


def within(library: Library, threads: int, make: Callable[[], Call]) -> Call:
    """What ``make`` makes; it and each of its calls run on ``threads`` threads of ``library``.

    Each call sets the number and puts it back: about a microsecond for numba and torch, ten for the BLAS.
    """
    limit = _limit(library)
    with limit(threads):
        call = make()

    def limited() -> object:
        with limit(threads):
            return call()

    return limited


def blas_threads(machine: Machine) -> int:
    """Threads of numpy's BLAS while probes run: the machine's where threadpoolctl sets them, else its default."""
    if importlib.util.find_spec("threadpoolctl") is not None:
        return machine.cores
    named = [int(text) for name in _BLAS_VARIABLES if (text := os.environ.get(name, "")).isdecimal() and int(text)]
    return named[0] if named else _visible_cpus()


def missing_blas(machine: Machine) -> str:
    """Why the threads of numpy's BLAS cannot be set; "" where they can, or where there is one core."""
    alone = machine.cores == 1 or importlib.util.find_spec("threadpoolctl") is not None
    return "" if alone else NO_THREADPOOLCTL


def _limit(library: Library) -> Limit:
    if library == "numba":
        import numba

        return partial(_swapped, numba.get_num_threads, numba.set_num_threads)
    if library == "torch":
        import torch

        return partial(_swapped, torch.get_num_threads, torch.set_num_threads)
    if importlib.util.find_spec("threadpoolctl") is None:
        return _as_they_are
    from threadpoolctl import ThreadpoolController  # type: ignore[import-not-found,unused-ignore]

    limit: Callable[..., AbstractContextManager[object]] = ThreadpoolController().limit
    return lambda threads: limit(limits=threads, user_api="blas")


@contextmanager
def _swapped(read: Callable[[], int], write: Callable[[int], None], threads: int) -> Iterator[None]:
    before = read()
    write(threads)
    try:
        yield
    finally:
        write(before)


@contextmanager
def _as_they_are(threads: int) -> Iterator[None]:
    yield


def _visible_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
