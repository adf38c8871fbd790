"""Products on GPUs: tiles of the output, waves of blocks, depths that are split, operands that are prepared.

A product of m x n x k is cut into output tiles of R x C, a thread block each. Blocks walk through the depth, and need
about as long again to fill and drain as for ``depth`` more elements. Few blocks are split along the depth into s pieces
that are added up afterwards::

    t_block   = (k / s + depth) 2 R C / (P / units) sqrt(1 + (half (R + C) / (R C))^2)
    t_blocks  = waves(s blocks / units) t_block
    waves(x)  = 1 for x <= 1, else whole waves + credit + (1 - credit) remainder
    t_cache   = operands that all blocks load, and pieces written and read / (cache share B_c)
    t_memory  = bytes / (b B min(1, s blocks / (stream_units units)))
    t_compute = max(host_s, the q-norm of max(t_blocks, t_cache) and flops / (sustained P))
    t         = (t_compute^q + t_memory^q)^(1/q) + floor_s + s > 1: split_s + prepared bytes / B

R C / (R + C) multiply-adds are done for each operand that is loaded; at ``half`` of them loads take as long as the
peak. Of the tiles that libraries carry the fastest is taken. The last wave is a whole one where blocks start and end
together (credit 1), and only its share of one where they drift apart, or its depth is cut up among all units
(credit 0). ``sustained`` is the share of the peak that the power limit lets large products run at: a unit that waits
for the last wave lends its power to others, so that it bounds useful work, not waves. The host enqueues a call in
``host_s``; shorter kernels wait for it where calls are timed alone (between others it is the runtime's launch).

Few rows run as matrix-vector products on the vector units, eight columns to a block, where that is faster. Activations
of 16 bit that are multiplied in 8 or fewer are quantised in kernels of their own: so many bytes of memory traffic for
each, and ``prepare_s`` more of the host where the rows are not few enough to be quantised on the way.

Software for personal use multiplies packed weights as they are (llama.cpp, ggml/src/ggml-cuda/mmq.cuh, mmvq.cu): by
dot products of int8, on matrix units or vector lanes, whose sums over blocks of 32 are scaled in fp32::

    1 / P = dot / P_int8 + scale / P_fp32

Shaders of its Vulkan backend take such dot products on vector lanes, of formats whose blocks have one scale and no
more (ggml-vulkan.cpp, ``mul_mmq``: q4_0 to q8_0); other weights are unpacked.

Where libraries multiply many rows in 16 bits instead (llama.cpp of 2024 on tensor cores, above 32 rows, ggml-cuda.cu
at b3000, ``ggml_cuda_op_mul_mat_cublas``; later ones on parts whose int8 is no faster than 16-bit math: Volta, RDNA3),
all weights are first unpacked to a copy in memory, which the product then reads: each chunk of a prompt moves the
packed weights once and the copy twice.

Reference: NVIDIA, "Matrix Multiplication Background User's Guide", DU-09799-001 (tile and wave quantisation); NVIDIA,
CUTLASS, docs/efficient_gemm.md (tiles, splits along k); Osama et al., "Stream-K", PPoPP 2023,
doi:10.1145/3572848.3577479.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import numpy as np

from hardware_specs.dtypes import BITS, CODE, COMPUTE_DTYPES
from hardware_specs.records import DeviceSpec
from simulator.devices.registry import Parameter
from simulator.kernels.jit import law_kernel, law_part
from simulator.kernels.roofline import GEMM, joined

_TILES: Final = (
    (256.0, 128.0), (128.0, 256.0), (256.0, 64.0), (64.0, 256.0), (128.0, 128.0), (128.0, 64.0), (64.0, 128.0),
    (64.0, 64.0), (32.0, 64.0), (16.0, 64.0), (64.0, 32.0), (32.0, 32.0), (16.0, 32.0),
)  # fmt: skip
"""Rows and columns of the output tiles that libraries carry."""
_MATRIX_TILES, _VECTOR_TILES = (0, 10), (4, 13)
"""Which of them matrix units use, and which fp32 and fp64 on vector units, whose blocks hold their sums in registers
of few threads."""
_SIMPLE: Final = np.array([dtype in ("fp32", "fp64") for dtype in COMPUTE_DTYPES])
_BYTES: Final = np.array([BITS[dtype] / 8.0 for dtype in COMPUTE_DTYPES])

_DEPTH_STEP: Final = 32.0
"""Elements of k that a block multiplies at a time."""
_LEAST_DEPTH: Final = 256.0
"""Least depth of a piece. From fits that left it free: 190 to 300 on A40, A100, H100 and H200."""
_MOST_PIECES: Final = 32.0
_VECTOR_ROWS: Final = 4.0
"""Most rows that libraries multiply as matrix-vector products."""
_VECTOR_COLUMNS: Final = 8.0
"""Columns of a block of a matrix-vector product."""
_QUANTISED_ROWS: Final = 24.0
"""Most rows whose activations are quantised without a kernel launch more. Between 17 and 32 in vLLM 0.22 on an H200."""
_ABOVE_BASE: Final = 0.45
"""How far above its base clock a GPU runs under load, as a share of boost. Assumed: parts whose base is 0.54 of boost
(A100-PCIe) are not throttled by long fp32 products, the T4 (0.37) is."""


_INT8: Final = CODE["int8"]
_LANES_GAIN: Final = 4.0
"""What vector lanes gain over fp32 in dot products of four int8 (dp4a, v_dot4)."""
_DOT_TIME, _SCALE_TIME = 1.45, 0.17
"""Time of packed products over that of their flops at the int8 peak, and over that at the fp32 rate for the scales of
their blocks: of two numbers fitted to Llama 2 7B in q4_0 on 31 boards of NVIDIA's, GTX 1070 Ti to RTX PRO 6000."""
_LANE_DOT_TIME: Final = 3.0
"""The same time of dot products on vector lanes by shaders, by hand: Llama 2 7B in q4_0 under Vulkan on ten boards of
AMD's and Intel's, whose rates are 0.56 to 1.05 of the fp32 peak, but for one of 70 W."""
_ONE_SCALE: Final = 3
"""How operators say that packed weights are blocks with one scale and no more."""
_SHADERS: Final = 0.25
"""``unpack_rows`` of runtimes whose shaders multiply such blocks on vector lanes whatever else the device has."""
_COPIED: Final = 0.75
"""``unpack_rows`` of runtimes that unpack weights to memory before products of more rows than ``_COPIED_ROWS``."""
_COPIED_ROWS: Final = 32.0
"""MMQ_MAX_BATCH_SIZE of llama.cpp in May 2024."""
_DOT_HALF: Final = 0.5
"""Share of these dot products that matrix-vector products of packed weights issue beside unpacking."""


