"""A static batch on the pools of a scenario as an additive problem: what every part of a layer takes, needs and sends.

Seconds and joules are those of the device laws, all steps of a phase added up (the chunks of the prefill, decode at
growing context); transfers are those of the engine with nothing else on the links. A pool that must not see what a part
sees, by the scenario's privacy, must not run it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from hardware_specs.errors import InputError, UnknownName
from simulator.assemble import host_w
from simulator.compatibility import missing, words_of
from simulator.devices.priors import idle_w
from simulator.placement.graphs import TOKEN_ID_BYTES, input_bytes
from simulator.placement.memory import CACHE_READERS, cache_bytes, homes_of, pool_memory
from simulator.placement.rules import Placer
from simulator.placement.units import Unit, transfer_flow
from simulator.planning.additive import Aim, Edge, Floats, Group, Loop, Problem, Shared, plain_aim
from simulator.prepared import Prepared
from simulator.scenario import Privacy, StaticBatch
from simulator.steps.prefill import PrefillStep
from simulator.steps.pricing import PricedGraph, price_graph
from simulator.steps.static_batch import decode_contexts, host_seconds, prompt_phase, replica_prefill
from workloads.graph import Block, Graph
from workloads.lowering.inference import Phase, lower_step
from workloads.lowering.plan import Sharding
from workloads.operators import COLLECTIVES

MIXER: Final = "attention"
"""Attention or a state space scan, with its projections."""
FFN: Final = "ffn"
EXPERTS: Final = "experts"
EXPERT_OPERATOR: Final = "moe.experts"
Reader = Callable[[Graph, Block], int]
"""Finds the operator whose input crosses, in a graph and a block of it."""
OBJECTIVES: Final = ("latency", "throughput", "energy", "usd")


@dataclass(frozen=True)
class _Step:
    """A step of a phase, run ``times`` times: sequences, new tokens of each, context."""

    batch: float
    q_len: int
    kv_len: int
    times: float


@dataclass(frozen=True)
class _Seen:
    """The graph of a step on a pool: priced as it is cut there, and whole."""

    step: _Step
    priced: PricedGraph
    whole: Graph


def part_of(graph: Graph, block: Block, i: int) -> str:
    """The part of a layer to which operator ``i`` belongs; a collective goes with the operator before it."""
    at = i
    while graph.operators[at].kind in COLLECTIVES and at > block.start:
        at -= 1
    name = graph.operators[at].name
    if name.startswith(("attention.", "ssm.")):
        return MIXER
    return EXPERTS if name == EXPERT_OPERATOR else FFN


def send_seconds(size_bytes: float, source: Unit, target: Unit) -> float:
    """``size_bytes`` in all from one pool to another with nothing else on the links [s]."""
    if size_bytes <= 0.0:
        return 0.0
    flow, rates = transfer_flow(size_bytes, source, target), {**source.ports(), **target.ports()}
    return flow.startup_s + max(flow.size_bytes * multiple / rates[link] for link, multiple in flow.crossings)


def chunkings(work: StaticBatch, prepared: Sequence[Prepared]) -> dict[tuple[PrefillStep, ...], list[int]]:
    """How the prefill may be cut into steps: as the runtime of the pool that has the embedding does; pools by it."""
    found: dict[tuple[PrefillStep, ...], list[int]] = {}
    for index, each in enumerate(prepared):
        found.setdefault(tuple(replica_prefill(work, work.batch, each.pool.runtime)), []).append(index)
    return found


def problem_of(
    work: StaticBatch, prepared: Sequence[Prepared], privacy: Privacy, apart: bool = False,
    chunks: tuple[PrefillStep, ...] | None = None, flying: int = 1,
) -> Problem:  # fmt: skip
    """The problem of placing ``work``.

    Args:
        apart: attention, FFN and experts of a layer may part: pools are priced with the fusions that all have.
        chunks: steps of the prefill, whose embedding lies on a pool that cuts it so. Default: those of the first pool.
        flying: batches on their way at once, whose caches all have their place.
    """
    if apart:
        fusions = frozenset.intersection(*(each.how.fusions for each in prepared))
        prepared = [replace(each, how=replace(each.how, fusions=fusions)) for each in prepared]
    return _Writer(work, list(prepared), privacy, apart, chunks, flying).problem()


class _Writer:
    def __init__(
        self, work: StaticBatch, prepared: list[Prepared], privacy: Privacy, apart: bool,
        chunks: tuple[PrefillStep, ...] | None, flying: int,
    ) -> None:  # fmt: skip
        self.held_batch = work.batch * flying
        self.work, self.prepared, self.privacy, self.apart = work, prepared, privacy, apart
        ways = chunkings(work, prepared)
        self.chunks = chunks or next(iter(ways))
        self.starters = ways[self.chunks]
        self.units = [Unit(each) for each in prepared]
        self.phases: list[Phase] = [prompt_phase(work.model)]
        if work.osl > 1 and not work.model.is_encoder:
            self.phases.append("decode")
        self.seen = [[self._seen(each, phase) for each in prepared] for phase in self.phases]

    def _steps(self, phase: Phase) -> list[_Step]:
        if phase == "decode":
            contexts, weights = decode_contexts(self.work.isl, self.work.osl)
            return [_Step(self.work.batch, 1, c, w) for c, w in zip(contexts, weights, strict=True)]
        return [_Step(c.batch, int(c.q_len), int(c.kv_len), c.repeats) for c in self.chunks]

    def _seen(self, each: Prepared, phase: Phase) -> list[_Seen]:
        found = []
        for step in self._steps(phase):
            sizes = (self.work.model, phase, step.batch, step.q_len, step.kv_len)
            priced = price_graph(lower_step(*sizes, each.how), each.model, each.communicators)
            found.append(_Seen(step, priced, lower_step(*sizes, replace(each.how, sharding=Sharding()))))
        return found

    def problem(self) -> Problem:
        blocks = [b for b in self.seen[0][0][0].priced.graph.blocks if b.label != "pipeline"]
        groups = []
        first = 0
        for index, block in enumerate(blocks):
            groups.append(self._group(block, index, first))
            first += block.repeat if block.label.startswith("layers") else 0
        shared, groups = self._tied(groups)
        return Problem(
            tuple(each.pool.name for each in self.prepared), tuple(self.phases), tuple(groups),
            np.array([self._room(each) for each in self.prepared]), self._loops(len(groups) - 1), shared,
        )  # fmt: skip

    def _group(self, block: Block, index: int, first: int) -> Group:
        layer = block.label.startswith("layers")
        parts = self._parts(block) if layer and self.apart else (block.label,)
        shape = (len(self.phases), len(parts), len(self.prepared))
        seconds, joules = np.zeros(shape), np.zeros(shape)
        for phase in range(len(self.phases)):
            for pool, seen in enumerate(self.seen[phase]):
                for one in seen:
                    self._add(block.label, parts, one, seconds[phase, :, pool], joules[phase, :, pool])
                joules[phase, :, pool] *= self.units[pool].devices
        seconds[:, :, [pool for pool in range(shape[2]) if not self._may(pool)]] = np.inf
        if layer:
            barred = [pool for pool, each in enumerate(self.prepared) if not self._sees(each, "kv")]
            if parts[0] in (MIXER, block.label):
                seconds[:, 0, barred] = np.inf
        self._bar(parts, layer, seconds)
        if index == 0:
            others = [pool for pool in range(shape[2]) if pool not in self.starters]
            seconds[0, :, others] = np.inf
        held = np.array([[self._held(pool, block.label, part, first) for pool in range(shape[2])] for part in parts])
        return Group(
            block.label, block.repeat, parts, seconds, joules, self._waits() if index == 0 else np.zeros(shape[::2]),
            held, self._enters(block.label, index), self._inner(block, parts), parts.index(FFN) if FFN in parts else 0,
        )  # fmt: skip

    def _bar(self, parts: tuple[str, ...], layer: bool, seconds: Floats) -> None:
        """Make parts infinite on pools whose device or runtime has no kernels for them."""
        for pool, each in enumerate(self.prepared):
            for cell in missing(each.pool, words_of(self.work)):
                if cell.operator == "gemm":
                    seconds[:, :, pool] = np.inf
                elif layer:
                    word, _, phase = cell.operator.partition("_")
                    part = MIXER if word in ("attention", "softmax", "ssm") else EXPERTS if word == "moe" else FFN
                    rows = [p for p, name in enumerate(self.phases) if phase != "decode" or name == "decode"]
                    rows = [p for p in rows if phase != "prefill" or self.phases[p] != "decode"]
                    at = parts.index(part) if part in parts else 0
                    seconds[rows, at, pool] = np.inf

    def _parts(self, block: Block) -> tuple[str, ...]:
        graph = self.seen[0][0][0].whole
        block = _block(graph, block.label)
        there = {part_of(graph, block, i) for i in range(block.start, block.stop)}
        return tuple(part for part in (MIXER, FFN, EXPERTS) if part in there)

    def _add(self, label: str, parts: tuple[str, ...], one: _Seen, seconds: Floats, joules: Floats) -> None:
        graph = one.priced.graph
        block = _block(graph, label)
        for i in range(block.start, block.stop):
            part = parts.index(part_of(graph, block, i)) if len(parts) > 1 else 0
            seconds[part] += one.priced.time_s[i] * one.step.times
            joules[part] += one.priced.energy_j[i] * one.step.times

    def _may(self, pool: int) -> bool:
        """Whether a pool may see what every part sees: prompts and weights."""
        return all(self._sees(self.prepared[pool], data) for data in ("prompts", "weights"))

    def _sees(self, each: Prepared, data: str) -> bool:
        allowed = self.privacy.allowed(data)
        return allowed is None or each.pool.name in allowed

    def _waits(self) -> Floats:
        return np.array([
            [sum(s.step.times * host_seconds(e.pool.runtime, s.step.batch) for s in seen)
             for e, seen in zip(self.prepared, row, strict=True)]
            for row in self.seen
        ])  # fmt: skip

    def _enters(self, label: str, index: int) -> Floats:
        if index == 0:
            return np.zeros((len(self.phases), len(self.prepared), len(self.prepared)))
        return np.stack([self._sent(phase, label, lambda g, b: b.start) for phase in range(len(self.phases))])

    def _sent(self, phase: int, label: str, reader: Reader) -> Floats:
        """Seconds of bringing what an operator reads to each pool from each other one, all steps of a phase."""
        found = np.zeros((len(self.prepared), len(self.prepared)))
        for target, seen in enumerate(self.seen[phase]):
            for one in seen:
                operator = one.whole.operators[reader(one.whole, _block(one.whole, label))]
                size = input_bytes(operator, self.prepared[target].precision.activation_bytes)
                for source in range(len(self.prepared)):
                    if source != target:
                        once = send_seconds(size, self.units[source], self.units[target])
                        found[source, target] += once * one.step.times
        return found

    def _inner(self, block: Block, parts: tuple[str, ...]) -> tuple[Edge, ...]:
        found = []
        for phase in range(len(self.phases)):
            for source, target in ((MIXER, FFN), (FFN, EXPERTS), (EXPERTS, FFN)):
                if source in parts and target in parts:
                    sent = self._sent(phase, block.label, _first_after(source, target))
                    found.append(Edge((phase, parts.index(source)), (phase, parts.index(target)), sent))
        if len(self.phases) > 1 and block.label.startswith("layers"):
            found.append(Edge((0, 0), (1, 0), self._caches(int(block.label.removeprefix("layers")))))
        return tuple(found)

    def _caches(self, index: int) -> Floats:
        """Seconds of moving the cache of a layer from where the prefill makes it to where decode reads it."""
        found = np.zeros((len(self.prepared), len(self.prepared)))
        group, work = self.work.model.groups[index], self.work
        for source, each in enumerate(self.prepared):
            whole = sum(cache_bytes(group, readers[0], work.isl, each.precision) for readers in CACHE_READERS)
            for target in range(len(self.prepared)):
                for chunk in self.chunks if target != source else ():
                    size = whole * chunk.batch * chunk.q_len / work.isl
                    found[source, target] += chunk.repeats * send_seconds(
                        size, self.units[source], self.units[target]
                    )  # fmt: skip
        return found

    def _bytes(self, pool: int, keys: set[tuple[str, int | None]]) -> float:
        """Memory of one device of a pool that keeps what these operators need [B]."""
        each = self.prepared[pool]
        homes = dict.fromkeys(homes_of(self.work.model, Placer((), each.pool.name), ("prefill",)), frozenset[str]())
        return pool_memory(
            each, self.work, {k: frozenset({each.pool.name}) if k in keys else v for k, v in homes.items()},
            self.held_batch,
        ).total  # fmt: skip

    def _room(self, each: Prepared) -> float:
        return each.usable_bytes - self._bytes(self.prepared.index(each), set())

    def _held(self, pool: int, label: str, part: str, layer: int) -> float:
        keys: set[tuple[str, int | None]] = {("embedding" if label == "embedding" else "head.logits", None)}
        if label.startswith("layers"):
            names = {MIXER: ("attention.out", "ssm.out"), FFN: ("mlp.down",), EXPERTS: (EXPERT_OPERATOR,)}
            mixers = tuple(reader for readers in CACHE_READERS for reader in readers)
            chosen = names[MIXER] + names[FFN] + names[EXPERTS] if part == label else names[part]
            keys = {(name, layer) for name in (*chosen, *(mixers if part in (label, MIXER) else ()))}
        return self._bytes(pool, keys) - self._bytes(pool, set())

    def _tied(self, groups: list[Group]) -> tuple[tuple[Shared, ...], list[Group]]:
        """A head that is the embedding: held once where both are."""
        pools = range(len(self.prepared))
        ends: set[tuple[str, int | None]] = {("embedding", None), ("head.logits", None)}
        both = np.array([self._bytes(pool, ends) - self._bytes(pool, set()) for pool in pools])
        tied = groups[0].held_bytes[0] + groups[-1].held_bytes[0] - both
        if not (tied > 1.0).any():
            return (), groups
        less = [replace(g, held_bytes=g.held_bytes - tied) if g in (groups[0], groups[-1]) else g for g in groups]
        return (Shared((0, len(groups) - 1), tied),), less

    def _loops(self, head: int) -> tuple[Loop, ...]:
        if len(self.phases) == 1:
            return ()
        size, steps = self.work.batch * TOKEN_ID_BYTES, self.work.osl - 1
        once = np.array([
            [send_seconds(size, source, target) if source is not target else 0.0 for target in self.units]
            for source in self.units
        ])  # fmt: skip
        return Loop((head, 0), (0, 1), once), Loop((head, 1), (0, 1), once * (steps - 1))


def _first_after(source: str, target: str) -> Reader:
    """The first operator of part ``target`` that follows one of part ``source``."""

    def found(graph: Graph, block: Block) -> int:
        parts = [part_of(graph, block, i) for i in range(block.start, block.stop)]
        return block.start + next(i for i, pair in enumerate(pairwise(parts), 1) if pair == (source, target))

    return found


def _block(graph: Graph, label: str) -> Block:
    return next(block for block in graph.blocks if block.label == label)


def flying_of(objective: str, pools: int) -> int:
    """Batches on their way at once: one, or for throughput one more than there are pools."""
    return pools + 1 if objective == "throughput" else 1


def aim_of(objective: str, prepared: Sequence[Prepared]) -> Aim:
    """What an objective asks for: seconds of a batch, of the slowest stage, joules of devices, or dollars.

    A pool that works in a phase draws its static power while it waits in it, one that works in another its idle power;
    one that does nothing is not there. Devices that are owned pay electricity of theirs and of their hosts.

    Raises:
        InputError: dollars where a price is not known; another objective.
    """
    if objective not in OBJECTIVES:
        raise UnknownName("objective", objective, OBJECTIVES, f"allowed: {', '.join(OBJECTIVES)}", "--place")
    pools = len(prepared)
    if objective in ("latency", "throughput"):
        return plain_aim(pools, objective, flying_of(objective, pools) if objective == "throughput" else np.inf)
    count = np.array([each.pool.count for each in prepared], np.float64)
    static = np.array([float(each.model.record["static_w"]) for each in prepared]) * count
    idle = np.array([idle_w(each.pool.device) for each in prepared]) * count
    if objective == "energy":
        return Aim(objective, 0.0, -static, np.ones(pools), static - idle, idle)
    for each in prepared:
        if each.pool.usd_per_device_s is None:
            raise InputError(f"--place usd: no price is known for {each.pool.device.id}; give its pool a price")
    price = np.array([each.pool.usd_per_device_s.value if each.pool.usd_per_device_s else 0.0 for each in prepared])
    site, hosts = prepared[0].scenario.site, host_w(prepared)
    paid = np.array([site.pue.value * site.electricity.value * each.pool.owned for each in prepared])
    drawn = idle + np.array([hosts[each.pool.name] for each in prepared])
    return Aim(objective, 0.0, -paid * static, paid, paid * (static - idle), price * count + paid * drawn)
