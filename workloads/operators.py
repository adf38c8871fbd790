"""Operators: one call each, with exact FLOPs and bytes, and no knowledge of hardware.

Conventions. A multiply-add is 2 FLOPs. ``flops`` is what the matrix engine does, ``vector_flops`` what the
vector engine does. ``weight_bytes`` are read once per call from the weights, ``read_bytes`` and
``write_bytes`` are activations and caches. All counts are of one device. Constructors are named as the ``op``
column of a points file (docs: file formats), so that a measured row is one call.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from hardware_specs.dtypes import BITS


class OpKind(IntEnum):
    """What an operator is; the value is its code in kernels."""

    GEMM = 0
    BATCHED_GEMM = 1
    MOE_GEMM = 2
    ATTENTION_PREFILL = 3
    ATTENTION_DECODE = 4
    MLA_PREFILL = 5
    MLA_DECODE = 6
    ATTENTION_BACKWARD = 7
    NORM = 8
    ROPE = 9
    ACTIVATION = 10
    ELEMENTWISE = 11
    SOFTMAX = 12
    EMBEDDING = 13
    SAMPLING = 14
    SSM_SCAN = 15
    CONVOLUTION = 16
    VECTOR_SEARCH = 17
    OPTIMIZER = 18
    STREAM_COPY = 19
    ALL_REDUCE = 20
    ALL_GATHER = 21
    REDUCE_SCATTER = 22
    ALL_TO_ALL = 23
    SEND_RECV = 24
    TRANSFER = 25


FAMILIES: Final = (
    "gemm",
    "moe",
    "attention_prefill",
    "attention_decode",
    "vector",
    "optimizer",
    "collective",
    "transfer",
)
"""Operator families: the unit of efficiency parameters, residuals and breakdowns."""

FAMILY: Final[dict[OpKind, str]] = {
    OpKind.GEMM: "gemm", OpKind.BATCHED_GEMM: "gemm", OpKind.CONVOLUTION: "gemm", OpKind.VECTOR_SEARCH: "gemm",
    OpKind.MOE_GEMM: "moe",
    OpKind.ATTENTION_PREFILL: "attention_prefill", OpKind.MLA_PREFILL: "attention_prefill",
    OpKind.ATTENTION_BACKWARD: "attention_prefill",
    OpKind.ATTENTION_DECODE: "attention_decode", OpKind.MLA_DECODE: "attention_decode",
    OpKind.NORM: "vector", OpKind.ROPE: "vector", OpKind.ACTIVATION: "vector", OpKind.ELEMENTWISE: "vector",
    OpKind.SOFTMAX: "vector", OpKind.EMBEDDING: "vector", OpKind.SAMPLING: "vector", OpKind.SSM_SCAN: "vector",
    OpKind.STREAM_COPY: "vector",
    OpKind.OPTIMIZER: "optimizer",
    OpKind.ALL_REDUCE: "collective", OpKind.ALL_GATHER: "collective", OpKind.REDUCE_SCATTER: "collective",
    OpKind.ALL_TO_ALL: "collective", OpKind.SEND_RECV: "collective",
    OpKind.TRANSFER: "transfer",
}  # fmt: skip

COLLECTIVES: Final = frozenset(kind for kind, family in FAMILY.items() if family == "collective")


@dataclass(frozen=True, slots=True)
class Operator:
    """One call.

    ``m, n, k, batch`` are the sizes of the product (attention: queries, visible keys, head width, sequences;
    vector operators: rows, columns). ``heads``, ``kv_heads``, ``value_dim`` belong to attention. ``group``
    is the number of participants of a collective along the parallelism ``axis`` ("tp", "pp", "dp", "ep"),
    ``message_bytes`` its message: the tensor on each rank
    (all-reduce, send/recv), the full gathered tensor (all-gather), the full input (reduce-scatter), the send
    buffer (all-to-all). ``weight_bits`` below 16 with ``dequantize`` means weights are unpacked to ``dtype``.
    """

    name: str
    kind: OpKind
    dtype: str
    m: float = 1.0
    n: float = 1.0
    k: float = 1.0
    batch: float = 1.0
    heads: float = 1.0
    kv_heads: float = 1.0
    value_dim: float = 0.0
    flops: float = 0.0
    vector_flops: float = 0.0
    weight_bytes: float = 0.0
    read_bytes: float = 0.0
    write_bytes: float = 0.0
    message_bytes: float = 0.0
    group: int = 1
    axis: str = ""
    weight_bits: float = 16.0
    dequantize: bool = False

    @property
    def family(self) -> str:
        """The family this operator is priced and reported under."""
        return FAMILY[self.kind]

    @property
    def moved_bytes(self) -> float:
        """Bytes that must cross the memory interface at least once [B]."""
        return self.weight_bytes + self.read_bytes + self.write_bytes


def element_bytes(dtype: str) -> float:
    """Bytes of one element of a compute dtype [B]."""
    return BITS[dtype] / 8.0


def gemm(
    name: str,
    m: float,
    n: float,
    k: float,
    dtype: str = "bf16",
    *,
    batch: float = 1.0,
    weight_bits: float | None = None,
    dequantize: bool = False,
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
    activation = element_bytes(activation_dtype or ("bf16" if BITS[dtype] < 16 else dtype))
    bits = float(BITS[dtype]) if weight_bits is None else weight_bits
    w_bytes = batch * n * k * (bits / 8.0 if weights else activation)
    return Operator(
        name, OpKind.GEMM if batch == 1 else OpKind.BATCHED_GEMM, dtype, m, n, k, batch,
        flops=2.0 * batch * m * n * k,
        vector_flops=batch * n * k if dequantize else 0.0,
        weight_bytes=w_bytes if weights else 0.0,
        read_bytes=batch * m * k * activation + (0.0 if weights else w_bytes),
        write_bytes=batch * m * n * activation,
        weight_bits=bits, dequantize=dequantize,
    )  # fmt: skip


def active_experts(tokens: float, experts: float, top_k: float) -> float:
    """Expected number of distinct experts that ``tokens`` independent uniform top-k choices touch.

    ``E (1 - (1 - k/E)^tokens)``: each expert is missed by one token with probability 1 - k/E.
    """
    if experts <= 0:
        return 0.0
    return float(experts * -math.expm1(tokens * math.log1p(-min(top_k / experts, 1.0 - 1e-12))))


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
    dequantize: bool = False,
    local_share: float = 1.0,
) -> Operator:
    """Grouped expert MLP on one device: up (and gate), activation and down projections in one grouped call.

    Args:
        tokens: tokens that are routed (of all ranks that share the experts).
        width: inner units of one expert on this device.
        experts: routed experts in total; ``local_share`` of them live here.
        projections: 3 for gated experts, 2 otherwise; 1 for one projection alone.
    """
    bits = float(BITS[dtype]) if weight_bits is None else weight_bits
    activation = 2.0 if BITS[dtype] < 16 else element_bytes(dtype)
    rows = tokens * top_k * local_share
    active = active_experts(tokens, experts, top_k) * local_share
    weights = active * projections * width * hidden
    inner = (projections - 1) * width
    return Operator(
        name, OpKind.MOE_GEMM, dtype, rows, width, hidden, batch=max(active, 1e-9),
        flops=2.0 * rows * projections * width * hidden,
        vector_flops=rows * inner + (weights if dequantize else 0.0),
        weight_bytes=weights * bits / 8.0,
        read_bytes=rows * hidden * activation + rows * inner * activation,
        write_bytes=rows * hidden * activation + rows * inner * activation,
        weight_bits=bits, dequantize=dequantize,
    )  # fmt: skip


def visible_pairs(q_len: float, kv_len: float, causal: bool = True, window: float = 0.0) -> float:
    """Query-key pairs that attention computes, for ``q_len`` new tokens at the end of ``kv_len``.

    Query i (0-based) stands at position p = kv_len - q_len + i and sees min(p + 1, window) keys if causal;
    all keys within the window (both sides) otherwise.
    """
    if not causal:
        return q_len * (min(kv_len, window) if window else kv_len)
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
    never leave the chip. FLOPs: 2 (d_qk + d_v) per visible pair and head; the softmax about 5 vector FLOPs.
    """
    d_v = value_dim or head_dim
    pairs = visible_pairs(q_len, kv_len, causal, window)
    seen = min(kv_len, window + q_len - 1.0) if window else kv_len
    e = element_bytes(dtype) if BITS[dtype] >= 16 else 2.0
    decode = q_len == 1 and causal
    return Operator(
        name, OpKind.ATTENTION_DECODE if decode else OpKind.ATTENTION_PREFILL, dtype,
        q_len, seen, head_dim, batch, heads, kv_heads, d_v,
        flops=2.0 * batch * heads * pairs * (head_dim + d_v),
        vector_flops=5.0 * batch * heads * pairs,
        read_bytes=batch * (q_len * heads * head_dim * e + seen * kv_heads * (head_dim + d_v) * kv_bits / 8.0),
        write_bytes=batch * q_len * heads * d_v * e,
    )  # fmt: skip


