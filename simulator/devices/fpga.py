"""FPGAs: instruction-driven overlays and spatial dataflow, on the lanes, channels and clock of the design placed.

A board alone is priced as a typical overlay on it; a design (``hardware_specs.designs``) names its own lanes, clock and
channels, and how it runs:

- Overlay: one set of lanes takes instruction after instruction. A product fills lanes by columns and depth and reads
  its weights once for every ``rows_at_once`` rows (one, where tokens of a prompt pass one by one); each such pass is an
  instruction of ``floor_s``. Where attention takes heads one after the other each costs a fixed time.
- Spatial dataflow: every operator of a block is a stage with lanes and ports of its own, so a token sees only the ports
  of the stage that it is in, of ``port_bytes_per_s`` each: a product [k, n] has max(n, k) / min(n, k) of them, the rule
  that gives all stages of a block the same initiation interval. Further rows follow an interval apart; what that costs
  the whole pipeline is shared by its S ``stages``: t(m) = t(1) (1 + (m - 1) / S).

Weights are unpacked on their way into the lanes, which takes no time of its own.

Reference: Zeng et al., "FlightLLM", FPGA 2024, arXiv:2401.03868; Hong et al., "DFX", MICRO 2022, arXiv:2209.10797;
Chen et al., "Understanding the Potential of FPGA-Based Spatial Acceleration", TRETS 2024, doi:10.1145/3656177.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hardware_specs.facts import Fit
from simulator.devices.priors import COMMON, constant
from simulator.devices.registry import Law, register
from simulator.kernels.jit import law_kernel, law_part
from simulator.kernels.roofline import (
    ATTENTION_DECODE,
    ATTENTION_PREFILL,
    COLLECTIVE,
    MOE,
    bytes_s,
    family_of,
    is_resident,
    padded,
    settle,
)

Parts = tuple[float, float, float]


@law_part
def activations_s(p: Any, ops: Any, i: int, share: float) -> float:
    """Seconds of what operator ``i`` reads and writes beside weights, at ``share`` of what it lies in delivers."""
    fast = p.cache_bandwidth if is_resident(ops, i, p) else p.bandwidth
    return (ops.read_bytes[i] + ops.write_bytes[i]) / (fast * share)  # type: ignore[no-any-return]


@law_part
def port_bandwidth(p: Any, n: float, k: float) -> float:
    """Bandwidth of the ports of one product's stage, no more than the board's [B/s]."""
    ports = np.round(max(n, k) / min(n, k))
    return min(ports * p.port_bytes_per_s, p.bandwidth)  # type: ignore[no-any-return]


@law_part
def gemm(p: Any, ops: Any, i: int) -> Parts:
    """Seconds of math and memory, and of issuing, of a product."""
    rows = ops.m[i] / ops.batch[i] if family_of(ops.kind[i]) == MOE else ops.m[i]
    n, k = ops.n[i], ops.k[i]
    share = p.gemm_share * n / padded(n, p.column_tile) * k / (k + p.depth_half)
    compute_s = ops.flops[i] / (p.peaks[ops.dtype[i]] * share)
    moved_s = activations_s(p, ops, i, p.stream_share)
    if p.stages > 0.0:
        weights_s = ops.weight_bytes[i] / (port_bandwidth(p, n, k) * p.stream_share)
        return compute_s, weights_s * (1.0 + max(rows - 1.0, 0.0) / p.stages) + moved_s, p.floor_s
    passes = np.ceil(max(rows, 1.0) / p.rows_at_once)
    return compute_s, passes * ops.weight_bytes[i] / (p.bandwidth * p.stream_share) + moved_s, passes * p.floor_s


@law_part
def attention(p: Any, ops: Any, i: int) -> Parts:
    """Seconds of math and memory, and of issuing, of attention; heads of each pass one after the other."""
    compute_s = ops.flops[i] / (p.peaks[ops.dtype[i]] * p.attention_share)
    memory_s = ops.weight_bytes[i] / (p.bandwidth * p.kv_share) + activations_s(p, ops, i, p.kv_share)
    passes = np.ceil(max(ops.m[i], 1.0) / p.rows_at_once) * ops.batch[i]
    return compute_s, memory_s, p.floor_s + passes * ops.heads[i] * p.attention_head_s


@law_part
def vector(p: Any, ops: Any, i: int) -> Parts:
    """Seconds of math and memory, and of issuing, of elementwise operators."""
    compute_s = ops.vector_flops[i] / (p.vector_peak * p.vector_share)
    memory_s = ops.weight_bytes[i] / (p.bandwidth * p.vector_share) + activations_s(p, ops, i, p.vector_share)
    return compute_s, memory_s, p.floor_s


@law_kernel
def cost(ops: Any, which: Any, records: Any, out: Any) -> None:
    """Price all operators on all devices; see ``Law.cost``."""
    for d in range(out.shape[0]):
        for i in range(ops.kind.shape[0]):
            p = records[which[d, i]]
            family = family_of(ops.kind[i])
            if family >= COLLECTIVE:
                out[d, :, i] = 0.0
                continue
            if family in (ATTENTION_PREFILL, ATTENTION_DECODE):
                parts = attention(p, ops, i)
            elif ops.flops[i] > 0.0:
                parts = gemm(p, ops, i)
            else:
                parts = vector(p, ops, i)
            settle(ops, i, p, parts[0], parts[1], parts[2], p.overlap_exponent, bytes_s(ops, i, p), out[d])


FITS = (
    Fit(
        "fpga-stream", ("accelerators_extra", "fpga"), date="2026-11-26",
        rule="stream_share by hand: published boards reach 0.43 (FlightLLM, sparse) to 0.9 of the nominal bandwidth",
        devices=("alveo-u280",),
    ),
)  # fmt: skip
"""Measured rows that class priors of this law were set from."""

LAW = register(
    Law(
        "fpga",
        (
            *COMMON,
            constant("gemm_share", "number", 0.35, "share of the DSP peak that a placed overlay sustains"),
            constant("depth_half", "number", 64.0, "k at which a product reaches half its rate"),
            constant("column_tile", "number", 64.0, "output lanes of the overlay"),
            constant("attention_share", "number", 0.20, "share of the DSP peak that attention sustains"),
            constant("stream_share", "number", 0.55, "share of the bandwidth that the channel mapping reaches"),
            constant("kv_share", "number", 0.50, "share of the bandwidth that decode attention reads the cache at"),
            constant("vector_share", "number", 0.40, "share of bandwidth and vector rate of elementwise operators"),
            constant("overlap_exponent", "number", 2.0, "how well compute hides memory time"),
            constant("floor_s", "s", 2.0e-6, "shortest operator: instruction issue and pipeline fill"),
            constant("rows_at_once", "number", 1e9, "rows that one reading of the weights serves"),
            constant("attention_head_s", "s", 0.0, "instructions of one head, where heads follow each other"),
            constant("stages", "number", 0.0, "stages of a block in spatial dataflow; 0 for an overlay"),
            constant("port_bytes_per_s", "bytes_per_s", 1.4e10, "one port of a stage: a channel of HBM"),
        ),
        cost,
        "overlay lanes or dataflow stages, memory channels",
        FITS,
    )
)
