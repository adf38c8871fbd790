"""Costs of checkpoints, and the interval: Young, Daly, and the exact optimum."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from hardware_specs.errors import InputError
from simulator.goodput.checkpoints import (
    Checkpoint,
    CheckpointTimes,
    daly_interval_s,
    optimal_interval_s,
    young_interval_s,
)
from simulator.goodput.expected import Interruptions, expected_run

HOUR = 3600.0


def test_the_narrower_of_nodes_and_storage_decides() -> None:
    wide = Checkpoint(bytes=1e12, node_bytes_per_s=1e9, storage_bytes_per_s=1e11)
    assert wide.times(10) == CheckpointTimes(100.0, 0.0)
    assert wide.times(1000) == CheckpointTimes(10.0, 0.0)


def test_an_asynchronous_checkpoint_stops_training_for_the_copy_alone() -> None:
    saved = Checkpoint(1e12, 1e9, asynchronous=True, copy_bytes_per_s=5e10, interference=0.05, fixed_s=1.0)
    assert saved.times(10).stall_s == pytest.approx(1.0 + 2.0 + 5.0)
    assert saved.times(10).unsafe_s == pytest.approx(100.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"node_bytes_per_s": 0.0},
        {"node_bytes_per_s": math.nan},
        {"bytes": -1.0},
        {"fixed_s": math.inf},
        {"interference": 1.0},
    ],
)
def test_checkpoints_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"checkpoint {next(iter(wrong))} .*; allowed"):
        Checkpoint(**{"bytes": 1e9, "node_bytes_per_s": 1e9, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(("mtbf_s", "minutes"), [(24 * HOUR, 117.0), (6 * HOUR, 57.0), (0.25 * HOUR, 9.1)])
def test_optima_that_daly_prints(mtbf_s: float, minutes: float) -> None:
    """Figures 3 to 5 of Daly 2006: a dump of 5 min."""
    assert daly_interval_s(300.0, mtbf_s) / 60.0 == pytest.approx(minutes, rel=0.01)
    assert optimal_interval_s(300.0, mtbf_s) / 60.0 == pytest.approx(minutes, rel=0.01)


@given(stall=st.floats(1e-3, 1e4), mtbf=st.floats(10.0, 1e7))
def test_no_interval_is_better_than_the_optimum(stall: float, mtbf: float) -> None:
    best = optimal_interval_s(stall, mtbf)
    if stall > 50.0 * mtbf:
        return

    def cost(interval: float) -> float:
        return math.expm1((interval + stall) / mtbf) / interval

    assert all(cost(best) <= cost(best * by) * (1.0 + 1e-9) for by in (0.5, 0.9, 1.1, 2.0))


@given(stall=st.floats(1e-3, 1e3), mtbf=st.floats(100.0, 1e7))
def test_daly_is_close_and_young_closer_the_rarer_failures_are(stall: float, mtbf: float) -> None:
    best = optimal_interval_s(stall, mtbf)
    ratio = stall / mtbf
    if ratio < 0.5:
        assert daly_interval_s(stall, mtbf) == pytest.approx(best, rel=0.02 * ratio + 1e-6)
    if ratio < 1.0:
        assert best <= young_interval_s(stall, mtbf) <= best * (1.0 + math.sqrt(ratio))


def test_the_series_meets_the_function() -> None:
    ratio = 1e-5
    assert optimal_interval_s(ratio * (1 - 1e-9), 1.0) == pytest.approx(
        optimal_interval_s(ratio * (1 + 1e-9), 1.0), rel=1e-6
    )


def test_no_failures_need_no_checkpoints() -> None:
    assert optimal_interval_s(10.0, math.inf) == daly_interval_s(10.0, math.inf) == math.inf


@pytest.mark.parametrize("unsafe_s", [0.0, 40.0])
def test_what_a_restart_costs_does_not_move_the_optimum(unsafe_s: float) -> None:
    times = CheckpointTimes(30.0, unsafe_s)
    for restart_s in (0.0, 600.0):
        stops = Interruptions(1.0 / 7200.0, 60.0, 0.0, restart_s)

        def share(interval: float, stops: Interruptions = stops) -> float:
            return expected_run(interval * 50_000, interval, times, stops).wall_s / (interval * 50_000)

        found = minimize_scalar(share, bounds=(100.0, 5000.0), method="bounded").x
        assert found == pytest.approx(optimal_interval_s(30.0, 7200.0), rel=0.005)
