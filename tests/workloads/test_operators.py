"""FLOPs and bytes of single operators, by hand, by brute force and by invariants."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads import operators as op
from workloads.operators import FAMILIES, FAMILY, Operator, OpKind

SIZES = st.integers(1, 4096)
SMALL = st.integers(1, 40)


def test_every_kind_has_a_family() -> None:
    assert set(FAMILY) == set(OpKind)
    assert set(FAMILY.values()) == set(FAMILIES)
    assert [int(k) for k in OpKind] == list(range(len(OpKind)))


def test_gemm_by_hand() -> None:
    o = op.gemm("x", 4, 6, 8)
    assert (o.kind, o.flops, o.weight_bytes, o.read_bytes, o.write_bytes) == (OpKind.GEMM, 384, 96, 64, 48)
    b = op.gemm("x", 4, 6, 8, batch=3)
    assert (b.kind, b.flops, b.weight_bytes, b.read_bytes) == (OpKind.BATCHED_GEMM, 1152, 288, 192)
    a = op.gemm("x", 4, 6, 8, batch=3, weights=False)
    assert (a.weight_bytes, a.read_bytes, a.write_bytes) == (0, 3 * 2 * (32 + 48), 144)


def test_gemm_formats() -> None:
    narrow = op.gemm("x", 4, 6, 8, "fp8")
    assert (narrow.weight_bytes, narrow.read_bytes, narrow.write_bytes) == (48, 64, 48), "activations stay 16 bit"
    assert op.gemm("x", 4, 6, 8, "fp8", activation_dtype="fp8").read_bytes == 32
    packed = op.gemm("x", 4, 6, 8, "bf16", weight_bits=4.5, dequantize=True)
    assert (packed.weight_bytes, packed.vector_flops) == (48 * 4.5 / 8, 48)
    assert op.gemm("x", 4, 6, 8, "fp32").moved_bytes == 4 * (48 + 32 + 24)


def brute_pairs(q_len: int, kv_len: int, causal: bool, window: int) -> int:
    """Count query-key pairs one by one."""
    count = 0
    for q, k in itertools.product(range(kv_len - q_len, kv_len), range(kv_len)):
        if causal:
            count += k <= q and (not window or q - k < window)
        else:
            count += not window or abs(q - k) <= window // 2
    return count


@given(SMALL, SMALL, st.booleans(), st.integers(0, 50))
def test_visible_pairs_are_those_counted_one_by_one(new: int, old: int, causal: bool, window: int) -> None:
    kv_len = new + old - 1
    assert op.visible_pairs(new, kv_len, causal, window) == pytest.approx(
        brute_pairs(new, kv_len, causal, window), rel=1e-12
    )


@given(SMALL, SMALL, st.booleans(), st.integers(0, 50))
def test_attention_reads_every_visible_key_once(new: int, old: int, causal: bool, window: int) -> None:
    kv_len = new + old - 1
    queries = range(kv_len - new, kv_len)
    reach = (window - 1 if causal else window // 2) if window else kv_len
    seen = {k for q in queries for k in range(kv_len) if abs(q - k) <= reach and (k <= q or not causal)}
    o = op.attention("a", new, kv_len, 4, 2, 8, causal=causal, window=window)
    assert o.n == len(seen)
    assert o.read_bytes == new * 4 * 8 * 2 + len(seen) * 2 * (8 + 8) * 2


def test_attention_decode_by_hand() -> None:
    o = op.attention("a", 1, 1000, 32, 8, 128, batch=4)
    assert o.kind == OpKind.ATTENTION_DECODE
    assert o.flops == 4 * 32 * 1000 * 4 * 128
    assert o.read_bytes == 4 * (32 * 128 * 2 + 1000 * 8 * 256 * 2)
    assert o.write_bytes == 4 * 32 * 128 * 2
    half = op.attention("a", 1, 1000, 32, 8, 128, batch=4, kv_bits=8)
    assert o.read_bytes - half.read_bytes == 4 * 1000 * 8 * 256


def test_attention_prefill_is_half_of_full_attention() -> None:
    full = op.attention("a", 512, 512, 8, 8, 64, causal=False)
    causal = op.attention("a", 512, 512, 8, 8, 64)
    assert full.flops == 4 * 8 * 64 * 512 * 512
    assert causal.flops / full.flops == 513 / 1024
    assert causal.kind == full.kind == OpKind.ATTENTION_PREFILL


def test_values_may_be_narrower_than_keys() -> None:
    """DeepSeek's prefill: scores over 192, values of 128."""
    o = op.attention("a", 1, 10, 4, 4, 192, value_dim=128)
    assert o.flops == 2 * 4 * 10 * (192 + 128)
    assert o.read_bytes == 2 * 4 * (192 + 10 * (192 + 128))
    assert o.write_bytes == 2 * 4 * 128


