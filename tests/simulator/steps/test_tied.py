"""The gradient of a tied embedding is added up over both ends of a pipeline."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from simulator.prepared import prepare
from simulator.scenario import Plan, Scenario, TrainStep
from simulator.schedules.registry import names
from simulator.steps.pricing import collective_seconds
from simulator.steps.ranks import ends_apart
from simulator.steps.tied import tied_seconds
from simulator.steps.train_step import price_step
from workloads.models.catalogue import load_model
from workloads.operators import OpKind

TIED = load_model("llama-3.2-1b")
UNTIED = msgspec.structs.replace(TIED, tied=False)


@pytest.mark.parametrize("tp", [1, 2])
def test_two_ranks_reduce_their_part_of_the_vocabulary(one_pool: Callable[..., Scenario], tp: int) -> None:
    work = TrainStep(TIED, 8, 512)
    prepared = prepare(one_pool(work, "h100-sxm-80gb", tp=tp, pp=4))
    found = tied_seconds(work, prepared.pool.plan, 4.0, prepared.communicators, prepared.model)
    group = prepared.communicators["ends"]
    assert group.size == 2
    size = 128256 * 2048 / tp * 4.0
    assert found == collective_seconds(OpKind.ALL_REDUCE, size, group, prepared.model) > size / 450e9


@pytest.mark.parametrize(("model", "pp", "rank"), [(UNTIED, 4, 0), (TIED, 1, 0), (TIED, 4, 8)])
def test_nothing_is_reduced_where_one_rank_has_it_all(
    one_pool: Callable[..., Scenario], model: object, pp: int, rank: int
) -> None:
    work = TrainStep(model, 8, 512, lora_rank=rank)  # type: ignore[arg-type]
    prepared = prepare(one_pool(work, "h100-sxm-80gb", pp=pp))
    assert tied_seconds(work, prepared.pool.plan, 4.0, prepared.communicators, prepared.model) == 0.0


def test_the_step_shows_it(one_pool: Callable[..., Scenario]) -> None:
    work = TrainStep(TIED, 8, 512)
    prepared = prepare(one_pool(work, "h100-sxm-80gb", pp=4))
    cost = price_step(work, prepared.pool.plan, prepared.how, prepared.model, prepared.communicators)
    assert cost.reduce_s == tied_seconds(work, prepared.pool.plan, 4.0, prepared.communicators, prepared.model)


def test_pieces_that_turn_back_have_both_ends_on_one_rank() -> None:
    apart = {name for name in names() if ends_apart(Plan(pp=4, schedule=name))}
    assert set(names()) - apart == {"zb-v"}
    assert not ends_apart(Plan())
