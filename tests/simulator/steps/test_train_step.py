"""A training step: bubble, FLOPs as MFU and HFU count them, gradients of experts, memory of activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from hardware_specs.errors import InputError
from simulator import memory
from simulator.prepared import Prepared, prepare
from simulator.scenario import Plan, Scenario, TrainStep
from simulator.simulate import simulate
from simulator.steps.pipeline import stage_seconds
from simulator.steps.pricing import busy_seconds, collective_seconds
from simulator.steps.ranks import ranks_of
from simulator.steps.replicas import shards_of, state_bytes, trained_parameters
from simulator.steps.train_step import StepCost, counted_flops, micro_batches, price_step, recomputed
from simulator.steps.training_result import memory_use, rank_memory
from workloads.lowering.plan import Lowering, Sharding
from workloads.models.catalogue import load_model
from workloads.models.parameters import count_parameters
from workloads.operators import OpKind

SMALL = load_model("llama-3.2-1b")
GPT3 = load_model("gpt3-175b")


def under(scenario: Scenario, **changes: Any) -> Scenario:
    """``scenario`` under its runtime with some changes."""
    pool = scenario.pools[0]
    return structs.replace(
        scenario, pools=(structs.replace(pool, runtime=structs.replace(pool.runtime, **changes)),)
    )  # fmt: skip


def serial(scenario: Scenario) -> Scenario:
    """``scenario`` under its runtime where nothing moves beside anything, and replicas are whole."""
    return under(scenario, zero=0, overlaps_gradients=False, overlaps_tensor=False)


def priced(scenario: Scenario) -> tuple[Prepared, StepCost]:
    prepared = prepare(scenario)
    work = scenario.workload
    assert isinstance(work, TrainStep)
    return prepared, price_step(work, prepared.pool.plan, prepared.how, prepared.model, prepared.communicators)


@pytest.mark.parametrize(("pp", "count"), [(2, 1), (2, 4), (4, 4), (4, 16)])
def test_the_bubble_is_pp_less_one_over_the_micro_batches(
    one_pool: Callable[..., Scenario], pp: int, count: int
) -> None:
    """... of equal stages; the head makes the last one of this small model longer, and all others wait for it."""
    _, cost = priced(one_pool(TrainStep(SMALL, count, 1024), "h100-sxm-80gb", pp=pp))
    stages = stage_seconds(cost.micro, pp)
    assert sum(stages) == pytest.approx(cost.micro.total_s)
    mean, longest = sum(stages) / pp, max(stages)
    assert longest == stages[-1] > mean
    assert cost.bubble_s == pytest.approx((pp - 1) * mean + (count - 1) * (longest - mean))


def test_a_stage_of_two_layers_sets_the_pace(one_pool: Callable[..., Scenario]) -> None:
    """16 layers on 15 stages: one has two, so that many micro-batches take as long as on 8 stages of two."""
    work = TrainStep(SMALL, 480, 512)
    stages = stage_seconds(priced(one_pool(work, "h100-sxm-80gb", pp=15))[1].micro, 15)
    assert stages[1:-1] == pytest.approx([stages[1]] * 13)
    assert stages[0] > 1.9 * stages[1]


@pytest.mark.parametrize("pp", [1, 4])
@pytest.mark.parametrize(("host_s", "launch_s"), [(0.0, 0.0), (1e-3, 0.0), (0.2, 0.0), (1e-3, 1e-6), (1e-3, 1e-3)])
def test_hosts_work_beside_the_devices(
    one_pool: Callable[..., Scenario], pp: int, host_s: float, launch_s: float
) -> None:
    """One micro-batch more takes what is longer: what a stage is busy, or all its launches and the rest of its host."""

    def cost(count: int) -> StepCost:
        scenario = one_pool(TrainStep(SMALL, count, 1024), "h100-sxm-80gb", pp=pp)
        runtime = scenario.pools[0].runtime
        step, launch = (structs.replace(runtime.host_step, value=value) for value in (host_s, launch_s))
        return priced(under(scenario, host_step=step, launch=launch, runs_ahead=True))[1]

    few, more = cost(8), cost(9)
    stages = stage_seconds(few.micro, pp)
    launches = [launch_s * n for n in stage_seconds(replace(few.micro, time_s=np.ones_like(few.micro.time_s)), pp)]
    grown = more.step_s - more.send_s - few.step_s + few.send_s
    assert grown == pytest.approx(max(*busy_seconds(stages, launches), *(each + host_s for each in launches)))
    one = cost(1)
    stages = stage_seconds(one.micro, pp)
    launches = [launch_s * n for n in stage_seconds(replace(one.micro, time_s=np.ones_like(one.micro.time_s)), pp)]
    filled = sum(busy_seconds(stages, launches))
    assert one.step_s - one.send_s - one.reduce_s - one.update.total_s == pytest.approx(host_s + filled)
    assert one.host_s == pytest.approx(host_s + filled - sum(stages), abs=1e-12)


def test_a_compiled_step_has_one_host_part(one_pool: Callable[..., Scenario]) -> None:
    scenario = under(one_pool(TrainStep(SMALL, 8, 1024), "h100-sxm-80gb"), graph_mode=True)
    assert priced(scenario)[1].host_s == pytest.approx(scenario.pools[0].runtime.host_step.value)


def test_everything_sums_to_the_step(one_pool: Callable[..., Scenario]) -> None:
    result = simulate(one_pool(TrainStep(SMALL, 16, 1024), "h100-sxm-80gb", tp=2, pp=2, dp=4))
    assert sum(result.breakdown.values()) == pytest.approx(result.metrics["step_time_s"])
    assert result.breakdown["host"] > 0.0
    m = {name: value for name, value in result.metrics.items() if value is not None}
    assert m["tokens_per_s_per_device"] == pytest.approx(16 * 1024 / m["step_time_s"] / 16)
    assert m["mfu"] == pytest.approx(m["model_tflops_per_device"] * 1e12 / 989.4e12, rel=1e-3)
    assert 0.0 < m["mfu"] <= m["hfu"] <= 1.0


def test_hardware_flops_follow_narayanan() -> None:
    """96 B s l h^2 (1 + s / 6h + V / 16 l h) with full recomputation (SC 2021, equation 3)."""
    s, layers, h, v = 2048, 96, 12288, GPT3.vocab
    _, hardware = counted_flops(TrainStep(GPT3, 1, s), Lowering(), "full")
    assert hardware == pytest.approx(96 * s * layers * h * h * (1 + s / (6 * h) + v / (16 * layers * h)), rel=2e-3)


def test_model_flops_are_six_per_weight_and_token_and_half_of_attention() -> None:
    s, layers, h, v = 2048, 96, 12288, GPT3.vocab
    for recompute in ("none", "selective", "full"):
        model, _ = counted_flops(TrainStep(GPT3, 1, s), Lowering(), recompute)
        attention = 6 * layers * s * (s + 1) * h
        assert model == pytest.approx(6 * s * (12 * layers * h * h + v * h) + attention, rel=1e-3)


def test_recomputation_adds_a_forward_of_layers_or_of_attention() -> None:
    s, layers, h = 2048, 96, 12288
    none, selective, full = (
        counted_flops(TrainStep(GPT3, 1, s), Lowering(), recompute)[1] for recompute in ("none", "selective", "full")
    )
    assert selective - none == pytest.approx(4 * s * s * h * layers, rel=1e-6)
    assert full - none == pytest.approx(24 * s * h * h * layers + 4 * s * s * h * layers, rel=1e-3)


def test_attention_that_sees_both_ways_is_not_counted_double() -> None:
    bert = load_model("bert-base-uncased")
    model, hardware = counted_flops(TrainStep(bert, 1, 512), Lowering(), "none")
    assert hardware == pytest.approx(model)


def test_gradients_of_experts_are_reduced_over_their_replicas_alone(one_pool: Callable[..., Scenario]) -> None:
    moe = load_model("mixtral-8x7b")
    work = TrainStep(moe, 8, 512)
    prepared, cost = priced(serial(one_pool(work, "h100-sxm-80gb", dp=8, ep=8)))
    trained = trained_parameters(work, Plan(dp=8, ep=8))
    assert trained.experts == count_parameters(moe).experts / 8
    shared = collective_seconds(OpKind.ALL_REDUCE, trained.shared * 4.0, prepared.communicators["dp"], prepared.model)
    assert cost.reduce_s == pytest.approx(shared)
    assert "edp" not in prepared.communicators
    prepared, cost = priced(serial(one_pool(replace_batch(work, 16), "h100-sxm-80gb", dp=16, ep=8)))
    experts = collective_seconds(
        OpKind.ALL_REDUCE, trained.experts * 4.0, prepared.communicators["edp"], prepared.model
    )
    shared = collective_seconds(OpKind.ALL_REDUCE, trained.shared * 4.0, prepared.communicators["dp"], prepared.model)
    assert prepared.communicators["edp"].size == 2
    assert cost.reduce_s == pytest.approx(shared + experts)


def sharded(scenario: Scenario) -> Scenario:
    """``scenario`` under its runtime with replicas that are shards of one copy."""
    return under(scenario, shards_replicas=True)


def test_shards_of_one_copy_update_and_hold_their_parts(one_pool: Callable[..., Scenario]) -> None:
    work = TrainStep(SMALL, 8, 2048)
    whole = serial(one_pool(work, "h100-sxm-80gb", dp=8))
    (before, plain), (after, cut) = priced(whole), priced(sharded(whole))
    assert cut.update.total_s < plain.update.total_s / 6.0
    assert cut.micro.total_s == plain.micro.total_s
    use, less = memory_use(before, work), memory_use(after, work)
    assert (less.gradients, less.optimizer) == pytest.approx((use.gradients / 8.0, use.optimizer / 8.0))
    assert less.weights == pytest.approx(use.weights * (1.0 / 8.0 + 2.0 / SMALL.layers))


def test_gathers_hide_behind_the_math_of_long_micro_batches_alone(one_pool: Callable[..., Scenario]) -> None:
    def exposed(batch: int, length: int) -> tuple[float, float]:
        prepared, cost = priced(sharded(one_pool(TrainStep(SMALL, batch, length), "h100-sxm-80gb", dp=batch)))
        trained = sum(trained_parameters(TrainStep(SMALL, batch, length), Plan(dp=batch)))
        group = prepared.communicators["dp"]
        moved = 2.0 * collective_seconds(OpKind.ALL_GATHER, trained * 2.0, group, prepared.model)
        moved += collective_seconds(OpKind.REDUCE_SCATTER, trained * 4.0, group, prepared.model)
        return cost.reduce_s, moved

    hidden, moved = exposed(8, 8192)
    assert hidden == pytest.approx(moved / SMALL.layers)
    seen, moved = exposed(64, 16)
    assert moved / SMALL.layers < seen < moved


def replace_batch(work: TrainStep, batch: int) -> TrainStep:
    return TrainStep(work.model, batch, work.seq_len)


@pytest.mark.parametrize(("tp", "pp"), [(1, 1), (4, 1), (2, 4)])
def test_what_is_trained_is_what_is_held(one_pool: Callable[..., Scenario], tp: int, pp: int) -> None:
    """16-bit weights of the fullest device, two bytes each, are the parameters that it updates."""
    work = TrainStep(SMALL, pp, 128)
    prepared = prepare(one_pool(work, "h100-sxm-80gb", tp=tp, pp=pp))
    held = memory.weight_bytes(SMALL, prepared.precision, prepared.how.sharding)
    # The last norm, on the last stage alone, is next to nothing.
    assert sum(trained_parameters(work, prepared.pool.plan)) == pytest.approx(held / 2.0, rel=2e-5)
    use = memory_use(prepared, work)
    assert (use.gradients, use.optimizer) == pytest.approx((2.0 * held, 6.0 * held), rel=2e-5)


def test_adapters_train_little_and_keep_the_weights(one_pool: Callable[..., Scenario]) -> None:
    work = TrainStep(SMALL, 1, 128, lora_rank=8)
    use = memory_use(prepare(one_pool(work, "h100-sxm-80gb")), work)
    trained = sum(trained_parameters(work, Plan()))
    assert 0.001 < trained / count_parameters(SMALL).total < 0.02
    assert use.optimizer == pytest.approx(12.0 * trained)
    assert use.weights > 2.0 * count_parameters(SMALL).total


@pytest.mark.parametrize("tp", [1, 8])
def test_activations_follow_korthikanti(tp: int) -> None:
    """Table 2 of arXiv:2205.05198 without sequence parallelism: s b h (10 + 24 / t + 5 a s / h t) per layer."""
    s, b, h, a, layers = 2048, 1, 12288, 96, 96
    logits = b * s * GPT3.vocab / tp * 6.0
    # The gradients of a layer's input and result, and two of the MLP's width.
    beside = memory.backward_bytes(GPT3, GPT3.groups[0], float(s * b), Sharding(tp=tp))
    assert beside == 2 * s * b * (2 * h + 2 * 4 * h / tp)

    def kept(recompute: str, flash: bool = False) -> float:
        return memory.stage_training_bytes(GPT3, [layers], b, s, recompute, flash, Sharding(tp=tp)).kept

    def all_(recompute: str) -> float:
        return memory.training_activation_bytes(GPT3, b, s, recompute, False, Sharding(tp=tp), 1)

    none = s * b * h * (10 + 24 / tp + 5 * a * s / (h * tp)) * layers
    selective = s * b * h * (10 + 24 / tp) * layers
    assert kept("none") == pytest.approx(none)
    assert kept("selective") == pytest.approx(selective)
    # The loss is through before a layer is computed again and goes backward.
    assert all_("none") == pytest.approx(none + max(beside, logits))
    assert all_("full") == pytest.approx(2 * s * b * h * layers + max(selective / layers + beside, logits))
    # Flash attention keeps no scores; the two masks of one byte are of the years of dropout.
    assert kept("none", flash=True) == pytest.approx(selective - 2 * s * b * h * layers)


def test_policies_keep_what_they_do_not_compute_again() -> None:
    """Of q, k, v, out, gate, up and down "half" keeps every second one; beside these the input, attention's result."""
    arch, rows, cut = load_model("llama-3.1-8b"), 4096, Sharding()

    def layer(policy: str) -> memory.LayerTraining:
        return memory.layer_training_bytes(arch, arch.groups[0], 1, rows, policy, True, cut)

    h, kv, ffn = 4096, 1024, 14336
    assert layer("half").kept == 2 * rows * (2 * h + h + kv + ffn + h)
    assert layer("vector").kept == 2 * rows * (2 * h + 2 * h + 2 * kv + 2 * ffn + h)
    for policy in ("half", "vector", "full"):
        assert layer(policy).kept + layer(policy).again >= layer("none").kept
    assert layer("full").kept < layer("half").kept < layer("vector").kept < layer("none").kept


