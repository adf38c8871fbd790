"""The step time, memory and energy of many training plans at once: what ``simulate`` says of each, to rounding.

Most of what plans cost they share. A micro-batch is priced once for each way to cut it, an update and the exchanges of
replicas once for each layout; plans look their parts up and put them together, whole arrays at a time, by the formulas
of ``steps.train_step`` and ``steps.training_result``. What does not fit the memory is not priced at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError
from simulator import memory
from simulator.bulk.plans import Plans
from simulator.prepared import Prepared, communicators_of
from simulator.scenario import RECOMPUTE, Plan, TrainStep
from simulator.schedules.closed import unequal_total_s
from simulator.schedules.registry import names, schedule_of
from simulator.steps.pipeline import stage_seconds
from simulator.steps.pricing import PricedGraph, collective_seconds, price_graph
from simulator.steps.ranks import fullest_ranks, in_flight
from simulator.steps.train_step import (
    FLOW_SHOPS,
    Replicas,
    launch_seconds,
    parts_of_stages,
    price_micro_batch,
    recomputed,
    shards_of,
    state_bytes,
    trained_of,
    trained_parameters,
    zero_stage,
)
from simulator.steps.training_result import loss_bytes
from workloads.lowering.plan import Lowering, Sharding
from workloads.lowering.training import Gradients, gradient_tensors, lower_update
from workloads.operators import OpKind

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class PlanCosts(NamedTuple):
    """Of each plan, shape [n]: bytes on the fullest device and whether they fit; seconds and joules of all devices of
    those that do, nan of others."""

    memory_bytes: Floats
    fits: Bools
    step_s: Floats
    device_j: Floats


def price_plans(prepared: Prepared, work: TrainStep, plans: Plans, room: float = 1.0) -> PlanCosts:
    """Price plans on the devices of ``prepared``, whose own plan has no say.

    Args:
        room: share of the usable memory that plans may need, to see what those would do that miss it.

    Plans that the network cannot carry or whose schedule cannot be do not fit.
    """
    maker = _Maker(prepared, work)
    found = maker.memory(plans)
    fits = found <= room * prepared.usable_bytes
    rows = np.flatnonzero(fits)
    step_s, device_j = np.full(len(found), np.nan), np.full(len(found), np.nan)
    if len(rows):
        step_s[rows], device_j[rows] = maker.times(plans.take(rows))
    fits &= np.isfinite(step_s)
    return PlanCosts(found, fits, step_s, device_j)


def plan_of(plans: Plans, row: int) -> Plan:
    """One plan as scenarios have it."""
    each = {name: int(column[row]) for name, column in plans._asdict().items()}
    return Plan(
        each["tp"], each["pp"], each["dp"], each["ep"], each["micro_batch"], RECOMPUTE[each["recompute"]], each["cp"],
        each["vpp"], bool(each["sequence"]), each["zero"], names()[each["schedule"]],
    )  # fmt: skip


class _Maker:
    """Looks up, and prices what is not there yet."""

    def __init__(self, prepared: Prepared, work: TrainStep) -> None:
        self.prepared, self.work = prepared, work
        self.runtime, self.model = prepared.pool.runtime, prepared.model
        self.bytes = state_bytes(prepared.precision.attention, self.runtime)
        self.flash = prepared.how.fused("flash")

    def how(self, plan: Plan) -> Lowering:
        """How a plan lowers."""
        cut = Sharding(plan.tp, plan.ep, plan.pp, plan.cp, plan.sequence)
        return replace(self.prepared.how, sharding=cut)

    def memory(self, plans: Plans) -> Floats:
        """Bytes on the fullest device, [n]: as ``training_result.memory_use``, rank by rank."""
        work, arch = self.work, self.work.model

        def layers(plan: Plan) -> Sequence[float]:
            """Bytes of a micro-batch in one layer of each group: kept, and held while it is computed again; logits."""
            cut = Sharding(plan.tp, plan.ep, 1, plan.cp, plan.sequence)
            again, sizes = recomputed(plan, self.runtime), (plan.micro_batch, work.seq_len)
            found = [memory.layer_training_bytes(arch, g, *sizes, again, self.flash, cut) for g in arch.groups]
            logits = memory.training_logit_bytes(arch, *sizes, cut, loss_bytes(self.runtime))
            return [*(each.kept for each in found), *(each.again for each in found), logits]

        sizes = _looked_up(plans, ("tp", "ep", "cp", "sequence", "micro_batch", "recompute"), layers)
        (ranks,) = _looked_up(plans, ("pp", "schedule"), lambda plan: (len(fullest_ranks(arch, plan)),)).T
        found = self._rank_memory(plans, sizes, 0)
        for index in range(1, int(ranks.max()) if len(ranks) else 0):
            rows = np.flatnonzero(ranks > index)
            found[rows] = np.maximum(found[rows], self._rank_memory(plans.take(rows), sizes[rows], index))
        return found

    def _rank_memory(self, plans: Plans, sizes: Floats, index: int) -> Floats:
        """Bytes on a device of one of the ``fullest_ranks`` of each plan, [n]; ``sizes`` as ``memory`` finds them."""
        work, arch = self.work, self.work.model
        groups = len(arch.groups)

        def held(plan: Plan) -> Sequence[float]:
            rank = fullest_ranks(arch, plan)[index]
            cut = Sharding(plan.tp, plan.ep, plan.pp)
            own = memory.held_of(arch, cut, rank.layers, rank.embeds, rank.heads)
            return [
                memory.held_bytes(own, self.prepared.precision), sum(trained_of(work, plan, rank)), rank.heads,
                *rank.kept,
            ]  # fmt: skip

        def flying(plan: Plan) -> Sequence[float]:
            rank = fullest_ranks(arch, plan)[index]
            return (in_flight(plan, work.global_batch // (plan.dp * plan.micro_batch), rank.number),)

        rows = _looked_up(plans, ("tp", "ep", "pp", "schedule"), held)
        weights, trained, heads, here = rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3:]
        (times,) = _looked_up(plans, ("pp", "vpp", "schedule", "dp", "micro_batch"), flying).T
        kept, again, logits = sizes[:, :groups], sizes[:, groups : 2 * groups], sizes[:, -1]
        activations = (kept * here).sum(axis=1) * times
        activations += np.maximum(np.where(here > 0.0, again, 0.0).max(axis=1), logits * heads)
        stage, replicas = self.zero(plans), (plans.dp * plans.cp).astype(np.float64)
        of_weights, of_gradients, of_states = (np.where(stage >= least, replicas, 1.0) for least in (3, 2, 1))
        gathered = np.where(of_weights > 1.0, 2.0 * weights / arch.layers, 0.0)
        masters = (of_weights > 1.0) & self.runtime.master_shards & (self.bytes[0] < 4.0)
        whole, states = np.where(masters, 4.0 * trained, weights), self.bytes[2] - np.where(masters, 4.0, 0.0)
        found: Floats = (
            whole / of_weights + gathered + (trained * self.bytes[0] if work.lora_rank else 0.0) + activations
            + trained * self.bytes[1] / of_gradients + trained * states / of_states + self.runtime.context.value
        )  # fmt: skip
        return found

    def zero(self, plans: Plans) -> Ints:
        """The stage of ZeRO that each plan runs with, [n]."""
        return _looked_up(
            plans, ("dp", "cp", "zero"), lambda plan: (zero_stage(self.work, plan, self.runtime),)
        )[:, 0].astype(np.int64)  # fmt: skip

    def times(self, plans: Plans) -> tuple[Floats, Floats]:
        """Seconds of a step and joules of all devices, [n]."""
        work = self.work
        count = work.global_batch // (plans.micro_batch * plans.dp)
        zero = self.zero(plans)
        added = (count > 1) & (zero < 3)
        stages = self._stages(plans, added)
        exchanges = _looked_up(plans, ("tp", "ep", "cp", "pp", "dp"), self._exchanges)
        m, p, v = (column.astype(np.float64) for column in (count, plans.pp, plans.vpp))
        summed, slowest = stages[:, 0], stages[:, 1]
        through = (summed - slowest) / v + m * slowest
        other = ~np.isin(plans.schedule, [code for code, name in enumerate(names()) if name in FLOW_SHOPS])
        other &= plans.pp > 1
        if other.any():
            own = np.array([schedule_of(name).chunks for name in names()], np.float64)[plans.schedule[other]]
            through[other] = unequal_total_s(
                plans.schedule[other], p[other], m[other], np.where(own > 0.0, own, v[other]),
                stages[other, 2:5].T, stages[other, 5:8].T,
            )  # fmt: skip
        whole_s, whole_j, send_s = stages[:, 11], stages[:, 12], stages[:, 13]
        send = np.where(plans.pp > 1, 2.0 * send_s * (v * m + p - 2.0), 0.0)
        bubble = through - m * whole_s / p
        host = self._host_s(stages, m, v)
        reduce = self._exposed_s(plans, zero, exchanges, through, slowest, m)
        cut = zero >= 1
        update_s = np.where(cut, exchanges[:, 5], exchanges[:, 3])
        update_j = np.where(cut, exchanges[:, 6], exchanges[:, 4])
        step = through + send + reduce + update_s + host
        static_w = float(self.model.record["static_w"])
        busy_j = m * whole_j / p + update_j
        devices = float(self.prepared.pool.count)
        return step, (busy_j + static_w * (bubble + send + reduce + host)) * devices

    def _host_s(self, stages: Floats, m: Floats, v: Floats) -> Floats:
        own_s = self.runtime.host_step.value
        summed, slowest, busy_sum, busy_max, launch = (stages[:, k] for k in (0, 1, 8, 9, 10))
        pace = busy_max if self.runtime.graph_mode else np.maximum(busy_max, launch + own_s)
        filled = (busy_sum - busy_max) / v + busy_max
        found: Floats = own_s + filled + (m - 1.0) * pace - (summed - slowest) / v - m * slowest
        return found

    def _exposed_s(
        self, plans: Plans, zero: Ints, exchanges: Floats, through: Floats, stage: Floats, m: Floats
    ) -> Floats:  # fmt: skip
        layers, staged = float(self.work.model.layers), plans.pp > 1
        reduce, scatter, gather = exchanges[:, 0], exchanges[:, 1], exchanges[:, 2]
        moved = np.where(staged, gather + scatter, m * (2.0 * gather + scatter))
        third = np.maximum(moved - through, moved / layers)
        back, forth = np.where(zero == 0, reduce, scatter), np.where(zero == 0, 0.0, gather)
        if not self.runtime.overlaps_gradients:
            return np.where(zero == 3, third, back + forth)
        least = plans.pp / layers
        shown = np.maximum(back - 2.0 / 3.0 * stage, least * back) + np.maximum(forth - stage / 3.0, least * forth)
        return np.where(zero == 3, third, shown)

    def _stages(self, plans: Plans, added: Bools) -> Floats:
        """A micro-batch on the stages of each plan, [n, 14].

        Sum and largest of seconds; forward, backward of inputs and of weights of the slowest stage, and of all; with
        launches sum and largest, and the largest launches; seconds and joules of the whole stack; one send.
        """
        micro: dict[tuple[object, ...], PricedGraph | None] = {}
        fields = ("tp", "ep", "cp", "sequence", "micro_batch", "recompute", "pp", "dp")
        keyed = plans._replace(zero=added.astype(np.int64))

        def figures(plan: Plan) -> Sequence[float]:
            own = (plan.tp, plan.ep, plan.cp, plan.sequence, plan.micro_batch, plan.recompute, plan.zero)
            if own not in micro:
                micro[own] = self._micro(plan)
            priced = micro[own]
            return [np.nan] * 14 if priced is None else self._of_stages(priced, plan)

        return _looked_up(keyed, (*fields, "zero"), figures)

    def _micro(self, plan: Plan) -> PricedGraph | None:
        kept = Gradients(self.bytes[1], bool(plan.zero), self.prepared.how.fused("accumulate"))
        try:
            groups = communicators_of(self.prepared.network, plan, self.runtime.collectives)
            return price_micro_batch(self.work, plan, self.how(plan), self.model, groups, kept)
        except InputError:
            return None

    def _of_stages(self, priced: PricedGraph, plan: Plan) -> Sequence[float]:
        stages, launches = stage_seconds(priced, plan.pp, plan.stages), launch_seconds(priced, plan, self.runtime)
        busy = [max(pair) for pair in zip(stages, launches, strict=True)]
        parts = np.array(parts_of_stages(priced, plan))
        worst, total = parts[:, int(np.argmax(parts.sum(axis=0)))], parts.sum(axis=1)
        send_s = 0.0
        if plan.pp > 1:
            work = self.work
            size = plan.micro_batch * work.seq_len * work.model.hidden * self.prepared.precision.activation_bytes
            group = communicators_of(self.prepared.network, plan, self.runtime.collectives)["pp"]
            send_s = collective_seconds(OpKind.SEND_RECV, size / (plan.tp * plan.cp), group, self.model)
        return [
            sum(stages), max(stages), *worst.tolist(), *total.tolist(), sum(busy), max(busy), max(launches),
            priced.total_s, priced.total_j, send_s,
        ]  # fmt: skip

    def _exchanges(self, plan: Plan) -> Sequence[float]:
        """All-reduce and reduce-scatter of gradients, gather of weights [s]; updates with states whole and cut, seconds
        and joules."""
        trained = trained_parameters(self.work, plan)
        weights, gradients, states = self.bytes
        try:
            groups = communicators_of(self.prepared.network, plan, self.runtime.collectives)
        except InputError:
            return [np.nan] * 7
        replicas = Replicas(trained, weights, gradients, groups, self.model)
        tensors = self._tensors(plan)
        updates = []
        for shards in (1, shards_of(self.work, msgspec.structs.replace(plan, zero=1), self.runtime).states):
            cut = {size / shards: number for size, number in tensors.items()}
            graph = lower_update(sum(trained) / shards, gradients, states, weights, cut)
            priced = price_graph(graph, self.model, groups)
            updates += [priced.total_s, priced.total_j]
        return [
            replicas.collective_s(OpKind.ALL_REDUCE, gradients),
            replicas.collective_s(OpKind.REDUCE_SCATTER, gradients),
            replicas.collective_s(OpKind.ALL_GATHER, weights), *updates,
        ]  # fmt: skip

    def _tensors(self, plan: Plan) -> dict[float, float]:
        """Gradients of one device by size: those of any micro-batch that is cut so."""
        small = msgspec.structs.replace(plan, micro_batch=1, recompute="none", sequence=False, cp=1)
        priced = self._micro(msgspec.structs.replace(small, zero=0))
        return {} if priced is None else gradient_tensors(priced.graph, self.work.model.tied, self.bytes[1])


def _looked_up(plans: Plans, fields: Sequence[str], figures: Callable[[Plan], Sequence[float]]) -> Floats:
    """Figures of each plan, [n, k], computed once for each combination of ``fields``."""
    key = np.zeros(len(plans.tp), np.int64)
    for name in fields:
        column = getattr(plans, name)
        base = int(column.max()) + 2
        key = key * base + column + 1
    _, first, place = np.unique(key, return_index=True, return_inverse=True)
    rows = [figures(plan_of(plans, int(row))) for row in first]
    found: Floats = np.array(rows, np.float64)[place]
    return found


def columns_of(plans: Plans) -> dict[str, Any]:
    """Plans as columns that people read: names of recomputation and schedules."""
    said = ("recompute", "sequence", "schedule")
    return {
        **{name: column for name, column in plans._asdict().items() if name not in said},
        "recompute": np.array(RECOMPUTE)[plans.recompute], "sequence": plans.sequence > 0,
        "schedule": np.array(names())[plans.schedule],
    }  # fmt: skip
