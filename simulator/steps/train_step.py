"""A synchronous training step in closed form: micro-batches through a 1F1B pipeline, gradients, update.

    t_step = t_host + sum(t_stage) + (M - 1) max(t_stage, t_host + t_launch) + t_send + t_reduce + t_update

with M = global_batch / (dp micro_batch) and t_stage the forward and backward of one micro-batch on each of pp stages:
of equal stages the bubble of 1F1B and GPipe is (pp - 1)/M of the busy time (Narayanan et al., SC 2021,
doi:10.1145/3458817.3476209, section 2.2). t_host is what the host of a stage does for each micro-batch beside launches:
the schedule, and loading of data. It works on the next micro-batch while the devices work on this one, and so is one
more server that micro-batches pass (see ``pipeline``); those of all stages work side by side. Where a runtime launches
ahead of the devices, t_launch of the operators of a stage is what t_stage takes at least, and the host's part of the
rhythm; otherwise launches are in the operators. With v pieces of the model on a stage (interleaved 1F1B) the bubble is
a v-th, and every micro-batch is sent v times as often (section 2.2 there). Gradients are reduced after the last
backward, or beside it where the runtime does so: then what is longer shows, at least one layer's, and both are longer
where they share links with exchanges of that backward (see ``network.contention``); the first and the last stage add up
the gradients of a tied embedding (see ``tied``).

What replicas exchange is in ``replicas``, what moves beside the math in ``overlap``, what lies off the devices in
``offload``. Where replicas are shards of one copy (ZeRO stage 3, FSDP), each updates its part. Every micro-batch
gathers the weights twice, layer by layer, and scatters the gradients, beside the math of the layer before: t_reduce is
what is longer than that, at least one layer's. Stages of a pipeline keep what they gathered for all micro-batches of a
step, and their gradients until its end (Llama Team, arXiv:2407.21783, section 3.3.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from hardware_specs.errors import InputError
from simulator.devices.model import DeviceModel
from simulator.network.communicator import Communicator
from simulator.scenario import Plan, TrainStep
from simulator.schedules.closed import unequal_total_s
from simulator.schedules.registry import code_of, refusal, schedule_of
from simulator.steps.offload import NOTHING, Offloading, check_room, costs_of, offloads_of
from simulator.steps.overlap import beside_attention, beside_products, once_to_each_node, overlapped, sends_s
from simulator.steps.pipeline import stage_seconds
from simulator.steps.pricing import PricedGraph, busy_seconds, collective_seconds, price_graph
from simulator.steps.replicas import (
    Replicas,
    Traffic,
    Trained,
    exchanged_beside,
    frozen_weights,
    moved_weight_bytes,
    on_device,
    shards_of,
    state_bytes,
    trained_parameters,
    zero_stage,
)
from simulator.steps.tied import tied_seconds
from workloads.graph import Graph, GraphBuilder
from workloads.lowering.casts import loss_scaling, weight_casts
from workloads.lowering.plan import Lowering, stage_lengths
from workloads.lowering.recompute import in_pieces, policy_of
from workloads.lowering.training import Gradients, gradient_tensors, lower_micro_batch, lower_update
from workloads.operators import Operator, OpKind
from workloads.optimizers import StateBytes, optimizer_of, orthogonalised
from workloads.runtimes.record import FUSIONS, Runtime


@dataclass(frozen=True)
class StepCost:
    """Seconds of a step and what they are made of.

    ``micro`` is one micro-batch through the whole stack on one device of each stage; ``bubble_s`` is how long the mean
    stage waits for others; ``model_flops`` and ``hardware_flops`` are of the whole step on all devices (see the MFU and
    HFU definitions).
    """

    step_s: float
    micro: PricedGraph
    update: PricedGraph
    reduce_s: float
    send_s: float
    bubble_s: float
    host_s: float
    offload_s: float
    micro_batches: int
    device_j: float
    busy_s: float
    model_flops: float
    hardware_flops: float


def micro_batches(work: TrainStep, plan: Plan) -> int:
    """Micro-batches of one replica.

    Raises:
        InputError: the global batch is no multiple of micro-batch x dp.
    """
    each = plan.micro_batch * plan.dp
    if work.global_batch % each:
        raise InputError(
            f"--global-batch {work.global_batch}: must be a multiple of micro-batch x dp = "
            f"{plan.micro_batch} x {plan.dp} = {each}"
        )
    return work.global_batch // each


def price_step(
    work: TrainStep, plan: Plan, how: Lowering, model: DeviceModel, communicators: Mapping[str, Communicator],
    moved: Offloading = NOTHING,
) -> StepCost:  # fmt: skip
    """Price one optimizer step under ``plan``; ``communicators`` by axis ("tp", "pp", "dp", "ep"), ``moved`` what lies
    off the devices.

    Raises:
        InputError: a batch, a dtype or a schedule that does not go with the plan.
    """
    count = micro_batches(work, plan)
    check_schedule(work, plan, count)
    if how.precision.compute.startswith("int"):
        raise InputError(f"--dtype {how.precision.compute}: training needs floating point; use bf16, fp16, fp8 or fp32")
    states = state_bytes(work, how.precision.attention, model.runtime)
    zero, gradients = zero_stage(work, plan, model.runtime), states.gradients
    # Shards of gradients are reduced at once, micro-batch by micro-batch.
    kept = Gradients(gradients, count > 1 and zero < 3, how.fused("accumulate"))
    beside = overlapped(plan, model.runtime, zero)
    micro = price_micro_batch(work, plan, how, model, communicators, kept)
    if "tensor" in beside:
        micro = beside_products(micro, plan.tp)
    trained = trained_parameters(work, plan)
    update = price_update(work, plan, how, micro.graph, trained, states, model, communicators)

    stages, hosts = stage_seconds(micro, plan.pp, plan.stages), launch_seconds(micro, plan, model.runtime)
    send_s = 0.0
    if plan.pp > 1:
        one_s = send_seconds(work, plan, how, model, communicators)
        send_s = sends_s(one_s, max(stages), count, plan.pp, plan.vpp, "pipeline" in beside)
    through_s = through_seconds(micro, plan, count)
    bubble_s = through_s - count * micro.total_s / plan.pp
    host_s = _host_seconds(stages, hosts, count, plan.vpp, model.runtime)
    weights = moved_weight_bytes(work, zero, how.precision, states.weights)
    frozen = frozen_weights(work, plan, how.precision)
    replicas = Replicas(trained, weights, gradients, communicators, model, frozen)
    exchanges = exchanged_beside(micro, communicators, model, sent_bytes(work, plan, how))
    traffic, share = Traffic(exchanges[None], np.zeros(1, np.int64)), max(stages) / sum(stages)
    reduce_s = replicas.exposed_s(work, plan, count, through_s, max(stages), traffic, share)
    reduce_s += tied_seconds(work, plan, gradients, communicators, model)
    offload_s = 0.0
    if any(moved.where):
        costs = costs_of(moved, max(stages))
        check_room(moved.store, costs)
        offload_s = float(costs.micro_s * (count + (plan.pp - 1) / plan.vpp) + costs.end_s)
    step_s = through_s + send_s + reduce_s + update.total_s + host_s + offload_s
    static_w = float(model.record["static_w"])
    busy_j = count * micro.total_j / plan.pp + update.total_j
    device_j = (busy_j + static_w * (bubble_s + send_s + reduce_s + host_s + offload_s)) * plan.devices
    again = in_pieces(policy_of(plan.recompute), plan.vpp).text
    model_flops, hardware_flops = counted_flops(work, how, again)
    return StepCost(
        step_s, micro, update, reduce_s, send_s, bubble_s, host_s, offload_s, count, device_j,
        step_s - bubble_s - host_s - offload_s, model_flops * work.global_batch, hardware_flops * work.global_batch,
    )  # fmt: skip


def price_update(
    work: TrainStep, plan: Plan, how: Lowering, graph: Graph, trained: Trained, states: StateBytes, model: DeviceModel,
    communicators: Mapping[str, Communicator],
) -> PricedGraph:  # fmt: skip
    """The optimizer update of one device's part, and casts of a step; nothing where the host does it.

    Args:
        graph: a micro-batch, whose gradients are those of a step.
        states: bytes of a trained parameter.
    """
    if offloads_of(plan).optimizer:
        return price_graph(GraphBuilder().build(), model, communicators)
    cut, of_experts = shards_of(work, plan, model.runtime), shards_of(work, plan, model.runtime, experts=True)
    own, optimizer = on_device(trained, cut.states, of_experts.states), optimizer_of(work.optimizer)
    share = own / sum(trained)
    tensors = {
        size * share: number for size, number in gradient_tensors(graph, work.model.tied, states.gradients).items()
    }
    casts = weight_casts(sum(trained), how, max(sum(tensors.values()), 1.0))
    products = [*loss_scaling(own, states.gradients), *casts] if how.precision.attention == "fp16" else casts
    if optimizer.orthogonal:
        whole = sum(size * number for size, number in tensors.items()) / share
        made = [
            (o, r) for o, r in zip(graph.operators, graph.repeat.tolist(), strict=True) if o.name.endswith(".wgrad")
        ]
        stack = [each for each in made if not each[0].name.startswith("head.")]
        products += orthogonalised(stack, states.gradients, own / whole)
    update = lower_update(own, *states[1:], states.weights, tensors, optimizer.flops, products)
    return price_graph(update, model, communicators)


def send_seconds(
    work: TrainStep, plan: Plan, how: Lowering, model: DeviceModel, communicators: Mapping[str, Communicator]
) -> float:
    """One micro-batch's activations from a stage to the next [s]."""
    return collective_seconds(OpKind.SEND_RECV, sent_bytes(work, plan, how), communicators["pp"], model)