def test_shards_that_are_masters_are_there_once(one_pool: Callable[..., Scenario]) -> None:
    work = TrainStep(SMALL, 8, 2048)
    whole = sharded(serial(one_pool(work, "h100-sxm-80gb", dp=8)))
    two, one = (memory_use(prepare(under(whole, master_shards=masters)), work) for masters in (False, True))
    trained = sum(trained_parameters(work, Plan(dp=8)))
    assert one.optimizer == pytest.approx(8.0 * trained / 8.0)
    assert two.weights + two.optimizer - one.weights - one.optimizer == pytest.approx(2.0 * trained / 8.0)
    assert one.gradients == two.gradients


def test_a_stage_holds_its_share_of_layers_for_every_micro_batch_in_flight() -> None:
    one, four = (
        memory.training_activation_bytes(GPT3, 1, 2048, "selective", True, Sharding(pp=pp), in_flight)
        for pp, in_flight in ((1, 1), (4, 4))
    )
    assert four == pytest.approx(one)


def test_micro_batches_must_divide(one_pool: Callable[..., Scenario]) -> None:
    assert micro_batches(TrainStep(SMALL, 64, 128), Plan(dp=4, micro_batch=2)) == 8
    with pytest.raises(InputError, match="must be a multiple of micro-batch x dp = 2 x 4 = 8"):
        micro_batches(TrainStep(SMALL, 12, 128), Plan(dp=4, micro_batch=2))


