"""Prices of steps of many sizes: a template's operators under the device law, added up over the graph's blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.bulk.features import Floats, Shapes
from simulator.bulk.spreads import StepSums
from simulator.bulk.templates import Ints, Template
from simulator.kernels.roofline import ENERGY, TIME
from simulator.prepared import Prepared
from simulator.steps.pricing import collectives_seconds, is_expert_exchange
from workloads.lowering.plan import stage_layers
from workloads.operators import FAMILIES, FAMILY_CODES

_MOST_ENTRIES: Final = 1 << 14
"""Operators that are priced in one call: what their columns take stays in the cache of a core or near it."""


@dataclass(frozen=True)
class Priced:
    """Steps as seconds of each block of the graph once, [blocks, s]; joules of whole steps on one device, [s].

    ``exchange_s`` are those of exchanges with experts among them, [blocks, s]. ``sums`` where they were asked
    for: of operators that the context changes, or of those that it does not.
    """

    blocks_s: Floats
    energy_j: Floats
    exchange_s: Floats
    sums: StepSums


def price_steps(template: Template, shapes: Shapes, context: bool, prepared: Prepared, spread: bool) -> Priced:
    """Price the operators of steps that the context changes, or those that it does not.

    Args:
        context: which of the two.
        spread: with sums of their errors by family.
    """
    chosen = np.flatnonzero(template.context == context)
    graph, count = template.graph, len(shapes.batch)
    blocks_s, energy_j = np.zeros((len(graph.blocks), count)), np.zeros(count)
    sums = _Summing(template, shapes, chosen, context, prepared) if spread and len(chosen) else None
    if not len(chosen):
        return Priced(blocks_s, energy_j, np.zeros_like(blocks_s), no_sums(count))
    belongs = np.zeros((len(graph.blocks), len(graph)))
    for number, block in enumerate(graph.blocks):
        belongs[number, block.start : block.stop] = 1.0
    exchange_s = np.zeros_like(blocks_s)
    moves = np.array([is_expert_exchange(graph.operators[i]) for i in chosen.tolist()])
    most = max(1, _MOST_ENTRIES // len(chosen))
    for start in range(0, count, most):
        rows = np.arange(start, min(start + most, count))
        time_s, joules = _operators(template, shapes.take(rows), chosen, prepared)
        blocks_s[:, rows] = belongs[:, chosen] @ time_s
        if moves.any():
            exchange_s[:, rows] = belongs[:, chosen[moves]] @ time_s[moves]
        energy_j[rows] = graph.repeat[chosen] @ joules
        if sums is not None:
            sums.add(rows, time_s)
    return Priced(blocks_s, energy_j, exchange_s, no_sums(count) if sums is None else sums.found)


def no_sums(count: int) -> StepSums:
    """Sums of steps without operators."""
    zeros = np.zeros((len(FAMILIES), count))
    return StepSums(zeros, zeros, zeros, np.zeros((0, count)), np.zeros((0, count), np.int64))


class _Summing:
    """Adds up seconds and errors of the chosen operators by family."""

    def __init__(
        self, template: Template, shapes: Shapes, chosen: Ints, context: bool, prepared: Prepared
    ) -> None:  # fmt: skip
        first = template.columns(shapes.take(np.zeros(1, np.intp)), chosen)
        codes = FAMILY_CODES[first.kind]
        errors = prepared.model.errors[prepared.model.which(first), codes]
        self._repeat, self._shared, self._own = template.graph.repeat[chosen], errors[:, 0], errors[:, 1]
        self._member = (np.arange(len(FAMILIES))[:, None] == codes).astype(np.float64)
        self._context, count = context, len(shapes.batch)
        alone = len(chosen) if context else 0
        seconds, shared, squares = (np.zeros((len(FAMILIES), count)) for _ in range(3))
        families = np.repeat(codes[:alone, None].astype(np.int64), count, axis=1)
        self.found = StepSums(seconds, shared, squares, np.zeros((alone, count)), families)

    def add(self, rows: Ints, time_s: Floats) -> None:
        """Take up the seconds of the operators [n, len(rows)] in some steps."""
        found, whole = self.found, time_s * self._repeat[:, None]
        found.seconds[:, rows] = self._member @ whole
        found.shared[:, rows] = self._member @ (whole * self._shared[:, None])
        if self._context:
            found.alone[:, rows] = whole * self._own[:, None]
        else:
            found.squares[:, rows] = self._member @ (whole * self._own[:, None]) ** 2


def _operators(template: Template, shapes: Shapes, chosen: Ints, prepared: Prepared) -> tuple[Floats, Floats]:
    """Seconds and joules of each chosen operator in each step, shape [len(chosen), s] each."""
    columns, count = template.columns(shapes, chosen), len(shapes.batch)
    priced = prepared.model.cost(columns).reshape(-1, len(chosen), count)
    time_s, energy_j = priced[TIME], priced[ENERGY]
    for row, operator in enumerate(chosen.tolist()):
        axis = template.axes[operator]
        if axis:
            own = slice(row * count, (row + 1) * count)
            seconds = collectives_seconds(
                columns.kind[own], columns.message_bytes[own], prepared.communicators[axis], prepared.model
            )
            time_s[row] += seconds
            energy_j[row] += seconds * float(prepared.model.record["static_w"])
    return time_s, energy_j


def block_repeats(template: Template) -> Floats:
    """How often each block runs, shape [blocks]."""
    return np.array([float(block.repeat) for block in template.graph.blocks])


def server_weights(template: Template, stages: int) -> Floats:
    """What each server of a step takes of its blocks, shape [servers, blocks]: stages and the sends between them.

    As ``steps.pipeline.servers``, but for the host, which goes before them; without stages there is one server.
    """
    graph = template.graph
    if stages == 1:
        return block_repeats(template)[None, :]
    layers = [b for b in graph.blocks if b.label.startswith("layers")]
    held = stage_layers(tuple(b.repeat for b in layers), stages)
    weights = np.zeros((2 * stages - 1, len(graph.blocks)))
    for number, block in enumerate(graph.blocks):
        if block in layers:
            weights[::2, number] = [row[layers.index(block)] for row in held]
        elif block.label == "embedding":
            weights[0, number] = 1.0
        elif block.label == "pipeline":
            weights[1::2, number] = 1.0
        else:
            weights[-1, number] = 1.0
    return weights