def attention_backward(forward: Operator) -> Operator:
    """The backward of a flash attention call: 2.5 times its FLOPs (scores are recomputed), twice its bytes.

    Five products instead of two: dV, dP, dQ, dK and S again (Dao, FlashAttention-2, 2023).
    """
    return Operator(
        forward.name + ".backward", OpKind.ATTENTION_BACKWARD, forward.dtype,
        forward.m, forward.n, forward.k, forward.batch, forward.heads, forward.kv_heads, forward.value_dim,
        flops=2.5 * forward.flops, vector_flops=2.5 * forward.vector_flops,
        read_bytes=2.0 * (forward.read_bytes + forward.write_bytes),
        write_bytes=forward.read_bytes,
    )  # fmt: skip


def mla_decode(
    name: str, kv_len: float, heads: float, kv_lora: float, rope_dim: float, *, batch: float = 1.0,
    q_len: float = 1.0, dtype: str = "bf16", kv_bits: float = 16.0,
) -> Operator:  # fmt: skip
    """Absorbed multi-head latent attention: every head reads the one latent of width kv_lora + rope_dim.

    Source: DeepSeek-V2, arXiv:2405.04434, section 2.1.
    """
    e = 2.0 if BITS[dtype] < 16 else element_bytes(dtype)
    pairs = visible_pairs(q_len, kv_len)
    return Operator(
        name, OpKind.MLA_DECODE, dtype, q_len, kv_len, kv_lora + rope_dim, batch, heads, 1.0, kv_lora,
        flops=2.0 * batch * heads * pairs * (2.0 * kv_lora + rope_dim),
        vector_flops=5.0 * batch * heads * pairs,
        read_bytes=batch * (kv_len * (kv_lora + rope_dim) * kv_bits / 8.0 + q_len * heads * (kv_lora + rope_dim) * e),
        write_bytes=batch * q_len * heads * kv_lora * e,
    )  # fmt: skip


