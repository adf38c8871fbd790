"""CPUs: cores share the rows and columns of a product, SIMD or matrix tiles compute it, DRAM channels feed it.

Products of m rows with weights [n, k]; P is the peak, B the memory bandwidth::

    share    = a * k / (k + k_half) * padding to the register tile * balance over cores
    t_math   = flops / (share P)
    t_memory = weights (1 + k_s / k) (1 / (s B) + (1 + t n / (n + 3072)) / (c B))
             + activations / (s B or cache bandwidth)

Each row of k weights is a stream of its own, which starts anew: it reaches half its rate at ``k_s``. ``c`` is what a
library spends on packing weights into panels before it multiplies rows with them; the rows of a panel lie in pages of
their own, of which the second-level TLB knows some 3072: ``t`` is what more of them cost. At most ``gemm_vector_rows``
rows are as many matrix-vector products instead; all but the first find in the cache what it still holds of the weights.
Software for personal use multiplies packed weights as they are, by activations in int8; D is the rate at which SIMD
lanes take dot products of int8, u what unpacking a weight costs beside, in lanes::

    t_math   = weights rows (dot + u / rows of one unpacking) / D        a row each (llama.cpp), 8 (ik_llama.cpp)
    t_math   = weights rows bits look-up / D                             tables of partial sums (T-MAC)

Attention of whole prompts runs by tiles of queries, each of which meets all keys up to its last row: few rows feed the
registers badly, and the softmax passes over every score::

    tile     = 32, 64 or 256 queries by length     scores = pairs + (tile - 1) / 2 * queries, the upper half of a tile
    t_math   = 2 (d_qk + d_v) scores / (a P tile / (tile + rows_half)) + 5 scores / (e V)

Decode reads the cache at a share of B and computes at a share of P. Vector operators move their bytes at a share of B,
or of the cache's bandwidth, the more of them it holds, and compute at a share of the SIMD rate V. Each call has a
floor: dispatch, fork, join. Results of 32 MiB and more that a runtime allocates anew wait for the system's pages.

Reference: Goto and van de Geijn, ACM TOMS 34(3), 2008, doi:10.1145/1356052.1356053 (panels, register tiles); McCalpin,
STREAM; llama.cpp, ggml/src/ggml-cpu (dot products of packed weights); Wei et al., T-MAC, arXiv:2407.00088; PyTorch,
aten/src/ATen/native/cpu/FlashAttentionKernel.cpp (tiles of queries by length).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from hardware_specs.dtypes import CODE
from hardware_specs.facts import Fit
from hardware_specs.records import DeviceSpec
from hardware_specs.threads import usual_clock_gain
from simulator.devices.priors import COMMON, constant, free, vector_peak
from simulator.devices.registry import Law, Parameter, register
from simulator.kernels.jit import law_kernel, law_part
from simulator.kernels.roofline import (
    ATTENTION_DECODE,
    ATTENTION_PREFILL,
    MOE,
    OPTIMIZER,
    VECTOR,
    bytes_s,
    family_of,
    is_resident,
    padded,
    price,
    quantised,
    settle,
)

_FP32 = CODE["fp32"]
_SIMD_GAIN = 4.0
"""Most that narrow SIMD lanes gain over fp32 (int8 dot products); a higher peak is that of matrix tiles (AMX)."""
_TILES: Final = ((768.0, 256.0), (192.0, 64.0), (0.0, 32.0))
"""Shortest prompt, queries of a tile."""
_SOFTMAX_FLOPS: Final = 5.0
_PAGES_IN_REACH: Final = 3072.0
"""Entries of the second-level data TLB of Zen 4 (AMD, Software Optimization Guide for Zen 4, 57647); others have 1536
to 4096."""
_REUSED: Final = 0.2
"""Part of the last-level cache that keeps weights from one matrix-vector product to the next; rounded from products of
two and three rows in fp32 under MKL on two cores of an EPYC of the Zen 4 generation."""
_FRESH_BYTES: Final = float(1 << 25)
"""Results from this size on are mapped anew by glibc's malloc however it is set (DEFAULT_MMAP_THRESHOLD_MAX)."""
_UPDATE_RESULTS: Final = 2.0
"""Results in fp32 of the size of the weights that AdamW leaves on the way: the root of the second moment, and the same
divided by its bias (torch.optim.adamw, one tensor after the other)."""


