"""Devices of one chip lend each other attention of a stack; quantisation that is fused costs products nothing."""

from __future__ import annotations

import pytest

from hardware_specs.devices import load_device
from hardware_specs.twins import twins_of
from simulator.devices.calibrated import KINDS, choice_of
from simulator.devices.model import compile_device
from workloads.runtimes.catalogue import load_runtime


def entry(device: str, runtime: str, operator: str, dtype: str = "bf16") -> str:
    from hardware_specs.dtypes import COMPUTE_DTYPES

    choice = choice_of(load_device(device), load_runtime(runtime))
    number = int(choice.table[KINDS[operator], COMPUTE_DTYPES.index(dtype), 0])
    return choice.entries[number - 1].entry.fit.id if number else ""


def test_chips_are_known_by_units_and_peaks() -> None:
    assert "h100-sxm-80gb" in twins_of(load_device("h200-sxm-141gb"))
    assert "a100-sxm-80gb" in twins_of(load_device("a100-pcie-80gb"))
    assert not {"h100-sxm-80gb", "h200-sxm-141gb"} & set(twins_of(load_device("h100-pcie-80gb")))
    assert "h200-sxm-141gb" not in twins_of(load_device("h200-sxm-141gb"))


def test_attention_of_the_stack_on_a_twin_goes_before_that_of_another_stack() -> None:
    assert entry("h200-sxm-141gb", "trtllm-1.0", "attention_decode").startswith("h100-sxm-80gb-trtllm-1.0")
    assert entry("h200-sxm-141gb", "trtllm-0.14", "attention_decode").startswith("h100-sxm-80gb-trtllm-1.0")


def test_what_the_device_itself_has_stays() -> None:
    assert entry("h200-sxm-141gb", "vllm-0.19", "attention_decode").startswith("h200-sxm-141gb-vllm-0.19")
    assert entry("h200-sxm-141gb", "trtllm-1.0", "gemm").startswith("h200-sxm-141gb")
    assert entry("a100-pcie-80gb", "vllm-0.19", "attention_decode") == ""


@pytest.mark.parametrize(("runtime", "alone", "costs"), [
    ("trtllm-1.0", False, False), ("trtllm-1.0", True, True), ("vllm-0.19", False, True),
])  # fmt: skip
def test_fused_quantisation_costs_nothing_but_where_calls_are_timed_alone(
    runtime: str, alone: bool, costs: bool
) -> None:
    model = compile_device(load_device("h100-sxm-80gb"), load_runtime(runtime), timed_alone=alone)
    assert bool((model.records["gemm_prepare_bytes"] > 0.0).all()) is costs
    assert bool((model.records["gemm_prepare_bytes"] == 0.0).all()) is not costs
