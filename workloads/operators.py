"""Operators: one call each, with exact FLOPs and bytes, and no knowledge of hardware.

Conventions. A multiply-add is 2 FLOPs. ``flops`` is what the matrix engine does, ``vector_flops`` what the
vector engine does. ``weight_bytes`` are read once per call from the weights, ``read_bytes`` and
``write_bytes`` are activations and caches. All counts are of one device. Constructors are named as the ``op``
column of a points file (docs: file formats), so that a measured row is one call.
"""

from __future__ import annotations

from dataclasses import replace

from hardware_specs.dtypes import BITS
from workloads.operator_record import (
    COLLECTIVES,
    FAMILIES,
    FAMILY,
    FAMILY_CODES,
    Operator,
    OpKind,
    activation_bytes,
    element_bytes,
)
from workloads.routing import active_experts, expert_load
from workloads.vector_operators import (
    activation,
    causal_convolution,
    elementwise,
    embedding,
    norm,
    optimizer_update,
    quantisation,
    rope,
    sampling,
    softmax,
    ssm_scan,
    stream_copy,
)

__all__ = [
    "COLLECTIVES", "FAMILIES", "FAMILY", "FAMILY_CODES", "OpKind", "Operator", "activation",
    "activation_bytes", "active_experts",
    "attention", "attention_backward", "causal_convolution", "collective", "convolution", "element_bytes",
    "elementwise", "embedding", "gemm", "mla_decode", "moe_gemm", "norm", "optimizer_update", "quantisation", "rope",
    "sampling", "skipping", "softmax", "ssm_scan", "stream_copy", "transfer", "vector_search", "visible_pairs",
]  # fmt: skip


def gemm(
    name: str,
    m: float,
    n: float,
    k: float,
    dtype: str = "bf16",
    *,
    batch: float = 1.0,
    weight_bits: float | None = None,
    dequantize: int = 0,
    activation_dtype: str | None = None,
    weights: bool = True,
) -> Operator:
    """``y[m, n] = x[m, k] w[k, n]``, ``batch`` times with separate operands.

    Args:
        weight_bits: stored bits per weight, scales included; None: as ``dtype``.
        dequantize: weights are unpacked to ``dtype`` before the product.
        activation_dtype: dtype of x and y in memory; None: as ``dtype`` (16 bit where that has fewer).
        weights: w is a weight matrix; false: it is an activation too.
    """
    width = element_bytes(activation_dtype) if activation_dtype else activation_bytes(dtype)
    bits = float(BITS[dtype]) if weight_bits is None else weight_bits
    w_bytes = batch * n * k * (bits / 8.0 if weights else width)
    return Operator(
        name, OpKind.GEMM if batch == 1 else OpKind.BATCHED_GEMM, dtype, m, n, k, batch,
        flops=2.0 * batch * m * n * k,
        vector_flops=batch * n * k if dequantize else 0.0,
        weight_bytes=w_bytes if weights else 0.0,
        read_bytes=batch * m * k * width + (0.0 if weights else w_bytes),
        write_bytes=batch * m * n * width,
        weight_bits=bits, dequantize=int(dequantize),
    )  # fmt: skip


def skipping(product: Operator, gain: float, reached: float) -> Operator:
    """``product`` with sparse weights whose zeros the matrix units pass over: 1/``gain`` of its FLOPs are done.

    With two of every four weights zero that is half (Mishra et al., arXiv:2104.08378, section 3). Bytes stay as they
    are: those of the weights are counted as stored, those of activations whole.

    Args:
        reached: part of the gain by which blocks walk through the depth faster, for they load activations whole; below
            1, so that the product does fewer FLOPs than its sizes ask for.
    """
    depth = product.k / (gain * reached)
    return replace(
        product, k=depth, flops=product.flops / gain, vector_flops=product.vector_flops / gain,
        weight_bits=product.weight_bits * gain * reached,
    )  # fmt: skip


