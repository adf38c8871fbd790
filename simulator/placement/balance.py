"""Layers of a training step balanced over pools of different devices: the fastest split that fits, and what each pool
would do alone.

A pool of t seconds a layer (forward and backward of one micro-batch, all its passes) with n layers takes n t, and the
embedding or the head besides. With as many micro-batches in flight as there are pools a step of M of them takes about

    T = sum(t_p) + M max(max t_p, (sum(t_p) + sum(t_send) + t_host) / pools)

All splits are estimated so (of very many those of the least slowest pool), those whose layers do not fit the memory of
their pool left out; the best few are run on the engine, which has the last word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb
from typing import Final

import msgspec
import numpy as np

from hardware_specs.errors import InputError
from simulator.placement.alone import best_alone
from simulator.placement.graphs import SharedGraph
from simulator.placement.memory import homes_of
from simulator.placement.pools import common_structure
from simulator.placement.program import Units, units_of
from simulator.placement.rules import Placer
from simulator.placement.training import Shape, placed_training, priced_pools, shape_of
from simulator.placement.training_memory import pool_memory, trained_on_pools
from simulator.placement.units import Unit, transfer_flow
from simulator.placement.verdict import verdict
from simulator.prepared import Prepared
from simulator.result import Result
from simulator.scenario import Rule, Scenario, TrainStep
from simulator.steps.pipeline import parts_seconds
from simulator.steps.split import Floats, balanced_split, forbid, runs_seconds

BALANCED: Final = "balanced"
TRIED: Final = 5
"""Splits that are run on the engine."""
MOST: Final = 100_000
"""Splits that are estimated one by one."""


def mixed_training(scenario: Scenario, work: TrainStep) -> Result:
    """Run one optimizer step on several pools, layers balanced where the scenario asks for it.

    The ``configuration`` of a balanced result says also the split, what each pool would do alone, and whether the
    mixture pays.

    Raises:
        InputError: as ``placed_training``; rules that place layers beside balanced ones; more pools than layers.
    """
    if not scenario.layers:
        return placed_training(scenario, work)
    found = balance(scenario, work)
    alone = [best_alone(scenario, work, pool) for pool in scenario.pools]
    result = found.result
    names = [pool.name for pool in scenario.pools]
    firsts = np.cumsum([0, *found.lengths])
    said = {
        name: f"{first}-{first + length - 1} ({length})"
        for name, first, length in zip(names, firsts[:-1].tolist(), found.lengths, strict=True)
    }
    told = {
        "layers": ", ".join(f"{name} {words}" for name, words in said.items()),
        **{f"{each.pool} alone": each.words for each in alone},
        "verdict": verdict(result, alone, found.held_back),
        "split": dict(zip(names, found.lengths, strict=True)),
        "alone": [each.as_json() for each in alone],
    }
    return msgspec.structs.replace(
        result, configuration={**result.configuration, **told}, scenario_hash=scenario.hash
    )  # fmt: skip


@dataclass(frozen=True)
class Balance:
    """Layers of each pool and the step with them; ``held_back`` names a pool that memory keeps from its best part."""

    lengths: tuple[int, ...]
    result: Result
    held_back: str = ""


def balance(scenario: Scenario, work: TrainStep) -> Balance:
    """The fastest split of the layers over the pools that fits; where none does, the fastest of all.

    Raises:
        InputError: as ``mixed_training``.
    """
    _check(scenario, work)
    bare = msgspec.structs.replace(scenario, layers="", rules=())
    prepared = common_structure(bare, replicas=True)
    shape = shape_of(work, prepared)
    shared = priced_pools(work, prepared, shape)
    seconds = pool_seconds(prepared, shared)
    limited = seconds.copy()
    for index in range(len(prepared)):
        forbid(limited[index], _fits(work, prepared, index, shape))
    between_s = _between_s(work, prepared, units_of(prepared), shape)
    free = ranked(seconds, shape.count, between_s)
    tried = ranked(limited, shape.count, between_s) or free
    results = [
        (lengths, placed_training(under(scenario, lengths), work))
        for lengths in tried[:TRIED]
    ]  # fmt: skip
    lengths, result = min(results, key=lambda each: (not each[1].fits, each[1].metrics["step_time_s"] or 0.0))
    held_back = ""
    if tried[0] != free[0]:
        short = max(range(len(lengths)), key=lambda index: free[0][index] - lengths[index])
        held_back = prepared[short].pool.name if free[0][short] > lengths[short] else ""
    return Balance(lengths, result, held_back)


def _check(scenario: Scenario, work: TrainStep) -> None:
    if scenario.layers != BALANCED:
        raise InputError(f"[plan] layers {scenario.layers!r}: allowed is {BALANCED!r}")
    for index, rule in enumerate(scenario.rules):
        if rule.phase != "update":
            raise InputError(
                f"[plan] place[{index}]: layers are balanced; beside that only phase 'update' can be placed"
            )
    if work.model.layers < len(scenario.pools):
        raise InputError(f"[plan] layers: {work.model.id} has {work.model.layers} for {len(scenario.pools)} pools")


def under(scenario: Scenario, lengths: Sequence[int]) -> Scenario:
    """The scenario whose pools have so many layers each: the embedding is on the first, the head on the last one."""
    rules = list(scenario.rules)
    first = 0
    for pool, length in zip(scenario.pools, lengths, strict=True):
        rules.append(Rule(pool.name, layers=(first, first + length - 1)))
        first += length
    rules.append(Rule(scenario.pools[-1].name, operator="head.*"))
    return msgspec.structs.replace(scenario, layers="", rules=tuple(rules))


def pool_seconds(prepared: Sequence[Prepared], shared: SharedGraph) -> Floats:
    """Time of every run of layers on each pool, [pools, layers + 1, layers + 1] [s]: as ``runs_seconds``."""
    found = []
    for index, each in enumerate(prepared):
        parts = parts_seconds(shared.priced[each.pool.name])
        layers = [once for once, count in zip(parts.layers_s, parts.counts, strict=True) for _ in range(count)]
        begins_s = (parts.embedding_s if index == 0 else 0.0) + (parts.head_s if index == len(prepared) - 1 else 0.0)
        found.append(runs_seconds(layers, begins_s, 1))
    return np.stack(found)


def ranked(seconds: Floats, count: int, between_s: float) -> list[tuple[int, ...]]:
    """Splits by the estimate of their step, fastest first; none where none is allowed.

    Args:
        seconds: as ``pool_seconds`` gives it; inf: does not fit.
        count: micro-batches of the step.
        between_s: what a micro-batch takes besides, between the pools and on the host [s].
    """
    pools, layers = seconds.shape[0], seconds.shape[1] - 1
    if comb(layers - 1, pools - 1) > MOST:
        best = balanced_split(seconds)
        return [best] if best else []
    ends = np.array([(0, *cuts, layers) for cuts in combinations(range(1, layers), pools - 1)])
    each = np.stack([seconds[pool, ends[:, pool], ends[:, pool + 1]] for pool in range(pools)])
    pace = np.maximum(each.max(axis=0), (each.sum(axis=0) + between_s) / pools)
    whole = each.sum(axis=0) + count * pace
    order = np.argsort(whole, kind="stable")
    return [tuple(np.diff(ends[row]).tolist()) for row in order if np.isfinite(whole[row])]


def _between_s(work: TrainStep, prepared: Sequence[Prepared], units: Units, shape: Shape) -> float:
    """Time of one micro-batch between the pools, there and back, and on the host of the first one [s]."""
    size = shape.sequences * work.seq_len * work.model.hidden * prepared[0].precision.activation_bytes
    stages = [units[each.pool.name][0] for each in prepared]
    sends = sum(_send_s(size, one, two) for one, two in pairwise(stages))
    return 2.0 * sends + prepared[0].pool.runtime.host_step.value


def _send_s(size: float, source: Unit, target: Unit) -> float:
    """``size`` bytes from one pool to another with nothing else on the links [s]."""
    flow, rates = transfer_flow(size, source, target), {**source.ports(), **target.ports()}
    return flow.startup_s + max(flow.size_bytes * multiple / rates[link] for link, multiple in flow.crossings)


def _fits(work: TrainStep, prepared: Sequence[Prepared], index: int, shape: Shape) -> Callable[[int, int], bool]:
    """Whether a device of a pool has room for the layers from one to before another, beside its end of the model."""
    each = prepared[index]
    name, last = each.pool.name, prepared[-1].pool.name
    other = prepared[0].pool.name if index else last
    in_flight = min(len(prepared), shape.count)

    def fits(first: int, end: int) -> bool:
        rules = (Rule(name, layers=(first, end - 1)), Rule(prepared[0].pool.name, operator="embedding*"))
        homes = homes_of(work.model, Placer((*rules, Rule(last, operator="head.*")), other), ("forward",))
        trained = trained_on_pools(work, prepared, homes, homes)
        return pool_memory(each, work, homes, trained, in_flight, shape.passes[name]).total <= each.usable_bytes

    return fits