@law_kernel
def packed_peak(p: Any, dtype: int) -> float:
    """Rate of products of packed weights [FLOP/s]: dot products of int8 and the scaling of their sums, one after the
    other, where these gain over 16-bit math; else that of ``dtype``, to which weights are unpacked."""
    if p.dot_peak <= 0.0:
        return float(p.peaks[dtype])
    return float(p.factors[GEMM] ** -1.0 / (_DOT_TIME / p.dot_peak + _SCALE_TIME / p.vector_peak))


@law_part
def lane_peak(p: Any, dtype: int) -> float:
    """Rate of the same on vector lanes by shaders [FLOP/s]; that of ``dtype`` where lanes have no dot products."""
    lanes = min(p.peaks[_INT8], _LANES_GAIN * p.vector_peak)
    if lanes <= 0.0:
        return float(p.peaks[dtype])
    return float(p.factors[GEMM] ** -1.0 / (_LANE_DOT_TIME / lanes + _SCALE_TIME / p.vector_peak))


@law_kernel
def wave_count(turns: float, credit: float) -> float:
    """Waves that blocks for ``turns`` rounds of all units take, the last one between its share and a whole."""
    if turns <= 1.0:
        return 1.0
    whole = np.floor(turns)
    rest = turns - whole
    return whole + (credit + (1.0 - credit) * rest if rest > 0.0 else 0.0)  # type: ignore[no-any-return]


