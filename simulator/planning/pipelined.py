"""Several batches in a pipeline over pools, on the engine: the time between them when the pipeline is full.

As many batches are in flight as there are pools, and one more; a new one begins when one is done. What one pool has
done for a batch it begins for the next, and links are shared by all. The time is that of the middle third of 3 times as
many batches, in which the pipeline is full, and at least what the busiest pool needs for a batch.
All equal steps of a phase of a batch pass as one (its decode steps at the middle context), with their seconds and bytes
added up: loads of pools and links are those of all steps, the order among steps of different batches is not looked at.
"""

from __future__ import annotations

from dataclasses import replace

from simulator.engine.executor import execute
from simulator.engine.tasks import Program, Task
from simulator.placement.graphs import Inputs
from simulator.placement.inference import move_caches, staged
from simulator.placement.program import Product, ProgramWriter
from simulator.planning.blocks import flying_of
from simulator.scenario import Scenario, StaticBatch
from simulator.steps.static_batch import decode_contexts, prompt_phase


def period_s(scenario: Scenario, work: StaticBatch) -> float:
    """Time between two batches of a full pipeline [s].

    Raises:
        InputError: as ``simulator.placement.inference.placed_inference``.
    """
    stage = staged(scenario, work)
    writer = ProgramWriter(stage.units)
    chunks, contexts = stage.prefill_steps(), decode_contexts(work.isl, work.osl)[0]
    prompt = prompt_phase(work.model)
    graphs = [stage.graph(prompt, chunk.batch, chunk.q_len, chunk.kv_len) for chunk in chunks]
    decode = stage.graph("decode", work.batch, 1, contexts[len(contexts) // 2]) if contexts else None
    times: list[float] = []
    ends: list[int] = []
    flying = flying_of("throughput", len(scenario.pools))
    last: list[tuple[Product, ...]] = []
    for batch in range(3 * flying):
        after = last[batch - flying] if batch >= flying else ()
        caches: Inputs = {}
        for chunk, graph in zip(chunks, graphs, strict=True):
            done = stage.step(writer, prompt, chunk.batch, graph, after)
            if decode is not None:
                caches = move_caches(stage, writer, done, chunk)
            after = done.last
            times += [chunk.repeats] * (len(writer) - len(times))
        if decode is not None:
            tokens = stage.hand_tokens(writer, after)
            after = stage.step(writer, "decode", work.batch, decode, tokens, caches).last
            times += [work.osl - 1.0] * (len(writer) - len(times))
        ends.append(len(writer) - 1)
        last.append(tuple(replace(product, size_bytes=0.0) for product in after))
    program = writer.build()
    tasks = tuple(_often(task, n) for task, n in zip(program.tasks, times, strict=True))
    ran = execute(Program(tasks, program.links))
    full_s = (ran.end_s[ends[2 * flying - 1]] - ran.end_s[ends[flying - 1]]) / flying
    busiest_s = max(ran.busy_s(unit.name) for units in stage.units.values() for unit in units) / len(ends)
    return max(full_s, busiest_s)


def _often(task: Task, times: float) -> Task:
    """A task so many times in a row."""
    flow = task.flow
    if flow is not None:
        flow = flow._replace(size_bytes=flow.size_bytes * times, startup_s=flow.startup_s * times)
    return replace(task, seconds=task.seconds * times, flow=flow)
