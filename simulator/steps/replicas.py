"""Replicas of a model in training: what each updates, what ZeRO cuts over them, and what they exchange.

ZeRO stages 1 and 2 scatter the gradients, update a part on each replica, and gather the weights, as much as an
all-reduce; of stage 3 (FSDP) each replica holds a part of the weights too (Rajbhandari et al., SC 2020,
arXiv:1910.02054; Zhao et al., VLDB 2023, arXiv:2304.11277). With hybrid sharding groups of ``plan.shard`` replicas cut
among them what ZeRO cuts, and the groups are copies of each other: what was scattered inside a group is summed over the
groups (Zhao et al., section 3.2.2; MiCS, Zhang et al., arXiv:2205.00119). Experts have replicas of their own, as many
as ranks hold the same experts, and are cut over all of them.

What of these collectives moves beside the math shares links with the exchanges of that math: of tensor, context and
expert parallel ranks, and sends to the next stage. Where both are on the same links each slows the other (see
``network.contention``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from simulator.devices.model import DeviceModel
from simulator.memory import Held, held_bytes, held_of
from simulator.network.communicator import Communicator
from simulator.network.contention import ALONE, EXCHANGES, STREAM, exchanges_of, exposed_rows_s, in_turn, stream_of
from simulator.scenario import Plan, TrainStep
from simulator.steps.overlap import overlapped
from simulator.steps.pricing import PricedGraph
from simulator.steps.ranks import Rank, fullest_ranks
from workloads.lowering.plan import Lowering, Precision
from workloads.lowering.training import lower_micro_batch
from workloads.models.architecture import Architecture
from workloads.models.parameters import count_parameters
from workloads.operators import FAMILIES, OpKind
from workloads.optimizers import MASTER_BYTES, StateBytes, state_bytes_per_parameter
from workloads.runtimes.record import Runtime

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Trained(NamedTuple):
    """Parameters that one device updates: those that all of its dp replicas share, and those of its experts."""

    shared: float
    experts: float


class Shards(NamedTuple):
    """Replicas over which weights, gradients and optimizer states are cut."""

    weights: int
    gradients: int
    states: int


def zero_stage(work: TrainStep, plan: Plan, runtime: Runtime) -> int:
    """The stage of ZeRO that a step runs with; adapters are small enough to be whole on each replica, so that with
    them stage 3 cuts the frozen weights, and lower ones nothing."""
    if plan.dp * plan.cp == 1:
        return 0
    stage = plan.zero if plan.zero >= 0 else 3 if runtime.shards_replicas else runtime.zero
    return stage if stage == 3 or not work.lora_rank else 0


def shards_of(work: TrainStep, plan: Plan, runtime: Runtime, experts: bool = False) -> Shards:
    """Over how many replicas each is cut (Rajbhandari et al., arXiv:1910.02054, section 5), of experts or the rest.

    Stages of a pipeline add up whole gradients until the last micro-batch: none is scattered before.
    """
    stage, ways = zero_stage(work, plan, runtime), plan.expert_replicas if experts else plan.shard or plan.dp * plan.cp
    weights, gradients, states = (ways if stage >= least else 1 for least in (3, 2, 1))
    return Shards(weights, 1 if plan.pp > 1 else gradients, states)


def keeps_masters(work: TrainStep, runtime: Runtime, state: StateBytes, cut: Shards) -> bool:
    """Whether shards of weights are the fp32 masters themselves, which are then no part of the optimizer's states."""
    return cut.weights > 1 and runtime.master_shards and state.weights < MASTER_BYTES and not work.lora_rank


Amount = TypeVar("Amount", float, npt.NDArray[np.float64])
"""A number, or many at once."""


def on_device(whole: tuple[Amount, Amount], shared: Amount, experts: Amount) -> Amount:
    """What is on a device of what all replicas share and of experts where these are cut so many ways."""
    return whole[0] / shared + whole[1] / experts


def state_bytes(work: TrainStep, dtype: str, runtime: Runtime) -> StateBytes:
    """Weights, gradients and optimizer states of each trained parameter under ``runtime`` [B]."""
    ends = 0.0 if work.lora_rank else share_of_ends(work.model)
    return state_bytes_per_parameter(dtype, dtype in runtime.half_gradients, work.optimizer, ends)


def share_of_ends(arch: Architecture) -> float:
    """Share of a model's parameters in its embedding, head and norms."""
    count = count_parameters(arch)
    return (count.embedding + count.head + count.norms) / count.total


