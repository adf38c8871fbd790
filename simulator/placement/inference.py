"""A static inference batch on several pools: phases, layers or operators where the rules put them.

The last step of the prefill, the move of its KV cache and the first decode step run as one program on the engine.
Earlier prefill steps (chunks, as the runtime cuts them) are run alone with the moves of their caches, and so are
further decode steps, which differ by their context only, at a few contexts, as in the closed form.
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
from simulator.steps.prefill import PrefillStep
from simulator.steps.pricing import joined, phase_cost
from simulator.steps.static_batch import decode_contexts, host_seconds, prompt_phase, replica_prefill
from simulator.uncertainty.intervals import Part
from workloads.lowering.inference import Phase, lower_step


@dataclass(frozen=True)
class Stage:
    """A scenario with its pools prepared for one common structure of graphs."""

    work: StaticBatch
    prepared: tuple[Prepared, ...]
    units: Units
    placer: Placer

    def graph(self, phase: Phase, batch: float, q_len: int, kv_len: int) -> SharedGraph:
        """The graph of one step."""
        return shared_graph(self.prepared, lambda how: lower_step(self.work.model, phase, batch, q_len, kv_len, how))

    def prefill_steps(self) -> list[PrefillStep]:
        """Steps of the prefill as the pool that has the embedding cuts it."""
        unit = self.units[self.placer.pool("embedding", prompt_phase(self.work.model))][0]
        return replica_prefill(self.work, self.work.batch, unit.prepared.pool.runtime)

    def step(
        self, writer: ProgramWriter, phase: Phase, batch: float, graph: SharedGraph, after: tuple[Product, ...],
        caches: Inputs | None = None,
    ) -> Placed:  # fmt: skip
        """Write one step: host time of the pool that has the embedding, then the graph."""
        unit = self.units[self.placer.pool("embedding", phase)][0]
        started = writer.host(unit, host_seconds(unit.prepared.pool.runtime, batch), after)
        return write_graph(writer, graph, self.placer, phase, (started,), caches)

    def hand_tokens(self, writer: ProgramWriter, drawn: tuple[Product, ...]) -> tuple[Product, ...]:
        """The tokens that a step has drawn, where the next decode step begins."""
        unit = self.units[self.placer.pool("embedding", "decode")][0]
        return tuple(writer.bring(product, unit, self.work.batch * TOKEN_ID_BYTES, "tokens") for product in drawn)


def staged(scenario: Scenario, work: StaticBatch) -> Stage:
    """The pools of a scenario, ready to write steps of ``work``.

    Raises:
        InputError: a plan that the engine does not run, or rules that contradict themselves.
    """
    prepared = common_structure(scenario)
    return Stage(work, prepared, units_of(prepared), placer_of(scenario))


def placed_inference(scenario: Scenario, work: StaticBatch) -> Result:
    """Run ``work`` on the pools of ``scenario``.

    Raises:
        InputError: a plan that the engine does not run, or rules that place nothing.
    """
    stage = staged(scenario, work)
    prompt = prompt_phase(work.model)
    chunks = stage.prefill_steps()
    prefills = [stage.graph(prompt, chunk.batch, chunk.q_len, chunk.kv_len) for chunk in chunks]
    contexts, weights = decode_contexts(work.isl, work.osl)
    decodes = [stage.graph("decode", work.batch, 1, context) for context in contexts]
    first, boundary, placed = _main_program(stage, chunks[-1], prefills[-1], decodes[:1])
    stage.placer.check_all_matched()
    # The main program holds one of the last prefill steps and one of the first decode steps.
    alone = [chunk.repeats - (chunk is chunks[-1]) for chunk in chunks]
    rest = [weight - (i == 0) for i, weight in enumerate(weights)]
    programs = [
        _prefill_program(stage, chunk, graph) if times else (first, placed[0])
        for chunk, graph, times in zip(chunks, prefills, alone, strict=True)
    ]
    before = [Run(program[0], times) for program, times in zip(programs, alone, strict=True) if times]
    after = [Run(_decode_program(stage, g), times) for g, times in zip(decodes, rest, strict=True) if times]
    main = Run(first)
    runs = [*before, main, *after]
    first_s = max(first.end_s[:boundary])
    ttft_s = sum(run.seconds for run in before) + first_s
    totals = account(runs, stage.prepared, stage.units)
    metrics, reasons = _metrics(stage, totals, ttft_s, placed)
    bound: dict[str, str] = {prompt: bound_of(first, 0, boundary)}
    if decodes:
        bound["decode"] = bound_of(after[-1].execution) if after else bound_of(first, boundary)
    answer = Answer(
        title=f"{work.model.id} on {names_of(stage.prepared)}",
        metrics=metrics,
        pools=tuple(
            pool_use(e, _memory(stage, e, work.batch), totals.energy_j[e.pool.name], totals.busy_s[e.pool.name])
            for e in stage.prepared
        ),
        duration_s=totals.duration_s, bound=bound, breakdown=totals.breakdown, parts=totals.parts,
        phases=(
            *_phases(stage, prompt, [(g, p[1], c.repeats) for g, p, c in zip(prefills, programs, chunks, strict=True)]),
            *_phases(stage, "decode", [(g, placed[1], work.osl - 1.0) for g in decodes[len(decodes) // 2 :][:1]]),
        ),
        powers=POWERS, reasons=reasons, timeline=first.timeline(),
        own_parts=_own_parts(
            stage, [*before, replace(main, end_s=first_s)], [replace(main, start_s=first_s), *after]
        ),
    )  # fmt: skip
    return assemble(stage.prepared, answer)


def _main_program(
    stage: Stage, chunk: PrefillStep, prefill: SharedGraph, decodes: Sequence[SharedGraph]
) -> tuple[Execution, int, list[Placed]]:
    """Last prefill step, cache moves, first decode step; the number of tasks of the prefill; what was placed."""
    writer = ProgramWriter(stage.units)
    placed = [stage.step(writer, prompt_phase(stage.work.model), chunk.batch, prefill, ())]
    boundary = len(writer)
    for graph in decodes:
        caches = move_caches(stage, writer, placed[0], chunk)
        tokens = stage.hand_tokens(writer, placed[0].last)
        placed.append(stage.step(writer, "decode", stage.work.batch, graph, tokens, caches))
    return execute(writer.build()), boundary, placed


def _prefill_program(stage: Stage, chunk: PrefillStep, graph: SharedGraph) -> tuple[Execution, Placed]:
    """One prefill step before the last one, and the move of the cache that it has made; also what was placed."""
    writer = ProgramWriter(stage.units)
    placed = stage.step(writer, prompt_phase(stage.work.model), chunk.batch, graph, ())
    if stage.work.osl > 1:
        move_caches(stage, writer, placed, chunk)
    return execute(writer.build()), placed


def _decode_program(stage: Stage, graph: SharedGraph) -> Execution:
    """One decode step, and the way of its tokens to the next one."""
    writer = ProgramWriter(stage.units)
    stage.hand_tokens(writer, stage.step(writer, "decode", stage.work.batch, graph, ()).last)
    return execute(writer.build())


def move_caches(stage: Stage, writer: ProgramWriter, prefill: Placed, chunk: PrefillStep) -> Inputs:
    """Bring what a prefill step adds to the cache of each layer to where its decode reads it, as soon as it is made."""
    moved: dict[tuple[int | None, str], tuple[Product, ...]] = {}
    layers = [group for group in stage.work.model.groups for _ in range(group.count)]
    sequences = chunk.batch * chunk.q_len / stage.work.isl
    for layer, group in enumerate(layers):
        for readers in CACHE_READERS:
            maker = next((reader for reader in readers if (layer, reader) in prefill.by_layer), None)
            if maker is None:
                continue
            made = prefill.by_layer[layer, maker]
            home = stage.placer.pool(maker, "decode", layer)
            if made.unit.prepared.pool.name != home:
                size = sequences * cache_bytes(group, maker, stage.work.isl, made.unit.prepared.precision)
                product = replace(made, size_bytes=size)
                arrived = (writer.bring(product, stage.units[home][0], 0.0, "kv cache"),)
                moved |= {(layer, reader): arrived for reader in readers}
    return moved


def _memory(stage: Stage, each: Prepared, batch: int) -> MemoryUse:
    """Memory of one device of a pool for a batch of this length."""
    homes = homes_of(stage.work.model, stage.placer, _phases_of(stage.work))
    return pool_memory(each, stage.work, homes, batch)


def _largest(stage: Stage, each: Prepared) -> int:
    """Largest batch that fits a pool."""
    return largest_batch(lambda batch: _memory(stage, each, batch).total, each.usable_bytes)


def _phases_of(work: StaticBatch) -> tuple[str, ...]:
    if work.model.is_encoder:
        return ("encode",)
    return ("prefill", "decode") if work.osl > 1 else ("prefill",)


def _metrics(
    stage: Stage, totals: Account, ttft_s: float, placed: Sequence[Placed]
) -> tuple[dict[str, float | None], dict[str, str]]:
    work, steps = stage.work, max(stage.work.osl - 1, 0)
    tpot = (totals.duration_s - ttft_s) / steps if steps else None
    largest = min(_largest(stage, each) for each in stage.prepared)
    batch = BatchTotals(ttft_s, tpot, totals.duration_s, totals.energy_j, largest)
    idle = {
        phase: [name for name, ran in done.counts.items() if not ran.any()]
        for phase, done in zip(("prefill", "decode"), placed, strict=False)
    }
    return batch_metrics(stage.prepared, work, batch, None, "several pools have no one peak bandwidth", idle)


def _own_parts(stage: Stage, prefill: Sequence[Run], decode: Sequence[Run]) -> dict[str, tuple[Part, ...]]:
    """What the time of each phase consists of, for the metrics that depend on it."""
    windows = {"prefill": prefill, "decode": decode}
    return {
        metric: attribute(windows[phase], stage.prepared, stage.units)[1]
        for phase, metrics in PHASE_METRICS.items()
        for metric in metrics
    }


def _phases(stage: Stage, phase: str, steps: Sequence[tuple[SharedGraph, Placed, float]]) -> list[PhaseCost]:
    """Operators of a phase on each pool that takes part in it: of graphs, as they were placed, each so many times."""
    found = []
    for each in stage.prepared:
        name = each.pool.name
        costs = [
            phase_cost(phase, graph.priced[name], each.model, steps=times, counts=placed.counts[name])
            for graph, placed, times in steps
            if placed.counts[name].any()
        ]
        found += [joined(costs)] if costs else []
    return found
