"""What makes a program illegal, and that every schedule is legal."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from schedule_cases import Case, cases

from hardware_specs.errors import InputError
from simulator.schedules.actions import Action, Kind, Program, program_of
from simulator.schedules.legality import check

F, B, I, W = Kind  # noqa: E741


def one_rank(*actions: Action, micro_batches: int = 1) -> Program:
    return program_of("mine", micro_batches, [[0]], [actions])


@settings(deadline=None, max_examples=100)
@given(cases())
def test_every_schedule_is_legal(case: Case) -> None:
    check(case.program)


def test_small_ones_are_legal() -> None:
    check(one_rank(Action(F, 0, 0), Action(B, 0, 0)))
    check(one_rank(Action(F, 0, 0), Action(I, 0, 0), Action(W, 0, 0)))


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([Action(F, 0, 0)], "B, or I, of micro-batch 0 on stage 0 0 times; allowed: once"),
        ([Action(B, 0, 0)], "F of micro-batch 0 on stage 0 0 times"),
        ([Action(F, 0, 0), Action(F, 0, 0), Action(B, 0, 0)], "F of micro-batch 0 on stage 0 2 times"),
        ([Action(F, 0, 0), Action(B, 0, 0), Action(B, 0, 0)], "B, or I, of micro-batch 0 on stage 0 2 times"),
        ([Action(F, 0, 0), Action(I, 0, 0)], "W, or B beside I or W, of micro-batch 0"),
        ([Action(F, 0, 0), Action(B, 0, 0), Action(W, 0, 0)], "W, or B beside I or W, of micro-batch 0"),
        ([Action(F, 0, 0), Action(B, 0, 0), Action(I, 0, 0)], "W, or B beside I or W, of micro-batch 0"),
        ([Action(F, 0, 0), Action(B, 0, 3)], "rank 0: B of micro-batch 3 on stage 0, of 1"),
        ([Action(B, 0, 0), Action(F, 0, 0)], "waits for ever: B of micro-batch 0 on stage 0 needs F on stage 0"),
        ([Action(F, 0, 0), Action(W, 0, 0), Action(I, 0, 0)], "W of micro-batch 0 on stage 0 needs I"),
        ([Action(F, 0, 0, True), Action(B, 0, 0)], "F of micro-batch 0 on stage 0 cannot be joined with B"),
        ([Action(F, 0, 0), Action(B, 0, 0, True)], "B of micro-batch 0 on stage 0 is joined with nothing"),
    ],
)
def test_what_is_refused(actions: list[Action], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(one_rank(*actions))


def test_a_backward_on_another_rank() -> None:
    rows = [[Action(F, 0, 0)], [Action(B, 0, 0)]]
    with pytest.raises(InputError, match="rank 1: B of micro-batch 0 on stage 0, whose F is on rank 0"):
        check(program_of("mine", 1, [[0], [0]], rows))


def test_the_order_of_two_ranks() -> None:
    good = [[Action(F, 0, 0), Action(F, 0, 1), Action(B, 0, 0), Action(B, 0, 1)]]
    rows = [*good, [Action(F, 0, 0), Action(B, 0, 0), Action(F, 0, 1), Action(B, 0, 1)]]
    check(program_of("mine", 2, [[0], [1]], rows))
    turned = [*good, [Action(F, 0, 1), Action(B, 0, 1), Action(F, 0, 0), Action(B, 0, 0)]]
    check(program_of("mine", 2, [[0], [1]], turned))
    rows[0] = [Action(F, 0, 0), Action(B, 0, 0), Action(F, 0, 1), Action(B, 0, 1)]
    with pytest.raises(
        InputError, match="rank 0 waits for ever: B of micro-batch 0 on stage 0 needs B or I on stage 1"
    ):
        check(program_of("mine", 2, [[0], [1]], [rows[0], turned[1]]))
