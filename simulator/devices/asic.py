"""AI ASICs: HBM systolic parts (Gaudi, Trainium, Tenstorrent), SRAM-resident spatial parts, NPUs of laptops.

Products run on systolic arrays (``simulator.devices.systolic``), with what sets each kind apart:

- SRAM-resident parts (Groq, Cerebras, Graphcore) hold every weight beside the unit that multiplies it: arrays of one,
  no tile to load. The bandwidth of their SRAM is hardly ever the bound (an 8B model on a wafer runs at a thousandth of
  it): a static schedule issues each operator and its operands hop across the chip, ``floor_s``. A model takes as many
  chips as hold it, see ``chips_needed``; layers follow each other over them.
- Parts that multiply narrow weights at full width lay them out again before a product of many rows, once a call, at
  ``repack_bytes_per_s`` of the packed bytes: 0 where they do not. A product of few rows unpacks them on the way.
- Stacks that capture the steps of decode alone launch each operator of a prompt from the host, ``prompt_launch_s``;
  kernels that are timed alone, with no gap between them, leave that out.
- Scans of prompts have a kernel (``ttnn.experimental.prefix_scan`` of tt-metal); a step of a state space is elementwise
  passes over the state, ``scan_share`` of the vector rate.

Reference: Lie, "Cerebras Architecture Deep Dive", IEEE Micro 2023, doi:10.1109/MM.2023.3256384; Abts et al., "Think
Fast", ISCA 2020, doi:10.1109/ISCA45697.2020.00023, and ISCA 2022, doi:10.1145/3470496.3527405.
"""

from __future__ import annotations

import math
from typing import Any, Final

from hardware_specs.errors import InputError
from hardware_specs.facts import Fit
from hardware_specs.records import DeviceSpec
from simulator.devices.priors import COMMON, constant, is_sram_resident
from simulator.devices.registry import Law, Parameter, register
from simulator.devices.systolic import array_parameters, attention_share, gemm_share
from simulator.kernels.jit import law_kernel
from simulator.kernels.roofline import (
    ATTENTION_DECODE,
    ATTENTION_PREFILL,
    MOE,
    VECTOR,
    family_of,
    price,
)
from workloads.operators import OpKind

FEW_ROWS: Final = 16.0
"""Rows up to which a product unpacks its weights on the way."""
PROMPT_ROWS: Final = 32.0
"""Rows beyond which an operator is one of a prompt: such stacks decode at most 32 users a chip."""
_SCAN: Final = int(OpKind.SSM_SCAN)


@law_kernel
def repack_s(p: Any, ops: Any, i: int, rows: float) -> float:
    """Seconds in which the packed weights of a product are laid out again before it runs."""
    if p.repack_bytes_per_s <= 0.0 or not ops.dequantize[i] or rows <= FEW_ROWS:
        return 0.0
    return ops.weight_bytes[i] / p.repack_bytes_per_s / ops.calls[i]  # type: ignore[no-any-return]


@law_kernel
def cost(ops: Any, which: Any, records: Any, out: Any) -> None:
    """Price all operators on all devices; see ``Law.cost``."""
    for d in range(out.shape[0]):
        for i in range(ops.kind.shape[0]):
            p = records[which[d, i]]
            family = family_of(ops.kind[i])
            share, stream, fixed_s = p.gemm_share, p.stream_share, p.floor_s
            if ops.flops[i] > 0.0 and ops.m[i] > PROMPT_ROWS and p.gap_s > 0.0:
                fixed_s += p.prompt_launch_s
            if family == ATTENTION_PREFILL:
                share = attention_share(p, ops.m[i], ops.n[i], ops.k[i])
            elif family == ATTENTION_DECODE:
                share, stream = p.attention_share * 0.25, p.kv_share
            elif family == VECTOR:
                stream = p.vector_share
                if ops.kind[i] == _SCAN and ops.m[i] <= ops.batch[i]:
                    fixed_s += ops.vector_flops[i] / (p.vector_peak * p.scan_share)
            elif ops.flops[i] > 0.0:
                rows = ops.m[i] / ops.batch[i] if family == MOE else ops.m[i]
                share = gemm_share(p, ops.dtype[i], rows, ops.n[i], ops.k[i], max(1.0, ops.batch[i] / ops.calls[i]))
                fixed_s += repack_s(p, ops, i, rows)
            price(ops, i, p, share, stream, fixed_s, p.overlap_exponent, out[d])


