"""Estimated die area and power of real accelerators beside what is published of them; which chips set coefficients.

python benchmarks/area_power.py [--fit] [--speed] [--format table|json|csv]

Without options: one row a chip, and the errors of used and of held-out chips. "without" are the errors of a used chip
when the coefficients are set without it. --fit prints the coefficients that the used chips give; --speed designs per
second.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from hardware_specs.accelerators.coefficients import coefficients
from hardware_specs.accelerators.devices import device_of
from hardware_specs.accelerators.estimates import estimate
from hardware_specs.accelerators.fitting import Fitted, fit_area, fit_tdp, node_energy
from hardware_specs.accelerators.published import Chip, published_chips
from hardware_specs.accelerators.records import Coefficients
from silicost.output import Format, print_json, print_rows

KINDS: dict[str, tuple[Callable[[Sequence[Chip], Coefficients], Fitted], Callable[[Chip], float]]] = {
    "area": (fit_area, lambda chip: chip.area_mm2),
    "tdp": (fit_tdp, lambda chip: chip.tdp_w),
}


def used_for(kind: str) -> list[Chip]:
    """The chips that set the coefficients of ``kind``."""
    return [chip for chip in published_chips() if kind in chip.facts.used]


def estimated(chip: Chip, kind: str, known: Coefficients) -> float:
    """Estimated die area [mm2] or power [W], power on the estimated die."""
    found = estimate(chip.design, known)
    return found.die_area_mm2 if kind == "area" else found.tdp_w


def without(chip: Chip, kind: str) -> float | None:
    """The estimate when the coefficients are set without ``chip``; None where it sets none."""
    if kind not in chip.facts.used:
        return None
    fit, _ = KINDS[kind]
    return estimated(chip, kind, fit([other for other in used_for(kind) if other.id != chip.id], coefficients()).known)


def rows() -> list[dict[str, Any]]:
    """One row a chip: published and estimated area and power, errors as fractions of the published figure."""
    lines = []
    for chip in published_chips():
        line: dict[str, Any] = {"chip": chip.facts.name, "node": chip.design.node}
        for kind, (_, published) in KINDS.items():
            value, unit = published(chip), "mm2" if kind == "area" else "w"
            found, left_out = estimated(chip, kind, coefficients()), without(chip, kind)
            line |= {
                f"{kind}_set": "used" if kind in chip.facts.used else "held out",
                f"{kind}_published_{unit}": value,
                f"{kind}_estimated_{unit}": found,
                f"{kind}_error": found / value - 1.0,
                f"{kind}_error_without": None if left_out is None else left_out / value - 1.0,
            }
        lines.append(line)
    return lines


def scores(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and largest absolute error, bias, and standard deviation of the logarithm, by set."""
    found = []
    for kind in KINDS:
        used = [line for line in lines if line[f"{kind}_set"] == "used"]
        held_out = [line[f"{kind}_error"] for line in lines if line[f"{kind}_set"] != "used"]
        without_it = [line[f"{kind}_error_without"] for line in used]
        for name, values in (
            ("used", [line[f"{kind}_error"] for line in used]),
            ("used, set without the chip", without_it),
            ("held out", held_out),
            ("all, set without the chip", without_it + held_out),
        ):
            errors = np.array(values)
            logs = np.log1p(errors)
            found.append(
                {
                    "estimate": kind, "chips": name, "count": len(errors), "mean_abs_error": np.abs(errors).mean(),
                    "median_abs_error": float(np.median(np.abs(errors))), "largest_abs_error": np.abs(errors).max(),
                    "bias": math.expm1(logs.mean()), "log_rms": math.sqrt((logs**2).mean()),
                }
            )  # fmt: skip
    return found


def fitted() -> dict[str, float]:
    """The calibrated coefficients as the used chips give them."""
    area, tdp = (fit(used_for(kind), coefficients()).values for kind, (fit, _) in KINDS.items())
    energies = {
        f"energy {node}": node_energy(node, tdp["energy_exponent"]) for node in ("28nm", "16nm", "14nm", "12nm")
    }
    return area | tdp | energies


def speed(designs: int = 4000) -> dict[str, float]:
    """Designs per second: the estimate alone, and with the device."""
    base = next(chip.design for chip in published_chips() if chip.id == "tpu-v4i")
    varied = [
        msgspec.structs.replace(
            base, array_rows=64 + i % 256, arrays=1 + i % 16, sram_bytes=2.0**27 + i, stacks=1 + i % 2
        )
        for i in range(designs)
    ]
    rates = {}
    for name, run in (("estimate", estimate), ("device_of", device_of)):
        run(varied[0])
        began = time.perf_counter()
        for design in varied:
            run(design)
        rates[f"{name}_designs_per_s"] = designs / (time.perf_counter() - began)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--fit", action="store_true", help="print the coefficients that the used chips give")
    parser.add_argument("--speed", action="store_true", help="print designs per second")
    parser.add_argument("--format", choices=[*map(str, Format)], default="table")
    asked = parser.parse_args()
    how = Format(asked.format)
    if asked.fit or asked.speed:
        found = (fitted() if asked.fit else {}) | (speed() if asked.speed else {})
        print_rows([{"name": name, "value": value} for name, value in found.items()], how)
        return
    lines = rows()
    if how is Format.JSON:
        print_json({"chips": lines, "scores": scores(lines)})
    else:
        print_rows(lines, how)
        print_rows(scores(lines), how)


if __name__ == "__main__":
    main()
