"""Designs that mean nothing are refused before anything is estimated."""

from __future__ import annotations

import math
from collections.abc import Collection

from hardware_specs.accelerators.keys import WRITTEN
from hardware_specs.accelerators.records import NO_MEMORY, Coefficients, Design
from hardware_specs.errors import InputError, UnknownName, clipped, nearest
from hardware_specs.links import link_names

_LARGEST_COUNT = 1_000_000
_MOST_CELLS = 10**9
_LARGEST_SIZE = 1e18
"""No byte count, bandwidth or clock of a chip is larger."""


def check_design(design: Design, known: Coefficients, place: str = "") -> None:
    """Refuse what cannot be understood.

    Args:
        place: what stands before the key in errors ("my-chip.toml: ").

    Raises:
        InputError: with the key, the value and what is allowed.
    """
    _check_names(design, known, place)
    for key in ("arrays", "array_rows", "array_cols"):
        _check_count(f"{place}{key}", getattr(design, key), 1)
    for key in ("vector_lanes", "stacks", "links", "pcie_lanes"):
        _check_count(f"{place}{key}", getattr(design, key), 0)
    if design.cells > _MOST_CELLS:
        raise InputError(f"{place}arrays: {design.cells:,} cells in all; at most {_MOST_CELLS:,} are allowed")
    for key in ("clock_hz", "sram_bytes"):
        _check_size(f"{place}{WRITTEN[key]}", getattr(design, key))
    for key in (
        "sram_bytes_per_s", "stack_bytes", "stack_bytes_per_s", "max_area_mm2", "max_power_w", "max_cost_usd"
    ):  # fmt: skip
        if getattr(design, key) is not None:
            _check_size(f"{place}{WRITTEN[key]}", getattr(design, key))
    if design.gross_margin is not None and not 0.0 <= design.gross_margin < 1.0:
        raise InputError(f"{place}gross_margin: must be from 0% to less than 100%, not {design.gross_margin:g}")
    _check_memory(design, place)
    _check_links(design, place)


def _check_names(design: Design, known: Coefficients, place: str) -> None:
    """Class, node, memory, dtypes and link are known."""
    _check_choice(f"{place}device_class", design.device_class, ("tpu", "asic"))
    _check_choice(f"{place}node", design.node, known.nodes)
    _check_choice(f"{place}memory", design.memory, (*known.memories, NO_MEMORY))
    _check_choice(f"{place}link_reach", design.link_reach, ("board", "package"))
    if design.pcie_lanes:
        _check_choice(f"{place}pcie_generation", str(design.pcie_generation), known.hosts)
    if not design.rates:
        raise InputError(f"{place}rates: needs at least one dtype ({', '.join(known.products)})")
    for dtype, rate in design.rates.items():
        _check_choice(f"{place}rates", dtype, known.products)
        if not 0.0 < rate <= 64.0:
            raise InputError(f"{place}rates.{dtype}: must be above 0 and at most 64 products a cycle, not {rate:g}")
    if design.link and design.link not in link_names():
        raise UnknownName("link", design.link, link_names(), "silicost links list", f"{place}link")


def _check_choice(place: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        names = tuple(allowed)
        close = nearest(value, names, most=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{place}: {clipped(value)!r} is not allowed{hint} (allowed: {', '.join(names)})")


def _check_count(place: str, value: int, least: int) -> None:
    if not least <= value <= _LARGEST_COUNT or value != int(value):
        raise InputError(f"{place}: must be a whole number from {least} to {_LARGEST_COUNT:,}, not {value:g}")


def _check_size(place: str, value: float) -> None:
    if not (math.isfinite(value) and 0.0 < value <= _LARGEST_SIZE):
        raise InputError(f"{place}: must be positive and no larger than {_LARGEST_SIZE:g} (SI units), not {value:g}")


def _check_memory(design: Design, place: str) -> None:
    """Stacks where there is memory to stack; SRAM alone only where the law of the class knows it."""
    if design.sram_resident:
        if design.device_class == "tpu":
            raise InputError(f"{place}memory: 'none' is for the class asic; a tpu needs DRAM beside it")
        if design.stacks:
            raise InputError(f"{place}stacks: must be 0 without memory, not {design.stacks}")
    elif not design.stacks:
        raise InputError(f"{place}stacks: must be at least 1 with {design.memory} (or memory = 'none')")


def _check_links(design: Design, place: str) -> None:
    if design.links:
        _check_size(f"{place}link_bandwidth", design.link_bytes_per_s)
    elif design.link:
        raise InputError(f"{place}links: must be at least 1 port of the link {design.link!r}")
