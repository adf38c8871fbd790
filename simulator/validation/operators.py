"""From a measured operator row to the operator: one constructor of ``workloads.operators`` for each ``op`` word.

What the columns do not say: a norm called layer norm has a bias, an RMS norm has none; ``batched_gemm`` multiplies
activations with activations; the rotary part of a latent key (MLA) is 64 wide, as DeepSeek V2 and V3 have it, so that
``mla_prefill`` has values of head_dim - 64 and ``mla_decode`` a latent of head_dim - 64. The ``note`` column is read
for four things: ``kv_cache=fp8`` is the format of the cache; ``aic fp8_block`` says that fp8 weights have a scale per
block; "gate+up only" and "down only" say that an expert product is a part of the expert, without them it is the whole
expert; "routing balanced" and "routing power_law_1.2" say how tokens chose experts, as "tokens_per_expert=" says that
they were dealt out evenly. Any other routing counts as uniform.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from hardware_specs.dtypes import COMPUTE_DTYPES
from hardware_specs.records import DeviceSpec
from simulator.devices.model import native_dtype
from simulator.formats import precision_of
from simulator.scenario import Formats
from simulator.validation.cells import Unpredictable
from workloads import operators as op
from workloads.formats import load_format
from workloads.operators import Operator, OpKind

MLA_ROPE_DIM: Final = 64.0
_CACHE = re.compile(r"kv_cache=([\w.]+)")
_SCALED = re.compile(r"\baic (fp8_block)\b")
_ROUTING = re.compile(r"\brouting (balanced|power_law_\d+(?:\.\d+)?)")

SIZES: Final = (
    "m", "n", "k", "batch", "heads", "kv_heads", "head_dim", "q_len", "kv_len", "rows", "cols", "experts", "top_k",
    "message_bytes", "n_devices", "nodes",
)  # fmt: skip
"""Columns that hold sizes."""


class Sizes(NamedTuple):
    """The sizes of one row; NaN where a cell is empty."""

    m: float
    n: float
    k: float
    batch: float
    heads: float
    kv_heads: float
    head_dim: float
    q_len: float
    kv_len: float
    rows: float
    cols: float
    experts: float
    top_k: float
    message_bytes: float
    n_devices: float
    nodes: float


class Numbers(NamedTuple):
    """Number formats of one row: dtype of the math, stored bits of weights (None: as the math) and of the cache."""

    compute: str
    weight_bits: float | None = None
    dequantize: int = 0
    kv_bits: float = 16.0


Make = Callable[[Sizes, Numbers, str], Operator]


class Op(NamedTuple):
    """An ``op`` word: the columns that it needs, and the operator that they make (None: see ``COLLECTIVES``)."""

    needs: tuple[str, ...]
    make: Make


def _gemm(s: Sizes, f: Numbers, note: str) -> Operator:
    return op.gemm("gemm", s.m, s.n, s.k, f.compute, weight_bits=f.weight_bits, dequantize=f.dequantize)


def _batched_gemm(s: Sizes, f: Numbers, note: str) -> Operator:
    return op.gemm("batched_gemm", s.m, s.n, s.k, f.compute, batch=s.batch, weights=False)


def _moe_gemm(s: Sizes, f: Numbers, note: str) -> Operator:
    projections, width, hidden = 3, s.n, s.k
    if "gate+up only" in note:
        projections, width = 1, 2.0 * s.n
    elif "down only" in note:
        projections, width, hidden = 1, s.k, s.n
    stated = _ROUTING.search(note)
    routing = stated[1] if stated else "balanced" if "tokens_per_expert=" in note else "uniform"
    return op.moe_gemm(
        "moe_gemm", s.m, width, hidden, s.experts, s.top_k, f.compute, projections=projections,
        weight_bits=f.weight_bits, dequantize=f.dequantize, routing=routing,
    )  # fmt: skip


def _attention(s: Sizes, f: Numbers, note: str) -> Operator:
    return op.attention(
        "attention", s.q_len, s.kv_len, s.heads, s.kv_heads, s.head_dim, batch=s.batch, dtype=f.compute,
        kv_bits=f.kv_bits,
    )  # fmt: skip


def _attention_prefill(s: Sizes, f: Numbers, note: str) -> Operator:
    # What a prefill kernel does with a single query is not what a decode kernel does.
    return replace(_attention(s, f, note), kind=OpKind.ATTENTION_PREFILL)


def _mla_prefill(s: Sizes, f: Numbers, note: str) -> Operator:
    # Prefill computes with decompressed keys and values in the dtype of the math, whatever the cache keeps.
    wide = op.attention(
        "mla_prefill", s.q_len, s.kv_len, s.heads, s.heads, s.head_dim, batch=s.batch,
        value_dim=s.head_dim - MLA_ROPE_DIM, dtype=f.compute,
    )  # fmt: skip
    return replace(wide, kind=OpKind.MLA_PREFILL)


def _mla_decode(s: Sizes, f: Numbers, note: str) -> Operator:
    return op.mla_decode(
        "mla_decode", s.kv_len, s.heads, s.head_dim - MLA_ROPE_DIM, MLA_ROPE_DIM, batch=s.batch, q_len=s.q_len,
        dtype=f.compute, kv_bits=f.kv_bits,
    )  # fmt: skip


_CONTEXT = ("batch", "heads", "kv_heads", "head_dim", "q_len", "kv_len")
_MATRIX = ("rows", "cols")

OPS: Final[dict[str, Op]] = {
    "gemm": Op(("m", "n", "k"), _gemm),
    "batched_gemm": Op(("m", "n", "k", "batch"), _batched_gemm),
    "moe_gemm": Op(("m", "n", "k", "experts", "top_k"), _moe_gemm),
    "attention_prefill": Op(_CONTEXT, _attention_prefill),
    "attention_decode": Op(_CONTEXT, _attention),
    "mla_prefill": Op(("batch", "heads", "head_dim", "q_len", "kv_len"), _mla_prefill),
    "mla_decode": Op(("batch", "heads", "head_dim", "q_len", "kv_len"), _mla_decode),
    "softmax": Op(_MATRIX, lambda s, f, note: op.softmax("softmax", s.rows, s.cols, f.compute)),
    "layernorm": Op(_MATRIX, lambda s, f, note: op.norm("layernorm", s.rows, s.cols, f.compute, bias=True)),
    "rmsnorm": Op(_MATRIX, lambda s, f, note: op.norm("rmsnorm", s.rows, s.cols, f.compute)),
    "gelu": Op(_MATRIX, lambda s, f, note: op.activation("gelu", s.rows, s.cols, f.compute)),
    "silu_mul": Op(_MATRIX, lambda s, f, note: op.activation("silu_mul", s.rows, s.cols, f.compute, gated=True)),
    "add": Op(_MATRIX, lambda s, f, note: op.elementwise("add", s.rows, s.cols, f.compute)),
    "mul": Op(_MATRIX, lambda s, f, note: op.elementwise("mul", s.rows, s.cols, f.compute)),
    "rope": Op(_MATRIX, lambda s, f, note: op.rope("rope", s.rows, s.cols, f.compute)),
    "embedding": Op(_MATRIX, lambda s, f, note: op.embedding("embedding", s.rows, s.cols, f.compute)),
    "stream_copy": Op(("message_bytes",), lambda s, f, note: op.stream_copy("stream_copy", s.message_bytes)),
}
"""What a device does alone, by the word of the ``op`` column."""

COLLECTIVES: Final = {
    "all_reduce": OpKind.ALL_REDUCE, "all_gather": OpKind.ALL_GATHER, "reduce_scatter": OpKind.REDUCE_SCATTER,
    "all_to_all": OpKind.ALL_TO_ALL, "send_recv": OpKind.SEND_RECV,
}  # fmt: skip
"""What ``n_devices`` do together; needs ``n_devices`` and ``message_bytes``."""

NEEDS: Final = {word: each.needs for word, each in OPS.items()} | dict.fromkeys(
    COLLECTIVES, ("message_bytes", "n_devices")
)


def numbers_of(dtype: str, note: str, spec: DeviceSpec) -> Numbers:
    """The number formats of a row on ``spec``.

    A dtype of ``COMPUTE_DTYPES`` is that of the math. Any other is a storage format of the weights: hardware that
    multiplies it does, else they are unpacked to bf16, as ``precision_of`` decides.

    Raises:
        Unpredictable: no dtype.
        InputError: an unknown one, or one that the device cannot compute in.
    """
    if not dtype:
        raise Unpredictable("dtype missing")
    named = _CACHE.search(note)
    kv_bits = load_format(named[1]).bits_per_weight if named else 16.0
    if dtype in COMPUTE_DTYPES:
        native_dtype(spec, dtype)
        scaled = _SCALED.search(note)
        return Numbers(dtype, load_format(scaled[1]).bits_per_weight if scaled else None, kv_bits=kv_bits)
    precision = precision_of(Formats("bf16", dtype), spec)
    return Numbers(precision.compute, precision.weight_bits, precision.dequantize, kv_bits)
