"""GPUs: thread blocks own output tiles, multiprocessors take blocks in waves.

A product of m x n x k is cut into output tiles, one thread block each. A block multiplies through the whole depth at
its multiprocessor's share of the peak, limited by how fast operands reach it, and pays a start and an end::

    t_block   = 2 rows columns k / (peak / units * a * fed) + wave_s
    t_compute = waves(blocks / units) t_block          the best over the tiles that libraries carry
    waves(x)  = 1 for x <= 1, else whole waves + credit + (1 - credit) * remainder

The last wave is a whole one if blocks start and end together (credit 1), and only its share of one if they drift apart
(credit 0). Memory streams at full rate once ``stream_units`` of the multiprocessors have a block.

Reference: NVIDIA, "Matrix Multiplication Background User's Guide", DU-09799-001 (tile and wave quantisation);
Osama et al., "Stream-K", PPoPP 2023, doi:10.1145/3572848.3577479; Dao, "FlashAttention-2", arXiv:2307.08691.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from hardware_specs.dtypes import BITS, CODE, COMPUTE_DTYPES
from hardware_specs.facts import Fit
from hardware_specs.records import DeviceSpec
from simulator.devices import gpu_attention, gpu_experts, gpu_vector
from simulator.devices.gpu_attention import decode, prefill
from simulator.devices.gpu_experts import experts
from simulator.devices.gpu_vector import vector, vector_bytes_s
from simulator.devices.priors import COMMON, constant
from simulator.devices.registry import Law, Parameter, register
from simulator.kernels.roofline import (
    ATTENTION_DECODE,
    ATTENTION_PREFILL,
    COLLECTIVE,
    MOE,
    OPTIMIZER,
    VECTOR,
    bytes_s,
    family_of,
    padded,
    price,
    settle,
)

_TILES = (
    (256.0, 128.0, 1.0), (128.0, 256.0, 1.0), (128.0, 128.0, 0.97), (256.0, 64.0, 0.9), (64.0, 256.0, 0.9),
    (128.0, 64.0, 0.85), (64.0, 128.0, 0.85), (64.0, 64.0, 0.68), (32.0, 64.0, 0.4), (16.0, 64.0, 0.22),
)  # fmt: skip
"""Rows and columns of the output tiles that libraries carry, and the most of the big tile's rate that fp32 and fp64
reach with each: they run on vector units, whose operands come from registers, so that small tiles lose more."""

_FP32, _FP64 = CODE["fp32"], CODE["fp64"]
_BYTES = np.array([BITS[dtype] / 8.0 for dtype in COMPUTE_DTYPES])

VECTOR_ROWS = 4.0
"""Most rows that libraries multiply as matrix-vector products."""

_ABOVE_BASE = 0.45
"""How far above its base clock a GPU runs under load, as a share of boost. Assumed: parts whose base is 0.54 of boost
(A100-PCIe) are not throttled by long fp32 products, the T4 (0.37) is."""

_DEPTH_STEP = 32.0
"""Elements of k that a block multiplies at a time."""


@njit(cache=True, error_model="numpy")
def fed(p: Any, dtype: int, rows: float, columns: float) -> float:
    """Share of the peak at which a multiprocessor can be fed the operands of a tile.

    A tile does rows x columns multiply-adds for each rows + columns operands; below the intensity at which the peak
    meets ``feed_bytes_per_s`` the operands bound it. Large tiles matter on fast matrix units, little on slow ones.
    """
    needed = p.peaks[dtype] / 2.0 * _BYTES[dtype] / (p.units * p.feed_bytes_per_s)
    given = rows * columns / (rows + columns)
    return given / np.sqrt(given * given + needed * needed)  # type: ignore[no-any-return]


@njit(cache=True, error_model="numpy")
def waves(p: Any, blocks: float) -> float:
    """Waves that ``blocks`` take, the last one between its share and a whole."""
    turns = blocks / p.units
    if turns <= 1.0:
        return 1.0
    rest = turns - np.floor(turns)
    return np.floor(turns) + (p.wave_credit + (1.0 - p.wave_credit) * rest if rest > 0.0 else 0.0)  # type: ignore[no-any-return]


@njit(cache=True, error_model="numpy")
def product(p: Any, dtype: int, m: float, n: float, k: float, batch: float) -> tuple[float, float]:
    """Share of the peak that a product reaches with its best tile, and multiprocessors that have a block then.

    Few rows run as matrix-vector products on the vector units, without padding.
    """
    simple = dtype in (_FP32, _FP64)
    rate = p.peaks[dtype] / p.units * p.gemm_share
    best, busy = np.inf, 1.0
    for rows, columns, registers in _TILES:
        if rows > 16.0 and rows >= 2.0 * m:
            continue
        blocks = np.ceil(m / rows) * np.ceil(n / columns) * batch
        reuse = fed(p, dtype, rows, columns) / fed(p, dtype, 256.0, 128.0)
        block_s = 2.0 * rows * columns * padded(k, _DEPTH_STEP) / (rate * (min(reuse, registers) if simple else reuse))
        seconds = waves(p, blocks) * (block_s + p.wave_s)
        if seconds < best:
            best, busy = seconds, min(1.0, blocks / (p.units * p.stream_units))
    share = 2.0 * m * n * k * batch / (p.peaks[dtype] * best)
    if m <= VECTOR_ROWS:
        share = max(share, p.vector_share * min(1.0, p.vector_peak / p.peaks[dtype]))
    return share, busy


@njit(cache=True, error_model="numpy")
def cost(ops: Any, which: Any, records: Any, out: Any) -> None:
    """Price all operators on all devices; see ``Law.cost``."""
    for d in range(out.shape[0]):
        for i in range(ops.kind.shape[0]):
            p = records[which[d, i]]
            family = family_of(ops.kind[i])
            if family >= COLLECTIVE:
                out[d, :, i] = 0.0
            elif family == MOE:
                t, memory_s, fixed_s, overlap = experts(p, ops, i)
                settle(ops, i, p, t, memory_s, fixed_s, overlap, bytes_s(ops, i, p), out[d])
            elif family in (VECTOR, OPTIMIZER):
                t, memory_s, fixed_s, overlap = vector(p, ops, i)
                settle(ops, i, p, t, memory_s, fixed_s, overlap, vector_bytes_s(p, ops, i), out[d])
            elif family == ATTENTION_PREFILL:
                t, memory_s, fixed_s, overlap = prefill(p, ops, i)
                settle(ops, i, p, t, memory_s, fixed_s, overlap, bytes_s(ops, i, p), out[d])
            elif family == ATTENTION_DECODE:
                t, memory_s, fixed_s, overlap = decode(p, ops, i)
                if p.vector_decode > 0.0:
                    t = max(t, ops.flops[i] / (p.vector_share * p.vector_peak))
                settle(ops, i, p, t, memory_s, fixed_s, overlap, bytes_s(ops, i, p), out[d])
            else:
                each = max(1.0, ops.batch[i] / ops.calls[i])
                share, busy = product(p, ops.dtype[i], ops.m[i], ops.n[i], ops.k[i], each)
                price(ops, i, p, share, p.stream_share * busy, p.gemm_floor_s, p.overlap_exponent, out[d])


def sustained(spec: DeviceSpec) -> float:
    """Share of the boost clock, which peaks are for, that long products sustain under the power limit.

    Makers guarantee the base clock there; a base far below boost marks a power-limited part (L4, T4, MI300X).
    """
    base, boost = spec.compute.clock_base, spec.compute.clock_boost
    return min(1.0, base.value / boost.value + _ABOVE_BASE) if base and boost else 1.0


FITS = (
    Fit(
        "gpu-products-and-elementwise", ("vidur",), date="2026-11-25",
        rule="blocks, waves, floors, issue slots: rounded from fits of the three devices and the bias of their kernels",
        devices=("a100-sxm-80gb", "h100-sxm-80gb", "a40"),
    ),
    Fit(
        "gpu-attention", ("aiconfigurator", "frontier"), date="2026-11-25",
        rule="shares, head width, blocks and pieces of attention: rounded from fits of the five devices",
        devices=("a100-sxm-80gb", "h100-sxm-80gb", "h200-sxm-141gb", "a800-sxm-80gb", "h800-sxm-80gb"),
    ),
)  # fmt: skip
"""Measured rows that class priors of this law were set from."""

LAW = register(
    Law(
        "gpu",
        (
            *(parameter for parameter in COMMON if parameter.name != "elementwise_flops"),
            Parameter(
                "gemm_share",
                "number",
                lambda spec: 0.82 * sustained(spec),
                "share of the dense peak that large products sustain: 0.82 at the sustained clock",
            ),
            constant("wave_s", "s", 1.5e-6, "start and end of a block of a product"),
            constant("wave_credit", "number", 0.4, "how much of a whole wave the last one takes at least"),
            constant("stream_units", "number", 0.16, "share of the units that streams memory at full rate"),
            constant("gemm_floor_s", "s", 2.5e-6, "shortest product: fill and drain of the memory pipeline"),
            constant("feed_bytes_per_s", "bytes_per_s", 1.1e11, "operands that reach one multiprocessor: 64 B a cycle"),
            constant("stream_share", "number", 0.82, "share of the bandwidth that weights stream at"),
            *gpu_attention.PREFILL_PARAMETERS,
            *gpu_attention.DECODE_PARAMETERS,
            *gpu_vector.PARAMETERS,
            *gpu_experts.PARAMETERS,
            constant("vector_share", "number", 0.75, "share of bandwidth and vector rate of elementwise operators"),
            constant("dequantize_share", "number", 0.25, "share of the vector rate that weight unpacking reaches"),
            constant("overlap_exponent", "number", 4.0, "how well compute hides memory time"),
            constant("floor_s", "s", 2.0e-6, "shortest kernel: fill and drain of the memory pipeline"),
        ),
        cost,
        "tile and wave quantisation, flash attention, issue slots",
        FITS,
    )
)
