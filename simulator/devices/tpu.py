"""TPUs: few large systolic arrays under a compiler that schedules everything ahead.

Each family gives ``(compute_s, memory_s, fixed_s, overlap)`` of one operator, which join to a time as in
``simulator.kernels.roofline``. What sets a TPU apart:

- Products run on whole array tiles (``simulator.devices.systolic``). Weights arrive in strips as wide as the largest
  power of two that divides the columns; narrow strips are short runs in memory: share * w / (w + half).
- Attention is one kernel that takes the sequences of a batch one after the other on the only core, so each costs a
  fixed time. Heads narrower than the array leave part of it idle. Blocks on the diagonal are computed whole: every
  query meets some surplus keys. Loads do not hide behind math.
- The compiler stages operands in on-chip memory where they fit beside what the kernel claims for itself: a small key
  and value cache is read and written once more, at the full bandwidth, before the kernel reads it.

Reference: Austin et al., "How to Scale Your Model", 2025 (padding, VMEM, XLA); vLLM project, tpu-inference,
``kernels/ragged_paged_attention`` (blocks, pages, 100 MiB of VMEM for the kernel).
"""

from __future__ import annotations

from typing import Any

from hardware_specs.facts import Fit
from simulator.devices.priors import COMMON, constant, free
from simulator.devices.registry import Law, register
from simulator.devices.systolic import array_parameters, gemm_share
from simulator.kernels.jit import law_kernel, law_part
from simulator.kernels.roofline import (
    ATTENTION_DECODE,
    ATTENTION_PREFILL,
    COLLECTIVE,
    MOE,
    bytes_s,
    family_of,
    padded,
    settle,
)

Parts = tuple[float, float, float, float]

_LANES = 128.0
_SUBLANES = 8.0
_WIDEST_STRIP = 2048
"""Columns from which on a strip of weights is not read any faster."""
_PAGE = 16.0
"""Tokens of a page of the key and value cache; the token being written has its place in one."""


@law_kernel
def strip_columns(n: float) -> float:
    """Columns of the strips that weights of ``n`` columns arrive in: the largest power of two in n, in whole lanes."""
    columns = int(padded(n, _LANES))
    return float(min(columns & -columns, _WIDEST_STRIP))


@law_kernel
def gemm(p: Any, ops: Any, i: int) -> Parts:
    """Products, grouped ones too: array tiles, weights in strips, activations that stay on chip where they fit."""
    experts = family_of(ops.kind[i]) == MOE
    rows = ops.m[i] / ops.batch[i] if experts else ops.m[i]
    share = gemm_share(p, ops.dtype[i], rows, ops.n[i], ops.k[i], max(1.0, ops.batch[i] / ops.calls[i]))
    compute_s = ops.flops[i] / (p.peaks[ops.dtype[i]] * share) if ops.flops[i] > 0.0 else 0.0
    if ops.dequantize[i]:
        compute_s = max(compute_s, ops.vector_flops[i] / (p.vector_peak * p.dequantize_share))
    strip = strip_columns(ops.n[i])
    weights = ops.weight_bytes[i] * (1.0 + p.gemm_strip_half / strip) / p.bandwidth
    moved = ops.read_bytes[i] + ops.write_bytes[i]
    fast = max(p.cache_bandwidth, p.bandwidth) if moved <= p.cache_bytes else p.bandwidth
    return compute_s, (weights + moved / fast) / p.gemm_stream_share, p.gemm_launch_s, p.gemm_overlap


@law_part
def useful_width(p: Any, key_width: float, value_width: float) -> float:
    """Share of the array that heads fill: keys lie along its depth, values along its columns."""
    padding = padded(key_width, p.depth_tile) + padded(value_width, p.column_tile)
    return (key_width + value_width) / float(padding)


@law_kernel
def prefill(p: Any, ops: Any, i: int) -> Parts:
    """Attention of many queries: math over visible and surplus keys, then the cache, sequence after sequence."""
    width = ops.k[i] + ops.value_dim[i]
    queries = ops.batch[i] * ops.heads[i] * ops.m[i]
    surplus = 2.0 * queries * p.prefill_surplus_keys * width
    rate = p.peaks[ops.dtype[i]] * p.prefill_share * useful_width(p, ops.k[i], ops.value_dim[i])
    compute_s = (ops.flops[i] + surplus) / rate
    memory_s = (ops.read_bytes[i] + ops.write_bytes[i]) / (p.bandwidth * p.prefill_stream_share)
    return compute_s, memory_s, p.attention_launch_s + ops.batch[i] * p.attention_sequence_s, 1.0


@law_kernel
def decode(p: Any, ops: Any, i: int) -> Parts:
    """Attention of one query per sequence: the cache passes through the array, query rows padded to the sublanes."""
    group = ops.heads[i] / ops.kv_heads[i]
    rate = p.peaks[ops.dtype[i]] * p.decode_math_share * useful_width(p, ops.k[i], ops.value_dim[i])
    compute_s = ops.flops[i] * padded(group, _SUBLANES) / group / rate
    read = ops.read_bytes[i]
    memory_s = (read + ops.write_bytes[i]) / (p.bandwidth * p.decode_stream_share)
    if read * padded(ops.n[i] + 1.0, _PAGE) / ops.n[i] <= p.decode_staged_share * p.cache_bytes:
        memory_s += 2.0 * read / p.bandwidth
    return compute_s, memory_s, p.attention_launch_s + ops.batch[i] * p.attention_sequence_s, p.decode_overlap


