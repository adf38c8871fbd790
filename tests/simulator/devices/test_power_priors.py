"""What the power limit of a device says of its speed and its memory."""

from __future__ import annotations

import pytest

from hardware_specs.devices import device_names, load_device
from simulator.devices.model import compile_device
from simulator.devices.priors import fma_sustained, power_memory, static_w, tdp_w, vector_peak
from simulator.kernels.power import POWER_MEMORY
from workloads.runtimes.catalogue import load_runtime


def test_a_board_of_72_watts_cannot_multiply_in_fp32_like_one_of_300() -> None:
    """L4 and L40S have the same units; what L4's limit leaves for a FLOP binds it far below its peak."""
    small, large = load_device("l4"), load_device("l40s")
    rates = [fma_sustained(spec) * vector_peak(spec) for spec in (small, large)]
    assert rates[0] / rates[1] == pytest.approx(
        (tdp_w(small) - static_w(small)) / (tdp_w(large) - static_w(large)), rel=1e-6
    )
    assert fma_sustained(small) < 0.3
    assert fma_sustained(load_device("h100-sxm-80gb")) == 1.0


@pytest.mark.parametrize("name", [name for name in device_names() if load_device(name).device_class == "gpu"])
def test_power_sustains_a_share_of_the_peak(name: str) -> None:
    assert 0.0 < fma_sustained(load_device(name)) <= 1.0


def test_calibrations_of_others_do_not_lift_a_device_above_its_power() -> None:
    runtime = load_runtime("torch-eager-2.4")
    for name, own in (("l4", False), ("t4", True)):
        model = compile_device(load_device(name), runtime)
        shares = [
            float(record["gemm_sustained"])
            for record, chosen in zip(model.records[1:], model.choice.entries, strict=True)
            if chosen.entry.dtypes == ("fp32",) and "gemm" in chosen.entry.operators
        ]
        assert shares
        if own:
            assert shares == [pytest.approx(0.4163)], "what was measured on the device holds"
        else:
            assert shares == [pytest.approx(fma_sustained(load_device(name)))]


def test_memory_of_phones_draws_less() -> None:
    h100, h200 = load_device("h100-sxm-80gb"), load_device("h200-sxm-141gb")
    assert power_memory(h200) == power_memory(load_device("a100-sxm-80gb")) == pytest.approx(POWER_MEMORY)
    assert power_memory(h100) == pytest.approx(POWER_MEMORY * 3.35 / 4.8)
    assert power_memory(load_device("ryzen-ai-max-395")) < POWER_MEMORY
