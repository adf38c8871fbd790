"""The executor: dependencies, lanes, bounds, and agreement with list scheduling written a second time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.engine.executor import execute
from simulator.engine.tasks import Crossing, Execution, Flow, Lane, Program, Task

LANES = [Lane("x", "compute"), Lane("x", "communication"), Lane("y", "compute")]


def task(seconds: float, *lanes: Lane, after: tuple[int, ...] = (), name: str = "t", flow: Flow | None = None) -> Task:
    return Task(name, "gemm", "compute", lanes or (LANES[0],), seconds, flow, depends_on=after)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Up to 14 tasks of whole or no seconds (so that many end at once), on one or two lanes each."""
    tasks: list[Task] = []
    for i in range(draw(st.integers(1, 14))):
        lanes = draw(st.lists(st.sampled_from(LANES), min_size=1, max_size=2, unique=True))
        after = draw(st.lists(st.integers(0, i - 1), max_size=3, unique=True)) if i else []
        tasks.append(task(float(draw(st.integers(0, 4))), *lanes, after=tuple(after)))
    return Program(tuple(tasks), {})


def scheduled(program: Program) -> tuple[list[float], list[float]]:
    """List scheduling again, without events: at each instant, in order, start what is ready on free lanes."""
    count = len(program.tasks)
    start: list[float | None] = [None] * count
    end: list[float] = [float("inf")] * count
    now = 0.0
    while None in start:
        changed = True
        while changed:
            changed = False
            busy = {
                lane for i in range(count) if start[i] is not None and end[i] > now for lane in program.tasks[i].lanes
            }
            round_ends = []
            for i, each in enumerate(program.tasks):
                ready = start[i] is None and all(end[d] <= now for d in each.depends_on)
                if ready and not busy.intersection(each.lanes):
                    start[i] = now
                    busy.update(each.lanes)
                    round_ends.append((i, now + each.seconds))
            for i, value in round_ends:
                end[i] = value
                changed = changed or value == now
        later = [value for value in end if now < value < float("inf")]
        if later:
            now = min(later)
    return [value or 0.0 for value in start], end


@given(programs())
def test_equals_list_scheduling(program: Program) -> None:
    run = execute(program)
    start, end = scheduled(program)
    assert list(run.start_s) == start
    assert list(run.end_s) == end


@given(programs())
def test_tasks_wait_for_what_they_depend_on_and_for_their_lanes(program: Program) -> None:
    run = execute(program)
    for i, each in enumerate(program.tasks):
        assert run.end_s[i] == run.start_s[i] + each.seconds
        assert all(run.end_s[d] <= run.start_s[i] for d in each.depends_on)
    for lane in LANES:
        spans = sorted((run.start_s[i], run.end_s[i]) for i, t in enumerate(program.tasks) if lane in t.lanes)
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


def longest_chain(program: Program) -> float:
    ends: list[float] = []
    for each in program.tasks:
        ends.append(each.seconds + max((ends[d] for d in each.depends_on), default=0.0))
    return max(ends)


@given(programs())
def test_never_shorter_than_the_longest_chain_or_the_busiest_lane(program: Program) -> None:
    makespan = execute(program).makespan_s
    busiest = max(sum(t.seconds for t in program.tasks if lane in t.lanes) for lane in LANES)
    assert makespan >= longest_chain(program)
    assert makespan >= busiest
    assert makespan <= sum(t.seconds for t in program.tasks)


@given(programs())
def test_the_critical_path_covers_the_makespan(program: Program) -> None:
    run = execute(program)
    path = run.critical_path()
    assert sum(run.end_s[i] - run.start_s[i] for i in path) == run.makespan_s
    assert all(run.end_s[i] == run.start_s[j] for i, j in pairwise(path))


@given(programs())
def test_runs_the_same_to_the_bit(program: Program) -> None:
    first, second = execute(program), execute(program)
    assert (first.start_s, first.end_s) == (second.start_s, second.end_s)


def test_simultaneous_ends_go_by_task_order_not_by_who_was_inserted_first() -> None:
    """Two ends at 2 s free two waiting tasks for one lane: the lower index runs first, whichever side ends first."""
    first, second, shared = LANES
    for lanes in ((first, second), (second, first)):
        run = execute(
            Program(
                (
                    task(2.0, lanes[0], name="p"), task(2.0, lanes[1], name="q"),
                    task(1.0, shared, after=(1,), name="r"), task(1.0, shared, after=(0,), name="s"),
                ),
                {},
            )
        )  # fmt: skip
        assert run.start_s == (0.0, 0.0, 2.0, 3.0)


def test_refuses_to_wait_for_later_tasks() -> None:
    with pytest.raises(ValueError, match=r"task 0 \(t\) waits for task 1; only earlier ones"):
        execute(Program((task(1.0, after=(1,)), task(1.0)), {}))


def test_nothing_to_do_takes_no_time() -> None:
    run = execute(Program((), {}))
    assert (run.makespan_s, run.critical_path(), run.timeline().spans) == (0.0, [], ())


def two_flows() -> Execution:
    flow = Flow(10.0, (Crossing("x nvlink out"),), 1.0)
    lanes = [Lane("x", "communication"), Lane("x > y", "transfer")]
    return execute(Program(tuple(task(0.0, lane, flow=flow) for lane in lanes), {"x nvlink out": 10.0}))


def test_flows_of_different_lanes_share_their_link() -> None:
    run = two_flows()
    assert run.end_s == (3.0, 3.0)
    assert run.carried_bytes == {"x nvlink out": 20.0}


def test_the_timeline_shows_lanes_and_links() -> None:
    spans = two_flows().timeline().spans
    on_link = [span for span in spans if (span.resource, span.lane) == ("x nvlink", "out")]
    assert {(span.resource, span.lane) for span in spans} == {
        ("x", "communication"), ("x > y", "transfer"), ("x nvlink", "out"),
    }  # fmt: skip
    assert [(span.start_s, span.end_s) for span in on_link] == [(1.0, 3.0), (1.0, 3.0)]


def test_busy_time_counts_overlap_once_and_can_be_cut_to_a_window() -> None:
    a, b, _ = LANES
    run = execute(Program((task(3.0, a), task(2.0, b), task(2.0, b, after=(1,)), task(1.0, a, after=(2,))), {}))
    assert run.busy_s("x") == 5.0
    assert run.busy_s("x", 1.0, 4.5) == 3.5
    assert run.busy_s("y") == 0.0
