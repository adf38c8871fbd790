"""Pipeline ranks: every layer once, ends where the schedule puts them, the fullest among the few that can be."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec
import pytest

from simulator.memory import backward_bytes
from simulator.prepared import prepare
from simulator.scenario import Plan, Scenario, TrainStep
from simulator.schedules.registry import names, schedule_of
from simulator.steps.ranks import fullest_ranks, in_flight, ranks_of
from simulator.steps.training_result import memory_use, rank_memory
from workloads.lowering.plan import Sharding
from workloads.models.catalogue import load_model
from workloads.models.parameters import count_parameters

SMALL = load_model("llama-3.2-1b")


@pytest.mark.parametrize("schedule", names())
@pytest.mark.parametrize("stages", [(), (5, 4, 4, 3)])
def test_ranks_hold_every_layer_as_often_as_the_schedule_does(schedule: str, stages: tuple[int, ...]) -> None:
    copies = schedule_of(schedule).copies
    ranks = ranks_of(SMALL, Plan(pp=4, schedule=schedule, stages=stages))
    assert sum(sum(rank.layers) for rank in ranks) == 16 * copies
    assert sum(sum(rank.kept) for rank in ranks) == 16
    assert sum(rank.embeds for rank in ranks) == sum(rank.heads for rank in ranks) == copies
    assert ranks[0].embeds and ranks[0 if schedule == "zb-v" else -1].heads


@pytest.mark.parametrize("schedule", names())
def test_later_ranks_never_have_more_in_flight(schedule: str) -> None:
    for pp, count, vpp in itertools.product((2, 4, 8), (8, 16, 64), (1, 2)):
        plan = Plan(pp=pp, vpp=vpp, schedule=schedule)
        held = [in_flight(plan, count, rank) for rank in range(pp)]
        assert held == sorted(held, reverse=True)
        assert held[0] <= count + pp


def test_one_forward_one_backward_holds_one_less_on_each_rank() -> None:
    assert [in_flight(Plan(pp=4), 16, rank) for rank in range(4)] == [4.0, 3.0, 2.0, 1.0]
    assert [in_flight(Plan(pp=4), 2, rank) for rank in range(4)] == [2.0, 2.0, 2.0, 1.0]
    assert in_flight(Plan(pp=4, vpp=2), 16) == 4.0 * (1.0 + 3.0 / 8.0)


@pytest.mark.parametrize(("stages", "fullest"), [((4, 4, 4, 4), 0), ((2, 10, 2, 2), 1), ((1, 1, 1, 13), 3)])
def test_memory_is_that_of_the_fullest_rank(
    one_pool: Callable[..., Scenario], stages: tuple[int, ...], fullest: int
) -> None:
    work = TrainStep(SMALL, 16, 512)
    scenario = one_pool(work, "h100-sxm-80gb", pp=4)
    pool = scenario.pools[0]
    plan = msgspec.structs.replace(pool.plan, stages=stages)
    prepared = prepare(msgspec.structs.replace(scenario, pools=(msgspec.structs.replace(pool, plan=plan),)))
    every = [rank_memory(prepared, work, rank) for rank in ranks_of(SMALL, plan)]
    assert memory_use(prepared, work) == every[fullest]
    assert max(use.total for use in every) == every[fullest].total
    assert {rank.number for rank in fullest_ranks(SMALL, plan)} >= {fullest}
    # Each layer is on one stage; the tied embedding is on the first and the last one.
    count = count_parameters(SMALL)
    assert sum(use.weights for use in every) == pytest.approx(2.0 * (count.total + count.embedding))
    # Logits are on the last stage alone; each micro-batch in flight leaves its layers.
    beside = backward_bytes(SMALL, SMALL.groups[0], 512.0, Sharding())
    layer = ((every[0].activations - beside) / stages[0]) / 4.0
    held = [layer * length * (4 - rank) for rank, length in enumerate(stages)]
    assert [use.activations for use in every[:3]] == pytest.approx([each + beside for each in held[:3]])
    assert every[3].activations == pytest.approx(held[3] + max(beside, 512 * SMALL.vocab * 6.0))
