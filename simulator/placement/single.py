"""One pool on the engine: what the closed form adds up, watched as it happens.

Nothing contends in one pool, so that a batch takes as long as the closed form says. Steps of a prefill, and
micro-batches, follow each other through the pipeline stages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from simulator.engine.executor import execute
from simulator.engine.tasks import Execution
from simulator.placement.graphs import shared_graph, write_graph
from simulator.placement.program import Product, ProgramWriter, units_of
from simulator.placement.rules import Placer
from simulator.prepared import Prepared
from simulator.scenario import StaticBatch, TrainStep
from simulator.steps.launch_queue import steps_queued
from simulator.steps.prefill import PrefillStep
from simulator.steps.static_batch import host_seconds, prompt_phase, replica_prefill
from simulator.steps.train_step import recomputed
from simulator.timeline import Timeline
from workloads.graph import Graph
from workloads.lowering.inference import lower_step
from workloads.lowering.plan import Lowering, stage_lengths
from workloads.lowering.training import lower_micro_batch


class Step(NamedTuple):
    """A graph to run: its phase, what lowers it, the host time before it [s], and the earlier steps (by number) whose
    results it needs."""

    phase: str
    lower: Callable[[Lowering], Graph]
    host_s: float
    after: tuple[int, ...] = ()


def watch(prepared: Prepared) -> Timeline:
    """A prefill step on every stage and a decode step of an inference batch, or the first micro-batch of training."""
    work, stages = prepared.scenario.workload, prepared.pool.plan.pp
    if isinstance(work, TrainStep):
        return run_steps(prepared, [training_step(prepared, work)]).timeline()
    assert isinstance(work, StaticBatch)
    prompts = prefill_of(prepared, work)[:stages]
    return run_steps(prepared, [*prompts, *decode_of(prepared, work, 1, len(prompts))]).timeline()


def training_step(prepared: Prepared, work: TrainStep) -> Step:
    """One micro-batch, forward and backward."""

    plan, runtime = prepared.pool.plan, prepared.pool.runtime
    again = recomputed(plan, runtime)
    stages = plan.stages or stage_lengths(work.model.layers, plan.pp)

    def micro_batch(how: Lowering) -> Graph:
        return lower_micro_batch(work.model, plan.micro_batch, work.seq_len, how, again, work.lora_rank, stages=stages)

    return Step("forward", micro_batch, runtime.host_step.value)


def prefill_of(prepared: Prepared, work: StaticBatch) -> list[Step]:
    """All prefill steps of one replica, each repeat of them.

    Where full queues hold up the host, as many whole steps are in flight as their launches fit, and one more.
    """
    plan, runtime = prepared.pool.plan, prepared.pool.runtime
    replica = -(-work.batch // plan.dp)
    phase = prompt_phase(work.model)

    def lowered(chunk: PrefillStep) -> Callable[[Lowering], Graph]:
        return lambda how: lower_step(work.model, phase, chunk.batch, chunk.q_len, chunk.kv_len, how)

    chunks = replica_prefill(work, replica, runtime, plan.pp)
    every = [chunk for chunk in chunks for _ in range(round(chunk.repeats))]
    ahead = runtime.prefill_in_flight or len(every)
    room = steps_queued(lowered(every[0])(prepared.how), runtime, plan.pp)
    if room:
        ahead = min(ahead, int(room) + 1)
    return [
        Step(phase, lowered(chunk), host_seconds(runtime, chunk.batch), (i - ahead,) if i >= ahead else ())
        for i, chunk in enumerate(every)
    ]


def decode_of(prepared: Prepared, work: StaticBatch, rounds: int, before: int) -> list[Step]:
    """The first ``rounds`` decode steps of every micro-batch of one replica, ``before`` prefill steps having gone."""
    plan = prepared.pool.plan
    replica = -(-work.batch // plan.dp)
    micro = -(-replica // min(plan.pp, replica))
    count = -(-replica // micro)
    host_s = host_seconds(prepared.pool.runtime, micro)

    def lowered(context: int) -> Callable[[Lowering], Graph]:
        return lambda how: lower_step(work.model, "decode", micro, 1, context, how)

    return [
        Step("decode", lowered(work.isl + 1 + r), host_s, (before + (r - 1) * count + i if r else before - 1,))
        for r in range(min(rounds, work.osl - 1))
        for i in range(count)
    ]


def run_steps(prepared: Prepared, steps: Sequence[Step]) -> Execution:
    """Run steps in order on the stages of one pool.

    Without stages the host waits for each step before it begins the next one; with several in flight it waits for
    nothing but what the step needs.
    """
    units = units_of((prepared,))
    name = prepared.pool.name
    writer = ProgramWriter(units)
    last: list[tuple[Product, ...]] = []
    for step in steps:
        needed = {*step.after, *([len(last) - 1] if last and len(units[name]) == 1 else [])}
        before = [product for number in sorted(needed) for product in last[number]]
        started = writer.host(units[name][0], step.host_s, before)
        graph = shared_graph((prepared,), step.lower)
        last.append(write_graph(writer, graph, Placer((), name), step.phase, (started,)).last)
    return execute(writer.build())
