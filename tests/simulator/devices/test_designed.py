"""Accelerators that a user describes, under the laws of their classes: systolic ones, and SRAM alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hardware_specs.accelerators.devices import device_of
from hardware_specs.accelerators.files import read_design
from hardware_specs.accelerators.writing import device_text
from hardware_specs.facts import Mark
from simulator.result import Result
from simulator.scenario import Scenario, StaticBatch
from simulator.simulate import simulate
from workloads.models.catalogue import load_model

MODEL = load_model("llama-3.2-1b")
WORK = StaticBatch(MODEL, 4, 512, 16)
SYSTOLIC = {
    "device_class": "asic", "node": "7nm", "clock": "1 GHz", "arrays": 64, "array_rows": 64, "array_cols": 64,
    "rates": {"bf16": 1.0, "int8": 2.0}, "sram": "64 MiB", "memory": "HBM2E", "stacks": 2,
}  # fmt: skip
RESIDENT = {key: value for key, value in SYSTOLIC.items() if key != "stacks"} | {"memory": "none", "sram": "4 GiB"}


@pytest.fixture
def run(tmp_path: Path, one_pool: Callable[..., Scenario]) -> Callable[..., Result]:
    def of(described: dict[str, object], **changes: object) -> Result:
        chip = read_design({**described, **changes}, "design: ")
        path = tmp_path / f"chip{len(list(tmp_path.iterdir()))}.toml"
        path.write_text(device_text(chip, device_of(chip)))
        return simulate(one_pool(WORK, str(path)))

    return of


def seconds(result: Result, metric: str) -> float:
    value = result.metrics[metric]
    assert value is not None
    return value


def test_a_systolic_design_runs_in_its_law(run: Callable[..., Result]) -> None:
    result = run(SYSTOLIC)
    weights = 2.0 * 1.23e9
    assert seconds(result, "tpot_s") > weights / (2 * 460e9), "a step reads all weights"
    assert seconds(result, "ttft_s") > 2.0 * 0.97e9 * 4 * 512 / (2 * 64**3 * 1e9), "prompts multiply them"
    more = run(SYSTOLIC, arrays=128)
    assert seconds(more, "ttft_s") < seconds(result, "ttft_s"), "prompts are bound by the arrays"
    wider = run(SYSTOLIC, stacks=4)
    assert seconds(wider, "tpot_s") < 0.7 * seconds(result, "tpot_s"), "steps are bound by the memory"


def test_larger_arrays_of_as_many_cells_waste_more_of_narrow_products(run: Callable[..., Result]) -> None:
    small, large = run(SYSTOLIC), run(SYSTOLIC, arrays=4, array_rows=256, array_cols=256)
    assert seconds(large, "ttft_s") > seconds(small, "ttft_s")


def test_a_design_that_holds_the_model_in_sram_answers_faster(run: Callable[..., Result]) -> None:
    resident, far = run(RESIDENT), run(SYSTOLIC)
    assert seconds(resident, "tpot_s") < 0.5 * seconds(far, "tpot_s")


@pytest.mark.parametrize("described", [SYSTOLIC, RESIDENT, SYSTOLIC | {"device_class": "tpu"}])
def test_its_power_limit_is_an_estimate_that_says_its_band(described: dict[str, object]) -> None:
    device = device_of(read_design(described, "design: "))
    tdp = device.power.tdp
    assert tdp is not None and tdp.mark is Mark.ASSUMED and "80% of real chips" in tdp.origin
    assert "die about" in device.notes and "mm2" in device.notes
