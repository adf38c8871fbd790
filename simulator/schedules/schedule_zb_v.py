"""ZB-V: two chunks a rank, laid out as a V, so that loss and backward begin on the rank that began."""

from __future__ import annotations

from simulator.schedules.actions import Action, Kind, numbered
from simulator.schedules.forms import ONE, PEAK_RANKS, RANKS, path
from simulator.schedules.registry import Schedule


def order(rank: int, ranks: int, micro_batches: int, chunks: int) -> list[Action]:
    """Actions of a rank; the pipeline is full from 2 p - 1 micro-batches on."""
    left = ranks - rank
    out, back = ([Action(kind, chunk, 0) for kind in (Kind.F, Kind.I, Kind.W)] for chunk in (0, 1))
    steps = out[:1] * (2 * left - 1) + [back[0], out[0]] * rank + back * left
    for k in range(micro_batches - ranks):
        steps += out[k >= micro_batches - ranks - left + 1 :] + back
    steps += [out[1], back[1]] * rank + out[1:] * left + [back[2]] * rank + [out[2]] * rank
    return numbered(steps)


def stage_of(rank: int, chunk: int, ranks: int) -> int:
    """Down through all ranks, and up again."""
    return 2 * ranks - 1 - rank if chunk else rank


_FILL, _HALF = RANKS - ONE, 0.5 * ONE

SCHEDULE = Schedule(
    name="zb-v",
    meaning="two chunks a rank, laid out as a V; no rank waits where forward and both backwards take equally long",
    reference="Qi et al., Pipeline Parallelism with Controllable Memory, arXiv:2405.15362, section 3.3 (V-ZB)",
    order=order,
    needs="micro-batches from 2 ranks - 1 on",
    fits=lambda ranks, micro_batches, chunks: micro_batches >= 2 * ranks - 1,
    chunks=2,
    stage_of=stage_of,
    split=True,
    paths=(
        path(_FILL - _HALF, _HALF - 0.5 * _FILL, 0.0, 3 * RANKS - 5 * ONE),
        path(0.0, 0.5 * _FILL, 0.0, 5 * RANKS - 7 * ONE),
        path(0.0, _HALF, 0.5 * _FILL - _HALF, 3 * _FILL),
        path(0.0, _FILL, -_FILL, 6 * RANKS - 8 * ONE),
        path(_HALF, 0.0, 0.5 * _FILL - _HALF, 3 * RANKS - 5 * ONE),
        path(_FILL, -0.5 * _FILL, -_HALF, 3 * _FILL),
        path(_FILL - _HALF, _HALF, -_FILL, 4 * RANKS - 6 * ONE),
        path(_FILL, 0.0, -_FILL - _HALF, 4 * _FILL),
        path(0.5 * _FILL - _HALF, _HALF, 0.0, 5 * RANKS - 7 * ONE),
        path(0.5 * _FILL - _HALF, 0.5 * RANKS, -_FILL, 6 * RANKS - 8 * ONE),
    ),
    peaks=(PEAK_RANKS,),
)
