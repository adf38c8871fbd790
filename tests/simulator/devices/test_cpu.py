"""What the law of CPUs must keep, whatever a fit makes of its parameters; and what each part of it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardware_specs.devices import load_device
from hardware_specs.facts import Fact
from hardware_specs.records import DeviceSpec
from simulator.devices.model import DeviceModel, compile_device
from simulator.devices.registry import law_of
from simulator.kernels.roofline import COMPUTE, MEMORY, OVERHEAD, TIME
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import Operator
from workloads.runtimes.catalogue import load_runtime

NAMES: Final = ("epyc-9654", "xeon-8480-plus", "apple-m2-max-cpu", "raspberry-pi-5")
FREE: Final = tuple(parameter for parameter in law_of("cpu").parameters if parameter.free)
SLACK: Final = 1.0 + 1e-9
MIB: Final = 2.0**20
IDEAL: Final = load_runtime("ideal")
MODELS: Final = {name: compile_device(load_device(name), IDEAL, calibrated=False) for name in NAMES}
SIZE = st.one_of(st.integers(1, 200), st.sampled_from([256, 1000, 4096, 20000]))
ROWS = st.one_of(st.integers(1, 40), st.sampled_from([64, 191, 192, 767, 768, 3000]))
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def with_values(model: DeviceModel, values: dict[str, float]) -> DeviceModel:
    records = model.records.copy()
    for name, value in values.items():
        records[name] = value
    return replace(model, records=records)


def seconds(model: DeviceModel, *operators: Operator) -> npt.NDArray[np.float64]:
    times: npt.NDArray[np.float64] = model.cost(columns_of(operators))[TIME]
    return times


def dtype_of(model: DeviceModel) -> str:
    return "fp32" if "fp32" in model.spec.compute.peaks else next(iter(model.spec.compute.peaks))


@st.composite
def parameters(draw: st.DrawFn) -> dict[str, float]:
    """Values anywhere in the ranges that fits may use."""
    values = {}
    for parameter in FREE:
        part = draw(st.floats(0.0, 1.0))
        wide = parameter.low > 0.0 and parameter.high > 10.0 * parameter.low
        between = parameter.low * (parameter.high / parameter.low) ** part if wide else 0.0
        values[parameter.name] = between if wide else parameter.low + part * (parameter.high - parameter.low)
    values["gemm_vector_rows"] = float(draw(st.integers(1, 4)))
    return values


@st.composite
def operators(draw: st.DrawFn, dtype: str) -> Operator:
    """Every kind that the law has a part for."""
    m, n, k = draw(ROWS), draw(SIZE), draw(SIZE)
    heads, batch = draw(st.sampled_from([1, 4, 32])), draw(st.sampled_from([1, 3, 64]))
    made: tuple[Callable[[], Operator], ...] = (
        lambda: op.gemm("x", m, n, k, dtype),
        lambda: op.gemm("x", m, n, k, dtype, batch=batch + 1, weights=False),
        lambda: op.gemm("x", m, n, k, dtype, weight_bits=4.5, dequantize=True),
        lambda: op.moe_gemm("x", m, n, k, 8, 2, dtype, calls=6),
        lambda: op.attention("x", m + 1, m + k, heads, 1, 64, batch=batch, dtype=dtype, kv_bits=32.0),
        lambda: op.attention("x", m + 1, m + 1, heads, 1, 64, dtype=dtype, window=7.0),
        lambda: op.attention_backward(op.attention("x", m + 1, m + 1, heads, heads, 64, dtype=dtype)),
        lambda: op.attention("x", 1, k, heads, heads, 128, batch=batch, dtype=dtype),
        lambda: op.norm("x", m, n, dtype, residual=True),
        lambda: op.activation("x", m, n * k, dtype, gated=True),
        lambda: op.embedding("x", m, n, dtype),
        lambda: op.optimizer_update("x", float(m * n * k)),
        lambda: op.stream_copy("x", float(m * n * k)),
        lambda: op.convolution("x", m, 3, n, 196, dtype),
    )
    return draw(st.sampled_from(made))()


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@SLOW
def test_times_are_finite_and_never_beat_the_roofline(name: str, data: st.DataObject) -> None:
    """Peak of the dtype; bytes at the bandwidth of memory, of what the cache holds at its own; under any runtime."""
    factor = data.draw(st.sampled_from([0.3, 1.0, 3.0]))
    model = with_values(MODELS[name], data.draw(parameters()) | {"factors": factor, "weight_factor": factor})
    o = data.draw(operators(dtype_of(model)))
    cost = model.cost(columns_of((o,)))[:, 0]
    assert np.all(np.isfinite(cost)) and np.all(cost >= 0.0)
    row = model.record
    fastest = max(float(row["bandwidth"]), float(row["cache_bandwidth"]))
    beyond = o.moved_bytes - 1.3 * float(row["cache_bytes"])
    assert cost[TIME] > 0.0
    assert cost[TIME] * SLACK >= o.flops / model.peak_flops(o.dtype)
    assert cost[TIME] * SLACK >= max(o.moved_bytes / fastest, beyond / float(row["bandwidth"]))
    assert cost[TIME] * SLACK >= o.weight_bytes / float(row["bandwidth"])
    assert cost[TIME] * SLACK >= cost[OVERHEAD] >= 0.0


def scaled(fact: Fact, by: float) -> Fact:
    return msgspec.structs.replace(fact, value=fact.value * by)


def faster(spec: DeviceSpec, what: str, by: float) -> DeviceSpec:
    if what == "bandwidth":
        memory = msgspec.structs.replace(spec.memory, bandwidth=scaled(spec.memory.bandwidth, by))
        return msgspec.structs.replace(spec, memory=memory)
    peaks = {dtype: scaled(peak, by) for dtype, peak in spec.compute.peaks.items()}
    return msgspec.structs.replace(spec, compute=msgspec.structs.replace(spec.compute, peaks=peaks))


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@SLOW
def test_more_bandwidth_or_more_peak_is_never_slower(name: str, data: st.DataObject) -> None:
    """Under any parameters that a fit may find; caches keep their rate, and power its limit."""
    values, what = data.draw(parameters()), data.draw(st.sampled_from(["bandwidth", "peaks"]))
    by = data.draw(st.floats(1.0, 20.0))
    before = MODELS[name]
    held = {key: float(before.record[key]) for key in ("cache_bandwidth", "static_w", "cap_w", "rated_w")}
    after = compile_device(faster(before.spec, what, by), IDEAL, calibrated=False)
    o = data.draw(operators(dtype_of(before)))
    old, new = (seconds(with_values(model, values | held), o)[0] for model in (before, after))
    assert new <= old * SLACK


GROWN: Final = {
    "k of a product": lambda size: op.gemm("x", 24, 640, size, "fp32"),
    "keys of decode": lambda size: op.attention("x", 1, size, 8, 2, 64, dtype="fp32", kv_bits=32.0),
    "sequences of decode": lambda size: op.attention("x", 1, 100, 8, 2, 64, batch=size, dtype="fp32", kv_bits=32.0),
    "heads of decode": lambda size: op.attention("x", 1, 100, size, 1, 64, dtype="fp32", kv_bits=32.0),
    "sequences of a prompt": lambda size: op.attention("x", 40, 40, 8, 2, 64, batch=size, dtype="fp32"),
    "keys of a prompt": lambda size: op.attention("x", 40, 40 + size, 8, 2, 64, dtype="fp32"),
    "rows of a norm": lambda size: op.norm("x", size, 640, "fp32"),
    "columns of an activation": lambda size: op.activation("x", 700, size, "fp32", gated=True),
    "rows of a softmax": lambda size: op.softmax("x", size, 50000, "fp32"),
    "weights of an optimizer": lambda size: op.optimizer_update("x", 1e4 * size),
    "bytes of a copy": lambda size: op.stream_copy("x", 1e4 * size),
    "experts' rows": lambda size: op.moe_gemm("x", 64.0 * size, 64, 64, 4, 4, "fp32"),
}


@pytest.mark.parametrize("what", [each for each in GROWN if each != "experts' rows"])
@pytest.mark.parametrize("name", NAMES)
@given(values=parameters(), sizes=st.lists(st.integers(1, 20000), min_size=2, max_size=2))
@settings(max_examples=25, deadline=None)
def test_more_of_a_size_never_takes_less_time(name: str, what: str, values: dict[str, float], sizes: list[int]) -> None:
    small, large = (GROWN[what](size) for size in sorted(sizes))
    less, more = seconds(with_values(MODELS[name], values), small, large)
    assert less <= more * SLACK


@pytest.mark.parametrize("what", ["m", "n"])
@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_more_rows_or_columns_take_no_less_time_on_one_core(name: str, what: str, data: st.DataObject) -> None:
    """On several, the balance of whole pieces over cores makes exceptions; so do rows that become matrix products."""
    one = {"units": 1.0, "gemm_vector_rows": 1.0, "gemm_pack_share": data.draw(st.floats(0.05, 1e3))}
    model = with_values(MODELS[name], data.draw(parameters()) | one)
    sizes = sorted(data.draw(st.lists(st.integers(1, 3000), min_size=2, max_size=2)))
    k, other = data.draw(st.integers(1, 5000)), data.draw(st.integers(1, 600))
    made = (
        op.gemm("x", size, other, k, "fp32") if what == "m" else op.gemm("x", other, size, k, "fp32") for size in sizes
    )
    less, more = seconds(model, *made)
    assert less <= more * SLACK


@pytest.mark.parametrize("name", NAMES)
def test_longer_prompts_take_longer(name: str) -> None:
    """Whole prompts, over the lengths at which the tiles of queries change."""
    lengths = [*range(2, 260), 500, 766, 767, 768, 769, 1000, 4000]
    times = seconds(MODELS[name], *(op.attention("x", n, n, 8, 2, 64, dtype="fp32") for n in lengths))
    assert np.all(np.diff(times) >= 0.0)


def row_model(**values: float) -> DeviceModel:
    """A small CPU on which everything but weights and math is for nothing."""
    base: dict[str, float] = {
        "units": 1.0, "gemm_floor_s": 0.0, "gemm_overlap": 1e3, "depth_half": 0.0, "gemm_share": 1.0,
        "stream_share": 0.5, "gemm_pack_share": 0.25, "gemm_strip_penalty": 0.0, "cache_bytes": 0.0,
    }  # fmt: skip
    return with_values(MODELS["epyc-9654"], base | values)


@pytest.mark.parametrize("most", [1, 2, 4])
def test_few_rows_stream_the_weights_once_each_and_more_pack_them(most: int) -> None:
    model = row_model(gemm_vector_rows=float(most))
    bandwidth = float(model.record["bandwidth"])
    for m in range(1, 8):
        o = op.gemm("x", m, 4096, 4096, "fp32")
        activations = (o.read_bytes + o.write_bytes) / (0.5 * bandwidth)
        weights = o.weight_bytes / bandwidth
        expected = m * weights / 0.5 if m <= most else weights / 0.5 + weights / 0.25
        found = model.cost(columns_of((o,)))[MEMORY, 0]
        assert found == pytest.approx(activations + expected), m


def test_experts_count_the_rows_of_each() -> None:
    """64 experts with one row each run as matrix-vector products; with four rows each as products."""
    model = row_model(gemm_vector_rows=2.0)
    per_byte = []
    for tokens in (64.0, 256.0):
        o = replace(op.moe_gemm("x", tokens, 1024, 1024, 64, 1, "fp32", projections=1), batch=64.0)
        activations = (o.read_bytes + o.write_bytes) / (0.5 * float(model.record["bandwidth"]))
        per_byte.append((model.cost(columns_of((o,)))[MEMORY, 0] - activations) / o.weight_bytes)
    bandwidth = float(model.record["bandwidth"])
    assert [each * bandwidth for each in per_byte] == pytest.approx([2.0, 6.0])


def test_panels_of_many_rows_cost_pages_of_the_tlb() -> None:
    model = row_model(gemm_strip_penalty=2.0, gemm_vector_rows=1.0)
    plain = row_model(gemm_vector_rows=1.0)
    for n in (64, 3072, 10**6):
        o = op.gemm("x", 8, n, 512, "fp32")
        extra = model.cost(columns_of((o,)))[MEMORY, 0] - plain.cost(columns_of((o,)))[MEMORY, 0]
        packed = o.weight_bytes / (0.25 * float(model.record["bandwidth"]))
        assert extra == pytest.approx(2.0 * n / (n + 3072.0) * packed)


@pytest.mark.parametrize(("bytes_", "pages"), [(32.0 * MIB, True), (32.0 * MIB - 4096.0, False), (256.0 * MIB, True)])
def test_pages_are_paid_from_32_mib_of_results_on(bytes_: float, pages: bool) -> None:
    kept, fresh = (with_values(MODELS["epyc-9654"], {"page_bytes_per_s": rate}) for rate in (1e15, 2e9))
    rows = bytes_ / 4096.0
    for o in (
        op.norm("x", rows, 1024, "fp32"),
        op.gemm("x", rows, 1024, 8, "fp32"),
        op.elementwise("x", rows, 1024, "fp32"),
    ):
        assert o.write_bytes == bytes_
        waited = fresh.cost(columns_of((o,)))[MEMORY, 0] - kept.cost(columns_of((o,)))[MEMORY, 0]
        assert waited == pytest.approx(bytes_ / 2e9 if pages else 0.0, rel=1e-3, abs=1e-12)


def test_class_priors_see_nothing_of_pages_and_packing() -> None:
    """What only measurements of a runtime can say is absent without them."""
    o = op.gemm("x", 16384, 4096, 64, "fp32")
    model = MODELS["epyc-9654"]
    assert o.write_bytes > 32.0 * MIB
    with_pages = model.cost(columns_of((o,)))[MEMORY, 0]
    assert with_values(model, {"page_bytes_per_s": 1e30}).cost(columns_of((o,)))[MEMORY, 0] == pytest.approx(
        with_pages, rel=1e-3
    )
    packed = with_values(model, {"gemm_pack_share": 1e9}).cost(columns_of((o,)))[MEMORY, 0]
    assert packed == pytest.approx(with_pages, rel=0.01)


@pytest.mark.parametrize(
    ("queries", "tile"), [(2, 2), (31, 31), (32, 32), (191, 32), (192, 64), (767, 64), (768, 256), (4096, 256)]
)
def test_prompts_run_by_tiles_of_queries(queries: int, tile: int) -> None:
    """Scores above the diagonal of a tile are computed too, and few rows feed the registers badly."""
    values = {
        "attention_share": 0.5, "prefill_row_half": 20.0, "prefill_softmax_share": 1.0, "prefill_floor_s": 0.0,
        "vector_peak": 1e30,
    }  # fmt: skip
    model = with_values(MODELS["epyc-9654"], values)
    o = op.attention("x", queries, queries, 8, 2, 64, dtype="fp32")
    pairs = queries * (queries + 1) / 2.0
    scores = min(pairs + 0.5 * (tile - 1.0) * queries, float(queries) ** 2)
    share = 0.5 * tile / (tile + 20.0)
    expected = 4.0 * 64 * 8 * scores / (model.peak_flops("fp32") * share)
    assert model.cost(columns_of((o,)))[COMPUTE, 0] == pytest.approx(expected, rel=1e-6)


def test_the_softmax_of_a_prompt_passes_over_its_scores() -> None:
    o = op.attention("x", 1024, 1024, 8, 2, 64, dtype="fp32")
    model = with_values(
        MODELS["epyc-9654"], {"attention_share": 1.0, "prefill_row_half": 0.0, "prefill_softmax_share": 0.1}
    )
    wasted = (1024 * 1025 / 2 + 127.5 * 1024) / (1024 * 1025 / 2)
    expected = wasted * (
        o.flops / model.peak_flops("fp32") + o.vector_flops / (0.1 * float(model.record["vector_peak"]))
    )
    assert model.cost(columns_of((o,)))[COMPUTE, 0] == pytest.approx(expected, rel=1e-6)


def test_no_keys_are_seen_twice_where_nothing_is_causal() -> None:
    """Without a mask every score is wanted: tiles waste nothing."""
    o = op.attention("x", 256, 256, 8, 8, 64, dtype="fp32", causal=False)
    model = with_values(MODELS["epyc-9654"], {"attention_share": 1.0, "prefill_row_half": 0.0, "vector_peak": 1e30})
    assert model.cost(columns_of((o,)))[COMPUTE, 0] == pytest.approx(o.flops / model.peak_flops("fp32"), rel=1e-6)


def test_decode_reads_its_cache_at_a_share_of_the_bandwidth() -> None:
    o = op.attention("x", 1, 5000, 8, 2, 64, batch=4, dtype="fp32", kv_bits=32.0)
    model = with_values(MODELS["epyc-9654"], {"kv_share": 0.4, "decode_math_share": 0.02})
    cost = model.cost(columns_of((o,)))[:, 0]
    assert cost[MEMORY] == pytest.approx((o.read_bytes + o.write_bytes) / (0.4 * float(model.record["bandwidth"])))
    assert cost[COMPUTE] == pytest.approx(o.flops / (0.02 * model.peak_flops("fp32")))


@pytest.mark.parametrize(
    "o",
    [op.gemm("x", 1, 9000, 9000, "fp32"), op.attention("x", 1, 9000, 64, 64, 64, batch=9, dtype="fp32", kv_bits=32.0),
     op.norm("x", 90000, 9000, "fp32"), op.optimizer_update("x", 1e9)],
    ids=lambda o: o.name + o.kind.name,
)  # fmt: skip
def test_no_runtime_is_faster_than_memory(o: Operator) -> None:
    """Kernels of ten times the speed that the law knows end at the bandwidth."""
    quick = {"factors": 10.0, "weight_factor": 10.0, "cache_bytes": 0.0, "vector_peak": 1e30}
    model = with_values(MODELS["epyc-9654"], quick)
    (took,) = seconds(model, o)
    assert took == pytest.approx(o.moved_bytes / float(model.record["bandwidth"]), rel=1e-3)


def test_vector_operators_come_from_the_cache_the_more_of_them_it_holds() -> None:
    model = with_values(MODELS["epyc-9654"], {"vector_stream_share": 1.0, "vector_cache_part": 0.5})
    row = model.record
    held, bandwidth, fast = 0.5 * float(row["cache_bytes"]), float(row["bandwidth"]), float(row["cache_bandwidth"])
    rates, parts = [], (0.01, 0.5, 1.0, 2.0, 100.0)
    for part in parts:
        o = op.stream_copy("x", part * held)
        rates.append(o.moved_bytes / model.cost(columns_of((o,)))[MEMORY, 0])
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(fast, rel=0.01)
    assert rates[-1] == pytest.approx(bandwidth, rel=0.01)
    for rate, part in zip(rates, parts, strict=True):
        cached = (1.0 + part**3) ** (-1.0 / 3.0)
        assert rate == pytest.approx(1.0 / (cached / fast + (1.0 - cached) / bandwidth), rel=2e-3)


def test_without_a_cache_all_comes_from_memory() -> None:
    model = with_values(MODELS["epyc-9654"], {"cache_bytes": 0.0, "vector_stream_share": 1.0})
    o = op.stream_copy("x", 1e5)
    assert model.cost(columns_of((o,)))[MEMORY, 0] == pytest.approx(1e5 / float(model.record["bandwidth"]))


@pytest.mark.parametrize("name", NAMES)
def test_every_call_takes_at_least_its_floor(name: str) -> None:
    floors = {"gemm_floor_s": 1e-5, "prefill_floor_s": 2e-5, "decode_floor_s": 3e-5, "vector_floor_s": 4e-5}
    tiny = (
        op.gemm("x", 1, 2, 2, "fp32"), op.attention("x", 2, 2, 1, 1, 2, dtype="fp32"),
        op.attention("x", 1, 2, 1, 1, 2, dtype="fp32"), op.norm("x", 1, 2, "fp32"),
    )  # fmt: skip
    times = seconds(with_values(MODELS[name], floors), *tiny)
    assert times == pytest.approx([1e-5, 2e-5, 3e-5, 4e-5], rel=0.05)
    six = op.moe_gemm("x", 1, 2, 2, 8, 1, "fp32", calls=6)
    assert seconds(with_values(MODELS[name], floors), six)[0] == pytest.approx(6e-5, rel=0.05)


@pytest.mark.parametrize(
    ("what", "low", "high"),
    [
        ("large product", 0.4, 0.75),
        ("prompt", 0.05, 0.5),
        ("one row", 0.3, 0.8),
        ("decode", 0.3, 0.8),
        ("norm", 0.3, 0.8),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_priors_reach_sane_shares_of_the_roofs(name: str, what: str, low: float, high: float) -> None:
    """Of the peak where math binds, of the bandwidth where memory does: what libraries are known to reach."""
    model = MODELS[name]
    bandwidth, peak = float(model.record["bandwidth"]), model.peak_flops("fp32")
    operators: dict[str, Operator] = {
        "large product": op.gemm("x", 4096, 4096, 4096, "fp32"),
        "prompt": op.attention("x", 4096, 4096, 32, 8, 128, dtype="fp32", kv_bits=32.0),
        "one row": op.gemm("x", 1, 16384, 16384, "fp32"),
        "decode": op.attention("x", 1, 65536, 8, 8, 128, batch=8, dtype="fp32", kv_bits=32.0),
        "norm": op.norm("x", 65536, 8192, "fp32"),
    }
    o = operators[what]
    (took,) = seconds(model, o)
    reached = o.flops / took / peak if what in ("large product", "prompt") else o.moved_bytes / took / bandwidth
    assert low <= reached <= high
