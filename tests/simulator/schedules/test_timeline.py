"""Timelines: what holds of every program on any stages, against a plain executor, and small cases by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_cases import Case, cases, plain_run

from hardware_specs.errors import InputError
from simulator.schedules.actions import NONE, Action, Kind, Program, program_of
from simulator.schedules.registry import names, program
from simulator.schedules.timeline import Memory, Timeline, run, seconds_of

SEEDS = st.integers(0, 2**32 - 1)


class World:
    """Random times, sends and sizes of the stages of a program."""

    def __init__(self, shown: Program, seed: int) -> None:
        draw = np.random.default_rng(seed)
        stages = shown.stage_count
        self.seconds = seconds_of(*draw.uniform(0.1, 2.0, (3, stages)))
        self.send_s = draw.uniform(0.0, draw.choice([0.01, 0.3, 2.0]), (shown.ranks, shown.ranks))
        self.kept = draw.uniform(0.0, 3.0, stages)
        self.freed, self.pair_share, self.gap_s = draw.uniform(), draw.uniform(0.3, 1.0), float(draw.choice([0.0, 0.2]))
        self.overlapped = bool(draw.integers(2))

    def timeline(self, shown: Program) -> Timeline:
        memory = Memory(self.kept, self.freed)
        return run(shown, self.seconds, self.send_s, memory, self.overlapped, self.gap_s, self.pair_share)


run(program("1f1b", 2, 2), np.ones((4, 2)))  # compile outside any deadline


def real(timeline: Timeline) -> list[tuple[int, int]]:
    return [(r, a) for r, a in np.argwhere(timeline.program.kinds != NONE).tolist()]


@settings(deadline=None, max_examples=60)
@given(cases(), SEEDS)
def test_it_is_what_the_definition_says(case: Case, seed: int) -> None:
    shown, world = case.program, World(case.program, seed)
    timeline = world.timeline(shown)
    plain = plain_run(shown, world.seconds, world.send_s, world.overlapped, world.gap_s, world.pair_share)
    assert len(plain.end) == len(real(timeline))
    for place in real(timeline):
        assert timeline.start_s[place] == pytest.approx(plain.start[place], abs=1e-12)
        assert timeline.end_s[place] == pytest.approx(plain.end[place], abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(cases(), SEEDS)
def test_one_action_of_a_rank_at_a_time(case: Case, seed: int) -> None:
    timeline = World(case.program, seed).timeline(case.program)
    joined = timeline.program.joined
    for r, a in real(timeline):
        assert timeline.end_s[r, a] >= timeline.start_s[r, a]
        if a and joined[r, a - 1]:
            assert (timeline.start_s[r, a], timeline.end_s[r, a]) == (
                timeline.start_s[r, a - 1],
                timeline.end_s[r, a - 1],
            )
        elif a:
            assert timeline.start_s[r, a] >= timeline.end_s[r, a - 1]


@settings(deadline=None, max_examples=60)
@given(cases(), SEEDS)
def test_nothing_begins_before_what_it_needs_has_arrived(case: Case, seed: int) -> None:
    shown, world = case.program, World(case.program, seed)
    timeline = world.timeline(shown)
    start, end = {}, {}
    for r, a in real(timeline):
        kind = Kind(int(shown.kinds[r, a]))
        key = "B" if kind == Kind.I else kind.name, int(shown.stages[r, a]), int(shown.micro_batch[r, a])
        start[key], end[key] = (timeline.start_s[r, a], r), timeline.end_s[r, a]
    last = shown.stage_count - 1
    for (kind_name, stage, micro), (begin, rank) in start.items():
        if kind_name == "W":
            assert begin >= end["B", stage, micro]
            continue
        before = stage - 1 if kind_name == "F" else stage + 1
        if 0 <= before <= last:
            other = start[kind_name, before, micro][1]
            send = 0.0 if other == rank else world.send_s[other, rank]
            assert begin >= end[kind_name, before, micro] + send - 1e-12
        if kind_name == "B":
            assert begin >= end["F", stage, micro]


@settings(deadline=None, max_examples=60)
@given(cases(), SEEDS)
def test_no_less_than_the_busiest_rank_and_one_micro_batch(case: Case, seed: int) -> None:
    shown, world = case.program, World(case.program, seed)
    timeline = world.timeline(shown)
    assert timeline.total_s >= timeline.busy_s.max() - 1e-12
    assert timeline.total_s >= world.seconds[[Kind.F, Kind.I]].sum() - 1e-12
    assert timeline.bubble_s == pytest.approx(timeline.total_s - timeline.busy_s, abs=1e-9)
    assert (timeline.bubble_s >= 0.0).all() and (timeline.bubble_share <= 1.0).all()


@settings(deadline=None, max_examples=60)
@given(cases(), SEEDS)
def test_what_is_kept_is_freed(case: Case, seed: int) -> None:
    shown, world = case.program, World(case.program, seed)
    timeline = world.timeline(shown)
    assert timeline.left_bytes == pytest.approx(np.zeros(shown.ranks), abs=1e-9)
    assert np.nanmin(timeline.held_bytes) >= -1e-9
    assert timeline.peak_bytes == pytest.approx(np.nanmax(timeline.held_bytes, axis=1))
    for rank in range(shown.ranks):
        at = int(np.flatnonzero(timeline.start_s[rank] == timeline.peak_s[rank])[0])
        assert timeline.peak_bytes[rank] in timeline.held_bytes[rank, at : at + 2]


@settings(deadline=None, max_examples=20)
@given(cases(), SEEDS)
def test_the_same_twice(case: Case, seed: int) -> None:
    first, second = (World(case.program, seed).timeline(case.program) for _ in range(2))
    for field in ("start_s", "end_s", "held_bytes", "peak_bytes", "bubble_s"):
        assert np.array_equal(getattr(first, field), getattr(second, field), equal_nan=True)


@settings(deadline=None, max_examples=40)
@given(cases(), SEEDS, SEEDS)
def test_faster_stages_are_never_slower(case: Case, seed: int, other: int) -> None:
    shown, world = case.program, World(case.program, seed)
    before = world.timeline(shown).total_s
    world.seconds = world.seconds * np.random.default_rng(other).uniform(0.5, 1.0, world.seconds.shape)
    world.send_s = world.send_s * 0.7
    assert world.timeline(shown).total_s <= before + 1e-12


def test_two_ranks_by_hand() -> None:
    timeline = run(program("1f1b", 2, 2), seconds_of([1.0, 2.0], [1.0, 1.0], [1.0, 2.0]), 0.5)
    assert timeline.start_s.tolist() == [[0.0, 1.0, 7.0, 12.0], [1.5, 3.5, 6.5, 8.5]]
    assert timeline.end_s.tolist() == [[1.0, 2.0, 9.0, 14.0], [3.5, 6.5, 8.5, 11.5]]
    assert timeline.total_s == 14.0
    assert timeline.bubble_s.tolist() == [8.0, 4.0]
    assert timeline.peak_bytes.tolist() == [2.0, 1.0]
    assert timeline.peak_s.tolist() == [1.0, 1.5]


def test_sends_follow_each_other_on_a_link() -> None:
    timeline = run(program("gpipe", 2, 3), seconds_of([1.0, 1.0], [1.0, 1.0], [0.0, 0.0]), 4.0)
    assert timeline.start_s[1, :3].tolist() == [5.0, 9.0, 13.0]


def test_a_send_that_is_not_hidden_holds_its_sender() -> None:
    timeline = run(program("gpipe", 2, 2), seconds_of([1.0, 1.0], [1.0, 1.0], [0.0, 0.0]), 0.5, overlapped=False)
    assert timeline.start_s.tolist() == [[0.0, 1.5, 5.5, 7.0], [1.5, 3.0, 4.0, 5.5]]
    assert timeline.busy_s.tolist() == [4.0, 4.0]


def test_waiting_hides_the_host() -> None:
    timeline = run(program("1f1b", 2, 1), seconds_of([1.0, 1.0], [1.0, 1.0], [0.0, 0.0]), gap_s=0.25)
    assert timeline.start_s.tolist() == [[0.25, 3.5], [1.25, 2.5]]


def test_a_joined_pair_takes_its_share_and_no_less_than_the_longer() -> None:
    shown = program("dualpipe", 4, 8)
    seconds = seconds_of(*np.ones((3, 4)))
    pair = int(np.flatnonzero(shown.joined[0])[0])
    for share, lasting in ((1.0, 3.0), (0.8, 2.4), (0.1, 2.0)):
        timeline = run(shown, seconds, pair_share=share)
        assert timeline.end_s[0, pair] - timeline.start_s[0, pair] == pytest.approx(lasting)


def test_part_of_what_is_kept_is_freed_before_the_gradients_of_weights() -> None:
    shown = program("zb-h1", 4, 8)
    ones = np.ones((4, 4))
    assert run(shown, ones, memory=Memory(np.ones(4))).peak_bytes.tolist() == [4.0, 4.0, 4.0, 4.0]
    assert run(shown, ones, memory=Memory(np.ones(4), 1.0)).peak_bytes.tolist() == [4.0, 3.0, 2.0, 1.0]
    assert run(shown, ones, memory=Memory(np.ones(4), 0.5)).peak_bytes.tolist() == [4.0, 3.5, 3.0, 2.5]


def test_a_program_that_waits_for_ever_says_where() -> None:
    f, b = Kind.F, Kind.B
    bad = program_of("mine", 1, [[0], [1]], [[Action(f, 0, 0), Action(b, 0, 0)], [Action(b, 0, 0), Action(f, 0, 0)]])
    with pytest.raises(
        InputError, match=r"mine: rank 0 waits for ever: B of micro-batch 0 on stage 0 needs .* stage 1"
    ):
        run(bad, np.ones((4, 2)))
    crossed = program_of("mine", 2, [[0]], [[Action(Kind.W, 0, 1), Action(f, 0, 1)]])
    with pytest.raises(InputError, match="W of micro-batch 1 on stage 0 needs I on stage 0"):
        run(crossed, np.ones((4, 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": np.ones((4, 3))}, "seconds: shape [4, 3]; this program needs [4, 2]"),
        ({"seconds": -np.ones((4, 2))}, "seconds: -1; allowed: finite numbers from 0 on"),
        ({"seconds": "fast"}, "seconds: 'fast'; allowed: numbers"),
        ({"send_s": np.nan}, "send_s: nan; allowed: finite numbers from 0 on"),
        ({"send_s": [0.0]}, "send_s: shape [1]; this program needs [2, 2]"),
        ({"gap_s": -0.1}, "gap_s: -0.1; allowed"),
        ({"pair_share": 1.5}, "pair_share 1.5, freed_at_input 0; allowed: 0 to 1"),
        ({"memory": Memory(np.ones(3))}, "kept_bytes: shape [3]; this program needs [2]"),
    ],
)
def test_numbers_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        run(program("1f1b", 2, 2), **{"seconds": np.ones((4, 2)), **options})


@pytest.mark.parametrize("name", names())
def test_stages_without_time_take_none(name: str) -> None:
    shown = program(name, 2, 4)
    timeline = run(shown, np.zeros((4, shown.stage_count)))
    assert timeline.total_s == 0.0
    assert (timeline.bubble_share == 0.0).all()