@law_part
def matrix_share(p: Any, dtype: int) -> float:
    """Share of the peak of large products: matrix tiles are harder to feed than SIMD lanes, but never slower."""
    if p.peaks[_FP32] <= 0.0:
        return float(p.gemm_share)
    gain = p.peaks[dtype] / p.peaks[_FP32]
    return float(p.gemm_share if gain <= _SIMD_GAIN else max(p.tile_share, p.gemm_share * _SIMD_GAIN / gain))


@law_part
def gemm_share(p: Any, dtype: int, m: float, n: float, k: float, batch: float) -> float:
    """Share of the peak that a product reaches: register tile padding, balance over cores, depth ramp."""
    # Fewer rows than a register tile has run as dot products along k, which need no padding.
    useful = (m / padded(m, p.row_tile) if m >= p.row_tile else 1.0) * n / padded(n, p.column_tile)
    pieces = padded(m, 4.0 * p.row_tile) / (4.0 * p.row_tile) * padded(n, 64.0) / 64.0 * batch
    share = matrix_share(p, dtype) * useful * quantised(pieces, p.units)
    return share * k / (k + p.depth_half)  # type: ignore[no-any-return]


@law_part
def cached_share(size: float, held: float) -> float:
    """Share of ``size`` bytes that a cache which holds ``held`` of them still has when they are asked for again."""
    return 1.0 / np.cbrt(1.0 + (size / held) ** 3) if held > 0.0 else 0.0


@law_part
def pages_s(p: Any, written: float) -> float:
    """Seconds that the system takes to hand out new pages for a result that the allocator does not keep."""
    return written / p.page_bytes_per_s if written >= _FRESH_BYTES else 0.0


@law_part
def unpack_ops(p: Any, dequantize: int, bits: float) -> float:
    """Lanes that unpacking a weight of ``bits`` takes: none for whole bytes, few for halves of bytes; more where its
    bits lie in two places (3, 5 and 6), or every 16 weights have a scale (2)."""
    if dequantize == 2:
        return float(p.unpack_code_ops * bits)
    if bits >= 8.0:
        return 0.0
    return float(p.unpack_field_ops if 4.2 < bits < 5.2 else p.unpack_split_ops)


USUAL_SHARE: Final = 0.70
"""Share of the dense peak that large products reach on CPUs without a calibration."""


@law_part
def packed_s(p: Any, dequantize: int, bits: float, weights: float, rows: float) -> float:
    """Seconds of math of ``rows`` rows with packed weights that are multiplied as they are."""
    lane_s = 2.0 / p.dot_peak
    if p.unpack_rows < 0.0:
        return float(weights * rows * bits * p.table_bit_ops * lane_s)
    shared = max(p.unpack_rows, 1.0)
    unpacked = np.ceil(rows / shared) * unpack_ops(p, dequantize, bits)
    dots = p.dot_row_ops if shared == 1.0 else p.dot_tile_ops
    return float(weights * (rows * dots + unpacked) * lane_s)


