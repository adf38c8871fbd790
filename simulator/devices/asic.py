"""AI ASICs: HBM systolic parts (Gaudi, Trainium, Tenstorrent), SRAM-resident spatial parts, NPUs of laptops.

Products run on systolic arrays (``simulator.devices.systolic``), with what sets each kind apart:

- SRAM-resident parts (Groq, Cerebras, Graphcore) hold every weight beside the unit that multiplies it: arrays of one,
  no tile to load. The bandwidth of their SRAM is hardly ever the bound (an 8B model on a wafer runs at a thousandth of
  it): a static schedule issues each operator and its operands hop across the chip, ``floor_s``. A model takes as many
  chips as hold it, see ``chips_needed``; layers follow each other over them.
- Arrays of AI Engines (NPUs of AMD's laptops) are columns of tiles, each with its own DMA to memory. Heads of the cache
  are dealt to columns: fewer of them leave columns idle in decode, ``cache_ports`` (on Tenstorrent's grids, to groups
  of 16 cores: a chip's cores over ``max_cores_per_head_batch`` of ttnn). Products of prompts are padded to
  what all columns take at once, ``width_tile``, and are programs that the host submits one after the other: each call
  (of an expert, say) waits for ``prompt_launch_s``, each operator for ``prompt_setup_s``. Decode is one program.
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
from simulator.kernels.jit import law_kernel, law_part
from simulator.kernels.roofline import (
    ATTENTION_DECODE,
    ATTENTION_PREFILL,
    MOE,
    VECTOR,
    family_of,
    padded,
    price,
)
from workloads.operators import OpKind

PROMPT_ROWS: Final = 32.0
"""Rows beyond which an operator is one of a prompt: such stacks decode at most 32 users a chip."""
COLUMN_WIDTH: Final = 128.0
"""Outputs of a product that a column of AI Engines takes at once, and inputs."""
_SCAN: Final = int(OpKind.SSM_SCAN)


@law_part
def useful_width(p: Any, n: float, k: float) -> float:
    """Share of a product of a prompt that is no padding to what the columns of the array take at once."""
    if p.width_tile <= 1.0:
        return 1.0
    return n * k / (padded(n, p.width_tile) * padded(k, p.width_tile))  # type: ignore[no-any-return]


@law_part
def used_ports(p: Any, sequences: float, kv_heads: float) -> float:
    """Share of the ports to memory that read a cache: those to which a head of a sequence is dealt."""
    if p.cache_ports <= 1.0:
        return 1.0
    heads = sequences * kv_heads
    return heads / padded(heads, p.cache_ports)  # type: ignore[no-any-return]


@law_kernel
def cost(ops: Any, which: Any, records: Any, out: Any) -> None:
    """Price all operators on all devices; see ``Law.cost``."""
    for d in range(out.shape[0]):
        for i in range(ops.kind.shape[0]):
            p = records[which[d, i]]
            family = family_of(ops.kind[i])
            share, stream, fixed_s = p.gemm_share, p.stream_share, p.floor_s
            prompt = ops.flops[i] > 0.0 and ops.m[i] > PROMPT_ROWS
            if prompt and p.gap_s > 0.0:
                fixed_s += p.prompt_launch_s + p.prompt_setup_s / ops.calls[i]
            if family == ATTENTION_PREFILL:
                share = attention_share(p, ops.m[i], ops.n[i], ops.k[i])
            elif family == ATTENTION_DECODE:
                share, stream = p.attention_share * 0.25, p.kv_share
                stream *= used_ports(p, ops.batch[i], ops.kv_heads[i])
            elif family == VECTOR:
                stream = p.vector_share
                if ops.kind[i] == _SCAN and ops.m[i] <= ops.batch[i]:
                    fixed_s += ops.vector_flops[i] / (p.vector_peak * p.scan_share)
            elif ops.flops[i] > 0.0:
                rows = ops.m[i] / ops.batch[i] if family == MOE else ops.m[i]
                share = gemm_share(p, ops.dtype[i], rows, ops.n[i], ops.k[i], max(1.0, ops.batch[i] / ops.calls[i]))
                share *= useful_width(p, ops.n[i], ops.k[i]) if prompt else 1.0
            price(ops, i, p, share, stream, fixed_s, p.overlap_exponent, out[d])


def issue_s(spec: DeviceSpec) -> float:
    """Shortest operator [s]: on SRAM-resident spatial parts the hops across the chip dominate."""
    return 2.5e-6 if is_sram_resident(spec) else 3.0e-6


def columns(spec: DeviceSpec) -> float:
    """Columns of an array of AI Engines; 1 on all else."""
    return spec.compute.units.value if spec.compute.units and spec.compute.unit_name == "column" else 1.0


def stream_share(spec: DeviceSpec) -> float:
    """Share of the memory bandwidth that weights stream at: the DMAs of columns reach little more than half."""
    return 0.54 if columns(spec) > 1.0 else 0.85


def width_tile(spec: DeviceSpec) -> float:
    """Inputs and outputs that products of prompts are padded to: 128 for each column."""
    return COLUMN_WIDTH * columns(spec) if columns(spec) > 1.0 else 1.0


def prompt_launch_s(spec: DeviceSpec) -> float:
    """Launching a call of a prompt [s]: FastFlowLM submits each program to the columns and waits for it.

    4,900 of them, an expert each, take 2.7 s: https://github.com/ROCm/FastFlowLM/issues/710.
    """
    return 0.55e-3 if columns(spec) > 1.0 else 0.0


def prompt_setup_s(spec: DeviceSpec) -> float:
    """Changing the array to the programs of another operator of a prompt [s]."""
    return 4.5e-3 if columns(spec) > 1.0 else 0.0


def unpack_share(spec: DeviceSpec) -> float:
    """Share of the vector rate at which weights are unpacked; beside each unit of SRAM-resident parts it is wired.

    Each tile of AI Engines has its vector unit unpack what its column's DMA brings. Assumed: at its full rate.
    """
    if is_sram_resident(spec):
        return 1e3
    return 1.0 if columns(spec) > 1.0 else 0.25


def shape_of(parameter: Parameter) -> Parameter:
    """Array shape of HBM parts; SRAM-resident parts hold every weight beside the unit that multiplies it, and the
    vector units of AI Engines take weights as they come.

    They need no tile of weights to be loaded and no rows to fill it: arrays of one.
    """

    def prior(spec: DeviceSpec) -> float:
        return 1.0 if is_sram_resident(spec) or columns(spec) > 1.0 else parameter.prior(spec)

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
        "npu-columns", ("accelerators_extra",), date="2026-11-26", devices=("xdna2-kraken",), rows=78,
        rule="prompt_setup_s and the width of a column, rounded: prompts of 13 dense models under FastFlowLM as sums "
        "of layers, FLOPs of products and FLOPs of attention (non-negative least squares of relative errors); "
        "stream_share as the factor of gemv that npu-edge-2025 was fitted with on their decode",
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
            Parameter("stream_share", "number", stream_share, "share of the bandwidth that weights stream at"),
            constant("kv_share", "number", 0.70, "share of the bandwidth that decode attention reads the cache at"),
            constant("vector_share", "number", 0.60, "share of bandwidth and vector rate of elementwise operators"),
            Parameter("dequantize_share", "number", unpack_share, "share of the vector rate of weight unpacking"),
            constant("scan_share", "number", 7e-3, "share of the vector rate of steps of a state space"),
            constant("overlap_exponent", "number", 3.0, "how well compute hides memory time"),
            Parameter("floor_s", "s", issue_s, "shortest operator: issue, DMA and hops"),
            Parameter("prompt_launch_s", "s", prompt_launch_s, "launching a call of a prompt that is not captured"),
            Parameter("prompt_setup_s", "s", prompt_setup_s, "changing the array to another operator of a prompt"),
            Parameter("cache_ports", "number", columns, "ports to memory that heads of the cache are dealt to"),
            Parameter("width_tile", "number", width_tile, "widths of products of prompts are padded to it"),
        ),
        cost,
        "systolic padding, issue and hop latency",
        FITS,
    )
)
