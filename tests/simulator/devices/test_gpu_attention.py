"""Attention on GPUs: limits, monotony, continuity, and parameters that come back from times made with them."""

from __future__ import annotations

from collections.abc import Callable
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
from simulator.devices.gpu_attention import DECODE_PARAMETERS, PREFILL_PARAMETERS, cached_bytes, decode, prefill
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import Operator

Floats = npt.NDArray[np.float64]

PARAMETERS = (*PREFILL_PARAMETERS, *DECODE_PARAMETERS)
FACTS = ("bandwidth", "units", "vector_peak")
RECORD = np.dtype(
    [("peaks", "f8", (len(COMPUTE_DTYPES),)), *[(n, "f8") for n in (*FACTS, *[p.name for p in PARAMETERS])]]
)
H100 = load_device("h100-sxm-80gb")


def record(**parameters: float) -> Any:
    """An H100 with class priors, but for ``parameters``."""
    made = np.zeros(1, RECORD)[0]
    for dtype in ("bf16", "fp8"):
        made["peaks"][CODE[dtype]] = H100.compute.peaks[dtype].value
    made["bandwidth"], made["units"] = H100.memory.bandwidth.value, priors.units(H100)
    made["vector_peak"] = priors.vector_peak(H100)
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
        law = prefill if operator.family == "attention_prefill" else decode
        compute_s, memory_s, fixed_s, overlap = law(p, columns, i)
        times[i] = np.exp(np.logaddexp(overlap * np.log(compute_s), overlap * np.log(memory_s)) / overlap) + fixed_s
    return times


PRIOR = record()


def chunk(
    queries: float, keys: float, batch: float = 1, heads: float = 32, kv_heads: float = 8, **more: Any
) -> Operator:
    return op.attention("a", queries, keys, heads, kv_heads, more.pop("width", 128), batch=batch, **more)


def token(keys: float, batch: float = 1, heads: float = 32, kv_heads: float = 8, **more: Any) -> Operator:
    return chunk(1, keys, batch, heads, kv_heads, **more)


@pytest.mark.parametrize("parameter", [p for p in PARAMETERS if p.free], ids=lambda p: p.name)
def test_priors_lie_in_their_ranges(parameter: Any) -> None:
    assert parameter.low < parameter.prior(H100) < parameter.high


@pytest.mark.parametrize("bits", [16.0, 8.0])
@pytest.mark.parametrize("dtype", ["bf16", "fp8"])
def test_bytes_of_a_cached_element_are_found_again(bits: float, dtype: str) -> None:
    asked = [
        chunk(100, 700, 3, width=192, value_dim=128, dtype=dtype, kv_bits=bits),
        token(900, 5, width=64, dtype=dtype, kv_bits=bits, window=256),
        op.mla_decode("m", 4000, 16, 512, 64, batch=2, dtype=dtype, kv_bits=bits),
    ]
    columns = columns_of(asked)
    assert [cached_bytes(columns, i) for i in range(3)] == pytest.approx([bits / 8.0] * 3)


@pytest.mark.parametrize("width", [64, 128, 256])
@pytest.mark.parametrize("dtype", ["bf16", "fp8"])
def test_long_prefill_reaches_the_compute_share(width: int, dtype: str) -> None:
    """With softmax for nothing; of the tiles on the diagonal half is computed in vain."""
    p = record(prefill_softmax_flops=1e-6, prefill_block_s=1e-9, prefill_tail=0.02, prefill_overlap=16.0)
    o = chunk(65536, 65536, width=width, dtype=dtype, kv_bits=8.0 if dtype == "fp8" else 16.0)
    ideal_s = o.flops / (p["peaks"][CODE[dtype]] * p["prefill_share"])
    assert ideal_s < seconds([o], p)[0] < 1.02 * ideal_s


def test_softmax_weighs_more_on_narrow_heads() -> None:
    narrow, wide = (chunk(32768, 32768, width=width) for width in (64, 256))
    first, second = seconds([narrow, wide], PRIOR)
    assert first / narrow.flops > 1.4 * second / wide.flops


def test_attention_both_ways_costs_twice_that_looking_back() -> None:
    back, both = (chunk(16384, 16384, causal=causal) for causal in (True, False))
    first, second = seconds([back, both], PRIOR)
    assert second == pytest.approx(2 * first, rel=0.05)


