"""The ASIC law: chips that hold a model, hops that bound wafers, weights laid out again, launches of prompts."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Mark
from hardware_specs.records import DeviceSpec
from simulator.devices.asic import LAW, PROGRAM_SHARE, chips_needed, repack_bytes_per_s
from simulator.devices.model import compile_device
from simulator.kernels.roofline import TIME
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import Operator
from workloads.runtimes.catalogue import load_runtime

GROQ = load_device("groq-lpu-v1")


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


def test_packed_weights_are_laid_out_once_for_many_rows() -> None:
    """Prompts pay what does not depend on their length; a token pays nothing."""
    npu = load_device("xdna2-kraken")
    assert repack_bytes_per_s(npu) == 5e9
    assert repack_bytes_per_s(load_device("gaudi-2")) == 0.0
    sizes = [op.gemm("x", rows, 4096, 4096, "int8", weight_bits=4.5, dequantize=1) for rows in (1, 512, 1024)]
    with_s, without_s = seconds(npu, *sizes), seconds(having(npu, "repack_bytes_per_s", 0.0), *sizes)
    apart = with_s - without_s
    assert apart[0] == 0.0
    assert apart[1:] == pytest.approx(sizes[0].weight_bytes / 5e9, rel=1e-6)


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
