"""How the calibrated coefficients are set: least squares over the chips that are there for it.

Area: five numbers, from the die areas of the used chips and the published shares of their blocks. Power: four numbers,
from published TDPs. The other chips of ``published_chips`` set nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from hardware_specs.accelerators.area import area_parts
from hardware_specs.accelerators.power import power_parts
from hardware_specs.accelerators.published import Chip
from hardware_specs.accelerators.records import Coefficients
from hardware_specs.facts import Fact

Floats = npt.NDArray[np.float64]

AREA_STARTS: Final = {
    "bf16_mm2": 671e-6, "int8_mm2": 193e-6, "shared_share": 0.27, "resident_share": 0.45, "rest_share": 0.30,
}  # fmt: skip
"""Unknowns of the area where the search begins: cells as the shares of TPU v1 and v4i give them, bitcells over SRAM as
the CMEM of TPU v4i has them (0.26) and as 0.5 mm2 per MB of 7nm, and three tenths of the die in no block."""

TDP_STARTS: Final = {"datapath": 1.0, "energy_exponent": 0.6, "sram_busy": 0.5, "static_w_per_mm2": 0.086}
"""Unknowns of the power: bare arithmetic, the 2.8 times between 45nm and 7nm of Jouppi et al. 2021 as a power of the
node, half of the on-chip bandwidth busy, and the idle draw of TPU v1 by its area."""

PULL: Final = 0.3
"""Weight of the distance from the start, in logarithms, beside that of a chip's error."""
_DERIVED: Final = {"fp16": 1.153, "tf32": 1.153, "fp32": 2.35, "fp8": 0.5, "fp4": 0.25}
"""Cells of other dtypes by that of bf16; int4 is half of int8."""
_OLD_NODES: Final = ("28nm", "16nm", "14nm", "12nm")
"""Nodes whose energy follows the exponent; newer ones are as foundries announced them."""


class Fitted(NamedTuple):
    """The numbers found, and the coefficients with them."""

    values: dict[str, float]
    known: Coefficients


def fit_area(chips: Sequence[Chip], known: Coefficients) -> Fitted:
    """Set the five unknowns of the area from ``chips``."""

    def errors(values: Mapping[str, float]) -> list[float]:
        trial = with_area(known, values)
        return [error for chip in chips for error in area_errors(chip, trial)]

    values = _least_squares(errors, AREA_STARTS)
    return Fitted(values, with_area(known, values))


def fit_tdp(chips: Sequence[Chip], known: Coefficients) -> Fitted:
    """Set the four unknowns of the power from ``chips``; their dies are as large as published."""

    def errors(values: Mapping[str, float]) -> list[float]:
        trial = with_tdp(known, values)
        return [tdp_error(chip, trial, chip.area_mm2) for chip in chips]

    values = _least_squares(errors, TDP_STARTS)
    return Fitted(values, with_tdp(known, values))


def area_errors(chip: Chip, known: Coefficients) -> list[float]:
    """Logarithms of estimate over published: of the die, and of the blocks whose share is published."""
    parts, facts = area_parts(chip.design, known), chip.facts
    found = [math.log(sum(parts.values()) / chip.area_mm2)]
    if facts.arrays_share:
        found.append(math.log(parts["arrays"] / (facts.arrays_share.value * chip.area_mm2)))
    if facts.sram_share:
        of = facts.sram_of.value if facts.sram_of else 1.0
        found.append(math.log(parts["sram"] * of / (facts.sram_share.value * chip.area_mm2)))
    return found


def tdp_error(chip: Chip, known: Coefficients, die_mm2: float) -> float:
    """Logarithm of estimate over published, on a die of ``die_mm2``."""
    return math.log(sum(power_parts(chip.design, known, die_mm2).values()) / chip.tdp_w)


def with_area(known: Coefficients, values: Mapping[str, float]) -> Coefficients:
    """``known`` with the unknowns of the area replaced."""
    areas = {
        "bf16": values["bf16_mm2"],
        "int8": values["int8_mm2"],
        "int4": 0.5 * values["int8_mm2"],
        **{dtype: ratio * values["bf16_mm2"] for dtype, ratio in _DERIVED.items()},
    }
    products = {
        dtype: msgspec.structs.replace(product, area=_put(product.area, areas[dtype] * 1e-6))
        for dtype, product in known.products.items()
    }
    shares = ("shared_share", "resident_share", "rest_share")
    die = msgspec.structs.replace(known.die, **{name: _put(getattr(known.die, name), values[name]) for name in shares})
    return msgspec.structs.replace(known, products=products, die=die)


def with_tdp(known: Coefficients, values: Mapping[str, float]) -> Coefficients:
    """``known`` with the unknowns of the power replaced."""
    nodes = {
        name: msgspec.structs.replace(node, energy=_put(node.energy, node_energy(name, values["energy_exponent"])))
        if name in _OLD_NODES
        else node
        for name, node in known.nodes.items()
    }
    names = ("datapath", "sram_busy", "static_w_per_mm2")
    switching = msgspec.structs.replace(
        known.switching, **{name: _put(getattr(known.switching, name), values[name]) for name in names}
    )
    return msgspec.structs.replace(known, nodes=nodes, switching=switching)


def node_energy(node: str, exponent: float) -> float:
    """Energy of switching in ``node`` beside 7nm."""
    return float((float(node.removesuffix("nm")) / 7.0) ** exponent)


def _put(fact: Fact, value: float) -> Fact:
    return msgspec.structs.replace(fact, value=value)


def _least_squares(
    errors: Callable[[Mapping[str, float]], list[float]], starts: Mapping[str, float]
) -> dict[str, float]:
    """Values whose errors and distances from ``starts``, all in logarithms, have the least squares."""
    from scipy.optimize import least_squares

    begin = np.log(list(starts.values()))

    def residuals(point: Floats) -> Floats:
        values = dict(zip(starts, np.exp(point).tolist(), strict=True))
        return np.concatenate([errors(values), PULL * (point - begin)])

    found = least_squares(residuals, begin, xtol=1e-12, ftol=1e-12, gtol=1e-12)
    return dict(zip(starts, np.exp(found.x).tolist(), strict=True))
