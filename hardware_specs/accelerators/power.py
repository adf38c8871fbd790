"""Power at full load: math, on-chip and off-chip traffic, links, and what flows whatever is done.

    TDP = datapath (products + lanes) + busy x SRAM traffic + memory + links + static x die

Energies of operations are those of Horowitz, ISSCC 2014, doi:10.1109/ISSCC.2014.6757323, as Jouppi et al., ISCA 2021,
doi:10.1109/ISCA52012.2021.00010, bring them to 7nm; they scale with the node. There is no curve of voltage over clock.
"""

from __future__ import annotations

from hardware_specs.accelerators.records import Coefficients, Design
from hardware_specs.dtypes import BITS

_LANE_BYTES = 12.0
"""Bytes that a vector lane moves in a cycle: two loads and a store of fp32. With it the 1,024 lanes of a TPU v5e at 1.5
GHz take in the 18 TB/s that its documents give for VMEM."""
_SUM_BYTES = 4.0
"""Bytes of a sum that leaves a column of an array each cycle."""


def sram_bytes_per_s(design: Design) -> float:
    """Bandwidth of the on-chip memory [B/s]: as designed, else what lanes and the edges of arrays take in and give."""
    if design.sram_bytes_per_s is not None:
        return design.sram_bytes_per_s
    edge = design.array_rows * operand_bytes(design) + design.array_cols * _SUM_BYTES
    return design.clock_hz * (design.lanes * _LANE_BYTES + design.arrays * edge)


def operand_bytes(design: Design) -> float:
    """Most bytes of operands that one row of an array takes in per cycle."""
    return max(rate * BITS[dtype] / 8.0 for dtype, rate in design.rates.items())


def memory_bytes_per_s(design: Design, known: Coefficients) -> float:
    """Bandwidth of the main memory [B/s]."""
    if design.sram_resident:
        return sram_bytes_per_s(design)
    stack = design.stack_bytes_per_s or known.memories[design.memory].bandwidth.value
    return design.stacks * stack


def memory_bytes(design: Design, known: Coefficients) -> float:
    """Capacity of the main memory [B]."""
    if design.sram_resident:
        return design.sram_bytes
    return design.stacks * (design.stack_bytes or known.memories[design.memory].capacity.value)


def power_parts(design: Design, known: Coefficients, die_mm2: float) -> dict[str, float]:
    """Power by user at full load [W]: arrays, vector, sram, memory, links, static."""
    scale = known.nodes[design.node].energy.value
    switching = known.switching
    math = scale * switching.datapath.value * design.clock_hz
    cell = max(rate * known.products[dtype].energy.value for dtype, rate in design.rates.items())
    moved = switching.sram_busy.value * sram_bytes_per_s(design)
    return {
        "arrays": design.cells * cell * math,
        "vector": design.lanes * switching.lane.value * math,
        "sram": moved * switching.sram.value * scale,
        "memory": 0.0 if design.sram_resident else _memory_w(design, known),
        "links": _links_w(design, known),
        "static": switching.static_w_per_mm2.value * die_mm2,
    }


def _memory_w(design: Design, known: Coefficients) -> float:
    return memory_bytes_per_s(design, known) * known.memories[design.memory].energy.value


def _links_w(design: Design, known: Coefficients) -> float:
    reach = "package" if design.link_reach == "package" else known.nodes[design.node].serdes
    return design.links * design.link_bytes_per_s * known.links[reach].energy.value
