"""A measured operator row is one call of an operator's constructor."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from simulator.validation.operators import COLLECTIVES, NEEDS, OPS, SIZES, Numbers, Sizes, numbers_of
from workloads import operators as op
from workloads.formats import load_format
from workloads.operators import Operator, OpKind

EMPTY = Sizes._make([math.nan] * len(SIZES))
BF16 = Numbers("bf16")


def made(word: str, formats: Numbers = BF16, note: str = "", **sizes: float) -> Operator:
    """The operator of a row that has just the columns that its word needs."""
    assert set(sizes) == set(NEEDS[word])
    return replace(OPS[word].make(EMPTY._replace(**sizes), formats, note), name="x")


CONTEXT = {"batch": 2.0, "heads": 32.0, "kv_heads": 8.0, "head_dim": 128.0, "kv_len": 1024.0}
LATENT = {"batch": 2.0, "heads": 16.0, "kv_len": 1024.0}


@pytest.mark.parametrize(
    ("row", "operator"),
    [
        (made("gemm", m=64.0, n=4096.0, k=1024.0), op.gemm("x", 64, 4096, 1024)),
        (
            made("gemm", Numbers("bf16", 4.25, True), m=64.0, n=4096.0, k=1024.0),
            op.gemm("x", 64, 4096, 1024, weight_bits=4.25, dequantize=True),
        ),
        (made("batched_gemm", m=8.0, n=16.0, k=32.0, batch=5.0), op.gemm("x", 8, 16, 32, batch=5, weights=False)),
        (
            made("moe_gemm", m=10.0, n=1408.0, k=2048.0, experts=64.0, top_k=6.0),
            op.moe_gemm("x", 10, 1408, 2048, 64, 6),
        ),
        (made("attention_prefill", q_len=512.0, **CONTEXT), op.attention("x", 512, 1024, 32, 8, 128, batch=2)),
        (
            made("attention_decode", Numbers("bf16", kv_bits=8.0), q_len=1.0, **CONTEXT),
            op.attention("x", 1, 1024, 32, 8, 128, batch=2, kv_bits=8.0),
        ),
        (
            made("mla_prefill", head_dim=192.0, q_len=512.0, **LATENT),
            replace(op.attention("x", 512, 1024, 16, 16, 192, batch=2, value_dim=128), kind=OpKind.MLA_PREFILL),
        ),
        (
            made("mla_decode", head_dim=576.0, q_len=1.0, **LATENT),
            op.mla_decode("x", 1024, 16, 512, 64, batch=2),
        ),
        (made("softmax", rows=7.0, cols=512.0), op.softmax("x", 7, 512)),
        (made("layernorm", rows=7.0, cols=512.0), op.norm("x", 7, 512, bias=True)),
        (made("rmsnorm", rows=7.0, cols=512.0), op.norm("x", 7, 512)),
        (made("gelu", rows=7.0, cols=512.0), op.activation("x", 7, 512)),
        (made("silu_mul", rows=7.0, cols=512.0), op.activation("x", 7, 512, gated=True)),
        (made("add", rows=7.0, cols=512.0), op.elementwise("x", 7, 512)),
        (made("mul", Numbers("fp32"), rows=7.0, cols=512.0), op.elementwise("x", 7, 512, "fp32")),
        (made("rope", rows=7.0, cols=512.0), op.rope("x", 7, 512)),
        (made("embedding", rows=7.0, cols=512.0), op.embedding("x", 7, 512)),
        (made("stream_copy", message_bytes=2048.0), op.stream_copy("x", 2048)),
    ],
    ids=lambda value: value.kind.name.lower(),
)
def test_each_word_is_its_constructor(row: Operator, operator: Operator) -> None:
    assert row == operator


def test_every_word_of_the_schema_is_known() -> None:
    words = (
        "gemm batched_gemm attention_prefill attention_decode mla_prefill mla_decode moe_gemm softmax layernorm "
        "rmsnorm gelu silu_mul add mul rope embedding all_reduce all_gather reduce_scatter all_to_all send_recv "
        "stream_copy"
    )
    assert set(words.split()) == set(NEEDS)
    assert set(COLLECTIVES) == {"all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv"}


def test_parts_of_an_expert_add_up_to_the_whole() -> None:
    sizes = {"m": 10.0, "n": 1408.0, "k": 2048.0, "experts": 64.0, "top_k": 6.0}
    parts = [made("moe_gemm", note=note, **sizes) for note in ("gate+up only (N=2n)", "down only (K=n, N=k); masked")]
    whole = made("moe_gemm", **sizes)
    assert sum(part.flops for part in parts) == pytest.approx(whole.flops)
    assert sum(part.weight_bytes for part in parts) == pytest.approx(whole.weight_bytes)


@pytest.mark.parametrize(
    ("note", "routing"),
    [
        ("fused MoE gate+up GEMM, act, down GEMM (EP=1); routing balanced; aic fp8", "balanced"),
        ("fused MoE gate+up GEMM, act, down GEMM (EP=1); routing power_law_1.2; aic fp8_block", "power_law_1.2"),
        ("routing power_law_1; EP=1", "power_law_1"),
        ("masked grouped GEMM; tokens_per_expert=16; EP over 8 GPUs, experts = local", "balanced"),
        ("EP=1; routing uniform_topk", "uniform"),
        ("EP=1; routing not stated", "uniform"),
        ("", "uniform"),
    ],
)
def test_routing_is_read_from_the_note(note: str, routing: str) -> None:
    sizes = {"m": 10.0, "n": 1408.0, "k": 2048.0, "experts": 64.0, "top_k": 6.0}
    assert made("moe_gemm", note=note, **sizes) == op.moe_gemm("x", 10, 1408, 2048, 64, 6, routing=routing)


@pytest.mark.parametrize(
    ("device", "dtype", "note", "expected"),
    [
        ("h100-sxm-80gb", "fp8", "", Numbers("fp8")),
        ("h100-sxm-80gb", "fp8", "routing balanced; aic fp8", Numbers("fp8")),
        ("h100-sxm-80gb", "fp8", "aic fp8_block", Numbers("fp8", load_format("fp8_block").bits_per_weight)),
        ("h100-sxm-80gb", "bf16", "kv_cache=fp8; causal", Numbers("bf16", kv_bits=8.0)),
        ("a100-sxm-80gb", "int8", "", Numbers("int8")),
        ("a100-sxm-80gb", "int4_wo", "", Numbers("bf16", load_format("int4").bits_per_weight, True)),
    ],
)
def test_formats_of_a_row(device: str, dtype: str, note: str, expected: Numbers) -> None:
    assert numbers_of(dtype, note, load_device(device)) == expected


@pytest.mark.parametrize(
    ("dtype", "said"), [("", "dtype missing"), ("fp8", "cannot compute in fp8"), ("bf15", "unknown storage format")]
)
def test_formats_that_a_device_cannot_run_are_refused(dtype: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        numbers_of(dtype, "", load_device("a100-sxm-80gb"))
