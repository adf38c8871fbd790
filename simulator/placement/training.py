"""A training step on several pools: layers and operators where the rules put them, a pipeline of unequal stages.

Micro-batches run one behind the other on the engine, as many at a time as pools take part, the oldest first wherever
two want the same device; so forwards and backwards alternate as in 1F1B. What passes from pool to pool is as many
sequences as the pool with the largest micro-batch x dp takes at once; one that takes fewer runs several times for them,
and what crosses is spread over the devices of both, however many replicas either has. When all are through, every pool
updates the parameters that it holds, or, where a rule places the update elsewhere (an optimizer in CPU memory),
gradients go there and weights come back. Left out: the gathering of what crossed among tensor parallel ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hardware_specs.errors import InputError
from simulator.assemble import Answer, assemble, pool_use
from simulator.engine.executor import execute
from simulator.placement.accounting import Run, account, bound_of
from simulator.placement.graphs import Placed, SharedGraph, write_graph
from simulator.placement.memory import Homes, homes_of
from simulator.placement.pools import common_structure, names_of
from simulator.placement.program import Product, ProgramWriter, Units, units_of
from simulator.placement.rhythm import Stepped, follow, simulated
from simulator.placement.rules import Placer, placer_of
from simulator.placement.training_memory import pool_memory, trained_on_pools
from simulator.placement.training_update import update_pools
from simulator.prepared import Prepared
from simulator.result import PhaseCost, Result
from simulator.scenario import Scenario, TrainStep
from simulator.steps.pricing import PricedGraph, phase_cost, price_graph
from simulator.steps.replicas import state_bytes
from simulator.steps.train_step import counted_flops, recomputed
from simulator.steps.training_result import POWERS, forward_and_backward, training_metrics
from workloads.graph import Graph
from workloads.lowering.plan import Lowering, Sharding
from workloads.lowering.training import Gradients, lower_micro_batch


@dataclass(frozen=True)
class Shape:
    """What passes the pools: ``count`` micro-batches of ``sequences``, for which each pool runs some ``passes``."""

    sequences: int
    count: int
    passes: dict[str, int]


def shape_of(work: TrainStep, prepared: Sequence[Prepared]) -> Shape:
    """Micro-batches that all pools can share.

    Raises:
        InputError: the largest micro-batch x dp is no multiple of another pool's, or does not divide the global batch.
    """
    each = {e.pool.name: e.pool.plan.micro_batch * e.pool.plan.dp for e in prepared}
    largest = max(each, key=each.__getitem__)
    most = each[largest]
    for name, own in each.items():
        if most % own:
            raise InputError(
                f"pool {name}: micro-batch x dp = {own}: must divide that of pool {largest}, {most}, with which it "
                "shares micro-batches"
            )
    if work.global_batch % most:
        raise InputError(
            f"--global-batch {work.global_batch}: must be a multiple of the largest micro-batch x dp of a pool, {most}"
        )
    return Shape(most, work.global_batch // most, {name: most // own for name, own in each.items()})


def placed_training(scenario: Scenario, work: TrainStep) -> Result:
    """Run one optimizer step on the pools of ``scenario``.

    Raises:
        InputError: a plan that the engine does not run, rules that place nothing or part a backward from its forward.
    """
    prepared = common_structure(scenario, replicas=True)
    units, placer, plan = units_of(prepared), placer_of(scenario), prepared[0].pool.plan
    shape = shape_of(work, prepared)
    shared = priced_pools(work, prepared, shape)
    homes, updates = _homes(work, placer)
    placed = _write(units, placer, shared, 1, 1)[2]
    depth = sum(bool(ran.any()) for ran in placed.counts.values())
    rhythm = follow(lambda steps: _run(units, placer, shared, steps, depth), shape.count, depth)
    trained = trained_on_pools(work, prepared, homes, updates)
    pass_s = {
        name: float((shared.priced[name].time_s * ran).sum()) / shape.passes[name]
        for name, ran in placed.counts.items()
    }
    update, costs = update_pools(work, prepared, units, homes, trained, shared.priced, pass_s)
    placer.check_all_matched()
    totals = account((*rhythm.runs, Run(update)), prepared, units)
    model_flops, hardware_flops = (f * work.global_batch for f in counted_flops(work, prepared[0].how, plan.recompute))
    metrics, reasons = training_metrics(prepared, work, totals.duration_s, totals.energy_j, model_flops, hardware_flops)
    in_flight = min(depth, shape.count)
    answer = Answer(
        title=f"training step of {work.model.id} on {names_of(prepared)}",
        metrics=metrics,
        pools=tuple(
            pool_use(
                e, pool_memory(e, work, homes, trained, in_flight, shape.passes[e.pool.name]),
                totals.energy_j[e.pool.name], totals.busy_s[e.pool.name],
            )
            for e in prepared
        ),
        duration_s=totals.duration_s, bound={"step": bound_of(rhythm.shown.execution)}, breakdown=totals.breakdown,
        parts=totals.parts, phases=_phases(prepared, shared, placed, shape.count, costs), powers=POWERS,
        reasons=reasons, timeline=rhythm.shown.execution.timeline(),
        warnings=simulated("micro-batches", shape.count, len(rhythm.shown.stops), rhythm.exact), step=True,
    )  # fmt: skip
    return assemble(prepared, answer)


def priced_pools(work: TrainStep, prepared: Sequence[Prepared], shape: Shape) -> SharedGraph:
    """One micro-batch as each pool runs it: its own part of the sequences, all its passes together."""
    plan, runtime = prepared[0].pool.plan, prepared[0].pool.runtime
    again = recomputed(plan, runtime)

    def lowered(how: Lowering, sequences: int, added: bool) -> Graph:
        kept = Gradients(state_bytes(work, how.precision.attention, runtime)[1], added, how.fused("accumulate"))
        return lower_micro_batch(work.model, sequences, work.seq_len, how, again, work.lora_rank, kept)

    def priced(each: Prepared) -> PricedGraph:
        passes = shape.passes[each.pool.name]
        graph = lowered(each.how, each.pool.plan.micro_batch, shape.count * passes > 1)
        return _repeated(price_graph(graph, each.model, each.communicators), passes)

    first, several = prepared[0].how, shape.count > 1
    cut = Sharding(max(e.how.sharding.tp for e in prepared), max(e.how.sharding.ep for e in prepared))
    return SharedGraph(
        {e.pool.name: priced(e) for e in prepared},
        lowered(replace(first, sharding=cut), shape.sequences, several),
        {e.pool.name: lowered(replace(e.how, sharding=Sharding()), shape.sequences, several) for e in prepared},
        {e.pool.name: e.pool.plan.dp for e in prepared},
    )


def _repeated(priced: PricedGraph, passes: int) -> PricedGraph:
    """A graph every operator of which runs ``passes`` times, one behind the other: FLOPs, bytes and messages are those
    of all together."""
    if passes == 1:
        return priced
    operators = tuple(
        replace(
            o, flops=o.flops * passes, message_bytes=o.message_bytes * passes, weight_bytes=o.weight_bytes * passes,
            read_bytes=o.read_bytes * passes, write_bytes=o.write_bytes * passes,
        )
        for o in priced.graph.operators
    )  # fmt: skip
    return PricedGraph(
        replace(priced.graph, operators=operators), priced.time_s * passes, priced.compute_s * passes,
        priced.memory_s * passes, priced.overhead_s * passes, priced.communication_s * passes, priced.energy_j * passes,
        priced.graph,
    )  # fmt: skip


def _homes(work: TrainStep, placer: Placer) -> tuple[Homes, Homes]:
    """Where parameters lie, and where they are updated."""
    # Only the probes of the update count as places: forward and backward are written operator by operator.
    asking = replace(placer, matched=set())
    forward, backward = (homes_of(work.model, asking, (phase,)) for phase in ("forward", "backward"))
    for key, pools in forward.items():
        if backward[key] != pools:
            operator, layer = key
            where = f" of layer {layer}" if layer is not None else ""
            raise InputError(
                f"[plan] place: the forward of {operator}{where} runs on {min(pools)}, its backward on "
                f"{min(backward[key])}; the backward needs what the forward kept: place both on one pool"
            )
    return forward, homes_of(work.model, placer, ("update",))


def _run(units: Units, placer: Placer, shared: SharedGraph, steps: int, depth: int) -> Stepped:
    """Run the first ``steps`` micro-batches, ``depth`` at a time."""
    writer, stops, _ = _write(units, placer, shared, steps, depth)
    return Stepped(execute(writer.build()), stops)


def _write(
    units: Units, placer: Placer, shared: SharedGraph, steps: int, depth: int
) -> tuple[ProgramWriter, list[int], Placed]:  # fmt: skip
    """Write micro-batches; also how many tasks there are after each, and what one of them placed."""
    writer = ProgramWriter(units)
    home = units[placer.pool("embedding", "forward")][0]
    done: list[tuple[Product, ...]] = []
    stops: list[int] = []
    for step in range(steps):
        room = done[step - depth] if step >= depth else ()
        started = writer.host(home, home.prepared.pool.runtime.host_step.value, room)
        placed = write_graph(writer, shared, placer, "forward", (started,))
        done.append(placed.last)
        stops.append(len(writer))
    return writer, stops, placed


def _phases(
    prepared: Sequence[Prepared], shared: SharedGraph, placed: Placed, count: int, updates: Mapping[str, PricedGraph]
) -> tuple[PhaseCost, ...]:
    """Forward, backward and update on each pool that takes part in them."""
    rows: list[PhaseCost] = []
    for each in prepared:
        name = each.pool.name
        if placed.counts[name].any():
            whole = phase_cost("step", shared.priced[name], each.model, steps=float(count), counts=placed.counts[name])
            rows += forward_and_backward(whole)
        if name in updates:
            rows.append(phase_cost("update", updates[name], each.model))
    return tuple(rows)