def _vector(
    name: str, kind: OpKind, rows: float, cols: float, dtype: str, flops_per_element: float, reads: float, writes: float,
    weight_elements: float = 0.0,
) -> Operator:  # fmt: skip
    e = element_bytes(dtype)
    return Operator(
        name, kind, dtype, rows, cols, 1.0,
        vector_flops=flops_per_element * rows * cols,
        weight_bytes=weight_elements * e, read_bytes=reads * rows * cols * e, write_bytes=writes * rows * cols * e,
    )  # fmt: skip


def norm(
    name: str, rows: float, cols: float, dtype: str = "bf16", *, residual: bool = False, bias: bool = False
) -> Operator:
    """RMS or layer norm over ``cols``; with ``residual`` the residual addition is fused into it."""
    extra = 1.0 if residual else 0.0
    weights = cols * (2.0 if bias else 1.0)
    return _vector(name, OpKind.NORM, rows, cols, dtype, 5.0 + extra, 1.0 + extra, 1.0 + extra, weights)


def rope(name: str, rows: float, cols: float, dtype: str = "bf16") -> Operator:
    """Rotary position embedding of ``cols`` = (heads + kv_heads) x head_dim values per row."""
    return _vector(name, OpKind.ROPE, rows, cols, dtype, 3.0, 1.0, 1.0)


def activation(name: str, rows: float, cols: float, dtype: str = "bf16", *, gated: bool = False) -> Operator:
    """GELU/SiLU of ``cols`` values per row; ``gated`` reads two inputs (silu(gate) x up)."""
    return _vector(name, OpKind.ACTIVATION, rows, cols, dtype, 8.0, 2.0 if gated else 1.0, 1.0)


def elementwise(name: str, rows: float, cols: float, dtype: str = "bf16", *, inputs: int = 2) -> Operator:
    """Add or multiply of ``inputs`` tensors of rows x cols."""
    return _vector(name, OpKind.ELEMENTWISE, rows, cols, dtype, 1.0, float(inputs), 1.0)


