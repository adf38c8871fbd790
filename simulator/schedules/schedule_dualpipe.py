"""DualPipe: micro-batches enter at both ends, and a forward runs together with a backward of the other direction."""

from __future__ import annotations

from collections import deque

from simulator.schedules.actions import Action, Kind, numbered
from simulator.schedules.forms import MICROS, ONE, PAIR_ROUNDS, PEAK_ONE, PEAK_RANKS, RANKS, path
from simulator.schedules.registry import Schedule


def order(rank: int, ranks: int, micro_batches: int, chunks: int) -> list[Action]:
    """Actions of a rank: ``near`` is the direction that enters at its half of the pipeline, ``far`` the other one.

    Gradients of weights are computed apart where that lets a neighbour begin earlier, the oldest first.
    """
    depth = min(rank, ranks - 1 - rank)
    inner = ranks // 2 - depth - 1
    near = int(rank >= ranks // 2)
    far = 1 - near

    def pair(forward: int, backward: int, joined: bool = True) -> list[Action]:
        return [Action(Kind.F, forward, 0, joined), Action(Kind.B, backward, 0)]

    f_near, f_far, w = Action(Kind.F, near, 0), Action(Kind.F, far, 0), Action(Kind.W, 0, 0)
    i_near, i_far = Action(Kind.I, near, 0), Action(Kind.I, far, 0)
    both = pair(near, far) + pair(far, near)
    steps = [f_near] * (2 * inner) + [f_near, f_far] * (depth + 1) + [i_far, w, f_far] * inner
    steps += pair(near, far, joined=inner > 0) + both[2:]
    steps += both * (micro_batches // 2 - ranks + depth)
    steps += (both[1:2] + both[2:]) * inner
    drain = [both[1], both[3]] * (depth + 1)
    steps += [a if k <= depth else a._replace(kind=Kind.I) for k, a in enumerate(drain)]
    steps += [w, i_near] * inner + [w] * (depth + 1)
    return _in_turn(numbered(steps, (0, micro_batches // 2)))


def _in_turn(actions: list[Action]) -> list[Action]:
    """``actions`` with each W the one of the oldest I that has none."""
    waiting: deque[Action] = deque()
    found = []
    for action in actions:
        if action.kind == Kind.I:
            waiting.append(action)
        found.append(waiting.popleft()._replace(kind=Kind.W) if action.kind == Kind.W else action)
    return found


def stage_of(rank: int, chunk: int, ranks: int) -> int:
    """One direction enters at rank 0, the other one at the last rank."""
    return ranks - 1 - rank if chunk else rank


_HALF = 0.5 * RANKS
_TOGETHER = MICROS - _HALF - 2 * ONE
_SENDS = 2 * PAIR_ROUNDS + _HALF - 2 * ONE

SCHEDULE = Schedule(
    name="dualpipe",
    meaning="micro-batches enter at both ends; a forward runs together with a backward of the other direction",
    reference="DeepSeek-V3, arXiv:2412.19437, section 3.2.1 and table 2",
    order=order,
    needs="an even number of ranks, micro-batches even and twice the ranks or more",
    fits=lambda ranks, micro_batches, chunks: ranks % 2 == 0 and micro_batches % 2 == 0 and micro_batches >= 2 * ranks,
    chunks=2,
    stage_of=stage_of,
    copies=2,
    split=True,
    paths=tuple(
        path(f - MICROS, b - MICROS, w - MICROS, _SENDS + late * (_HALF - ONE), _TOGETHER)
        for f, b, w, late in (
            (3 * _HALF, RANKS + ONE, 3 * ONE, 1),
            (3 * _HALF, _HALF + 2 * ONE, _HALF + 2 * ONE, 0),
            (RANKS, 3 * _HALF, 3 * ONE, 2),
            (RANKS, RANKS + ONE, _HALF + 2 * ONE, 1),
        )
    ),
    peaks=(PEAK_RANKS + PEAK_ONE,),
)
