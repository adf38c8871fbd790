"""Streams do what they are called, on each thread's part; sizes go from the first cache to memory."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from simulator.calibration.probes import stream, stream_kernels
from simulator.calibration.probes.registry import Machine

TINY = Machine("cpu", 2, 256e3, 50e6, ("fp32",))
SERVER = Machine("cpu", 12, 32 * 2**20, 9e8, ("fp32",))
RESULTS = {"copy": 2.0, "scale": 6.0, "add": 2.5, "triad": 3.5}


@pytest.mark.parametrize("name", list(stream.STREAMS))
@pytest.mark.parametrize("threads", [1, 2])
def test_results(name: str, threads: int) -> None:
    if reason := stream.missing(TINY):
        pytest.skip(reason)
    case = next(c for c in stream.cases(TINY) if c.variant == name and c.threads == threads and c.operator.batch > 1)
    before = numba.get_num_threads()
    found = case.prepare()()
    assert isinstance(found, np.ndarray)
    if name == "read":
        assert found.sum() == case.operator.batch * case.operator.m * stream.FIRST
        assert len(set(found)) == 1
    else:
        assert (found == RESULTS[name]).all()
    assert numba.get_num_threads() == before


@pytest.mark.parametrize("n", [1, 7, 64, 1000])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_number_is_reached_once(n: int, threads: int) -> None:
    rng = np.random.default_rng(n)
    a, b, c = (rng.integers(0, 50, n).astype(np.float32) for _ in range(3))
    sums = np.zeros(threads, np.float32)
    stream_kernels.stream(stream_kernels.READ, a, b, c, np.float32(0), 3, sums)
    assert sums.sum() == 3.0 * a.sum()
    stream_kernels.stream(stream_kernels.TRIAD, a, b, c, np.float32(2), 2, sums)
    np.testing.assert_array_equal(a, b + 2 * c)


def test_bytes_and_flops_are_those_of_stream() -> None:
    for case in stream.cases(SERVER):
        o, kind = case.operator, stream.STREAMS[case.variant]
        assert o.name == f"stream.{case.variant}"
        assert o.moved_bytes == o.batch * (kind.reads + kind.writes) * 4 * o.m
        assert case.bytes == o.moved_bytes / o.batch
        assert o.vector_flops == o.batch * o.m * {"copy": 0, "scale": 1, "add": 1, "triad": 2, "read": 1}[case.variant]
        assert o.m % (16 * case.threads) == 0


def test_arrays_hold_the_bytes_and_begin_with_a_line() -> None:
    for name, kind in stream.STREAMS.items():
        arrays = stream.arrays_of(name, 4096, 1)
        assert sum(array.nbytes for array in arrays) == 4 * 4096 * (kind.reads + kind.writes)
        assert all(array.ctypes.data % 64 == 0 for array in arrays if array.size)


@pytest.mark.parametrize("quick", [False, True])
def test_sizes_span_caches_and_memory(quick: bool) -> None:
    machine = Machine("cpu", 12, 32 * 2**20, 9e8, ("fp32",), quick)
    for name in ("triad", "read"):
        sets = {t: [c.bytes for c in stream.cases(machine) if c.variant == name and c.threads == t] for t in (1, 12)}
        for threads, bytes_ in sets.items():
            assert min(bytes_) <= 16 * 1024 * threads
            assert 6 * machine.cache_bytes < max(bytes_) <= 0.9 * machine.memory_bytes
            assert sum(size <= machine.cache_bytes / 2 for size in bytes_) >= (2 if quick else 4)
        counts = {c.threads for c in stream.cases(machine) if c.variant == name and c.bytes > machine.cache_bytes}
        assert counts == {1, 2, 4, 8, 12}


def test_cached_arrays_are_walked_through_often_and_others_once() -> None:
    for case in stream.cases(SERVER):
        moved = case.operator.moved_bytes
        assert case.operator.batch == 1 or 0.5 * (16 << 20) < moved / case.threads <= 16 << 20
        assert case.bytes > 8 << 20 or moved > 8 << 20


def test_memory_bounds_what_is_asked_for() -> None:
    large = Machine("cpu", 2, 400e6, 100e6, ("fp32",))
    assert all(case.bytes <= large.memory_bytes for case in stream.cases(large))
    unknown = Machine("cpu", 2, 0.0, 9e8, ("fp32",))
    assert stream.outside(unknown) >= 256e6


def test_multiply_adds() -> None:
    x = np.linspace(0.0, 1.0, 2 * 4 * 8).reshape(2, 4, 8)
    wanted = x.copy()
    for _ in range(2 * stream_kernels.DEPTH):
        wanted = wanted * 0.9 + 0.2
    stream_kernels.multiply_add(x, 0.9, 0.2, 2)
    np.testing.assert_allclose(x, wanted, rtol=1e-13)
    for case in stream.multiply_adds(SERVER):
        o, size = case.operator, 8 if case.operator.dtype == "fp64" else 4
        assert o.read_bytes == case.bytes == size * o.m * o.n
        assert o.m == 4 * case.threads
        assert o.vector_flops / (2 * stream_kernels.DEPTH * o.m * o.n) == 64


@pytest.mark.parametrize("threads", [1, 2])
def test_kernels_run_on_the_threads_of_the_case(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := stream.missing(TINY):
        pytest.skip(reason)
    seen: list[int] = []
    for name in ("stream", "multiply_add"):
        monkeypatch.setattr(stream_kernels, name, lambda *_: seen.append(numba.get_num_threads()))
    for cases in (stream.cases(TINY), stream.multiply_adds(TINY)):
        next(case for case in cases if case.threads == threads).prepare()()
    assert len(seen) == 5  # three arrays are filled first
    assert set(seen) == {threads}


def test_missing_says_what_numba_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 2)
    assert stream.missing(TINY) == ""
    assert stream.missing(SERVER) == "numba may use 2 threads (NUMBA_NUM_THREADS) of 12 cores"
