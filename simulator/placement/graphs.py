"""Graphs on pools: every operator goes where the rules put it, block by block and layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from simulator.placement.program import Product, ProgramWriter
from simulator.placement.rules import Placer
from simulator.placement.units import Unit
from simulator.prepared import Prepared
from simulator.steps.pricing import PricedGraph, price_graph
from workloads.graph import Block, Floats, Graph
from workloads.lowering.plan import Lowering, Sharding
from workloads.operators import COLLECTIVES, Operator, OpKind

TOKEN_ID_BYTES = 4.0

Inputs = Mapping[tuple[int | None, str], tuple[Product, ...]]
"""Further products that operators wait for, by layer and name."""


@dataclass(frozen=True)
class SharedGraph:
    """One graph as each pool would run it.

    ``priced`` by pool; operators correspond by block and name. ``frame`` has the operators of all of them: a pool that
    does not need one (a reduction where tp = 1) passes it over. ``whole`` is the graph on a single device, whose
    operators read what must cross when they run elsewhere than the ones before them; None: products have sizes.
    """

    priced: Mapping[str, PricedGraph]
    frame: Graph
    whole: Graph | None


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
        lower(replace(first, sharding=Sharding())),
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
    frame = shared.frame
    index, waits = frame.expand()
    lookup = {name: _by_block_and_name(priced.graph) for name, priced in shared.priced.items()}
    sizes = _by_block_and_name(shared.whole) if shared.whole is not None else {}
    places, layers = _places(frame)
    seen = [0] * len(frame)
    made: list[tuple[Product, ...]] = []
    by_layer: dict[tuple[int | None, str], Product] = {}
    counts = {name: np.zeros(len(priced.graph)) for name, priced in shared.priced.items()}
    for i, waiting in zip(index, waits, strict=True):
        operator, (block, first, step) = frame.operators[i], places[i]
        layer = None if first is None else first + step * seen[i]
        seen[i] += 1
        before = tuple(dict.fromkeys(p for w in waiting for p in made[w])) if waiting else after
        pool = placer.pool(frame.operators[_anchor(frame, block, i)].name, block_phase(block, phase), layer)
        here = lookup[pool].get((block.label, operator.name))
        if here is None or operator.kind == OpKind.SEND_RECV:
            made.append(before)
            continue
        unit = _stage(writer.units[pool], layer, layers, block)
        needs = (*before, *(extra or {}).get((layer, operator.name), ()))
        read = None
        if shared.whole is not None:
            same = sizes.get((block.label, operator.name))
            reader = operator if same is None else shared.whole.operators[same]
            read = input_bytes(reader, unit.prepared.precision.activation_bytes)
        product = writer.operator(unit, shared.priced[pool], here, needs, read)
        by_layer[layer, operator.name] = product
        counts[pool][here] += 1.0
        made.append((product,))
    awaited = {w for waiting in waits for w in waiting}
    ends = tuple(dict.fromkeys(p for step, products in enumerate(made) if step not in awaited for p in products))
    return Placed(by_layer, made[-1] if made else after, ends, counts)


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


def _places(graph: Graph) -> tuple[list[tuple[Block, int | None, int]], int]:
    """For each operator its block, first layer and step from layer to layer; and the number of layers.

    Operators outside the stack have no layer; backward blocks run from the last layer to the first.
    """
    places: list[tuple[Block, int | None, int]] = []
    firsts: dict[str, int] = {}
    total = 0
    for block in graph.blocks:
        group, _, ending = block.label.partition(".")
        first, step = None, 1
        if group.startswith("layers"):
            if group not in firsts:
                firsts[group], total = total, total + block.repeat
            backward = ending == "backward"
            first, step = firsts[group] + (block.repeat - 1 if backward else 0), -1 if backward else 1
        places += [(block, first, step)] * (block.stop - block.start)
    return places, total


def _stage(units: tuple[Unit, ...], layer: int | None, layers: int, block: Block) -> Unit:
    """The pipeline stage of an operator: layers in equal parts, the embedding first, the head last."""
    if layer is None:
        return units[0] if block.label.startswith("embedding") else units[-1]
    return units[layer * len(units) // layers]


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
