"""A static inference batch on several pools: phases, layers or operators where the rules put them.

Prefill, the move of the KV cache and the first decode step run as one program on the engine; further decode steps
differ by their context only and are run alone at a few contexts, as in the closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from simulator.assemble import Answer, assemble, pool_use
from simulator.engine.executor import execute
from simulator.engine.tasks import Execution
from simulator.placement.accounting import Account, Run, account, attribute, bound_of
from simulator.placement.graphs import TOKEN_ID_BYTES, Inputs, Placed, SharedGraph, shared_graph, write_graph
from simulator.placement.memory import CACHE_READERS, cache_bytes, homes_of, pool_memory
from simulator.placement.pools import common_structure, names_of
from simulator.placement.program import Product, ProgramWriter, Units, units_of
from simulator.placement.rules import Placer, placer_of
from simulator.prepared import Prepared
from simulator.result import MemoryUse, PhaseCost, Result
from simulator.scenario import Scenario, StaticBatch
from simulator.steps.batch_metrics import BatchTotals, batch_metrics, largest_batch
from simulator.steps.inference_result import PHASE_METRICS, POWERS
from simulator.steps.pricing import phase_cost
from simulator.steps.static_batch import decode_contexts, host_seconds
from simulator.uncertainty.intervals import Part
from workloads.lowering.inference import Phase, lower_step


@dataclass(frozen=True)
class _Stage:
    """A scenario with its pools prepared for one common structure of graphs."""

    work: StaticBatch
    prepared: tuple[Prepared, ...]
    units: Units
    placer: Placer

    def graph(self, phase: Phase, q_len: int, kv_len: int) -> SharedGraph:
        """The graph of one step."""
        arch, batch = self.work.model, self.work.batch
        return shared_graph(self.prepared, lambda how: lower_step(arch, phase, batch, q_len, kv_len, how))

    def step(
        self, writer: ProgramWriter, phase: Phase, graph: SharedGraph, after: tuple[Product, ...],
        caches: Inputs | None = None,
    ) -> Placed:  # fmt: skip
        """Write one step: host time of the pool that has the embedding, then the graph."""
        unit = self.units[self.placer.pool("embedding", phase)][0]
        started = writer.host(unit, host_seconds(unit.prepared.pool.runtime, self.work.batch), after)
        return write_graph(writer, graph, self.placer, phase, (started,), caches)

    def hand_tokens(self, writer: ProgramWriter, drawn: tuple[Product, ...]) -> tuple[Product, ...]:
        """The tokens that a step has drawn, where the next decode step begins."""
        unit = self.units[self.placer.pool("embedding", "decode")][0]
        return tuple(writer.bring(product, unit, self.work.batch * TOKEN_ID_BYTES, "tokens") for product in drawn)


def placed_inference(scenario: Scenario, work: StaticBatch) -> Result:
    """Run ``work`` on the pools of ``scenario``.

    Raises:
        InputError: a plan that the engine does not run, or rules that place nothing.
    """
    stage = _Stage(work, common_structure(scenario), {}, placer_of(scenario))
    stage = replace(stage, units=units_of(stage.prepared))
    prompt: Phase = "encode" if work.model.is_encoder else "prefill"
    prefill = stage.graph(prompt, work.isl, work.isl)
    contexts, weights = decode_contexts(work.isl, work.osl)
    decodes = [stage.graph("decode", 1, context) for context in contexts]
    first, boundary, placed = _first_program(stage, prompt, prefill, decodes[:1])
    stage.placer.check_all_matched()
    ttft_s = max(first.end_s[:boundary])
    runs = [Run(first)]
    for i, (graph, weight) in enumerate(zip(decodes, weights, strict=True)):
        rest = weight - 1.0 if i == 0 else weight
        if rest > 0.0:
            writer = ProgramWriter(stage.units)
            stage.hand_tokens(writer, stage.step(writer, "decode", graph, ()).last)
            runs.append(Run(execute(writer.build()), rest))
    totals = account(runs, stage.prepared, stage.units)
    metrics, reasons = _metrics(stage, totals, ttft_s, placed)
    bound: dict[str, str] = {prompt: bound_of(first, 0, boundary)}
    if decodes:
        bound["decode"] = bound_of(runs[-1].execution, boundary if len(runs) == 1 else 0)
    answer = Answer(
        kind="simulate",
        title=f"{work.model.id} on {names_of(stage.prepared)}",
        metrics=metrics,
        pools=tuple(
            pool_use(e, _memory(stage, e, work.batch), totals.energy_j[e.pool.name], totals.busy_s[e.pool.name])
            for e in stage.prepared
        ),
        duration_s=totals.duration_s, bound=bound, breakdown=totals.breakdown, parts=totals.parts,
        phases=_phases(stage, prompt, prefill, decodes, placed), powers=POWERS, reasons=reasons,
        timeline=first.timeline(), own_parts=_own_parts(stage, runs, ttft_s),
    )  # fmt: skip
    return assemble(stage.prepared, answer)


def _first_program(
    stage: _Stage, prompt: Phase, prefill: SharedGraph, decodes: Sequence[SharedGraph]
) -> tuple[Execution, int, list[Placed]]:
    """Prefill, cache moves, first decode step; the number of tasks of the prefill; what was placed."""
    writer = ProgramWriter(stage.units)
    placed = [stage.step(writer, prompt, prefill, ())]
    boundary = len(writer)
    for graph in decodes:
        caches = _move_caches(stage, writer, placed[0])
        tokens = stage.hand_tokens(writer, placed[0].last)
        placed.append(stage.step(writer, "decode", graph, tokens, caches))
    return execute(writer.build()), boundary, placed


def _move_caches(stage: _Stage, writer: ProgramWriter, prefill: Placed) -> Inputs:
    """Bring the cache of each layer to where its decode reads it, as soon as the layer's prefill has made it."""
    moved: dict[tuple[int | None, str], tuple[Product, ...]] = {}
    layers = [group for group in stage.work.model.groups for _ in range(group.count)]
    for layer, group in enumerate(layers):
        for readers in CACHE_READERS:
            maker = next((reader for reader in readers if (layer, reader) in prefill.by_layer), None)
            if maker is None:
                continue
            made = prefill.by_layer[layer, maker]
            home = stage.placer.pool(maker, "decode", layer)
            if made.unit.prepared.pool.name != home:
                size = stage.work.batch * cache_bytes(group, maker, stage.work.isl, made.unit.prepared.precision)
                product = replace(made, size_bytes=size)
                arrived = (writer.bring(product, stage.units[home][0], 0.0, "kv cache"),)
                moved |= {(layer, reader): arrived for reader in readers}
    return moved


