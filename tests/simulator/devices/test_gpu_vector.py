"""Vector operators on GPUs: floors and bandwidth at the ends, rows in turns, caches, hosts, and fits that find back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from hardware_specs.devices import load_device
from hardware_specs.dtypes import COMPUTE_DTYPES
from hardware_specs.records import DeviceSpec
from simulator.devices.gpu_vector import PARAMETERS, blocks_of, resident_share, turns, vector, vector_bytes_s
from simulator.devices.priors import cache_bandwidth, cache_bytes, units, vector_peak
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import Operator

FACTS: dict[str, Callable[[DeviceSpec], float]] = {
    "units": units,
    "vector_peak": vector_peak,
    "cache_bytes": cache_bytes,
    "cache_bandwidth": cache_bandwidth,
    "bandwidth": lambda spec: spec.memory.bandwidth.value,
}
NAMES = (*FACTS, "timed_alone", *(parameter.name for parameter in PARAMETERS))
DTYPE = np.dtype([("peaks", "f8", (len(COMPUTE_DTYPES),)), *((name, "f8") for name in NAMES)])

MAKE: dict[str, Callable[[float, float], Operator]] = {
    "rms norm": lambda rows, cols: op.norm("x", rows, cols),
    "layer norm": lambda rows, cols: op.norm("x", rows, cols, "fp32", bias=True),
    "rope": lambda rows, cols: op.rope("x", rows, cols),
    "gated": lambda rows, cols: op.activation("x", rows, cols, gated=True),
    "gelu": lambda rows, cols: op.activation("x", rows, cols),
    "add": lambda rows, cols: op.elementwise("x", rows, cols),
    "softmax": lambda rows, cols: op.softmax("x", rows, cols, "fp32"),
    "sampling": lambda rows, cols: op.sampling("x", rows, cols),
    "look-up": lambda rows, cols: op.embedding("x", rows, cols),
    "scan": lambda rows, cols: op.ssm_scan("x", rows, cols, 16.0),
}
SIZE = st.integers(1, 200_000)
SOME = st.sampled_from(["h100-sxm-80gb", "a40", "rtx-4090", "p4-pcie-8gb", "mi300x", "apple-m2-ultra"])


def record(device: str, **values: float) -> Any:
    """The law's parameters of a device: facts and priors, but for ``values``."""
    spec = load_device(device)
    made = np.zeros(1, DTYPE)
    made["timed_alone"] = 1.0
    made["peaks"] = 1e15
    for name, fact in FACTS.items():
        made[name] = fact(spec)
    for parameter in PARAMETERS:
        made[parameter.name] = parameter.prior(spec)
    for name, value in values.items():
        made[name] = value
    return made[0]


def seconds(p: Any, *operators: Operator) -> list[float]:
    """Kernel time of each operator, roof of the bytes included."""
    columns = columns_of(operators)
    times = []
    for i in range(len(operators)):
        units_s, memory_s, fixed_s, q = vector(p, columns, i)
        longer, shorter = max(units_s, memory_s), min(units_s, memory_s)
        joined = longer * (1.0 + (shorter / longer) ** q) ** (1.0 / q) + columns.calls[i] * fixed_s
        times.append(max(joined, vector_bytes_s(p, columns, i)))
    return times


@given(SOME, st.sampled_from(sorted(MAKE)), SIZE, SIZE, SIZE, st.booleans())
@settings(max_examples=300, deadline=None)
def test_more_rows_or_columns_are_never_faster(
    device: str, kind: str, few: int, more: int, other: int, rows: bool
) -> None:
    few, more = sorted((few, more))
    if kind == "look-up" and rows:
        few, more = few + 16, more + 16
    sizes = [(few, other), (more, other)] if rows else [(other, few), (other, more)]
    short, long = seconds(record(device), *(MAKE[kind](*map(float, size)) for size in sizes))
    assert long >= short * (1.0 - 1e-9)


@pytest.mark.parametrize("device", ["h100-sxm-80gb", "a40", "t4"])
@pytest.mark.parametrize("kind", sorted(set(MAKE) - {"look-up"}))
def test_a_tiny_operator_takes_little_more_than_the_floor(device: str, kind: str) -> None:
    p = record(device)
    (tiny,) = seconds(p, MAKE[kind](1.0, 8.0))
    assert p["vector_floor_s"] <= tiny < p["vector_floor_s"] + 1e-6


@pytest.mark.parametrize("device", ["h100-sxm-80gb", "a40", "t4"])
def test_a_huge_copy_streams_at_the_share_of_the_bandwidth(device: str) -> None:
    p = record(device)
    (copy,) = seconds(p, op.stream_copy("x", 1e12))
    assert copy == pytest.approx(1e12 / (p["bandwidth"] * p["vector_stream"]), rel=1e-3)


def test_slow_kernels_are_bound_by_the_multiprocessors_and_not_by_memory() -> None:
    p = record("h100-sxm-80gb", vector_lookup_rate=2.5)
    lookup, add = seconds(p, op.embedding("x", 1e5, 8192.0), op.elementwise("x", 1e5, 8192.0))
    assert lookup == pytest.approx(4.0 * 1e5 * 8192.0 / (p["units"] * 2.5 * p["vector_clock"]), rel=0.15)
    assert lookup > 2.0 * add


