"""Graphs on pools: every operator goes where the rules put it, block by block and layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from simulator.placement.program import Product, ProgramWriter
from simulator.placement.rules import Placer
from simulator.placement.units import Unit
from simulator.prepared import Prepared
from simulator.steps.pricing import PricedGraph, price_graph
from workloads.graph import Block, Floats, Graph
from workloads.lowering.plan import Lowering, Sharding, stage_of
from workloads.operators import COLLECTIVES, Operator, OpKind

TOKEN_ID_BYTES = 4.0

Inputs = Mapping[tuple[int | None, str], tuple[Product, ...]]
"""Further products that operators wait for, by layer and name."""


@dataclass(frozen=True)
class SharedGraph:
    """One graph as each pool would run it.

    ``priced`` by pool; blocks correspond by label and, where layers are cut between pools, operators by name. ``frame``
    has the operators of all of them: a pool that does not need one (a reduction where tp = 1) passes it over.
    ``whole`` is the graph of each pool uncut, whose operators read what must cross when they run elsewhere than the
    ones before them; without it products have sizes. ``replicas`` of a pool (1 where it is not named) share what
    ``whole`` reads.
    """

    priced: Mapping[str, PricedGraph]
    frame: Graph
    whole: Mapping[str, Graph]
    replicas: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Placed:
    """What writing a graph gives back.

    ``by_layer`` holds the product of every executed operator by (layer, name), ``last`` those of the final one,
    ``ends`` those that no other operator of the graph waits for; ``counts`` how often each operator ran, by pool,
    shape [n] each.
    """

    by_layer: dict[tuple[int | None, str], Product]
    last: tuple[Product, ...]
    ends: tuple[Product, ...]
    counts: dict[str, Floats]


def shared_graph(prepared: Iterable[Prepared], lower: Callable[[Lowering], Graph]) -> SharedGraph:
    """What ``lower`` makes for every pool, priced there."""
    pools = tuple(prepared)
    first = pools[0].how
    cut = Sharding(max(e.how.sharding.tp for e in pools), max(e.how.sharding.ep for e in pools))
    return SharedGraph(
        {e.pool.name: price_graph(lower(e.how), e.model, e.communicators) for e in pools},
        lower(replace(first, sharding=cut)),
        {e.pool.name: lower(replace(e.how, sharding=Sharding())) for e in pools},
    )


def write_graph(
    writer: ProgramWriter, shared: SharedGraph, placer: Placer, phase: str, after: tuple[Product, ...],
    extra: Inputs | None = None,
) -> Placed:  # fmt: skip
    """Write one execution of a graph.

    A collective runs where the operator runs whose results it joins or spreads; sends between pipeline stages are made
    where data changes stage, whatever the graph says of them.

    Args:
        phase: its name for the rules; in training graphs the block says forward or backward.
        after: products that the first operators wait for.
        extra: further products that an operator (by layer and name) waits for, such as the KV cache.
    """
    lookup = {name: _by_block_and_name(priced.graph) for name, priced in shared.priced.items()}
    sizes = {name: _by_block_and_name(graph) for name, graph in shared.whole.items()}
    layers = sum(block.repeat for block in shared.frame.blocks if _is_stack(block))
    made: list[tuple[Product, ...]] = []
    awaited: set[int] = set()
    by_layer: dict[tuple[int | None, str], Product] = {}
    counts = {name: np.zeros(len(priced.graph)) for name, priced in shared.priced.items()}
    for operator, block, layer, pool, waiting in _walk(shared, placer, phase):
        awaited.update(waiting)
        before = tuple(dict.fromkeys(p for w in waiting for p in made[w])) if waiting else after
        here = lookup[pool].get((block.label, operator.name))
        if here is None or operator.kind == OpKind.SEND_RECV:
            made.append(before)
            continue
        unit = _stage(writer.units[pool], layer, layers, block)
        needs = (*before, *(extra or {}).get((layer, operator.name), ()))
        read = None
        if shared.whole:
            same = sizes[pool].get((block.label, operator.name))
            # A collective is in no graph that is not cut.
            reader = operator if same is None else shared.whole[pool].operators[same]
            read = input_bytes(reader, unit.prepared.precision.activation_bytes)
            read *= shared.replicas.get(pool, 1) if same is None else 1
        product = writer.operator(unit, shared.priced[pool], here, needs, read)
        by_layer[layer, operator.name] = product
        counts[pool][here] += 1.0
        made.append((product,))
    ends = tuple(dict.fromkeys(p for step, products in enumerate(made) if step not in awaited for p in products))
    return Placed(by_layer, made[-1] if made else after, ends, counts)


class _Step(NamedTuple):
    """One execution of an operator: its block and layer, its pool, and the steps that it waits for."""

    operator: Operator
    block: Block
    layer: int | None
    pool: str
    waits: tuple[int, ...]


def _walk(shared: SharedGraph, placer: Placer, phase: str) -> Iterator[_Step]:
    """Every execution in order: operators of the frame, or, where no layer is cut, blocks as their pool runs them."""
    frame = shared.frame
    firsts = _first_layers(frame)
    if placer.cuts_layers or not shared.whole:
        blocks = [block for block in frame.blocks for _ in range(block.start, block.stop)]
        seen = [0] * len(frame)
        for i, waits in zip(*frame.expand(), strict=True):
            block = blocks[i]
            layer = _layer(block, firsts, seen[i])
            seen[i] += 1
            pool = placer.pool(frame.operators[_anchor(frame, block, i)].name, block_phase(block, phase), layer)
            yield _Step(frame.operators[i], block, layer, pool, waits)
        return
    step = 0
    for block in frame.blocks:
        for iteration in range(block.repeat):
            layer = _layer(block, firsts, iteration)
            pool = placer.pool(frame.operators[block.start].name, block_phase(block, phase), layer)
            own = shared.priced[pool].graph
            same = next(b for b in own.blocks if b.label == block.label)
            for i in range(same.start, same.stop):
                yield _Step(own.operators[i], same, layer, pool, (step - 1,) if step else ())
                step += 1


def block_phase(block: Block, phase: str) -> str:
    """The phase of a block for the rules: what its label ends in, else that of the whole graph."""
    ending = block.label.rpartition(".")[2]
    return ending if ending in ("forward", "backward", "update") else phase


def _anchor(graph: Graph, block: Block, i: int) -> int:
    """The operator that operator ``i`` goes with: itself, or that whose result a collective joins or spreads.

    Forward that is the one before it; the backward runs the other way round.
    """
    way = 1 if graph.operators[i].name.endswith(".backward") else -1
    at = i
    while graph.operators[at].kind in COLLECTIVES:
        at += way
        if not block.start <= at < block.stop:
            return i
    return at


def _by_block_and_name(graph: Graph) -> dict[tuple[str, str], int]:
    return {(block.label, graph.operators[i].name): i for block in graph.blocks for i in range(block.start, block.stop)}


def _first_layers(graph: Graph) -> dict[str, int]:
    """Number of the first layer of each group of layers, by the group's label."""
    firsts: dict[str, int] = {}
    total = 0
    for block in graph.blocks:
        if _is_stack(block):
            firsts[block.label.partition(".")[0]] = total
            total += block.repeat
    return firsts


