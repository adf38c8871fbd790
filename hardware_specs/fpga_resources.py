"""What an accelerator takes of the fabric of an FPGA, and what a board has.

A multiply-add takes DSP slices by its width: one slice multiplies 27 x 18 bits, which holds two products of 8 bits that
share an operand, or four of 4 bits::

    fp32 5    fp16, bf16 2    int8 1/2    int4 1/4    [slices a multiply-add and cycle]

Reference: AMD/Xilinx, "Deep Learning with INT8 Optimization on Xilinx Devices", WP486, 2017; "Convolutional Neural
Network with INT4 Optimization on Xilinx Devices", WP521, 2020; "Floating-Point Operator", PG060 (multiplier and adder
of single precision: 3 + 2 slices; half precision: 1 + 1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from hardware_specs.facts import Number
from hardware_specs.records import DeviceSpec

SLICES: Final = {
    "fp64": 11.0,
    "fp32": 5.0,
    "tf32": 2.0,
    "fp16": 2.0,
    "bf16": 2.0,
    "fp8": 1.0,
    "int8": 0.5,
    "int4": 0.25,
}
"""DSP slices of a multiply-add a cycle; fp64: 8 + 3."""
_BLOCKS: Final = re.compile(r"([\d,.]+)\s*(BRAM36|URAM|M20K)", re.IGNORECASE)


class Resources(msgspec.Struct, frozen=True):
    """What a design takes: DSP slices, look-up tables, memory blocks of 36 kbit (``bram``) and 288 kbit (``uram``), and
    the super logic regions (dies) that it lies on."""

    dsp: Number | None = None
    lut: Number | None = None
    bram: Number | None = None
    uram: Number | None = None
    slr: Number | None = None


class Use(NamedTuple):
    """One resource: what is needed of it and what there is."""

    resource: str
    needed: float
    available: float

    @property
    def fits(self) -> bool:
        """Whether there is enough."""
        return self.needed <= self.available

    @property
    def words(self) -> str:
        """What is needed of what there is, and how many times that is."""
        there = f"of {self.available:,.0f}, {self.needed / self.available:.2f} times" if self.available else "of none"
        return f"{self.resource} {self.needed:,.0f} {there}"


def slices_of(lanes: Mapping[str, Number]) -> float:
    """DSP slices of the widest array of ``lanes`` (multiply-adds a cycle by dtype, on the same slices)."""
    return max((count.value * SLICES[dtype] for dtype, count in lanes.items() if dtype in SLICES), default=0.0)


def needs_of(lanes: Mapping[str, Number], stated: Resources) -> dict[str, float]:
    """What an array of ``lanes`` needs by resource; published figures go before derived ones."""
    needs = {"DSP": stated.dsp.value if stated.dsp else slices_of(lanes)}
    for name, fact in (("LUT", stated.lut), ("BRAM", stated.bram), ("URAM", stated.uram)):
        if fact:
            needs[name] = fact.value
    if stated.slr:
        needs["SLR"] = stated.slr.value
        needs["DSP per SLR"] = needs["DSP"] / stated.slr.value
    return needs


def resources_of(board: DeviceSpec) -> dict[str, float]:
    """What ``board`` has by resource, as far as its file says."""
    logic = board.logic
    found = {name: fact.value for name, fact in (("LUT", logic.luts), ("DSP", logic.dsps), ("SLR", logic.slrs)) if fact}
    if logic.slrs and logic.dsps:
        found["DSP per SLR"] = logic.dsps.value / logic.slrs.value
    for count, kind in _BLOCKS.findall(logic.on_chip_ram):
        found[{"bram36": "BRAM", "uram": "URAM", "m20k": "M20K"}[kind.lower()]] = float(count.replace(",", ""))
    return found
