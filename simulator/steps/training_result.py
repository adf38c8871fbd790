"""The result of a training step: metrics and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simulator import memory
from simulator.assemble import Answer, assemble, paid_usd, parts_of, pool_use
from simulator.prepared import Prepared
from simulator.result import MemoryUse, OperatorCost, PhaseCost, Result
from simulator.scenario import TrainStep
from simulator.steps.offload import (
    LAYERS,
    NOTHING,
    Offloading,
    Sizes,
    check_optimizer,
    kept_activations,
    kept_gradients,
    offloads_of,
    store_of,
)
from simulator.steps.pricing import by_family, errors_by_family, most_bound, phase_cost
from simulator.steps.ranks import Rank, fullest_ranks, in_flight
from simulator.steps.replicas import (
    Trained,
    held_weights,
    keeps_masters,
    on_device,
    shards_of,
    state_bytes,
    trained_of,
)
from simulator.steps.train_step import StepCost, price_step, recomputed
from simulator.timeline import Timeline
from workloads.optimizers import MASTER_BYTES
from workloads.runtimes.record import Runtime

POWERS = {
    "step_time_s": 1.0, "tokens_per_s_per_device": -1.0, "model_tflops_per_device": -1.0, "mfu": -1.0, "hfu": -1.0,
    "usd_per_step": 1.0,
}  # fmt: skip


def training_result(prepared: Prepared, work: TrainStep, timeline: Timeline) -> Result:
    """Price one optimizer step and say everything about it; ``timeline`` is what the engine saw of it."""
    pool = prepared.pool
    moved = offloading(prepared, work)
    cost = price_step(work, pool.plan, prepared.how, prepared.model, prepared.communicators, moved)
    device = pool.device
    whole = phase_cost("step", cost.micro, prepared.model, steps=cost.micro_batches / pool.plan.pp)
    phases = forward_and_backward(whole)
    if len(cost.update.graph):
        phases += (phase_cost("update", cost.update, prepared.model),)
    metrics, reasons = training_metrics(
        (prepared,), work, cost.step_s, {pool.name: cost.device_j}, cost.model_flops, cost.hardware_flops
    )
    breakdown = _breakdown(prepared, cost)
    errors = errors_by_family([(cost.micro, 1.0)], prepared.model)
    answer = Answer(
        title=f"training step of {work.model.id} on {pool.count} x {device.id}",
        metrics=metrics, pools=(pool_use(prepared, memory_use(prepared, work), cost.device_j, cost.busy_s),),
        duration_s=cost.step_s, bound={"step": _bound(cost, pool.plan.pp)}, breakdown=breakdown,
        parts=parts_of(prepared, breakdown, errors), phases=phases, powers=POWERS, reasons=reasons,
        timeline=timeline, step=True,
    )  # fmt: skip
    return assemble((prepared,), answer)


def memory_use(prepared: Prepared, work: TrainStep) -> MemoryUse:
    """Bytes on the fullest device: of the pipeline rank where layers, ends and micro-batches in flight need most."""
    ranks = fullest_ranks(work.model, prepared.pool.plan)
    return max((rank_memory(prepared, work, rank) for rank in ranks), key=lambda use: use.total)


def rank_memory(prepared: Prepared, work: TrainStep, rank: Rank) -> MemoryUse:
    """Bytes on a device of a pipeline rank."""
    plan, runtime = prepared.pool.plan, prepared.pool.runtime
    state, where = state_bytes(work, prepared.precision.attention, runtime), offloads_of(plan)
    shared, experts = shards_of(work, plan, runtime), shards_of(work, plan, runtime, experts=True)
    trained, held = trained_of(work, plan, rank), _held(prepared, work, rank)
    stage = activations_of(prepared, work, rank)
    own, states = on_device(held, shared.weights, experts.weights), state.states
    # Of weights that come layer by layer, one layer is in use and the next under way; stages keep what they gathered.
    some = LAYERS / sum(rank.layers) if plan.pp == 1 or where.weights else 1.0
    gathered = some * sum(held) if shared.weights > 1 or where.weights else 0.0
    if keeps_masters(work, runtime, state, shared):
        own, states = on_device(trained, shared.weights, experts.weights) * MASTER_BYTES, states - MASTER_BYTES
    gradients = on_device(trained, shared.gradients, experts.gradients) * state.gradients
    count = work.global_batch // (plan.micro_batch * plan.dp)
    logits = memory.training_logit_bytes(
        work.model, plan.micro_batch, work.seq_len, plan.sharding, loss_bytes(runtime, plan.tp)
    ) if rank.heads else 0.0  # fmt: skip
    kept = kept_activations(where, stage.kept, in_flight(plan, count, rank.number), sum(rank.layers))
    return MemoryUse(
        weights=(0.0 if where.weights else own) + gathered + (sum(trained) * state.weights if work.lora_rank else 0.0),
        activations=float(kept) + max(stage.again, logits),
        gradients=float(kept_gradients(where, gradients, sum(rank.layers))),
        optimizer=0.0 if where.optimizer else on_device(trained, shared.states, experts.states) * states,
        overhead=runtime.context.value,
    )


def _held(prepared: Prepared, work: TrainStep, rank: Rank) -> Trained:
    held = memory.held_of(work.model, prepared.how.sharding, rank.layers, rank.embeds, rank.heads)
    return held_weights(held, prepared.precision)


def activations_of(prepared: Prepared, work: TrainStep, rank: Rank) -> memory.LayerTraining:
    """What one micro-batch leaves on a rank, and what is held beside while a layer is computed again [B]."""
    plan = prepared.pool.plan
    return memory.stage_training_bytes(
        work.model, rank.kept, plan.micro_batch, work.seq_len, recomputed(plan, prepared.pool.runtime),
        prepared.how.fused("flash"), prepared.how.sharding, prepared.precision.activation_bytes,
    )  # fmt: skip


def offloading(prepared: Prepared, work: TrainStep) -> Offloading:
    """What a step moves off the devices of its fullest pipeline rank.

    Raises:
        InputError: something that is not known of the host, or an optimizer that it cannot run.
    """
    plan = prepared.pool.plan
    where = offloads_of(plan)
    if not any(where):
        return NOTHING
    check_optimizer(where, work.optimizer)
    return Offloading(
        where, store_of(prepared.network, where), _sizes(prepared, work, fullest_ranks(work.model, plan)[0])
    )


def _sizes(prepared: Prepared, work: TrainStep, rank: Rank) -> Sizes:
    plan, runtime = prepared.pool.plan, prepared.pool.runtime
    state, trained = state_bytes(work, prepared.precision.attention, runtime), trained_of(work, plan, rank)
    shared, experts = shards_of(work, plan, runtime), shards_of(work, plan, runtime, experts=True)
    held, count = _held(prepared, work, rank), work.global_batch // (plan.micro_batch * plan.dp)
    updated, own = on_device(trained, shared.states, experts.states), on_device(held, shared.weights, experts.weights)
    weights, states = state.weights, state.states
    if keeps_masters(work, runtime, state, shared):
        weights, states = MASTER_BYTES, states - MASTER_BYTES
        own = on_device(trained, shared.weights, experts.weights) * MASTER_BYTES
    return Sizes(
        sum(held), own, activations_of(prepared, work, rank).kept, in_flight(plan, count, rank.number),
        updated * state.gradients, updated * states, updated * weights, float(sum(rank.layers)),
    )  # fmt: skip


def loss_bytes(runtime: Runtime, tp: int) -> float:
    """Bytes of each logit while the loss is computed, whole or cut ``tp`` ways over the vocabulary [B]."""
    if tp > 1 and runtime.split_loss_bytes:
        return runtime.split_loss_bytes.value
    return runtime.loss_bytes.value if runtime.loss_bytes else memory.LOGIT_BYTES


def training_metrics(
    prepared: Sequence[Prepared], work: TrainStep, step_s: float, pool_j: Mapping[str, float], model_flops: float,
    hardware_flops: float,
) -> tuple[dict[str, float | None], dict[str, str]]:  # fmt: skip
    """Metrics of a step on all devices of some pools, and why some are missing.

    ``pool_j`` is the energy of the devices by pool [J]; FLOPs are of the whole step.
    """
    count = sum(each.pool.count for each in prepared)
    peak = sum(each.peak_flops * each.pool.count for each in prepared) * step_s
    paid, unknown = paid_usd(prepared, pool_j, step_s)
    values: dict[str, float | None] = {
        "step_time_s": step_s,
        "tokens_per_s_per_device": work.global_batch * work.seq_len / step_s / count,
        "model_tflops_per_device": model_flops / step_s / count / 1e12,
        "mfu": model_flops / peak,
        "hfu": hardware_flops / peak,
        "usd_per_step": paid,
    }
    return values, {"usd_per_step": unknown} if unknown else {}


def _bound(cost: StepCost, pp: int) -> str:
    """What the step is bound by, measured on one micro-batch through the whole stack."""
    share = pp / cost.micro_batches
    return most_bound([(cost.micro, 1.0)], cost.host_s * share, (cost.send_s + cost.reduce_s + cost.offload_s) * share)


def _breakdown(prepared: Prepared, cost: StepCost) -> dict[str, float]:
    """Seconds of the step by family; they sum to the step time."""
    share = cost.micro_batches / prepared.pool.plan.pp
    seconds = {family: value * share for family, value in by_family([(cost.micro, 1.0)]).items()}
    seconds["collective"] = seconds.get("collective", 0.0) + cost.send_s + cost.reduce_s
    seconds["optimizer"] = cost.update.total_s
    seconds["transfer"] = cost.offload_s
    seconds["bubble"] = cost.bubble_s
    seconds["host"] = cost.host_s
    return {family: value for family, value in seconds.items() if value > 0.0}


def forward_and_backward(whole: PhaseCost) -> tuple[PhaseCost, ...]:
    """A step's operators as forward and backward (recomputation included), as their names tell."""
    ends = (".dgrad", ".wgrad", ".backward", ".recompute")
    backward = tuple(o for o in whole.operators if o.name.endswith(ends))
    forward = tuple(o for o in whole.operators if not o.name.endswith(ends))
    return PhaseCost("forward", _seconds(forward), forward), PhaseCost("backward", _seconds(backward), backward)


def _seconds(operators: tuple[OperatorCost, ...]) -> float:
    return sum(operator.time_s for operator in operators)
