"""Calls run on the threads that they are given, and leave the number as it was."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
from collections.abc import Iterator

import numba
import pytest

from simulator.calibration.probes import thread_scaling, threads
from simulator.calibration.probes.registry import Machine

TWO = Machine("cpu", 2, 256e3, 50e6, ("fp32",))


@pytest.fixture
def no_threadpoolctl(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "threadpoolctl" else found(name))


class Blas:
    """A BLAS whose threads a controller of threadpoolctl sets."""

    threads = 7

    @contextlib.contextmanager
    def limit(self, *, limits: int, user_api: str) -> Iterator[None]:
        assert user_api == "blas"
        before, Blas.threads = Blas.threads, limits
        yield
        Blas.threads = before


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (8, (1, 2, 4, 8)), (12, (1, 2, 4, 8, 12))]
)
def test_powers(cores: int, counts: tuple[int, ...]) -> None:
    assert threads.powers(cores) == counts


def test_numba_threads_hold_while_a_call_is_made_and_runs() -> None:
    before, seen = numba.get_num_threads(), []

    def make() -> object:
        seen.append(numba.get_num_threads())
        return lambda: seen.append(numba.get_num_threads())

    call = threads.within("numba", 1, make)  # type: ignore[arg-type]
    assert numba.get_num_threads() == before
    call()
    assert seen == [1, 1]
    assert numba.get_num_threads() == before


def test_the_number_comes_back_after_an_error() -> None:
    before = numba.get_num_threads()

    def fail() -> object:
        raise RuntimeError("no memory")

    call = threads.within("numba", 1, lambda: fail)
    with pytest.raises(RuntimeError, match="no memory"):
        call()
    assert numba.get_num_threads() == before


def test_torch_threads() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    assert threads.within("torch", before + 1, lambda: torch.get_num_threads)() == before + 1
    assert torch.get_num_threads() == before


def test_blas_threads_are_set_by_threadpoolctl(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("threadpoolctl")
    module.ThreadpoolController = Blas  # type: ignore[attr-defined]
    module.__spec__ = importlib.util.spec_from_loader("threadpoolctl", None)
    monkeypatch.setitem(sys.modules, "threadpoolctl", module)
    assert threads.within("blas", 3, lambda: lambda: Blas.threads)() == 3
    assert Blas.threads == 7
    assert threads.blas_threads(TWO) == 2
    assert thread_scaling.missing_numpy(TWO) == ""


@pytest.mark.usefixtures("no_threadpoolctl")
def test_without_threadpoolctl_the_blas_keeps_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert threads.blas_threads(TWO) == 3
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert threads.blas_threads(TWO) >= 1
    assert "pip install threadpoolctl" in thread_scaling.missing_numpy(TWO)
    assert thread_scaling.missing_numpy(Machine("cpu", 1, 256e3, 50e6, ("fp32",))) == ""
    assert threads.within("blas", 5, lambda: lambda: "called")() == "called"


def test_scaling_asks_for_every_count() -> None:
    six = Machine("cpu", 6, 1e6, 50e6, ("fp32",))
    products = [c.threads for c in thread_scaling.torch_cases(six) if c.operator.flops]
    streams = [c.threads for c in thread_scaling.numpy_cases(six) if not c.operator.flops]
    assert (products, streams) == ([1, 2, 4, 6], [1])
    stream = next(c.operator for c in thread_scaling.torch_cases(six) if not c.operator.flops)
    assert (stream.read_bytes, stream.write_bytes) == (8.0 * stream.m, 4.0 * stream.m)
    assert 0.8 * six.memory_bytes < stream.moved_bytes <= 0.9 * six.memory_bytes
