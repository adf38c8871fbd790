"""The result of a training step: metrics and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simulator import memory
from simulator.assemble import Answer, assemble, paid_usd, parts_of, pool_use
from simulator.prepared import Prepared
from simulator.result import MemoryUse, OperatorCost, PhaseCost, Result
from simulator.scenario import TrainStep
from simulator.steps.pricing import by_family, errors_by_family, most_bound, phase_cost
from simulator.steps.ranks import Rank, fullest_ranks, in_flight
from simulator.steps.train_step import StepCost, price_step, recomputed, shards_of, state_bytes, trained_of
from simulator.timeline import Timeline
from workloads.runtimes.record import Runtime

POWERS = {
    "step_time_s": 1.0, "tokens_per_s_per_device": -1.0, "model_tflops_per_device": -1.0, "mfu": -1.0, "hfu": -1.0,
    "usd_per_step": 1.0,
}  # fmt: skip


def training_result(prepared: Prepared, work: TrainStep, timeline: Timeline) -> Result:
    """Price one optimizer step and say everything about it; ``timeline`` is what the engine saw of it."""
    pool = prepared.pool
    cost = price_step(work, pool.plan, prepared.how, prepared.model, prepared.communicators)
    device = pool.device
    whole = phase_cost("step", cost.micro, device.id, steps=cost.micro_batches / pool.plan.pp)
    phases = (*forward_and_backward(whole), phase_cost("update", cost.update, device.id))
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
        timeline=timeline,
    )  # fmt: skip
    return assemble((prepared,), answer)


def memory_use(prepared: Prepared, work: TrainStep) -> MemoryUse:
    """Bytes on the fullest device: of the pipeline rank where layers, ends and micro-batches in flight need most."""
    ranks = fullest_ranks(work.model, prepared.pool.plan)
    return max((rank_memory(prepared, work, rank) for rank in ranks), key=lambda use: use.total)


def rank_memory(prepared: Prepared, work: TrainStep, rank: Rank) -> MemoryUse:
    """Bytes on a device of a pipeline rank."""
    arch, precision, sharding, plan = work.model, prepared.precision, prepared.how.sharding, prepared.pool.plan
    runtime = prepared.pool.runtime
    weights, gradients, states = state_bytes(precision.attention, runtime)
    trained = sum(trained_of(work, plan, rank))
    held = memory.held_bytes(memory.held_of(arch, sharding, rank.layers, rank.embeds, rank.heads), precision)
    count = work.global_batch // (plan.micro_batch * plan.dp)
    shards = shards_of(work, plan, runtime)
    # Of weights that are gathered layer by layer, one layer is in use and the next under way.
    gathered = 2.0 * held / arch.layers if shards.weights > 1 else 0.0
    kept = held
    if shards.weights > 1 and runtime.master_shards and weights < 4.0:
        kept, states = 4.0 * trained, states - 4.0
    return MemoryUse(
        weights=kept / shards.weights + gathered + (trained * weights if work.lora_rank else 0.0),
        activations=memory.training_activation_bytes(
            arch,
            plan.micro_batch,
            work.seq_len,
            recomputed(plan, runtime),
            prepared.how.fused("flash"),
            sharding,
            in_flight(plan, count, rank.number),
            loss_bytes(runtime),
            rank.kept,
            rank.heads,
        ),
        gradients=trained * gradients / shards.gradients,
        optimizer=trained * states / shards.states,
        overhead=runtime.context.value,
    )


def loss_bytes(runtime: Runtime) -> float:
    """Bytes of each logit while the loss is computed [B]."""
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
    return most_bound([(cost.micro, 1.0)], cost.host_s * share, (cost.send_s + cost.reduce_s) * share)


def _breakdown(prepared: Prepared, cost: StepCost) -> dict[str, float]:
    """Seconds of the step by family; they sum to the step time."""
    share = cost.micro_batches / prepared.pool.plan.pp
    seconds = {family: value * share for family, value in by_family([(cost.micro, 1.0)]).items()}
    seconds["collective"] = seconds.get("collective", 0.0) + cost.send_s + cost.reduce_s
    seconds["optimizer"] = cost.update.total_s
    seconds["bubble"] = cost.bubble_s
    seconds["host"] = cost.host_s
    return {family: value for family, value in seconds.items() if value > 0.0}


def forward_and_backward(whole: PhaseCost) -> tuple[PhaseCost, PhaseCost]:
    """A step's operators as forward and backward (recomputation included), as their names tell."""
    ends = (".dgrad", ".wgrad", ".backward", ".recompute")
    backward = tuple(o for o in whole.operators if o.name.endswith(ends))
    forward = tuple(o for o in whole.operators if not o.name.endswith(ends))
    return PhaseCost("forward", _seconds(forward), forward), PhaseCost("backward", _seconds(backward), backward)


def _seconds(operators: tuple[OperatorCost, ...]) -> float:
    return sum(operator.time_s for operator in operators)
