"""What comes of a program on stages whose times and sizes are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hardware_specs.errors import InputError
from simulator.schedules.actions import NONE, Kind, Program
from simulator.schedules.execution import execute, hold

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SENT: Final = {Kind.F: -1, Kind.B: 1, Kind.I: 1}
"""Where the stage lies that an action of each kind waits for."""


@dataclass(frozen=True, eq=False)
class Memory:
    """What a stage keeps of one micro-batch from its F on.

    Attributes:
        kept_bytes: of each stage, shape [stages] [B].
        freed_at_input: share that the end of I frees; the end of W, or of B, frees the rest.
    """

    kept_bytes: Any
    freed_at_input: float = 0.0


@dataclass(frozen=True, eq=False)
class Timeline:
    """When each action of a program runs, and what is kept meanwhile.

    Attributes:
        program: what was run.
        start_s, end_s: of each action, shape [ranks, actions] [s]; nan behind the last one of a rank.
        total_s: when the last action ends [s].
        busy_s: that each rank computes, shape [ranks] [s]; two joined actions count as the time they take together.
        bubble_s: rest of the total, shape [ranks] [s].
        held_bytes: of each rank while each action runs, shape [ranks, actions] [B]; nan behind the last one.
        left_bytes: behind the last action, shape [ranks] [B]: 0 up to rounding.
        peak_bytes, peak_s: most that each rank holds [B], and from when on first [s], shape [ranks].
    """

    program: Program
    start_s: Floats
    end_s: Floats
    total_s: float
    busy_s: Floats
    bubble_s: Floats
    held_bytes: Floats
    left_bytes: Floats
    peak_bytes: Floats
    peak_s: Floats

    @property
    def bubble_share(self) -> Floats:
        """Part of the total in which each rank does not compute, shape [ranks]."""
        return self.bubble_s / self.total_s if self.total_s > 0.0 else np.zeros_like(self.bubble_s)


def seconds_of(forward_s: Any, input_s: Any, weight_s: Any) -> Floats:
    """Seconds of F, B, I and W from those of F, I and W of each stage; B is I and W in one, shape [4, stages]."""
    f, i, w = np.broadcast_arrays(*(np.atleast_1d(np.asarray(x, float)) for x in (forward_s, input_s, weight_s)))
    return np.stack([f, i + w, i, w])


def run(
    program: Program, seconds: Any, send_s: Any = 0.0, memory: Memory | None = None, overlapped: bool = True,
    gap_s: float = 0.0, pair_share: float = 1.0,
) -> Timeline:  # fmt: skip
    """Run a program: each action begins when its rank is free and what it waits for has arrived.

    Sends between two ranks follow each other on the link of their direction; what stays on a rank takes no time.

    Args:
        program: of any order that can be run; ``legality.check`` says more about it.
        seconds: of each kind on each stage, rows in order of ``Kind``, shape [4, stages] [s].
        send_s: of an activation or a gradient from one rank to another, a number or shape [ranks, ranks] [s].
        memory: what stages keep; none: 1 byte each.
        overlapped: whether ranks compute while they send; otherwise a send holds its sender.
        gap_s: of the host between two actions of a rank; waiting hides it [s].
        pair_share: time of two joined actions as a share of their sum; never less than the longer one.

    Raises:
        InputError: numbers or shapes that cannot be, an action that waits for what never comes.
    """
    stages, ranks = program.stage_count, program.ranks
    costs = _table("seconds", seconds, (len(Kind), stages))
    sends = _table("send_s", np.broadcast_to(send_s, (ranks, ranks)) if np.ndim(send_s) == 0 else send_s, (ranks,) * 2)
    kept = _table("kept_bytes", np.ones(stages) if memory is None else memory.kept_bytes, (stages,))
    gap, share, freed = (
        float(_table(what, value, ()))
        for what, value in (
            ("gap_s", gap_s), ("pair_share", pair_share), ("freed_at_input", memory.freed_at_input if memory else 0.0),
        )
    )  # fmt: skip
    if max(share, freed) > 1.0:
        raise InputError(f"pair_share {pair_share:g}, freed_at_input {freed:g}; allowed: 0 to 1")
    start, end = _executed(program, costs, sends, overlapped, gap, share)
    held, left, peak, peak_at = _held(program, kept, freed)
    total = float(np.nanmax(end))
    lasting = np.where(program.kinds == NONE, 0.0, end - start)
    lasting[:, 1:][program.joined[:, :-1] == 1] = 0.0
    busy = lasting.sum(axis=1)
    peak_s = start[np.arange(ranks), peak_at]
    return Timeline(program, start, end, total, busy, np.maximum(total - busy, 0.0), held, left, peak, peak_s)


def _table(what: str, value: Any, shape: tuple[int, ...]) -> Floats:
    """``value`` as numbers from 0 on of a shape."""
    try:
        table = np.array(value, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{what}: {value!r}; allowed: numbers") from None
    if table.shape != shape:
        raise InputError(f"{what}: shape {list(table.shape)}; this program needs {list(shape)}")
    if not np.isfinite(table).all() or (table < 0.0).any():
        worst = table[~np.isfinite(table) | (table < 0.0)].flat[0]
        raise InputError(f"{what}: {worst:g}; allowed: finite numbers from 0 on")
    return table


def _executed(
    program: Program, costs: Floats, sends: Floats, overlapped: bool, gap: float, share: float
) -> tuple[Floats, Floats]:
    """Start and end of every action [s]."""
    stages, ranks, micro_batches = program.stage_count, program.ranks, program.micro_batches
    start, end = np.full(program.kinds.shape, np.nan), np.full(program.kinds.shape, np.nan)
    forward, backward = np.full((stages, micro_batches), -1.0), np.full((stages, micro_batches), -1.0)
    local, link = np.full((2, stages, micro_batches), -1.0), np.zeros((ranks, ranks))
    place = np.zeros(ranks, np.int64)
    done = execute(
        program.kinds, program.stages, program.micro_batch, program.joined, rank_of(program), costs, sends,
        bool(overlapped), gap, share, forward, backward, local, link, np.zeros(ranks), place, start, end,
    )  # fmt: skip
    if done < int((program.kinds != NONE).sum()):
        raise InputError(_stuck(program, place))
    return start, end


def rank_of(program: Program) -> Ints:
    """The rank on which each micro-batch passes each stage, shape [stages, micro-batches]; -1: none."""
    found = np.full((program.stage_count, program.micro_batches), NONE, np.int64)
    rank, position = np.nonzero(program.kinds == Kind.F)
    found[program.stages[rank, position], program.micro_batch[rank, position]] = rank
    return found


def _stuck(program: Program, place: Ints) -> str:
    """The first rank that waits for ever, and for what."""
    for rank, position in enumerate(place.tolist()):
        if position < program.kinds.shape[1] and program.kinds[rank, position] != NONE:
            kind, stage = Kind(int(program.kinds[rank, position])), int(program.stages[rank, position])
            other = stage + _SENT.get(kind, 0)
            before = "I" if kind == Kind.W else "F" if kind == Kind.F or other >= program.stage_count else "B or I"
            on = stage if kind == Kind.W or other >= program.stage_count else other
            wanted = f"{before} on stage {on}"
            return f"schedule {program.name}: rank {rank} waits for ever: {program.said(rank, position)} needs {wanted}"
    return f"schedule {program.name}: no action is left, but not all were run"


def _held(program: Program, kept: Floats, freed: float) -> tuple[Floats, Floats, Floats, Ints]:
    """Bytes while each action runs and behind the last one, most of each rank, and at which action."""
    held, left = np.full(program.kinds.shape, np.nan), np.zeros(program.ranks)
    peak, peak_at = np.zeros(program.ranks), np.zeros(program.ranks, np.int64)
    hold(program.kinds, program.stages, kept, freed, held, left, peak, peak_at)
    return held, left, peak, peak_at
