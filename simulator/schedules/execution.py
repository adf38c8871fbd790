"""When the actions of a program run: the longest path through them, without an event queue.

Ranks are visited in turn, each takes actions as long as what they wait for has been computed; order of visits changes
nothing, for every time depends on earlier ones alone.
"""

from __future__ import annotations

from typing import Any, Final

from simulator.kernels.jit import law_kernel, law_part

_F: Final = 0
_B: Final = 1
_W: Final = 3
_NEVER: Final = -1.0


@law_part
def ready_at(kind: int, stage: int, micro: int, last: int, forward: Any, backward: Any, local: Any) -> float:
    """When what an action waits for is there [s]; negative: not yet known.

    Args:
        last: the last stage.
        forward, backward: when the result of F, and of B or I, of a stage has arrived where it goes, shape
            [stages, micro-batches].
        local: when F, and I, of a stage ended, shape [2, stages, micro-batches].
    """
    if kind == _F:
        return float(forward[stage - 1, micro]) if stage > 0 else 0.0
    if kind == _W:
        return float(local[1, stage, micro])
    own = float(local[0, stage, micro])
    if stage == last or own < 0.0:
        return own
    gradient = float(backward[stage + 1, micro])
    return max(own, gradient) if gradient >= 0.0 else gradient


@law_kernel
def execute(
    kinds: Any, stages: Any, micros: Any, joined: Any, rank_of: Any, seconds: Any, send: Any, overlapped: bool,
    gap: float, together: float, forward: Any, backward: Any, local: Any, link: Any, free: Any, place: Any, start: Any,
    end: Any,
) -> int:  # fmt: skip
    """Run a program; fills ``start`` and ``end`` [s], shape [ranks, actions], and returns how many actions were run.

    Args:
        kinds, stages, micros, joined: the program, shape [ranks, actions].
        rank_of: the rank that has a stage for a micro-batch, shape [stages, micro-batches].
        seconds: of each kind on each stage, shape [4, stages].
        send: seconds of a send between two ranks, shape [ranks, ranks].
        overlapped: whether a rank computes while it sends.
        gap: seconds of the host before each action.
        together: duration of two actions that run together, as a share of their sum.
        forward, backward, local, link, free, place: scratch; the first three, shapes as in ``ready_at``, begin at -1,
            ``link`` [ranks, ranks], ``free`` and ``place`` [ranks] at 0.
    """
    ranks, actions = kinds.shape
    last = seconds.shape[1] - 1
    done = 0
    moved = True
    while moved:
        moved = False
        for r in range(ranks):
            while place[r] < actions and kinds[r, place[r]] >= 0:
                first = place[r]
                count = 2 if joined[r, first] else 1
                begin = free[r] + gap
                known = True
                duration = longest = 0.0
                for a in range(first, first + count):
                    kind, stage, micro = kinds[r, a], stages[r, a], micros[r, a]
                    ready = ready_at(kind, stage, micro, last, forward, backward, local)
                    known = known and ready >= 0.0
                    begin = max(begin, ready)
                    duration += seconds[kind, stage]
                    longest = max(longest, seconds[kind, stage])
                if not known:
                    break
                stop = begin + (max(together * duration, longest) if count == 2 else duration)
                free[r] = stop
                for a in range(first, first + count):
                    kind, stage, micro = kinds[r, a], stages[r, a], micros[r, a]
                    start[r, a], end[r, a] = begin, stop
                    if kind != _W and kind != _B:
                        local[0 if kind == _F else 1, stage, micro] = stop
                    if kind == _W or stage == (last if kind == _F else 0):
                        continue
                    to = rank_of[stage + 1 if kind == _F else stage - 1, micro]
                    arrival = stop
                    if to != r:
                        arrival = max(link[r, to], free[r]) + send[r, to]
                        link[r, to] = arrival
                        if not overlapped:
                            free[r] = arrival
                    if kind == _F:
                        forward[stage, micro] = arrival
                    else:
                        backward[stage, micro] = arrival
                place[r] += count
                done += count
                moved = True
    return done


@law_kernel
def hold(kinds: Any, stages: Any, kept: Any, share: float, held: Any, left: Any, peak: Any, peak_at: Any) -> None:
    """What each rank holds while each action runs [B].

    Args:
        kinds, stages: the program, shape [ranks, actions].
        kept: what a stage keeps of a micro-batch, shape [stages].
        share: part of it that the end of I frees.
        held, left: while each action runs, and behind the last one; filled, shape [ranks, actions] and [ranks].
        peak, peak_at: most of each rank and at which action first, filled, shape [ranks].
    """
    for r in range(kinds.shape[0]):
        now = 0.0
        for a in range(kinds.shape[1]):
            kind = kinds[r, a]
            if kind < 0:
                break
            size = kept[stages[r, a]]
            if kind == _F:
                now += size
            held[r, a] = now
            if now > peak[r]:
                peak[r], peak_at[r] = now, a
            if kind == _B:
                now -= size
            elif kind == _W:
                now -= (1.0 - share) * size
            elif kind != _F:
                now -= share * size
        left[r] = now
