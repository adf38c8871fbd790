"""Attention on GPUs: blocks of query rows that pass over keys, and caches that are read in pieces.

Prefill is flash attention. A block holds R = 128 or 64 query rows of one head, or of the heads that share a key head
where the kernel packs them, and passes over the keys that its rows see; on the diagonal it computes a tile whole, half
of it in vain. Small tiles starve fast multiprocessors: R = 64 reaches F / (F + P / U) of the rate of R = 128. With d
the widths of keys and values together, s a share, P the peak and U the multiprocessors::

    t_row_key = 2 d / (s P / U) + w / (V / U)                  V: peak of the vector units, w: their FLOPs in softmax
    t_total   = heads (sum of keys over row tiles) R t_row_key / U + blocks block_s / U
    t_compute = max(longest, t_total + tail longest)           tail only with more blocks than multiprocessors

Decode reads a cache. A block takes the query rows of one sequence and key head (a tile of 64 is computed whole) and
reads their keys, or one of s pieces of them, as many as fill the GPU and as the kernel allows::

    t_block   = block_s + width width_s + rows width query_s + keys (element bytes / unit rate + tile FLOPs / (s P / U))
    t_compute = turns(blocks s / (U slots)) t_block            turns(x) = max(1, x + min(1, x - 1) / 2)
    t_memory  = (cache + queries + outputs + partial outputs, read and written) / (b B)

Turns lie between whole waves and drifting ones. Kernels choose: a block may pack at most ``decode_group`` query heads,
more take a block each ("lone" blocks, as where every query head has its own key head); some pack only if blocks of 128
keys reach ``decode_packed_units`` of the multiprocessors. Caches of fewer bits than the math are read by other kernels.

Reference: Dao, "FlashAttention-2", arXiv:2307.08691 (row tiles, causal tiles); Shah et al., "FlashAttention-3",
arXiv:2407.08608; Dao et al., "Flash-Decoding for long-context inference", 2023 (pieces, combining them).
FlashAttention-2, csrc/flash_attn/flash_api.cpp, ``mha_varlen_fwd`` (queries are copied so that heads of a key head are
rows; only then are contexts cut); TensorRT-LLM, decoderXQAConstants.h and decoderXQAImplJIT.cpp, ``mayHavePerfGain``
(packs if four times the pieces of 128 tokens reach the multiprocessors: decode_packed_units = 0.25); vLLM,
``flash_attn_max_num_splits_for_cuda_graph`` (at most 32 pieces).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from hardware_specs.dtypes import BITS, COMPUTE_DTYPES
from simulator.devices.priors import constant, free
from simulator.kernels.jit import law_kernel, law_part
from simulator.kernels.roofline import joined
from workloads.operator_record import OpKind

_MLA_DECODE, _BACKWARD = int(OpKind.MLA_DECODE), int(OpKind.ATTENTION_BACKWARD)
_BYTES: Final = np.array([BITS[dtype] / 8.0 for dtype in COMPUTE_DTYPES])

_LARGE, _SMALL = 128.0, 64.0
"""Query rows of the tiles that flash attention carries."""
_LEAST_KEYS = 64.0
"""Keys of the smallest tile, computed whole."""
_ROWS = 64.0
"""Query rows of a decode tile: one matrix instruction of a warp group, or of the four warps of a block."""
_HISTORY = 128.0
"""Keys of a piece, where a kernel counts pieces to decide whether it packs query heads."""
_PARTIAL_BYTES = 4.0
"""Bytes of an element of a partial output: fp32."""


@law_kernel
def cached_bytes(ops: Any, i: int) -> float:
    """Bytes of one cached element; a latent cache (MLA) is keys and values at once."""
    width = ops.k[i] if ops.kind[i] == _MLA_DECODE else ops.k[i] + ops.value_dim[i]
    queries = ops.write_bytes[i] * ops.k[i] / ops.value_dim[i]
    return (ops.read_bytes[i] - queries) / (ops.batch[i] * ops.kv_heads[i] * ops.n[i] * width)  # type: ignore[no-any-return]


@law_part
def turns(rounds: float) -> float:
    """Turns of blocks on the multiprocessors: at least one, then between whole waves and their share of one."""
    return max(1.0, rounds + 0.5 * min(1.0, rounds - 1.0))


@law_kernel
def prefill(p: Any, ops: Any, i: int) -> tuple[float, float, float, float]:
    """Seconds of flash attention.

    Returns:
        Seconds of math and of moving bytes, seconds of each call beside them, and the overlap exponent.
    """
    queries, width = ops.m[i], ops.k[i] + ops.value_dim[i]
    heads = ops.batch[i] * ops.heads[i]
    group = ops.heads[i] / ops.kv_heads[i]
    packed = group if group <= p.prefill_group else 1.0
    seen = ops.flops[i] / (2.0 * width * heads * queries)
    peak = p.peaks[ops.dtype[i]] / p.units
    small_share = p.prefill_small_flops / (p.prefill_small_flops + peak)
    share, softmax_flops = p.prefill_share, p.prefill_softmax_flops
    if ops.kind[i] != _BACKWARD and cached_bytes(ops, i) < 0.99 * _BYTES[ops.dtype[i]]:
        share *= p.prefill_narrow_share
        softmax_flops *= p.prefill_narrow_softmax
    row_key_s = 2.0 * width / (peak * share) + softmax_flops * p.units / p.vector_peak
    compute_s = np.inf
    for rows in (_LARGE, _SMALL):
        tiles = np.ceil(queries * packed / rows)
        key_s = rows * row_key_s / (1.0 if rows == _LARGE else small_share)
        keys = max(_LEAST_KEYS, seen + 0.5 * min(rows / packed, queries))
        longest_s = max(_LEAST_KEYS, min(ops.n[i], 2.0 * seen)) * key_s + p.prefill_block_s
        blocks = heads / packed * tiles
        total_s = blocks / p.units * (keys * key_s + p.prefill_block_s)
        tail_s = p.prefill_tail * longest_s if blocks > p.units else 0.0
        compute_s = min(compute_s, max(longest_s, total_s + tail_s))
    memory_s = (ops.read_bytes[i] + ops.write_bytes[i]) / (p.bandwidth * p.prefill_stream_share)
    return compute_s, memory_s, p.prefill_floor_s, p.prefill_overlap


@law_kernel
def decode(p: Any, ops: Any, i: int) -> tuple[float, float, float, float]:
    """Seconds of attention of few queries against a cache, absorbed latent attention (MLA) included.

    Returns:
        As ``prefill``.
    """
    keys, width, group = ops.n[i], ops.k[i], ops.heads[i] / ops.kv_heads[i]
    shared = ops.batch[i] * ops.kv_heads[i]
    stored = cached_bytes(ops, i)
    narrow = stored < 0.99 * _BYTES[ops.dtype[i]]
    few = not narrow and shared * max(1.0, np.floor(keys / _HISTORY)) < p.decode_packed_units * p.units
    lone = group == 1.0 or group > p.decode_group or few
    rows = ops.m[i] * (1.0 if lone else group)
    tiles = np.ceil(rows / _ROWS)
    blocks = tiles * shared * (group if lone else 1.0)
    start_s = p.decode_block_s + width * p.decode_width_s
    read_s = 2.0 * (width if ops.kind[i] == _MLA_DECODE else width + ops.value_dim[i]) * p.units
    read_s /= p.bandwidth * p.decode_unit_gain
    piece = p.decode_piece
    if narrow:
        read_s *= p.decode_narrow_read
    if lone:
        start_s *= p.decode_lone_block
        piece *= p.decode_lone_piece
    elif narrow:
        start_s *= p.decode_narrow_block
    start_s += min(rows, _ROWS) * width * p.decode_query_s
    math_s = 2.0 * _ROWS * (width + ops.value_dim[i]) * p.units / (p.peaks[ops.dtype[i]] * p.decode_math_share)
    stream = p.bandwidth * p.decode_stream_share
    moved = ops.read_bytes[i] + ops.write_bytes[i]
    outputs = ops.batch[i] * ops.m[i] * ops.heads[i] * ops.value_dim[i]
    fixed_s = p.decode_floor_s + (p.decode_lone_s if lone else 0.0)
    if group > 1.0 and ops.batch[i] > 1.0 and ops.kv_heads[i] > 1.0:
        fixed_s += p.decode_regroup_s
    units = p.units * p.decode_slots
    most = max(1.0, min(p.decode_pieces, keys / piece, units / blocks))
    tile_s = read_s + math_s
    whole_s = turns(blocks / units) * (start_s + max(p.decode_tile, keys) * tile_s)
    whole_bytes_s = moved / stream
    if most == 1.0:
        return whole_s, whole_bytes_s, fixed_s, p.decode_overlap
    pieces_s = turns(blocks * most / units) * (start_s + max(p.decode_tile, keys / most) * tile_s)
    pieces_bytes_s = (moved + 2.0 * most * outputs * _PARTIAL_BYTES) / stream
    gain_s = joined(whole_s, whole_bytes_s, p.decode_overlap) - joined(pieces_s, pieces_bytes_s, p.decode_overlap)
    if gain_s > p.decode_combine_s:
        return pieces_s, pieces_bytes_s, fixed_s + p.decode_combine_s, p.decode_overlap
    return whole_s, whole_bytes_s, fixed_s, p.decode_overlap


_PREFILL, _DECODE = ("attention_prefill",), ("attention_decode",)

PREFILL_PARAMETERS: Final = (
    free("prefill_share", "number", 0.85, 0.2, 1.0, _PREFILL, "share of the dense peak, softmax aside"),
    free("prefill_softmax_flops", "number", 14.0, 1.0, 60.0, _PREFILL, "vector FLOPs of softmax for a query and a key"),
    free("prefill_block_s", "s", 2e-6, 1e-8, 2e-5, _PREFILL, "start and end of a block of flash attention"),
    free("prefill_tail", "number", 0.5, 0.02, 1.0, _PREFILL, "part of the longest block that the others wait for"),
    free("prefill_small_flops", "flops", 1e13, 2e12, 2e14, _PREFILL, "peak of a unit that 64 rows use half of"),
    free("prefill_stream_share", "number", 0.55, 0.2, 1.0, _PREFILL, "share of the bandwidth in flash attention"),
    free("prefill_overlap", "number", 1.2, 1.0, 16.0, _PREFILL, "how well flash attention hides loads behind math"),
    free("prefill_floor_s", "s", 8e-6, 1e-6, 5e-5, _PREFILL, "shortest call of flash attention"),
    free("prefill_narrow_share", "number", 1.0, 0.2, 2.5, _PREFILL, "rate of products with a cache of fewer bits"),
    free("prefill_narrow_softmax", "number", 1.0, 0.05, 10.0, _PREFILL, "softmax then, over that of a wide cache"),
    constant("prefill_group", "number", 128.0, "most query heads of one key head that share a tile; 1: none do"),
)  # fmt: skip

DECODE_PARAMETERS: Final = (
    free("decode_floor_s", "s", 6e-6, 1e-6, 4e-5, _DECODE, "shortest decode attention"),
    free("decode_combine_s", "s", 4e-6, 1e-7, 3e-5, _DECODE, "combining the pieces of a context"),
    free("decode_block_s", "s", 1.5e-6, 1e-8, 2e-5, _DECODE, "start and end of a block of decode attention"),
    free("decode_width_s", "s", 5e-9, 1e-11, 1e-7, _DECODE, "start of a block for each element of the head width"),
    free("decode_query_s", "s", 2e-10, 1e-12, 5e-9, _DECODE, "loading and storing an element of a block's queries"),
    free("decode_math_share", "number", 0.6, 0.02, 1.0, _DECODE, "share of the dense peak of whole decode tiles"),
    free("decode_stream_share", "number", 0.9, 0.4, 1.0, _DECODE, "share of the bandwidth that caches are read at"),
    free("decode_overlap", "number", 2.5, 1.0, 20.0, _DECODE, "how well blocks and memory overlap"),
    free("decode_piece", "number", 64.0, 16.0, 1e6, _DECODE, "shortest piece of a context, in tokens"),
    free("decode_pieces", "number", 32.0, 1.0, 256.0, _DECODE, "most pieces of a context"),
    free("decode_tile", "number", 64.0, 1.0, 256.0, _DECODE, "tokens that a block reads at least"),
    free("decode_slots", "number", 1.0, 0.4, 8.0, _DECODE, "blocks that run side by side on a multiprocessor"),
    free("decode_regroup_s", "s", 1e-7, 1e-9, 2e-5, _DECODE, "copying queries so that heads of a key head are rows"),
    free("decode_narrow_block", "number", 1.0, 0.1, 3.0, _DECODE, "start of a block that reads a narrow cache"),
    free("decode_narrow_read", "number", 2.0, 0.3, 30.0, _DECODE, "time to load an element of a narrow cache"),
    free("decode_lone_block", "number", 1.0, 0.1, 3.0, _DECODE, "start of a block of one query head over others"),
    free("decode_lone_piece", "number", 1.0, 0.5, 1e4, _DECODE, "shortest piece for one query head over others"),
    free("decode_lone_s", "s", 1e-7, 1e-9, 6e-6, _DECODE, "more floor of blocks of one query head"),
    constant("decode_unit_gain", "number", 16.0, "bandwidth that a block alone can draw, in fair shares"),
    constant("decode_group", "number", 128.0, "most query heads of one key head that a block packs"),
    constant("decode_packed_units", "number", 0.0, "share of units that pieces must reach before heads are packed"),
)  # fmt: skip