@law_part
def nearest_order(overlap: float) -> int:
    """Squarings that make the nearest power of 2, 4 or 8."""
    return 1 if overlap < 2.83 else (2 if overlap < 5.66 else 3)


@law_part
def joined_power(one_s: float, other_s: float, squarings: int) -> float:
    """Sum of both to the power of 2^squarings: what orders times that join by that norm."""
    for _ in range(squarings):
        one_s *= one_s
        other_s *= other_s
    return one_s + other_s


@law_part
def rooted(power: float, squarings: int) -> float:
    """The time whose power of 2^squarings is ``power``."""
    for _ in range(squarings):
        power = np.sqrt(power)
    return power


@law_kernel
def tiled(
    p: Any, dtype: int, peak: float, m: float, n: float, k: float, batch: float, stream_s: float, weight_bytes: float
) -> tuple[float, float, float, float]:
    """Seconds of the best tiles: of blocks, of the cache, of memory and of adding pieces up.

    Parts join by the norm of order q under the runtime's factors; the best tile is that of the nearest order 2, 4 or 8,
    which needs no logarithm.

    Args:
        stream_s: seconds that all bytes take at the rate that all units draw together.
        weight_bytes: bytes of an element of the right operand as stored.
    """
    wide, half, credit, fill = _BYTES[dtype], p.gemm_feed_half, p.gemm_wave_credit, p.gemm_fill_depth
    units, streaming = p.units, 1.0 / p.gemm_stream_units
    pair_s, byte_s = 2.0 * units / peak, 1.0 / (p.cache_bandwidth * p.gemm_cache_share)
    depth = np.ceil(k / _DEPTH_STEP) * _DEPTH_STEP
    sums_s, most_pieces = m * n * batch * 8.0 * byte_s, min(depth / _LEAST_DEPTH, _MOST_PIECES)
    order, matrix, stream = nearest_order(p.gemm_overlap), 1.0 / p.factors[GEMM], 1.0 / p.weight_factor
    best, best_s, blocks_s, cache_s, memory_s, split_s = np.inf, np.inf, 0.0, 0.0, 0.0, 0.0
    first, last = _VECTOR_TILES if _SIMPLE[dtype] else _MATRIX_TILES
    for t in range(first, last):
        rows, columns = _TILES[t]
        if rows > 16.0 and rows >= 2.0 * m:
            continue
        blocks = np.ceil(m / rows) * np.ceil(n / columns) * batch
        turns = blocks / units
        area, loads = rows * columns, half * (rows + columns)
        element_s = pair_s * np.sqrt(area * area + loads * loads)
        if matrix * turns * depth * element_s >= best_s:
            continue
        loaded_s = blocks * (rows * wide + columns * weight_bytes) * k * byte_s
        each_s = wave_count(turns, credit) * (depth + fill) * element_s
        read_s = stream_s / min(1.0, turns * streaming)
        power = joined_power(matrix * max(each_s, loaded_s), stream * read_s, order)
        if split_s == 0.0 and power < best:
            best, blocks_s, cache_s, memory_s = power, each_s, loaded_s, read_s
            best_s = rooted(power, order)
        elif split_s > 0.0 and rooted(power, order) < best_s:
            best, blocks_s, cache_s, memory_s, split_s = power, each_s, loaded_s, read_s, 0.0
            best_s = rooted(power, order)
        if turns > 0.5:
            continue
        pieces = np.floor(min(units / blocks, most_pieces))
        if pieces >= 2.0:
            each_s = (depth / pieces + fill) * element_s
            loaded_s += sums_s * pieces
            read_s = stream_s / min(1.0, turns * pieces * streaming)
            power = joined_power(matrix * max(each_s, loaded_s), stream * read_s, order)
            seconds = rooted(power, order) + p.gemm_split_s
            if seconds < best_s:
                best_s, blocks_s, cache_s, memory_s, split_s = seconds, each_s, loaded_s, read_s, p.gemm_split_s
    return blocks_s, cache_s, memory_s, split_s


