"""Power under one call: the device is busy before and while the meter runs, and joules are those of a call."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from simulator.calibration.power.energy import Energy
from simulator.calibration.power.operator_power import LEAST_S, power_during
from simulator.calibration.timing import Clock, WallTime

CALL_S = 0.003
WATTS = 250.0


class Bench(WallTime):
    """A device, its clock and its meter: a call takes ``CALL_S``, a round ``between_s`` more that no clock sees."""

    def __init__(self, between_s: float = 0.0, watts: float = WATTS) -> None:
        self.between_s, self.watts = between_s, watts
        self.now = 0.0
        self.started = math.nan
        self.before_start = 0.0
        self.calls = 0
        self.rounds: list[int] = []

    def round_s(self, call: Callable[[], object], calls: int) -> float:
        for _ in range(calls):
            call()
        self.calls += calls
        self.rounds.append(calls)
        self.now += calls * CALL_S + self.between_s
        return calls * CALL_S

    @property
    def missing(self) -> str:
        return ""

    def start(self) -> None:
        assert math.isnan(self.started), "the meter was started twice"
        self.started, self.before_start, self.calls, self.rounds = self.now, self.now, 0, []

    def stop(self) -> Energy:
        seconds = self.now - self.started
        return Energy(self.watts * seconds, seconds, 1.6e9, "software power cap")


def test_a_call_takes_mean_power_for_its_time() -> None:
    bench = Bench()
    clock: Clock = bench
    found = power_during(bench, lambda: None, clock)
    assert found.mean_w == pytest.approx(WATTS)
    assert found.call_s == pytest.approx(CALL_S)
    assert found.call_j == pytest.approx(WATTS * CALL_S)
    assert (found.clock_hz, found.throttled) == (1.6e9, "software power cap")
    assert found.busy == pytest.approx(1.0)


@pytest.mark.parametrize(("asked", "least"), [(0.0, LEAST_S), (2.0, 2.0)])
def test_the_meter_runs_long_enough_over_a_device_that_is_warm(asked: float, least: float) -> None:
    bench = Bench()
    found = power_during(bench, lambda: None, bench, asked)
    assert bench.now - bench.started >= least
    assert bench.now - bench.started < least + 0.2
    assert bench.before_start >= 0.2
    assert found.calls == bench.calls
    assert all(calls * CALL_S == pytest.approx(0.1, rel=0.02) for calls in bench.rounds)


def test_waits_between_rounds_are_told() -> None:
    bench = Bench(between_s=0.1)
    assert power_during(bench, lambda: None, bench).busy == pytest.approx(0.5, abs=0.01)


def test_without_a_meter_power_is_not_known() -> None:
    bench = Bench(watts=math.nan)
    found = power_during(bench, lambda: None, bench)
    assert math.isnan(found.mean_w) and math.isnan(found.call_j)
    assert found.call_s == pytest.approx(CALL_S)
