"""The roofline kernel alone: each term of its equation, on a record whose numbers are round."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.kernels.roofline import (
    COMPUTE,
    ENERGY,
    LAW_DTYPE,
    MEMORY,
    OVERHEAD,
    TIME,
    family_of,
    padded,
    price,
    quantised,
)
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import FAMILIES, Operator, OpKind

Floats = npt.NDArray[np.float64]


def record(**values: float) -> Any:
    """A device of 1 PFLOP/s, 1 TB/s, 10 TFLOP/s of vectors, no cache, no overheads; ``values`` replace."""
    row = np.zeros(1, LAW_DTYPE)
    row["peaks"] = 1e15
    row["factors"] = 1.0
    defaults = {
        "vector_peak": 1e13, "bandwidth": 1e12, "vector_share": 1.0, "dequantize_share": 0.5, "weight_factor": 1.0,
        "overlap_exponent": 1e3, "graph_mode": 1.0,
    }  # fmt: skip
    for name, value in (defaults | values).items():
        row[name] = value
    return row


def cost(o: Operator, share: float = 1.0, stream: float = 1.0, **values: float) -> Floats:
    out = np.empty((5, 1))
    price(
        columns_of((o,)),
        0,
        record(**values)[0],
        share,
        stream,
        values.get("floor_s", 0.0),
        values.get("overlap_exponent", 1e3),
        out,
    )
    return out[:, 0]


GEMM = op.gemm("x", 1000, 1000, 1000)
"""2 GFLOP and 6 MB: 2 us of math and 6 us of memory on the record above."""


def test_the_slower_resource_sets_the_time() -> None:
    priced = cost(GEMM)
    assert priced[COMPUTE] == pytest.approx(2e-6)
    assert priced[MEMORY] == pytest.approx(6e-6)
    assert priced[TIME] == pytest.approx(6e-6)
    assert cost(GEMM, share=0.1)[TIME] == pytest.approx(20e-6)
    assert cost(GEMM, stream=0.5)[TIME] == pytest.approx(12e-6)


def test_imperfect_overlap_adds_times_as_a_norm() -> None:
    assert cost(GEMM, overlap_exponent=1.0)[TIME] == pytest.approx(8e-6)
    assert cost(GEMM, overlap_exponent=2.0)[TIME] == pytest.approx((2**2 + 6**2) ** 0.5 * 1e-6)


def test_floor_gap_and_launch() -> None:
    assert cost(GEMM, floor_s=1e-6)[TIME] == pytest.approx(7e-6)
    assert cost(GEMM, gap_s=1e-6)[TIME] == pytest.approx(7e-6)
    assert cost(GEMM, graph_mode=0.0, launch_s=5e-6)[TIME] == pytest.approx(6e-6), "launched while the last one runs"
    assert cost(GEMM, graph_mode=0.0, launch_s=9e-6)[TIME] == pytest.approx(9e-6)
    assert cost(GEMM, graph_mode=1.0, launch_s=9e-6)[TIME] == pytest.approx(6e-6)
    assert cost(GEMM, graph_mode=0.0, launch_s=9e-6, gap_s=1e-6, floor_s=2e-6)[OVERHEAD] == pytest.approx(4e-6)


def test_a_loop_of_kernels_pays_for_each() -> None:
    one, many = (op.moe_gemm("moe", 1000, 64, 64, 8, 2, calls=c) for c in (1, 24))
    assert cost(many)[TIME] == cost(one)[TIME], "the work is the same"
    extra = cost(many, floor_s=1e-6, gap_s=1e-6)[TIME] - cost(one, floor_s=1e-6, gap_s=1e-6)[TIME]
    assert extra == pytest.approx(23 * 2e-6)
    launched = cost(many, graph_mode=0.0, launch_s=1e-3)[TIME]
    assert launched == pytest.approx(24e-3)


def test_runtime_factors_scale_their_family() -> None:
    factors = np.ones(len(FAMILIES))
    factors[FAMILIES.index("gemm")] = 0.5
    row = record(weight_factor=0.25)
    row["factors"][0] = factors
    out = np.empty((5, 2))
    columns = columns_of((GEMM, op.norm("n", 1000, 1000)))
    for i in range(2):
        price(columns, i, row[0], 1.0, 1.0, 0.0, 1e3, out)
    assert out[COMPUTE, 0] == pytest.approx(4e-6)
    assert out[MEMORY, 0] == pytest.approx(24e-6), "products stream at the runtime's factor for weights"
    assert out[MEMORY, 1] == pytest.approx(4.002e-6)


def test_vector_work_and_unpacking_have_their_own_rates() -> None:
    norm = op.norm("n", 1000, 1000)
    assert cost(norm, bandwidth=1e18, vector_share=0.5)[TIME] == pytest.approx(5e6 / 5e12)
    packed = op.gemm("x", 1, 1000, 1000, weight_bits=4.0, dequantize=True)
    assert cost(packed, bandwidth=1e18)[TIME] == pytest.approx(1e6 / 5e12)


def test_activations_that_fit_come_from_the_cache() -> None:
    """4 MB of activations and 2 MB of weights; a cache of twice the activations holds them."""
    cached = {"cache_bandwidth": 4e12}
    assert cost(GEMM, cache_bytes=8e6, **cached)[MEMORY] == pytest.approx(2e-6 + 1e-6)
    assert cost(GEMM, cache_bytes=7e6, **cached)[MEMORY] == pytest.approx(6e-6)
    assert cost(GEMM, cache_bytes=8e6, cache_bandwidth=1e9)[MEMORY] == pytest.approx(6e-6), "never slower than DRAM"
    decode = op.attention("a", 1, 100, 8, 8, 64)
    assert cost(decode, cache_bytes=1e9, **cached)[MEMORY] == cost(decode)[MEMORY], "a KV cache is not resident"


POWER = {
    "static_w": 100.0,
    "rated_w": 500.0,
    "power_math": 1.0,
    "power_memory": 0.6,
    "power_limit": 1.0,
    "power_root": 0.5,
    "cap_w": 500.0,
}


def test_energy_is_activity_and_static_power() -> None:
    """2 us of math in 6 us of moving bytes at full bandwidth: above what the board may draw."""
    assert cost(GEMM, **POWER)[ENERGY] == pytest.approx(500.0 * 6e-6)
    slower = cost(GEMM, stream=0.1, **POWER)
    assert slower[TIME] == pytest.approx(60e-6)
    assert slower[ENERGY] / slower[TIME] == pytest.approx(100.0 + 500.0 * ((2.0 / 60.0) ** 0.5 + 0.6 * 0.1))


def test_the_power_cap_stretches_the_time() -> None:
    """400 W beyond static power are 200 W at 2^(-1/3) of the clock."""
    priced = cost(GEMM, **POWER | {"cap_w": 300.0})
    assert priced[TIME] == pytest.approx(6e-6 * 2.0 ** (1.0 / 3.0))
    assert priced[ENERGY] / priced[TIME] == pytest.approx(300.0)


@given(
    share=st.floats(0.01, 1.0), stream=st.floats(0.01, 1.0), exponent=st.floats(1.0, 50.0),
    m=st.integers(1, 5000), n=st.integers(1, 5000), k=st.integers(1, 5000),
)  # fmt: skip
def test_time_lies_between_the_best_and_the_sum(
    share: float, stream: float, exponent: float, m: int, n: int, k: int
) -> None:
    priced = cost(op.gemm("x", m, n, k), share, stream, overlap_exponent=exponent)
    slower = max(priced[COMPUTE], priced[MEMORY])
    assert slower * (1 - 1e-12) <= priced[TIME] <= (priced[COMPUTE] + priced[MEMORY]) * (1 + 1e-12)
    assert cost(op.gemm("x", m, n, k), share, stream, overlap_exponent=exponent + 1)[TIME] <= priced[TIME] * (1 + 1e-12)


def test_a_law_that_grants_too_much_still_meets_the_roof() -> None:
    assert cost(GEMM, share=5.0, stream=5.0)[TIME] == pytest.approx(6e-6)


@pytest.mark.parametrize("kind", [OpKind.ALL_REDUCE, OpKind.SEND_RECV, OpKind.ALL_TO_ALL])
def test_communication_is_not_priced_by_a_device(kind: OpKind) -> None:
    assert np.all(cost(op.collective("c", kind, 1e9, 8, "tp"), floor_s=1.0, gap_s=1.0) == 0.0)
    assert np.all(cost(op.transfer("t", 1e9), floor_s=1.0) == 0.0)


def test_nothing_costs_only_overhead() -> None:
    assert cost(op.norm("n", 0, 0), gap_s=1e-6, floor_s=2e-6)[TIME] == pytest.approx(3e-6)


@given(st.integers(1, 10**6), st.integers(1, 512))
def test_padding_and_waves(size: int, tile: int) -> None:
    assert padded(float(size), float(tile)) == -(-size // tile) * tile
    waves = -(-size // tile)
    assert quantised(float(size), float(tile)) == pytest.approx(size / (waves * tile))
    assert 0.5 < quantised(float(size), float(tile)) <= 1.0 or size < tile


def test_families_of_kernels_are_those_of_operators() -> None:
    for kind in OpKind:
        assert FAMILIES[family_of(int(kind))] == op.FAMILY[kind]