@law_kernel
def gemm(p: Any, ops: Any, i: int) -> tuple[float, float, float, float]:
    """Seconds of math, of memory and of each call beside them, and the overlap exponent, of product ``i``."""
    m, n, k, calls, dtype, q = ops.m[i], ops.n[i], ops.k[i], ops.calls[i], ops.dtype[i], p.gemm_overlap
    batch = max(1.0, ops.batch[i] / calls)
    weight_bytes = ops.weight_bits[i] / 8.0 if ops.weight_bytes[i] > 0.0 else _BYTES[dtype]
    moved = (ops.weight_bytes[i] + ops.read_bytes[i] + ops.write_bytes[i]) / calls
    rate = p.bandwidth * p.gemm_stream_share
    peak, vector_peak, copy_s = p.peaks[dtype], p.vector_peak, 0.0
    if ops.dequantize[i] > 0 and p.unpack_rows > 0.0:
        if p.unpack_rows >= 1.0:
            peak = packed_peak(p, dtype)
        elif ops.dequantize[i] == _ONE_SCALE:
            peak = lane_peak(p, dtype) if p.unpack_rows == _SHADERS else max(peak, lane_peak(p, dtype))
        if p.unpack_rows > _SHADERS:
            vector_peak = max(vector_peak, _DOT_HALF * min(p.peaks[_INT8], _LANES_GAIN * p.vector_peak))
        wide = peak == p.peaks[dtype] if p.unpack_rows == _COPIED else p.unpack_rows >= 1.0 and p.dot_peak <= 0.0
        if wide and m > _COPIED_ROWS:
            copy, weight_bytes = _BYTES[dtype] * n * k * batch, _BYTES[dtype]
            copy_s, moved = (ops.weight_bytes[i] / calls + copy) / rate, moved + copy - ops.weight_bytes[i] / calls
    stream_s = moved / rate
    useful_s = ops.flops[i] / (calls * peak * p.gemm_sustained)
    blocks_s, cache_s, memory_s, split_s = tiled(p, dtype, peak, m, n, k, batch, stream_s, weight_bytes)
    if m <= _VECTOR_ROWS:
        blocks = np.ceil(n / _VECTOR_COLUMNS) * batch
        lanes = vector_peak * p.gemm_vector_share / p.units
        alone_s = np.ceil(blocks / p.units) * 2.0 * m * _VECTOR_COLUMNS * (k + p.gemm_fill_depth) / lanes
        # Matrix-vector kernels are as good as they stream weights, whatever the runtime's matrix kernels are.
        matrix, stream = p.factors[GEMM], p.weight_factor
        read_s = stream_s / min(1.0, blocks / (p.units * p.gemm_stream_units))
        order = nearest_order(q)
        tiles_s = rooted(joined_power(max(blocks_s, cache_s) / matrix, memory_s / stream, order), order) + split_s
        if rooted(joined_power(alone_s / stream, read_s / stream, order), order) < tiles_s:
            blocks_s, cache_s, memory_s, split_s = alone_s * matrix / stream, 0.0, read_s, 0.0
    host_s, fixed_s = p.gemm_host_s * p.timed_alone, p.gemm_floor_s + split_s + copy_s
    if _BYTES[dtype] < 2.0:
        host_s += p.gemm_prepare_s * p.timed_alone if m > _QUANTISED_ROWS else 0.0
        fixed_s += p.gemm_prepare_bytes * m * k * batch / p.bandwidth
    busy_s = max(blocks_s, cache_s)
    math_s = joined(busy_s, useful_s, q)
    return max(math_s, host_s) * calls, memory_s * calls, fixed_s, q


def sustained(spec: DeviceSpec) -> float:
    """Share of the boost clock, which peaks are for, that long products sustain under the power limit.

    Makers guarantee the base clock there; a base far below boost marks a power-limited part (L4, T4, MI300X).
    """
    base, boost = spec.compute.clock_base, spec.compute.clock_boost
    return min(1.0, base.value / boost.value + _ABOVE_BASE) if base and boost else 1.0