def softmax(name: str, rows: float, cols: float, dtype: str = "bf16") -> Operator:
    """Softmax over ``cols``: maximum, exponentials, sum, division."""
    return _vector(name, OpKind.SOFTMAX, rows, cols, dtype, 5.0, 1.0, 1.0)


def embedding(name: str, rows: float, cols: float, dtype: str = "bf16") -> Operator:
    """Look-up of ``rows`` rows of width ``cols``."""
    return _vector(name, OpKind.EMBEDDING, rows, cols, dtype, 0.0, 1.0, 1.0)


def sampling(name: str, rows: float, vocab: float, dtype: str = "fp32") -> Operator:
    """Temperature, softmax and draw over the vocabulary: the logits are read about twice."""
    return _vector(name, OpKind.SAMPLING, rows, vocab, dtype, 8.0, 2.0, 0.0)


def stream_copy(name: str, moved_bytes: float) -> Operator:
    """A plain copy; ``moved_bytes`` counts what is read and what is written [B]."""
    return Operator(
        name,
        OpKind.STREAM_COPY,
        "fp32",
        moved_bytes / 8.0,
        read_bytes=moved_bytes / 2,
        write_bytes=moved_bytes / 2,
    )


def ssm_scan(
    name: str, tokens: float, inner: float, state: float, dtype: str = "bf16", *, batch: float = 1.0
) -> Operator:
    """Selective scan: per token and channel a state of ``state`` values is decayed, fed and read (9 FLOPs).

    The state [batch, inner, state] in fp32 is read and written once per call. Source: Gu and Dao, Mamba, 2023.
    """
    e = element_bytes(dtype)
    states = 4.0 * batch * inner * state
    return Operator(
        name, OpKind.SSM_SCAN, dtype, tokens * batch, inner, state,
        vector_flops=9.0 * batch * tokens * inner * state,
        read_bytes=batch * tokens * (3.0 * inner + 2.0 * state) * e + states,
        write_bytes=batch * tokens * inner * e + states,
    )  # fmt: skip


def convolution(
    name: str, out_pixels: float, in_channels: float, out_channels: float, kernel: float, dtype: str = "bf16", *, batch: float = 1.0
) -> Operator:  # fmt: skip
    """2-D convolution as an implicit GEMM: m = batch x output pixels, n = output channels, k = kernel x inputs.

    ``kernel`` counts the taps of one input channel (14 x 14 = 196 for a ViT patch embedding).
    """
    product = gemm(name, batch * out_pixels, out_channels, in_channels * kernel, dtype)
    return Operator(
        name, OpKind.CONVOLUTION, dtype, product.m, product.n, product.k, flops=product.flops,
        weight_bytes=product.weight_bytes, read_bytes=product.read_bytes, write_bytes=product.write_bytes,
    )  # fmt: skip


def vector_search(
    name: str, queries: float, vectors: float, width: float, dtype: str = "fp16", *, probed: float = 1.0
) -> Operator:
    """Nearest-neighbour search: inner products of ``queries`` with the ``probed`` share of ``vectors``."""
    scanned = vectors * probed
    e = element_bytes(dtype)
    return Operator(
        name, OpKind.VECTOR_SEARCH, dtype, queries, scanned, width,
        flops=2.0 * queries * scanned * width, vector_flops=queries * scanned,
        read_bytes=scanned * width * e + queries * width * e, write_bytes=queries * 8.0 * 128.0,
    )  # fmt: skip


def optimizer_update(
    name: str,
    parameters: float,
    *,
    state_bytes: float = 12.0,
    gradient_bytes: float = 4.0,
    weight_bytes: float = 2.0,
) -> Operator:
    """Adam step: reads master weights and two moments (``state_bytes``), gradients; writes states and weights."""
    return Operator(
        name, OpKind.OPTIMIZER, "fp32", parameters, vector_flops=12.0 * parameters,
        read_bytes=parameters * (state_bytes + gradient_bytes), write_bytes=parameters * (state_bytes + weight_bytes),
    )  # fmt: skip


def collective(name: str, kind: OpKind, message_bytes: float, group: int, axis: str) -> Operator:
    """A collective over ``group`` devices of one parallelism axis; see ``Operator`` for what the message is."""
    return Operator(name, kind, "bf16", message_bytes=message_bytes, group=group, axis=axis)


def transfer(name: str, message_bytes: float) -> Operator:
    """A copy from the device of the producer to the device of the consumer."""
    return Operator(name, OpKind.TRANSFER, "bf16", message_bytes=message_bytes, group=2)
