"""FPGAs as instruction-driven overlays: DSP lanes at the achieved clock, HBM or DDR channels, on-chip buffers.

Lanes are filled row by row (a decode step uses a single row of a product), so products run at the share of lanes that
the placed overlay has and memory at what the channel mapping reaches. Reference: Zeng et al., "FlightLLM", FPGA 2024,
arXiv:2401.03868; Hong et al., "DFX", MICRO 2022, arXiv:2209.10797.
"""

from __future__ import annotations

from typing import Any

from simulator.devices.priors import COMMON, constant
from simulator.devices.registry import Law, register
from simulator.kernels.jit import law_kernel
from simulator.kernels.roofline import ATTENTION_DECODE, ATTENTION_PREFILL, VECTOR, family_of, padded, price


@law_kernel
def cost(ops: Any, which: Any, records: Any, out: Any) -> None:
    """Price all operators on all devices; see ``Law.cost``."""
    for d in range(out.shape[0]):
        for i in range(ops.kind.shape[0]):
            p = records[which[d, i]]
            family = family_of(ops.kind[i])
            share, stream = p.gemm_share, p.stream_share
            if family in (ATTENTION_PREFILL, ATTENTION_DECODE):
                share, stream = p.attention_share, p.kv_share
            elif family == VECTOR:
                stream = p.vector_share
            elif ops.flops[i] > 0.0:
                share = p.gemm_share * ops.n[i] / padded(ops.n[i], p.column_tile)
                share *= ops.k[i] / (ops.k[i] + p.depth_half)
            price(ops, i, p, share, stream, p.floor_s, p.overlap_exponent, out[d])


LAW = register(
    Law(
        "fpga",
        (
            *COMMON,
            constant("gemm_share", "number", 0.35, "share of the DSP peak that a placed overlay sustains"),
            constant("depth_half", "number", 64.0, "k at which a product reaches half its rate"),
            constant("column_tile", "number", 64.0, "output lanes of the overlay"),
            constant("attention_share", "number", 0.20, "share of the DSP peak that attention sustains"),
            constant("stream_share", "number", 0.65, "share of the bandwidth that the channel mapping reaches"),
            constant("kv_share", "number", 0.50, "share of the bandwidth that decode attention reads the cache at"),
            constant("vector_share", "number", 0.40, "share of bandwidth and vector rate of elementwise operators"),
            constant("dequantize_share", "number", 1.0, "unpacking is wired into the lanes"),
            constant("overlap_exponent", "number", 2.0, "how well compute hides memory time"),
            constant("floor_s", "s", 2.0e-6, "shortest operator: instruction issue and pipeline fill"),
        ),
        cost,
        "overlay lanes, memory channels",
    )
)
