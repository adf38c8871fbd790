"""One pool on the engine: what the closed form adds up, watched as it happens.

Nothing contends in one pool, so that a step takes as long as the closed form says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from simulator.engine.executor import execute
from simulator.engine.tasks import Execution
from simulator.placement.graphs import shared_graph, write_graph
from simulator.placement.program import Product, ProgramWriter, units_of
from simulator.placement.rules import Placer
from simulator.prepared import Prepared
from simulator.scenario import StaticBatch, TrainStep
from simulator.steps.static_batch import host_seconds
from simulator.timeline import Timeline
from workloads.graph import Graph
from workloads.lowering.inference import Phase, lower_step
from workloads.lowering.plan import Lowering
from workloads.lowering.training import lower_micro_batch


class Step(NamedTuple):
    """A graph to run: its phase, what lowers it, and the host time before it [s]."""

    phase: str
    lower: Callable[[Lowering], Graph]
    host_s: float


def watch(prepared: Prepared) -> Timeline:
    """The first prefill and decode step of an inference batch, or the first micro-batch of a training step."""
    return run_steps(prepared, steps_of(prepared)).timeline()


def steps_of(prepared: Prepared) -> list[Step]:
    """What one replica of the pool does first, in order."""
    work, plan, runtime = prepared.scenario.workload, prepared.pool.plan, prepared.pool.runtime
    if isinstance(work, TrainStep):

        def micro_batch(how: Lowering) -> Graph:
            return lower_micro_batch(work.model, plan.micro_batch, work.seq_len, how, plan.recompute, work.lora_rank)

        return [Step("forward", micro_batch, runtime.host_step.value)]
    assert isinstance(work, StaticBatch)
    replica = -(-work.batch // plan.dp)
    micro = -(-replica // min(plan.pp, replica))
    host_s = host_seconds(runtime, replica)
    prompt: Phase = "encode" if work.model.is_encoder else "prefill"
    steps = [Step(prompt, lambda how: lower_step(work.model, prompt, micro, work.isl, work.isl, how), host_s)]
    if work.osl > 1:
        steps.append(Step("decode", lambda how: lower_step(work.model, "decode", micro, 1, work.isl + 1, how), host_s))
    return steps


def run_steps(prepared: Prepared, steps: list[Step]) -> Execution:
    """Run graphs one after the other on the stages of one pool."""
    units = units_of((prepared,))
    name = prepared.pool.name
    writer = ProgramWriter(units)
    last: tuple[Product, ...] = ()
    for phase, lower, host_s in steps:
        started = writer.host(units[name][0], host_s, last)
        last = write_graph(writer, shared_graph((prepared,), lower), Placer((), name), phase, (started,)).last
    return execute(writer.build())
