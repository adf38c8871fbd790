"""Representative ranks: a few pipelines against every rank of the job on the event-driven engine, to the bit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from simulator.engine.executor import execute
from simulator.engine.tasks import Lane, Task
from simulator.engine.tasks import Program as Work
from simulator.goodput.checkpoints import Checkpoint
from simulator.goodput.goodput import goodput_of
from simulator.goodput.pipelines import Pipelines
from simulator.goodput.representatives import known_slowdown, representatives, scheduled_s
from simulator.goodput.slowdown_words import parse_slowdown
from simulator.goodput.slowdowns import Floats
from simulator.schedules.actions import NONE, Kind, Program
from simulator.schedules.registry import program
from simulator.schedules.timeline import seconds_of


def order_of(schedule: Program) -> list[tuple[int, int]]:
    """(rank, position) of all actions, each behind those that it waits for."""
    done, found, place = set[tuple[int, int, int]](), list[tuple[int, int]](), [0] * schedule.ranks
    while True:
        moved = False
        for rank in range(schedule.ranks):
            while place[rank] < schedule.kinds.shape[1] and schedule.kinds[rank, place[rank]] != NONE:
                key = key_of(schedule, rank, place[rank])
                if not needs_of(schedule, *key) <= done:
                    break
                done.add(key)
                found.append((rank, place[rank]))
                place[rank] += 1
                moved = True
        if not moved:
            return found


def key_of(schedule: Program, rank: int, position: int) -> tuple[int, int, int]:
    """Kind, stage and micro-batch of an action."""
    tables = schedule.kinds, schedule.stages, schedule.micro_batch
    kind, stage, micro_batch = (int(table[rank, position]) for table in tables)
    return kind, stage, micro_batch


def needs_of(schedule: Program, kind: int, stage: int, micro_batch: int) -> set[tuple[int, int, int]]:
    """What an action waits for, beside the one before it on its rank."""
    backward = Kind.B if (schedule.kinds == Kind.B).any() else Kind.I
    if kind == Kind.F:
        return {(Kind.F, stage - 1, micro_batch)} if stage else set()
    if kind == Kind.W:
        return {(Kind.I, stage, micro_batch)}
    last = stage == schedule.stage_count - 1
    return {(Kind.F, stage, micro_batch)} | (set() if last else {(backward, stage + 1, micro_batch)})


def every_rank(known: Mapping[int, float], layout: Pipelines, schedule: Program, seconds: Floats) -> float:
    """Every action of every device as a task of the engine; ranks of a stage meet after each action."""
    tasks: list[Task] = []
    for replica in range(layout.replicas):
        ended: dict[tuple[int, int, int], list[int]] = {}
        before: dict[int, list[int]] = {}
        for rank, position in order_of(schedule):
            key = key_of(schedule, rank, position)
            waits = [*before.get(rank, [])]
            for needed in needs_of(schedule, *key):
                waits += ended[needed]
            mine = []
            for within in range(layout.ranks):
                device = (rank * layout.replicas + replica) * layout.ranks + within
                lasting = float(seconds[key[0], key[1]] * known.get(device, 1.0))
                mine.append(len(tasks))
                lanes = (Lane(str(device), "compute"),)
                tasks.append(Task("x", "gemm", "compute", lanes, lasting, depends_on=tuple(sorted(set(waits)))))
            ended[key] = before[rank] = mine
    return execute(Work(tuple(tasks), {})).makespan_s


LAYOUTS = (Pipelines(2, 2, 2, 4), Pipelines(1, 4, 3, 4), Pipelines(4, 2, 2, 2), Pipelines(3, 1, 4, 3))


@st.composite
def jobs(draw: st.DrawFn) -> tuple[Pipelines, dict[int, float]]:
    layout = draw(st.sampled_from(LAYOUTS))
    slow = st.sampled_from([0.75, 1.25, 1.5, 2.0, 3.0])
    return layout, draw(st.dictionaries(st.integers(0, layout.devices - 1), slow, max_size=layout.devices))


@given(job=jobs(), name=st.sampled_from(["gpipe", "1f1b", "zb-h1"]))
@settings(max_examples=60, deadline=None)
def test_as_every_rank_on_the_engine_to_the_bit(job: tuple[Pipelines, dict[int, float]], name: str) -> None:
    layout, known = job
    schedule = program(name, layout.stages, layout.micro_batches, 1)
    seconds = seconds_of(np.full(layout.stages, 1.0), np.full(layout.stages, 1.25), np.full(layout.stages, 0.75))
    assert scheduled_s(known, layout, schedule, seconds) == every_rank(known, layout, schedule, seconds)


@given(jobs())
@settings(max_examples=40, deadline=None)
def test_the_closed_form_is_gpipe_on_every_rank(job: tuple[Pipelines, dict[int, float]]) -> None:
    layout, known = job
    schedule = program("gpipe", layout.stages, layout.micro_batches, 1)
    seconds = seconds_of(np.ones(layout.stages), np.ones(layout.stages), np.zeros(layout.stages))
    typical = every_rank({}, layout, schedule, seconds)
    assert known_slowdown(known, layout) == pytest.approx(every_rank(known, layout, schedule, seconds) / typical)


@given(jobs())
def test_of_all_pipelines_those_stay_that_no_other_is_above(job: tuple[Pipelines, dict[int, float]]) -> None:
    layout, known = job
    devices = np.array([known.get(d, 1.0) for d in range(layout.devices)])
    whole = devices.reshape(layout.stages, layout.replicas, layout.ranks).max(axis=2).T
    found = representatives(known, layout)
    assert len(found.factors) <= min(layout.replicas, len(known) + 1)
    for row in whole:
        assert (found.factors >= row).all(axis=1).any()
    for row, ranks in zip(found.factors, found.ranks, strict=True):
        assert row.tolist() == [known.get(int(rank), 1.0) for rank in ranks]
        assert (whole == row).all(axis=1).any()


def test_two_slow_devices_among_16384() -> None:
    """tp 8, pp 16, dp 128: one slow device on a stage of each of two pipelines; the slower one counts."""
    layout = Pipelines(8, 16, 128, 32)
    found = representatives({5: 1.1, 9000: 1.3}, layout)
    assert found.factors.shape == (2, 16)
    assert known_slowdown({5: 1.1, 9000: 1.3}, layout) == pytest.approx((32 * 1.3 + 15) / 47)
    assert known_slowdown({}, layout) == 1.0


def test_a_run_with_known_devices_has_no_chance_in_its_steps() -> None:
    straggler = parse_slowdown("known:devices=5+9000-9001,factor=1.3")
    assert straggler.known == ((5, 1.3), (9000, 1.3), (9001, 1.3))
    run = goodput_of(
        6.0, 16384, "h100", steps=1000, checkpoint=Checkpoint(1e12, 2e9), straggler=straggler,
        layout=Pipelines(8, 16, 128, 32), runs=10,
    )  # fmt: skip
    assert run.slowed_step_s == pytest.approx(6.0 * (32 * 1.3 + 15) / 47)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("known:devices=a,factor=1.3", "devices 'a' must be a number or a range"),
        ("known:devices=9-3,factor=1.3", "devices '9-3' must rise"),
        ("known:devices=3,factor=0.5", "factor '0.5' must be from 1"),
    ],
)
def test_words_that_cannot_be(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_slowdown(text)
    assert said in str(caught.value)


def test_refuses_devices_and_programs_that_are_not_there() -> None:
    with pytest.raises(InputError, match="device 16; the job has devices 0 to 7"):
        known_slowdown({16: 1.3}, Pipelines(2, 2, 2))
    with pytest.raises(InputError, match="a program of 4 ranks; the layout has 2 stages"):
        scheduled_s({}, Pipelines(2, 2, 2, 4), program("1f1b", 4, 4, 1), np.ones((4, 4)))
    with pytest.raises(InputError, match="on several ranks"):
        scheduled_s({}, Pipelines(2, 2, 2, 4), program("dualpipe", 2, 4), np.ones((4, 2)))
