"""Designs of FPGAs: what a bitstream makes of a board, named ``<board>:<design>`` as partitions of a device are.

A board has DSP slices, memory blocks and channels; how many multiply-adds a cycle a design places, at which clock it
closes timing and which channels it reads its weights from are facts of the design. On its board it has::

    peak of a dtype    2 x lanes x clock
    bandwidth          channels x that of one channel, or as stated; no more than the board's

A design may be placed on another board than its own where the board has what it needs: see
``hardware_specs.fpga_resources``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from hardware_specs.catalogue import Catalogue
from hardware_specs.errors import InputError
from hardware_specs.facts import AnyFact, BytesPerSecond, Fact, Hertz, Mark, Number
from hardware_specs.fpga_resources import Resources, Use, needs_of, resources_of
from hardware_specs.records import Compute, DeviceSpec

SEPARATOR = ":"
"""Between the name of a board and a design: ``alveo-u280:dfx``."""


class FpgaDesign(msgspec.Struct, frozen=True):
    """One accelerator as its makers describe it.

    ``boards`` are those it was built for, ``engines`` what people write for it, in lower case. ``style`` is "overlay",
    one set of lanes under instructions, or "dataflow", a stage of its own for each operator of a layer. ``lanes`` are
    multiply-adds a cycle by dtype. ``channels`` are the memory channels that weights are read from, ``channel`` what
    one delivers; ``bandwidth`` stands for both where that is what the source gives. ``resources`` is what it takes of
    the fabric as published. ``parameters`` replace law parameters of the board.
    """

    id: str
    name: str
    boards: tuple[str, ...]
    engines: tuple[str, ...]
    style: Literal["overlay", "dataflow"]
    clock: Hertz
    lanes: dict[str, Number]
    year: int
    channels: Number | None = None
    channel: BytesPerSecond | None = None
    bandwidth: BytesPerSecond | None = None
    resources: Resources = Resources()
    parameters: dict[str, AnyFact] = {}
    notes: str = ""


_CATALOGUE = Catalogue("design", FpgaDesign, Path(__file__).parent / "data" / "designs")


def design_names() -> tuple[str, ...]:
    """All designs, sorted."""
    return _CATALOGUE.names()


def load_design(name: str) -> FpgaDesign:
    """The design called ``name``.

    Raises:
        UnknownName: no such design.
        InputError: a broken file.
    """
    return _CATALOGUE.load(name)


def takes_designs(board: DeviceSpec) -> bool:
    """Whether what follows the separator in a device's name is a design, and no partition."""
    return board.device_class == "fpga"


def design_for(board: str, engine: str) -> str:
    """The design that ``engine`` names on a board, as a device's name; ``board`` itself where there is none."""
    words = engine.lower()
    for name in design_names():
        design = load_design(name)
        if board in design.boards and any(alias in words for alias in design.engines):
            return f"{board}{SEPARATOR}{name}"
    return board


def uses_of(design: FpgaDesign, board: DeviceSpec) -> tuple[Use, ...]:
    """What ``design`` takes of each resource of ``board`` that both are known of."""
    found = resources_of(board)
    return tuple(
        Use(name, needed, found[name])
        for name, needed in needs_of(design.lanes, design.resources).items()
        if name in found
    )


def designed(board: DeviceSpec, name: str) -> DeviceSpec:
    """``board`` with ``design`` on it, as a device of its own with the id ``<board>:<design>``.

    Raises:
        UnknownName: no such design.
        InputError: the board is no FPGA, or does not have what the design needs; says what and by how much.
    """
    if not takes_designs(board):
        raise InputError(f"{board.id}{SEPARATOR}{name}: {board.id} is no FPGA, and has no designs")
    design = load_design(name)
    short = [use for use in uses_of(design, board) if not use.fits]
    if short:
        raise InputError(f"{board.id}{SEPARATOR}{name}: does not fit: " + "; ".join(use.words for use in short))
    origin = f"{design.name}: lanes x clock"
    peaks = {
        dtype: _derived(
            2.0 * lanes.value * design.clock.value, "flops", f"2 x {lanes.text} x {design.clock.text}", origin, lanes
        )
        for dtype, lanes in design.lanes.items()
    }
    return msgspec.structs.replace(
        board,
        id=f"{board.id}{SEPARATOR}{name}",
        name=f"{board.name} with {design.name}",
        compute=Compute(peaks, board.compute.units, board.compute.unit_name, clock_boost=design.clock),
        memory=msgspec.structs.replace(board.memory, bandwidth=_bandwidth(design, board)),
        parameters={**board.parameters, **_PLACED, **design.parameters},
        notes="; ".join(filter(None, (design.notes, board.notes))),
    )


def _placed(value: float, why: str) -> Fact:
    return Fact(value, "number", f"{value:g}", Mark.ASSUMED, why)


_PLACED = {
    "gemm_share": _placed(0.9, "lanes that are placed are busy but for filling and draining"),
    "attention_share": _placed(0.5, "heads are narrower than the lanes"),
    "overlap_exponent": _placed(12.0, "weights pass through the lanes as they arrive"),
}
"""Law parameters of a design that does not state them; the priors of the class are shares of all slices of a board."""


def _bandwidth(design: FpgaDesign, board: DeviceSpec) -> Fact:
    """What the channels of a design deliver, no more than the board does."""
    stated = design.bandwidth
    if stated is None and design.channels and design.channel:
        words = f"{design.channels.text} x {design.channel.text}"
        value = design.channels.value * design.channel.value
        stated = _derived(value, "bytes_per_s", words, f"{design.name}: channels", design.channels)
    own = design.bandwidth is not None and board.id in design.boards
    if stated is None or (stated.value > board.memory.bandwidth.value and not own):
        return board.memory.bandwidth
    return stated


def _derived(value: float, dimension: str, text: str, origin: str, fact: Fact) -> Fact:
    mark = Mark.ASSUMED if fact.mark == Mark.ASSUMED else Mark.SOURCED
    return Fact(value, dimension, text, mark, f"{origin} ({fact.origin})", fact.date)
