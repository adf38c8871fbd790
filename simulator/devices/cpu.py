"""CPUs: cores share the rows and columns of a product, SIMD or matrix tiles compute it, DRAM channels feed it.

share = a * k / (k + k_half) * row padding to the register tile * balance over cores. A product of few rows is bound
by streaming the weights, which cores together do at ``stream_share`` of the bandwidth. Reference: Goto and van de
Geijn, ACM TOMS 34(3), 2008, doi:10.1145/1356052.1356053; McCalpin, STREAM.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from hardware_specs.dtypes import CODE
from simulator.devices.priors import COMMON, constant
from simulator.devices.registry import Law, register
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

_FP32 = CODE["fp32"]
_SIMD_GAIN = 4.0
"""Most that narrow SIMD lanes gain over fp32 (int8 dot products); a higher peak is that of matrix tiles (AMX)."""


@njit(cache=True, error_model="numpy")
def matrix_share(p: Any, dtype: int) -> float:
    """Share of the peak of large products: matrix tiles are harder to feed than SIMD lanes, but never slower."""
    if p.peaks[_FP32] <= 0.0:
        return float(p.gemm_share)
    gain = p.peaks[dtype] / p.peaks[_FP32]
    return float(p.gemm_share if gain <= _SIMD_GAIN else max(p.tile_share, p.gemm_share * _SIMD_GAIN / gain))


@njit(cache=True, error_model="numpy")
def gemm_share(p: Any, dtype: int, m: float, n: float, k: float, batch: float) -> float:
    """Share of the peak that a product reaches: register tile padding, balance over cores, depth ramp."""
    # Fewer rows than a register tile has run as dot products along k, which need no padding.
    useful = (m / padded(m, p.row_tile) if m >= p.row_tile else 1.0) * n / padded(n, p.column_tile)
    pieces = padded(m, 4.0 * p.row_tile) / (4.0 * p.row_tile) * padded(n, 64.0) / 64.0 * batch
    share = matrix_share(p, dtype) * useful * quantised(pieces, p.units)
    return share * k / (k + p.depth_half)  # type: ignore[no-any-return]


@njit(cache=True, error_model="numpy")
def cost(ops: Any, which: Any, records: Any, out: Any) -> None:
    """Price all operators on all devices; see ``Law.cost``."""
    for d in range(out.shape[0]):
        for i in range(ops.kind.shape[0]):
            p = records[which[d, i]]
            family = family_of(ops.kind[i])
            share, stream = p.gemm_share, p.stream_share
            if family == ATTENTION_PREFILL:
                share = p.attention_share * ops.n[i] / (ops.n[i] + 64.0)
            elif family == ATTENTION_DECODE:
                share, stream = p.attention_share, p.kv_share
            elif family == VECTOR:
                stream = p.vector_share
            elif ops.flops[i] > 0.0:
                rows = ops.m[i] / ops.batch[i] if family == MOE else ops.m[i]
                share = gemm_share(p, ops.dtype[i], rows, ops.n[i], ops.k[i], max(1.0, ops.batch[i] / ops.calls[i]))
            price(ops, i, p, share, stream, p.floor_s, p.overlap_exponent, out[d])


LAW = register(
    Law(
        "cpu",
        (
            *COMMON,
            constant("gemm_share", "number", 0.70, "share of the dense peak that large products sustain"),
            constant("tile_share", "number", 0.40, "the same in dtypes whose peak is that of matrix tiles"),
            constant("depth_half", "number", 64.0, "k at which a product reaches half its rate"),
            constant("row_tile", "number", 4.0, "rows of a register tile"),
            constant("column_tile", "number", 16.0, "columns of a register tile"),
            constant("attention_share", "number", 0.25, "share of the dense peak that attention sustains"),
            constant("stream_share", "number", 0.75, "share of the bandwidth that weights stream at"),
            constant("kv_share", "number", 0.55, "share of the bandwidth that decode attention reads the cache at"),
            constant("vector_share", "number", 0.50, "share of bandwidth and vector rate of elementwise operators"),
            constant("dequantize_share", "number", 0.30, "share of the vector rate that weight unpacking reaches"),
            constant("overlap_exponent", "number", 2.0, "how well compute hides memory time"),
            constant("floor_s", "s", 4.0e-6, "shortest operator: fork and join of the threads"),
        ),
        cost,
        "register tiles, cores, DRAM channels",
    )
)