def test_more_recomputation_takes_longer_and_less_memory(one_pool: Callable[..., Scenario]) -> None:
    results = [
        simulate(one_pool(TrainStep(SMALL, 4, 2048), "h100-sxm-80gb", runtime="megatron-2021", recompute=r))
        for r in ("none", "selective", "full")
    ]
    times = [result.metrics["step_time_s"] or 0.0 for result in results]
    kept = [result.memory.activations for result in results]
    assert times == sorted(times) and times[0] < times[2]
    assert kept == sorted(kept, reverse=True) and kept[2] < kept[1] < kept[0]


def test_the_network_bounds_small_steps_on_many_nodes(one_pool: Callable[..., Scenario]) -> None:
    result = simulate(one_pool(TrainStep(SMALL, 32, 64), "h100-sxm-80gb", dp=32))
    assert result.bound == {"step": "communication"}


def cut_in_pieces(scenario: Scenario, **plan: object) -> Scenario:
    pool = scenario.pools[0]
    return structs.replace(scenario, pools=(structs.replace(pool, plan=structs.replace(pool.plan, **plan)),))


def test_pieces_of_stages_shrink_the_bubble(one_pool: Callable[..., Scenario]) -> None:
    """(p - 1)/v micro-batches, with v times as many sends (Narayanan et al., arXiv:2104.04473, section 2.2)."""
    scenario = one_pool(TrainStep(SMALL, 16, 512), "h100-sxm-80gb", pp=4)
    (before, plain), (after, pieces) = priced(scenario), priced(cut_in_pieces(scenario, vpp=2))
    stages = stage_seconds(plain.micro, 4)
    assert plain.bubble_s - pieces.bubble_s == pytest.approx((sum(stages) - max(stages)) / 2.0)
    assert pieces.send_s == pytest.approx(plain.send_s * (2 * 16 + 2) / (16 + 2))
    first = ranks_of(SMALL, before.pool.plan)[0]
    beside = memory.backward_bytes(SMALL, SMALL.groups[0], 512.0, Sharding())
    use, more = (rank_memory(each, TrainStep(SMALL, 16, 512), first).activations - beside for each in (before, after))
    assert more / use == pytest.approx(1.0 + 3.0 / 8.0)


