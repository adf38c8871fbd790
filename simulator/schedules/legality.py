"""Whether a program is legal: each micro-batch passes each stage once, forward and backward; nothing waits for ever."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hardware_specs.errors import InputError
from simulator.schedules.actions import NONE, Kind, Program
from simulator.schedules.timeline import rank_of, run


def check(program: Program) -> None:
    """Check that a program is legal.

    Every stage takes every micro-batch forward once and backward once, the latter as B or as I and W. The backward is
    on the rank of the forward, so that what is kept is freed once; the order of each rank lets every action begin.

    Raises:
        InputError: it is not; says which action is wrong.
    """
    _in_range(program)
    _pairs(program)
    counts = _counts(program)
    split = counts[Kind.B] == 0
    _once(program, counts[Kind.F], "F")
    _once(program, np.where(split, counts[Kind.I], counts[Kind.B]), "B, or I,")
    _once(program, np.where(split, counts[Kind.W], 1 + counts[Kind.I] + counts[Kind.W]), "W, or B beside I or W,")
    _same_rank(program)
    run(program, np.ones((len(Kind), program.stage_count)))


def _in_range(program: Program) -> None:
    """Kinds, stages and micro-batches exist, and each stage is one of its rank's."""
    behind = program.kinds == NONE
    if (np.diff(behind.astype(int), axis=1) < 0).any():
        raise InputError(f"schedule {program.name}: an empty action before others")
    bad = ~behind & ((program.micro_batch < 0) | (program.micro_batch >= program.micro_batches))
    foreign = ~behind & ~(program.stages[:, :, None] == program.stage_of[:, None, :]).any(axis=2)
    if (bad | foreign).any():
        rank, position = (int(i) for i in np.argwhere(bad | foreign)[0])
        why = "of which it has no part" if foreign[rank, position] else f"of {program.micro_batches}"
        raise InputError(f"schedule {program.name}: rank {rank}: {program.said(rank, position)}, {why}")


def _pairs(program: Program) -> None:
    """What is joined is two actions that do not wait for each other."""
    for rank, position in np.argwhere(program.joined == 1).tolist():
        here = program.said(rank, position)
        if position + 1 >= program.kinds.shape[1] or program.kinds[rank, position + 1] == NONE:
            raise InputError(f"schedule {program.name}: rank {rank}: {here} is joined with nothing")
        if program.joined[rank, position + 1] or (
            program.micro_batch[rank, position] == program.micro_batch[rank, position + 1]
        ):
            there = program.said(rank, position + 1)
            raise InputError(f"schedule {program.name}: rank {rank}: {here} cannot be joined with {there}")


def _counts(program: Program) -> NDArray[np.int64]:
    """How often each kind of action works on each micro-batch on each stage, shape [4, stages, micro-batches]."""
    counts = np.zeros((len(Kind), program.stage_count, program.micro_batches), np.int64)
    real = program.kinds != NONE
    np.add.at(counts, (program.kinds[real], program.stages[real], program.micro_batch[real]), 1)
    return counts


def _once(program: Program, counts: NDArray[np.int64], what: str) -> None:
    wrong = np.argwhere(counts != 1)
    if len(wrong):
        stage, micro_batch = (int(i) for i in wrong[0])
        where, often = f"micro-batch {micro_batch} on stage {stage}", int(counts[stage, micro_batch])
        raise InputError(f"schedule {program.name}: {what} of {where} {often} times; allowed: once")


def _same_rank(program: Program) -> None:
    """Each backward is on the rank that took the forward."""
    home = rank_of(program)
    home_of = np.where(program.kinds == NONE, NONE, home[program.stages, program.micro_batch])
    own = np.arange(program.ranks)[:, None]
    for rank, position in np.argwhere((program.kinds != NONE) & (home_of != own)).tolist():
        what = program.said(rank, position)
        raise InputError(f"schedule {program.name}: rank {rank}: {what}, whose F is on rank {home_of[rank, position]}")
