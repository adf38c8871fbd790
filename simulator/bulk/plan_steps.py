"""The step time, memory and energy of many training plans at once: what ``simulate`` says of each, to rounding.

Most of what plans cost they share. A micro-batch is priced once for each way to cut it, an update and the exchanges of
replicas once for each layout; plans look their parts up and put them together, thousands at a time, by the formulas of
``steps.train_step`` and ``steps.training_result``. What does not fit the memory is not priced at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError
from simulator import memory
from simulator.bulk.lookup import looked_up
from simulator.bulk.plans import OVERLAP, Plans, plan_of
from simulator.network.communicator import Communicator
from simulator.network.contention import EXCHANGES, KINDS, STREAM, sends_of
from simulator.prepared import Prepared, communicators_of
from simulator.scenario import Plan, TrainStep
from simulator.schedules.closed import unequal_total_s
from simulator.schedules.registry import code_of, names, schedule_of, schedules
from simulator.steps.offload import (
    LAYERS,
    Costs,
    Offloading,
    Offloads,
    Sizes,
    Store,
    check_optimizer,
    costs_of,
    kept_activations,
    kept_gradients,
    offloads_of,
    store_of,
)
from simulator.steps.overlap import beside_products, overlapped
from simulator.steps.pipeline import stage_seconds
from simulator.steps.pricing import PricedGraph, busy_seconds
from simulator.steps.ranks import ends_apart, fullest_ranks, in_flight
from simulator.steps.replicas import (
    Exchanges,
    Replicas,
    Shards,
    Traffic,
    Window,
    exchanged_beside,
    frozen_weights,
    held_weights,
    keeps_masters,
    moved_weight_bytes,
    on_device,
    paces_of,
    shards_of,
    shown_s,
    state_bytes,
    trained_of,
    trained_parameters,
    zero_stage,
)
from simulator.steps.tied import tied_seconds
from simulator.steps.train_step import (
    FLOW_SHOPS,
    launch_seconds,
    parts_of_stages,
    price_micro_batch,
    price_update,
    recomputed,
    send_seconds,
    sent_bytes,
)
from simulator.steps.training_result import loss_bytes
from workloads.lowering.training import Gradients
from workloads.optimizers import MASTER_BYTES

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SHOWN: Final = OVERLAP.index("none")
HIDDEN: Final = OVERLAP.index("tensor")
CHUNK: Final = 16_384
"""Plans that are put together at a time: their figures stay in the cache of a core."""


class PlanCosts(NamedTuple):
    """Of each plan, shape [n]: bytes on the fullest device and whether they fit; seconds and joules of all devices of
    those that do, nan of others."""

    memory_bytes: Floats
    fits: npt.NDArray[np.bool_]
    step_s: Floats
    device_j: Floats


def price_plans(prepared: Prepared, work: TrainStep, plans: Plans, room: float = 1.0) -> PlanCosts:
    """Price plans on the devices of ``prepared``, whose own plan says what no column does.

    Args:
        room: share of the usable memory that plans may need, to see what those would do that miss it.

    Plans that the network or the host cannot carry, whose schedule cannot be or that the runtime cannot run do not fit.
    """
    count = len(plans.tp)
    found = PlanCosts(*(np.full(count, np.nan) for _ in range(2)), *(np.full(count, np.nan) for _ in range(2)))
    fits = np.zeros(count, np.bool_)
    maker = _Maker(prepared, work)
    if not count:
        return found._replace(fits=fits)
    for where, rows in _by_offload(prepared.pool.plan, plans):
        some = plans.take(rows)
        held = maker.memory(some, where)
        found.memory_bytes[rows] = held
        inside = np.flatnonzero(held <= room * prepared.usable_bytes)
        if not len(inside):
            continue
        step_s, device_j = maker.times(some.take(inside), where)
        found.step_s[rows[inside]], found.device_j[rows[inside]] = step_s, device_j
        fits[rows[inside]] = np.isfinite(step_s)
    return found._replace(fits=fits)


def _by_offload(base: Plan, plans: Plans) -> Iterator[tuple[Offloads, Ints]]:
    """What is off the devices, and the rows of the plans that have it so."""
    order = np.argsort(plans.offload, kind="stable")
    ends = np.flatnonzero(np.diff(plans.offload[order], append=-1)) + 1
    for start, stop in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        rows = order[start:stop]
        yield offloads_of(plan_of(base, plans, int(rows[0]))), rows


class _Cost(NamedTuple):
    """Columns of the figures of a micro-batch on the stages of a plan."""

    summed: int = 0
    slowest: int = 1
    worst: slice = slice(2, 5)
    total: slice = slice(5, 8)
    busy_sum: int = 8
    busy_max: int = 9
    launch: int = 10
    whole_s: int = 11
    whole_j: int = 12
    send_s: int = 13
    traffic: int = 14


COLUMN: Final = _Cost()
WIDTH: Final = 15


class _Maker:
    """Looks up, and prices what is not there yet."""

    def __init__(self, prepared: Prepared, work: TrainStep) -> None:
        self.prepared, self.work, self.base = prepared, work, prepared.pool.plan
        self.runtime, self.model = prepared.pool.runtime, prepared.model
        self.states = state_bytes(work, prepared.precision.attention, self.runtime)
        self.flash = prepared.how.fused("flash")
        self.micro: dict[tuple[object, ...], PricedGraph | None] = {}
        self.known: dict[tuple[int, ...], dict[str, Communicator]] = {}
        self.kept: dict[str, dict[tuple[int, ...], Sequence[float]]] = {}
        self.moved: dict[tuple[object, ...], Floats] = {}
        # Rows that figures point to; the first ones of what cannot be.
        self.traffic: list[Floats] = [np.zeros(EXCHANGES)]
        self.streams: list[Floats] = [np.zeros((len(Exchanges._fields), STREAM))]

    def look(self, plans: Plans, fields: Sequence[str], figures: Callable[[Plan], Sequence[float]]) -> Floats:
        """Figures of each plan, [n, k], computed once for each combination of ``fields``, also in later calls."""
        columns = [getattr(plans, name) for name in fields]
        known = self.kept.setdefault(figures.__qualname__, {})

        def of(row: int) -> Sequence[float]:
            key = tuple(int(column[row]) for column in columns)
            if key not in known:
                known[key] = figures(plan_of(self.base, plans, row))
            return known[key]

        return looked_up(columns, of)

    def count(self, plan: Plan) -> int:
        """Micro-batches of a replica."""
        return self.work.global_batch // (plan.dp * plan.micro_batch)

    def groups(self, plan: Plan) -> dict[str, Communicator]:
        """Communicators of a plan.

        Raises:
            InputError: the network cannot carry it.
        """
        ways = (plan.tp, plan.pp, plan.dp, plan.cp, plan.ep)
        if ways not in self.known:
            self.known[ways] = communicators_of(self.prepared.network, plan, self.runtime.collectives)
        return self.known[ways]

    def memory(self, plans: Plans, where: Offloads) -> Floats:
        """Bytes on the fullest device, [n]: as ``training_result.memory_use``, rank by rank."""
        layers = self.look(plans, ("tp", "ep", "cp", "sequence", "micro_batch", "recompute"), self._layers)
        (ranks,) = self.look(plans, ("pp", "schedule"), self._ranks).T
        found = np.empty(len(plans.tp))
        for start in range(0, len(found), CHUNK):
            rows = slice(start, start + CHUNK)
            found[rows] = self._rank_memory(plans.take(rows), layers[rows], 0, where)
        for index in range(1, int(ranks.max()) if len(ranks) else 0):
            more = np.flatnonzero(ranks > index)
            for start in range(0, len(more), CHUNK):
                some = more[start : start + CHUNK]
                found[some] = np.maximum(found[some], self._rank_memory(plans.take(some), layers[some], index, where))
        return found

    def _ranks(self, plan: Plan) -> Sequence[float]:
        return (len(fullest_ranks(self.work.model, plan)),)

    def _layers(self, plan: Plan) -> Sequence[float]:
        """Bytes of a micro-batch in one layer of each group: kept, and held while it is computed again; logits."""
        arch, sizes = self.work.model, (plan.micro_batch, self.work.seq_len)
        again, cut = recomputed(plan, self.runtime), plan.sharding
        width = self.prepared.precision.activation_bytes
        found = [memory.layer_training_bytes(arch, g, *sizes, again, self.flash, cut, width) for g in arch.groups]
        logits = memory.training_logit_bytes(arch, *sizes, cut, loss_bytes(self.runtime, plan.tp))
        return [*(each.kept for each in found), *(each.again for each in found), logits]

    def _rank_memory(self, plans: Plans, layers: Floats, index: int, where: Offloads) -> Floats:
        """Bytes on a device of one of the ``fullest_ranks`` of each plan, [n]; ``layers`` as ``memory`` finds them."""
        state, sizes = self.states, self._sizes(plans, layers, index)
        shards = self._shards(plans)
        of_weights, of_gradients, _ = shards
        trained, held = sizes.trained, sizes.held
        own, states = on_device(held, *of_weights), np.full(len(plans.tp), state.states)
        cut = of_weights[0] > 1.0
        some = LAYERS / sizes.layers if where.weights else np.where(plans.pp > 1, 1.0, LAYERS / sizes.layers)
        gathered = some * sum(held) * (np.where(cut, 1.0, 0.0) if not where.weights else 1.0)
        masters = self._masters(of_weights[0])
        own = np.where(masters, MASTER_BYTES * on_device(trained, *of_weights), own)
        states -= np.where(masters, MASTER_BYTES, 0.0)
        found: Floats = (
            (0.0 if where.weights else own) + gathered + (sum(trained) * state.weights if self.work.lora_rank else 0.0)
            + kept_activations(where, sizes.activations, sizes.in_flight, sizes.layers) + sizes.beside
            + kept_gradients(where, on_device(trained, *of_gradients) * state.gradients, sizes.layers)
            + (0.0 if where.optimizer else on_device(trained, *shards[2]) * states) + self.runtime.context.value
        )  # fmt: skip
        return found

    def _masters(self, ways: Floats) -> npt.NDArray[np.bool_]:
        """As ``keeps_masters``, of weights that are cut so many ways."""
        return np.array([keeps_masters(self.work, self.runtime, self.states, Shards(2, 1, 1))]) & (ways > 1.0)

    def _sizes(self, plans: Plans, layers: Floats, index: int) -> _Rank:
        """What a device of one of the ``fullest_ranks`` holds."""
        groups = len(self.work.model.groups)

        def held(plan: Plan) -> Sequence[float]:
            rank = fullest_ranks(self.work.model, plan)[index]
            whole = memory.held_of(self.work.model, plan.sharding, rank.layers, rank.embeds, rank.heads)
            weights = held_weights(whole, self.prepared.precision)
            trained = trained_of(self.work, plan, rank)
            return [*weights, *trained, rank.heads, sum(rank.layers), *rank.kept]

        def flying(plan: Plan) -> Sequence[float]:
            rank = fullest_ranks(self.work.model, plan)[index]
            return (in_flight(plan, self.count(plan), rank.number),)

        held.__qualname__, flying.__qualname__ = f"held {index}", f"flying {index}"
        rows = self.look(plans, ("tp", "ep", "pp", "schedule"), held)
        (times,) = self.look(plans, ("pp", "vpp", "schedule", "dp", "micro_batch"), flying).T
        here = rows[:, 6:]
        kept, again, logits = layers[:, :groups], layers[:, groups : 2 * groups], layers[:, -1]
        beside = np.maximum(np.where(here > 0.0, again, 0.0).max(axis=1), logits * rows[:, 4])
        return _Rank(
            (rows[:, 0], rows[:, 1]), (rows[:, 2], rows[:, 3]), rows[:, 5], (kept * here).sum(axis=1), beside, times
        )

    def _shards(self, plans: Plans) -> tuple[tuple[Floats, Floats], ...]:
        """Ways to which weights, gradients and states of a device are cut: of what replicas share, of experts."""

        def ways(plan: Plan) -> Sequence[float]:
            return [
                *shards_of(self.work, plan, self.runtime), *shards_of(self.work, plan, self.runtime, experts=True)
            ]  # fmt: skip

        found = self.look(plans, ("tp", "dp", "cp", "ep", "zero"), ways)
        return tuple((found[:, k], found[:, k + 3]) for k in range(3))

    def times(self, plans: Plans, where: Offloads) -> tuple[Floats, Floats]:
        """Seconds of a step and joules of all devices, [n]."""
        try:
            check_optimizer(where, self.work.optimizer)
            store = store_of(self.prepared.network, where)
        except InputError:
            return np.full(len(plans.tp), np.nan), np.full(len(plans.tp), np.nan)
        (zero,) = self.look(plans, ("dp", "cp", "zero"), self._zero).T
        beside = self.look(plans._replace(zero=zero.astype(np.int64)), ("overlap", "zero"), self._beside)
        count = self.work.global_batch // (plans.micro_batch * plans.dp)
        # What price_micro_batch depends on beside the cut: whether gradients are added, and tensor exchanges hidden.
        added = ((count > 1) & (zero < 3.0)).astype(np.int64)
        keyed = plans._replace(zero=added, overlap=np.where(beside[:, 2] > 0.0, HIDDEN, SHOWN))
        fields = ("tp", "ep", "cp", "sequence", "micro_batch", "recompute", "pp", "dp", "zero", "overlap")
        stages = self.look(keyed, fields, self._stages)
        layout, held = ("tp", "ep", "cp", "pp", "dp", "zero", "schedule"), self._held_by(plans)
        third = plans._replace(zero=(zero == 3.0).astype(np.int64), schedule=held)
        exchanges = self.look(third, layout, self._exchanges)
        update = self.look(plans._replace(zero=(zero > 0.0).astype(np.int64), schedule=held), layout, self._update)
        apart = self.look(plans, ("pp", "schedule"), self._apart)[:, 0] * exchanges[:, 1]
        streams, traffic = np.stack(self.streams), np.stack(self.traffic)
        layers = self.look(plans, ("tp", "ep", "cp", "sequence", "micro_batch", "recompute"), self._layers)
        step_s, device_j = np.empty(len(zero)), np.empty(len(zero))
        for start in range(0, len(zero), CHUNK):
            rows = slice(start, start + CHUNK)
            places = np.nan_to_num(stages[rows, COLUMN.traffic]).astype(np.int64)
            some = _Figures(
                plans.take(rows), zero[rows], beside[rows], stages[rows],
                Exchanges(*streams[exchanges[rows, 0].astype(np.int64)].swapaxes(0, 1)), Traffic(traffic, places),
                update[rows], apart[rows],
            )  # fmt: skip
            step_s[rows], device_j[rows] = self._together(some, layers[rows], where, store)
        return step_s, device_j

    def _held_by(self, plans: Plans) -> Ints:
        """Schedules by what their ranks hold: those whose ranks are stages in turn as one."""
        plain = code_of("1f1b")
        codes = [
            code if each.copies > 1 or each.chunks > 1 else plain for code, each in enumerate(schedules().values())
        ]
        return np.where(plans.pp > 1, np.array(codes, np.int64)[plans.schedule], plain)

    def _zero(self, plan: Plan) -> Sequence[float]:
        return (zero_stage(self.work, plan, self.runtime),)

    def _apart(self, plan: Plan) -> Sequence[float]:
        return (ends_apart(plan),)

    def _beside(self, plan: Plan) -> Sequence[float]:
        """Whether gradients, gathered weights, tensor exchanges and sends move beside the math."""
        try:
            found = overlapped(plan, self.runtime, plan.zero)
        except InputError:
            return [np.nan] * 4
        return [word in found for word in ("gradients", "weights", "tensor", "pipeline")]

    def _together(self, f: _Figures, layers: Floats, where: Offloads, store: Store) -> tuple[Floats, Floats]:
        """A step of some plans out of its parts."""
        plans, c, stages = f.plans, COLUMN, f.stages
        m = (self.work.global_batch // (plans.micro_batch * plans.dp)).astype(np.float64)
        p, v = plans.pp.astype(np.float64), plans.vpp.astype(np.float64)
        slowest = stages[:, c.slowest]
        through = self._through(plans, stages, m, p, v)
        send_s, hidden = stages[:, c.send_s], f.beside[:, 3] > 0.0
        shown = np.where(hidden, np.maximum(send_s - slowest / (2.0 * v), 0.0), send_s)
        send = np.where(plans.pp > 1, 2.0 * (send_s * (v + p - 2.0) + shown * v * (m - 1.0)), 0.0)
        bubble = through - m * stages[:, c.whole_s] / p
        host = self._host_s(stages, m, v)
        reduce = self._exposed_s(f, through, m) + f.apart
        static_w, offload, refused = float(self.model.record["static_w"]), 0.0, f.beside[:, 0] * 0.0
        update_s, update_j = f.update[:, 0], f.update[:, 1]
        if any(where):
            costs = costs_of(self._moved(plans, layers, where, store), slowest)
            offload = costs.micro_s * (m + (p - 1.0) / v) + costs.end_s
            refused = refused + np.where(self._refused(costs, store), np.nan, 0.0)
            if where.optimizer:
                update_s, update_j = 0.0 * update_s, 0.0 * update_j
        step: Floats = through + send + reduce + update_s + host + offload + refused
        busy_j = m * stages[:, c.whole_j] / p + update_j
        devices = float(self.prepared.pool.count)
        return step, (busy_j + static_w * (bubble + send + reduce + host + offload)) * devices

    def _moved(self, plans: Plans, layers: Floats, where: Offloads, store: Store) -> Offloading:
        rank, state = self._sizes(plans, layers, 0), self.states
        of_weights, _, of_states = self._shards(plans)
        updated, masters = on_device(rank.trained, *of_states), self._masters(of_weights[0])
        own = np.where(masters, MASTER_BYTES * on_device(rank.trained, *of_weights), on_device(rank.held, *of_weights))
        weights = np.where(masters, MASTER_BYTES, state.weights)
        states = state.states - np.where(masters, MASTER_BYTES, 0.0)
        return Offloading(where, store, Sizes(
            sum(rank.held), own, rank.activations, rank.in_flight, updated * state.gradients, updated * states,
            updated * weights, rank.layers,
        ))  # fmt: skip

    def _refused(self, costs: Costs, store: Store) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = (costs.memory_bytes > store.memory_bytes) | (
            costs.storage_bytes > store.storage_bytes
        )
        return found

    def _through(self, plans: Plans, stages: Floats, m: Floats, p: Floats, v: Floats) -> Floats:
        c = COLUMN
        summed, slowest = stages[:, c.summed], stages[:, c.slowest]
        through: Floats = (summed - slowest) / v + m * slowest
        other = ~np.isin(plans.schedule, [code for code, name in enumerate(names()) if name in FLOW_SHOPS])
        other &= plans.pp > 1
        if other.any():
            own = np.array([schedule_of(name).chunks for name in names()], np.float64)[plans.schedule[other]]
            through[other] = unequal_total_s(
                plans.schedule[other], p[other], m[other], np.where(own > 0.0, own, v[other]),
                stages[other, c.worst].T, stages[other, c.total].T,
            )  # fmt: skip
        return through

    def _host_s(self, stages: Floats, m: Floats, v: Floats) -> Floats:
        own_s, c = self.runtime.host_step.value, COLUMN
        summed, slowest, busy_sum, busy_max, launch = (
            stages[:, k] for k in (c.summed, c.slowest, c.busy_sum, c.busy_max, c.launch)
        )
        pace = busy_max if self.runtime.graph_mode else np.maximum(busy_max, launch + own_s)
        filled = (busy_sum - busy_max) / v + busy_max
        found: Floats = own_s + filled + (m - 1.0) * pace - (summed - slowest) / v - m * slowest
        return found

    def _exposed_s(self, f: _Figures, through: Floats, m: Floats) -> Floats:
        """As ``Replicas.exposed_s``."""
        vpp, slowest = f.plans.vpp, f.stages[:, COLUMN.slowest]
        behind = np.where(f.beside[:, 3] > 0.0, slowest / (2.0 * vpp), 0.0)
        window = Window(m, through, slowest, slowest / f.stages[:, COLUMN.summed], f.plans.pp, vpp, behind)
        return shown_s(f.exchanges, f.beside[:, :2].T > 0.0, f.zero, window, self.work.model.layers, f.traffic)

    def _stages(self, plan: Plan) -> Sequence[float]:
        """A micro-batch on the stages of a plan, [WIDTH] (see ``COLUMN``); ``overlap`` says whether tensor exchanges
        are hidden."""
        own = (plan.tp, plan.ep, plan.cp, plan.sequence, plan.micro_batch, plan.recompute, plan.zero, plan.overlap)
        if own not in self.micro:
            priced = self._micro(plan)
            hidden = priced is not None and plan.overlap != "none"
            self.micro[own] = beside_products(priced, plan.tp) if hidden and priced else priced
        priced = self.micro[own]
        return [np.nan] * WIDTH if priced is None else self._of_stages(priced, plan)

    def _micro(self, plan: Plan) -> PricedGraph | None:
        """A micro-batch of a plan whose ``zero`` says whether gradients are added, nothing hidden."""
        own = (plan.tp, plan.ep, plan.cp, plan.sequence, plan.micro_batch, plan.recompute, plan.zero)
        if own not in self.micro:
            kept = Gradients(self.states.gradients, bool(plan.zero), self.prepared.how.fused("accumulate"))
            how = replace(self.prepared.how, sharding=msgspec.structs.replace(plan, pp=1, stages=()).sharding)
            try:
                priced = price_micro_batch(self.work, plan, how, self.model, self.groups(plan), kept)
            except InputError:
                priced = None
            self.micro[own] = priced
        return self.micro[own]

    def _of_stages(self, priced: PricedGraph, plan: Plan) -> Sequence[float]:
        stages, launches = stage_seconds(priced, plan.pp, plan.stages), launch_seconds(priced, plan, self.runtime)
        busy = busy_seconds(stages, launches)
        parts = np.array(parts_of_stages(priced, plan))
        worst, total = parts[:, int(np.argmax(parts.sum(axis=0)))], parts.sum(axis=1)
        sent = plan.pp > 1
        send_s = send_seconds(self.work, plan, self.prepared.how, self.model, self.groups(plan)) if sent else 0.0
        self.traffic.append(self._exchanged(priced, plan))
        return [
            sum(stages), max(stages), *worst.tolist(), *total.tolist(), sum(busy), max(busy), max(launches),
            priced.total_s, priced.total_j, send_s, len(self.traffic) - 1,
        ]  # fmt: skip

    def _exchanged(self, priced: PricedGraph, plan: Plan) -> Floats:
        """What a micro-batch exchanges, sends to the next stage included."""
        own = (plan.tp, plan.ep, plan.cp, plan.sequence, plan.micro_batch, plan.recompute, plan.zero, plan.overlap)
        groups = self.groups(plan)
        if own not in self.moved:
            self.moved[own] = exchanged_beside(priced, groups, self.model)
        found = self.moved[own].copy()
        if plan.pp > 1:
            size = sent_bytes(self.work, plan, self.prepared.how)
            found[KINDS.index("pp")] = sends_of(size, groups["pp"], *paces_of(self.model))
        return found

    def _exchanges(self, plan: Plan) -> Sequence[float]:
        """Collectives of all parameters of a plan whose ``zero`` says whether it is of stage 3, as a place in
        ``streams``; reduction of a tied embedding [s]."""
        trained = trained_parameters(self.work, plan)
        try:
            groups = self.groups(plan)
        except InputError:
            return [0.0, np.nan]
        weights = moved_weight_bytes(self.work, 3 * plan.zero, self.prepared.precision, self.states.weights)
        frozen = frozen_weights(self.work, plan, self.prepared.precision)
        replicas = Replicas(trained, weights, self.states.gradients, groups, self.model, frozen)
        self.streams.append(np.stack(replicas.exchanges()))
        once = msgspec.structs.replace(plan, schedule="")
        tied_s = tied_seconds(self.work, once, self.states.gradients, groups, self.model)
        return [len(self.streams) - 1, tied_s]

    def _update(self, plan: Plan) -> Sequence[float]:
        """The optimizer update of a plan whose ``zero`` says whether states are cut: seconds and joules."""
        small = msgspec.structs.replace(
            plan, micro_batch=1, recompute="none", sequence=False, cp=1, zero=0, overlap="none"
        )
        priced = self._micro(small)
        if priced is None:
            return [np.nan, np.nan]
        cut = msgspec.structs.replace(plan, zero=3 * int(plan.zero > 0), offload="")
        trained = trained_parameters(self.work, plan)
        found = price_update(self.work, cut, self.prepared.how, priced.graph, trained, self.states, self.model, {})
        return [found.total_s, found.total_j]


class _Rank(NamedTuple):
    """Bytes and parameters on a rank: weights and trained parameters, of what replicas share and of experts; layers;
    what a micro-batch leaves, what is held beside it, and how many are in flight."""

    held: tuple[Floats, Floats]
    trained: tuple[Floats, Floats]
    layers: Floats
    activations: Floats
    beside: Floats
    in_flight: Floats


class _Figures(NamedTuple):
    """Parts of the steps of some plans."""

    plans: Plans
    zero: Floats
    beside: Floats
    stages: Floats
    exchanges: Exchanges
    traffic: Traffic
    update: Floats
    apart: Floats
