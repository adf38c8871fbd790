"""The time of a call and its interval: what order statistics promise, and when timing stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, cycle
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from simulator.calibration import timing
from simulator.calibration.timing import (
    FEWEST_ROUNDS,
    SHORTEST_ROUND_S,
    AmidOthers,
    HostClock,
    median_ranks,
    summary,
    time_call,
)


class FakeClock(timing.WallTime):
    """Calls take the seconds that ``each_s`` gives one after the other; a round of several takes one of them each.

    Each round takes ``around_s`` more that no clock shows.
    """

    def __init__(self, each_s: Iterator[float], around_s: float = 0.0) -> None:
        self.each_s, self.around_s = each_s, around_s
        self.rounds: list[tuple[int, float]] = []
        self.spent_s = 0.0

    def round_s(self, call: Callable[[], object], calls: int) -> float:
        seconds = calls * next(self.each_s)
        self.rounds.append((calls, seconds))
        self.spent_s += seconds + self.around_s
        call()
        return seconds


MakeClock = Callable[..., FakeClock]


@pytest.fixture
def clock_of(monkeypatch: pytest.MonkeyPatch) -> MakeClock:
    """A fake clock, by which all time goes."""

    def make(each_s: Iterator[float], around_s: float = 0.0) -> FakeClock:
        clock = FakeClock(each_s, around_s)
        monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: 100.0 + clock.spent_s))
        return clock

    return make


def nothing() -> None:
    pass


def noisy(seconds: float, sd: float, seed: int = 0) -> Iterator[float]:
    rng = np.random.default_rng(seed)
    while True:
        yield float(seconds * np.exp(rng.normal(0.0, sd)))


@pytest.mark.parametrize("n", [*range(6, 60), 101, 400])
def test_the_ranks_are_the_closest_that_hold_the_median_with_95_percent(n: int) -> None:
    """The median lies between the order statistics i and j when from i + 1 to j of n draws lie below it."""

    def held(low: int, high: int) -> float:
        return float(binom.cdf(high, n, 0.5) - binom.cdf(low, n, 0.5))

    low, high = median_ranks(n)
    assert low + high == n - 1
    assert held(low, high) >= 0.95
    assert held(low + 1, high - 1) < 0.95


@pytest.mark.parametrize("n", range(1, 6))
def test_few_rounds_give_their_extremes(n: int) -> None:
    assert median_ranks(n) == (0, n - 1)


@pytest.mark.parametrize(("n", "expected"), [(5, 0.9375), (9, 0.961), (25, 0.957), (80, 0.955)])
def test_intervals_cover_the_true_median_as_often_as_they_say(n: int, expected: float) -> None:
    rng = np.random.default_rng(n)
    held = 0
    for _ in range(3000):
        found = summary(1e-3 * np.exp(rng.normal(0.0, 0.05, n)))
        held += found.low_s <= 1e-3 <= found.high_s
    assert held / 3000 == pytest.approx(expected, abs=0.015)


def test_interrupted_rounds_are_counted_and_left_out() -> None:
    rng = np.random.default_rng(2)
    times = 1e-3 * np.exp(rng.normal(0.0, 0.01, 60))
    clean = summary(times)
    times[[3, 17, 40]] *= [3.1, 8.0, 40.0]
    found = summary(times)
    assert (found.rounds, found.discarded) == (57, 3)
    assert found.median_s == pytest.approx(clean.median_s, rel=0.003)
    assert found.mean_s == pytest.approx(clean.mean_s, rel=0.003)
    assert found.high_s < 1.02e-3


def test_slow_and_quick_rounds_count_with_what_they_take() -> None:
    """A step of a model is a sum of calls: one in five that takes twice as long makes it a fifth longer."""
    found = summary(np.array([1.0, 1.0, 2.0, 1.0, 1.0] * 8))
    assert (found.rounds, found.discarded) == (40, 0)
    assert (found.mean_s, found.median_s) == (1.2, 1.0)
    assert summary(np.array([1.0, 1.0, 1.0, 1.0, 0.2, 1.0])).low_s == 0.2


@given(st.lists(st.floats(1e-9, 10.0), min_size=1, max_size=60))
def test_the_interval_holds_mean_and_median(times: list[float]) -> None:
    found = summary(np.array(times))
    assert found.rounds + found.discarded == len(times)
    assert found.rounds >= (len(times) + 1) // 2
    assert 0.0 < found.low_s <= found.median_s <= found.high_s
    assert found.low_s <= found.mean_s <= found.high_s
    assert found.width >= 0.0


def test_timing_stops_as_soon_as_the_median_is_known(clock_of: MakeClock) -> None:
    clock = clock_of(cycle([1e-3]))
    found = time_call(nothing, clock, width=0.04, budget_s=10.0)
    assert (found.rounds, found.discarded) == (FEWEST_ROUNDS, 0)
    assert found.median_s == found.mean_s == pytest.approx(1e-3)
    assert found.width == pytest.approx(0.0)


def test_noise_takes_more_rounds_until_the_interval_is_narrow(clock_of: MakeClock) -> None:
    rounds = {}
    for sd in (0.01, 0.1):
        clock = clock_of(noisy(1e-3, sd))
        found = time_call(nothing, clock, width=0.05, budget_s=60.0)
        assert 0.0 < found.width < 0.05
        rounds[sd] = found.rounds + found.discarded
        timed = np.array([seconds / calls for calls, seconds in clock.rounds[-rounds[sd] :]])
        assert found == summary(timed)
        looked = [n for n in range(FEWEST_ROUNDS, rounds[sd]) if n % 3 == 2]
        assert all(summary(timed[:n]).width >= 0.05 for n in looked)
    assert rounds[0.1] > 5 * rounds[0.01]


def test_timing_stops_when_the_budget_is_over(clock_of: MakeClock) -> None:
    clock = clock_of(noisy(2e-3, 0.3))
    found = time_call(nothing, clock, width=1e-6, budget_s=0.1)
    assert 0.1 < clock.spent_s < 0.1 + 2 * 2e-3 * 2.5
    assert found.width > 1e-6


def test_timing_stops_after_many_rounds_however_much_time_there_is(clock_of: MakeClock) -> None:
    found = time_call(nothing, clock_of(noisy(1e-3, 0.3)), width=0.0, budget_s=1e6)
    assert found.rounds + found.discarded == 400


@pytest.mark.parametrize("each_s", [3e-9, 1e-6, 7e-5])
def test_short_calls_are_timed_together(clock_of: MakeClock, each_s: float) -> None:
    clock = clock_of(cycle([each_s]))
    found = time_call(nothing, clock, warm_s=1e-5)
    assert found.median_s == pytest.approx(each_s)
    for calls, seconds in clock.rounds[-found.rounds :]:
        assert seconds >= SHORTEST_ROUND_S * (1.0 - 1e-9)
        assert (calls - 1) * each_s < SHORTEST_ROUND_S


@pytest.mark.parametrize(("each_s", "most"), [(100.0, 2), (0.8, 3), (0.3, 6)])
def test_long_calls_do_not_run_five_times(clock_of: MakeClock, each_s: float, most: int) -> None:
    """Once to warm up, once timed, is enough for what takes longer than the budget."""
    clock = clock_of(cycle([each_s]))
    found = time_call(nothing, clock, budget_s=0.5)
    assert len(clock.rounds) <= most
    assert all(calls == 1 for calls, _ in clock.rounds)
    assert found.median_s == each_s


def test_a_slow_first_call_is_warm_up(clock_of: MakeClock) -> None:
    """Kernels that are compiled or chosen in the first call are timed, and batched, by what comes after it."""
    clock = clock_of(1.0 if number == 0 else 2e-6 for number in count())
    found = time_call(nothing, clock, budget_s=5.0)
    assert found.median_s == pytest.approx(2e-6)
    assert all(calls in (100, 101) for calls, _ in clock.rounds[-found.rounds :])


def test_calls_are_warm_for_a_while(clock_of: MakeClock) -> None:
    clock = clock_of(cycle([1e-3]))
    found = time_call(nothing, clock, warm_s=0.05)
    assert 50 <= len(clock.rounds) - found.rounds <= 51


def test_time_that_no_clock_shows_counts_for_the_budget(clock_of: MakeClock) -> None:
    clock = clock_of(noisy(1e-3, 0.3), around_s=0.02)
    found = time_call(nothing, clock, width=0.0, budget_s=0.5)
    assert found.rounds < 30
    assert clock.spent_s < 0.6


def test_the_clock_of_the_host_makes_the_calls() -> None:
    made: list[int] = []
    seconds = HostClock().round_s(lambda: made.append(1), 7)
    assert len(made) == 7
    assert seconds > 0.0


def test_a_call_between_others_takes_its_own_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now, order = [0.0], []

    def takes(name: str, seconds: float) -> Callable[[], None]:
        def call() -> None:
            order.append(name)
            now[0] += seconds

        return call

    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    clock, own = AmidOthers(takes("other", 5.0)), takes("own", 0.25)
    assert clock.round_s(own, 3) == pytest.approx(0.75)
    assert order == ["other", "own"] * 3
    order.clear()
    assert clock.round_s(own, 1000) == pytest.approx(250.0)
    assert order == ["other", "own"] * 8