def _is_stack(block: Block) -> bool:
    """Whether a block is layers of the stack, on their way forward."""
    return block.label.startswith("layers") and not block.label.endswith(".backward")


def _layer(block: Block, firsts: Mapping[str, int], iteration: int) -> int | None:
    """The layer of an iteration of a block, None outside the stack; the backward begins with the last one."""
    group, _, ending = block.label.partition(".")
    if group not in firsts:
        return None
    return firsts[group] + (block.repeat - 1 - iteration if ending == "backward" else iteration)


def _stage(units: tuple[Unit, ...], layer: int | None, layers: int, block: Block) -> Unit:
    """The pipeline stage of an operator: layers in equal parts, the embedding first, the head last."""
    if layer is None:
        return units[0] if block.label.startswith("embedding") else units[-1]
    return units[stage_of(layer, layers, len(units))]


def input_bytes(operator: Operator, activation_bytes: float) -> float:
    """Bytes of activations that an operator needs from the one before it [B]; caches and weights lie where it runs.

    Tokens of routed experts cross once, however many experts they go to, and so do the experts' results, added up.
    """
    if operator.kind in COLLECTIVES:
        return operator.message_bytes
    if operator.kind == OpKind.EMBEDDING and not operator.name.endswith(".backward"):
        return operator.m * TOKEN_ID_BYTES
    if operator.kind == OpKind.MOE_GEMM:
        hidden = operator.n if operator.name.endswith(".dgrad") else operator.k
        return operator.m / operator.copies * hidden * activation_bytes
    if operator.family == "gemm":
        return operator.m * operator.k * operator.batch * activation_bytes
    if operator.kind == OpKind.ATTENTION_BACKWARD:
        return operator.batch * operator.m * operator.heads * operator.value_dim * activation_bytes
    if operator.family.startswith("attention"):
        per_token = operator.heads * operator.k + operator.kv_heads * (operator.k + operator.value_dim)
        return operator.batch * operator.m * per_token * activation_bytes
    return operator.m * operator.n * activation_bytes