def sent_bytes(work: TrainStep, plan: Plan, how: Lowering) -> float:
    """What a device sends of a micro-batch to the next stage [B]."""
    size = plan.micro_batch * work.seq_len * work.model.hidden * how.precision.activation_bytes
    return size / (plan.tp * plan.cp)


def check_schedule(work: TrainStep, plan: Plan, count: int) -> None:
    """Refuse what ``count`` micro-batches, the layers or the tokens of ``work`` cannot have under ``plan``.

    Raises:
        UnknownName: no such schedule.
        InputError: naming what it needs.
    """
    pieces = 2 * plan.cp if plan.cp > 1 else 1
    if work.seq_len % pieces or (plan.sequence and work.seq_len // plan.cp % plan.tp):
        ways = f"2 x cp = {pieces}" if work.seq_len % pieces else f"cp x tp = {plan.cp * plan.tp}"
        raise InputError(f"--seq-len {work.seq_len}: ranks that share the tokens need a multiple of {ways}")
    if plan.pp == 1 and not plan.schedule:
        return
    name = plan.schedule or ("interleaved" if plan.vpp > 1 else "1f1b")
    chunks = schedule_of(name, "--schedule").chunks
    if plan.pp == 1:
        return
    least = min(plan.stages or stage_lengths(work.model.layers, plan.pp))
    if chunks <= 1 and plan.vpp > least:
        raise InputError(f"--vpp {plan.vpp}: a stage has {least} layers; use at most that")
    if why := refusal(name, plan.pp, count, plan.vpp if chunks <= 1 else chunks):
        raise InputError(f"{f'--schedule {name}' if plan.schedule else f'--vpp {plan.vpp}'}: {why}")


def price_micro_batch(
    work: TrainStep, plan: Plan, how: Lowering, model: DeviceModel, communicators: Mapping[str, Communicator],
    kept: Gradients,
) -> PricedGraph:  # fmt: skip
    """One micro-batch through the whole stack, exchanges that attention hides left out of its times.

    Args:
        kept: how gradients are kept.
    """
    again = recomputed(plan, model.runtime)
    graph = lower_micro_batch(
        work.model, plan.micro_batch, work.seq_len, how, again, work.lora_rank, kept,
        not model.runtime.contiguous_context, plan.stages or stage_lengths(work.model.layers, plan.pp),
    )  # fmt: skip
    micro = price_graph(graph, model, communicators)
    if plan.cp_comm == "p2p":
        micro = beside_attention(micro, plan.cp)
    if model.runtime.sends_once and "ep" in communicators:
        micro = once_to_each_node(micro, work, communicators["ep"], model)
    return micro


def through_seconds(micro: PricedGraph, plan: Plan, count: int) -> float:
    """``count`` micro-batches through the stages of ``plan``, sends left out [s].

    Of 1F1B, GPipe and the interleaved schedule stages are servers of a flow shop (see ``pipeline``); of others the
    estimate of ``schedules.closed`` for unequal stages.
    """
    stages = stage_seconds(micro, plan.pp, plan.stages)
    if plan.pp == 1 or plan.schedule in FLOW_SHOPS:
        return (sum(stages) - max(stages)) / plan.vpp + count * max(stages)
    parts = np.array(parts_of_stages(micro, plan))
    slowest = parts[:, int(np.argmax(parts.sum(axis=0)))]
    chunks = schedule_of(plan.schedule).chunks or plan.vpp
    return float(unequal_total_s(code_of(plan.schedule), plan.pp, count, chunks, slowest, parts.sum(axis=1)))


FLOW_SHOPS: Final = ("", "1f1b", "gpipe", "interleaved")
"""Schedules whose bubble is that of a flow shop, or a part of it."""


def parts_of_stages(micro: PricedGraph, plan: Plan) -> list[list[float]]:
    """Forward, backward of inputs (recomputation included) and backward of weights on each stage, [3, stages] [s]."""
    names = [operator.name for operator in micro.graph.operators]
    weights = np.array([name.endswith(".wgrad") for name in names])
    inputs = np.array([name.endswith((".dgrad", ".backward", ".recompute")) for name in names])
    return [
        stage_seconds(replace(micro, time_s=np.where(rows, micro.time_s, 0.0)), plan.pp, plan.stages)
        for rows in (~(weights | inputs), inputs, weights)
    ]


def launch_seconds(micro: PricedGraph, plan: Plan, runtime: Runtime) -> list[float]:
    """How long the host of each stage takes to launch the operators of a micro-batch ahead of the devices [s]."""
    if not runtime.runs_ahead or runtime.graph_mode:
        return [0.0] * plan.pp
    each = np.full_like(micro.time_s, runtime.launch.value)
    return stage_seconds(replace(micro, time_s=each), plan.pp, plan.stages)


def _host_seconds(
    stages: Sequence[float], launches: Sequence[float], count: int, vpp: int, runtime: Runtime
) -> float:  # fmt: skip
    """What hosts add to ``count`` micro-batches through ``stages`` [s]; a compiled step has one host part in all."""
    own_s = runtime.host_step.value
    busy = busy_seconds(stages, launches)
    pace_s = max(busy) if runtime.graph_mode else max(max(busy), max(launches) + own_s)
    filled_s = (sum(busy) - max(busy)) / vpp + max(busy)
    return own_s + filled_s + (count - 1) * pace_s - (sum(stages) - max(stages)) / vpp - count * max(stages)


def recomputed(plan: Plan, runtime: Runtime) -> str:
    """What the backward computes again (see ``RECOMPUTED``): what ``runtime`` means by selective, where it is that."""
    return runtime.selective if plan.recompute == "selective" else in_pieces(policy_of(plan.recompute), plan.vpp).text


def counted_flops(work: TrainStep, how: Lowering, recompute: str) -> tuple[float, float]:
    """(model, hardware) FLOPs of one sequence on the whole model, as MFU and HFU count them.

    Model: causal attention half, its backward twice its forward, nothing twice. Hardware: attention to every key, as
    Narayanan et al. 2021 count, and what is recomputed.
    """
    whole = replace(Lowering(how.precision), fusions=frozenset(FUSIONS))
    model = hardware = 0.0
    plain = lower_micro_batch(work.model, 1, work.seq_len, whole, "none", work.lora_rank)
    for operator, repeat in zip(plain.operators, plain.repeat, strict=True):
        backward = operator.kind == OpKind.ATTENTION_BACKWARD
        model += operator.flops * (0.8 if backward else 1.0) * repeat
        hardware += _full_flops(operator) * (2.0 if backward else 1.0) * repeat
    # Scores that a fused kernel never writes are not computed again by anybody's choice.
    if recompute != "none" and not (recompute == "selective" and how.fused("flash")):
        policy = "modules:core_attn" if recompute == "selective" else recompute
        again = lower_micro_batch(
            work.model,
            1,
            work.seq_len,
            whole,
            policy,
            work.lora_rank,
            stages=how.sharding.stages or stage_lengths(work.model.layers, how.sharding.pp),
        )
        hardware += sum(
            _full_flops(o) * r
            for o, r in zip(again.operators, again.repeat, strict=True)
            if o.name.endswith(".recompute")
        )
    return float(model), float(hardware)


def _full_flops(operator: Operator) -> float:
    """FLOPs of an operator; of attention those of one forward without a mask."""
    if not operator.family.startswith("attention"):
        return operator.flops
    return 2.0 * operator.batch * operator.heads * operator.m**2 * (operator.k + operator.value_dim)