@law_kernel
def vector(p: Any, ops: Any, i: int) -> Parts:
    """Elementwise operators: bytes at a share of the bandwidth, math at a share of the vector rate."""
    moved = ops.weight_bytes[i] + ops.read_bytes[i] + ops.write_bytes[i]
    compute_s = ops.vector_flops[i] / (p.vector_peak * p.vector_stream_share)
    return compute_s, moved / (p.bandwidth * p.vector_stream_share), p.vector_launch_s, p.vector_overlap


@law_kernel
def cost(ops: Any, which: Any, records: Any, out: Any) -> None:
    """Price all operators on all devices; see ``Law.cost``."""
    for d in range(out.shape[0]):
        for i in range(ops.kind.shape[0]):
            p = records[which[d, i]]
            family = family_of(ops.kind[i])
            if family >= COLLECTIVE:
                out[d, :, i] = 0.0
                continue
            if family == ATTENTION_PREFILL:
                parts = prefill(p, ops, i)
            elif family == ATTENTION_DECODE:
                parts = decode(p, ops, i)
            elif ops.flops[i] > 0.0:
                parts = gemm(p, ops, i)
            else:
                parts = vector(p, ops, i)
            settle(ops, i, p, parts[0], parts[1], parts[2], parts[3], bytes_s(ops, i, p), out[d])


_PRODUCTS, _PREFILL, _DECODE, _VECTOR = ("gemm", "moe"), ("attention_prefill",), ("attention_decode",), ("vector",)
_ATTENTION = (*_PREFILL, *_DECODE)
_SEQUENCE = "start and end of one sequence in it"

PARAMETERS = (
    free("gemm_share", "number", 0.81, 0.4, 1.0, _PRODUCTS, "share of the dense peak that whole tiles sustain"),
    free("gemm_stream_share", "number", 0.93, 0.5, 1.0, _PRODUCTS, "share of the bandwidth of weights in wide strips"),
    free("gemm_strip_half", "number", 40.0, 1.0, 200.0, _PRODUCTS, "columns of a strip at which half of that is left"),
    free("gemm_launch_s", "s", 2.7e-6, 1e-7, 2e-5, _PRODUCTS, "start and end of a product"),
    constant("gemm_overlap", "number", 12.0, "how well math hides memory time in products"),
    free("prefill_share", "number", 0.45, 0.02, 0.8, _PREFILL, "share of the filled arrays' peak that it reaches"),
    free("prefill_surplus_keys", "number", 120.0, 0.0, 600.0, _PREFILL, "keys that each query meets in vain"),
    free("prefill_stream_share", "number", 0.46, 0.1, 1.0, _PREFILL, "share of the bandwidth at which it reads keys"),
    free("decode_stream_share", "number", 0.29, 0.05, 0.95, _DECODE, "share of the bandwidth of reading the cache"),
    constant("decode_math_share", "number", 0.125, "share of the filled arrays' peak of decode attention"),
    constant("decode_staged_share", "number", 0.23, "share of on-chip memory below which a cache is staged"),
    constant("decode_overlap", "number", 8.0, "how well decode attention hides its math behind its reads"),
    free("attention_launch_s", "s", 3.0e-6, 1e-7, 2e-5, _ATTENTION, "start and end of an attention kernel"),
    free("attention_sequence_s", "s", 2.3e-6, 1e-7, 2e-5, _ATTENTION, _SEQUENCE),
    free("vector_stream_share", "number", 0.88, 0.3, 1.0, _VECTOR, "share of bandwidth and vector rate"),
    free("vector_launch_s", "s", 1.0e-6, 1e-7, 3e-4, _VECTOR, "start and end of an elementwise operator"),
    constant("vector_overlap", "number", 3.0, "how well elementwise operators hide math behind memory time"),
)
"""Parameters of the families above. Shares of decode attention and of strips: as TPU v6e reaches them, rounded, for
lack of measurements of another part; the 0.23 of decode is what 100 of 128 MiB leave. Prefill attention: assumed for
flash kernels that a compiler schedules with long blocks, as in training; the paged kernel for ragged batches measured
on v6e reaches 0.125, which is in its calibration and in the factor of its runtime."""

FITS = (
    Fit(
        "tpu-products-and-attention", ("cocossim-fork", "llmservingsim"), date="2026-11-25",
        rule="priors of products, attention and copies: rounded from fits of the one device that was measured",
        devices=("tpu-v6e",),
    ),
)  # fmt: skip
"""Measured rows that class priors of this law were set from."""

LAW = register(
    Law(
        "tpu",
        (
            *(parameter for parameter in COMMON if parameter.name != "units"),
            *array_parameters(128.0, 128.0),
            *PARAMETERS,
            constant("row_tile", "number", 8.0, "rows are padded to the sublanes"),
            constant("dequantize_share", "number", 0.25, "share of the vector rate that weight unpacking reaches"),
        ),
        cost,
        "systolic padding, strips of weights, sequential attention, XLA schedule",
        FITS,
    )
)
