"""Vector operators on GPUs: norms, rotary embeddings, activations, elementwise maps, softmax, look-ups, copies.

Kernels that reduce or gate rows give one thread block to a row. A multiprocessor holds ``r`` blocks at a time, a row
costs its share of the multiprocessor's rate and a start, and one row alone cannot use all of it::

    t_rows   = turns(rows / units) (bytes per row / (rate clock) + start)
    turns(x) = r floor(x / r) + max(alone, rest)                  rest = x - r floor(x / r), 0 if none is left
    t_memory = moved (1 - c) / (b B) + moved c / B_c + n rows read again (1 - c) / (b B)
    c        = 1 / (1 + (moved / cached)^3)^(1/3)                 share of the bytes that repeated calls find in cache
    t        = before + max(after, floor + (t_rows^q + t_memory^q)^(1/q))

B is the memory bandwidth, b the share of it that kernels stream at, B_c that of the cache. Norms and softmax pass over
a row again: where the rows in flight outgrow the cache, again from memory. Reductions wait for their loads, so that
they need all blocks of a multiprocessor to fill it, and run ``far`` times slower from memory than from the cache.
``before`` and ``after`` are what the host does around the launch where each call is timed alone from an eager
framework; ``before`` grows with the operator's dispatch. A look-up of at most 16 rows walks through them one by one.

Reference: Volkov, "Understanding Latency Hiding on GPUs", UC Berkeley EECS-2016-143 (rows in flight against latency);
PyTorch 2.1, aten/src/ATen/native/cuda: SoftMax.cu (rows of at most 1024 stay in registers), layer_norm_kernel.cu
(second pass over the row), Indexing.cu (index_select of at most 16 indices); vLLM, csrc/layernorm_kernels.cu,
activation_kernels.cu, pos_encoding_kernels.cu (one block per row, of at most 1024 and 512 threads).
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import numpy as np

from hardware_specs.records import DeviceSpec
from simulator.devices.registry import Parameter
from simulator.kernels.jit import law_kernel, law_part
from simulator.kernels.roofline import joined
from workloads.operator_record import OpKind

_NORM, _ROPE, _ACTIVATION = int(OpKind.NORM), int(OpKind.ROPE), int(OpKind.ACTIVATION)
_SOFTMAX, _EMBEDDING, _SAMPLING = int(OpKind.SOFTMAX), int(OpKind.EMBEDDING), int(OpKind.SAMPLING)

_SHORT_ROW = 1024.0
"""Longest row of a softmax that stays in registers: read once, without a barrier."""
_WIDE_BLOCK = 1024.0
"""Threads of the largest block: shorter rows have smaller ones, of which more start at a time."""
_FEW_LOOKUPS = 16.0
"""Most rows that a look-up walks through one by one."""
_DISPATCH_NORM, _DISPATCH_SOFTMAX, _DISPATCH_ACTIVATION = 2.7, 1.5, 1.3
"""Host time before the launch beside that of an addition: layer norm allocates its moments. Rounded from eager calls
of PyTorch 2.1 to a T4, a V100 and an A100."""
_DEPENDENT_LOADS = 1.4
"""Floor of a look-up beside that of others: the index arrives before the row is asked for. Rounded
from short look-ups on A40, A100, H100 and RTX 4090."""
_REDUCTION_STARTS = 3.0
"""Start of a row with a reduction, in starts of one without: two barriers. Rounded from norms on an A100."""
_MATH_SHARE = 0.25
"""Share of the vector peak that long element functions (state space scans) reach. Assumed: loads, exponentials and
conversions take the other slots."""


@law_kernel
def resident_share(p: Any, moved: float) -> float:
    """Share of ``moved`` bytes that an operator finds in the cache, or leaves there."""
    held = p.vector_cache_part * p.cache_bytes
    if held <= 0.0:
        return 0.0
    filled = moved / held
    return 1.0 / np.cbrt(1.0 + filled * filled * filled)  # type: ignore[no-any-return]


@law_kernel
def turns(rows: float, blocks: float, alone: float) -> float:
    """Row times that a multiprocessor spends on ``rows`` of them, ``blocks`` at a time; a few take ``alone``."""
    full = blocks * float(int(rows / blocks))
    rest = rows - full
    return full + (max(min(alone, blocks), rest) if rest > 1e-9 * rows else 0.0)


@law_part
def unit_s(p: Any, ops: Any, i: int, resident: float) -> float:
    """Seconds that the multiprocessors take over operator ``i``; memory is not their limit."""
    kind, rows = ops.kind[i], ops.m[i]
    streamed = ops.read_bytes[i] + ops.write_bytes[i]
    math_s = ops.vector_flops[i] / (_MATH_SHARE * p.vector_peak)
    if ops.flops[i] > 0.0:
        math_s = max(math_s, ops.flops[i] / p.peaks[ops.dtype[i]])
    rate, blocks, alone, starts = 0.0, p.vector_blocks, p.vector_alone, 1.0
    if kind == _NORM:
        rate = p.vector_norm_rate / (1.0 + (p.vector_far - 1.0) * (1.0 - resident))
        alone, starts = blocks, _REDUCTION_STARTS
    elif kind == _SOFTMAX:
        short = ops.n[i] <= _SHORT_ROW
        rate, alone = p.vector_softmax_rate * (2.0 if short else 1.0), blocks
    elif kind == _ROPE:
        rate, blocks = p.vector_rope_rate, 2.0 * blocks
    elif kind == _ACTIVATION and ops.read_bytes[i] > 1.5 * ops.write_bytes[i]:
        rate = p.vector_activation_rate
    if rate > 0.0:
        starts *= min(1.0, ops.n[i] / _WIDE_BLOCK)
        row_s = streamed / rows / (rate * p.vector_clock) + starts * p.vector_row_s
        return max(math_s, turns(rows / p.units, blocks, alone) * row_s)  # type: ignore[no-any-return]
    if kind == _ACTIVATION:
        rate = p.vector_activation_rate
    elif kind == _EMBEDDING:
        rate = p.vector_lookup_rate
    elif kind == _SAMPLING:
        rate = p.vector_softmax_rate
    return max(math_s, streamed / (p.units * rate * p.vector_clock) if rate > 0.0 else 0.0)  # type: ignore[no-any-return]


@law_part
def read_again(p: Any, ops: Any, i: int) -> float:
    """Bytes that norms and long softmaxes read from memory in their later passes over rows."""
    kind, rows, cols = ops.kind[i], ops.m[i], ops.n[i]
    if kind == _NORM:
        passes, in_flight = 1.0, cols
    elif kind == _SOFTMAX and cols > _SHORT_ROW:
        passes, in_flight = 2.0, max(0.25 * cols, _SHORT_ROW)
    else:
        return 0.0
    held = p.units * p.vector_blocks * in_flight * ops.read_bytes[i] / (rows * cols) * p.vector_reread
    fits = (p.cache_bytes / held) ** 2
    return passes * ops.read_bytes[i] / (1.0 + fits * fits)  # type: ignore[no-any-return]


@law_kernel
def vector(p: Any, ops: Any, i: int) -> tuple[float, float, float, float]:
    """Seconds of the multiprocessors, of memory and of each call beside them, and the overlap exponent."""
    kind, calls = ops.kind[i], ops.calls[i]
    if ops.m[i] * ops.n[i] <= 0.0:
        return 0.0, 0.0, p.vector_floor_s, p.vector_overlap
    moved = ops.weight_bytes[i] + ops.read_bytes[i] + ops.write_bytes[i]
    resident = resident_share(p, moved)
    slow = p.bandwidth * p.vector_stream
    fast = max(slow, p.cache_bandwidth * p.vector_cache_share)
    units_s = unit_s(p, ops, i, resident)
    memory_s = moved * resident / fast + (moved + read_again(p, ops, i)) * (1.0 - resident) / slow
    floor_s, before_s = p.vector_floor_s, p.vector_before_s * p.timed_alone
    after_s = p.vector_after * before_s
    if kind == _NORM:
        before_s *= _DISPATCH_NORM
    elif kind == _SOFTMAX:
        before_s *= _DISPATCH_SOFTMAX
    elif kind == _ACTIVATION:
        before_s *= _DISPATCH_ACTIVATION
    elif kind == _EMBEDDING:
        floor_s *= _DEPENDENT_LOADS
        if ops.m[i] <= _FEW_LOOKUPS:
            floor_s += ops.m[i] * p.vector_lookup_s
    if after_s > floor_s:
        floor_s = max(floor_s, after_s - joined(units_s, memory_s, p.vector_overlap) / calls)
    return units_s, memory_s, before_s + floor_s, p.vector_overlap


@law_kernel
def vector_bytes_s(p: Any, ops: Any, i: int) -> float:
    """Seconds that the bytes of operator ``i`` take at the full bandwidth of where they lie."""
    moved = ops.weight_bytes[i] + ops.read_bytes[i] + ops.write_bytes[i]
    resident = resident_share(p, moved)
    return moved * (resident / max(p.bandwidth, p.cache_bandwidth) + (1.0 - resident) / p.bandwidth)  # type: ignore[no-any-return]


def clock_hz(spec: DeviceSpec) -> float:
    """Boost clock [Hz]; 1.7 GHz where unknown, the median of the shipped GPUs."""
    return spec.compute.clock_boost.value if spec.compute.clock_boost else 1.7e9


def blocks_of(spec: DeviceSpec) -> float:
    """Blocks of 1024 threads that a multiprocessor holds: two of 2048 threads, one of 1536 (consumer) or 1024 (Turing).

    HBM marks the data-centre parts with 2048 threads; before 2018 all of NVIDIA's had them. Source: NVIDIA, CUDA C++
    Programming Guide, table of technical specifications per compute capability.
    """
    return 2.0 if "HBM" in spec.memory.kind or (spec.year or 2020) < 2018 else 1.0


def _is(value: float, spec: DeviceSpec) -> float:
    return value


def _free(name: str, dimension: str, value: float, low: float, high: float, meaning: str) -> Parameter:
    return Parameter(name, dimension, partial(_is, value), meaning, low, high, ("vector",))


def _rate(name: str, value: float, meaning: str) -> Parameter:
    return _free(name, "number", value, 0.5, 120.0, f"bytes per cycle that a multiprocessor moves in {meaning}")


PARAMETERS: Final = (
    Parameter("vector_clock", "hz", clock_hz, "clock of the multiprocessors"),
    Parameter("vector_blocks", "number", blocks_of, "blocks of 1024 threads that a multiprocessor holds"),
    _free("vector_floor_s", "s", 1.6e-6, 2e-7, 6e-6, "shortest vector kernel: start, one load, one store"),
    _free("vector_before_s", "s", 0.0, 0.0, 6e-5, "host work before the launch of an addition that is timed alone"),
    _free("vector_after", "number", 1.0, 0.2, 4.0, "host work after the launch over that before it"),
    _free("vector_stream", "number", 0.87, 0.4, 1.0, "share of the bandwidth that vector kernels stream at"),
    _free("vector_cache_part", "number", 0.5, 0.05, 1.3, "share of the cache that keeps operands for the next call"),
    _free("vector_cache_share", "number", 0.9, 0.2, 1.3, "share of the cache's bandwidth that vector kernels reach"),
    _free("vector_overlap", "number", 1.6, 1.0, 12.0, "how well a vector kernel hides its issue behind memory"),
    _free("vector_far", "number", 1.5, 1.0, 2.5, "time of a reduction from memory over that from the cache"),
    _free("vector_alone", "number", 1.3, 1.0, 4.0, "time of one row alone over its share of a full multiprocessor"),
    _free("vector_row_s", "s", 1.0e-7, 1e-8, 1e-6, "start of one row on a multiprocessor"),
    _free("vector_lookup_s", "s", 5.0e-7, 1e-8, 2e-6, "one row of a look-up of few"),
    _free("vector_reread", "number", 1.0, 0.1, 40.0, "bytes of rows in flight, in rows of 1024 threads"),
    _rate("vector_norm_rate", 8.0, "norms from the cache"),
    _rate("vector_rope_rate", 9.0, "rotary embeddings"),
    _rate("vector_activation_rate", 12.0, "activations"),
    _rate("vector_softmax_rate", 7.0, "long softmaxes"),
    _rate("vector_lookup_rate", 12.0, "look-ups"),
)
"""Parameters of the law. Priors: rounded middle of fits to the kernels of serving stacks on A40, A100, A800, H100, H800
and RTX 4090; look-ups lie between index_select of older PyTorch (2.5) and today's kernels (memory-bound)."""