def moe_gemm(
    name: str,
    tokens: float,
    width: float,
    hidden: float,
    experts: float,
    top_k: float,
    dtype: str = "bf16",
    *,
    projections: int = 3,
    weight_bits: float | None = None,
    dequantize: int = 0,
    local_share: float = 1.0,
    calls: float = 1.0,
    routing: str = "uniform",
) -> Operator:
    """Grouped expert MLP on one device: up (and gate), activation and down projections in one grouped call.

    The inner values are written once and read once; the activation (8 vector FLOPs) rides along.

    Args:
        tokens: tokens that are routed (of all ranks that share the experts).
        width: inner units of one expert on this device.
        experts: routed experts in total; ``local_share`` of them live here.
        projections: 3 for gated experts, 2 otherwise; 1 for the projection hidden -> width alone.
        calls: kernels it takes; one per expert and projection where the runtime loops over experts.
        routing: how tokens choose experts, see ``workloads.routing``.

    Raises:
        InputError: a routing that does not exist.
    """
    bits = float(BITS[dtype]) if weight_bits is None else weight_bits
    each = activation_bytes(dtype)
    rows = tokens * top_k * local_share
    load = expert_load(tokens, experts, top_k, routing)
    active = load.active * local_share
    weights = active * projections * width * hidden
    alone = projections == 1
    inner = 0.0 if alone else (projections - 1) * width
    return Operator(
        name, OpKind.MOE_GEMM, dtype, rows, width, hidden, batch=max(active, 1e-9),
        flops=2.0 * rows * projections * width * hidden,
        vector_flops=(0.0 if alone else 8.0 * rows * width) + (weights if dequantize else 0.0),
        weight_bytes=weights * bits / 8.0,
        read_bytes=rows * (hidden + inner) * each,
        write_bytes=rows * (width if alone else hidden + inner) * each,
        weight_bits=bits, dequantize=int(dequantize), calls=max(calls, 1.0), copies=top_k,
        experts=experts * local_share, imbalance=load.imbalance,
    )  # fmt: skip


def visible_pairs(q_len: float, kv_len: float, causal: bool = True, window: float = 0.0) -> float:
    """Query-key pairs that attention computes, for ``q_len`` new tokens at the end of ``kv_len``.

    Query i (0-based) stands at position p = kv_len - q_len + i and sees min(p + 1, window) keys if causal;
    otherwise all keys, or those at most window // 2 positions away on either side (ModernBERT, Longformer).
    """
    if not causal:
        if not window:
            return q_len * kv_len
        reach = window // 2 + 1.0
        # Keys up to and including the query's own place, plus the same looking right, the own key counted once.
        return visible_pairs(q_len, kv_len, True, reach) + visible_pairs(q_len, q_len, True, reach) - q_len
    first = kv_len - q_len + 1.0
    if not window or window >= kv_len:
        return q_len * (first + kv_len) / 2.0
    rising = max(0.0, min(q_len, window - first))
    return rising * (first + first + rising - 1.0) / 2.0 + (q_len - rising) * window


def attention(
    name: str,
    q_len: float,
    kv_len: float,
    heads: float,
    kv_heads: float,
    head_dim: float,
    *,
    batch: float = 1.0,
    value_dim: float = 0.0,
    dtype: str = "bf16",
    kv_bits: float = 16.0,
    causal: bool = True,
    window: float = 0.0,
) -> Operator:
    """Fused (flash) attention of ``batch`` sequences: ``q_len`` new tokens against ``kv_len`` in all.

    q_len = 1 is decode; the keys and values of the visible context are read from the cache, the scores
    never leave the chip. FLOPs: 2 (d_qk + d_v) per visible pair and head; the softmax about 5 vector FLOPs. In decode a
    cached value of fewer bits than the math takes one more to unpack.
    """
    d_v = value_dim or head_dim
    pairs = visible_pairs(q_len, kv_len, causal, window)
    reach = window if causal else window // 2 + 1.0
    seen = min(kv_len, reach + q_len - 1.0) if window else kv_len
    e = activation_bytes(dtype)
    decode = q_len == 1 and causal
    unpacked = batch * seen * kv_heads * (head_dim + d_v) if decode and kv_bits < 8.0 * e else 0.0
    return Operator(
        name, OpKind.ATTENTION_DECODE if decode else OpKind.ATTENTION_PREFILL, dtype,
        q_len, seen, head_dim, batch, heads, kv_heads, d_v,
        flops=2.0 * batch * heads * pairs * (head_dim + d_v),
        vector_flops=5.0 * batch * heads * pairs + unpacked,
        read_bytes=batch * (q_len * heads * head_dim * e + seen * kv_heads * (head_dim + d_v) * kv_bits / 8.0),
        write_bytes=batch * q_len * heads * d_v * e,
    )  # fmt: skip


