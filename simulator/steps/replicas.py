"""Replicas of a model in training: what each updates, what ZeRO cuts over them, and what they exchange.

ZeRO stages 1 and 2 scatter the gradients, update a part on each replica, and gather the weights, as much as an
all-reduce; of stage 3 (FSDP) each replica holds a part of the weights too (Rajbhandari et al., SC 2020,
arXiv:1910.02054; Zhao et al., VLDB 2023, arXiv:2304.11277). With hybrid sharding groups of ``plan.shard`` replicas cut
among them what ZeRO cuts, and the groups are copies of each other: what was scattered inside a group is summed over the
groups (Zhao et al., section 3.2.2; MiCS, Zhang et al., arXiv:2205.00119). Experts have replicas of their own, as many
as ranks hold the same experts, and are cut over all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from simulator.devices.model import DeviceModel
from simulator.memory import held_of
from simulator.network.communicator import Communicator
from simulator.scenario import Plan, TrainStep
from simulator.steps.overlap import overlapped
from simulator.steps.pricing import collective_seconds
from simulator.steps.ranks import Rank, fullest_ranks
from workloads.lowering.plan import Lowering
from workloads.lowering.training import lower_micro_batch
from workloads.models.architecture import Architecture
from workloads.models.parameters import count_parameters
from workloads.operators import OpKind
from workloads.optimizers import StateBytes, state_bytes_per_parameter
from workloads.runtimes.record import Runtime


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
    """The stage of ZeRO that a step runs with; adapters are small enough to be whole on each replica."""
    if work.lora_rank or plan.dp * plan.cp == 1:
        return 0
    return plan.zero if plan.zero >= 0 else 3 if runtime.shards_replicas else runtime.zero


def shards_of(work: TrainStep, plan: Plan, runtime: Runtime, experts: bool = False) -> Shards:
    """Over how many replicas each is cut (Rajbhandari et al., arXiv:1910.02054, section 5), of experts or the rest.

    Stages of a pipeline add up whole gradients until the last micro-batch: none is scattered before.
    """
    stage, ways = zero_stage(work, plan, runtime), plan.expert_replicas if experts else plan.shard or plan.dp * plan.cp
    weights, gradients, states = (ways if stage >= least else 1 for least in (3, 2, 1))
    return Shards(weights, 1 if plan.pp > 1 else gradients, states)


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


def trained_parameters(work: TrainStep, plan: Plan) -> Trained:
    """What a device of the pipeline stage that has most updates, whatever rank a schedule gives its pieces to."""
    in_turn = msgspec.structs.replace(plan, schedule="") if plan.schedule else plan
    return max((trained_of(work, plan, rank) for rank in fullest_ranks(work.model, in_turn)), key=sum)


def trained_of(work: TrainStep, plan: Plan, rank: Rank) -> Trained:
    """What a device of a pipeline rank updates: its part of the model, cut as in ``memory``, or of the adapters."""
    arch = work.model
    if work.lora_rank:
        return Trained(adapter_parameters(work) / plan.tp * sum(rank.layers) / arch.layers, 0.0)
    held = held_of(arch, plan.sharding, rank.layers, rank.embeds, rank.heads)
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


class Exchanges(NamedTuple):
    """Collectives of all parameters of a device [s]: sum of gradients; their scattering; gathering of weights."""

    reduce_s: float
    scatter_s: float
    gather_s: float


@dataclass(frozen=True)
class Replicas:
    """What replicas of a model exchange: gradients, and weights that are cut over them."""

    trained: Trained
    weight_bytes: float
    gradient_bytes: float
    communicators: Mapping[str, Communicator]
    model: DeviceModel

    def exchanges(self) -> Exchanges:
        """Each collective of all parameters."""
        return Exchanges(
            self.collective_s(OpKind.ALL_REDUCE, self.gradient_bytes),
            self.collective_s(OpKind.REDUCE_SCATTER, self.gradient_bytes),
            self.collective_s(OpKind.ALL_GATHER, self.weight_bytes),
        )

    def exposed_s(self, work: TrainStep, plan: Plan, count: int, through_s: float, stage_s: float) -> float:
        """What of the exchanges no math hides [s].

        Args:
            count: micro-batches.
            through_s: all of them through all stages.
            stage_s: one of them on the slowest stage.
        """
        zero = zero_stage(work, plan, self.model.runtime)
        beside = overlapped(plan, self.model.runtime, zero)
        each = self.exchanges()
        if zero == 3:
            rounds = 1.0 if plan.pp > 1 else float(count)
            gathers = 1.0 if plan.pp > 1 else 2.0
            gathered_s, scattered_s = rounds * gathers * each.gather_s, rounds * each.scatter_s
            return third_exposed_s(gathered_s, scattered_s, through_s, work.model.layers, beside)
        back_s, forth_s = (each.scatter_s, each.gather_s) if zero else (each.reduce_s, 0.0)
        least = plan.pp / work.model.layers
        # A backward takes two thirds of a micro-batch, a forward one.
        if "gradients" in beside:
            back_s = max(back_s - 2.0 / 3.0 * stage_s, least * back_s)
        if "weights" in beside:
            forth_s = max(forth_s - stage_s / 3.0, least * forth_s)
        return back_s + forth_s

    def collective_s(self, kind: OpKind, bytes_each: float) -> float:
        """A collective of all parameters [s]: over dp; of experts that are cut over the replicas of these."""
        if {"ep", "etp", "edp"} & self.communicators.keys():
            shared, experts = self.trained.shared, self.trained.experts
            return self._over("dp", kind, shared * bytes_each) + self._over("edp", kind, experts * bytes_each)
        return self._over("dp", kind, sum(self.trained) * bytes_each)

    def _over(self, axis: str, kind: OpKind, size: float) -> float:
        if axis == "dp" and "copies" in self.communicators and kind != OpKind.ALL_REDUCE:
            inside_s = self._alone("shard", kind, size)
            if kind == OpKind.ALL_GATHER:
                return inside_s
            ways = self.communicators["shard"].size if "shard" in self.communicators else 1
            return inside_s + self._alone("copies", OpKind.ALL_REDUCE, size / ways)
        return self._alone(axis, kind, size)

    def _alone(self, axis: str, kind: OpKind, size: float) -> float:
        if axis not in self.communicators:
            return 0.0
        return collective_seconds(kind, size, self.communicators[axis], self.model)


def third_exposed_s(
    gathered_s: float, scattered_s: float, through_s: float, layers: int, beside: frozenset[str]
) -> float:  # fmt: skip
    """What shows of gathers and scatters that go with every layer: what is longer than the math, one layer's at least;
    all of that which does not move beside it."""
    hidden_s = (gathered_s if "weights" in beside else 0.0) + (scattered_s if "gradients" in beside else 0.0)
    shown_s = gathered_s + scattered_s - hidden_s
    return shown_s + max(hidden_s - through_s, hidden_s / layers)