def moved_weight_bytes(work: TrainStep, zero: int, precision: Precision, weights: float) -> float:
    """Bytes of each parameter that replicas gather, on average: shards of ZeRO stage 3 of linear layers in 8 bits where
    a recipe has it so.

    Args:
        weights: of each parameter as it is kept [B].
    """
    if zero < 3 or precision.scaling is None:
        return weights
    ends = share_of_ends(work.model)
    return (1.0 - ends) * min(precision.gathered_weight_bytes, weights) + ends * weights


def trained_parameters(work: TrainStep, plan: Plan) -> Trained:
    """What a device of the pipeline rank that has most updates."""
    return max((trained_of(work, plan, rank) for rank in fullest_ranks(work.model, plan)), key=sum)


def trained_of(work: TrainStep, plan: Plan, rank: Rank) -> Trained:
    """What a device of a pipeline rank updates: its part of the model, cut as in ``memory``, or of the adapters."""
    arch = work.model
    if work.lora_rank:
        return Trained(adapter_parameters(work) / plan.tp * sum(rank.layers) / arch.layers, 0.0)
    held = held_of(arch, plan.sharding, rank.layers, rank.embeds, rank.heads)
    return Trained(held.stack + held.norms + held.ends + held.extra, held.experts)


def frozen_weights(work: TrainStep, plan: Plan, precision: Precision) -> Trained | None:
    """Bytes of the frozen weights that replicas gather where these are cut over them; None where all is trained [B]."""
    if not work.lora_rank:
        return None
    held = (
        held_of(work.model, plan.sharding, rank.layers, rank.embeds, rank.heads)
        for rank in fullest_ranks(work.model, plan)
    )
    return max((held_weights(each, precision) for each in held), key=sum)


def held_weights(held: Held, precision: Precision) -> Trained:
    """Bytes of weights as they are computed with: of what all replicas share, and of experts [B]."""
    experts = held_bytes(Held(0.0, held.experts, 0.0, 0.0, 0.0), precision)
    return Trained(held_bytes(held, precision) - experts, experts)


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


class Exchanges(NamedTuple):
    """Collectives of all parameters of a device as streams, shape [..., 6] (see ``network.contention``): sum of
    gradients; their scattering; gathering of weights."""

    reduce: Floats
    scatter: Floats
    gather: Floats


class Traffic(NamedTuple):
    """Exchanges of micro-batches, shape [m, kinds, 7], and which of them each of n steps has, shape [n]."""

    table: Floats
    places: Ints


QUIET: Final = Traffic(np.zeros((1, *EXCHANGES)), np.zeros(1, np.int64))
"""Micro-batches that exchange nothing."""


class Window(NamedTuple):
    """The math of n steps, shape [n] each: micro-batches; all of them through all stages, and one on the slowest stage
    [s]; that stage's share of a micro-batch; stages, and pieces of the model on each; what hides each send [s]."""

    count: Any
    through_s: Any
    stage_s: Any
    share: Any
    pp: Any
    vpp: Any
    behind_s: Any


