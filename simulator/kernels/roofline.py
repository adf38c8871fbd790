"""The roofline that every device law ends in: resources in parallel, then floors, power cap and launches.

For one operator, with P the peak of its dtype, s the share of it that the class law grants (tiles, waves, padding,
depth), B the memory bandwidth and b its attainable share::

    t_compute = max(flops / (s P), vector_flops / V) / f        f: factor of the runtime's kernel family
    t_memory  = (weight_bytes / (b B) + activation_bytes / (b B or cache bandwidth, if they fit in the cache)) / g
    t_kernel  = (t_compute^q + t_memory^q)^(1/q) + floor        q: overlap exponent (infinite = perfect overlap)
    t         = max(t_kernel, flops / P, bytes / B)             g: the runtime's factor for streaming weights, or f

Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009, doi:10.1145/1498765.1498785; the smooth maximum is
the usual p-norm. An operator of c calls (experts in a loop) pays c floors and launches.
Energy: see ``simulator.kernels.power``. Under a power cap the clock falls until what is drawn beyond static power,
which goes by its cube, is what the cap leaves.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from hardware_specs.dtypes import COMPUTE_DTYPES
from simulator.kernels.jit import law_kernel, law_part
from simulator.kernels.power import dynamic_energy
from workloads.operators import FAMILIES, FAMILY_CODES

RUNTIME_FAMILIES: Final = ("gemm", "moe", "attention_prefill", "attention_decode", "vector", "collective")
"""Families that a runtime has a factor for, in the order of ``factors`` below."""

LAW_DTYPE: Final = np.dtype(
    [
        ("peaks", "f8", (len(COMPUTE_DTYPES),)),
        ("factors", "f8", (len(FAMILIES),)),
        *[
            (name, "f8")
            for name in (
                "vector_peak", "bandwidth", "cache_bytes", "cache_bandwidth", "units",
                "gemm_share", "attention_share", "stream_share", "kv_share", "vector_share", "dequantize_share",
                "depth_half", "row_tile", "column_tile", "depth_tile", "overlap_exponent", "floor_s",
                "rows_at_once", "attention_head_s", "stages", "port_bytes_per_s", "scan_share",
                "prompt_launch_s", "prompt_setup_s", "cache_ports", "width_tile",
                "launch_s", "gap_s", "graph_mode",
                "static_w", "cap_w", "rated_w", "power_math", "power_memory", "power_limit", "power_root",
                "weight_factor",
                "tile_share", "vector_decode", "grouped_heads", "gemm_floor_s",
                "gemm_stream_share", "gemm_strip_half", "gemm_launch_s", "gemm_overlap", "prefill_share",
                "prefill_surplus_keys", "prefill_stream_share", "decode_stream_share", "decode_staged_share",
                "decode_overlap", "attention_launch_s", "attention_sequence_s", "vector_stream_share",
                "vector_launch_s", "vector_overlap",
                "gemm_sustained", "gemm_feed_half", "gemm_fill_depth", "gemm_wave_credit", "gemm_stream_units",
                "gemm_cache_share", "gemm_split_s", "gemm_vector_share", "gemm_host_s", "gemm_prepare_s",
                "gemm_prepare_bytes",
                "prefill_softmax_flops", "prefill_block_s", "prefill_tail", "prefill_small_flops", "prefill_overlap",
                "prefill_floor_s", "prefill_narrow_share", "prefill_narrow_softmax", "prefill_group",
                "decode_floor_s", "decode_combine_s", "decode_block_s", "decode_width_s", "decode_query_s",
                "decode_math_share", "decode_piece", "decode_pieces", "decode_tile", "decode_slots",
                "decode_regroup_s", "decode_narrow_block", "decode_narrow_read", "decode_lone_block",
                "decode_lone_piece", "decode_lone_s", "decode_unit_gain", "decode_group", "decode_packed_units",
                "vector_clock", "vector_blocks", "vector_floor_s", "vector_before_s", "vector_after",
                "vector_stream", "vector_cache_part", "vector_cache_share", "vector_far", "vector_alone",
                "vector_row_s", "vector_lookup_s", "vector_reread", "vector_norm_rate", "vector_rope_rate",
                "vector_activation_rate", "vector_softmax_rate", "vector_lookup_rate", "moe_share", "moe_block_s",
                "moe_stream_share", "moe_overlap", "moe_passes", "moe_fixed_s", "moe_expert_s", "moe_ragged_share",
                "moe_row_s", "moe_unit_gain", "moe_feed_bytes_per_s", "timed_alone",
                "gemm_pack_share", "prefill_row_half", "prefill_softmax_share",
                "page_bytes_per_s", "gemm_strip_penalty", "gemm_vector_rows", "gemm_stream_depth",
                "dot_peak", "dot_row_ops", "dot_tile_ops", "unpack_field_ops", "unpack_split_ops", "unpack_code_ops",
                "table_bit_ops", "unpack_rows",
            )
        ],
    ]
)  # fmt: skip
"""Parameters of a law as one record: an array of it prices a graph on many devices at once."""

_INT8: Final = COMPUTE_DTYPES.index("int8")
TIME, COMPUTE, MEMORY, OVERHEAD, ENERGY = range(5)
"""Rows of a cost array [devices, 5, operators]: seconds (overhead included), parts [s], energy [J]."""

ATTENTION_PREFILL: Final = FAMILIES.index("attention_prefill")
ATTENTION_DECODE: Final = FAMILIES.index("attention_decode")
VECTOR: Final = FAMILIES.index("vector")
MOE: Final = FAMILIES.index("moe")
GEMM: Final = FAMILIES.index("gemm")
OPTIMIZER: Final = FAMILIES.index("optimizer")
COLLECTIVE: Final = FAMILIES.index("collective")


@law_kernel
def family_of(kind: int) -> int:
    """Family code of an operator kind code."""
    return FAMILY_CODES[kind]  # type: ignore[no-any-return]


@law_part
def is_resident(ops: Any, i: int, p: Any) -> bool:
    """Whether what operator ``i`` reads and writes beside weights is in the cache: half of it holds them."""
    family = FAMILY_CODES[ops.kind[i]]
    moved = ops.read_bytes[i] + ops.write_bytes[i]
    fits = moved <= 0.5 * p.cache_bytes and p.cache_bandwidth > p.bandwidth
    return fits and family != OPTIMIZER and family != ATTENTION_DECODE  # type: ignore[no-any-return]


@law_part
def bytes_s(ops: Any, i: int, p: Any) -> float:
    """Seconds that the bytes of operator ``i`` take at the full bandwidth of where they lie."""
    fast = p.cache_bandwidth if is_resident(ops, i, p) else p.bandwidth
    return ops.weight_bytes[i] / p.bandwidth + (ops.read_bytes[i] + ops.write_bytes[i]) / fast  # type: ignore[no-any-return]


@law_kernel
def price(ops: Any, i: int, p: Any, share: float, stream: float, floor_s: float, overlap: float, out: Any) -> None:
    """Price operator ``i`` on device record ``p`` into column i of ``out`` [5, n] by the shares of its roofs.

    Args:
        share: part of the peak that the class law grants the product, in (0, 1].
        stream: part of the memory bandwidth that the class law grants, in (0, 1].
        floor_s: shortest call of the operator's family [s].
        overlap: exponent q of the family: 1 adds compute and memory time, infinity hides the shorter.
    """
    family = FAMILY_CODES[ops.kind[i]]
    if family >= COLLECTIVE:
        out[:, i] = 0.0
        return
    flops, vector = ops.flops[i], ops.vector_flops[i]
    moved = ops.read_bytes[i] + ops.write_bytes[i]
    fast = p.cache_bandwidth if is_resident(ops, i, p) else p.bandwidth
    vector_rate = p.vector_peak * (p.dequantize_share if ops.dequantize[i] else p.vector_share)
    compute_s = max(flops / (p.peaks[ops.dtype[i]] * share) if flops > 0.0 else 0.0, vector / vector_rate)
    memory_s = ops.weight_bytes[i] / (p.bandwidth * stream) + moved / (fast * stream)
    settle(ops, i, p, compute_s, memory_s, floor_s, overlap, bytes_s(ops, i, p), out)


@law_part
def joined(one_s: float, other_s: float, overlap: float) -> float:
    """Time of two parts that overlap: their norm of order ``overlap``; 0 where both are."""
    slow, quick = max(one_s, other_s), min(one_s, other_s)
    return slow * (1.0 + (quick / slow) ** overlap) ** (1.0 / overlap) if slow > 0.0 else 0.0


@law_part
def roof(ops: Any, i: int, p: Any) -> float:
    """Peak of the math of operator ``i`` [FLOP/s]: of its dtype, or of int8 where packed weights are multiplied so."""
    peak = p.peaks[ops.dtype[i]]
    packed = ops.dequantize[i] > 0 and p.unpack_rows != 0.0
    return float(max(peak, p.peaks[_INT8]) if packed else peak)


@law_part
def settle(
    ops: Any,
    i: int,
    p: Any,
    compute_s: float,
    memory_s: float,
    fixed_s: float,
    overlap: float,
    bytes_s: float,
    out: Any,
    lanes_s: float = 0.0,
) -> None:
    """Join the parts of operator ``i`` under the runtime's factors, the roofs and the power limit into ``out`` [5, n].

    Args:
        compute_s, memory_s: seconds of math and of moving bytes by the class law, runtime factors not included.
        fixed_s: what each call takes beside them [s].
        overlap: exponent q of the family.
        bytes_s: seconds that the bytes take at full bandwidth: no runtime is faster [s].
        lanes_s: seconds that lanes of a CPU issue for packed weights; 0 where flops tell it [s].
    """  # fmt: skip
    family = FAMILY_CODES[ops.kind[i]]
    flops, calls = ops.flops[i], ops.calls[i]
    compute_s /= p.factors[family]
    memory_s /= p.weight_factor if family in (GEMM, MOE) else p.factors[family]
    kernel_s = max(
        joined(compute_s, memory_s, overlap) + calls * fixed_s,
        flops / roof(ops, i, p) if flops > 0.0 else 0.0,
        bytes_s,
    )
    dynamic_j = dynamic_energy(p, ops, i, kernel_s, bytes_s, lanes_s)
    spare_j = (p.cap_w - p.static_w) * kernel_s
    if dynamic_j > spare_j > 0.0:
        kernel_s *= (dynamic_j / spare_j) ** (1.0 / 3.0)
        dynamic_j = (p.cap_w - p.static_w) * kernel_s
    overhead_s = calls * p.gap_s + (0.0 if p.graph_mode > 0.0 else max(0.0, calls * p.launch_s - kernel_s))
    out[TIME, i] = kernel_s + overhead_s
    out[COMPUTE, i] = compute_s
    out[MEMORY, i] = memory_s
    out[OVERHEAD, i] = overhead_s + calls * fixed_s
    out[ENERGY, i] = dynamic_j + p.static_w * (kernel_s + overhead_s)


@law_kernel
def padded(size: float, tile: float) -> float:
    """``size`` rounded up to a multiple of ``tile``."""
    return float(np.ceil(size / tile) * tile)


@law_kernel
def quantised(work: float, units: float) -> float:
    """Wave quantisation: share of ``units`` that are busy while ``work`` equal pieces run in whole waves."""
    return work / (np.ceil(work / units) * units)  # type: ignore[no-any-return]