@law_part
def product(ops: Any, i: int, p: Any, out: Any) -> None:
    """Price a product, dense or of experts."""
    rows = ops.m[i] / ops.batch[i] if family_of(ops.kind[i]) == MOE else ops.m[i]
    peak = p.peaks[ops.dtype[i]]
    moved = ops.read_bytes[i] + ops.write_bytes[i]
    fast = p.cache_bandwidth if is_resident(ops, i, p) else p.bandwidth
    rowwise = (1.0 + p.gemm_stream_depth / ops.k[i]) * ops.weight_bytes[i] / p.bandwidth
    streamed_s = rowwise / p.stream_share
    memory_s = moved / (fast * p.stream_share) + pages_s(p, ops.write_bytes[i])
    if rows <= p.gemm_vector_rows:
        compute_s = ops.flops[i] / (peak * matrix_share(p, ops.dtype[i]))
        reused = cached_share(ops.weight_bytes[i], _REUSED * p.cache_bytes)
        again = 1.0 - reused + reused * min(p.bandwidth / max(p.cache_bandwidth, 1.0), 1.0)
        memory_s += (1.0 + (max(rows, 1.0) - 1.0) * again) * streamed_s
    else:
        batch = max(1.0, ops.batch[i] / ops.calls[i])
        compute_s = ops.flops[i] / (peak * gemm_share(p, ops.dtype[i], rows, ops.n[i], ops.k[i], batch))
        outside = 1.0 + p.gemm_strip_penalty * ops.n[i] / (ops.n[i] + _PAGES_IN_REACH)
        memory_s += streamed_s + outside * rowwise / p.gemm_pack_share
    unpack_s = ops.vector_flops[i] / (p.vector_peak * (p.dequantize_share if ops.dequantize[i] else p.vector_share))
    compute_s = max(compute_s, unpack_s)
    lanes_s = 0.0
    if ops.dequantize[i] > 0 and p.unpack_rows != 0.0:
        weights = 8.0 * ops.weight_bytes[i] / ops.weight_bits[i]
        lanes_s = packed_s(p, ops.dequantize[i], ops.weight_bits[i], weights, max(rows, 1.0))
        # The runtime's factor says how good its products of plain weights are; a machine whose products reach another
        # share of its peak than the class does has dot products so much faster or slower.
        compute_s = lanes_s * p.factors[family_of(ops.kind[i])] * USUAL_SHARE / p.gemm_share
    settle(ops, i, p, compute_s, memory_s, p.gemm_floor_s, p.gemm_overlap, bytes_s(ops, i, p), out, lanes_s)


@law_part
def prefill(ops: Any, i: int, p: Any, out: Any) -> None:
    """Price attention of many queries, or its backward."""
    queries = ops.m[i]
    tile = 32.0
    for shortest, rows in _TILES:
        if queries >= shortest:
            tile = min(rows, queries)
            break
    calls = ops.batch[i] * ops.heads[i]
    pairs = ops.vector_flops[i] / (_SOFTMAX_FLOPS * calls)
    scores = min(pairs + 0.5 * (tile - 1.0) * queries, queries * ops.n[i]) if pairs > 0.0 else 0.0
    wasted = max(scores / pairs, 1.0) if pairs > 0.0 else 1.0
    share = p.attention_share * tile / (tile + p.prefill_row_half)
    softmax_s = wasted * ops.vector_flops[i] / (p.vector_peak * p.prefill_softmax_share)
    compute_s = wasted * ops.flops[i] / (p.peaks[ops.dtype[i]] * share) + softmax_s
    memory_s = (ops.read_bytes[i] + ops.write_bytes[i]) / (p.bandwidth * p.stream_share)
    settle(ops, i, p, compute_s, memory_s, p.prefill_floor_s, p.overlap_exponent, bytes_s(ops, i, p), out)


@law_part
def decode(ops: Any, i: int, p: Any, out: Any) -> None:
    """Price attention of one query per sequence."""
    compute_s = ops.flops[i] / (p.peaks[ops.dtype[i]] * p.decode_math_share)
    memory_s = (ops.read_bytes[i] + ops.write_bytes[i]) / (p.bandwidth * p.kv_share)
    settle(ops, i, p, compute_s, memory_s, p.decode_floor_s, p.decode_overlap, bytes_s(ops, i, p), out)


