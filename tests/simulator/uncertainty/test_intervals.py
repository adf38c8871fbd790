"""Intervals: what a shared bias does that a root-sum-square would hide."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.uncertainty.intervals import (
    DEVICE_CORRELATION,
    ERRORS,
    FAMILY_CORRELATION,
    OTHER_BIAS,
    TRAINING_STEP,
    WHOLE_RUN,
    Error,
    Part,
    interval,
    log_sd,
    prior_error,
    run_sd,
    step_sd,
)

parts = st.lists(
    st.builds(
        Part,
        st.sampled_from(["d1", "d2", "d3"]),
        st.sampled_from(sorted(ERRORS)),
        st.sampled_from(["gemm", "vector", "collective"]),
        st.floats(1e-6, 1e3),
        st.builds(Error, st.floats(0.01, 1.0), st.floats(0.0, 1.0)),
    ),
    min_size=1,
    max_size=8,
)


@given(st.floats(1e-6, 1e3), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_one_part(seconds: float, shared: float, own: float) -> None:
    assert log_sd([Part("d", "gpu", "gemm", seconds, Error(shared, own))]) == pytest.approx(math.hypot(shared, own))


def test_two_parts_by_hand() -> None:
    a, b = (Part("d", "gpu", family, t, Error(s, 0.0)) for family, t, s in (("gemm", 1.0, 0.2), ("vector", 3.0, 0.4)))
    x, y = 0.25 * 0.2, 0.75 * 0.4
    assert log_sd([a, b]) == pytest.approx(math.sqrt(x * x + y * y + 2.0 * FAMILY_CORRELATION * x * y))
    elsewhere = b._replace(device="e")
    assert log_sd([a, elsewhere]) == pytest.approx(math.sqrt(x * x + y * y + 2.0 * DEVICE_CORRELATION * x * y))


def test_a_class_without_samples_doubts_itself_as_its_table_says() -> None:
    for device_class, table in ERRORS.items():
        assert prior_error(device_class, "gemm") == table["gemm"]
        assert prior_error(device_class, "transfer").shared == OTHER_BIAS


@given(parts)
def test_lies_between_independence_and_full_dependence(case: list[Part]) -> None:
    total = sum(part.seconds for part in case)
    shared = [part.seconds / total * part.error.shared for part in case]
    own = math.sqrt(sum((part.seconds / total * part.error.own) ** 2 for part in case))
    sd = log_sd(case)
    assert sd >= math.hypot(math.sqrt(sum(s * s for s in shared)), own) * (1.0 - 1e-12)
    assert sd <= math.hypot(sum(shared), own) * (1.0 + 1e-12)


@given(parts)
def test_a_whole_run_errs_more_than_its_operators(case: list[Part]) -> None:
    least, most = (pick(WHOLE_RUN[part.device_class] for part in case) for pick in (min, max))
    assert math.hypot(log_sd(case), least) * (1.0 - 1e-12) <= run_sd(case)
    assert run_sd(case) <= math.hypot(log_sd(case), most) * (1.0 + 1e-12)


@given(parts)
def test_training_steps_spread_less_than_other_runs(case: list[Part]) -> None:
    assert step_sd(case) <= run_sd(case) * (1.0 + 1e-12)
    alike = [part for part in case if part.device_class not in TRAINING_STEP]
    assert step_sd(alike) == pytest.approx(run_sd(alike))


def test_a_training_step_keeps_a_share_of_the_errors_of_operators() -> None:
    part = Part("d", "gpu", "gemm", 2.0, Error(0.3, 0.4))
    spread = TRAINING_STEP["gpu"]
    assert step_sd([part]) == pytest.approx(math.hypot(spread.operators * 0.5, spread.beyond))
    other = Part("e", "asic", "gemm", 2.0, Error(0.3, 0.4))
    left = [part._replace(error=Error(0.3 * spread.operators, 0.4 * spread.operators)), other]
    beyond = (spread.beyond + WHOLE_RUN["asic"]) / 2.0
    assert step_sd([part, other]) == pytest.approx(math.hypot(log_sd(left), beyond))


@given(parts, st.randoms(use_true_random=False))
def test_order_does_not_change_a_bit(case: list[Part], random: object) -> None:
    before = log_sd(case)
    random.shuffle(case)  # type: ignore[attr-defined]
    assert log_sd(case) == before


@given(st.floats(1e-9, 1e9), st.floats(0.0, 2.0), st.floats(-2.0, 2.0))
def test_intervals_are_symmetric_in_the_logarithm_and_nested(value: float, sd: float, power: float) -> None:
    i = interval(value, sd, power)
    assert i.p2_5 <= i.p10 <= value * (1 + 1e-12) and value <= i.p90 * (1 + 1e-12) and i.p90 <= i.p97_5
    assert math.log(i.p90 / value) == pytest.approx(math.log(value / i.p10), abs=1e-9)
    assert math.log(i.p97_5 / value) == pytest.approx(math.log(value / i.p2_5), abs=1e-9)
    assert i.p97_5 / i.p2_5 == pytest.approx(math.exp(2.0 * 1.959964 * abs(power) * sd), rel=1e-5)


@given(st.floats(1e-3, 1e3), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_more_doubt_is_a_wider_interval(value: float, sd: float, more: float) -> None:
    assert interval(value, sd + more).p90 >= interval(value, sd).p90


def test_no_time_no_doubt() -> None:
    assert log_sd([]) == 0.0
    assert log_sd([Part("d", "gpu", "gemm", 0.0, Error(1.0, 1.0))]) == 0.0
