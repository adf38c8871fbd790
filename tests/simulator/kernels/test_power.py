"""Energy of an operator: terms, limit, and what must hold for any operator and time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.dtypes import COMPUTE_DTYPES
from simulator.kernels.power import POWER_LIMIT, POWER_MATH, POWER_MEMORY, POWER_ROOT, dynamic_energy
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import Operator

FIELDS = ("vector_peak", "static_w", "rated_w", "power_math", "power_memory", "power_limit", "power_root")
BOUND = 1.0 + 1e-9


def record(**values: float) -> Any:
    """A board of 1000 W, 200 W of them static, with 1 PFLOP/s and 10 TFLOP/s of vectors; ``values`` replace."""
    row = np.zeros(1, np.dtype([("peaks", "f8", (len(COMPUTE_DTYPES),)), *((name, "f8") for name in FIELDS)]))
    row["peaks"] = 1e15
    defaults = {
        "vector_peak": 1e13, "static_w": 200.0, "rated_w": 1000.0, "power_math": POWER_MATH,
        "power_memory": POWER_MEMORY, "power_limit": POWER_LIMIT, "power_root": POWER_ROOT,
    }  # fmt: skip
    for name, value in (defaults | values).items():
        row[name] = value
    return row[0]


def joules(
    o: Operator, kernel_s: float, bytes_s: float = 0.0, lanes_s: float = 0.0, **values: float
) -> tuple[float, float]:
    """Dynamic and static energy of one operator [J]."""
    row = record(**values)
    return float(dynamic_energy(row, columns_of((o,)), 0, kernel_s, bytes_s, lanes_s)), float(
        row["static_w"]
    ) * kernel_s


GEMM = op.gemm("x", 1000, 1000, 1000)
"""2 GFLOP: 2 us of math on the board above."""


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """The kernel is compiled here, outside any deadline."""
    joules(GEMM, 1.0)


def test_math_draws_by_the_root_of_its_rate() -> None:
    dynamic_j, static_j = joules(GEMM, 200e-6)
    assert static_j == pytest.approx(200.0 * 200e-6)
    assert dynamic_j == pytest.approx(1000.0 * POWER_MATH * 0.1 * 200e-6)


def test_bytes_draw_by_their_rate() -> None:
    copy = op.stream_copy("x", 1e6)
    assert joules(copy, 10e-6, 2e-6)[0] == pytest.approx(1000.0 * POWER_MEMORY * 2e-6)
    assert joules(copy, 20e-6, 2e-6)[0] == pytest.approx(1000.0 * POWER_MEMORY * 2e-6), "the same bytes, longer"


def test_vector_math_draws_too() -> None:
    norm = op.norm("x", 1000, 1000)
    assert joules(norm, 1e-3)[0] == pytest.approx(1000.0 * POWER_MATH * np.sqrt(norm.vector_flops / 1e13 / 1e-3) * 1e-3)


def test_lanes_that_issue_draw_by_their_time_and_flops_do_not_count_beside_them() -> None:
    for busy in (0.2, 0.4):
        dynamic_j, _ = joules(GEMM, 1e-3, lanes_s=busy * 1e-3, power_root=1.0, power_math=0.6)
        assert dynamic_j == pytest.approx(1000.0 * 0.6 * busy * 1e-3)


def test_unpacking_weights_is_no_math() -> None:
    packed = op.gemm("x", 1000, 1000, 1000, weight_bits=4.0, dequantize=True)
    assert packed.vector_flops > 0.0
    assert joules(packed, 1e-3) == joules(GEMM, 1e-3)


def test_a_board_at_its_limit_draws_the_limit() -> None:
    assert sum(joules(GEMM, 2e-6, 2e-6)) == pytest.approx(1000.0 * POWER_LIMIT * 2e-6)
    assert sum(joules(GEMM, 2e-6, 2e-6, static_w=1200.0)) == pytest.approx(1200.0 * 2e-6), "nothing is left to spend"


def test_no_time_takes_no_energy() -> None:
    assert joules(op.norm("x", 0, 0), 0.0) == (0.0, 0.0)


def test_idling_draws_the_static_power() -> None:
    assert joules(op.norm("x", 0, 0), 1.0) == (0.0, 200.0)


@given(
    m=st.integers(1, 5000), n=st.integers(1, 5000), k=st.integers(1, 5000),
    slower=st.floats(1.0, 100.0), memory=st.floats(0.0, 1.0), longer=st.floats(1.0, 10.0),
)  # fmt: skip
def test_energy_lies_between_static_and_limit_and_grows_with_work_and_time(
    m: int, n: int, k: int, slower: float, memory: float, longer: float
) -> None:
    o = op.gemm("x", m, n, k)
    kernel_s = slower * o.flops / 1e15
    bytes_s = memory * kernel_s
    dynamic_j, static_j = joules(o, kernel_s, bytes_s)
    assert static_j == 200.0 * kernel_s
    assert dynamic_j > 0.0
    assert dynamic_j + static_j <= 1000.0 * POWER_LIMIT * kernel_s * BOUND
    assert dynamic_j <= joules(op.gemm("x", 2 * m, n, k), kernel_s, bytes_s)[0] * BOUND
    assert dynamic_j <= joules(o, kernel_s, 0.5 * (bytes_s + kernel_s))[0] * BOUND
    assert dynamic_j <= joules(o, longer * kernel_s, bytes_s)[0] * BOUND
    assert dynamic_j <= joules(o, kernel_s, bytes_s, rated_w=1100.0)[0] * BOUND
