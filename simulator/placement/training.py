"""A training step on several pools: layers and operators where the rules put them, a pipeline of unequal stages.

Micro-batches run one behind the other on the engine, as many at a time as pools take part, the oldest first wherever
two want the same device; so forwards and backwards alternate as in 1F1B. When all are through, every pool updates the
parameters that it holds, or, where a rule places the update elsewhere (an optimizer in CPU memory), gradients go there
and weights come back. Each pool is one replica: no gradients are reduced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from hardware_specs.errors import InputError
from simulator import memory
from simulator.assemble import Answer, assemble, pool_use
from simulator.engine.executor import execute
from simulator.engine.tasks import Execution
from simulator.placement.accounting import Run, account, bound_of
from simulator.placement.graphs import Placed, SharedGraph, shared_graph, write_graph
from simulator.placement.memory import Homes, held_bytes, held_parameters, homes_of, pieces_of, ways_of
from simulator.placement.pools import common_structure, names_of
from simulator.placement.program import Product, ProgramWriter, Units, units_of
from simulator.placement.rhythm import Stepped, follow, simulated
from simulator.placement.rules import Placer, placer_of
from simulator.prepared import Prepared
from simulator.result import MemoryUse, PhaseCost, Result
from simulator.scenario import Scenario, TrainStep
from simulator.steps.pricing import PricedGraph, phase_cost, price_graph
from simulator.steps.train_step import adapter_parameters, counted_flops, micro_batches, recomputed, state_bytes
from simulator.steps.training_result import POWERS, forward_and_backward, training_metrics
from workloads.graph import Graph
from workloads.lowering.plan import Lowering
from workloads.lowering.training import Gradients, gradient_tensors, lower_micro_batch, lower_update


def placed_training(scenario: Scenario, work: TrainStep) -> Result:
    """Run one optimizer step on the pools of ``scenario``.

    Raises:
        InputError: a plan that the engine does not run, rules that place nothing or part a backward from its forward.
    """
    prepared = common_structure(scenario)
    units, placer, plan = units_of(prepared), placer_of(scenario), prepared[0].pool.plan
    count, runtime = micro_batches(work, plan), prepared[0].pool.runtime
    again = recomputed(plan, runtime)

    def micro_batch(how: Lowering) -> Graph:
        kept = Gradients(state_bytes(how.precision.attention, runtime)[1], count > 1, how.fused("accumulate"))
        return lower_micro_batch(work.model, plan.micro_batch, work.seq_len, how, again, work.lora_rank, kept)

    shared = shared_graph(prepared, micro_batch)
    homes, updates = _homes(work, placer)
    placed = _write(units, placer, shared, 1, 1)[2]
    depth = sum(bool(ran.any()) for ran in placed.counts.values())
    rhythm = follow(lambda steps: _run(units, placer, shared, steps, depth), count, depth)
    trained = _trained(work, prepared, homes, updates)
    tensors = {
        each.pool.name: gradient_tensors(
            shared.priced[each.pool.name].graph, work.model.tied, state_bytes(each.precision.attention, runtime)[1]
        )
        for each in prepared
    }
    update, costs = _update(prepared, units, trained, tensors)
    placer.check_all_matched()
    totals = account((*rhythm.runs, Run(update)), prepared, units)
    model_flops, hardware_flops = (f * work.global_batch for f in counted_flops(work, prepared[0].how, plan.recompute))
    metrics, reasons = training_metrics(prepared, work, totals.duration_s, totals.energy_j, model_flops, hardware_flops)
    in_flight = min(depth, count)
    answer = Answer(
        title=f"training step of {work.model.id} on {names_of(prepared)}",
        metrics=metrics,
        pools=tuple(
            pool_use(
                e, _memory(e, work, homes, trained, in_flight), totals.energy_j[e.pool.name],
                totals.busy_s[e.pool.name],
            )
            for e in prepared
        ),
        duration_s=totals.duration_s, bound={"step": bound_of(rhythm.shown.execution)}, breakdown=totals.breakdown,
        parts=totals.parts, phases=_phases(prepared, shared, placed, count, costs), powers=POWERS, reasons=reasons,
        timeline=rhythm.shown.execution.timeline(),
        warnings=simulated("micro-batches", count, len(rhythm.shown.stops), rhythm.exact),
    )  # fmt: skip
    return assemble(prepared, answer)


class Share(NamedTuple):
    """Trained parameters of some part of the model: in all, and on one device of the pool that updates them."""

    whole: float
    each: float


Trained = Mapping[tuple[str, str], Share]
"""Trained parameters by the pool that holds and the one that updates them."""


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


def _trained(work: TrainStep, prepared: Sequence[Prepared], homes: Homes, updates: Homes) -> Trained:
    """Which parameters are updated where; adapters are spread as the layers that they belong to."""
    shares: dict[tuple[str, str], Share] = {}
    ways = {each.pool.name: ways_of(each.how.sharding) for each in prepared}
    for piece in pieces_of(work.model):
        if not piece.parameters or (work.lora_rank and piece.layer is None):
            continue
        holder, updater = (min(where[piece.operator, piece.layer]) for where in (homes, updates))
        before = shares.get((holder, updater), Share(0.0, 0.0))
        own = piece.parameters / ways[updater][piece.cut]
        shares[holder, updater] = Share(before.whole + piece.parameters, before.each + own)
    if work.lora_rank:
        scale = adapter_parameters(work) / sum(share.whole for share in shares.values())
        return {key: Share(share.whole * scale, share.each * scale) for key, share in shares.items()}
    return shares


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


def _update(
    prepared: Sequence[Prepared], units: Units, trained: Trained, tensors: Mapping[str, Mapping[float, float]]
) -> tuple[Execution, dict[str, PricedGraph]]:
    """All pools update at once; also the update of each pool that has one, priced on one device."""
    writer = ProgramWriter(units)
    costs: dict[str, PricedGraph] = {}
    for each in prepared:
        name, unit = each.pool.name, units[each.pool.name][0]
        mine = {holder: share for (holder, updater), share in trained.items() if updater == name}
        if not mine:
            continue
        weights, gradients, states = state_bytes(each.precision.attention, each.pool.runtime)
        own = sum(share.each for share in mine.values())
        graph = lower_update(own, gradients, states, weights, tensors[name])
        costs[name] = price_graph(graph, each.model, each.communicators)
        moved = {holder: share.whole for holder, share in mine.items() if holder != name}
        arrived = [
            writer.send(units[holder][0], unit, size * gradients, (), "gradients") for holder, size in moved.items()
        ]
        done = writer.operator(unit, costs[name], 0, arrived, 0.0)
        for index in range(1, len(graph.operators)):
            done = writer.operator(unit, costs[name], index, (done,), 0.0)
        for holder, size in moved.items():
            writer.send(unit, units[holder][0], size * weights, (done,), "weights")
    return execute(writer.build()), costs


def _memory(each: Prepared, work: TrainStep, homes: Homes, trained: Trained, in_flight: int) -> MemoryUse:
    """Bytes on one device of a pool; a layer that is cut between pools is counted in full on each."""
    arch, p, name, plan = work.model, each.precision, each.pool.name, each.pool.plan
    runtime = each.pool.runtime
    tp = plan.tp
    held = held_parameters(each, arch, homes)
    weights, gradients, states = state_bytes(p.attention, each.pool.runtime)
    groups = [group for group in arch.groups for _ in range(group.count)]
    here = {piece.layer for piece in pieces_of(arch) if name in homes[piece.operator, piece.layer]}
    flash = each.how.fused("flash")
    cut = each.how.sharding
    layers = [
        memory.layer_training_bytes(arch, group, plan.micro_batch, work.seq_len, recomputed(plan, runtime), flash, cut)
        for layer, group in enumerate(groups)
        if layer in here
    ]
    logit_bytes = runtime.loss_bytes.value if runtime.loss_bytes else memory.LOGIT_BYTES
    logits = memory.training_logit_bytes(arch, plan.micro_batch, work.seq_len, cut, logit_bytes)
    own = sum(share.whole for (holder, _), share in trained.items() if holder == name) / tp
    updated = sum(share.each for (_, updater), share in trained.items() if updater == name)
    return MemoryUse(
        weights=held_bytes(held, p) + (own * weights if work.lora_rank else 0.0),
        activations=sum(layer.kept for layer in layers) * in_flight
        + max([layer.again for layer in layers] + [logits if name in homes["head.logits", None] else 0.0]),
        gradients=max(own, updated) * gradients,
        optimizer=updated * states,
        overhead=each.pool.runtime.context.value,
    )


def _phases(
    prepared: Sequence[Prepared], shared: SharedGraph, placed: Placed, count: int, updates: Mapping[str, PricedGraph]
) -> tuple[PhaseCost, ...]:
    """Forward, backward and update on each pool that takes part in them."""
    rows: list[PhaseCost] = []
    for each in prepared:
        name, device = each.pool.name, each.pool.device.id
        if placed.counts[name].any():
            whole = phase_cost("step", shared.priced[name], device, steps=float(count), counts=placed.counts[name])
            rows += forward_and_backward(whole)
        if name in updates:
            rows.append(phase_cost("update", updates[name], device))
    return tuple(rows)
