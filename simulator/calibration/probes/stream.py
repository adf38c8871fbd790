"""STREAM and plain reading from inside the first cache to memory, and multiply-adds in registers, in numba.

Bytes are counted as STREAM does: copy and scale move two arrays, add and triad three (McCalpin, "Memory bandwidth and
machine balance in current high performance computers", IEEE TCCA Newsletter, 1995); that a core reads a line before it
writes it is not counted. Reading, which is what weights and caches of keys ask for, is a sum. Threads write the arrays
first that they later walk through. Arrays that caches hold are walked through many times per call, ``batch`` of the
operator, so that fork and join of the threads are a few per cent of it; ``moved_bytes`` counts all passes, and
``moved_bytes / batch`` is what the arrays take together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from simulator.calibration.probes.registry import Call, Case, Machine, Probe, register
from simulator.calibration.probes.threads import powers, within
from workloads import operators as op


class Stream(NamedTuple):
    """Arrays that a stream reads and writes, and FLOPs per number."""

    reads: int
    writes: int
    flops: int


STREAMS: Final = {
    "triad": Stream(2, 1, 2), "read": Stream(1, 0, 1), "copy": Stream(1, 1, 0), "add": Stream(2, 1, 1),
    "scale": Stream(1, 1, 1),
}  # fmt: skip
"""The streams by name, the most telling first."""
FACTOR: Final = 3.0
FIRST, SECOND, THIRD = 1.0, 2.0, 0.5
"""What the arrays a, b and c hold before."""
_SMALLEST: Final = 16 << 10
"""Working set of a thread inside any first cache [B]."""
_STEP: Final = 4
_LINE: Final = 16
"""Numbers of a cache line."""
_OUTSIDE: Final = 8.0
"""Caches that the arrays of a stream from memory would fill."""
_LEAST: Final = 64 << 20
_UNKNOWN_CACHE: Final = 32 << 20
"""Assumed where the cache is not known [B]."""
_MOVED: Final = 16 << 20
"""Bytes that each thread moves in a call at least: 80 us at 200 GB/s, to which fork and join add 2 to 5 us."""
_CHAIN: Final = 512
_MULTIPLY_ADDS: Final = 1 << 22
"""Multiply-adds of a thread in a call: some 50 us or more."""


def missing(machine: Machine) -> str:
    """Why threads cannot be used as the machine has them; "" where they can."""
    import numba

    most = int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    return "" if most >= machine.cores else f"numba may use {most} threads (NUMBA_NUM_THREADS) of {machine.cores} cores"


def cases(machine: Machine) -> Iterator[Case]:
    """Streams from memory on 1, 2, 4 ... cores, then triad and read in the caches of one core and of all."""
    far, counts = outside(machine), powers(machine.cores)
    for name in list(STREAMS)[: 3 if machine.quick else None]:
        for threads in counts[::-1] if name in ("triad", "read") else sorted({1, machine.cores}, reverse=True):
            yield _case(name, far, threads)
    for threads in sorted({1, machine.cores}, reverse=True):
        for set_bytes in inside(machine, threads):
            for name in STREAMS if set_bytes == _SMALLEST * threads and not machine.quick else ("triad", "read"):
                yield _case(name, set_bytes, threads)


def outside(machine: Machine) -> int:
    """Bytes of all arrays of a stream that comes from memory [B]."""
    wanted = max(_OUTSIDE * (machine.cache_bytes or _UNKNOWN_CACHE), _LEAST)
    return int(min(wanted, 0.9 * machine.memory_bytes))


def inside(machine: Machine, threads: int) -> list[int]:
    """Bytes of all arrays of streams that caches hold, from the first cache to half of the last [B]."""
    most = 0.5 * min(machine.cache_bytes or _UNKNOWN_CACHE, machine.memory_bytes)
    sizes = [_SMALLEST * threads * _STEP**power for power in range(12)]
    return [size for size in sizes if size <= most][:: 2 if machine.quick else 1]


def _case(name: str, set_bytes: int, threads: int) -> Case:
    """The case of a stream whose arrays take ``set_bytes`` together."""
    kind = STREAMS[name]
    arrays = kind.reads + kind.writes
    each = max(set_bytes // (4 * arrays * threads * _LINE), 1) * threads * _LINE
    own_bytes = 4.0 * arrays * each
    passes = max(int(_MOVED * threads / own_bytes), 1)
    operator = replace(
        op.stream_copy(f"stream.{name}", passes * own_bytes), m=float(each), batch=float(passes),
        vector_flops=float(passes * kind.flops * each),
        read_bytes=passes * 4.0 * kind.reads * each, write_bytes=passes * 4.0 * kind.writes * each,
    )  # fmt: skip
    return Case(operator, partial(_prepare, name, each, threads, passes), own_bytes, name, threads)


def arrays_of(name: str, each: int, threads: int) -> tuple[Any, ...]:
    """Arrays a, b and c, fp32 of shape [each], or empty where the stream has none; each thread's pages are its own."""
    from simulator.calibration.probes import stream_kernels

    kind, nothing, sums = STREAMS[name], np.empty(0, np.float32), np.empty(threads, np.float32)
    count = kind.reads + kind.writes
    arrays = tuple(_aligned(each) if place < count else nothing for place in range(3))
    for array, value in zip(arrays, (FIRST, SECOND, THIRD), strict=True):
        stream_kernels.stream(stream_kernels.FILL, array, nothing, nothing, np.float32(value), 1, sums)
    return arrays