@pytest.mark.parametrize(("stage", "parts"), [(0, (1, 1, 1)), (1, (1, 1, 8)), (2, (1, 8, 8)), (3, (8, 8, 8))])
def test_stages_of_zero(one_pool: Callable[..., Scenario], stage: int, parts: tuple[int, int, int]) -> None:
    work = TrainStep(SMALL, 8, 2048)
    scenario = cut_in_pieces(serial(one_pool(work, "h100-sxm-80gb", dp=8)), zero=stage)
    prepared, cost = priced(scenario)
    assert shards_of(work, prepared.pool.plan, prepared.pool.runtime) == parts
    use = memory_use(prepared, work)
    held = memory.weight_bytes(SMALL, prepared.precision, prepared.how.sharding)
    gathered = 2.0 / SMALL.layers if stage == 3 else 0.0
    assert use.weights == pytest.approx(held * (1.0 / parts[0] + gathered))
    assert (use.gradients, use.optimizer) == pytest.approx((2.0 * held / parts[1], 6.0 * held / parts[2]))
    if stage in (1, 2):
        trained = sum(trained_parameters(work, prepared.pool.plan))
        group, model = prepared.communicators["dp"], prepared.model
        moved = collective_seconds(OpKind.REDUCE_SCATTER, trained * 4.0, group, model)
        moved += collective_seconds(OpKind.ALL_GATHER, trained * 2.0, group, model)
        assert cost.reduce_s == pytest.approx(moved)