@dataclass(frozen=True)
class Replicas:
    """What replicas of a model exchange: gradients, and weights that are cut over them.

    ``weights`` are the bytes of what is gathered on a device, where that is not what is trained [B].
    """

    trained: Trained
    weight_bytes: float
    gradient_bytes: float
    communicators: Mapping[str, Communicator]
    model: DeviceModel
    weights: Trained | None = None

    def exchanges(self) -> Exchanges:
        """Each collective of all parameters, shape [6]."""
        return Exchanges(
            self._stream(OpKind.ALL_REDUCE, self.gradient_bytes),
            self._stream(OpKind.REDUCE_SCATTER, self.gradient_bytes),
            self._stream(OpKind.ALL_GATHER, self.weight_bytes if self.weights is None else 1.0, self.weights),
        )

    def exposed_s(
        self, work: TrainStep, plan: Plan, count: int, through_s: float, stage_s: float, traffic: Traffic = QUIET,
        share: float = 1.0,
    ) -> float:  # fmt: skip
        """What of the exchanges no math hides, and what those hidden add to it [s].

        Args:
            count: micro-batches.
            through_s: all of them through all stages.
            stage_s: one of them on the slowest stage.
            traffic: exchanges of a micro-batch on all stages.
            share: of these on the slowest stage.
        """
        zero = zero_stage(work, plan, self.model.runtime)
        beside = overlapped(plan, self.model.runtime, zero)
        behind_s = stage_s / (2.0 * plan.vpp) if "pipeline" in beside else 0.0
        window = Window(*np.array([[count, through_s, stage_s, share, plan.pp, plan.vpp, behind_s]], np.float64).T)
        each = Exchanges(*(stream[None] for stream in self.exchanges()))
        words = np.array([["gradients" in beside], ["weights" in beside]])
        return float(shown_s(each, words, np.array([zero]), window, work.model.layers, traffic)[0])

    def _stream(self, kind: OpKind, bytes_each: float, whole: Trained | None = None) -> Floats:
        """A collective of all parameters: over dp; of experts that are cut over the replicas of these."""
        shared, experts = whole or self.trained
        if {"ep", "etp", "edp"} & self.communicators.keys():
            return in_turn([self._over("dp", kind, shared * bytes_each), self._over("edp", kind, experts * bytes_each)])
        return self._over("dp", kind, (shared + experts) * bytes_each)

    def _over(self, axis: str, kind: OpKind, size: float) -> Floats:
        if axis == "dp" and "copies" in self.communicators and kind != OpKind.ALL_REDUCE:
            inside = self._alone("shard", kind, size)
            if kind == OpKind.ALL_GATHER:
                return inside
            ways = self.communicators["shard"].size if "shard" in self.communicators else 1
            return in_turn([inside, self._alone("copies", OpKind.ALL_REDUCE, size / ways)])
        return self._alone(axis, kind, size)

    def _alone(self, axis: str, kind: OpKind, size: float) -> Floats:
        if axis not in self.communicators:
            return np.zeros(STREAM)
        return stream_of(kind, size, self.communicators[axis], *paces_of(self.model))


def paces_of(model: DeviceModel) -> tuple[float, float]:
    """What the runtime of ``model`` gets out of its links, and the gap before each collective [s]."""
    return float(model.record["factors"][FAMILIES.index("collective")]), float(model.record["gap_s"])


def exchanged_beside(
    micro: PricedGraph, communicators: Mapping[str, Communicator], model: DeviceModel, send_bytes: float = 0.0
) -> Floats:  # fmt: skip
    """What a micro-batch exchanges, by kind (see ``network.contention.exchanges_of``)."""
    graph, (factor, gap_s) = micro.graph, paces_of(model)
    return exchanges_of(graph.operators, graph.repeat, micro.time_s, communicators, factor, gap_s, send_bytes)


def shown_s(
    each: Exchanges, beside: Any, zero: Any, window: Window, layers: int, traffic: Traffic
) -> Floats:  # fmt: skip
    """What steps show of the exchanges of replicas, and what those beside the math add to it, shape [n] [s].

    All of what does not move beside the math shows. Of the rest one layer's, which has no math beside it, what of the
    others is longer than the math, and how much longer they make that: gradients are beside the last backward (of stage
    2 beside every one), which takes two thirds of a micro-batch, weights beside the first forward; shards of stage 3
    are gathered and scattered with every layer.

    Args:
        each: shape [n, 6].
        beside: whether gradients, and gathered weights, move beside the math, shape [2, n].
        zero: stage of each step, shape [n].
    """
    third, staged = zero == 3, window.pp > 1
    # Gradients of which a rank has a part alone are scattered with every micro-batch; stages keep them whole.
    every = (zero >= 2) & ~staged
    scatters = np.where(every, window.count, 1.0)
    gathers = np.where(third, np.where(staged, 1.0, 2.0 * window.count), np.where(zero > 0, 1.0, 0.0))
    back = np.where((zero > 0)[:, None], each.scatter, each.reduce) * scatters[:, None]
    forth = each.gather * gathers[:, None]
    shown = np.where(beside[0], 0.0, back[:, ALONE]) + np.where(beside[1], 0.0, forth[:, ALONE])
    back, forth = back * beside[0][:, None], forth * beside[1][:, None]
    back, forth = back + forth * third[:, None], forth * ~third[:, None]
    sends = np.where(third | ~staged, 0.0, window.vpp)
    least = np.where(third, 1.0, window.pp) / layers
    found: Floats = shown
    for stream, part, rounds in ((back, 2.0 / 3.0, scatters), (forth, 1.0 / 3.0, 1.0)):
        math_s = np.where(third, window.through_s, part * rounds * window.stage_s)
        times = np.where(third, window.count, part * rounds) * window.share
        early = stream * (1.0 - least)[:, None]
        longer = exposed_rows_s(early, math_s, traffic.table, traffic.places, times, sends, window.behind_s)
        found = found + least * stream[:, ALONE] + longer
    return found
