"""Real chips: which set coefficients, how far off the others are, and that the document says the same."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from hardware_specs.accelerators.coefficients import coefficients
from hardware_specs.accelerators.estimates import estimate
from hardware_specs.accelerators.fitting import area_errors, tdp_error
from hardware_specs.accelerators.published import Chip, published_chips

CHIPS = published_chips()
HELD_OUT = tuple(chip for chip in CHIPS if not chip.facts.used)
PAGE = (Path(__file__).parents[3] / "docs" / "accelerator_design.md").read_text(encoding="utf-8")


def logs(chips: tuple[Chip, ...], kind: str) -> list[float]:
    found = [(estimate(chip.design), chip) for chip in chips]
    if kind == "area":
        return [math.log(each.die_area_mm2 / chip.area_mm2) for each, chip in found]
    return [math.log(each.tdp_w / chip.tdp_w) for each, chip in found]


def mean_abs(errors: list[float]) -> float:
    return sum(abs(math.expm1(error)) for error in errors) / len(errors)


def test_at_least_eight_chips_have_set_nothing() -> None:
    assert len(HELD_OUT) >= 8
    named = set(coefficients().die.rest_share.fit.devices) | set(coefficients().switching.datapath.fit.devices)  # type: ignore[union-attr]
    assert not named & {chip.id for chip in HELD_OUT}
    assert {chip.design.sram_resident for chip in HELD_OUT} == {True, False}
    assert len({chip.design.node for chip in HELD_OUT}) >= 4


def test_held_out_errors_do_not_grow_unsaid() -> None:
    area, tdp = logs(HELD_OUT, "area"), logs(HELD_OUT, "tdp")
    assert mean_abs(area) < 0.19
    assert mean_abs(tdp) < 0.29
    assert abs(math.expm1(sum(area) / len(area))) < 0.05
    assert f"{mean_abs(area):.0%} of the area and {mean_abs(tdp):.0%} of the power" in PAGE


@pytest.mark.parametrize("kind", ["area", "tdp"])
def test_bands_hold_most_chips(kind: str) -> None:
    inside = 0
    for chip in CHIPS:
        found = estimate(chip.design)
        low, high = found.die_area_band_mm2 if kind == "area" else found.tdp_band_w
        inside += low <= (chip.area_mm2 if kind == "area" else chip.tdp_w) <= high
    assert inside / len(CHIPS) >= 0.75


def test_the_document_shows_what_comes_out() -> None:
    for chip in CHIPS:
        found = estimate(chip.design)
        area, tdp = found.die_area_mm2, found.tdp_w
        line = (
            f"| {chip.facts.name} | {chip.design.node} "
            f"| {chip.area_mm2:.0f}, {area:.0f} | {area / chip.area_mm2 - 1:+.0%} "
            f"| {chip.tdp_w:.0f}, {tdp:.0f} | {tdp / chip.tdp_w - 1:+.0%} |"
        )
        has_set = ", ".join(kind.upper() if kind == "tdp" else kind for kind in chip.facts.used)
        assert f"{line} {has_set} |" in PAGE or (not has_set and f"{line} |" in PAGE), line


def test_the_document_shows_the_bands() -> None:
    errors = coefficients().errors
    area, tdp = (math.exp(1.2816 * sd.value) for sd in (errors.area_sd, errors.tdp_sd))
    assert f"area within a factor of {area:.2f}, TDP within {tdp:.2f}" in PAGE


def test_published_shares_of_blocks_count_as_rows() -> None:
    rows = {chip.id: len(area_errors(chip, coefficients())) for chip in CHIPS}
    assert (rows["tpu-v1"], rows["tpu-v4i"], rows["tpu-v4"]) == (3, 3, 1)
    used = [rows[chip.id] for chip in CHIPS if "area" in chip.facts.used]
    assert sum(used) == coefficients().die.rest_share.fit.rows  # type: ignore[union-attr]


def test_errors_are_logarithms_of_estimate_over_published() -> None:
    chip = next(each for each in CHIPS if each.id == "maia-100")
    found = estimate(chip.design)
    assert area_errors(chip, coefficients())[0] == pytest.approx(math.log(found.die_area_mm2 / 820))
    assert tdp_error(chip, coefficients(), found.die_area_mm2) == pytest.approx(math.log(found.tdp_w / 700))


def test_assumed_inputs_are_told() -> None:
    assert all(chip.facts.design_source for chip in CHIPS)
    assert all(chip.facts.design_assumed for chip in CHIPS)
