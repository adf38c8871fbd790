"""A design to change: every test says what it changes."""

from __future__ import annotations

import pytest

from hardware_specs.accelerators.records import Design


@pytest.fixture
def design() -> Design:
    """A tpu of four arrays of 128 x 128 in 7nm, with two stacks of HBM2E."""
    return Design(
        device_class="tpu", node="7nm", clock_hz=1e9, arrays=4, array_rows=128, array_cols=128, sram_bytes=2.0**27,
        memory="HBM2E", rates={"bf16": 1.0, "int8": 2.0}, vector_lanes=1024, stacks=2, links=4, link_bytes_per_s=50e9,
    )  # fmt: skip


@pytest.fixture
def resident() -> Design:
    """An asic that has its SRAM alone."""
    return Design(
        device_class="asic", node="7nm", clock_hz=1e9, arrays=16, array_rows=64, array_cols=64, sram_bytes=200e6,
        memory="none", rates={"fp16": 1.0}, pcie_lanes=0,
    )  # fmt: skip
