"""The end of a training step on several pools: gradients of replicas, tied ends, the update, weights back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from simulator.engine.executor import execute
from simulator.engine.tasks import Execution
from simulator.memory import tied_parameters
from simulator.placement.memory import Homes
from simulator.placement.program import Product, ProgramWriter, Units
from simulator.placement.training_memory import Trained, tied_apart, updated_by
from simulator.prepared import Prepared
from simulator.scenario import TrainStep
from simulator.steps.pricing import PricedGraph, price_graph
from simulator.steps.replicas import (
    Replicas,
    Traffic,
    exchanged_beside,
    moved_weight_bytes,
    shards_of,
    state_bytes,
    zero_stage,
)
from simulator.steps.replicas import Trained as Updated
from workloads.lowering.training import gradient_tensors, lower_update


def update_pools(
    work: TrainStep, prepared: Sequence[Prepared], units: Units, homes: Homes, trained: Trained,
    micros: Mapping[str, PricedGraph], stage_s: Mapping[str, float],
) -> tuple[Execution, dict[str, PricedGraph]]:  # fmt: skip
    """All pools update at once; also the update of each pool that has one, priced on one device.

    Replicas of a pool exchange gradients and weights as ``steps.replicas`` says, what math hides left out. The gradient
    of a tied head goes to where the embedding is updated, and the weights come back.

    Args:
        micros: a micro-batch as each pool prices it.
        stage_s: time of one pass of each pool [s].
    """
    writer = ProgramWriter(units)
    costs: dict[str, PricedGraph] = {}
    ends = None if work.lora_rank else tied_apart(work.model, homes)
    reduced = {each.pool.name: _exchanged(writer, work, each, units, trained, micros, stage_s) for each in prepared}
    for each in prepared:
        name, unit = each.pool.name, units[each.pool.name][0]
        mine = {holder: share for (holder, updater), share in trained.items() if updater == name}
        if not mine:
            continue
        weights, gradients, states = state_bytes(work, each.precision.attention, each.pool.runtime)
        shards = shards_of(work, each.pool.plan, each.pool.runtime).states
        tensors = gradient_tensors(micros[name].graph, work.model.tied, gradients)
        own = sum(share.each for share in mine.values()) / shards
        graph = lower_update(own, gradients, states, weights, {size / shards: n for size, n in tensors.items()})
        costs[name] = price_graph(graph, each.model, each.communicators)
        moved = {holder: share.whole for holder, share in mine.items() if holder != name}
        if ends and ends[0] == name:
            moved[ends[1]] = moved.get(ends[1], 0.0) + tied_parameters(work.model)
        arrived = [
            *reduced[name],
            *(
                writer.send(units[holder][0], unit, size * gradients, reduced[holder], "gradients")
                for holder, size in moved.items()
            ),
        ]
        done = writer.operator(unit, costs[name], 0, arrived, 0.0)
        for index in range(1, len(graph.operators)):
            done = writer.operator(unit, costs[name], index, (done,), 0.0)
        for holder, size in moved.items():
            writer.send(unit, units[holder][0], size * weights, (done,), "weights")
    return execute(writer.build()), costs


def _exchanged(
    writer: ProgramWriter, work: TrainStep, each: Prepared, units: Units, trained: Trained,
    micros: Mapping[str, PricedGraph], stage_s: Mapping[str, float],
) -> tuple[Product, ...]:  # fmt: skip
    """What replicas of a pool exchange that no math hides; nothing of one replica."""
    plan = each.pool.plan
    if plan.dp == 1:
        return ()
    weights, gradients, _ = state_bytes(work, each.precision.attention, each.pool.runtime)
    updated = Updated(updated_by(trained, each.pool.name), 0.0)
    zero = zero_stage(work, plan, each.pool.runtime)
    moved = moved_weight_bytes(work, zero, each.precision, weights)
    replicas = Replicas(updated, moved, gradients, each.communicators, each.model)
    # A pool is a stage of a pipeline: shards of ZeRO stage 3 are gathered once for all micro-batches.
    staged = msgspec.structs.replace(plan, pp=max(2, len(units)))
    name = each.pool.name
    traffic = Traffic(exchanged_beside(micros[name], each.communicators, each.model)[None], np.zeros(1, np.int64))
    share = stage_s[name] / micros[name].total_s
    seconds = replicas.exposed_s(work, staged, 1, stage_s[name], stage_s[name], traffic, share)
    return (writer.exchange(units[name][0], "gradients", seconds),)
