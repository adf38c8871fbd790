"""Memory over a training step and its pipeline, drawn from what a result carries."""

from __future__ import annotations

import msgspec

from reports.figures import memory_over_step, pipeline
from reports.lanes import busy_of
from simulator.result import Result
from simulator.timeline import Action, RankSteps, Timeline


def rank(number: int, peak: float) -> RankSteps:
    actions = (Action("F", number, 0, 0.0, 1.0), Action("B", number, 0, 2.0, 4.0))
    return RankSteps(1e9, 1e9, 2e9, peak - 5e9, 0.5e9, 0.5e9, actions, (0.0, 1.0, 4.0), (4.5e9, peak, 4.5e9))


def with_ranks(one: Result, *ranks: RankSteps) -> Result:
    return msgspec.structs.replace(one, timeline=Timeline((), ranks))


def test_the_fullest_rank_is_always_drawn(one: Result) -> None:
    ranks = [rank(k, 9e9 if k == 5 else 7e9) for k in range(8)]
    assert memory_over_step.shown_of(ranks) == [0, 4, 5, 7]
    drawn = memory_over_step.draw([with_ranks(one, *ranks)])
    assert "Rank 5: 9.00 GB at most" in drawn and "4 more ranks are not drawn" in drawn
    assert memory_over_step.shown_of(ranks[:1]) == [0]


def test_waiting_is_what_is_not_busy(one: Result) -> None:
    ranks = rank(0, 7e9), rank(1, 7e9)
    drawn = pipeline.draw([with_ranks(one, *ranks)])
    assert "25 % of the time of 2 ranks is waiting" in drawn
    assert "backward of micro-batch 0 on stage 1: 2.00 s to 4.00 s" in drawn


def test_actions_that_run_together_count_once() -> None:
    actions = (Action("F", 0, 0, 0.0, 2.0), Action("W", 0, 0, 0.0, 2.0), Action("B", 0, 0, 1.0, 3.0))
    assert busy_of((each.start_s, each.end_s) for each in actions) == 3.0


def test_one_rank_has_no_pipeline(one: Result) -> None:
    alone = [with_ranks(one, rank(0, 7e9))]
    assert memory_over_step.applies(alone) and not pipeline.applies(alone)
    assert not memory_over_step.applies([one])