def test_one_short_chunk_waits_for_its_longest_block() -> None:
    """32 blocks of 132 multiprocessors: none of them can be helped by the others."""
    few, many = (chunk(128, 65536, 1, heads, heads, width=128) for heads in (8, 32))
    first, second = seconds([few, many], record(prefill_stream_share=1.0, prefill_overlap=16.0))
    assert second == pytest.approx(first, rel=0.1)


def test_packed_heads_fill_tiles_of_short_chunks() -> None:
    o = chunk(16, 4096, 64, 32, 4)
    packed, alone = (seconds([o], record(prefill_group=group))[0] for group in (128.0, 1.0))
    assert packed < 0.4 * alone


def test_a_backward_pass_takes_longer_than_its_forward() -> None:
    forward = chunk(8192, 8192)
    first, second = seconds([forward, op.attention_backward(forward)], PRIOR)
    assert 2.0 * first < second < 3.0 * first


@pytest.mark.parametrize(("batch", "bits"), [(64, 16.0), (64, 8.0), (1, 16.0)])
def test_long_contexts_are_read_at_the_bandwidth_share(batch: int, bits: float) -> None:
    o = token(1 << 20, batch, kv_bits=bits)
    p = record(decode_overlap=20.0, decode_math_share=1.0, decode_pieces=256.0)
    streamed = (o.read_bytes + o.write_bytes) / (H100.memory.bandwidth.value * p["decode_stream_share"])
    assert streamed < seconds([o], p)[0] < 1.1 * streamed


def test_one_sequence_is_read_in_pieces() -> None:
    o = token(131072, 1, 8, 1)
    whole, pieces = (seconds([o], record(decode_pieces=most))[0] for most in (1.0, 32.0))
    assert pieces < 0.15 * whole
    short = token(16)
    whole, pieces = (seconds([short], record(decode_pieces=most))[0] for most in (1.0, 32.0))
    assert pieces == whole, "nothing to cut"


def test_query_heads_of_a_key_head_are_packed_up_to_a_limit() -> None:
    o = token(512, 64, 64, 2)
    packed, alone = (seconds([o], record(decode_group=group))[0] for group in (32.0, 31.0))
    assert alone > 4.0 * packed


def test_packing_waits_until_pieces_fill_the_gpu() -> None:
    p = record(decode_packed_units=0.25, decode_lone_s=5e-6, decode_narrow_read=1.0)
    short, long = token(512, 1, 32, 8), token(640, 1, 32, 8)
    assert seconds([short], p)[0] > seconds([short], record(decode_lone_s=5e-6))[0] + 4e-6, "32 pieces, 33 are needed"
    assert seconds([long], p)[0] == seconds([long], PRIOR)[0]
    eight_bit = token(512, 1, 32, 8, kv_bits=8.0)
    assert seconds([eight_bit], p)[0] < seconds([short], p)[0]


def test_latent_attention_computes_tiles_of_64_heads_whole() -> None:
    p = record(decode_query_s=1e-12, decode_overlap=20.0, decode_math_share=0.2)
    one, many, more = seconds([op.mla_decode("m", 8192, h, 512, 64, batch=1024) for h in (1, 64, 128)], p)
    assert many == pytest.approx(one, rel=0.05)
    assert more == pytest.approx(2 * many, rel=0.1)


def test_a_window_bounds_what_a_token_reads() -> None:
    near, far, all_of_it = seconds([token(4096, 32), token(65536, 32, window=4096), token(65536, 32)], PRIOR)
    assert far == pytest.approx(near, rel=1e-9)
    assert all_of_it > 8 * far


def test_a_window_makes_long_prefill_linear() -> None:
    first, second = seconds([chunk(n, n, window=2048) for n in (65536, 131072)], PRIOR)
    assert second == pytest.approx(2 * first, rel=0.05)


SIZES = st.integers(1, 3000)
WIDTHS = st.sampled_from([64, 96, 128, 256])
GROUPS = st.sampled_from([1, 3, 8, 40, 64])


