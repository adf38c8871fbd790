"""The FPGA law: overlays that read weights again for each pass of rows, stages of spatial dataflow, heads in turn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from hardware_specs.devices import load_device
from hardware_specs.facts import Fact, Mark
from hardware_specs.records import DeviceSpec
from simulator.devices.model import compile_device
from simulator.kernels.roofline import TIME
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import Operator
from workloads.runtimes.catalogue import load_runtime

OVERLAY = load_runtime("fpga-overlay-2024")


def seconds(spec: DeviceSpec, *operators: Operator) -> Any:
    """Time of each operator [s]."""
    return compile_device(spec, OVERLAY).cost(columns_of(operators))[TIME]


def having(spec: DeviceSpec, **parameters: float) -> DeviceSpec:
    """``spec`` with other law parameters."""
    facts = {name: Fact(value, "number", f"{value}", Mark.ASSUMED, "test") for name, value in parameters.items()}
    return replace(spec, parameters={**spec.parameters, **facts})


def product(rows: int, n: int = 4096, k: int = 1024) -> Operator:
    return op.gemm("x", rows, n, k, "int8")


def test_tokens_that_pass_one_by_one_read_the_weights_each() -> None:
    board = load_device("alveo-u280:flightllm")
    one, many = (seconds(having(board, rows_at_once=each), product(1), product(64)) for each in (1.0, 1e9))
    assert one[0] == pytest.approx(many[0])
    assert one[1] == pytest.approx(64.0 * one[0], rel=0.1)
    assert many[1] < 16.0 * many[0]


def test_a_token_sees_the_ports_of_its_stage_alone() -> None:
    """Four times as many weights have four times as many ports: stages of a block have the same interval."""
    spec = load_device("alveo-u55c:streamtensor")
    square, wide = seconds(spec, product(1, 1024), product(1, 4096))
    port = 14.375e9 * 0.924
    assert square - 2e-6 == pytest.approx(1024 * 1024 / port, rel=0.1)
    assert wide == pytest.approx(square, rel=0.1)


def test_rows_follow_each_other_through_the_stages() -> None:
    spec = load_device("alveo-u55c:streamtensor")
    one, many = seconds(spec, product(1), product(61))
    assert many == pytest.approx(one * (1.0 + 60.0 / 6.0), rel=0.1)


def test_heads_in_turn_cost_time_each() -> None:
    spec = load_device("alveo-u280:dfx")
    few, many = (op.attention("a", 1, 64, heads, heads, 64, dtype="fp16") for heads in (4, 16))
    apart = np.diff(seconds(spec, few, many))
    assert apart == pytest.approx(12 * 6e-6, rel=0.1)


def test_more_lanes_and_bandwidth_are_never_slower() -> None:
    board = load_device("alveo-u280:allo")
    wider = replace(board, memory=replace(board.memory, bandwidth=replace(board.memory.bandwidth, value=9e11)))
    operators = [product(rows, n) for rows in (1, 7, 512) for n in (1024, 4096)]
    assert (seconds(wider, *operators) <= seconds(board, *operators) * (1.0 + 1e-9)).all()
