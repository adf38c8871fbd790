"""Graphs priced together cost what they cost alone; collectives of several axes; sums by family."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.network.communicator import collective_cost
from simulator.prepared import prepare
from simulator.scenario import Scenario, StaticBatch
from simulator.steps.pricing import (
    beside_other_half,
    busy_seconds,
    by_family,
    errors_by_family,
    hidden_share,
    is_expert_exchange,
    price_graph,
    price_graphs,
)
from workloads.lowering.inference import lower_contexts, lower_step
from workloads.models.catalogue import load_model
from workloads.operators import COLLECTIVES, FAMILIES

MOE = load_model("qwen1.5-moe-a2.7b")
PARTS = ("time_s", "compute_s", "memory_s", "overhead_s", "communication_s", "energy_j")


@pytest.mark.parametrize(("device", "plan"), [("h100-sxm-80gb", {"tp": 4, "ep": 4, "pp": 2}), ("xeon-8480-plus", {})])
def test_together_as_alone(one_pool: Callable[..., Scenario], device: str, plan: dict[str, int]) -> None:
    ready = prepare(one_pool(StaticBatch(MOE, 8, 64, 2), device, **plan))
    graphs = [
        lower_step(MOE, "prefill", 8, 64, 64, ready.how),
        *lower_contexts(MOE, "decode", 8, 1, (65, 70, 900), ready.how),
    ]
    for graph, together in zip(graphs, price_graphs(graphs, ready.model, ready.communicators), strict=True):
        alone = price_graph(graph, ready.model, ready.communicators)
        for part in PARTS:
            assert np.array_equal(getattr(alone, part), getattr(together, part))


def test_collectives_take_what_their_own_group_takes(one_pool: Callable[..., Scenario]) -> None:
    ready = prepare(one_pool(StaticBatch(MOE, 8, 64, 2), "h100-sxm-80gb", tp=4, ep=4, pp=2))
    priced = price_graph(lower_step(MOE, "decode", 8, 1, 64, ready.how), ready.model, ready.communicators)
    row = ready.model.record
    seen = set()
    for operator, seconds in zip(priced.graph.operators, priced.communication_s, strict=True):
        if operator.kind in COLLECTIVES:
            cost = collective_cost(operator.kind, operator.message_bytes, ready.communicators[operator.axis])
            factor = row["factors"][FAMILIES.index("collective")]
            assert seconds == pytest.approx(cost.seconds / factor + row["gap_s"])
            seen.add(operator.axis)
        else:
            assert seconds == 0.0
    assert seen == {"tp", "ep", "pp"}


def test_families_share_out_all_time_and_runs(one_pool: Callable[..., Scenario]) -> None:
    ready = prepare(one_pool(StaticBatch(MOE, 8, 64, 2), "h100-sxm-80gb"))
    graphs = lower_contexts(MOE, "decode", 8, 1, (65, 70), ready.how)
    steps = list(zip(price_graphs(graphs, ready.model, {}), (2.0, 5.0), strict=True))
    assert sum(by_family(steps).values()) == pytest.approx(sum(step.total_s * times for step, times in steps))
    errors = errors_by_family(steps, ready.model)
    assert errors.keys() == by_family(steps).keys()
    assert errors["moe"].shared == ready.model.error("moe", "bf16").shared
    assert errors["moe"].own == pytest.approx(ready.model.error("moe", "bf16").own), "layers repeat one operator"
    assert errors["gemm"].own < ready.model.error("gemm", "bf16").own, "different products err each their own way"


def test_launches_and_kernels_join_as_two_asymptotes_do() -> None:
    """The longer alone where the other is nothing, a quarter more than it where both are alike, never less."""
    assert busy_seconds([2.0, 0.0, 0.0], [0.0, 3.0, 0.0]) == [2.0, 3.0, 0.0]
    (alike,) = busy_seconds([1.0], [1.0])
    assert alike == pytest.approx(2.0 ** (1.0 / 3.0))
    assert busy_seconds([1.0], [5.0]) == busy_seconds([5.0], [1.0])
    grown = busy_seconds([10.0] * 4, [0.0, 1.0, 5.0, 20.0])
    assert grown == sorted(grown)
    assert all(whole >= most for whole, most in zip(grown, (10.0, 10.0, 10.0, 20.0), strict=True))
    assert grown[1] == pytest.approx(10.0, rel=1e-3)


@given(math_s=st.floats(1e-6, 1.0), exchange_s=st.floats(0.0, 1.0))
def test_two_halves_take_at_least_the_longer_and_at_most_both(math_s: float, exchange_s: float) -> None:
    shown_s = math_s + exchange_s * (1.0 - hidden_share(math_s, exchange_s))
    assert max(math_s, exchange_s) * (1.0 - 1e-9) <= shown_s <= (math_s + exchange_s) * (1.0 + 1e-9)


def test_only_exchanges_with_experts_move_beside_the_other_half(one_pool: Callable[..., Scenario]) -> None:
    ready = prepare(one_pool(StaticBatch(MOE, 64, 64, 2), "h100-sxm-80gb", tp=4, ep=4))
    priced = price_graph(lower_step(MOE, "decode", 64, 1, 64, ready.how), ready.model, ready.communicators)
    halves = beside_other_half(priced)
    moves = np.array([is_expert_exchange(operator) for operator in priced.graph.operators])
    assert moves.sum() == 2
    assert np.array_equal(halves.time_s[~moves], priced.time_s[~moves])
    assert (halves.time_s[moves] < priced.time_s[moves]).all()
    dense = price_graph(
        lower_step(load_model("llama-3.1-8b"), "decode", 4, 1, 64, ready.how), ready.model, ready.communicators
    )
    assert beside_other_half(dense) is dense