@law_part
def vector(ops: Any, i: int, p: Any, out: Any) -> None:
    """Price an elementwise operator, a reduction over rows, a look-up or an optimizer step."""
    compute_s = ops.vector_flops[i] / (p.vector_peak * p.vector_share)
    if ops.flops[i] > 0.0:
        compute_s = max(compute_s, ops.flops[i] / (p.peaks[ops.dtype[i]] * p.gemm_share))
    moved = ops.read_bytes[i] + ops.write_bytes[i]
    held = p.vector_cache_part * p.cache_bytes
    cached = cached_share(moved, held)
    fast = max(p.cache_bandwidth, p.bandwidth)
    memory_s = ops.weight_bytes[i] / p.bandwidth + moved * (cached / fast + (1.0 - cached) / p.bandwidth)
    memory_s /= p.vector_stream_share
    if family_of(ops.kind[i]) == VECTOR:
        memory_s += pages_s(p, ops.write_bytes[i])
    else:
        # An optimizer writes where its states lie, but for what it computes on the way, tensor by tensor.
        tensors = max(ops.batch[i], 1.0)
        memory_s += tensors * _UPDATE_RESULTS * pages_s(p, 4.0 * ops.m[i] / tensors)
    settle(ops, i, p, compute_s, memory_s, p.vector_floor_s, p.vector_overlap, bytes_s(ops, i, p), out)


@law_kernel
def cost(ops: Any, which: Any, records: Any, out: Any) -> None:
    """Price all operators on all devices; see ``Law.cost``."""
    for d in range(out.shape[0]):
        for i in range(ops.kind.shape[0]):
            p = records[which[d, i]]
            family = family_of(ops.kind[i])
            if family == ATTENTION_PREFILL:
                prefill(ops, i, p, out[d])
            elif family == ATTENTION_DECODE:
                decode(ops, i, p, out[d])
            elif family in (VECTOR, OPTIMIZER):
                vector(ops, i, p, out[d])
            elif ops.flops[i] > 0.0:
                product(ops, i, p, out[d])
            else:
                price(ops, i, p, p.gemm_share, p.stream_share, p.floor_s, p.overlap_exponent, out[d])


def dot_peak(spec: DeviceSpec) -> float:
    """Rate of int8 dot products on SIMD lanes at the usual clock [OP/s]: as the datasheet says, at most what lanes gain
    over fp32 (beyond are matrix tiles); without a figure fp32's, where three instructions take such a product."""
    fp32, int8 = vector_peak(spec), spec.compute.peaks.get("int8")
    return (min(int8.value, _SIMD_GAIN * fp32) if int8 else fp32) * usual_clock_gain(spec)


_PRODUCTS = ("gemm", "moe")
_PREFILL = ("attention_prefill",)
_DECODE = ("attention_decode",)
_VECTOR = ("vector", "optimizer")
_NO_PACKING = 1e3
"""Share of the bandwidth at which nothing is seen of packing."""

_NO_PAGES = 1e15
"""Rate at which nothing is seen of pages: what runtimes with buffers of their own have."""

PACKED_FIT: Final = Fit(
    "packed-products",
    ("cpu_edge_misc",),
    "lanes that dot products of packed weights take, and what one core draws from memory: by hand, on all rows",
    "2026-11-26",
    (
        "apple-m2-max-cpu",
        "apple-m2-ultra-cpu",
        "core-i5-1035g7",
        "jetson-agx-orin-64gb-cpu",
        "raspberry-pi-5",
        "ryzen-9-7950x",
        "xeon-e5-2683-v4",
    ),
)
"""What the numbers of products with packed weights were set from."""