def dot_peak(spec: DeviceSpec) -> float:
    """Rate of dot products of int8 that packed weights are multiplied at [OP/s]: the int8 peak where it is above the
    rate of 16-bit math; 0 where it is not, so that unpacking to 16 bits is as fast."""
    peaks = spec.compute.peaks
    int8 = peaks["int8"].value if "int8" in peaks else 0.0
    wide = max((peaks[dtype].value for dtype in ("fp16", "bf16", "fp32") if dtype in peaks), default=0.0)
    return int8 if int8 > wide else 0.0


def _is(value: float, spec: DeviceSpec) -> float:
    return value


def _free(name: str, dimension: str, value: float, low: float, high: float, meaning: str) -> Parameter:
    return Parameter(f"gemm_{name}", dimension, partial(_is, value), meaning, low, high, ("gemm",))


def feed_half(spec: DeviceSpec) -> float:
    """Multiply-adds per operand at which loads take as long as the peak.

    Multiprocessors of data-centre parts, which HBM marks, have matrix units of two to eight times the rate behind
    shared memories as fast as others have. Source: NVIDIA, A100, H100 and GA102 architecture whitepapers.
    """
    return 46.0 if "HBM" in spec.memory.kind else 20.0


def overlap(spec: DeviceSpec) -> float:
    """How well a product hides the shorter of its parts.

    Multiprocessors of the Pascal generation issue integer and fp32 instructions in turn, later ones beside each other
    (NVIDIA Tesla V100 GPU architecture whitepaper, WP-08608-001, "independent integer and floating-point datapaths"):
    little of unpacking hides behind loads. Those for displays are known by 16-bit math at a 64th of fp32's rate
    (NVIDIA, "CUDA C++ Programming Guide", arithmetic throughput of compute capability 6.1).
    """
    peaks = spec.compute.peaks
    pascal = "fp16" in peaks and "fp32" in peaks and peaks["fp16"].value < peaks["fp32"].value / 32.0
    return 1.25 if pascal else 3.9


PARAMETERS: Final = (
    Parameter(
        "gemm_sustained", "number", sustained, "share of the dense peak that power lets large products sustain",
        0.3, 1.05, ("gemm",),
    ),
    Parameter(
        "gemm_feed_half", "number", feed_half, "multiply-adds per operand at which loads take as long as the peak",
        1.0, 150.0, ("gemm",),
    ),
    _free("fill_depth", "number", 170.0, 0.0, 800.0, "depth in whose time a block fills and drains"),
    _free("wave_credit", "number", 0.3, 0.0, 1.0, "how much of a whole wave the last one takes at least"),
    _free("stream_share", "number", 0.84, 0.3, 1.0, "share of the bandwidth that weights stream at"),
    _free("stream_units", "number", 0.2, 0.02, 1.0, "share of the units that streams memory at full rate"),
    _free("cache_share", "number", 2.6, 0.3, 20.0, "rate at which blocks load operands, over the cache's bandwidth"),
    _free("split_s", "s", 2.6e-6, 1e-7, 1e-3, "adding up the pieces of a depth"),
    _free("vector_share", "number", 0.1, 0.01, 2.0, "share of the vector peak that matrix-vector products reach"),
    Parameter(
        "gemm_overlap", "number", overlap, "how well a product hides the shorter of its parts", 1.2, 20.0, ("gemm",),
    ),
    _free("floor_s", "s", 2.6e-6, 1e-7, 1e-4, "shortest product: start, fill and drain of the memory pipeline"),
    _free("host_s", "s", 2e-7, 1e-7, 1.5e-4, "enqueueing of a product, beside which shorter ones do not count"),
    _free("prepare_s", "s", 1e-7, 0.0, 1e-4, "enqueueing of the quantisation of many rows"),
    _free("prepare_bytes", "number", 5.0, 0.0, 20.0, "memory traffic of quantising one activation"),
)  # fmt: skip
"""Priors: rounded values of one fit to 16-bit products of seven devices (A40, A100, A800, H100, H200, RTX 3090, RTX
4090) in vidur, aiconfigurator, frontier and llmservingsim; quantisation from fp8 on H100 and H200."""

DOT_PEAK: Final = Parameter(
    "dot_peak", "flops", dot_peak, "rate of int8 dot products of packed weights; 0: 16-bit math is as fast"
)