def test_gradients_beside_the_backward(one_pool: Callable[..., Scenario]) -> None:
    scenario = serial(one_pool(TrainStep(SMALL, 64, 4096), "h100-sxm-80gb", dp=8))
    beside = under(scenario, overlaps_gradients=True)
    (_, after), (_, hidden) = priced(scenario), priced(beside)
    assert hidden.reduce_s == pytest.approx(after.reduce_s / SMALL.layers), "one layer's at least"
    assert hidden.micro.total_s == after.micro.total_s


def test_exchanges_of_tensor_parallel_ranks_move_beside_products(one_pool: Callable[..., Scenario]) -> None:
    """Of long sequences one piece of each exchange shows."""
    one = one_pool(TrainStep(SMALL, 1, 8192), "h100-sxm-80gb", tp=4)
    (_, alone), (_, beside) = (priced(under(one, overlaps_tensor=overlaps)) for overlaps in (False, True))
    kinds = [o.family for o in alone.micro.graph.operators]
    layers = [b for b in alone.micro.graph.blocks if b.label.startswith("layers")]
    for block in layers:
        for i in range(block.start, block.stop):
            part = beside.micro.time_s[i] / alone.micro.time_s[i]
            assert part == pytest.approx(1.0 / 4.0 if kinds[i] == "collective" else 1.0)
            assert beside.micro.communication_s[i] == pytest.approx(alone.micro.communication_s[i] * part)
            assert beside.micro.energy_j[i] == pytest.approx(alone.micro.energy_j[i] * part)
    assert layers
    assert beside.step_s < alone.step_s


