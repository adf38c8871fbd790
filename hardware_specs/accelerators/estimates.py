"""The estimate of a design: a pure function of the design and the coefficients."""

from __future__ import annotations

import math

from hardware_specs.accelerators.area import area_parts
from hardware_specs.accelerators.checks import check_design
from hardware_specs.accelerators.coefficients import coefficients
from hardware_specs.accelerators.cost import cost_parts, dies_per_wafer, package_mm2, yield_of
from hardware_specs.accelerators.limits import reasons_against, stack_sites
from hardware_specs.accelerators.power import power_parts
from hardware_specs.accelerators.records import Coefficients, Design, Estimate

_TENTH = 1.2815515655446004
"""Standard normal quantile of 0.9: the ends of a band that holds 80%."""


def estimate(design: Design, known: Coefficients | None = None) -> Estimate:
    """Area, power, limits and unit cost of ``design``, and the reasons why it cannot be made.

    Args:
        known: coefficients in place of the shipped ones.

    Raises:
        InputError: the design contradicts itself, or names what nobody knows.
    """
    known = known or coefficients()
    check_design(design, known)
    area = area_parts(design, known)
    die = sum(area.values())
    power = power_parts(design, known, die)
    cost = cost_parts(design, known, die)
    tdp, usd = sum(power.values()), sum(cost.values())
    package = package_mm2(design, known, die)
    return Estimate(
        area_mm2=area,
        power_w=power,
        cost_usd=cost,
        die_area_mm2=die,
        die_area_band_mm2=band(die, known.errors.area_sd.value),
        tdp_w=tdp,
        tdp_band_w=band(tdp, known.errors.tdp_sd.value),
        stack_sites=stack_sites(design, known, die),
        package_area_mm2=package,
        dies_per_wafer=dies_per_wafer(die, known.cost.wafer_mm.value),
        die_yield=yield_of(die, known.nodes[design.node].defects.value, known.cost.clusters.value),
        unit_cost_usd=usd,
        reasons=reasons_against(design, known, die, package, tdp, usd),
    )


def band(value: float, sd: float) -> tuple[float, float]:
    """Ends of the band around ``value`` that holds 80% of chips, at a standard deviation ``sd`` of the logarithm."""
    factor = math.exp(_TENTH * sd)
    return value / factor, value * factor


def as_row(found: Estimate) -> dict[str, float | bool | str]:
    """An estimate as one flat row: parts by name, and the code of the first reason against it ("" for none)."""
    return {
        "die_area_mm2": found.die_area_mm2,
        "tdp_w": found.tdp_w,
        "unit_cost_usd": found.unit_cost_usd,
        **{f"area_{name}_mm2": value for name, value in found.area_mm2.items()},
        **{f"power_{name}_w": value for name, value in found.power_w.items()},
        **{f"cost_{name}_usd": value for name, value in found.cost_usd.items()},
        "stack_sites": found.stack_sites,
        "package_area_mm2": found.package_area_mm2,
        "dies_per_wafer": found.dies_per_wafer,
        "die_yield": found.die_yield,
        "feasible": found.feasible,
        "reason": found.reasons[0].code if found.reasons else "",
    }
