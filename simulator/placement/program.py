"""From priced graphs to a program: operators on the units that the rules choose, transfers where data changes unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from simulator.engine.tasks import Flow, Lane, Program, Task
from simulator.placement.rules import Placer
from simulator.placement.units import Unit, collective_flow, load_flow, transfer_flow
from simulator.prepared import Prepared
from simulator.steps.pricing import PricedGraph
from workloads import operators as op
from workloads.graph import Block, Floats
from workloads.operators import COLLECTIVES, Operator, OpKind

TOKEN_ID_BYTES = 4.0

Units = Mapping[str, tuple[Unit, ...]]
"""Units of each pool by its name, first pipeline stage first."""


Inputs = Mapping[tuple[int | None, str], tuple["Product", ...]]
"""Further products that operators wait for, by layer and name."""


def units_of(prepared: Iterable[Prepared]) -> Units:
    """One unit for each pipeline stage of each pool."""
    return {each.pool.name: tuple(Unit(each, s) for s in range(each.pool.plan.pp)) for each in prepared}


@dataclass(frozen=True)
class Product:
    """The task that made a piece of data, the unit it lies on, and its size [B]; None: as much as its reader reads."""

    task: int
    unit: Unit
    size_bytes: float | None


class ProgramWriter:
    """Collects tasks; data that is needed on another unit is moved there once."""

    def __init__(self, units: Units) -> None:
        self.units = units
        self._tasks: list[Task] = []
        self._moved: dict[tuple[int, str], int] = {}

    def build(self) -> Program:
        """The finished program."""
        links = {port: rate for stages in self.units.values() for unit in stages for port, rate in unit.ports().items()}
        return Program(tuple(self._tasks), links)

    def __len__(self) -> int:
        return len(self._tasks)

    def operator(
        self, unit: Unit, priced: PricedGraph, index: int, after: Iterable[Product], chained: bool = True
    ) -> Product:
        """One execution of operator ``index`` of ``priced``; ``chained``: dependencies are order, not data."""
        operator = priced.graph.operators[index]
        waits = self.arrived(after, unit, input_bytes(operator, unit.prepared.precision.activation_bytes))
        made = None if chained else operator.write_bytes
        collective = operator.kind in COLLECTIVES
        task = Task(
            operator.name,
            operator.family,
            priced.bound_of(index),
            (unit.lane("communication" if collective else "compute"),),
            seconds=float(priced.time_s[index]),
            flow=collective_flow(operator, unit) if collective else None,
            energy_j=float(priced.energy_j[index]),
            amount=operator.message_bytes if collective else operator.flops,
            depends_on=waits,
        )
        return Product(self._add(task), unit, made)

    def host(self, unit: Unit, seconds: float, after: Iterable[Product]) -> Product:
        """Host time of one step; nothing is moved for it."""
        waits = tuple(product.task for product in after)
        return Product(
            self._add(Task("host", "host", "overhead", (unit.lane("host"),), seconds, depends_on=waits)), unit, 0.0
        )

    def load(self, unit: Unit, size_bytes: float, after: Iterable[Product]) -> Product:
        """Input from the host to the devices of a unit."""
        waits = tuple(product.task for product in after)
        lane = Lane(f"{unit.prepared.network.host.id} host > {unit.name}", "transfer")
        return Product(self._flow("input", lane, load_flow(size_bytes, unit), waits), unit, size_bytes)

    def arrived(self, products: Iterable[Product], unit: Unit, read_bytes: float) -> tuple[int, ...]:
        """Tasks to wait for until all ``products`` lie on ``unit``; adds the transfers that are needed."""
        return tuple(dict.fromkeys(self.bring(product, unit, read_bytes).task for product in products))

    def bring(self, product: Product, unit: Unit, read_bytes: float, name: str = "transfer") -> Product:
        """``product`` on ``unit``: itself, or a transfer, made once for each destination."""
        size = read_bytes if product.size_bytes is None else product.size_bytes
        if product.unit.name == unit.name or size == 0.0:
            return Product(product.task, unit, product.size_bytes)
        key = (product.task, f"{unit.name} {name}")
        if key not in self._moved:
            source = product.unit
            if source.prepared.pool.name == unit.prepared.pool.name:
                each = size / unit.prepared.pool.plan.tp
                send = op.collective(name, OpKind.SEND_RECV, each, 2, "pp")
                flow, link = collective_flow(send, source, unit), unit.prepared.network.link.id
            else:
                flow, link = transfer_flow(size, source, unit), source.prepared.network.host.id
            lane = Lane(f"{link} {source.name} > {unit.name}", "transfer")
            self._moved[key] = self._flow(name, lane, flow, (product.task,))
        return Product(self._moved[key], unit, product.size_bytes)

    def _flow(self, name: str, lane: Lane, flow: Flow, waits: tuple[int, ...]) -> int:
        return self._add(
            Task(name, "transfer", "communication", (lane,), flow=flow, amount=flow.size_bytes, depends_on=waits)
        )

    def _add(self, task: Task) -> int:
        self._tasks.append(task)
        return len(self._tasks) - 1


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


def write_graph(
    writer: ProgramWriter, graphs: Mapping[str, PricedGraph], placer: Placer, phase: str, after: tuple[Product, ...],
    extra: Inputs | None = None, chained: bool = True,
) -> Placed:  # fmt: skip
    """Write one execution of a graph, block by block and layer by layer.

    Args:
        graphs: the same graph priced for each pool; operators are matched by block and name, and one that a pool
            does not need (a reduction where tp = 1) is passed through. Sends between pipeline stages are made
            where data changes stage, whatever the graph says of them.
        phase: its name for the rules; in training graphs the block says forward or backward.
        after: products that the first operators wait for.
        extra: further products that an operator (by layer and name) waits for, such as the KV cache.
        chained: dependencies are order, so that a reader's own input is what must move; else each product is data.
    """
    widest = max(graphs.values(), key=lambda priced: len(priced.graph))
    index, waits = widest.graph.expand()
    lookup = {name: _by_block_and_name(priced) for name, priced in graphs.items()}
    places, layers = _places(widest)
    seen = [0] * len(widest.graph)
    made: list[tuple[Product, ...]] = []
    by_layer: dict[tuple[int | None, str], Product] = {}
    counts = {name: np.zeros(len(priced.graph)) for name, priced in graphs.items()}
    for i, waiting in zip(index, waits, strict=True):
        operator, (block, first, step) = widest.graph.operators[i], places[i]
        layer = None if first is None else first + step * seen[i]
        seen[i] += 1
        before = tuple(dict.fromkeys(p for w in waiting for p in made[w])) if waiting else after
        pool = placer.pool(operator.name, block_phase(block, phase), layer)
        here = lookup[pool].get((block.label, operator.name))
        if here is None or operator.kind == OpKind.SEND_RECV:
            made.append(before)
            continue
        unit = _stage(writer.units[pool], layer, layers, block)
        needs = (*before, *(extra or {}).get((layer, operator.name), ()))
        product = writer.operator(unit, graphs[pool], here, needs, chained)
        by_layer[layer, operator.name] = product
        counts[pool][here] += 1.0
        made.append((product,))
    read = {w for waiting in waits for w in waiting}
    ends = tuple(dict.fromkeys(p for step, products in enumerate(made) if step not in read for p in products))
    return Placed(by_layer, made[-1] if made else after, ends, counts)


def block_phase(block: Block, phase: str) -> str:
    """The phase of a block for the rules: what its label ends in, else that of the whole graph."""
    ending = block.label.rpartition(".")[2]
    return ending if ending in ("forward", "backward", "update") else phase


def _by_block_and_name(priced: PricedGraph) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for block in priced.graph.blocks:
        for i in range(block.start, block.stop):
            found[block.label, priced.graph.operators[i].name] = i
    return found


def _places(priced: PricedGraph) -> tuple[list[tuple[Block, int | None, int]], int]:
    """For each operator its block, first layer and step from layer to layer; and the number of layers.

    Operators outside the stack have no layer; backward blocks run from the last layer to the first.
    """
    places: list[tuple[Block, int | None, int]] = []
    firsts: dict[str, int] = {}
    total = 0
    for block in priced.graph.blocks:
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
    """Bytes of activations that an operator needs from the one before it [B]; caches and weights lie where it runs."""
    if operator.kind in COLLECTIVES:
        return operator.message_bytes
    if operator.kind == OpKind.EMBEDDING:
        return operator.m * TOKEN_ID_BYTES
    if operator.kind == OpKind.MOE_GEMM:
        return operator.m / operator.heads * operator.k * activation_bytes
    if operator.family == "gemm":
        return operator.m * operator.k * operator.batch * activation_bytes
    if operator.family.startswith("attention"):
        per_token = operator.heads * operator.k + operator.kv_heads * (operator.k + operator.value_dim)
        return operator.batch * operator.m * per_token * activation_bytes
    return operator.m * operator.n * activation_bytes
