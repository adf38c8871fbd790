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
backward, or beside it where the runtime does so: then what is longer shows, at least one layer's. Left out: the
reduction of a tied embedding's gradient between first and last stage.

ZeRO stages 1 and 2 scatter the gradients, update the dp-th part on each replica, and gather the weights, as much as an
all-reduce. Context parallel ranks (Liu et al., "Ring Attention", arXiv:2310.01889) pass keys and values on while they
attend to those before: what is longer shows.

Where replicas are shards of one copy (ZeRO stage 3, FSDP; Rajbhandari et al., SC 2020, arXiv:1910.02054; Zhao et al.,
VLDB 2023, arXiv:2304.11277), each updates its dp-th part. Every micro-batch gathers the weights twice, layer by layer,
and scatters the gradients, beside the math of the layer before: t_reduce is what is longer than that, at least one
layer's. Stages of a pipeline keep what they gathered for all micro-batches of a step, and their gradients until its
end (Llama Team, arXiv:2407.21783, section 3.3.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import msgspec
import numpy as np

from hardware_specs.errors import InputError
from simulator.devices.model import DeviceModel
from simulator.memory import held_of, state_bytes_per_parameter
from simulator.network.communicator import Communicator, collective_cost
from simulator.scenario import Plan, TrainStep
from simulator.schedules.closed import unequal_total_s
from simulator.schedules.registry import code_of, refusal, schedule_of
from simulator.steps.pipeline import stage_seconds
from simulator.steps.pricing import Floats, PricedGraph, collective_seconds, price_graph
from simulator.steps.ranks import Rank, fullest_ranks
from workloads.lowering.plan import Lowering, Sharding, stage_lengths
from workloads.lowering.recompute import in_pieces, policy_of
from workloads.lowering.training import CONTEXT, Gradients, gradient_tensors, lower_micro_batch, lower_update
from workloads.models.architecture import Experts
from workloads.operators import FAMILIES, Operator, OpKind
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
    """Price one optimizer step under ``plan``; ``communicators`` by axis ("tp", "pp", "dp", "ep").

    Raises:
        InputError: a batch, a dtype or a schedule that does not go with the plan.
    """
    count = micro_batches(work, plan)
    check_schedule(plan, count)
    if how.precision.compute.startswith("int"):
        raise InputError(f"--dtype {how.precision.compute}: training needs floating point; use bf16, fp16, fp8 or fp32")
    weights, gradients, states = state_bytes(how.precision.attention, model.runtime)
    # Shards of gradients are reduced at once, micro-batch by micro-batch.
    added = count > 1 and zero_stage(work, plan, model.runtime) < 3
    kept = Gradients(gradients, added, how.fused("accumulate"))
    micro = price_micro_batch(work, plan, how, model, communicators, kept)
    graph = micro.graph
    trained = trained_parameters(work, plan)
    shards = shards_of(work, plan, model.runtime).states
    tensors = {size / shards: number for size, number in gradient_tensors(graph, work.model.tied, gradients).items()}
    update = price_graph(lower_update(sum(trained) / shards, gradients, states, weights, tensors), model, communicators)

    stages, hosts = stage_seconds(micro, plan.pp, plan.stages), launch_seconds(micro, plan, model.runtime)
    send_s = 0.0
    if plan.pp > 1:
        size = plan.micro_batch * work.seq_len * work.model.hidden * how.precision.activation_bytes
        one = collective_seconds(OpKind.SEND_RECV, size / (plan.tp * plan.cp), communicators["pp"], model)
        # The first micro-batch crosses pp - 1 boundaries there and back; behind it each adds one exchange.
        send_s = 2.0 * one * (plan.vpp * count + plan.pp - 2)
    through_s = through_seconds(micro, plan, count)
    bubble_s = through_s - count * micro.total_s / plan.pp
    host_s = _host_seconds(stages, hosts, count, plan.vpp, model.runtime)
    replicas = Replicas(trained, weights, gradients, communicators, model)
    reduce_s = replicas.exposed_s(work, plan, count, through_s, max(stages))
    step_s = through_s + send_s + reduce_s + update.total_s + host_s
    static_w = float(model.record["static_w"])
    busy_j = count * micro.total_j / plan.pp + update.total_j
    device_j = (busy_j + static_w * (bubble_s + send_s + reduce_s + host_s)) * plan.devices
    again = in_pieces(policy_of(plan.recompute), plan.vpp).text
    model_flops, hardware_flops = counted_flops(work, how, again)
    return StepCost(
        step_s, micro, update, reduce_s, send_s, bubble_s, host_s, count, device_j, step_s - bubble_s - host_s,
        model_flops * work.global_batch, hardware_flops * work.global_batch,
    )  # fmt: skip


def check_schedule(plan: Plan, count: int) -> None:
    """Refuse a schedule that ``count`` micro-batches on the stages of ``plan`` cannot have.

    Raises:
        UnknownName: no such schedule.
        InputError: naming what it needs.
    """
    if not plan.schedule:
        return
    chunks = schedule_of(plan.schedule, "--schedule").chunks
    if plan.pp > 1 and (why := refusal(plan.schedule, plan.pp, count, plan.vpp if chunks <= 1 else chunks)):
        raise InputError(f"--schedule {plan.schedule}: {why}")


def price_micro_batch(
    work: TrainStep, plan: Plan, how: Lowering, model: DeviceModel, communicators: Mapping[str, Communicator],
    kept: Gradients,
) -> PricedGraph:  # fmt: skip
    """One micro-batch through the whole stack, exchanges that math hides left out of its times."""
    again = recomputed(plan, model.runtime)
    graph = lower_micro_batch(
        work.model, plan.micro_batch, work.seq_len, how, again, work.lora_rank, kept,
        not model.runtime.contiguous_context, plan.stages or stage_lengths(work.model.layers, plan.pp),
    )  # fmt: skip
    micro = _beside_attention(price_graph(graph, model, communicators), plan.cp)
    if model.runtime.sends_once and "ep" in communicators:
        micro = _once_to_each_node(micro, work, communicators["ep"], model)
    return _beside_products(micro, plan.tp) if model.runtime.overlaps_tensor else micro


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
    busy = [max(pair) for pair in zip(stages, launches, strict=True)]
    pace_s = max(busy) if runtime.graph_mode else max(max(busy), max(launches) + own_s)
    filled_s = (sum(busy) - max(busy)) / vpp + max(busy)
    return own_s + filled_s + (count - 1) * pace_s - (sum(stages) - max(stages)) / vpp - count * max(stages)


class Trained(NamedTuple):
    """Parameters that one device updates: those that all of its dp replicas share, and those of its experts."""

    shared: float
    experts: float


@dataclass(frozen=True)
class Replicas:
    """What replicas of a model exchange: gradients, and weights that are cut over them."""

    trained: Trained
    weight_bytes: float
    gradient_bytes: float
    communicators: Mapping[str, Communicator]
    model: DeviceModel

    def exposed_s(self, work: TrainStep, plan: Plan, count: int, through_s: float, stage_s: float) -> float:
        """What of it no math hides [s].

        Args:
            count: micro-batches.
            through_s: all of them through all stages.
            stage_s: one of them on the slowest stage.
        """
        zero = zero_stage(work, plan, self.model.runtime)
        if zero == 3:
            gather_s = self.collective_s(OpKind.ALL_GATHER, self.weight_bytes)
            scatter_s = self.collective_s(OpKind.REDUCE_SCATTER, self.gradient_bytes)
            moved_s = gather_s + scatter_s if plan.pp > 1 else count * (2.0 * gather_s + scatter_s)
            return max(moved_s - through_s, moved_s / work.model.layers)
        if zero == 0:
            back_s, forth_s = self.collective_s(OpKind.ALL_REDUCE, self.gradient_bytes), 0.0
        else:
            back_s = self.collective_s(OpKind.REDUCE_SCATTER, self.gradient_bytes)
            forth_s = self.collective_s(OpKind.ALL_GATHER, self.weight_bytes)
        if not self.model.runtime.overlaps_gradients:
            return back_s + forth_s
        least = plan.pp / work.model.layers
        # A backward takes two thirds of a micro-batch, a forward one.
        return max(back_s - 2.0 / 3.0 * stage_s, least * back_s) + max(forth_s - stage_s / 3.0, least * forth_s)

    def collective_s(self, kind: OpKind, bytes_each: float) -> float:
        """A collective of all parameters [s]: over dp; of experts that are cut ep ways over the replicas of these."""
        seconds, trained = 0.0, self.trained
        whole = {"dp": sum(trained)}
        if "ep" in self.communicators:
            whole = {"dp": trained.shared, "edp": trained.experts}
        for axis, parameters in whole.items():
            if axis in self.communicators:
                seconds += collective_seconds(kind, parameters * bytes_each, self.communicators[axis], self.model)
        return seconds


def _with_times(micro: PricedGraph, time_s: Floats) -> PricedGraph:
    """``micro`` whose exchanges show for ``time_s`` alone, shape [n] [s]; the device draws static power meanwhile."""
    part = np.divide(time_s, micro.time_s, out=np.ones_like(time_s), where=micro.time_s > 0.0)
    return replace(
        micro, time_s=time_s, communication_s=micro.communication_s * part, energy_j=micro.energy_j * part
    )  # fmt: skip


def _beside_attention(micro: PricedGraph, cp: int) -> PricedGraph:
    """A micro-batch whose exchanges between context parallel ranks take only what attention does not hide [s].

    A rank attends to its own keys while the first others are under way, so that of cp parts of attention cp - 1 hide
    cp - 1 parts of the exchange.
    """
    if cp == 1:
        return micro
    time_s = micro.time_s.copy()
    names = [operator.name for operator in micro.graph.operators]
    for backward in (False, True):
        moves = np.array([n == (CONTEXT + ".backward" if backward else CONTEXT) for n in names])
        attends = np.array([n.startswith(("attention.scores", "attention.qk", "attention.pv")) for n in names])
        attends &= np.array([n.endswith((".backward", ".dgrad")) == backward for n in names])
        moved_s, math_s = (float((time_s * micro.graph.repeat)[rows].sum()) for rows in (moves, attends))
        if moved_s > 0.0:
            time_s[moves] *= max(moved_s - math_s * (cp - 1.0) / cp, 0.0) / moved_s
    return _with_times(micro, time_s)


def _once_to_each_node(
    micro: PricedGraph, work: TrainStep, group: Communicator, model: DeviceModel
) -> PricedGraph:  # fmt: skip
    """A micro-batch whose tokens cross to each node once, whatever number of their experts live there.

    Of k experts that are drawn from n nodes, n (1 - (1 - 1/n)^k) nodes have some; inside a node each copy moves. As
    DeepEP and the kernels of DeepSeek-AI, arXiv:2412.19437, section 3.2.2, send and combine them (without the limit of
    nodes that its router sets).
    """
    chosen = max((g.mlp.top_k for g in work.model.groups if isinstance(g.mlp, Experts)), default=1)
    nodes = group.size / group.inner.size
    if nodes <= 1.0 or chosen <= 1:
        return micro
    share = nodes * (1.0 - (1.0 - 1.0 / nodes) ** chosen) / chosen
    time_s, factor = micro.time_s.copy(), float(model.record["factors"][FAMILIES.index("collective")])
    for i, operator in enumerate(micro.graph.operators):
        if operator.kind == OpKind.ALL_TO_ALL and operator.axis == "ep":
            cost = collective_cost(operator.kind, operator.message_bytes, group)
            across_s = share * cost.outer_bytes / group.outer.bandwidth
            inside_s = operator.message_bytes / group.inner.bandwidth if group.inner.size > 1 else 0.0
            alone_s = min(cost.startup_s + max(across_s, inside_s), cost.seconds)
            time_s[i] += (alone_s - cost.seconds) / factor
    return _with_times(micro, time_s)


def _beside_products(micro: PricedGraph, tp: int) -> PricedGraph:
    """A micro-batch whose exchanges between tensor parallel ranks take only what products do not hide [s].

    A rank multiplies the piece that it has while the next one is under way, so that of tp pieces of an exchange tp - 1
    move beside tp - 1 parts of the products of the same layer and direction (Wang et al., "Overlap Communication with
    Dependent Computation via Decomposition", ASPLOS 2023, doi:10.1145/3567955.3567959).
    """
    time_s = micro.time_s.copy()
    for block in micro.graph.blocks if tp > 1 else ():
        operators = micro.graph.operators[block.start : block.stop]
        moves = np.array([o.family == "collective" and o.axis == "tp" for o in operators])
        products = np.array([o.family == "gemm" for o in operators])
        seconds = time_s[block.start : block.stop]
        moved_s, math_s = float(seconds[moves].sum()), float(seconds[products].sum())
        if block.label.startswith("layers") and moved_s > 0.0:
            seconds[moves] *= max(1.0 - math_s / moved_s * (tp - 1.0) / tp, 1.0 / tp)
    return _with_times(micro, time_s)


def zero_stage(work: TrainStep, plan: Plan, runtime: Runtime) -> int:
    """The stage of ZeRO that a step runs with; adapters are small enough to be whole on each replica."""
    if work.lora_rank or plan.dp * plan.cp == 1:
        return 0
    return plan.zero if plan.zero >= 0 else 3 if runtime.shards_replicas else runtime.zero


def recomputed(plan: Plan, runtime: Runtime) -> str:
    """What the backward computes again (see ``RECOMPUTED``): what ``runtime`` means by selective, where it is that."""
    return runtime.selective if plan.recompute == "selective" else in_pieces(policy_of(plan.recompute), plan.vpp).text


def state_bytes(dtype: str, runtime: Runtime) -> tuple[float, float, float]:
    """Weights, gradients and Adam states of each trained parameter under ``runtime`` [B]."""
    return state_bytes_per_parameter(dtype, dtype in runtime.half_gradients)


class Shards(NamedTuple):
    """Replicas over which weights, gradients and optimizer states are cut."""

    weights: int
    gradients: int
    states: int


def shards_of(work: TrainStep, plan: Plan, runtime: Runtime) -> Shards:
    """Over how many replicas each is cut (Rajbhandari et al., arXiv:1910.02054, section 5)."""
    stage, replicas = zero_stage(work, plan, runtime), plan.dp * plan.cp
    return Shards(*(replicas if stage >= least else 1 for least in (3, 2, 1)))


def trained_parameters(work: TrainStep, plan: Plan) -> Trained:
    """What a device of the pipeline stage that has most updates, whatever rank a schedule gives its pieces to."""
    in_turn = msgspec.structs.replace(plan, schedule="") if plan.schedule else plan
    return max((trained_of(work, plan, rank) for rank in fullest_ranks(work.model, in_turn)), key=sum)


def trained_of(work: TrainStep, plan: Plan, rank: Rank) -> Trained:
    """What a device of a pipeline rank updates: its part of the model, cut as in ``memory``, or of the adapters."""
    arch = work.model
    if work.lora_rank:
        return Trained(adapter_parameters(work) / plan.tp * sum(rank.layers) / arch.layers, 0.0)
    held = held_of(arch, Sharding(plan.tp, plan.ep, plan.pp), rank.layers, rank.embeds, rank.heads)
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
        # Selective recomputation is counted as that of scores, whether a fused kernel keeps them or not.
        policy = "modules:core_attn" if recompute == "selective" else recompute
        again = lower_micro_batch(
            work.model, 1, work.seq_len, whole, policy, work.lora_rank,
            stages=how.sharding.stages or stage_lengths(work.model.layers, how.sharding.pp),
        )  # fmt: skip
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
