"""A synchronous training step in closed form: micro-batches through a 1F1B pipeline, gradients, update.

    t_step = t_host + sum(t_stage) + (M - 1) (t_host + max(t_stage)) + t_send + t_reduce + t_update

with M = global_batch / (dp micro_batch) and t_stage the forward and backward of one micro-batch on each of pp stages:
of equal stages the bubble of 1F1B and GPipe is (pp - 1)/M of the busy time (Narayanan et al., SC 2021,
doi:10.1145/3458817.3476209, section 2.2). t_host is what the host of a stage adds to each micro-batch beyond launches,
which run ahead (see the laws); the hosts of all stages work side by side, so that filling the pipeline shows it once.
Gradient reduction starts after the last backward and overlaps with nothing. Left out: the reduction of a tied
embedding's gradient between first and last stage.

Where replicas are shards of one copy (ZeRO stage 3, FSDP; Rajbhandari et al., SC 2020, arXiv:1910.02054; Zhao et al.,
VLDB 2023, arXiv:2304.11277), each updates its dp-th part. Every micro-batch gathers the weights twice, layer by layer,
and scatters the gradients, beside the math of the layer before: t_reduce is what is longer than that, at least one
layer's. Stages of a pipeline keep what they gathered for all micro-batches of a step, and their gradients until its
end (Llama Team, arXiv:2407.21783, section 3.3.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from hardware_specs.errors import InputError
from simulator.devices.model import DeviceModel
from simulator.memory import held_parameters, stage_share, state_bytes_per_parameter
from simulator.network.communicator import Communicator
from simulator.scenario import Plan, TrainStep
from simulator.steps.pipeline import stage_seconds
from simulator.steps.pricing import PricedGraph, collective_seconds, price_graph
from workloads.lowering.plan import Lowering, Sharding
from workloads.lowering.training import gradient_tensors, lower_micro_batch, lower_update
from workloads.operators import Operator, OpKind
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
    work: TrainStep, plan: Plan, how: Lowering, model: DeviceModel, communicators: Mapping[str, Communicator]
) -> StepCost:
    """Price one optimizer step under ``plan``; ``communicators`` by axis ("tp", "pp", "dp", "ep")."""
    count = micro_batches(work, plan)
    if how.precision.compute.startswith("int"):
        raise InputError(f"--dtype {how.precision.compute}: training needs floating point; use bf16, fp16, fp8 or fp32")
    graph = lower_micro_batch(work.model, plan.micro_batch, work.seq_len, how, plan.recompute, work.lora_rank)
    micro = price_graph(graph, model, communicators)
    trained = trained_parameters(work, plan)
    weights, gradients, states = state_bytes_per_parameter(how.precision.attention)
    shards = shards_of(work, plan, model.runtime)
    tensors = {size / shards: count for size, count in gradient_tensors(graph, work.model.tied).items()}
    update = price_graph(lower_update(sum(trained) / shards, gradients, states, weights, tensors), model, communicators)

    stages = stage_seconds(micro, plan.pp)
    send_s = 0.0
    if plan.pp > 1:
        size = plan.micro_batch * work.seq_len * work.model.hidden * how.precision.activation_bytes / plan.tp
        one = collective_seconds(OpKind.SEND_RECV, size, communicators["pp"], model)
        # The first micro-batch crosses pp - 1 boundaries there and back; behind it each adds one exchange.
        send_s = 2.0 * one * (count + plan.pp - 2)
    through_s = sum(stages) + (count - 1) * max(stages)
    bubble_s = through_s - count * micro.total_s / plan.pp
    if shards > 1:
        gather_s = _over_replicas_s(OpKind.ALL_GATHER, trained, weights, communicators, model)
        scatter_s = _over_replicas_s(OpKind.REDUCE_SCATTER, trained, gradients, communicators, model)
        moved_s = gather_s + scatter_s if plan.pp > 1 else count * (2.0 * gather_s + scatter_s)
        reduce_s = max(moved_s - through_s, moved_s / work.model.layers)
    else:
        reduce_s = _over_replicas_s(OpKind.ALL_REDUCE, trained, gradients, communicators, model)
    host_s = model.runtime.host_step.value * count
    step_s = through_s + send_s + reduce_s + update.total_s + host_s
    static_w = float(model.record["static_w"])
    busy_j = count * micro.total_j / plan.pp + update.total_j
    device_j = (busy_j + static_w * (bubble_s + send_s + reduce_s + host_s)) * plan.devices
    model_flops, hardware_flops = counted_flops(work, how, plan.recompute)
    return StepCost(
        step_s, micro, update, reduce_s, send_s, bubble_s, host_s, count, device_j, step_s - bubble_s - host_s,
        model_flops * work.global_batch, hardware_flops * work.global_batch,
    )  # fmt: skip


class Trained(NamedTuple):
    """Parameters that one device updates: those that all of its dp replicas share, and those of its experts."""

    shared: float
    experts: float


def _over_replicas_s(
    kind: OpKind, trained: Trained, bytes_each: float, communicators: Mapping[str, Communicator], model: DeviceModel
) -> float:
    """A collective of all parameters [s]: over dp; of experts that are cut ep ways over the replicas of these."""
    seconds = 0.0
    whole = {"dp": sum(trained)} if "ep" not in communicators else {"dp": trained.shared, "edp": trained.experts}
    for axis, parameters in whole.items():
        if axis in communicators:
            seconds += collective_seconds(kind, parameters * bytes_each, communicators[axis], model)
    return seconds


def shards_of(work: TrainStep, plan: Plan, runtime: Runtime) -> int:
    """Replicas that weights, gradients and states are cut over; adapters are small enough to be whole on each."""
    return plan.dp if runtime.shards_replicas and not work.lora_rank else 1


def trained_parameters(work: TrainStep, plan: Plan) -> Trained:
    """What the fullest device updates: its share of the model, cut as in ``memory``, or of the adapters."""
    arch = work.model
    if work.lora_rank:
        return Trained(adapter_parameters(work) / plan.tp * stage_share(arch, plan.pp), 0.0)
    held = held_parameters(arch, Sharding(plan.tp, plan.ep, plan.pp))
    return Trained(held.stack + held.norms + held.ends + held.extra, held.experts)


def adapter_parameters(work: TrainStep) -> float:
    """Parameters of all low-rank adapters of the whole model."""
    graph = lower_micro_batch(work.model, 1, 8, Lowering(), "none", work.lora_rank)
    return float(
        sum(
            o.n * o.k * r
            for o, r in zip(graph.operators, graph.repeat, strict=True)
            if o.name.endswith((".lora_a", ".lora_b"))
        )
    )


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
    if recompute != "none":
        again = lower_micro_batch(work.model, 1, work.seq_len, whole, "full", work.lora_rank)
        hardware += sum(
            _full_flops(o) * r
            for o, r in zip(again.operators, again.repeat, strict=True)
            if o.name.endswith(".recompute") and (recompute == "full" or o.name == "attention.scores.recompute")
        )
    return float(model), float(hardware)


def _full_flops(operator: Operator) -> float:
    """FLOPs of an operator; of attention those of one forward without a mask."""
    if not operator.family.startswith("attention"):
        return operator.flops
    return 2.0 * operator.batch * operator.heads * operator.m**2 * (operator.k + operator.value_dim)
