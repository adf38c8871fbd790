"""Every probe of a CPU without models: its calls run, give what the operator says, and move the bytes it counts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.calibration.probes import (  # noqa: F401  (they register probes)
    dispatch,
    host_copies,
    numpy_products,
    numpy_vector,
    stream,
    thread_scaling,
)
from simulator.calibration.probes.registry import PROBES, Case, Machine, Probe
from simulator.calibration.probes.threads import blas_threads
from simulator.calibration.samples import Measurement
from workloads.operators import Operator, OpKind, element_bytes
from workloads.runtimes import load_runtime

OWN = (
    "stream", "registers", "numpy.products", "numpy.batched", "numpy.attention", "numpy.vector", "numpy.dispatch",
    "torch.dispatch", "numpy.scaling", "torch.scaling", "host.copies", "disk",
)  # fmt: skip
MACHINES = [Machine("cpu", cores, 256e3, 50e6, ("fp32", "bf16"), quick=True) for cores in (1, 2)]
LARGE = Machine("cpu", 6, 32e6, 9e8, ("fp32",))


def fitting(probe: Probe, machine: Machine) -> list[Case]:
    return [case for case in probe.cases(machine) if case.bytes <= machine.memory_bytes]


@pytest.fixture(params=OWN)
def probe(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Probe:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return PROBES[request.param]


@pytest.mark.parametrize("machine", MACHINES, ids=["1 core", "2 cores"])
def test_calls_give_what_the_operator_says(probe: Probe, machine: Machine) -> None:
    if reason := probe.missing(machine):
        pytest.skip(reason)
    cases = fitting(probe, machine)
    assert cases
    for case in cases:
        call = case.prepare()
        for _ in range(2):
            check_result(case, call())


def check_result(case: Case, result: Any) -> None:
    """Shape and bytes of what a call returned."""
    o = case.operator
    if o.kind == OpKind.TRANSFER:
        assert (result if isinstance(result, int) else result.nbytes) == o.message_bytes
        return
    shape, bytes_ = tuple(result.shape), math.prod(result.shape) * result.itemsize
    if case.variant == "read":
        assert shape == (case.threads,)
    elif o.kind == OpKind.STREAM_COPY:
        assert shape == (o.m,)
        assert bytes_ == o.write_bytes / o.batch
    elif o.kind == OpKind.SAMPLING:
        assert shape == (o.m,)
    else:
        assert bytes_ == o.write_bytes, o
        assert shape[-2:] == expected_end(o)
        assert math.prod(shape) == o.m * o.n * o.batch


def expected_end(o: Operator) -> tuple[float, float]:
    if o.kind == OpKind.ROPE:
        return (o.n / 64, 64)
    return (4, o.n) if o.name == "multiply_add" else (o.m, o.n)


@pytest.mark.parametrize("machine", [*MACHINES, LARGE], ids=["1 core", "2 cores", "6 cores"])
def test_cases_differ_and_say_what_they_hold(probe: Probe, machine: Machine) -> None:
    keys = []
    for case in [*probe.cases(machine), *probe.more(machine)]:
        o = case.operator
        keys.append(Measurement(probe.name, o, 1.0, 1.0, 1.0, 1, "", case.variant, case.threads).key)
        assert case.bytes > 0.0
        assert 0 <= case.threads <= max(machine.cores, blas_threads(machine))
        assert o.message_bytes or o.moved_bytes
        assert o.dtype in ("fp32", "fp64") or o.kind == OpKind.TRANSFER
        assert not case.graph
    assert keys
    assert len(set(keys)) == len(keys)


def test_quick_is_a_part_of_the_whole(probe: Probe) -> None:
    quick = Machine("cpu", 4, 32e6, 9e8, ("fp32",), quick=True)
    whole = Machine("cpu", 4, 32e6, 9e8, ("fp32",))
    assert 0 < len(list(probe.cases(quick))) <= len(list(probe.cases(whole)))


def test_runtimes_exist_and_run_on_a_cpu(probe: Probe) -> None:
    assert probe.targets == ("cpu",)
    for name in probe.runtime.values():
        assert "cpu" in load_runtime(name).device_classes


def test_inputs_of_vector_operators_hold_their_bytes() -> None:
    for case in numpy_vector.cases(MACHINES[0]):
        o, arrays = case.operator, numpy_vector.operands(case.operator, case.variant)
        assert all(array.dtype == np.float32 for array in arrays if array.dtype != np.int64)
        if case.variant == "take":
            assert arrays[0].shape == (o.m,)
            assert arrays[1][0].nbytes * o.m == o.read_bytes
        elif case.variant == "argmax":
            assert 2.0 * arrays[0].nbytes == o.read_bytes
        else:
            read = arrays[:1] if case.variant == "rope" else [a for a in arrays if a.shape == arrays[0].shape]
            assert sum(array.nbytes for array in read) == o.read_bytes
            assert sum(array.nbytes for array in arrays if array.ndim == 1) == o.weight_bytes


def test_inputs_of_products_hold_their_bytes_and_flops() -> None:
    for case in fitting(PROBES["numpy.products"], MACHINES[1]):
        x, weights = numpy_products.operands(MACHINES[1], case.operator)
        o = case.operator
        assert x.nbytes == o.read_bytes
        assert {w.nbytes for w in weights} == {o.weight_bytes}
        assert x.nbytes + sum(w.nbytes for w in weights) + o.write_bytes == case.bytes
        assert o.flops == 2.0 * x.shape[0] * weights[0].size


@pytest.mark.parametrize("name", ["numpy.batched", "numpy.attention"])
def test_pairs_hold_their_bytes_and_flops(name: str) -> None:
    for case in PROBES[name].cases(MACHINES[1]):
        arrays = case.prepare().args  # type: ignore[attr-defined]
        assert sum(array.nbytes for array in arrays) == case.operator.read_bytes
        if case.operator.kind == OpKind.BATCHED_GEMM:
            (*heads, m, k), (*shared, _, n) = (array.shape for array in arrays)
            assert case.operator.flops == 2.0 * math.prod(np.broadcast_shapes(heads, shared)) * m * n * k


def test_products_without_fp32_are_missing() -> None:
    bf16 = Machine("cpu", 1, 256e3, 50e6, ("bf16",))
    for name in ("numpy.products", "numpy.vector", "numpy.scaling", "numpy.dispatch"):
        assert "fp32" in PROBES[name].missing(bf16)


def test_weights_take_turns_so_that_no_cache_holds_them() -> None:
    case = next(iter(numpy_products.cases(LARGE)))
    _, weights = numpy_products.operands(LARGE, case.operator)
    assert len({id(w) for w in weights}) * case.operator.weight_bytes > 2.0 * LARGE.cache_bytes
    assert element_bytes("fp32") == weights[0].itemsize
