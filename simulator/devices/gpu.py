"""GPUs: thread blocks own output tiles, multiprocessors take blocks in waves.

A product of m x n x k is cut into tiles; the last wave leaves multiprocessors idle (wave quantisation), rows and
columns are padded to the tile, and short k does not fill the pipeline: share = a * k / (k + k_half) * m n / padded
tiles * wave fill, the best over the tile shapes that libraries carry. When tiles are fewer than multiprocessors
the product is split along k (split-K, stream-K).

Reference: NVIDIA, "Matrix Multiplication Background User's Guide", DU-09799-001 (tile and wave quantisation);
Osama et al., "Stream-K", PPoPP 2023, doi:10.1145/3572848.3577479; Dao, "FlashAttention-2", arXiv:2307.08691.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from hardware_specs.dtypes import BITS, CODE, COMPUTE_DTYPES
from hardware_specs.records import DeviceSpec
from simulator.devices.priors import COMMON, constant
from simulator.devices.registry import Law, Parameter, register
from simulator.kernels.roofline import (
    ATTENTION_DECODE,
    ATTENTION_PREFILL,
    MOE,
    VECTOR,
    family_of,
    padded,
    price,
    quantised,
)

_TILES = ((256.0, 128.0, 1.0), (128.0, 128.0, 0.97), (128.0, 64.0, 0.85), (64.0, 64.0, 0.68), (16.0, 64.0, 0.22))
"""Rows and columns of the output tiles that libraries carry, and the most of the big tile's rate that fp32 and fp64
reach with each: they run on vector units, whose operands come from registers, so that small tiles lose more."""

_FP32, _FP64 = CODE["fp32"], CODE["fp64"]
_BYTES = np.array([BITS[dtype] / 8.0 for dtype in COMPUTE_DTYPES])

VECTOR_ROWS = 4.0
"""Most rows that libraries multiply as matrix-vector products."""

_ABOVE_BASE = 0.45
"""How far above its base clock a GPU runs under load, as a share of boost. Assumed: parts whose base is 0.54 of boost
(A100-PCIe) are not throttled by long fp32 products, the T4 (0.37) is."""

_SPLIT_DEPTH = 512.0
"""Shortest piece of k that split-K leaves to one block."""


@njit(cache=True)
def fed(p: Any, dtype: int, rows: float, columns: float) -> float:
    """Share of the peak at which a multiprocessor can be fed the operands of a tile.

    A tile does rows x columns multiply-adds for each rows + columns operands; below the intensity at which the peak
    meets ``feed_bytes_per_s`` the operands bound it. Large tiles matter on fast matrix units, little on slow ones.
    """
    needed = p.peaks[dtype] / 2.0 * _BYTES[dtype] / (p.units * p.feed_bytes_per_s)
    given = rows * columns / (rows + columns)
    return given / np.sqrt(given * given + needed * needed)  # type: ignore[no-any-return]


@njit(cache=True)
def gemm_share(p: Any, dtype: int, m: float, n: float, k: float, batch: float) -> float:
    """Share of the peak that a product reaches: best tile shape, padding, waves, depth ramp; or row by row.

    Few rows run as matrix-vector products on the vector units, without padding.
    """
    best = 0.0
    simple = dtype in (_FP32, _FP64)
    for rows, columns, registers in _TILES:
        blocks = padded(m, rows) / rows * (padded(n, columns) / columns) * batch
        pieces = max(1.0, min(p.units / blocks, k / _SPLIT_DEPTH))
        useful = m * n * batch / (blocks * rows * columns)
        filled = quantised(blocks * pieces, p.units)
        # Concurrent blocks per multiprocessor soften the last wave.
        filled = 0.5 * filled + 0.5 * min(1.0, blocks * pieces / p.units)
        reuse = fed(p, dtype, rows, columns) / fed(p, dtype, 256.0, 128.0)
        best = max(best, useful * filled * (min(reuse, registers) if simple else reuse))
    best *= p.gemm_share
    if m <= VECTOR_ROWS:
        best = max(best, p.vector_share * min(1.0, p.vector_peak / p.peaks[dtype]))
    return best * k / (k + p.depth_half)  # type: ignore[no-any-return]


@njit(cache=True)
def attention_share(p: Any, q_len: float, keys: float, width: float, heads: float) -> float:
    """Share of the peak that flash attention reaches: query tiles of 128 rows, waves, ramp over the keys."""
    blocks = heads * padded(q_len, 128.0) / 128.0
    useful = q_len / padded(q_len, 128.0 if q_len > 64.0 else 16.0)
    filled = min(1.0, blocks / p.units)
    ramp = keys / (keys + 256.0) * width / (width + 24.0)
    return p.attention_share * max(filled, 0.02) * useful * ramp  # type: ignore[no-any-return]


@njit(cache=True)
def kv_share(p: Any, keys: float, sequences: float, kv_heads: float) -> float:
    """Share of the bandwidth that decode attention reaches: blocks over sequences, heads and split context."""
    blocks = sequences * kv_heads * max(1.0, keys / 256.0)
    return p.kv_share * min(1.0, max(0.02, blocks / p.units))  # type: ignore[no-any-return]


@njit(cache=True)
def cost(ops: Any, devices: Any, out: Any) -> None:
    """Price all operators on all devices; see ``Law.cost``."""
    for d in range(devices.shape[0]):
        p = devices[d]
        for i in range(ops.kind.shape[0]):
            family = family_of(ops.kind[i])
            share, stream = p.gemm_share, p.stream_share
            if family == ATTENTION_PREFILL:
                share = attention_share(p, ops.m[i], ops.n[i], ops.k[i], ops.heads[i] * ops.batch[i])
            elif family == ATTENTION_DECODE:
                stream = kv_share(p, ops.n[i], ops.batch[i], ops.kv_heads[i])
                share = p.attention_share * 0.5
                if p.vector_decode > 0.0:
                    share = min(share, p.vector_share * p.vector_peak / p.peaks[ops.dtype[i]])
            elif family == VECTOR:
                stream = p.vector_share
            elif ops.flops[i] > 0.0:
                rows = ops.m[i] / ops.batch[i] if family == MOE else ops.m[i]
                share = gemm_share(p, ops.dtype[i], rows, ops.n[i], ops.k[i], max(1.0, ops.batch[i] / ops.calls[i]))
            price(ops, i, p, share, stream, p.floor_s, out[d])


def sustained(spec: DeviceSpec) -> float:
    """Share of the boost clock, which peaks are for, that long products sustain under the power limit.

    Makers guarantee the base clock there; a base far below boost marks a power-limited part (L4, T4, MI300X).
    """
    base, boost = spec.compute.clock_base, spec.compute.clock_boost
    return min(1.0, base.value / boost.value + _ABOVE_BASE) if base and boost else 1.0


LAW = register(
    Law(
        "gpu",
        (
            *COMMON,
            Parameter(
                "gemm_share",
                "number",
                lambda spec: 0.82 * sustained(spec),
                "share of the dense peak that large products sustain: 0.82 at the sustained clock",
            ),
            constant("depth_half", "number", 120.0, "k at which a product reaches half its rate"),
            constant("feed_bytes_per_s", "bytes_per_s", 1.1e11, "operands that reach one multiprocessor: 64 B a cycle"),
            Parameter(
                "attention_share",
                "number",
                lambda spec: 0.62 * sustained(spec),
                "share of the dense peak that long flash attention sustains: 0.62 at the sustained clock",
            ),
            constant("stream_share", "number", 0.82, "share of the bandwidth that weights stream at"),
            constant("kv_share", "number", 0.75, "share of the bandwidth that decode attention reads the cache at"),
            constant("vector_share", "number", 0.75, "share of bandwidth and vector rate of elementwise operators"),
            constant("dequantize_share", "number", 0.25, "share of the vector rate that weight unpacking reaches"),
            constant("overlap_exponent", "number", 4.0, "how well compute hides memory time"),
            constant("floor_s", "s", 2.0e-6, "shortest kernel: fill and drain of the memory pipeline"),
        ),
        cost,
        "tile and wave quantisation, split-K, flash attention",
    )
)
