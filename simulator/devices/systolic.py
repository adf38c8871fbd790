"""Systolic arrays, shared by TPUs and HBM ASICs: padding to the array, weight loading, fill and drain.

A product [m, k] x [k, n] on weight-stationary arrays of R x C is cut into ceil(k/R) ceil(n/C) weight tiles. A plain
array (``simulator.devices.systolic_cycles``) pays for each the R cycles of its load, the m rows that stream and the
R + C - 2 of filling and draining. Arrays that load the next tile beside the current one hide the load where m >= R
(fewer cycles where memory delivers more than a row a cycle), and since the rows of the next tile follow those of this
one, fill and drain are left once per chain of tiles: ``streamed_cycles``, which the laws take. Kung and Leiserson
1979; Jouppi et al., ISCA 2017, doi:10.1145/3079856.3080246; the cycle form of Samajdar et al., ISPASS 2020,
doi:10.1109/ISPASS48437.2020.00016.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hardware_specs.dtypes import BITS, COMPUTE_DTYPES
from hardware_specs.records import DeviceSpec
from simulator.devices.registry import Parameter
from simulator.devices.systolic_cycles import fill_and_drain, tiles_cycles
from simulator.kernels.jit import law_kernel, law_part
from simulator.kernels.roofline import (
    padded,
)

_BYTES = np.array([BITS[dtype] / 8.0 for dtype in COMPUTE_DTYPES])


@law_part
def load_cycles(p: Any, dtype: int) -> float:
    """Cycles in which one array takes in a weight tile: a row a cycle, or more where memory can deliver more.

    Arrays take in weights at four times the rate of the main memory at least (fast weight load), so that products of
    few rows are bound by memory: a row a cycle carries ``peak / (2 depth)`` weights per second on all arrays.
    """
    row_a_cycle = p.peaks[dtype] / (2.0 * p.depth_tile) * _BYTES[dtype]
    return p.depth_tile / max(1.0, 4.0 * p.bandwidth / row_a_cycle)  # type: ignore[no-any-return]


@law_kernel
def gemm_share(p: Any, dtype: int, m: float, n: float, k: float, batch: float) -> float:
    """Share of the peak that a product reaches on ``p.units`` arrays of depth_tile x column_tile.

    The arrays share the weight tiles, or, where these are few, the rows. Ideal cycles over those of the busiest one.
    """
    tiles = np.ceil(k / p.depth_tile) * np.ceil(n / p.column_tile) * batch
    rows = padded(m, p.row_tile)
    load = load_cycles(p, dtype)
    by_tiles = tiles_cycles(np.ceil(tiles / p.units), rows, load)
    by_rows = tiles_cycles(tiles, np.ceil(rows / p.units), load)
    cycles = min(by_tiles, by_rows) + fill_and_drain(p.depth_tile, p.column_tile)
    ideal = m * n * k * batch / (p.depth_tile * p.column_tile * p.units)
    return p.gemm_share * ideal / cycles  # type: ignore[no-any-return]


@law_part
def attention_share(p: Any, q_len: float, keys: float, width: float) -> float:
    """Share of the peak of attention: head width padded to the array, query rows streamed, short keys not hidden."""
    useful = width / padded(width, p.depth_tile) * keys / padded(keys, p.column_tile)
    return p.attention_share * useful * q_len / (q_len + p.depth_tile)  # type: ignore[no-any-return]


def array_parameters(rows: float, columns: float) -> tuple[Parameter, ...]:
    """Array shape of a device from its facts, else ``rows`` x ``columns``."""

    def depth(spec: DeviceSpec) -> float:
        return spec.compute.array_rows.value if spec.compute.array_rows else rows

    def width(spec: DeviceSpec) -> float:
        return spec.compute.array_cols.value if spec.compute.array_cols else columns

    def arrays(spec: DeviceSpec) -> float:
        if spec.compute.arrays:
            return spec.compute.arrays.value
        return spec.compute.units.value if spec.compute.units else 1.0

    return (
        Parameter("depth_tile", "number", depth, "rows of one systolic array (reduction depth)"),
        Parameter("column_tile", "number", width, "columns of one systolic array"),
        Parameter("units", "number", arrays, "systolic arrays"),
    )
