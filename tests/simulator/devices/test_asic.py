"""The ASIC law: chips that hold a model, hops that bound wafers, arrays of columns, launches of prompts."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from msgspec.structs import replace

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Mark
from hardware_specs.records import DeviceSpec
from simulator.devices.asic import LAW, PROGRAM_SHARE, chips_needed
from simulator.devices.model import compile_device
from simulator.kernels.roofline import TIME
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import Operator
from workloads.runtimes.catalogue import load_runtime

GROQ = load_device("groq-lpu-v1")
GAUDI = load_device("gaudi-2")


def seconds(spec: DeviceSpec, *operators: Operator) -> Any:
    """Time of each operator under the usual runtime [s]."""
    return compile_device(spec, load_runtime(spec.default_runtime)).cost(columns_of(operators))[TIME]


def having(spec: DeviceSpec, name: str, value: float) -> DeviceSpec:
    """``spec`` with another law parameter."""
    units = {parameter.name: parameter.dimension for parameter in LAW.parameters}
    fact = Fact(value, units[name], f"{value}", Mark.ASSUMED, "test")
    return replace(spec, parameters={**spec.parameters, name: fact})


def test_chips_hold_weights_and_caches_beside_program_and_activations() -> None:
    """70B parameters of 8 bits take hundreds of chips of 230 MB, of 16 bits the 576 that are published and more."""
    assert chips_needed(70e9, 0.0, 1e6, GROQ) == 340
    assert 576 < chips_needed(140e9, 0.0, 1e6, GROQ) < 720
    free = GROQ.memory.capacity.value * (1.0 - PROGRAM_SHARE)
    assert chips_needed(free, 0.0, 0.0, GROQ) == 1
    assert chips_needed(free, free * 0.01, 0.0, GROQ) == 2
    assert chips_needed(16e9, 2e9, 0.0, load_device("wse-3")) == 1


def test_a_chip_filled_by_activations_is_refused() -> None:
    with pytest.raises(InputError, match="leave nothing of a chip"):
        chips_needed(1.0, 0.0, 1e9, GROQ)
    with pytest.raises(InputError, match="0 or more"):
        chips_needed(-1.0, 0.0, 0.0, GROQ)


def test_hops_bound_a_wafer_not_its_bandwidth() -> None:
    wafer = load_device("wse-3")
    one = op.gemm("x", 1, 4096, 4096, "fp16")
    bound_s = one.weight_bytes / wafer.memory.bandwidth.value
    assert seconds(wafer, one)[0] > 500.0 * bound_s
    assert seconds(wafer, one)[0] == pytest.approx(2.6e-6, rel=0.1)


def test_prompts_set_up_each_operator_of_an_array_of_columns_once() -> None:
    """Whatever their length, and however many calls; a token pays nothing, and on other parts nothing pays."""
    npu = load_device("xdna2-kraken")
    sizes = [op.gemm("x", rows, 4096, 4096, "int8", weight_bits=4.5, dequantize=1) for rows in (1, 512, 1024)]
    apart = seconds(npu, *sizes) - seconds(having(npu, "prompt_setup_s", 0.0), *sizes)
    assert apart == pytest.approx([0.0, 4.5e-3, 4.5e-3])
    experts = dataclasses.replace(sizes[1], calls=10.0)
    assert seconds(npu, experts) - seconds(having(npu, "prompt_setup_s", 0.0), experts) == pytest.approx(4.5e-3)
    assert seconds(npu, experts) - seconds(having(npu, "prompt_launch_s", 0.0), experts) == pytest.approx(5.5e-3)
    elsewhere = op.gemm("x", 512, 4096, 4096, "bf16")
    assert seconds(GAUDI, elsewhere) == seconds(having(GAUDI, "prompt_setup_s", 0.0), elsewhere)


def test_heads_of_the_cache_are_dealt_to_columns() -> None:
    """Eight of them: one head reads at an eighth of the rate, nine take as long as sixteen."""
    npu = having(load_device("xdna2-kraken"), "floor_s", 0.0)
    one, eight, nine, sixteen = (
        seconds(npu, op.attention("a", 1, 32768, heads, heads, 128, dtype="int8"))[0] for heads in (1, 8, 9, 16)
    )
    assert one == pytest.approx(eight, rel=1e-3)
    assert nine == pytest.approx(sixteen, rel=1e-3)
    assert sixteen == pytest.approx(2.0 * eight, rel=0.01)  # one launch in place of two
    batch = seconds(npu, op.attention("a", 1, 32768, 1, 1, 128, batch=8, dtype="int8"))[0]
    assert batch == pytest.approx(eight, rel=1e-3)


def test_widths_of_prompts_are_padded_to_all_columns() -> None:
    npu = having(having(load_device("xdna2-kraken"), "prompt_setup_s", 0.0), "prompt_launch_s", 0.0)
    narrow, full = (seconds(npu, op.gemm("x", 8192, width, width, "int8"))[0] for width in (1152, 2048))
    assert narrow == pytest.approx(full, rel=0.02)
    tokens = [seconds(npu, op.gemm("x", 1, width, width, "int8"))[0] for width in (1152, 2048)]
    assert tokens[0] < 0.5 * tokens[1]


def test_operators_of_prompts_are_launched_where_they_are_not_captured() -> None:
    card = load_device("wormhole-n150")
    sizes = [op.gemm("x", rows, 4096, 4096, "fp8") for rows in (32, 128)]
    apart = seconds(card, *sizes) - seconds(having(card, "prompt_launch_s", 0.0), *sizes)
    assert apart == pytest.approx([0.0, 200e-6])


def test_steps_of_a_state_space_run_at_a_small_share() -> None:
    gaudi = load_device("gaudi-2")
    scan = op.ssm_scan("s", 1, 1536, 16, batch=64)
    slow = seconds(gaudi, scan)[0] - seconds(having(gaudi, "scan_share", 1e6), scan)[0]
    peak = gaudi.compute.peaks["bf16"].value / 16.0
    assert slow == pytest.approx(scan.vector_flops / (peak * 5e-4), rel=0.01)


def test_scans_of_prompts_have_a_kernel() -> None:
    gaudi = load_device("gaudi-2")
    scan = op.ssm_scan("s", 64, 1536, 16, batch=2)
    assert seconds(gaudi, scan) == seconds(having(gaudi, "scan_share", 1e6), scan)
