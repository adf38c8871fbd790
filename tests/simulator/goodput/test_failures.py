"""Rates of jobs, and waiting for repairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from hardware_specs.reliability import load_reliability
from simulator.goodput.failures import FailureRates, expected_wait_s, job_rates

DAY = 86400.0


def test_the_rates_of_llama_3_are_its_interruptions() -> None:
    rates = job_rates(load_reliability("h100"), 16384, 8)
    assert rates.per_s * 54 * DAY == pytest.approx(419.0, rel=1e-4)
    assert rates.software_per_s * 54 * DAY == pytest.approx(63.0, rel=1e-4)
    assert rates.hardware_share == pytest.approx(356 / 419, rel=1e-4)


def test_facts_of_whole_nodes_count_nodes() -> None:
    rates = job_rates(load_reliability("a100"), 16384, 8)
    assert rates.mtbf_s == pytest.approx(1000.0 / 6.5 / 2048 * DAY, rel=1e-3)
    assert job_rates(load_reliability("a100"), 17, 8).per_s == pytest.approx(3 / 2048 * rates.per_s)


@given(devices=st.integers(1, 10_000), more=st.integers(1, 10_000))
def test_more_devices_fail_more_often(devices: int, more: int) -> None:
    spec = load_reliability("tpu")
    assert job_rates(spec, devices + more, 4).per_s >= job_rates(spec, devices, 4).per_s


def test_no_failures() -> None:
    assert FailureRates(0.0, 0.0).mtbf_s == math.inf
    assert FailureRates(0.0, 0.0).hardware_share == 0.0


@pytest.mark.parametrize("numbers", [(0, 8), (8, 0)])
def test_jobs_that_cannot_be(numbers: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="allowed: whole numbers from 1 on"):
        job_rates(load_reliability("h100"), *numbers)


def test_without_spares_each_failure_waits_for_its_repair() -> None:
    assert expected_wait_s(1e-5, 0, 3600.0) == 3600.0
    assert expected_wait_s(1e-5, None, 3600.0) == 0.0


@given(load=st.floats(0.01, 50.0), spares=st.integers(0, 60))
def test_more_spares_wait_less(load: float, spares: int) -> None:
    now, more = (expected_wait_s(load / DAY, n, DAY) for n in (spares, spares + 1))
    assert 0.0 <= more <= now


@pytest.mark.parametrize(("load", "spares"), [(0.5, 0), (0.5, 1), (3.0, 3), (6.0, 8)])
def test_the_wait_is_that_of_the_birth_death_process(load: float, spares: int) -> None:
    """Stationary chances by linear algebra: of all failures, those that find no spare wait for the first repair."""
    states = spares + 2
    generator = np.zeros((states, states))
    for k in range(states - 1):
        generator[k, k + 1] = load
        generator[k + 1, k] = k + 1.0
    generator -= np.diag(generator.sum(axis=1))
    chances = np.linalg.lstsq(np.vstack([generator.T, np.ones(states)]), np.eye(states + 1)[-1], rcond=None)[0]
    wait = chances[spares] / chances[:-1].sum() * 1.0 / (spares + 1)
    assert expected_wait_s(load, spares, 1.0) == pytest.approx(wait, rel=1e-9)
