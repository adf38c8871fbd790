"""What a pipeline schedule is: for each rank the actions that it takes, in order.

A micro-batch passes all stages forward (F), then all of them backward. The backward of a stage is one action (B), or
two: what the stage before waits for, the gradient of the input (I), and the gradient of the weights (W), which nobody
waits for (Qi et al., "Zero Bubble Pipeline Parallelism", arXiv:2401.10241, section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Kind(IntEnum):
    """Kinds of actions; their values are the rows of arrays of seconds."""

    F = 0
    B = 1
    I = 2  # noqa: E741
    W = 3


NONE: Final = -1
"""Fills the rows of ranks that take fewer actions than others."""


class Action(NamedTuple):
    """One action of a rank: ``chunk`` is which of its stages; ``joined``: runs together with the next action."""

    kind: Kind
    chunk: int
    micro_batch: int
    joined: bool = False


@dataclass(frozen=True, eq=False)
class Program:
    """The actions of all ranks, in order.

    Attributes:
        name: the schedule.
        micro_batches: how many there are.
        stage_of: the stage that each chunk of each rank is, shape [ranks, chunks]; a stage may be on several ranks.
        kinds: kind of each action, ``NONE`` behind the last one, shape [ranks, actions].
        stages, micro_batch: what it works on, same shape.
        joined: whether it runs at the same time as the next one of its rank, same shape.
    """

    name: str
    micro_batches: int
    stage_of: Ints
    kinds: Ints
    stages: Ints
    micro_batch: Ints
    joined: Ints

    @property
    def ranks(self) -> int:
        """How many ranks there are."""
        return int(self.kinds.shape[0])

    @property
    def stage_count(self) -> int:
        """How many stages a micro-batch passes."""
        return int(self.stage_of.max()) + 1

    def said(self, rank: int, position: int) -> str:
        """The action at a place, in words."""
        kind, stage = Kind(int(self.kinds[rank, position])).name, int(self.stages[rank, position])
        return f"{kind} of micro-batch {int(self.micro_batch[rank, position])} on stage {stage}"


def program_of(name: str, micro_batches: int, stage_of: Any, actions: Sequence[Sequence[Action]]) -> Program:
    """A program from its actions, which are taken as they are: ``legality.check`` tells whether it can be run.

    Args:
        micro_batches: how many there are.
        stage_of: the stage that each chunk of each rank is, shape [ranks, chunks].
        actions: of each rank, in order.
    """
    chunk_stages = np.array(stage_of, np.int64)
    shape = len(actions), max(len(row) for row in actions)
    kinds, stages, micro_batch, joined = (np.full(shape, NONE, np.int64) for _ in range(4))
    for rank, row in enumerate(actions):
        table = np.array(row, np.int64).reshape(-1, 4)
        kinds[rank, : len(row)] = table[:, 0]
        stages[rank, : len(row)] = chunk_stages[rank, table[:, 1]]
        micro_batch[rank, : len(row)] = table[:, 2]
        joined[rank, : len(row)] = table[:, 3]
    joined = np.maximum(joined, 0)
    for array in (chunk_stages, kinds, stages, micro_batch, joined):
        array.flags.writeable = False
    return Program(name, micro_batches, chunk_stages, kinds, stages, micro_batch, joined)


def numbered(steps: Sequence[Action], first: Sequence[int] = (0, 0)) -> list[Action]:
    """Actions whose micro-batches are numbered as they come, by chunk, from ``first`` of it on, B and I in one."""
    seen: dict[tuple[Kind, int], int] = {}
    found = []
    for step in steps:
        key = Kind.B if step.kind == Kind.I else step.kind, step.chunk
        number = seen.get(key, first[step.chunk])
        seen[key] = number + 1
        found.append(step._replace(micro_batch=number))
    return found


Order = Callable[[int, int, int, int], Sequence[Action]]
"""(rank, ranks, micro-batches, chunks) -> the actions of the rank, in order."""
