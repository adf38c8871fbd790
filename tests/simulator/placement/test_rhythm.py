"""Rhythms of made-up programs: chains, cycles longer than a step, slow starts, none at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.engine.executor import execute
from simulator.engine.tasks import Lane, Program, Task
from simulator.placement.rhythm import MOST, Stepped, follow

A, B = Lane("a", "compute"), Lane("b", "compute")


def task(seconds: float, lane: Lane, *after: int) -> Task:
    return Task("t", "gemm", "compute", (lane,), seconds, depends_on=after)


def program(times: Callable[[int], tuple[float, float]], ahead: int) -> Callable[[int], Stepped]:
    """Two stages a and b per step; step k begins when step k - ahead has ended."""

    def run(steps: int) -> Stepped:
        tasks: list[Task] = []
        for k in range(steps):
            first, second = times(k)
            room = (2 * (k - ahead) + 1,) if k >= ahead else ()
            tasks += [task(first, A, *room), task(second, B, 2 * k)]
        return Stepped(execute(Program(tuple(tasks), {})), [2 * (k + 1) for k in range(steps)])

    return run


@pytest.mark.parametrize(
    ("times", "ahead"),
    [
        (lambda k: (2.0, 3.0), 2),
        (lambda k: (3.0, 2.0), 1),
        (lambda k: (1.0, 4.0) if k % 2 else (4.0, 1.0), 3),  # a cycle of two steps
        (lambda k: (1.0, 1.01) if k % 3 else (1.5, 1.0), 4),  # a cycle of three
    ],
)
@pytest.mark.parametrize("steps", [3, 21, 50, 101])
def test_runs_add_up_to_all_steps(times: Callable[[int], tuple[float, float]], ahead: int, steps: int) -> None:
    run = program(times, ahead)
    found = follow(run, steps, ahead)
    assert found.exact
    assert sum(r.seconds for r in found.runs) == pytest.approx(run(steps).execution.makespan_s, rel=1e-12)


def test_waits_until_a_slow_start_is_over() -> None:
    """The second stage is 1% slower: only after dozens of steps does its queue fill and hold the first one up."""
    run = program(lambda k: (1.0, 1.01), 4)
    found = follow(run, 5000, 4)
    assert found.exact
    assert len(found.shown.stops) > 100
    assert found.step_s == pytest.approx(1.01)


def test_says_when_there_is_no_rhythm() -> None:
    found = follow(program(lambda k: (1.0 + 1e-3 * k, 1.0), 1), 10_000, 1)
    assert not found.exact
    assert len(found.shown.stops) == MOST


def test_single_step() -> None:
    found = follow(program(lambda k: (2.0, 1.0), 1), 1, 1)
    assert (found.step_s, [r.seconds for r in found.runs]) == (3.0, [3.0])