@given(SIZES, SIZES, st.integers(1, 512))
def test_chunks_of_a_prefill_sum_to_the_whole(first: int, second: int, window: int) -> None:
    whole = first + second
    for w in (0, window):
        parts = op.visible_pairs(first, first, True, w) + op.visible_pairs(second, whole, True, w)
        assert parts == pytest.approx(op.visible_pairs(whole, whole, True, w), rel=1e-12)


def test_attention_backward_has_five_products_for_two() -> None:
    forward = op.attention("a", 256, 256, 8, 2, 64)
    backward = op.attention_backward(forward)
    assert backward.flops == 2.5 * forward.flops
    q, kv = 256 * 8 * 64 * 2, 256 * 2 * 128 * 2
    assert backward.read_bytes == q + kv + q + q, "q, k and v, the output and its gradient"
    assert backward.write_bytes == q + kv


def test_mla_decode_reads_576_values_per_token() -> None:
    """DeepSeek-V3: latent of 512 + 64 for all 128 heads; scores over 576 and values over 512 of them."""
    short, long = (op.mla_decode("a", length, 128, 512, 64) for length in (1000, 1001))
    assert long.read_bytes - short.read_bytes == 576 * 2
    assert long.flops - short.flops == 2 * 128 * (576 + 512)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 4))
def test_active_experts_are_the_exact_expectation(experts: int, chosen: int, tokens: int) -> None:
    """Enumerate all ways in which tokens choose distinct experts (small cases only)."""
    top_k = min(chosen, experts)
    choices = list(itertools.combinations(range(experts), top_k))
    if len(choices) ** tokens > 5000:
        tokens = 2
    ways = list(itertools.product(choices, repeat=tokens))
    exact = sum(len(set(itertools.chain(*way))) for way in ways) / len(ways)
    assert op.active_experts(tokens, experts, top_k) == pytest.approx(exact, rel=1e-9, abs=1e-12)


def test_active_experts_agree_with_a_draw() -> None:
    rng = np.random.default_rng(7)
    touched = [len(np.unique(np.argsort(rng.random((20, 64)), axis=1)[:, :6])) for _ in range(400)]
    standard_error = np.std(touched) / math.sqrt(len(touched))
    assert abs(op.active_experts(20, 64, 6) - np.mean(touched)) < 4 * standard_error


def test_moe_gemm_by_hand() -> None:
    """One token, 2 of 8 gated experts: 2 experts' weights, 2 rows."""
    o = op.moe_gemm("moe", 1, 16, 32, 8, 2)
    assert o.batch == pytest.approx(2)
    assert o.flops == 2 * 2 * 3 * 16 * 32
    assert o.weight_bytes == pytest.approx(2 * 3 * 16 * 32 * 2)
    assert o.read_bytes == o.write_bytes == 2 * (32 + 2 * 16) * 2
    alone = op.moe_gemm("moe", 1, 16, 32, 8, 2, projections=1)
    assert (alone.read_bytes, alone.write_bytes, alone.vector_flops) == (2 * 32 * 2, 2 * 16 * 2, 0)


