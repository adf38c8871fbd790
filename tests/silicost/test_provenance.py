"""Provenance: every path is one that a what-if change takes, and it changes that very number."""

from __future__ import annotations

from typing import Any

import pytest

from hardware_specs.errors import InputError
from silicost.scenario_file import load_scenario
from silicost.scenarios import inference_scenario
from simulator.prepared import prepare, prepare_pool
from simulator.provenance import provenance_of
from simulator.result import Provenance
from simulator.scenario import Scenario

ASKS: list[tuple[str, dict[str, Any]]] = [
    ("h100-sxm-80gb", {"tp": 16}),
    ("tpu-v5e", {"weight_dtype": "int8"}),
    ("xeon-8480-plus", {}),
    ("v100-sxm-32gb", {"tp": 8, "system": "v100-dgx-1"}),
]


def ask(device: str, hardware: dict[str, Any], changes: dict[str, str] | None = None) -> Scenario:
    return inference_scenario("llama-3.2-1b", device, batch=1, isl=64, osl=2, changes=changes, **hardware)


def rows(scenario: Scenario) -> dict[str, Provenance]:
    found = [row for row in provenance_of([prepare(scenario)]) if row.path]
    assert len({row.path for row in found}) == len(found)
    return {row.path: row for row in found}


@pytest.mark.parametrize(("device", "hardware"), ASKS)
def test_every_path_is_taken_by_set(device: str, hardware: dict[str, Any]) -> None:
    before = rows(ask(device, hardware))
    assert {path.split(".")[0] for path in before} == {"device", "runtime", "link", "site", "system"}
    for path, row in before.items():
        try:
            changed = rows(ask(device, hardware, {path: "0.9x"}))
        except InputError as error:
            # Priors and zeros cannot be scaled, but they are known by this path.
            assert "no value is known that could be scaled" in str(error) or "must be positive" in str(error), path
            continue
        assert changed[path].origin == "set by the user", path
        assert changed[path].value != row.value


def test_with_several_devices_the_path_says_which_one() -> None:
    scenario, _ = load_scenario("prefill-gpu-decode-tpu")
    paths = [row.path for row in provenance_of([prepare_pool(scenario, pool) for pool in scenario.pools])]
    assert {"device.h100-sxm-80gb.memory.bandwidth", "device.tpu-v5e.memory.bandwidth"} <= set(paths)
    assert "device.memory.bandwidth" not in paths
