"""Experts on GPUs: grouped products, one group of row tiles per active expert.

The r = rows / active rows of an expert are padded to tiles of T rows; a tile of T x 128 outputs is a thread block. Of
two launches (gate and up; down), each a product of ``rows x columns x depth``::

    tiles     = active (ceil(r / T) + w max(0, 1 / (1 - exp(-T / r)) - ceil(r / T)))     w = 1 - 1 / imbalance
    blocks    = tiles ceil(columns / 128)
    t_block   = 2 T 128 depth / (s P / units) sqrt(1 + (need / given)^2) + block_s
    t_compute = max(1, blocks / units) t_block                        the best over T = 16, 32, 64, 128
    t_memory  = weight bytes / (b B min(1, gain active columns / (128 units))) + activation bytes / (b B)
    t_launch  = (t_compute^q + t_memory^q)^(1/q)

Equal loads fill ceil(r / T) tiles; loads that are spread exponentially fill 1 / (1 - exp(-T / r)) on average, and real
ones lie between. ``given`` = 128 T / (128 + T) multiply-adds for each operand loaded, ``need`` what the peak takes from
``moe_feed_bytes_per_s``. Rows whose depth is no multiple of 16 elements are not loaded in 16-byte vectors, and feed at
``moe_ragged_share`` of that. Beside the launches::

    t = launches + passes (rows x model width, read and written) / (b B) + rows row_s + fixed_s + experts expert_s

are permutation, activation and the weighted sum, sorting of rows, and set-up, which walks over all experts of the
device, active or not. A product alone (one projection) is one launch, with its part of the set-up.

Reference: Gale et al., "MegaBlocks", MLSys 2023, arXiv:2211.15841 (grouped products, padding of experts to tiles);
NVIDIA, "Matrix Multiplication Background User's Guide", DU-09799-001 (tiles, 16-byte alignment).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from hardware_specs.dtypes import BITS, COMPUTE_DTYPES
from simulator.devices.registry import Parameter
from simulator.kernels.jit import law_kernel
from simulator.kernels.roofline import MOE, joined

_ROW_TILES: Final = (16.0, 32.0, 64.0, 128.0)
_COLUMN_TILE: Final = 128.0
_DEPTH_STEP: Final = 64.0
"""Elements of the depth that a block multiplies at a time."""
_VECTOR: Final = 16.0
"""Elements that a row must be a multiple of for its loads to be vectors of 16 bytes, fp8 included."""
_KERNELS: Final = 6.0
"""Kernels that set-up is shared by: sort, permutation, two products, activation, weighted sum. A product alone is one
of them; a loop over experts launches more, and pays for each. Assumed: no loop was measured."""
_VECTOR_ROWS: Final = 4.0
"""Most rows of an expert with which libraries run matrix-vector kernels: as good as the runtime streams weights,
whatever its matrix kernels are."""
_OVERLAP: Final = 64.0
"""Overlap exponent of what is returned: the launches have joined math and memory already."""
_BYTES: Final = np.array([BITS[dtype] / 8.0 for dtype in COMPUTE_DTYPES])


@law_kernel
def row_tiles(rows: float, imbalance: float, tile: float) -> float:
    """Tiles of ``tile`` rows that an active expert fills on average, with ``rows`` rows each on average.

    Never fewer where loads are less equal: ``imbalance`` is the rows of the hottest over the mean.
    """
    even = np.ceil(rows / tile)
    spread = 1.0 - 1.0 / imbalance
    if spread <= 0.0:
        return even  # type: ignore[no-any-return]
    return even + spread * max(0.0, 1.0 / (1.0 - np.exp(-tile / rows)) - even)  # type: ignore[no-any-return]


@law_kernel
def experts(p: Any, ops: Any, i: int) -> tuple[float, float, float, float]:
    """Seconds of a grouped expert product.

    Returns:
        Seconds of all launches, seconds that their bytes stream for (a part of them, which the launches hold already),
        seconds of set-up of each call, and the overlap exponent. Launches join math and memory under the runtime's
        factors already; both are returned times the factor that ``settle`` divides them by.
    """
    rows, width, model, active = ops.m[i], ops.n[i], ops.k[i], ops.batch[i]
    peak = p.peaks[ops.dtype[i]]
    rate = peak / p.units * p.moe_share
    projections = np.rint(ops.flops[i] / (2.0 * rows * width * model))
    first = max(1.0, projections - 1.0)
    wide, narrow = first * width, 0.0 if projections < 2.0 else width
    calls = max(1.0, ops.calls[i] * 0.5)
    need = peak / 2.0 * _BYTES[ops.dtype[i]] / (p.units * p.moe_feed_bytes_per_s)
    up_need = need if model % _VECTOR == 0.0 else need / p.moe_ragged_share
    down_need = need if width % _VECTOR == 0.0 else need / p.moe_ragged_share
    up_depth, down_depth = np.ceil(model / _DEPTH_STEP), np.ceil(narrow / _DEPTH_STEP)
    up_columns, down_columns = np.ceil(wide / _COLUMN_TILE), np.ceil(model / _COLUMN_TILE)
    best, up_s, down_s = np.inf, 0.0, 0.0
    each = max(1.0, rows / active)
    for tile in _ROW_TILES:
        tiles = active * row_tiles(each, ops.imbalance[i], tile)
        step_s = 2.0 * tile * _COLUMN_TILE * _DEPTH_STEP / rate
        lack = (tile + _COLUMN_TILE) / (tile * _COLUMN_TILE)
        block_s = step_s * up_depth * np.sqrt(1.0 + (lack * up_need) ** 2) + p.moe_block_s
        first_s, second_s = max(calls, tiles * up_columns / p.units) * block_s, 0.0
        if narrow > 0.0:
            block_s = step_s * down_depth * np.sqrt(1.0 + (lack * down_need) ** 2) + p.moe_block_s
            second_s = max(calls, tiles * down_columns / p.units) * block_s
        if first_s + second_s < best:
            best, up_s, down_s = first_s + second_s, first_s, second_s
    # The runtime's matrix kernels set the pace of math, its streaming of weights that of memory and of few rows.
    matrix = p.factors[MOE] if each > _VECTOR_ROWS else p.weight_factor
    up_s, down_s = up_s / matrix, down_s / matrix
    stream = p.bandwidth * p.moe_stream_share * p.weight_factor
    # Row tiles of one expert read the same weights: only columns of different experts add to the bytes in flight.
    ramp = p.moe_unit_gain * active / (p.units * calls)
    weights_s = ops.weight_bytes[i] / projections / stream
    moved_s = (ops.read_bytes[i] + ops.write_bytes[i]) / stream
    if narrow == 0.0:
        seconds = joined(up_s, weights_s / min(1.0, ramp * up_columns) + moved_s, p.moe_overlap)
        memory_s = weights_s + moved_s
    else:
        around_s = p.moe_passes * 4.0 * rows * model / stream
        seconds = joined(up_s, first * weights_s / min(1.0, ramp * up_columns) + 0.5 * moved_s, p.moe_overlap)
        seconds += joined(down_s, weights_s / min(1.0, ramp * down_columns) + 0.5 * moved_s, p.moe_overlap)
        seconds += around_s + rows * p.moe_row_s
        memory_s = projections * weights_s + moved_s + around_s
    if ops.dequantize[i]:
        seconds = max(seconds, ops.vector_flops[i] / (p.vector_peak * p.dequantize_share * matrix))
    fixed_s = p.moe_fixed_s / (_KERNELS if narrow == 0.0 else min(ops.calls[i], _KERNELS))
    fixed_s += ops.experts[i] * p.moe_expert_s / ops.calls[i]
    return seconds * p.factors[MOE], memory_s * p.weight_factor, fixed_s, _OVERLAP


def _parameter(name: str, dimension: str, value: float, meaning: str, low: float = 0.0, high: float = 0.0) -> Parameter:
    return Parameter(f"moe_{name}", dimension, lambda _: value, meaning, low, high, ("moe",))


PARAMETERS: Final = (
    _parameter("share", "number", 0.65, "share of the dense peak that a full row tile of experts reaches", 0.15, 1.0),
    _parameter("block_s", "s", 0.7e-6, "start and end of a block of experts", 1e-7, 2e-5),
    _parameter("stream_share", "number", 0.93, "share of the bandwidth that experts stream at", 0.3, 1.0),
    _parameter("overlap", "number", 1.4, "how well experts hide their loads behind their math", 1.0, 8.0),
    _parameter("passes", "number", 1.5, "times that rows are moved beside the products", 0.2, 10.0),
    _parameter("fixed_s", "s", 2.2e-5, "set-up, sorting and small kernels of an expert layer", 2e-6, 4e-4),
    _parameter("expert_s", "s", 2e-8, "set-up of each expert of the device, active or not", 1e-10, 6e-5),
    _parameter("ragged_share", "number", 0.02, "share of the feed for depths that are no multiple of 16", 0.003, 1.0),
    _parameter("row_s", "s", 1.5e-9, "sorting and scaling of a row"),
    _parameter("unit_gain", "number", 10.0, "bandwidth that a block of experts alone can draw, in fair shares"),
    _parameter("feed_bytes_per_s", "bytes_per_s", 3e11, "operands that reach a block of experts"),
)
"""Priors in the middle of what fits of A100, H100, H200 and H800 found. The last three are left alone: left free,
they lower the mean error on shapes not fitted by less than 0.1 percentage points."""