def test_expert_shares_sum_to_the_whole() -> None:
    whole = op.moe_gemm("moe", 100, 16, 32, 8, 2)
    part = op.moe_gemm("moe", 100, 16, 32, 8, 2, local_share=0.25)
    assert 4 * part.flops == whole.flops
    assert 4 * part.weight_bytes == pytest.approx(whole.weight_bytes)


def test_vector_operators_by_hand() -> None:
    assert op.norm("n", 10, 20).moved_bytes == 2 * (2 * 200 + 20)
    assert op.norm("n", 10, 20, residual=True, bias=True).moved_bytes == 2 * (4 * 200 + 40)
    assert op.activation("a", 10, 20, gated=True).moved_bytes == 2 * 3 * 200
    assert op.elementwise("e", 10, 20, inputs=6).moved_bytes == 2 * 7 * 200
    assert op.elementwise("e", 10, 20, inputs=6).vector_flops == 5 * 200
    assert op.softmax("s", 10, 20, "fp32").moved_bytes == 4 * 2 * 200
    assert op.stream_copy("c", 1e6).moved_bytes == 1e6
    assert op.sampling("s", 4, 1000).read_bytes == 4 * 1000 * 4 * 2


def test_state_space_scan_by_hand() -> None:
    """Decode is bound by the state: read and written once, whatever the context."""
    o = op.ssm_scan("s", 1, 64, 16, batch=3)
    assert o.read_bytes == 3 * (64 + 64 + 2 * 16) * 2 + 3 * 64 * 16 * 4
    assert o.write_bytes == 3 * 64 * 2 + 3 * 64 * 16 * 4
    assert (o.vector_flops, o.flops) == (9 * 3 * 64 * 16, 0)


def test_mamba_2_scans_long_inputs_as_products() -> None:
    decode = op.ssm_scan("s", 1, 64, 16, heads=4)
    assert decode.flops == 0
    prefill = op.ssm_scan("s", 512, 64, 16, heads=4)
    assert prefill.flops == 512 * (2 * 256 * (16 + 64) + 4 * 16 * 64)
    assert prefill.read_bytes == 512 * (64 + 4 + 2 * 16) * 2 + 64 * 16 * 4


def test_causal_convolution_keeps_a_state() -> None:
    o = op.causal_convolution("c", 1, 64, 4, batch=2)
    assert o.vector_flops == 2 * 4 * 64 * 2
    assert o.read_bytes == 2 * (64 + 3 * 64) * 2


def test_patch_embedding_is_a_product_without_overlap() -> None:
    """ViT-L/14 at 224: 16 x 16 patches of 14 x 14 x 3 values into 1024 channels."""
    o = op.convolution("patches", 256, 3, 1024, 196, batch=2)
    assert o.flops == 2 * 2 * 256 * 1024 * 588
    assert o.read_bytes == 2 * 224 * 224 * 3 * 2
    assert o.kind == OpKind.CONVOLUTION
    overlap = op.convolution("3x3", 256, 64, 64, 9, in_pixels=256)
    assert overlap.read_bytes == 256 * 64 * 2


def test_vector_search_reads_what_any_query_probes() -> None:
    o = op.vector_search("v", 8, 1000, 16)
    assert o.flops == 2 * 8 * 1000 * 16
    assert o.read_bytes == pytest.approx((1000 + 8) * 16 * 2)
    one, many = (op.vector_search("v", q, 1000, 16, probed=0.1) for q in (1, 1000))
    assert one.n == pytest.approx(100)
    assert many.n == pytest.approx(1000)
    assert many.flops == pytest.approx(1000 * one.flops)


def test_adam_moves_weights_gradients_and_states() -> None:
    mixed = op.optimizer_update("u", 10)
    assert (mixed.read_bytes, mixed.write_bytes) == (10 * 16, 10 * 14)
    single = op.optimizer_update("u", 10, state_bytes=8, weight_bytes=4)
    assert (single.read_bytes, single.write_bytes) == (10 * (8 + 4 + 4), 10 * 12), "fp32 weights are read as well"