@given(queries=st.integers(2, 5000), history=st.integers(0, 9000), more=SIZES, batch=st.integers(1, 40), group=GROUPS)
def test_more_prefill_is_never_faster(queries: int, history: int, more: int, batch: int, group: int) -> None:
    keys, heads = queries + history, 2 * group
    least = chunk(queries, keys, batch, heads, 2)
    larger = [
        chunk(queries, keys + more, batch, heads, 2),
        chunk(queries + more, keys + more, batch, heads, 2),
        chunk(queries, keys, batch + more, heads, 2),
        chunk(queries, keys, batch, 3 * heads, 6),
        chunk(queries, keys, batch, heads, 2, width=192),
    ]
    first, *others = seconds([least, *larger], PRIOR)
    assert (np.array(others) >= first * (1 - 1e-9)).all()


@given(keys=st.integers(1, 100000), more=SIZES, batch=st.integers(1, 600), group=GROUPS, width=WIDTHS)
def test_more_decode_is_never_faster(keys: int, more: int, batch: int, group: int, width: int) -> None:
    heads = 2 * group
    least = token(keys, batch, heads, 2, width=width)
    larger = [
        token(keys + more, batch, heads, 2, width=width),
        token(keys, batch + more, heads, 2, width=width),
        token(keys, batch, 3 * heads, 6, width=width),
        token(keys, batch, 2 * heads, 2, width=width) if group > 1 else least,
        token(keys, batch, heads, 2, width=width + 16),
    ]
    first, *others = seconds([least, *larger], PRIOR)
    assert (np.array(others) >= first * (1 - 1e-9)).all()


@given(keys=st.floats(2.0, 1e6), batch=st.floats(1.5, 3000.0), width=WIDTHS)
def test_decode_is_continuous(keys: float, batch: float, width: int) -> None:
    step = 1e-6
    asked = [
        token(k, b, width=width) for k, b in ((keys, batch), (keys * (1 + step), batch), (keys, batch * (1 + step)))
    ]
    here, longer, larger = seconds(asked, PRIOR)
    assert longer == pytest.approx(here, rel=4 * step)
    assert larger == pytest.approx(here, rel=4 * step)


def returned(names: tuple[str, ...], truth: Floats, asked: list[Operator]) -> Floats:
    """What a fit from the priors finds for ``names``, in units of ``truth``, from times made with it."""
    made: Callable[[Floats], Any] = lambda values: record(**dict(zip(names, values.tolist(), strict=True)))  # noqa: E731
    measured = np.log(seconds(asked, made(truth)))
    free = [p for name in names for p in PARAMETERS if p.name == name]
    start, low, high = (
        np.log([value(p) for p in free]) for value in (lambda p: PRIOR[p.name], lambda p: p.low, lambda p: p.high)
    )
    residuals = lambda u: np.log(seconds(asked, made(np.exp(u)))) - measured  # noqa: E731
    return np.exp(least_squares(residuals, start, bounds=(low, high), max_nfev=60).x) / truth  # type: ignore[no-any-return]


def test_prefill_parameters_come_back_from_their_own_times() -> None:
    names = ("share", "softmax_flops", "block_s", "small_flops", "stream_share", "floor_s", "tail")
    truth = np.array([0.7, 20.0, 4e-6, 2e13, 0.4, 1.2e-5, 0.3])
    asked = [
        chunk(queries, queries + history, batch, heads, 2, width=width)
        for queries in (16, 64, 256, 2048, 8192) for history in (0, 3000) for batch in (1, 16)
        for heads, width in ((2, 64), (32, 128), (16, 256))
    ]  # fmt: skip
    found = returned(tuple(f"prefill_{name}" for name in names), truth, asked)
    assert found == pytest.approx(np.ones(len(names)), rel=1e-3)


def test_decode_parameters_come_back_from_their_own_times() -> None:
    names = ("floor_s", "combine_s", "block_s", "width_s", "query_s", "math_share", "stream_share", "slots")
    truth = np.array([9e-6, 6e-6, 2.5e-6, 8e-9, 4e-10, 0.4, 0.8, 1.4])
    asked = [
        token(keys, batch, heads, kv_heads, width=width)
        for keys in (16, 256, 3000, 40000) for batch in (1, 8, 64, 700) for width in (64, 128, 256)
        for heads, kv_heads in ((8, 1), (32, 8))
    ]  # fmt: skip
    found = returned(tuple(f"decode_{name}" for name in names), truth, asked)
    assert found == pytest.approx(np.ones(len(names)), rel=1e-3)
