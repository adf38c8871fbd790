"""One pool on the engine: what the closed form adds up, watched as it happens.

Nothing contends in one pool, so that a step takes as long as the closed form says.
"""

from __future__ import annotations

from simulator.engine.executor import execute
from simulator.engine.tasks import Execution
from simulator.placement.program import Product, ProgramWriter, units_of, write_graph
from simulator.placement.rules import Placer
from simulator.prepared import Prepared
from simulator.scenario import StaticBatch, TrainStep
from simulator.steps.pricing import price_graph
from simulator.steps.static_batch import host_seconds
from simulator.timeline import Timeline
from workloads.graph import Graph
from workloads.lowering.inference import lower_step
from workloads.lowering.training import lower_micro_batch


def watch(prepared: Prepared) -> Timeline:
    """The first prefill and decode step of an inference batch, or the first micro-batch of a training step."""
    return run_graphs(prepared, graphs_of(prepared)).timeline()


def graphs_of(prepared: Prepared) -> list[tuple[str, Graph, float]]:
    """The graphs of one replica to watch, in order: phase, graph, host time before it [s]."""
    work, plan, how = prepared.scenario.workload, prepared.pool.plan, prepared.how
    runtime = prepared.pool.runtime
    if isinstance(work, TrainStep):
        graph = lower_micro_batch(work.model, work.micro_batch, work.seq_len, how, work.recompute, work.lora_rank)
        return [("forward", graph, runtime.host_step.value)]
    assert isinstance(work, StaticBatch)
    replica = -(-work.batch // plan.dp)
    micro = -(-replica // min(plan.pp, replica))
    host_s = host_seconds(runtime, replica)
    phase = "encode" if work.model.is_encoder else "prefill"
    steps = [(phase, lower_step(work.model, phase, micro, work.isl, work.isl, how), host_s)]  # type: ignore[arg-type]
    if work.osl > 1:
        steps.append(("decode", lower_step(work.model, "decode", micro, 1, work.isl + 1, how), host_s))
    return steps


def run_graphs(prepared: Prepared, graphs: list[tuple[str, Graph, float]]) -> Execution:
    """Run graphs one after the other on the stages of one pool."""
    units = units_of((prepared,))
    name = prepared.pool.name
    placer = Placer((), name)
    writer = ProgramWriter(units)
    last: tuple[Product, ...] = ()
    for phase, graph, host_s in graphs:
        started = writer.host(units[name][0], host_s, last)
        priced = price_graph(graph, prepared.model, prepared.communicators)
        last = write_graph(writer, {name: priced}, placer, phase, (started,)).last
    return execute(writer.build())
