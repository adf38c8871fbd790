"""An explicit dataflow on one or several pools: its steps one after the other on the engine.

Input for later steps is loaded while earlier ones compute, ``PREFETCH`` steps ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hardware_specs.errors import InputError
from simulator.assemble import Answer, assemble, paid_usd, pool_use
from simulator.engine.executor import execute
from simulator.placement.accounting import Account, account, bound_of
from simulator.placement.graphs import Inputs, Placed, SharedGraph, write_graph
from simulator.placement.pools import common_structure, names_of
from simulator.placement.program import Product, ProgramWriter, Units, units_of
from simulator.placement.rhythm import Stepped, follow, simulated
from simulator.placement.rules import Placer, placer_of
from simulator.placement.units import Unit
from simulator.prepared import Prepared
from simulator.result import MemoryUse, PhaseCost, Result
from simulator.scenario import Scenario
from simulator.steps.pricing import PricedGraph, phase_cost, price_graph
from workloads.lowering.dataflow import Dataflow, check_dataflow, lower_dataflow
from workloads.operators import OpKind

PREFETCH = 2

POWERS = {"makespan_s": 1.0, "step_time_s": 1.0, "samples_per_s": -1.0, "usd_per_step": 1.0}


def placed_dataflow(scenario: Scenario, flow: Dataflow) -> Result:
    """Run ``flow`` on the pools of ``scenario``.

    Raises:
        InputError: a dataflow that means nothing, a plan that the engine does not run, rules that place nothing.
    """
    check_dataflow(flow)
    prepared = common_structure(scenario)
    for each in prepared:
        if each.pool.plan.tp > 1 or each.pool.plan.pp > 1:
            raise InputError(
                f"pool {each.pool.name}: tp {each.pool.plan.tp}, pp {each.pool.plan.pp}; a dataflow is cut by dp or by "
                "placing its operators on pools, not by tp or pp"
            )
    units, placer = units_of(prepared), placer_of(scenario)
    graphs = {each.pool.name: _priced(each, flow) for each in prepared}
    shared = SharedGraph(graphs, next(iter(graphs.values())).graph, {})
    placed = _write(flow, units, placer, shared, 1)[2]
    placer.check_all_matched()
    rhythm = follow(lambda steps: _run(flow, units, placer, shared, steps), flow.steps, PREFETCH)
    execution, shown = rhythm.shown.execution, len(rhythm.shown.stops)
    totals = account(rhythm.runs, prepared, units)
    metrics, reasons = _metrics(flow, prepared, totals, rhythm.step_s)
    answer = Answer(
        title=f"dataflow on {names_of(prepared)}",
        metrics=metrics,
        pools=tuple(
            pool_use(e, _memory(e, flow, graphs, placed), totals.energy_j[e.pool.name], totals.busy_s[e.pool.name])
            for e in prepared
        ),
        duration_s=totals.duration_s, bound={"step": bound_of(execution)}, breakdown=totals.breakdown,
        parts=totals.parts, phases=_phases(flow, prepared, graphs, placed), powers=POWERS, reasons=reasons,
        timeline=execution.timeline(),
        warnings=simulated("steps", flow.steps, shown, rhythm.exact),
    )  # fmt: skip
    return assemble(prepared, answer)


def _priced(each: Prepared, flow: Dataflow) -> PricedGraph:
    graph = lower_dataflow(
        flow.operators, flow.inputs, flow.batch, flow.phases, dp=each.pool.plan.dp, optimizer=flow.optimizer
    )
    return price_graph(graph, each.model, each.communicators)


def _run(flow: Dataflow, units: Units, placer: Placer, shared: SharedGraph, steps: int) -> Stepped:
    """Run the first ``steps`` steps."""
    writer, stops, _ = _write(flow, units, placer, shared, steps)
    return Stepped(execute(writer.build()), stops)


def _write(
    flow: Dataflow, units: Units, placer: Placer, shared: SharedGraph, steps: int
) -> tuple[ProgramWriter, list[int], Placed]:
    """Write the first ``steps`` steps; also how many tasks there are after each, and what one of them placed."""
    writer = ProgramWriter(units)
    first = next(iter(units.values()))[0]
    readers = _readers(flow, units, placer)
    stops: list[int] = []
    done: list[tuple[Product, ...]] = []
    loaded: dict[str, tuple[Product, ...]] = {}
    for step in range(steps):
        before = done[-1] if done else ()
        room = done[step - PREFETCH] if step >= PREFETCH else ()
        if flow.input_bytes_per_sample:
            size = flow.batch * flow.input_bytes_per_sample
            loaded = {
                u.name: (_here(writer.load(u, size, (*room, *loaded.get(u.name, ())))),) for u in readers.values()
            }
        started = writer.host(first, first.prepared.pool.runtime.host_step.value, before)
        inputs: Inputs = {(None, name): loaded.get(unit.name, ()) for name, unit in readers.items()}
        placed = write_graph(writer, shared, placer, "forward", (_here(started),), inputs)
        done.append(tuple(_here(product) for product in placed.ends))
        stops.append(len(writer))
    return writer, stops, placed


def _here(product: Product) -> Product:
    """``product`` as something to wait for only: nothing of it is moved."""
    return replace(product, size_bytes=0.0)


def _readers(flow: Dataflow, units: Units, placer: Placer) -> dict[str, Unit]:
    """Units of the operators that read inputs from outside, by operator."""
    outside = {tensor.name for tensor in flow.inputs}
    return {o.name: units[placer.pool(o.name, "forward")][0] for o in flow.operators if outside.intersection(o.inputs)}


def _metrics(
    flow: Dataflow, prepared: tuple[Prepared, ...], totals: Account, step_s: float
) -> tuple[dict[str, float | None], dict[str, str]]:
    paid, unknown = paid_usd(prepared, totals.energy_j, totals.duration_s)
    values: dict[str, float | None] = {
        "makespan_s": totals.duration_s,
        "step_time_s": step_s,
        "samples_per_s": flow.batch * flow.steps / totals.duration_s,
        "usd_per_step": paid / flow.steps if paid is not None else None,
    }
    return values, {"usd_per_step": unknown} if unknown else {}


def _memory(each: Prepared, flow: Dataflow, graphs: Mapping[str, PricedGraph], placed: Placed) -> MemoryUse:
    """Weights and states of what runs on the pool, and every result that it keeps for the backward."""
    name = each.pool.name
    ran = [o for o, n in zip(graphs[name].graph.operators, placed.counts[name], strict=True) if n > 0.0]
    updates = [o for o in ran if o.kind == OpKind.OPTIMIZER]
    gradients = sum(o.m * 4.0 for o in updates)
    forward = [o for o in ran if o.kind != OpKind.OPTIMIZER and not o.name.endswith((".dgrad", ".wgrad"))]
    weights = sum(o.weight_bytes for o in forward)
    states = sum(max(0.0, o.write_bytes - o.m * 4.0) for o in updates)
    results = sum(o.write_bytes for o in forward)
    loaded = PREFETCH * flow.batch * flow.input_bytes_per_sample / (each.pool.plan.tp * each.pool.plan.dp)
    return MemoryUse(
        weights=weights, activations=results + loaded, gradients=gradients, optimizer=states,
        overhead=each.pool.runtime.context.value,
    )  # fmt: skip


def _phases(
    flow: Dataflow, prepared: tuple[Prepared, ...], graphs: Mapping[str, PricedGraph], placed: Placed
) -> tuple[PhaseCost, ...]:
    """Operators of all steps on each pool that takes part."""
    return tuple(
        phase_cost("step", graphs[name], e.model, steps=float(flow.steps), counts=placed.counts[name])
        for e in prepared
        if placed.counts[name := e.pool.name].any()
    )
