"""What cannot be made: dies above the reticle, stacks without a place, clocks and budgets."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hardware_specs.accelerators.records import Coefficients, Design, Reason


def reticle_mm2(known: Coefficients) -> float:
    """Largest die that one exposure makes [mm2]."""
    return known.die.reticle_width_mm.value * known.die.reticle_height_mm.value


def stack_sites(design: Design, known: Coefficients, die_mm2: float) -> int:
    """HBM stacks, or channels of other memories, for which the long edges of the die have a place.

    The die is as long for its width as the reticle.
    """
    if design.sram_resident:
        return 0
    die = known.die
    long_edge = math.sqrt(die_mm2 * die.reticle_height_mm.value / die.reticle_width_mm.value)
    kind = known.memories[design.memory]
    overhang = 2.0 * die.overhang_mm.value if kind.footprint else 0.0
    return int(die.sides.value) * math.floor((long_edge + overhang) / kind.edge_mm.value)


def reasons_against(
    design: Design, known: Coefficients, die_mm2: float, package_mm2: float, tdp_w: float, unit_cost_usd: float
) -> tuple[Reason, ...]:
    """Why ``design`` cannot be made, or not within its budgets; the physical reasons first."""
    return tuple(_reasons(design, known, die_mm2, package_mm2, tdp_w, unit_cost_usd))


def _reasons(
    design: Design, known: Coefficients, die_mm2: float, package_mm2: float, tdp_w: float, unit_cost_usd: float
) -> Iterator[Reason]:
    reticle = reticle_mm2(known)
    if die_mm2 > reticle:
        yield Reason("reticle", f"the die of {die_mm2:.0f} mm2 is above the reticle of {reticle:.0f} mm2")
    sites = stack_sites(design, known, die_mm2)
    if not design.sram_resident and design.stacks > sites:
        what = "stacks" if known.memories[design.memory].footprint else "channels"
        yield Reason(
            "memory-sites",
            f"{design.stacks} {what} of {design.memory} are too many for the long edges of a die of {die_mm2:.0f} mm2, "
            f"which have places for {sites}",
        )
    interposer = known.die.interposer_reticles.value * reticle
    if package_mm2 > interposer:
        yield Reason(
            "interposer", f"die and stacks take {package_mm2:.0f} mm2 of an interposer of at most {interposer:.0f} mm2"
        )
    fastest = known.nodes[design.node].max_clock
    if design.clock_hz > fastest.value:
        yield Reason(
            "clock", f"{design.clock_hz / 1e9:.3g} GHz: products in {design.node} run at {fastest.text} at most"
        )
    yield from _over_budget("power", "the TDP", "W", tdp_w, design.max_power_w)
    yield from _over_budget("area", "the die", "mm2", die_mm2, design.max_area_mm2)
    yield from _over_budget("cost", "the unit cost", "USD", unit_cost_usd, design.max_cost_usd)


def _over_budget(code: str, what: str, unit: str, value: float, budget: float | None) -> Iterator[Reason]:
    if budget is not None and value > budget:
        yield Reason(f"{code}-budget", f"{what} of {value:.0f} {unit} is above the budget of {budget:.0f} {unit}")