def _memory(stage: _Stage, each: Prepared, batch: int) -> MemoryUse:
    """Memory of one device of a pool for a batch of this length."""
    homes = homes_of(stage.work.model, stage.placer, _phases_of(stage.work))
    return pool_memory(each, stage.work, homes, batch)


def _phases_of(work: StaticBatch) -> tuple[str, ...]:
    if work.model.is_encoder:
        return ("encode",)
    return ("prefill", "decode") if work.osl > 1 else ("prefill",)


def _metrics(
    stage: _Stage, totals: Account, ttft_s: float, placed: Sequence[Placed]
) -> tuple[dict[str, float | None], dict[str, str]]:
    work, steps = stage.work, max(stage.work.osl - 1, 0)
    tpot = (totals.duration_s - ttft_s) / steps if steps else None
    largest = largest_batch(lambda b: all(_memory(stage, e, b).total <= e.usable_bytes for e in stage.prepared))
    batch = BatchTotals(ttft_s, tpot, totals.duration_s, totals.energy_j, largest)
    idle = {
        phase: [name for name, ran in done.counts.items() if not ran.any()]
        for phase, done in zip(("prefill", "decode"), placed, strict=False)
    }
    return batch_metrics(stage.prepared, work, batch, None, "several pools have no one peak bandwidth", idle)


def _own_parts(stage: _Stage, runs: Sequence[Run], ttft_s: float) -> dict[str, tuple[Part, ...]]:
    """What the time of each phase consists of, for the metrics that depend on it."""
    windows = {"prefill": [replace(runs[0], end_s=ttft_s)], "decode": [replace(runs[0], start_s=ttft_s), *runs[1:]]}
    return {
        metric: attribute(windows[phase], stage.prepared, stage.units)[1]
        for phase, metrics in PHASE_METRICS.items()
        for metric in metrics
    }


def _phases(
    stage: _Stage, prompt: str, prefill: SharedGraph, decodes: Sequence[SharedGraph], placed: Sequence[Placed]
) -> tuple[PhaseCost, ...]:
    """Operators of each phase on each pool that takes part in it; decode at its middle context."""
    rows = []
    steps = [(prompt, prefill, 1.0)]
    if decodes:
        steps.append(("decode", decodes[len(decodes) // 2], float(stage.work.osl - 1)))
    for (phase, graph, times), done in zip(steps, placed, strict=True):
        for each in stage.prepared:
            name = each.pool.name
            if done.counts[name].any():
                cost = graph.priced[name]
                rows.append(phase_cost(phase, cost, each.pool.device.id, steps=times, counts=done.counts[name]))
    return tuple(rows)
