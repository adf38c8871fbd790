"""Memory of each pipeline rank of a training step: its parts, and its bytes from action to action.

Weights, gradients and optimizer states lie there for the whole step. Each forward leaves what its backward needs, which
the backward frees (of a backward in halves its second half does); while a micro-batch goes backward, gradients beside a
layer and what is computed again are there too, or the logits of the loss (see ``memory``). The schedule's program says
when (docs: schedules). The most that a rank holds is what ``training_result.rank_memory`` says of it, and the fullest
rank is the memory of the step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator import memory
from simulator.prepared import Prepared
from simulator.scenario import Plan, TrainStep
from simulator.schedules.actions import NONE, Kind, Program
from simulator.schedules.registry import program, schedule_of
from simulator.schedules.timeline import Memory, Timeline, run, seconds_of
from simulator.steps.offload import kept_activations, offloads_of
from simulator.steps.ranks import Rank, ranks_of
from simulator.steps.train_step import micro_batches, parts_of_stages, price_step, send_seconds
from simulator.steps.training_result import activations_of, loss_bytes, rank_memory

Floats = npt.NDArray[np.float64]


class RankMemory(NamedTuple):
    """Bytes on a device of a pipeline rank at its fullest [B].

    ``activations`` are those of all micro-batches in flight; ``working`` what is computed again and gradients while a
    layer goes backward; ``logits`` what the loss holds, which is gone before: of these two the larger one counts.
    """

    rank: int
    weights: float
    gradients: float
    optimizer: float
    activations: float
    working: float
    logits: float
    overhead: float

    @property
    def fixed(self) -> float:
        """What lies there for the whole step."""
        return self.weights + self.gradients + self.optimizer + self.overhead

    @property
    def beside(self) -> float:
        """What is there beside activations while a micro-batch goes backward."""
        return max(self.working, self.logits)

    @property
    def total(self) -> float:
        """The most at once."""
        return self.fixed + self.activations + self.beside


@dataclass(frozen=True, eq=False)
class MemoryTimeline:
    """Memory of all pipeline ranks over a step.

    Attributes:
        ranks: the parts of each.
        timeline: the actions of the schedule, and when they run.
        during_bytes: all that each rank holds while an action runs, shape [ranks, actions] [B]; nan behind its last.
        behind_bytes: all that it holds from the end of an action on, same shape.
    """

    ranks: tuple[RankMemory, ...]
    timeline: Timeline
    during_bytes: Floats
    behind_bytes: Floats

    @property
    def peak_bytes(self) -> Floats:
        """Most that each rank holds, shape [ranks] [B]."""
        found: Floats = np.nanmax(self.during_bytes, axis=1)
        return found

    @property
    def fullest(self) -> int:
        """The rank that holds most."""
        return int(np.argmax(self.peak_bytes))

    def steps_of(self, rank: int) -> tuple[Floats, Floats]:
        """Bytes of a rank over time, as a drawing has them: from each time [s] on so many bytes, shape [changes] each.

        A step begins with what is there for all of it; two actions that run together end together.
        """
        shown = self.timeline.program
        own = shown.kinds[rank] != NONE
        columns = (
            np.stack([self.timeline.start_s[rank, own], self.timeline.end_s[rank, own]], axis=1).reshape(-1),
            np.stack([self.during_bytes[rank, own], self.behind_bytes[rank, own]], axis=1).reshape(-1),
        )
        told = np.stack([np.ones(own.sum(), bool), shown.joined[rank, own] == 0], axis=1).reshape(-1)
        times, sizes = (column[told] for column in columns)
        return np.concatenate([[0.0], times]), np.concatenate([[self.ranks[rank].fixed], sizes])


def rank_parts(prepared: Prepared, work: TrainStep, rank: Rank) -> RankMemory:
    """Parts of the memory of a rank; they sum to ``rank_memory``."""
    plan, runtime = prepared.pool.plan, prepared.pool.runtime
    use, stage = rank_memory(prepared, work, rank), activations_of(prepared, work, rank)
    logits = 0.0
    if rank.heads:
        each = loss_bytes(runtime, plan.tp)
        logits = memory.training_logit_bytes(work.model, plan.micro_batch, work.seq_len, plan.sharding, each)
    kept = use.activations - max(stage.again, logits)
    return RankMemory(
        rank.number, use.weights, use.gradients, use.optimizer, kept, stage.again, logits, use.overhead
    )  # fmt: skip


def memory_timeline(prepared: Prepared, work: TrainStep) -> MemoryTimeline:
    """Memory of each pipeline rank of a step over time.

    Raises:
        InputError: a schedule that the plan cannot have, or too long a program.
    """
    plan = prepared.pool.plan
    count, ranks = micro_batches(work, plan), ranks_of(work.model, plan)
    shown = _program(plan, count)
    cost = price_step(work, plan, prepared.how, prepared.model, prepared.communicators)
    send_s = 0.0
    if plan.pp > 1:
        send_s = send_seconds(work, plan, prepared.how, prepared.model, prepared.communicators)
    kept = np.array([activations_of(prepared, work, rank).kept for rank in ranks])
    chunks, copies = shown.stage_of.shape[1], schedule_of(shown.name).copies
    seconds = np.array(parts_of_stages(cost.micro, plan))
    if copies == 1:
        seconds = _by_stage(shown, seconds / chunks)
    sizes = _by_stage(shown, kept * copies / chunks)
    timeline = run(shown, seconds_of(*seconds), send_s, Memory(sizes))
    parts = tuple(rank_parts(prepared, work, rank) for rank in ranks)
    during, behind = _bytes(plan, timeline, parts, kept, np.array([float(sum(rank.layers)) for rank in ranks]), sizes)
    return MemoryTimeline(parts, timeline, during, behind)


def _program(plan: Plan, count: int) -> Program:
    name = plan.schedule if plan.schedule and plan.pp > 1 else "interleaved" if plan.vpp > 1 else "1f1b"
    chunks = schedule_of(name, "--schedule").chunks or plan.vpp
    return program(name, plan.pp, count, chunks, "--schedule")


def _by_stage(shown: Program, of_rank: Floats) -> Floats:
    """Values of ranks, shape [..., ranks], as those of the stages that they hold, shape [..., stages]."""
    found = np.zeros((*of_rank.shape[:-1], shown.stage_count))
    for rank, stages in enumerate(shown.stage_of.tolist()):
        for stage in stages:
            found[..., stage] = of_rank[..., rank]
    return found


def _bytes(
    plan: Plan, timeline: Timeline, parts: tuple[RankMemory, ...], kept: Floats, layers: Floats, sizes: Floats
) -> tuple[Floats, Floats]:
    """All that ranks hold while actions run, and from their ends on, shape [ranks, actions] each [B]."""
    kinds, where = timeline.program.kinds, offloads_of(plan)
    fixed, beside = (np.array([getattr(part, name) for part in parts])[:, None] for name in ("fixed", "beside"))
    frees = (kinds == Kind.B) | (kinds == Kind.W)
    freed = np.where(frees, sizes[timeline.program.stages], 0.0)

    def on_device(held: Floats) -> Any:
        flying = np.divide(held, kept[:, None], out=np.zeros_like(held), where=kept[:, None] > 0.0)
        return kept_activations(where, kept[:, None], flying, layers[:, None])

    during, behind = on_device(timeline.held_bytes), on_device(np.maximum(timeline.held_bytes - freed, 0.0))
    backward = (kinds == Kind.B) | (kinds == Kind.I)
    return fixed + during + np.where(backward, beside, 0.0), fixed + behind
