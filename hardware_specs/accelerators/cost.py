"""What a unit costs to make: good dies, memory, interposer and substrate. No design cost, no margin.

    dies per wafer = pi (d/2)^2 / A - pi d / sqrt(2 A)
    yield          = (1 + A D / clusters)^-clusters

The yield is the negative binomial of Stapper, IBM J. Res. Dev. 27(6), 1983; no part of the die is spare.
"""

from __future__ import annotations

import math

from hardware_specs.accelerators.power import memory_bytes
from hardware_specs.accelerators.records import Coefficients, Design

_PER_MM2 = 0.01
"""cm2 in a mm2."""
_GB = 1e9
_MM2 = 1e6


def dies_per_wafer(die_mm2: float, wafer_mm: float) -> int:
    """Whole dies on a round wafer; 0 where not one fits."""
    found = math.pi * (wafer_mm / 2.0) ** 2 / die_mm2 - math.pi * wafer_mm / math.sqrt(2.0 * die_mm2)
    return max(0, math.floor(found))


def yield_of(die_mm2: float, defects_per_cm2: float, clusters: float) -> float:
    """Share of dies without a defect."""
    return float((1.0 + die_mm2 * _PER_MM2 * defects_per_cm2 / clusters) ** -clusters)


def package_mm2(design: Design, known: Coefficients, die_mm2: float) -> float:
    """Silicon side by side on the interposer [mm2]: die and stacks; the die alone where memory is on the board."""
    footprint = None if design.sram_resident else known.memories[design.memory].footprint
    if footprint is None:
        return die_mm2
    return known.cost.interposer_spread.value * (die_mm2 + design.stacks * footprint.value * _MM2)


def cost_parts(design: Design, known: Coefficients, die_mm2: float) -> dict[str, float]:
    """Unit cost by part [USD]: die, memory, package; infinite where no die fits a wafer."""
    cost, node = known.cost, known.nodes[design.node]
    good = yield_of(die_mm2, node.defects.value, cost.clusters.value)
    die = _of_wafer(node.wafer.value, die_mm2, good, known) * (1.0 + cost.test_share.value)
    if design.sram_resident:
        return {"die": die, "memory": 0.0, "package": _substrate(die_mm2, known)}
    kind = known.memories[design.memory]
    memory = memory_bytes(design, known) / _GB * kind.usd_per_gb.value
    spread = package_mm2(design, known, die_mm2)
    if kind.footprint is None:
        return {"die": die, "memory": memory, "package": _substrate(spread, known)}
    interposer = _of_wafer(
        cost.interposer_wafer.value,
        spread,
        yield_of(spread, cost.interposer_defects.value, cost.clusters.value),
        known,
    )
    lost = (die + memory + interposer) * (1.0 / cost.bonding_yield.value - 1.0)
    return {"die": die, "memory": memory, "package": interposer + lost + _substrate(spread, known)}


def _of_wafer(wafer_usd: float, mm2: float, good: float, known: Coefficients) -> float:
    """Cost of one good piece of a wafer [USD]."""
    pieces = dies_per_wafer(mm2, known.cost.wafer_mm.value)
    return wafer_usd / (pieces * good) if pieces else math.inf


def _substrate(mm2: float, known: Coefficients) -> float:
    return mm2 * known.cost.substrate_spread.value * known.cost.substrate_usd_per_mm2.value