LAW = register(
    Law(
        "cpu",
        (
            *COMMON,
            free(
                "gemm_share", "number", USUAL_SHARE, 0.01, 1.0, _PRODUCTS, "share of the dense peak of large products"
            ),
            constant("tile_share", "number", 0.40, "the same in dtypes whose peak is that of matrix tiles"),
            free("depth_half", "number", 64.0, 0.0, 600.0, _PRODUCTS, "k at which a product reaches half its rate"),
            constant("row_tile", "number", 4.0, "rows of a register tile"),
            constant("column_tile", "number", 16.0, "columns of a register tile"),
            free("stream_share", "number", 0.75, 0.01, 1.0, _PRODUCTS, "share of the bandwidth that weights stream at"),
            free("gemm_stream_depth", "number", 0.0, 0.0, 2000.0, _PRODUCTS, "k at which rows stream at half rate"),
            free("gemm_pack_share", "number", _NO_PACKING, 0.05, 2e3, _PRODUCTS,
                 "share of the bandwidth at which weights are packed for more than one row"),
            free("gemm_strip_penalty", "number", 0.0, 0.0, 4.0, _PRODUCTS,
                 "what packing of more rows than the TLB reaches costs beside"),
            constant("gemm_vector_rows", "number", 1.0, "most rows that run as matrix-vector products"),
            free("gemm_overlap", "number", 2.0, 1.0, 10.0, _PRODUCTS, "how well products hide memory time"),
            free("gemm_floor_s", "s", 4.0e-6, 1e-7, 1e-3, _PRODUCTS, "shortest product: dispatch, fork, join"),
            free("attention_share", "number", 0.25, 0.01, 1.0, _PREFILL, "share of the dense peak of attention"),
            free("prefill_row_half", "number", 8.0, 0.0, 300.0, _PREFILL, "queries of a tile at half the rate"),
            free("prefill_softmax_share", "number", 0.5, 0.01, 1.0, _PREFILL, "share of the SIMD rate of a softmax"),
            free("prefill_floor_s", "s", 4.0e-6, 1e-7, 1e-3, _PREFILL, "shortest attention of a prompt"),
            free("decode_math_share", "number", 0.25, 0.001, 1.0, _DECODE, "share of the peak of decode attention"),
            free("kv_share", "number", 0.55, 0.02, 1.0, _DECODE, "share of the bandwidth that caches are read at"),
            free("decode_overlap", "number", 2.0, 1.0, 10.0, _DECODE, "how well decode hides memory time"),
            free("decode_floor_s", "s", 4.0e-6, 1e-7, 1e-3, _DECODE, "shortest attention of one query"),
            free("vector_share", "number", 0.50, 0.002, 1.0, _VECTOR, "share of the SIMD rate of vector operators"),
            free("vector_stream_share", "number", 0.50, 0.02, 1.0, _VECTOR, "share of the bandwidth of the same"),
            free("vector_cache_part", "number", 0.5, 0.1, 4.0, ("vector",), "part of the cache that holds operands"),
            free("vector_overlap", "number", 2.0, 1.0, 10.0, _VECTOR, "how well vector operators hide memory time"),
            free("vector_floor_s", "s", 4.0e-6, 1e-7, 1e-3, _VECTOR, "shortest vector operator"),
            free("page_bytes_per_s", "bytes_per_s", _NO_PAGES, 5e8, 2.0 * _NO_PAGES, (*_PRODUCTS, *_VECTOR),
                 "rate at which the system hands out new pages for results of 32 MiB and more"),
            constant("dequantize_share", "number", 0.30, "share of the vector rate that weight unpacking reaches"),
            Parameter("dot_peak", "flops", dot_peak, "rate of int8 dot products on SIMD lanes"),
            constant("dot_row_ops", "number", 4.6, "lanes of a multiply-add of one row with packed weights"),
            constant("dot_tile_ops", "number", 2.3, "the same of eight rows at a time"),
            constant("unpack_field_ops", "number", 2.5, "lanes that unpack half a byte"),
            constant("unpack_split_ops", "number", 4.6, "the same of other numbers of bits"),
            constant("unpack_code_ops", "number", 4.5, "lanes per bit of a weight that is looked up in a codebook"),
            constant("table_bit_ops", "number", 1.3, "lanes per bit of a weight of products by look-up"),
            constant("overlap_exponent", "number", 2.0, "how well compute hides memory time elsewhere"),
            constant("floor_s", "s", 4.0e-6, "shortest operator of other kinds"),
        ),
        cost,
        "register tiles, panels, cores, DRAM channels",
        (PACKED_FIT,),
    )
)  # fmt: skip
