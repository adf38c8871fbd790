"""A synchronous training step in closed form: micro-batches through a 1F1B pipeline, gradients, update.

    t_step = (M + pp - 1) t_stage + t_send + t_reduce + t_update + t_host,   M = global_batch / (dp micro_batch)

with t_stage the forward and backward of one micro-batch through one of pp equal stages: the bubble of 1F1B and
GPipe is (pp - 1)/M of the busy time (Narayanan et al., SC 2021, doi:10.1145/3458817.3476209, section 2.2).
Nothing overlaps here: gradient reduction starts after the last backward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hardware_specs.errors import InputError
from simulator.devices.model import DeviceModel
from simulator.memory import state_bytes_per_parameter
from simulator.network.communicator import Communicator, collective_cost
from simulator.scenario import Plan, TrainStep
from simulator.steps.pricing import PricedGraph, price_graph
from workloads.graph import Graph
from workloads.lowering.plan import Lowering
from workloads.lowering.training import lower_micro_batch, lower_update
from workloads.models.parameters import count_parameters
from workloads.operators import OpKind
from workloads.runtimes.record import FUSIONS


@dataclass(frozen=True)
class StepCost:
    """Seconds of a step and what they are made of.

    ``micro`` is one micro-batch through the whole stack on one device of each stage; ``model_flops`` and
    ``hardware_flops`` are of the whole step on all devices (see the MFU and HFU definitions).
    """

    step_s: float
    micro: PricedGraph
    update: PricedGraph
    reduce_s: float
    send_s: float
    bubble_s: float
    micro_batches: int
    device_j: float
    model_flops: float
    hardware_flops: float


def micro_batches(work: TrainStep, plan: Plan) -> int:
    """Micro-batches of one replica.

    Raises:
        InputError: the global batch is no multiple of micro-batch x dp.
    """
    each = work.micro_batch * plan.dp
    if work.global_batch % each:
        raise InputError(
            f"--global-batch {work.global_batch}: must be a multiple of micro-batch x dp = "
            f"{work.micro_batch} x {plan.dp} = {each}"
        )
    return work.global_batch // each


def price_step(
    work: TrainStep, plan: Plan, how: Lowering, model: DeviceModel, communicators: Mapping[str, Communicator]
) -> StepCost:
    """Price one optimizer step under ``plan``; ``communicators`` by axis ("tp", "pp", "dp", "ep")."""
    count = micro_batches(work, plan)
    if how.precision.compute.startswith("int"):
        raise InputError(f"--dtype {how.precision.compute}: training needs floating point; use bf16, fp16, fp8 or fp32")
    graph = lower_micro_batch(work.model, work.micro_batch, work.seq_len, how, work.recompute, work.lora_rank)
    micro = price_graph(graph, model, communicators)
    trained = trained_parameters(work, plan)
    weights, gradients, states = state_bytes_per_parameter(how.precision.attention)
    update = price_graph(lower_update(trained, gradients, states, weights), model, communicators)

    stage_s = micro.total_s / plan.pp
    send_s = 0.0
    if plan.pp > 1:
        size = work.micro_batch * work.seq_len * work.model.hidden * how.precision.activation_bytes / plan.tp
        one = collective_cost(OpKind.SEND_RECV, size, communicators["pp"]).seconds
        # Forward and backward cross each boundary; in steady state a stage waits for one exchange per micro-batch.
        send_s = 2.0 * one * (count + plan.pp - 1)
    reduce_s = 0.0
    if plan.dp > 1:
        reduce_s = collective_cost(OpKind.ALL_REDUCE, trained * gradients, communicators["dp"]).seconds
    bubble_s = (plan.pp - 1) * stage_s
    host_s = model.runtime.host_step.value * count
    step_s = count * stage_s + bubble_s + send_s + reduce_s + update.total_s + host_s
    idle_w = float(model.record[0]["static_w"])
    busy_j = count * micro.total_j / plan.pp + update.total_j
    device_j = (busy_j + idle_w * (bubble_s + send_s + reduce_s + host_s)) * plan.devices
    model_flops, hardware_flops = counted_flops(work, how)
    return StepCost(
        step_s, micro, update, reduce_s, send_s, bubble_s, count, device_j,
        model_flops * work.global_batch, hardware_flops * work.global_batch,
    )  # fmt: skip


def trained_parameters(work: TrainStep, plan: Plan) -> float:
    """Parameters that one device updates: its share of the model, or of the adapters."""
    count = count_parameters(work.model)
    if work.lora_rank:
        graph = lower_micro_batch(work.model, 1, 8, Lowering(), "none", work.lora_rank)
        adapters = sum(
            o.n * o.k * r
            for o, r in zip(graph.operators, graph.repeat, strict=True)
            if ".lora_" in o.name and not o.name.endswith("grad")
        )
        return float(adapters) / (plan.tp * plan.pp)
    dense = count.total - count.experts
    expert_ways = plan.ep if plan.ep > 1 else plan.tp
    return (dense / plan.tp + count.experts / expert_ways) / plan.pp


def counted_flops(work: TrainStep, how: Lowering) -> tuple[float, float]:
    """(model, hardware) FLOPs of one sequence on the whole model, as MFU and HFU count them."""
    whole = replace(Lowering(how.precision), fusions=frozenset(FUSIONS))
    plain = _count(lower_micro_batch(work.model, 1, work.seq_len, whole, "none", work.lora_rank))
    extra = 0.0
    if work.recompute != "none":
        again = lower_micro_batch(work.model, 1, work.seq_len, whole, "full", work.lora_rank)
        wanted = ("attention.scores.recompute",) if work.recompute == "selective" else ()
        extra = sum(
            o.flops * (2.0 if o.family.startswith("attention") else 1.0) * r
            for o, r in zip(again.operators, again.repeat, strict=True)
            if o.name.endswith(".recompute") and (not wanted or o.name in wanted)
        )
    model, attention = plain
    return model, model + attention + extra


def _count(graph: Graph) -> tuple[float, float]:
    """Model FLOPs (backward of attention counted as twice its forward), and the causal attention part of them."""
    total = attention = 0.0
    for operator, repeat in zip(graph.operators, graph.repeat, strict=True):
        scale = 0.8 if operator.kind == OpKind.ATTENTION_BACKWARD else 1.0
        total += operator.flops * scale * repeat
        if operator.family.startswith("attention"):
            attention += operator.flops * scale * repeat
    return total, attention
