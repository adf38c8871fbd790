"""Experts on GPUs: limits, monotony, and parameters that come back from times made with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import least_squares

from hardware_specs.devices import load_device
from hardware_specs.dtypes import CODE, COMPUTE_DTYPES
from simulator.devices import priors
from simulator.devices.gpu_experts import PARAMETERS, experts, row_tiles
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import FAMILIES, Operator

Floats = npt.NDArray[np.float64]

FACTS = ("bandwidth", "units", "vector_peak", "dequantize_share", "weight_factor")
RECORD = np.dtype(
    [
        ("peaks", "f8", (len(COMPUTE_DTYPES),)),
        ("factors", "f8", (len(FAMILIES),)),
        *[(n, "f8") for n in (*FACTS, *[p.name for p in PARAMETERS])],
    ]
)
H100 = load_device("h100-sxm-80gb")


def record(**parameters: float) -> Any:
    """An H100 with class priors, but for ``parameters``."""
    made = np.zeros(1, RECORD)[0]
    for dtype in ("bf16", "fp8"):
        made["peaks"][CODE[dtype]] = H100.compute.peaks[dtype].value
    made["bandwidth"], made["units"] = H100.memory.bandwidth.value, priors.units(H100)
    made["vector_peak"], made["dequantize_share"] = priors.vector_peak(H100), 0.25
    made["factors"] = made["weight_factor"] = 1.0
    for parameter in PARAMETERS:
        made[parameter.name] = parameter.prior(H100)
    for name, value in parameters.items():
        made[name] = value
    return made


def seconds(operators: list[Operator], p: Any) -> Floats:
    """Seconds of each operator, as the roofline joins the parts."""
    columns = columns_of(operators)
    times = np.empty(len(operators))
    for i, operator in enumerate(operators):
        compute_s, memory_s, fixed_s, overlap = experts(p, columns, i)
        times[i] = np.logaddexp(overlap * np.log(compute_s), overlap * np.log(memory_s)) / overlap
        times[i] = np.exp(times[i]) + operator.calls * fixed_s
    return times


PRIOR = record()
PLAIN = record(moe_fixed_s=1e-12, moe_expert_s=1e-15, moe_passes=1e-6, moe_row_s=1e-15)
"""Nothing but the launches."""

WIDTHS = st.sampled_from([64, 100, 352, 768, 2048, 14336])
EXPERTS = st.sampled_from([(8, 2), (16, 1), (128, 8), (512, 10)])
TOKENS = st.sampled_from([1, 3, 16, 100, 512, 4096, 20000])


@pytest.mark.parametrize("parameter", [p for p in PARAMETERS if p.free], ids=lambda p: p.name)
def test_priors_lie_in_their_ranges(parameter: Any) -> None:
    assert parameter.low < parameter.prior(H100) < parameter.high


@pytest.mark.parametrize(("experts_", "top_k"), [(128, 8), (8, 2), (512, 10)])
def test_one_token_streams_its_experts(experts_: int, top_k: int) -> None:
    p = record(moe_fixed_s=1e-12, moe_expert_s=1e-15, moe_overlap=8.0)
    o = op.moe_gemm("moe", 1, 2048, 4096, experts_, top_k)
    streamed = top_k * 3 * 2048 * 4096 * 2 / (H100.memory.bandwidth.value * p["moe_stream_share"])
    assert streamed < seconds([o], p)[0] < 1.05 * streamed


@pytest.mark.parametrize("dtype", ["bf16", "fp8"])
def test_many_tokens_reach_the_compute_share(dtype: str) -> None:
    """With blocks that start for nothing and are fed for nothing, large experts run at moe_share of the peak."""
    p = record(moe_feed_bytes_per_s=1e15, moe_block_s=1e-12, moe_overlap=8.0)
    o = op.moe_gemm("moe", 1 << 18, 16384, 16384, 8, 2, dtype, routing="balanced")
    ideal_s = o.flops / (p["peaks"][CODE[dtype]] * p["moe_share"])
    assert ideal_s < seconds([o], p)[0] < 1.05 * ideal_s


@given(tokens=TOKENS, more=st.integers(1, 5000), width=WIDTHS, chosen=EXPERTS)
def test_more_tokens_are_never_faster(tokens: int, more: int, width: int, chosen: tuple[int, int]) -> None:
    for routing in ("balanced", "uniform"):
        few, many = (op.moe_gemm("moe", t, width, 2048, *chosen, routing=routing) for t in (tokens, tokens + more))
        first, second = seconds([few, many], PRIOR)
        assert first <= second * (1 + 1e-9)


@given(rows=st.floats(1.0, 1e5), tile=st.sampled_from([16.0, 128.0]), one=st.floats(1.0, 50.0), by=st.floats(1.0, 9.0))
def test_tiles_hold_all_rows_and_imbalance_adds_some(rows: float, tile: float, one: float, by: float) -> None:
    even, uneven = row_tiles(rows, one, tile), row_tiles(rows, one * by, tile)
    assert rows / tile <= even * (1 + 1e-12)
    assert even <= uneven <= rows / tile + 1.0 + 1e-9


@given(tokens=TOKENS, width=WIDTHS, chosen=EXPERTS, by=st.floats(1.0, 20.0))
def test_imbalance_never_makes_it_faster(tokens: int, width: int, chosen: tuple[int, int], by: float) -> None:
    columns = columns_of([op.moe_gemm("moe", tokens, width, 2048, *chosen, routing="balanced")] * 2)
    columns = columns._replace(imbalance=np.array([1.0, by]))
    even, uneven = (experts(PRIOR, columns, i)[0] for i in range(2))
    assert even <= uneven * (1 + 1e-12)


def test_hot_experts_cost_tiles_and_idle_ones_save_weights() -> None:
    few = [op.moe_gemm("moe", 16, 1024, 4096, 256, 8, routing=r) for r in ("balanced", "power_law_1.2")]
    many = [op.moe_gemm("moe", 2048, 1024, 4096, 256, 8, routing=r) for r in ("balanced", "power_law_1.2")]
    balanced, hot = seconds(few, PRIOR)
    assert hot < 0.8 * balanced, "most experts have no row"
    balanced, hot = seconds(many, PRIOR)
    assert hot > 1.02 * balanced, "all are read, and tiles are filled less well"


def test_ragged_depths_are_fed_slowly() -> None:
    """A width of 88 elements is no multiple of 16: the down projection loads its operands one by one."""
    ragged, even = (op.moe_gemm("moe", 512, width, 2816, 128, 8) for width in (88, 96))
    slow, fast = seconds([ragged, even], PLAIN)
    assert slow > 1.5 * fast


def test_idle_experts_cost_set_up_alone() -> None:
    p = record(moe_expert_s=1e-6)
    few, many = (op.moe_gemm("moe", 1, 64, 1024, e, 2, routing="balanced") for e in (8, 512))
    first, second = seconds([few, many], p)
    assert second - first == pytest.approx(504e-6, rel=1e-6)


@pytest.mark.parametrize("calls", [2, 6, 24, 384])
def test_a_loop_over_experts_is_never_faster_than_a_grouped_call(calls: int) -> None:
    grouped, loop = (op.moe_gemm("moe", 200, 768, 2048, 128, 8, calls=c) for c in (1, calls))
    first, second = seconds([grouped, loop], PRIOR)
    assert first <= second * (1 + 1e-9)


def test_one_projection_is_one_launch() -> None:
    up = op.moe_gemm("up", 4096, 2 * 2048, 7168, 8, 8, "fp8", projections=1, routing="balanced")
    down = op.moe_gemm("down", 4096, 7168, 2048, 8, 8, "fp8", projections=1, routing="balanced")
    whole = op.moe_gemm("all", 4096, 2048, 7168, 8, 8, "fp8", routing="balanced")
    parts = seconds([up, down], PLAIN)
    assert parts.sum() == pytest.approx(seconds([whole], PLAIN)[0], rel=0.02)
    assert parts[0] == pytest.approx(2 * parts[1], rel=0.1)


RECOVERED = ("moe_share", "moe_block_s", "moe_stream_share", "moe_fixed_s", "moe_expert_s", "moe_passes")


def test_parameters_come_back_from_their_own_times() -> None:
    shapes = [(w, k, *e) for w, k in ((64, 4096), (768, 2048), (4096, 6144)) for e in ((8, 2), (128, 8), (512, 10))]
    asked = [
        op.moe_gemm("moe", tokens, *shape, routing=routing)
        for shape in shapes for tokens in (1, 8, 128, 1024, 8192) for routing in ("balanced", "power_law_1.2")
    ]  # fmt: skip
    truth = np.array([0.45, 1.7e-6, 0.75, 4e-5, 1e-7, 3.0])
    measured = np.log(seconds(asked, record(**dict(zip(RECOVERED, truth.tolist(), strict=True)))))
    start = np.array([PRIOR[name] for name in RECOVERED])

    def residuals(u: Floats) -> Floats:
        return np.log(seconds(asked, record(**dict(zip(RECOVERED, np.exp(u).tolist(), strict=True))))) - measured

    found = np.exp(least_squares(residuals, np.log(start), max_nfev=40).x)
    assert found == pytest.approx(truth, rel=1e-3)