def _aligned(count: int) -> Any:
    """An array of ``count`` fp32 that begins with a cache line: vectors that lie across two take twice as long."""
    room = np.empty(count + _LINE, np.float32)
    first = -(room.ctypes.data // room.itemsize) % _LINE
    return room[first : first + count]


def _prepare(name: str, each: int, threads: int, passes: int) -> Call:
    from simulator.calibration.probes import stream_kernels

    def make() -> Call:
        a, b, c = arrays_of(name, each, threads)
        code = getattr(stream_kernels, name.upper())
        sums, factor = np.zeros(threads, np.float32), np.float32(FACTOR)

        def call() -> object:
            stream_kernels.stream(code, a, b, c, factor, passes, sums)
            return sums if name == "read" else a

        return call

    return within("numba", threads, make)


def multiply_adds(machine: Machine) -> Iterator[Case]:
    """Multiply-adds whose operands stay in registers: the peak of the vector units, on one core and on all."""
    from simulator.calibration.probes.stream_kernels import CHAINS, DEPTH

    passes = _MULTIPLY_ADDS // (CHAINS * DEPTH * _CHAIN)
    for threads in sorted({1, machine.cores}, reverse=True):
        for dtype in ("fp32",) if machine.quick else ("fp32", "fp64"):
            moved = op.elementwise("multiply_add", CHAINS * threads, _CHAIN, dtype, inputs=1)
            operator = replace(moved, vector_flops=2.0 * DEPTH * passes * moved.m * moved.n)
            yield Case(operator, partial(_prepare_peak, threads, dtype, passes), moved.read_bytes, "registers", threads)


def _prepare_peak(threads: int, dtype: str, passes: int) -> Call:
    from simulator.calibration.probes import stream_kernels

    number = np.dtype(np.float32 if dtype == "fp32" else np.float64).type

    def make() -> Call:
        x = np.full((threads, stream_kernels.CHAINS, _CHAIN), 0.5, number)
        factor, term = number(0.5), number(0.25)

        def call() -> object:
            stream_kernels.multiply_add(x, factor, term, passes)
            return x

        return call

    return within("numba", threads, make)


register(Probe("stream", ("cpu",), {}, missing, cases))
register(Probe("registers", ("cpu",), {}, missing, multiply_adds))
