"""Replicas: shards of a copy, experts with replicas of their own, hybrid groups, and what they exchange."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import structs

from hardware_specs.errors import InputError
from simulator.network.communicator import collective_cost
from simulator.network.contention import ALONE, NODE, PORT
from simulator.prepared import Prepared, prepare
from simulator.scenario import Formats, Plan, Scenario, TrainStep, check_plan
from simulator.simulate import simulate
from simulator.steps.pipeline import stage_seconds
from simulator.steps.replicas import (
    QUIET,
    Exchanges,
    Floats,
    Replicas,
    Trained,
    Window,
    moved_weight_bytes,
    shards_of,
    share_of_ends,
    shown_s,
    state_bytes,
    trained_parameters,
    zero_stage,
)
from simulator.steps.train_step import price_step
from simulator.steps.training_result import memory_use
from workloads.models.catalogue import load_model
from workloads.operators import OpKind

SMALL = load_model("llama-3.2-1b")
MIXTRAL = load_model("mixtral-8x7b")


def planned(scenario: Scenario, **changes: object) -> Scenario:
    pool = scenario.pools[0]
    return structs.replace(scenario, pools=(structs.replace(pool, plan=structs.replace(pool.plan, **changes)),))


def replicas_of(prepared: Prepared, work: TrainStep) -> Replicas:
    trained = trained_parameters(work, prepared.pool.plan)
    return Replicas(trained, 2.0, 4.0, prepared.communicators, prepared.model)


@given(
    tp=st.sampled_from((1, 2, 4)), dp=st.sampled_from((8, 16)), ep=st.sampled_from((1, 2, 4, 8)),
    etp=st.sampled_from((0, 1, 2)),
)  # fmt: skip
def test_every_expert_is_somewhere(tp: int, dp: int, ep: int, etp: int) -> None:
    assume(tp * dp % (ep * max(etp, 1)) == 0)
    plan = Plan(tp=tp, dp=dp, ep=ep, etp=etp)
    check_plan(plan, tp * dp)
    cut = plan.sharding
    assert plan.expert_replicas * ep * cut.expert_tp == tp * dp


def test_experts_are_cut_over_the_ranks_that_hold_them(one_pool: Callable[..., Scenario]) -> None:
    work = TrainStep(MIXTRAL, 16, 2048)
    plan = Plan(dp=16, ep=8, zero=1)
    runtime = one_pool(work, "h100-sxm-80gb", dp=16, ep=8).pools[0].runtime
    assert shards_of(work, plan, runtime).states == 16
    assert shards_of(work, plan, runtime, experts=True).states == 2
    use = memory_use(prepare(planned(one_pool(work, "h100-sxm-80gb", dp=16, ep=8), zero=1)), work)
    trained = trained_parameters(work, plan)
    assert use.optimizer == pytest.approx(12.0 * (trained.shared / 16 + trained.experts / 2))


def test_parts_of_experts_are_joined_by_gathers_and_scatters(one_pool: Callable[..., Scenario]) -> None:
    work = TrainStep(MIXTRAL, 16, 2048)

    def bytes_of(etp: int) -> dict[str, float]:
        prepared = prepare(planned(one_pool(work, "h100-sxm-80gb", tp=2, dp=8, ep=4), etp=etp))
        cost = price_step(work, prepared.pool.plan, prepared.how, prepared.model, prepared.communicators)
        return {o.name: o.message_bytes for o in cost.micro.graph.operators if o.family == "collective"}

    one, two = bytes_of(1), bytes_of(2)
    assert "moe.all_gather.experts" not in one
    sent = one["moe.dispatch"]
    assert sent == pytest.approx(2048 / 2 * MIXTRAL.groups[0].mlp.top_k * MIXTRAL.hidden * 2)  # type: ignore[union-attr]  # experts are there
    assert two["moe.all_gather.experts"] == two["moe.reduce_scatter.experts"] == 2.0 * sent
    assert two["moe.dispatch"] == two["moe.combine"] == sent


def test_hybrid_groups_hold_more_and_send_less_far(one_pool: Callable[..., Scenario]) -> None:
    work = TrainStep(SMALL, 32, 2048)
    scenario = one_pool(work, "a100-sxm-80gb", dp=32)
    whole, hybrid = (prepare(planned(scenario, zero=3, shard=n)) for n in (0, 8))
    held = {p.pool.plan.shard: memory_use(p, work) for p in (whole, hybrid)}
    assert held[8].optimizer == pytest.approx(4.0 * held[0].optimizer)
    assert held[8].gradients == pytest.approx(4.0 * held[0].gradients)
    mine, theirs = replicas_of(hybrid, work), replicas_of(whole, work)
    size = sum(mine.trained)
    # A copy lies in a node: its weights are gathered there; what was scattered there is added up over four nodes.
    inside = collective_cost(OpKind.ALL_GATHER, 2.0 * size, hybrid.communicators["shard"])
    assert inside.outer_bytes == 0.0
    assert mine.exchanges().gather[ALONE] < theirs.exchanges().gather[ALONE]
    apart = collective_cost(OpKind.ALL_REDUCE, 4.0 * size / 8, hybrid.communicators["copies"])
    assert apart.outer_bytes > 0.0
    assert hybrid.communicators["shard"].size * hybrid.communicators["copies"].size == 32


def test_groups_of_all_replicas_are_no_groups(one_pool: Callable[..., Scenario]) -> None:
    work = TrainStep(SMALL, 16, 2048)
    scenario = one_pool(work, "h100-sxm-80gb", dp=16)
    results = [simulate(planned(scenario, zero=3, shard=n)) for n in (0, 16)]
    assert results[0].metrics == results[1].metrics


def test_groups_must_divide_the_replicas() -> None:
    with pytest.raises(InputError, match="--fsdp 3: must divide the replicas"):
        check_plan(Plan(dp=8, shard=3), 8)


def stream(alone_s: float) -> Floats:
    return np.array([[1.0, alone_s, 0.0, 0.0, alone_s, 0.0]])


@given(
    gather=st.floats(0.0, 10.0), scatter=st.floats(0.0, 10.0), math=st.floats(0.0, 20.0),
    zero=st.sampled_from((1, 3)),
)  # fmt: skip
@settings(deadline=None)
def test_what_shows_is_between_all_and_one_layers(gather: float, scatter: float, math: float, zero: int) -> None:
    each = Exchanges(stream(gather + scatter), stream(scatter), stream(gather))
    window = Window(*np.array([[1, 3.0 * math, math, 1.0, 1, 1, 0.0]]).T)
    shown = [
        float(shown_s(each, np.array([["gradients" in w], ["weights" in w]]), np.array([zero]), window, 32, QUIET)[0])
        for w in (("gradients", "weights"), ("weights",), ())
    ]
    assert shown[0] <= shown[1] + 1e-9 and shown[1] <= shown[2] + 1e-9
    moved = scatter + (2.0 if zero == 3 else 1.0) * gather
    assert shown[2] == pytest.approx(moved)
    assert shown[0] >= moved / 32 - 1e-12


def test_states_follow_the_optimizer(one_pool: Callable[..., Scenario]) -> None:
    runtime = one_pool(TrainStep(SMALL, 1, 512), "h100-sxm-80gb").pools[0].runtime
    adam, lion = (state_bytes(TrainStep(SMALL, 1, 512, optimizer=o), "bf16", runtime).states for o in ("adamw", "lion"))
    assert adam - lion == 4.0
    assert zero_stage(TrainStep(SMALL, 8, 512), Plan(dp=8, zero=2), runtime) == 2
    assert isinstance(trained_parameters(TrainStep(SMALL, 1, 512), Plan()), Trained)


def shown_beside(scenario: Scenario) -> tuple[float, float, float]:
    """What shows of the reduction of gradients [s]: as a step prices it, without exchanges beside it, and all of it."""
    prepared, work = prepare(scenario), scenario.workload
    assert isinstance(work, TrainStep)
    plan = prepared.pool.plan
    cost = price_step(work, plan, prepared.how, prepared.model, prepared.communicators)
    stages = stage_seconds(cost.micro, plan.pp)
    replicas = replicas_of(prepared, work)
    quiet = replicas.exposed_s(work, plan, cost.micro_batches, cost.micro.total_s, max(stages))
    return cost.reduce_s, quiet, float(replicas.exchanges().reduce[ALONE])


def test_what_shares_links_with_a_backward_takes_longer(one_pool: Callable[..., Scenario]) -> None:
    """Tensor exchanges and gradients of one node: more shows, but no more than if all came behind the backward."""
    work = TrainStep(SMALL, 4, 2048)
    scenario = one_pool(work, "h100-sxm-80gb", tp=2, dp=4, runtime="megatron-core-2025")
    shown, quiet, whole = shown_beside(planned(scenario, zero=0, overlap="gradients"))
    assert quiet * 1.05 < shown < whole
    # Without tensor exchanges there is nothing to share with.
    alone = one_pool(TrainStep(SMALL, 8, 2048), "h100-sxm-80gb", dp=8, runtime="megatron-core-2025")
    shown, quiet, _ = shown_beside(planned(alone, zero=0, overlap="gradients"))
    assert shown == pytest.approx(quiet, rel=1e-12)
    # Nor does what follows the backward share anything.
    shown, quiet, whole = shown_beside(planned(scenario, zero=0, overlap="none"))
    assert shown == quiet == pytest.approx(whole)


def test_links_inside_nodes_and_between_them_are_not_shared(one_pool: Callable[..., Scenario]) -> None:
    scenario = one_pool(TrainStep(SMALL, 4, 4096), "h100-sxm-80gb", tp=8, dp=4, runtime="megatron-core-2025")
    shown, quiet, whole = shown_beside(planned(scenario, zero=0, overlap="gradients"))
    assert shown == pytest.approx(quiet, rel=1e-12)
    assert quiet < whole


@pytest.mark.parametrize("shard", [0, 4])
def test_shards_share_links_with_the_math_of_every_layer(one_pool: Callable[..., Scenario], shard: int) -> None:
    work = TrainStep(SMALL, 16, 8192)
    scenario = one_pool(work, "h100-sxm-80gb", tp=2, dp=16, runtime="megatron-core-2025")
    shown, quiet, _ = shown_beside(planned(scenario, zero=3, shard=shard))
    prepared = prepare(planned(scenario, zero=3, shard=shard))
    stream = replicas_of(prepared, work).exchanges().scatter
    # What groups scatter moves inside a node, and between nodes what they sum up.
    assert stream[NODE] > 0.0 and stream[PORT] > 0.0
    assert shown > quiet * 1.05
    # Where the network is what takes longest, math that waits for links inside a node costs nothing.
    short = one_pool(TrainStep(SMALL, 16, 1024), "h100-sxm-80gb", tp=2, dp=16, runtime="megatron-core-2025")
    shown, quiet, _ = shown_beside(planned(short, zero=3, shard=shard))
    assert shown == pytest.approx(quiet, rel=1e-12)


def test_sends_that_math_hides_lengthen_nothing(one_pool: Callable[..., Scenario]) -> None:
    work = TrainStep(SMALL, 16, 4096)
    scenario = one_pool(work, "h100-sxm-80gb", pp=2, dp=4, runtime="megatron-core-2025")
    plain, hidden, quiet = (
        shown_beside(planned(scenario, zero=0, overlap=words)) for words in ("gradients", "gradients,pipeline", "none")
    )
    # A backward that stands still for a send hides more of what others move meanwhile.
    assert plain[1] <= plain[0] < quiet[0]
    assert hidden[1] <= hidden[0] < quiet[0]


@pytest.mark.parametrize(("recipe", "linear"), [("fp8-tensorwise", 1.0), ("fp8-rowwise", 2.0)])
def test_shards_of_linear_layers_are_gathered_in_8_bits(
    one_pool: Callable[..., Scenario], recipe: str, linear: float
) -> None:  # fmt: skip
    work = TrainStep(SMALL, 64, 512)
    wide = planned(one_pool(work, "h100-sxm-80gb", dp=8, runtime="torchtitan-2025"), zero=3)
    formats = Formats(dtype="fp8", recipe=recipe)
    narrow = planned(one_pool(work, "h100-sxm-80gb", dp=8, runtime="torchtitan-2025", formats=formats), zero=3)
    precision, ends = prepare(narrow).precision, share_of_ends(SMALL)
    assert moved_weight_bytes(work, 3, precision, 2.0) == pytest.approx(linear * (1.0 - ends) + 2.0 * ends)
    assert moved_weight_bytes(work, 1, precision, 2.0) == 2.0
    assert moved_weight_bytes(work, 3, prepare(wide).precision, 2.0) == 2.0
