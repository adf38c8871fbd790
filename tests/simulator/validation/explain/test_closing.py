"""The value at which a prediction meets a measurement: found where it is, and not where there is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.systems import links_of, system_for
from simulator.validation.explain.closing import CLOSED, Closing, closing_of
from simulator.validation.explain.setup import Candidate, Setup, changed
from workloads.runtimes.catalogue import load_runtime

DEVICE = load_device("h100-sxm-80gb")
SYSTEM = system_for(DEVICE, 8)
SETUP = Setup(DEVICE, load_runtime("vllm-0.19"), SYSTEM, links_of(SYSTEM))
HOST = Candidate("runtime.host_step", "vllm-0.19", "", "s", SETUP.runtime.host_step.value, 0.0, math.inf, 1.0)
FACTOR = Candidate("runtime.factors.gemm", "vllm-0.19", "", "number", 1.0, 0.01, 1.5, 0.4)


class Priced:
    """A case that takes what a function of its setup says."""

    def __init__(self, seconds: Callable[[Setup], float], setup: Setup = SETUP) -> None:
        self.seconds, self.setup = seconds, setup


def close(seconds: Callable[[Setup], float], candidate: Candidate, target_s: float) -> Closing | None:
    case: Any = Priced(seconds)
    return closing_of(case, candidate, target_s)


def with_host(rest_s: float) -> Callable[[Setup], float]:
    return lambda setup: rest_s + setup.runtime.host_step.value


@settings(max_examples=50, deadline=None)
@given(rest_s=st.floats(1e-5, 1.0), needed_s=st.floats(1e-6, 1.0), now_s=st.floats(2e-5, 1e-2))
def test_a_host_time_is_found(rest_s: float, needed_s: float, now_s: float) -> None:
    assume(abs(math.log((rest_s + needed_s) / (rest_s + now_s))) > CLOSED)
    now = msgspec.structs.replace(SETUP.runtime.host_step, value=now_s)
    setup = msgspec.structs.replace(SETUP, runtime=msgspec.structs.replace(SETUP.runtime, host_step=now))
    candidate = HOST._replace(now=now_s)
    case: Any = Priced(with_host(rest_s), setup)
    found = closing_of(case, candidate, rest_s + needed_s)
    assert found is not None
    assert found.needed is not None
    assert found.in_range
    assert rest_s + found.needed == pytest.approx(rest_s + needed_s, rel=1e-6)
    assert found.size == pytest.approx(candidate.size(found.needed))


@settings(max_examples=30, deadline=None)
@given(rest_s=st.floats(1e-4, 1e-2), share=st.floats(0.1, 0.9))
def test_no_host_time_is_below_zero(rest_s: float, share: float) -> None:
    found = close(with_host(rest_s), HOST, rest_s * share)
    assert found is not None
    assert (found.needed, found.in_range) == (None, False)
    assert found.nearest < 1e-3 * HOST.now
    assert found.left == pytest.approx(math.log(1.0 / share), abs=1e-3)


def test_a_factor_outside_its_range_says_so_or_is_refused() -> None:
    found = close(lambda setup: 1.0 / setup.runtime.factors.gemm.value, FACTOR, 1.0 / 2.0)
    assert found is not None
    assert found.needed == pytest.approx(2.0)
    assert not found.in_range
    assert (found.nearest, found.left) == (pytest.approx(1.5), pytest.approx(math.log(2.0 / 1.5)))

    def refuses(setup: Setup) -> float:
        if setup.runtime.factors.gemm.value > 1.5:
            raise InputError("too much")
        return 1.0 / setup.runtime.factors.gemm.value

    found = close(refuses, FACTOR, 1.0 / 2.0)
    assert found is not None
    assert (found.needed, found.nearest) == (None, pytest.approx(1.5))


def test_what_has_no_effect_is_none() -> None:
    assert close(lambda setup: 1.0, FACTOR, 2.0) is None


def test_a_jump_over_the_measurement_closes_nothing() -> None:
    found = close(lambda setup: 1.0 if setup.runtime.factors.gemm.value > 0.5 else 3.0, FACTOR, 2.0)
    assert found is not None
    assert found.needed is None
    assert abs(found.left) == pytest.approx(min(math.log(2.0), math.log(1.5)))


def test_the_nearer_of_two_values_is_found() -> None:
    """A parabola of the logarithm that is 2 at a factor of e^-1 and of e^0.3."""

    def seconds(setup: Setup) -> float:
        place = math.log(setup.runtime.factors.gemm.value)
        return math.exp((place + 1.0) * (place - 0.3))

    found = close(seconds, FACTOR, 1.0)
    assert found is not None
    assert found.needed == pytest.approx(math.exp(0.3), rel=1e-5)


def test_sizes_and_ranges() -> None:
    assert FACTOR.size(1.0) == 0.0
    assert FACTOR.size(math.exp(0.4)) == pytest.approx(1.0)
    assert FACTOR.size(0.5) == pytest.approx(FACTOR.size(2.0))
    assert HOST.size(0.0) == pytest.approx(math.log(21.0))
    assert (HOST.allows(0.0), HOST.allows(5.0), FACTOR.allows(1.5), FACTOR.allows(1.51)) == (True, True, True, False)
    nothing = HOST._replace(now=0.0)
    assert nothing.size(0.0) == 0.0
    assert 0.0 < nothing.size(1e-3) < math.inf


@pytest.mark.parametrize(
    ("path", "dimension", "read"),
    [
        ("runtime.launch", "s", lambda setup: setup.runtime.launch.value),
        ("runtime.factors.gemv", "number", lambda setup: setup.runtime.factors.gemv.value),
        ("device.memory.bandwidth", "bytes_per_s", lambda setup: setup.device.memory.bandwidth.value),
        ("device.compute.peaks.bf16", "flops", lambda setup: setup.device.compute.peaks["bf16"].value),
        ("device.parameters.cap_w", "w", lambda setup: setup.device.parameters["cap_w"].value),
        ("link.nvlink4.latency", "s", lambda setup: setup.links["nvlink4"].latency.value),
    ],
)
def test_a_changed_number_is_that_number(path: str, dimension: str, read: Callable[[Setup], float]) -> None:
    for value in (0.123456789012345, 1e-3):
        candidate = Candidate(path, "", "", dimension, 1.0, 0.0, math.inf, 1.0)
        if dimension in ("bytes_per_s", "flops"):
            value *= 1e12
        other = changed(SETUP, candidate, value)
        assert read(other) == pytest.approx(value, rel=1e-12)
        assert msgspec.structs.replace(other, device=SETUP.device, runtime=SETUP.runtime, links=SETUP.links) == SETUP