def test_rows_run_in_turns_of_the_blocks_that_fit() -> None:
    assert [turns(rows, 2.0, 1.3) for rows in (0.5, 1.0, 1.5, 2.0, 2.1, 4.0)] == [1.3, 1.3, 1.5, 2.0, 3.3, 4.0]
    p = record("a100-sxm-80gb", vector_far=1.0)
    one, full, spilled = seconds(p, *(op.norm("x", rows, 8192.0) for rows in (1.0, 216.0, 217.0)))
    assert full < 1.5 * one
    assert spilled - full > 0.6 * (full - p["vector_floor_s"])


def test_multiprocessors_hold_one_or_two_large_blocks() -> None:
    held = {name: blocks_of(load_device(name)) for name in ("p4-pcie-8gb", "v100-pcie-32gb", "t4", "a40", "rtx-4090")}
    assert held == {"p4-pcie-8gb": 2.0, "v100-pcie-32gb": 2.0, "t4": 1.0, "a40": 1.0, "rtx-4090": 1.0}


@given(st.floats(1e3, 1e10))
def test_residency_falls_with_the_bytes_without_a_step(moved: float) -> None:
    p = record("h100-sxm-80gb")
    here, there = resident_share(p, moved), resident_share(p, moved * 1.001)
    assert 0.0 <= there <= here <= 1.0
    assert here - there < 2e-3


def test_what_fits_the_cache_moves_at_its_bandwidth() -> None:
    p = record("rtx-4090")
    cached, large = seconds(p, op.elementwise("x", 1000.0, 1000.0), op.elementwise("x", 1e5, 1e4))
    rates = 6e6 / (cached - p["vector_floor_s"]), 6e9 / large
    assert rates[0] == pytest.approx(p["cache_bandwidth"] * p["vector_cache_share"], rel=0.02)
    assert rates[1] < 1.03 * p["bandwidth"] * p["vector_stream"]


def test_without_a_cache_in_the_datasheet_nothing_is_resident() -> None:
    p = record("h100-sxm-80gb", cache_bytes=0.0)
    assert resident_share(p, 1.0) == 0.0
    assert np.isfinite(seconds(p, *(make(3.0, 2000.0) for make in MAKE.values()))).all()


def test_rows_in_flight_that_outgrow_the_cache_are_read_again_from_memory() -> None:
    fast = {"vector_reread": 8.0, "vector_softmax_rate": 120.0, "vector_norm_rate": 120.0}
    p = record("v100-pcie-32gb", **fast)
    stream = p["bandwidth"] * p["vector_stream"]
    for kind, passes in (("layer norm", 3.0), ("softmax", 4.0)):
        wide, narrow = seconds(p, MAKE[kind](2e4, 65536.0), MAKE[kind](5e6, 256.0))
        assert wide == pytest.approx(passes * 4.0 * 2e4 * 65536.0 / stream, rel=0.08)
        assert narrow < 1.2 * 2.0 * 4.0 * 5e6 * 256.0 / stream


def test_the_host_is_seen_where_calls_are_timed_alone() -> None:
    eager = record("v100-pcie-32gb", vector_before_s=15e-6, vector_after=1.2)
    alone = record("v100-pcie-32gb")
    short, long = op.elementwise("x", 64.0, 64.0), op.elementwise("x", 1e5, 4096.0)
    assert seconds(eager, short)[0] == pytest.approx(15e-6 * 2.2)
    assert seconds(eager, long)[0] - seconds(alone, long)[0] == pytest.approx(15e-6)
    assert seconds(eager, op.norm("x", 64.0, 64.0))[0] > 1.5 * seconds(eager, short)[0]


def test_a_few_look_ups_go_one_by_one() -> None:
    p = record("h100-sxm-80gb")
    eight, sixteen, seventeen = seconds(p, *(op.embedding("x", rows, 4096.0) for rows in (8.0, 16.0, 17.0)))
    assert sixteen - eight == pytest.approx(8.0 * p["vector_lookup_s"], rel=0.1)
    assert seventeen < eight


def test_priors_lie_in_the_ranges_of_fits() -> None:
    specs: list[DeviceSpec] = [load_device(name) for name in ("h100-sxm-80gb", "a40", "mi300x", "apple-m1")]
    names = [parameter.name for parameter in PARAMETERS]
    assert len(set(names)) == len(names)
    for parameter in PARAMETERS:
        values = [parameter.prior(spec) for spec in specs]
        assert all(value >= 0.0 and np.isfinite(value) for value in values)
        if parameter.free:
            assert all(parameter.low <= value <= parameter.high for value in values)
            assert parameter.families == ("vector",)


def test_a_fit_finds_the_parameters_that_made_the_times() -> None:
    truth = {
        "vector_floor_s": 2.4e-6,
        "vector_stream": 0.8,
        "vector_norm_rate": 5.0,
        "vector_activation_rate": 7.0,
        "vector_row_s": 2e-7,
    }
    rows, cols = (1.0, 100.0, 500.0, 3000.0, 20000.0), (1024.0, 4096.0, 16384.0)
    kinds = ("rms norm", "gated", "add")
    operators = [MAKE[kind](m, n) for kind in kinds for m in rows for n in cols]
    measured = np.log(seconds(record("a100-sxm-80gb", **truth), *operators))

    def misses(u: np.ndarray) -> np.ndarray:
        values = dict(zip(truth, np.exp(u).tolist(), strict=True))
        return np.log(seconds(record("a100-sxm-80gb", **values), *operators)) - measured

    prior = record("a100-sxm-80gb")
    found = np.exp(least_squares(misses, np.log([float(prior[name]) for name in truth])).x)
    assert dict(zip(truth, found.tolist(), strict=True)) == pytest.approx(truth, rel=0.02)
