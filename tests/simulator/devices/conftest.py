"""Shipped devices and their compiled models."""

from __future__ import annotations

import pytest

from hardware_specs.devices import load_all_devices
from hardware_specs.records import DEVICE_CLASSES, DeviceSpec
from simulator.devices.model import DeviceModel, compile_device
from workloads.graph import columns_of
from workloads.operators import norm
from workloads.runtimes import load_runtime


@pytest.fixture(scope="session")
def specs() -> dict[str, DeviceSpec]:
    """All shipped devices."""
    return {spec.id: spec for spec in load_all_devices()}


@pytest.fixture(scope="session")
def models(specs: dict[str, DeviceSpec]) -> dict[str, DeviceModel]:
    """All shipped devices under the runtime that adds nothing; the kernels are compiled here, outside any deadline."""
    ideal = load_runtime("ideal")
    compiled = {name: compile_device(spec, ideal) for name, spec in specs.items()}
    for device_class in DEVICE_CLASSES:
        next(m for m in compiled.values() if m.spec.device_class == device_class).cost(columns_of((norm("n", 1, 1),)))
    return compiled
