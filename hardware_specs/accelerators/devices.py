"""From a design to a device: peaks, bandwidths and capacities by arithmetic, power by estimate.

Every number is marked as assumed, with the arithmetic as the reason: no source can give a number of a chip that does
not exist.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hardware_specs.accelerators.coefficients import coefficients
from hardware_specs.accelerators.estimates import estimate
from hardware_specs.accelerators.power import memory_bytes, memory_bytes_per_s, sram_bytes_per_s
from hardware_specs.accelerators.records import Coefficients, Design, Estimate
from hardware_specs.facts import Fact, Mark
from hardware_specs.records import Cache, Compute, DevicePrice, DeviceSpec, Memory, Ports, Power
from hardware_specs.units import format_quantity

VENDOR = "designed"
"""Vendor of devices that nobody makes."""
_LINKS: Final = {"tpu": "ici-v5p", "asic": "ualink"}
"""Link of a class where a design names none."""
_RUNTIMES: Final = {"tpu": "jax-xla-2024", "asic": "vendor-asic-2024"}
"""Software of a class where a design names none."""
_DIGITS = 12
_OPS_OF_A_PRODUCT = 2.0


def device_of(design: Design, known: Coefficients | None = None, found: Estimate | None = None) -> DeviceSpec:
    """The device that ``design`` describes.

    Args:
        known: coefficients in place of the shipped ones.
        found: the estimate of ``design``, where it is there already.

    Raises:
        InputError: the design contradicts itself, or names what nobody knows.
    """
    known = known or coefficients()
    found = found or estimate(design, known)
    return DeviceSpec(
        id=design.id,
        device_class=design.device_class,
        vendor=VENDOR,
        name=design.name or design.id,
        default_runtime=design.default_runtime or _RUNTIMES[design.device_class],
        compute=_compute(design),
        memory=_memory(design, known),
        cache=None if design.sram_resident else _cache(design),
        power=Power(tdp=_fact(found.tdp_w, "w", f"estimate, 80% of real chips: {_band(found.tdp_band_w)} W")),
        ports=_ports(design),
        price=_price(design, found),
        process_node=design.node,
        notes=_notes(found),
        parameters={"vector_peak": _vector_peak(design)},
    )


def _compute(design: Design) -> Compute:
    shape = f"{design.arrays} x {design.array_rows} x {design.array_cols} cells"
    clock = format_quantity(design.clock_hz, "hz")
    each = _OPS_OF_A_PRODUCT * design.cells * design.clock_hz
    return Compute(
        peaks={
            dtype: _fact(each * rate, "flops", f"by design: {shape} x {rate:g} products x 2 x {clock}")
            for dtype, rate in design.rates.items()
        },
        clock_boost=_fact(design.clock_hz, "hz", "by design"),
        arrays=_fact(design.arrays, "number", "by design"),
        array_rows=_fact(design.array_rows, "number", "by design"),
        array_cols=_fact(design.array_cols, "number", "by design"),
    )


def _memory(design: Design, known: Coefficients) -> Memory:
    bandwidth, capacity = memory_bytes_per_s(design, known), memory_bytes(design, known)
    if design.sram_resident:
        return Memory("SRAM", _fact(capacity, "bytes", "by design"), _fact(bandwidth, "bytes_per_s", _taken_in(design)))
    kind = known.memories[design.memory]
    what = f"by design: {design.stacks} x {design.memory} of "
    each = format_quantity(design.stack_bytes, "bytes") if design.stack_bytes else kind.capacity.text
    rate = format_quantity(design.stack_bytes_per_s, "bytes_per_s") if design.stack_bytes_per_s else kind.bandwidth.text
    return Memory(design.memory, _fact(capacity, "bytes", what + each), _fact(bandwidth, "bytes_per_s", what + rate))


def _cache(design: Design) -> Cache:
    return Cache(
        "software-managed SRAM",
        _fact(design.sram_bytes, "bytes", "by design"),
        _fact(sram_bytes_per_s(design), "bytes_per_s", _taken_in(design)),
    )


def _taken_in(design: Design) -> str:
    if design.sram_bytes_per_s is not None:
        return "by design"
    return f"by design: what {design.lanes} vector lanes and the edges of {design.arrays} arrays take in and give out"


def _vector_peak(design: Design) -> Fact:
    return _fact(
        _OPS_OF_A_PRODUCT * design.lanes * design.clock_hz,
        "flops",
        f"by design: {design.lanes} fp32 multiply-add units x 2 x {format_quantity(design.clock_hz, 'hz')}",
    )


def _ports(design: Design) -> Ports:
    joined = Ports()
    if design.links:
        each = format_quantity(design.link_bytes_per_s, "bytes_per_s")
        why = f"by design: {design.links} ports of {each} each way"
        joined = Ports(
            scaleup=design.link or _LINKS[design.device_class],
            scaleup_bandwidth=_fact(design.links * design.link_bytes_per_s, "bytes_per_s", why),
            scaleup_topology=f"{design.links} ports",
        )
    if not design.pcie_lanes:
        return joined
    return msgspec.structs.replace(
        joined,
        pcie_generation=_fact(design.pcie_generation, "number", "by design"),
        pcie_lanes=_fact(design.pcie_lanes, "number", "by design"),
    )


def _price(design: Design, found: Estimate) -> DevicePrice:
    """The unit cost and the margin that the design asks for; without one no price is known."""
    if design.gross_margin is None or not found.unit_cost_usd < 1e12:
        return DevicePrice()
    price = found.unit_cost_usd / (1.0 - design.gross_margin)
    why = f"estimate: unit cost of {found.unit_cost_usd:.0f} USD at {design.gross_margin:.0%} gross margin"
    return DevicePrice(purchase=_fact(price, "usd", why))


def _notes(found: Estimate) -> str:
    made = f"designed, not made: die about {found.die_area_mm2:.0f} mm2 ({_band(found.die_area_band_mm2)})"
    return "; ".join((made, *(f"cannot be made so: {reason.text}" for reason in found.reasons)))


def _band(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.0f} to {ends[1]:.0f}"


def _fact(value: float, dimension: str, reason: str) -> Fact:
    text = f"{value:.{_DIGITS}g} USD" if dimension == "usd" else format_quantity(value, dimension, _DIGITS)
    return Fact(float(value), dimension, text, Mark.ASSUMED, reason)