def attention_backward(forward: Operator) -> Operator:
    """The backward of a flash attention call: five products instead of two (dV, dP, dQ, dK, and S again).

    2.5 times its FLOPs; reads q, k, v, the output and its gradient, writes dq, dk, dv. Source: Dao,
    FlashAttention-2, arXiv:2307.08691, section 3.1.
    """
    return Operator(
        forward.name + ".backward", OpKind.ATTENTION_BACKWARD, forward.dtype,
        forward.m, forward.n, forward.k, forward.batch, forward.heads, forward.kv_heads, forward.value_dim,
        flops=2.5 * forward.flops, vector_flops=2.5 * forward.vector_flops,
        read_bytes=forward.read_bytes + 2.0 * forward.write_bytes,
        write_bytes=forward.read_bytes,
    )  # fmt: skip


def mla_decode(
    name: str, kv_len: float, heads: float, kv_lora: float, rope_dim: float, *, batch: float = 1.0,
    q_len: float = 1.0, dtype: str = "bf16", kv_bits: float = 16.0,
) -> Operator:  # fmt: skip
    """Absorbed multi-head latent attention: every head reads the one latent of width kv_lora + rope_dim.

    Source: DeepSeek-V2, arXiv:2405.04434, section 2.1.
    """
    e = activation_bytes(dtype)
    pairs = visible_pairs(q_len, kv_len)
    unpacked = batch * kv_len * (kv_lora + rope_dim) if kv_bits < 8.0 * e else 0.0
    return Operator(
        name, OpKind.MLA_DECODE, dtype, q_len, kv_len, kv_lora + rope_dim, batch, heads, 1.0, kv_lora,
        flops=2.0 * batch * heads * pairs * (2.0 * kv_lora + rope_dim),
        vector_flops=5.0 * batch * heads * pairs + unpacked,
        read_bytes=batch * (kv_len * (kv_lora + rope_dim) * kv_bits / 8.0 + q_len * heads * (kv_lora + rope_dim) * e),
        write_bytes=batch * q_len * heads * kv_lora * e,
    )  # fmt: skip


def convolution(
    name: str, out_pixels: float, in_channels: float, out_channels: float, kernel: float, dtype: str = "bf16", *,
    batch: float = 1.0, in_pixels: float = 0.0,
) -> Operator:  # fmt: skip
    """2-D convolution as an implicit GEMM: m = batch x output pixels, n = output channels, k = kernel x inputs.

    ``kernel`` counts the taps of one input channel (14 x 14 = 196 for a ViT patch embedding); ``in_pixels`` the
    input's pixels (0: patches do not overlap, so out_pixels x kernel).
    """
    product = gemm(name, batch * out_pixels, out_channels, in_channels * kernel, dtype)
    pixels = in_pixels or out_pixels * kernel
    return replace(product, kind=OpKind.CONVOLUTION, read_bytes=batch * pixels * in_channels * activation_bytes(dtype))


def vector_search(
    name: str, queries: float, vectors: float, width: float, dtype: str = "fp16", *, probed: float = 1.0,
    results: float = 10.0,
) -> Operator:  # fmt: skip
    """Nearest-neighbour search: inner products of each query with the share ``probed`` of ``vectors``.

    Queries probe independently: a vector is read once if any query probes it. ``results`` ids and scores
    (8 bytes) are kept per query.
    """
    e = element_bytes(dtype)
    pairs = queries * vectors * probed
    read = active_experts(queries, vectors, vectors * probed)
    return Operator(
        name, OpKind.VECTOR_SEARCH, dtype, pairs / read, read, width,
        flops=2.0 * pairs * width, vector_flops=pairs,
        read_bytes=(read + queries) * width * e, write_bytes=queries * results * 8.0,
    )  # fmt: skip


def collective(name: str, kind: OpKind, message_bytes: float, group: int, axis: str) -> Operator:
    """A collective over ``group`` devices of one parallelism axis; see ``Operator`` for what the message is."""
    return Operator(name, kind, "bf16", message_bytes=message_bytes, group=group, axis=axis)


def transfer(name: str, message_bytes: float) -> Operator:
    """A copy from the device of the producer to the device of the consumer."""
    return Operator(name, OpKind.TRANSFER, "bf16", message_bytes=message_bytes, group=2)
