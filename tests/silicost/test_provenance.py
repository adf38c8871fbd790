"""Provenance: every path is one that a what-if change takes, and it changes that very number."""

from __future__ import annotations

from typing import Any

import pytest

from hardware_specs.devices import load_device
from silicost.scenario_file import load_scenario
from silicost.scenarios import inference_scenario
from simulator.devices.registry import law_of
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


UNITS = {
    "number": "", "hz": "Hz", "s": "s", "w": "W", "bytes": "B", "bytes_per_s": "B/s", "flops": "FLOP/s",
    "j_per_byte": "J/B", "j_per_flop": "J/FLOP",
}  # fmt: skip


def a_tenth_less(row: Provenance, dimensions: dict[str, str]) -> str:
    """What to set: a factor of a fact, a quantity in the place of a prior."""
    prefix, _, name = row.path.rpartition(".")
    if prefix != "device.parameters":
        return "0.9x"
    return f"{0.9 * float(row.value):g} {UNITS[dimensions[name]]}"


@pytest.mark.parametrize(("device", "hardware"), ASKS)
def test_every_path_is_taken_by_set(device: str, hardware: dict[str, Any]) -> None:
    before = rows(ask(device, hardware))
    dimensions = {p.name: p.dimension for p in law_of(load_device(device).device_class).parameters}
    assert {path.split(".")[0] for path in before} == {"device", "runtime", "link", "site", "system"}
    for path, row in before.items():
        if row.value.split()[0] == "0":
            continue  # a what-if is positive
        changed = rows(ask(device, hardware, {path: a_tenth_less(row, dimensions)}))[path]
        assert (changed.value, changed.origin) != (row.value, row.origin), path
        assert changed.origin == "set by the user", path


def test_with_several_devices_the_path_says_which_one() -> None:
    scenario, _ = load_scenario("prefill-gpu-decode-tpu")
    paths = [row.path for row in provenance_of([prepare_pool(scenario, pool) for pool in scenario.pools])]
    assert {"device.h100-sxm-80gb.memory.bandwidth", "device.tpu-v5e.memory.bandwidth"} <= set(paths)
    assert "device.memory.bandwidth" not in paths
