"""Numbers of runtimes come back from runs that they made; what runs do not determine stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.calibration.runtimes import Number, fit_numbers, numbers_of, values_of, with_values
from workloads.runtimes.catalogue import load_all_runtimes, load_runtime

RUNTIMES = [runtime.id for runtime in load_all_runtimes()]
NUMBERS = (
    Number("gemm", 0.05, 1.5),
    Number("gemv", 0.05, 1.5),
    Number("host_step", 1e-4, 2.5e-3),
    Number("moe", 0.05, 1.5),
)
MATH_S, READ_S = np.array([0.1, 0.01, 1e-3, 0.4, 1e-3, 2e-3]), np.array([1e-3, 0.02, 0.01, 2e-3, 5e-4, 5e-4])


def made(values):
    """Seconds of six runs: math, then reads, then the host; none has experts."""
    return MATH_S / values["gemm"] + READ_S / values["gemv"] + values["host_step"]


@given(gemm=st.floats(0.2, 1.2), gemv=st.floats(0.4, 1.2), host=st.floats(2e-4, 2e-3))
def test_numbers_come_back_from_the_runs_that_they_made(gemm, gemv, host):
    measured = made({"gemm": gemm, "gemv": gemv, "host_step": host})
    found = fit_numbers(lambda v: np.log(made(v) / measured), np.array([0.5, 0.8, 5e-4, 0.7]), NUMBERS, 100)
    assert set(found.values) == {"gemm", "gemv", "host_step"}, "no run has experts"
    assert np.abs(np.log(made(found.values) / measured)).mean() < 0.03
    assert found.values["gemm"] == pytest.approx(gemm, rel=0.1)


def test_a_single_outlier_hardly_moves_a_fit():
    measured = made({"gemm": 0.8, "gemv": 0.8, "host_step": 1e-3}) * np.array([1, 1, 1, 1, 1, 20.0])
    found = fit_numbers(lambda v: np.log(made(v) / measured), np.array([0.5, 0.8, 1e-3, 0.7]), NUMBERS, 100)
    assert found.values["gemm"] == pytest.approx(0.8, rel=0.05)


def test_fits_stay_in_their_ranges():
    measured = made({"gemm": 100.0, "gemv": 1e-3, "host_step": 1.0})
    found = fit_numbers(lambda v: np.log(made(v) / measured), np.array([0.5, 0.8, 5e-4, 0.7]), NUMBERS, 100)
    for number in NUMBERS[:3]:
        assert number.low * 0.999 <= found.values[number.name] <= number.high * 1.001


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_lies_in_the_ranges_of_fits(name):
    runtime = load_runtime(name)
    numbers = numbers_of(runtime)
    for number, value in zip(numbers, values_of(runtime, numbers), strict=True):
        assert number.low <= value <= number.high, number.name


def test_values_are_replaced_by_name():
    changed = with_values(load_runtime("vllm-0.6"), {"gemm": 0.5, "host_step": 1e-3})
    assert (changed.factors.gemm.value, changed.host_step.value) == (0.5, 1e-3)
    assert changed.factors.moe == load_runtime("vllm-0.6").factors.moe
    with pytest.raises(ValueError, match="no number 'gems'"):
        with_values(changed, {"gems": 1.0})
