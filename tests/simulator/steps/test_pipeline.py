"""Flow shops: the closed form against the recursion it solves; weights of the trapezoidal rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.steps.pipeline import FOLLOWED, all_passed, passed, round_seconds, trapezoid

SECONDS = st.lists(st.floats(0.0, 100.0), min_size=1, max_size=6)


def one_by_one(free_s: list[float], seconds: list[float], jobs: int) -> list[float]:
    """Each job starts on a server when it has left the server before and its predecessor has left this one."""
    free = list(free_s)
    for _ in range(jobs):
        ready = 0.0
        for server, spent in enumerate(seconds):
            ready = free[server] = max(ready, free[server]) + spent
    return free


@given(SECONDS, st.integers(1, 9), st.data())
def test_equal_jobs_pass_as_if_served_one_by_one(seconds: list[float], jobs: int, data: st.DataObject) -> None:
    """Also behind other jobs, which leave the servers at different times."""
    other = data.draw(st.lists(st.floats(0.0, 100.0), min_size=len(seconds), max_size=len(seconds)))
    free = one_by_one([0.0] * len(seconds), other, data.draw(st.integers(1, 5)))
    assert passed(free, seconds, jobs) == pytest.approx(one_by_one(free, seconds, jobs))


@given(SECONDS, st.integers(1, 9))
def test_from_rest_it_is_the_sum_and_the_slowest(seconds: list[float], jobs: int) -> None:
    ends = passed([0.0] * len(seconds), seconds, jobs)
    assert ends[-1] == pytest.approx(sum(seconds) + (jobs - 1) * max(seconds))


@given(st.lists(st.tuples(st.floats(0.1, 9.0), st.integers(1, 30)), min_size=1, max_size=3), st.integers(1, 4))
def test_few_in_flight_wait_for_the_first_to_leave(kinds: list[tuple[float, int]], in_flight: int) -> None:
    """Five equal servers: each job waits for the one that many before it."""
    free, ends = [0.0] * 5, list[float]()
    for seconds, jobs in kinds:
        for _ in range(jobs):
            ready = ends[-in_flight] if len(ends) >= in_flight else 0.0
            for server in range(5):
                ready = free[server] = max(ready, free[server]) + seconds
            ends.append(ready)
    found = all_passed([([seconds] * 5, jobs) for seconds, jobs in kinds], in_flight)
    exact = max(jobs for _, jobs in kinds) <= FOLLOWED * in_flight
    assert found == pytest.approx(ends[-1], rel=1e-9 if exact else 0.1)


@given(SECONDS, st.integers(1, 6))
def test_rounds_settle_into_the_rhythm(seconds: list[float], jobs: int) -> None:
    """Each job begins anew when it has passed: the mean round of many is what the closed form says."""
    free, back, rounds = [0.0] * len(seconds), [0.0] * jobs, 400
    for _ in range(rounds):
        for job in range(jobs):
            ready = back[job]
            for server, spent in enumerate(seconds):
                ready = free[server] = max(ready, free[server]) + spent
            back[job] = ready
    assert back[-1] / rounds == pytest.approx(round_seconds(seconds, jobs), rel=0.05)


@given(st.integers(0, 5000), st.integers(2, 12))
def test_points_stand_for_all_indices(count: int, points: int) -> None:
    indices, weights = trapezoid(count, points)
    assert len(indices) <= points and all(weight >= 1.0 for weight in weights)
    assert sum(weights) == pytest.approx(count)
    assert sum(w * i for w, i in zip(weights, indices, strict=True)) == pytest.approx(count * (count - 1) / 2)