def issue_s(spec: DeviceSpec) -> float:
    """Shortest operator [s]: on SRAM-resident spatial parts the hops across the chip dominate."""
    return 2.5e-6 if is_sram_resident(spec) else 3.0e-6


def repack_bytes_per_s(spec: DeviceSpec) -> float:
    """Rate at which packed weights are laid out again [B/s]: the NPUs of laptops and phones do so."""
    return 5.0e9 if "LPDDR" in spec.memory.kind else 0.0


def unpack_share(spec: DeviceSpec) -> float:
    """Share of the vector rate at which weights are unpacked; beside each unit of SRAM-resident parts it is wired."""
    return 1e3 if is_sram_resident(spec) else 0.25


def shape_of(parameter: Parameter) -> Parameter:
    """Array shape of HBM parts; SRAM-resident parts hold every weight beside the unit that multiplies it.

    They need no tile of weights to be loaded and no rows to fill it: arrays of one.
    """

    def prior(spec: DeviceSpec) -> float:
        return 1.0 if is_sram_resident(spec) else parameter.prior(spec)

    return parameter._replace(prior=prior)


PROGRAM_SHARE: Final = 0.1
"""Part of the SRAM of a chip that its program and buffers of transfers take. Assumed: not published."""


def chips_needed(weight_bytes: float, cache_bytes: float, activation_bytes: float, spec: DeviceSpec) -> int:
    """Chips whose own memory holds a model: its weights and caches are shared out, activations are on each.

    ceil((weights + caches) / (capacity (1 - program share) - activations))

    Raises:
        InputError: activations and program alone fill a chip; or a size below zero.
    """
    if min(weight_bytes, cache_bytes, activation_bytes) < 0.0:
        raise InputError("bytes of a model on chips must be 0 or more")
    free = spec.memory.capacity.value * (1.0 - PROGRAM_SHARE) - activation_bytes
    if free <= 0.0:
        raise InputError(f"{spec.id}: activations of {activation_bytes:.3g} B and the program leave nothing of a chip")
    return max(1, math.ceil((weight_bytes + cache_bytes) / free))


FITS = (
    Fit(
        "asic-scans", ("tenstorrent",), date="2026-11-26",
        rule="scan_share by hand, rounded: the steps of Mamba on Wormhole run their scans at 7 thousandths",
        devices=("wormhole-n150",), rows=2,
    ),
    Fit(
        "npu-repack", ("accelerators_extra",), date="2026-11-26",
        rule="repack_bytes_per_s by hand: what prompts of 1,024 tokens take beyond half of 2,048, over the weights",
        devices=("xdna2-kraken",),
    ),
)  # fmt: skip
"""Measured rows that class priors of this law were set from."""

LAW = register(
    Law(
        "asic",
        (
            *(parameter for parameter in COMMON if parameter.name != "units"),
            *map(shape_of, array_parameters(64.0, 64.0)),
            constant("gemm_share", "number", 0.72, "share of the dense peak that large products sustain"),
            shape_of(constant("row_tile", "number", 8.0, "rows are padded to the lanes")),
            constant("attention_share", "number", 0.30, "share of the dense peak that fused attention sustains"),
            constant("stream_share", "number", 0.85, "share of the bandwidth that weights stream at"),
            constant("kv_share", "number", 0.70, "share of the bandwidth that decode attention reads the cache at"),
            constant("vector_share", "number", 0.60, "share of bandwidth and vector rate of elementwise operators"),
            Parameter("dequantize_share", "number", unpack_share, "share of the vector rate of weight unpacking"),
            constant("scan_share", "number", 7e-3, "share of the vector rate of steps of a state space"),
            constant("overlap_exponent", "number", 3.0, "how well compute hides memory time"),
            Parameter("floor_s", "s", issue_s, "shortest operator: issue, DMA and hops"),
            constant("prompt_launch_s", "s", 0.0, "launching an operator of a prompt, where those are not captured"),
            Parameter(
                "repack_bytes_per_s", "bytes_per_s", repack_bytes_per_s, "laying packed weights out again; 0: none"
            ),
        ),
        cost,
        "systolic padding, issue and hop latency",
        FITS,
    )
)