CONSTRUCTORS: dict[str, tuple[Callable[..., Operator], tuple[str, ...]]] = {
    "gemm": (op.gemm, ("m", "n", "k")),
    "moe_gemm": (lambda name, tokens, width, hidden: op.moe_gemm(name, tokens, width, hidden, 8, 2), ("t", "w", "h")),
    "attention": (lambda name, new, old, heads: op.attention(name, new, new + old, heads, heads, 64), ("q", "o", "h")),
    "window": (
        lambda name, new, old, heads: op.attention(name, new, new + old, heads, 1, 64, window=100), ("q", "o", "h"),
    ),
    "mla_decode": (lambda name, kv, heads, lora: op.mla_decode(name, kv, heads, lora, 64), ("kv", "h", "l")),
    "norm": (op.norm, ("rows", "cols")),
    "rope": (op.rope, ("rows", "cols")),
    "activation": (op.activation, ("rows", "cols")),
    "elementwise": (op.elementwise, ("rows", "cols")),
    "softmax": (op.softmax, ("rows", "cols")),
    "embedding": (op.embedding, ("rows", "cols")),
    "sampling": (op.sampling, ("rows", "cols")),
    "stream_copy": (op.stream_copy, ("bytes",)),
    "causal_convolution": (op.causal_convolution, ("t", "c", "taps")),
    "ssm_scan": (op.ssm_scan, ("t", "inner", "state")),
    "mamba_2": (lambda name, t, inner, state: op.ssm_scan(name, t + 1, inner, state, heads=4), ("t", "i", "s")),
    "convolution": (lambda name, p, i, o: op.convolution(name, p, i, o, 9), ("p", "i", "o")),
    "vector_search": (op.vector_search, ("q", "v", "w")),
    "optimizer_update": (op.optimizer_update, ("p",)),
}  # fmt: skip
COUNTS = ("flops", "vector_flops", "weight_bytes", "read_bytes", "write_bytes")


@pytest.mark.parametrize("name", CONSTRUCTORS)
@given(data=st.data())
def test_counts_are_not_negative_and_grow_with_every_size(name: str, data: Any) -> None:
    make, arguments = CONSTRUCTORS[name]
    sizes = [data.draw(SIZES, label=a) for a in arguments]
    small = make(name, *sizes)
    for i in range(len(sizes)):
        larger = [s + (data.draw(SIZES, label="more") if i == j else 0) for j, s in enumerate(sizes)]
        large = make(name, *larger)
        for count in COUNTS:
            assert 0 <= getattr(small, count) <= getattr(large, count) * (1 + 1e-12), (count, sizes, larger)


@given(SIZES, SIZES, SIZES, st.integers(1, 64))
def test_flops_add_up_over_the_batch(m: int, n: int, k: int, batch: int) -> None:
    assert op.gemm("x", m * batch, n, k).flops == batch * op.gemm("x", m, n, k).flops
    assert op.gemm("x", m, n, k, batch=batch).flops == batch * op.gemm("x", m, n, k).flops
    each, together = (op.attention("a", m, m + n, 8, 2, 64, batch=b) for b in (1, batch))
    assert together.flops == pytest.approx(batch * each.flops, rel=1e-12)
    assert together.moved_bytes == pytest.approx(batch * each.moved_bytes, rel=1e-12)


def test_collectives_compute_nothing() -> None:
    o = op.collective("c", OpKind.ALL_REDUCE, 1e6, 8, "tp")
    assert (o.flops, o.moved_bytes, o.message_bytes, o.group, o.axis) == (0, 0, 1e6, 8, "tp")
    assert o.family == "collective"
    assert op.transfer("t", 5.0).family == "transfer"


def test_every_number_of_a_record_is_a_number() -> None:
    """Operators are made of numbers and names alone, so that they become columns."""
    for f in fields(Operator):
        assert f.type in ("float", "int", "bool", "str", "OpKind"), f
