"""Pipeline ranks over a training step in plain numbers, as a result carries them for pictures."""

from __future__ import annotations

from typing import Final

import msgspec

from simulator.prepared import Prepared
from simulator.scenario import TrainStep
from simulator.schedules.actions import NONE, Kind
from simulator.steps.memory_timeline import MemoryTimeline, memory_timeline
from simulator.steps.train_step import micro_batches
from simulator.timeline import Action, RankSteps, Timeline

MOST_ACTIONS: Final = 6_000
"""Actions of all ranks that a result carries; a larger step goes without its ranks."""


def with_ranks(seen: Timeline, prepared: Prepared, work: TrainStep) -> Timeline:
    """``seen`` with the pipeline ranks of the step, where they are few enough to be drawn."""
    plan = prepared.pool.plan
    if 2 * plan.pp * plan.vpp * micro_batches(work, plan) > MOST_ACTIONS:
        return seen
    found = memory_timeline(prepared, work)
    return msgspec.structs.replace(seen, ranks=tuple(_steps(found, rank.rank) for rank in found.ranks))


def _steps(found: MemoryTimeline, rank: int) -> RankSteps:
    parts, shown = found.ranks[rank], found.timeline
    kinds = shown.program.kinds[rank]
    columns = (shown.program.stages, shown.program.micro_batch, shown.start_s, shown.end_s)
    actions = tuple(
        Action(Kind(int(kinds[at])).name, *(column[rank, at].item() for column in columns))
        for at in range(len(kinds))
        if kinds[at] != NONE
    )
    times, sizes = found.steps_of(rank)
    return RankSteps(
        parts.weights, parts.gradients, parts.optimizer, parts.activations, parts.beside, parts.overhead, actions,
        tuple(times.tolist()), tuple(sizes.tolist()),
    )  # fmt: skip