@pytest.mark.parametrize("ep", [8, 16, 32])
def test_a_token_crosses_to_each_node_once(one_pool: Callable[..., Scenario], ep: int) -> None:
    """Eight experts on n nodes are on n (1 - (1 - 1/n)^8) of them; inside a node nothing changes."""
    work = TrainStep(load_model("qwen3-30b-a3b"), ep, 4096)
    scenario = one_pool(work, "h100-sxm-80gb", dp=ep, ep=ep)
    (prepared, each), (_, once) = (priced(under(scenario, sends_once=one)) for one in (False, True))
    nodes = prepared.communicators["ep"].size / prepared.communicators["ep"].inner.size
    moves = [i for i, o in enumerate(each.micro.graph.operators) if o.kind == OpKind.ALL_TO_ALL]
    assert moves
    for i in range(len(each.micro.time_s)):
        part = once.micro.time_s[i] / each.micro.time_s[i]
        if i in moves and nodes > 1.0:
            assert nodes * (1.0 - (1.0 - 1.0 / nodes) ** 8) / 8.0 <= part < 0.7
        else:
            assert part == 1.0


def test_gradients_are_added_up_over_micro_batches(one_pool: Callable[..., Scenario]) -> None:
    """Not of a single one, and not where they are scattered at once."""

    def bytes_of(batch: int, **changes: Any) -> float:
        scenario = under(one_pool(TrainStep(SMALL, batch, 512), "h100-sxm-80gb", dp=2), **changes)
        graph = priced(scenario)[1].micro.graph
        return float(sum(o.moved_bytes * r for o, r in zip(graph.operators, graph.repeat, strict=True)))

    single, several, scattered = bytes_of(2), bytes_of(4), bytes_of(4, shards_replicas=True)
    assert single == scattered
    assert several - single == pytest.approx(4.0 * count_parameters(SMALL).total, rel=0.01)


def test_gradients_of_fp16_may_be_half_as_long(one_pool: Callable[..., Scenario]) -> None:
    work = TrainStep(SMALL, 1, 512)
    runtime = one_pool(work, "h100-sxm-80gb").pools[0].runtime
    half = structs.replace(runtime, half_gradients=("fp16",))
    assert state_bytes(work, "fp16", half) == (2.0, 2.0, 12.0)
    assert state_bytes(work, "bf16", half) == state_bytes(work, "fp16", runtime) == (2.0, 4.0, 12.0)


@pytest.mark.parametrize(("said", "runs"), [("none", "none"), ("selective", "half"), ("full", "full")])
def test_selective_is_what_the_runtime_takes_it_for(one_pool: Callable[..., Scenario], said: str, runs: str) -> None:
    runtime = one_pool(TrainStep(SMALL, 1, 512), "h100-sxm-80gb").pools[0].runtime
    assert recomputed(Plan(recompute=said), structs.replace(runtime, selective="half")) == runs


def test_long_attention_hides_the_exchange_of_keys(one_pool: Callable[..., Scenario]) -> None:
    def moved(length: int) -> tuple[float, float]:
        scenario = cut_in_pieces(one_pool(TrainStep(SMALL, 1, length), "h100-sxm-80gb", dp=8), dp=1, cp=8)
        prepared, cost = priced(scenario)
        graph, names = cost.micro, [o.name for o in cost.micro.graph.operators]
        shown = sum(s * r for s, r, n in zip(graph.time_s, graph.graph.repeat, names, strict=True) if "context" in n)
        whole = sum(
            collective_seconds(o.kind, o.message_bytes, prepared.communicators["cp"], prepared.model) * r
            for o, r in zip(graph.graph.operators, graph.graph.repeat, strict=True) if "context" in o.name
        )  # fmt: skip
        return float(shown), float(whole)

    shown, whole = moved(1024)
    assert 0.1 * whole < shown <= whole
    later, longer = moved(1 << 18)
    assert later / longer < 0.1 * shown / whole
