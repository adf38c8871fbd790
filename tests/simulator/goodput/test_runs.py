"""Runs with failures: closed form, compiled runs, and a slow reference that goes from event to event."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from simulator.goodput.checkpoints import CheckpointTimes, optimal_interval_s
from simulator.goodput.expected import Expected, Interruptions, expected_run
from simulator.goodput.failures import expected_wait_s
from simulator.goodput.run_kernel import PARTS
from simulator.goodput.simulated import Process, percentiles, simulated_runs
from simulator.goodput.slowdowns import Floats


def drawn(work: float, interval: float, times: CheckpointTimes, process: Process, runs: int, seed: int = 1
          ) -> dict[str, Floats]:  # fmt: skip
    return simulated_runs(np.full(runs, work), np.full(runs, interval), times, process, seed)


def close(expected: Expected, runs: dict[str, Floats], slack: float = 0.0) -> None:
    """Every part of the expectation is the mean of the drawn runs, up to chance and ``slack`` of the wall time."""
    for name in PARTS:
        values = runs[name]
        chance = 4.5 * float(np.std(values)) / math.sqrt(len(values))
        unit = expected.interruptions if name == "interruptions" else expected.wall_s
        assert getattr(expected, name) == pytest.approx(float(np.mean(values)), abs=chance + slack * unit + 1e-9), name


def reference(work: float, interval: float, times: CheckpointTimes, process: Process, seed: int) -> float:
    """Wall time of one run, period by period, with spares in a list: written apart from the kernel."""
    random = np.random.default_rng(seed)
    now, safe, away = 0.0, 0.0, list[float]()

    def fail() -> float:
        return now + float(random.exponential(1.0 / process.per_s))

    def recover(now: float) -> float:
        while True:
            now += process.detect_s
            if process.spares is not None and random.random() < process.hardware_share:
                away.append(now + float(random.exponential(process.repair_s)))
                if sum(back > now for back in away) > process.spares:
                    now = min(back for back in away if back > now)
            until = float(random.exponential(1.0 / process.per_s))
            if until >= process.restart_s:
                return now + process.restart_s
            now += until

    while True:
        failure, written, at = fail(), list[tuple[float, float]](), safe
        clock = now
        while at < work:
            step = min(interval, work - at)
            at, clock = at + step, clock + step + times.stall_s
            written.append((clock + times.unsafe_s, at))
        if failure >= written[-1][0]:
            return written[-1][0]
        safe = max([safe, *(state for when, state in written if when <= failure)])
        now = recover(failure)


CASES = [
    (CheckpointTimes(30.0, 0.0), Process(1 / 5000.0, 0.8, 60.0, 300.0)),
    (CheckpointTimes(2.0, 0.0), Process(1 / 900.0, 0.8, 10.0, 200.0)),
    (CheckpointTimes(120.0, 0.0), Process(1 / 1500.0, 0.5, 0.0, 0.0)),
]


@pytest.mark.parametrize(("times", "process"), CASES)
@pytest.mark.parametrize("interval", [150.0, 700.0])
def test_the_closed_form_is_exact_for_blocking_checkpoints(
    times: CheckpointTimes, process: Process, interval: float
) -> None:
    work = 20_000.0
    stops = Interruptions(process.per_s, process.detect_s, 0.0, process.restart_s)
    close(expected_run(work, interval, times, stops), drawn(work, interval, times, process, 20_000))


@pytest.mark.parametrize("unsafe_s", [50.0, 140.0])
def test_asynchronous_checkpoints_of_long_runs(unsafe_s: float) -> None:
    times, process = CheckpointTimes(5.0, unsafe_s), Process(1 / 2000.0, 0.8, 30.0, 100.0)
    stops = Interruptions(process.per_s, 30.0, 0.0, 100.0)
    close(expected_run(100_000.0, 150.0, times, stops), drawn(100_000.0, 150.0, times, process, 4000), slack=2e-3)


@pytest.mark.parametrize(("spares", "repair"), [(0, 2000.0), (2, 8000.0), (6, 15_000.0)])
def test_waiting_for_repairs(spares: int, repair: float) -> None:
    times, process = CheckpointTimes(10.0, 0.0), Process(1 / 3000.0, 0.8, 60.0, 200.0, repair, spares)
    wait = 0.8 * expected_wait_s(0.8 / 3000.0, spares, repair)
    stops = Interruptions(process.per_s, 60.0, wait, 200.0)
    close(expected_run(200_000.0, 250.0, times, stops), drawn(200_000.0, 250.0, times, process, 1500), slack=0.012)


@pytest.mark.parametrize(
    ("times", "process"),
    [*CASES, (CheckpointTimes(5.0, 100.0), Process(1 / 2000.0, 0.7, 30.0, 150.0, 5000.0, 1))],
)
def test_the_kernel_is_the_slow_reference(times: CheckpointTimes, process: Process) -> None:
    slow = np.array([reference(6000.0, 400.0, times, process, seed) for seed in range(1500)])
    fast = drawn(6000.0, 400.0, times, process, 20_000)["wall_s"]
    chance = 4.5 * float(np.std(slow)) / math.sqrt(len(slow))
    assert float(np.mean(fast)) == pytest.approx(float(np.mean(slow)), abs=chance)
    for probability in (0.1, 0.5, 0.9):
        ends = np.quantile(slow, [max(0.0, probability - 0.06), min(1.0, probability + 0.06)])
        assert ends[0] - 1e-6 <= np.quantile(fast, probability) <= ends[1] + 1e-6


@given(
    work=st.floats(10.0, 1e5), interval=st.floats(1.0, 1e5), stall=st.floats(0.0, 100.0), unsafe=st.floats(0.0, 50.0),
    mtbf=st.floats(500.0, 1e6), restart=st.floats(0.0, 500.0),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_time_is_conserved(
    work: float, interval: float, stall: float, unsafe: float, mtbf: float, restart: float
) -> None:
    times = CheckpointTimes(stall, unsafe)
    expected = expected_run(work, interval, times, Interruptions(1.0 / mtbf, 10.0, 5.0, restart))
    if math.isfinite(expected.wall_s):
        parts = expected.checkpoint_s + expected.rework_s + expected.restart_s + expected.waiting_s
        assert expected.wall_s == pytest.approx(work + parts)
    runs = drawn(work, interval, times, Process(1.0 / mtbf, 0.5, 10.0, restart, 600.0, 1), 20)
    whole = np.isfinite(runs["wall_s"])
    parts_s = np.sum([runs[name] for name in PARTS[1:5]], axis=0)
    assert np.allclose(runs["wall_s"][whole], (work + parts_s)[whole], rtol=1e-9)


@given(mtbf=st.floats(200.0, 1e6), more=st.floats(1.0, 10.0))
def test_rarer_failures_are_never_slower(mtbf: float, more: float) -> None:
    times = CheckpointTimes(20.0, 30.0)

    def wall(mtbf_s: float) -> float:
        return expected_run(1e5, 500.0, times, Interruptions(1.0 / mtbf_s, 60.0, 10.0, 120.0)).wall_s

    assert wall(mtbf * more) <= wall(mtbf) * (1.0 + 1e-9)


def test_without_failures_a_run_is_its_work_and_its_checkpoints() -> None:
    times, none = CheckpointTimes(3.0, 7.0), Process(0.0, 0.0, 60.0, 300.0)
    expected = expected_run(1000.0, 300.0, times, Interruptions(0.0, 60.0, 0.0, 300.0))
    assert expected.wall_s == 1000.0 + 4 * 3.0 + 7.0
    assert expected.interruptions == 0.0
    assert drawn(1000.0, 300.0, times, none, 3)["wall_s"].tolist() == [1019.0] * 3


def test_a_run_depends_on_its_seed_and_number_alone() -> None:
    times, process = CASES[0]
    few, many = (drawn(2e4, 500.0, times, process, n, seed=9)["wall_s"] for n in (5, 50))
    assert few.tolist() == many[:5].tolist()
    assert drawn(2e4, 500.0, times, process, 5, seed=10)["wall_s"].tolist() != few.tolist()


def test_runs_that_never_end_are_infinite() -> None:
    times, process = CheckpointTimes(10.0, 0.0), Process(1.0, 1.0, 1.0, 30.0)
    assert drawn(1e4, 1e4, times, process, 2)["wall_s"].tolist() == [math.inf, math.inf]
    assert expected_run(1e4, 1e4, times, Interruptions(1.0, 1.0, 0.0, 30.0)).wall_s == math.inf
    assert percentiles(np.array([1.0, math.inf, math.inf])) == (1.0, math.inf)


def test_the_optimum_is_also_that_of_drawn_runs() -> None:
    times, process = CheckpointTimes(30.0, 0.0), Process(1 / 4000.0, 0.8, 60.0, 120.0)
    best = optimal_interval_s(30.0, 4000.0)
    means = [float(drawn(5e4, best * by, times, process, 8000)["wall_s"].mean()) for by in (0.35, 1.0, 2.8)]
    assert means[1] < min(means[0], means[2])


def test_an_interval_of_nothing() -> None:
    with pytest.raises(InputError, match=r"checkpoint interval 0\.0 s; allowed: above 0"):
        drawn(100.0, 0.0, *CASES[0], 2)
