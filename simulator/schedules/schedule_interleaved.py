"""Interleaved 1F1B: each rank holds several chunks of the model, so that the pipeline fills in smaller steps."""

from __future__ import annotations

from simulator.schedules.actions import Action, Kind
from simulator.schedules.forms import (
    ONE,
    PEAK_MICROS,
    PEAK_PER_CHUNK,
    PEAK_RANK_PER_CHUNK,
    PEAK_RANKS,
    PEAK_RANKS_PER_CHUNK,
    PER_CHUNK,
    RANKS_PER_CHUNK,
    STAGES,
    path,
)
from simulator.schedules.registry import Schedule


def order(rank: int, ranks: int, micro_batches: int, chunks: int) -> list[Action]:
    """Actions of a rank: as many micro-batches as there are ranks pass a chunk, then the next chunk."""
    total = micro_batches * chunks
    ahead = min(2 * (ranks - rank - 1) + (chunks - 1) * ranks, total)

    def forward(k: int) -> Action:
        return Action(Kind.F, k // ranks % chunks, _micro_batch(k, ranks, chunks))

    def backward(k: int) -> Action:
        return Action(Kind.B, chunks - 1 - k // ranks % chunks, _micro_batch(k, ranks, chunks))

    actions = [forward(k) for k in range(ahead)]
    for k in range(total):
        if k + ahead < total:
            actions.append(forward(k + ahead))
        actions.append(backward(k))
    return actions


def _micro_batch(k: int, ranks: int, chunks: int) -> int:
    return k // (ranks * chunks) * ranks + k % ranks


_FILL = RANKS_PER_CHUNK - PER_CHUNK

SCHEDULE = Schedule(
    name="interleaved",
    meaning="1F1B with several chunks of the model on each rank, so that the pipeline fills in smaller steps",
    reference="Narayanan et al., Megatron-LM, arXiv:2104.04473, section 2.2",
    order=order,
    needs="2 chunks or more, micro-batches a multiple of ranks",
    fits=lambda ranks, micro_batches, chunks: chunks >= 2 and micro_batches % ranks == 0,
    chunks=0,
    paths=(path(_FILL, _FILL, _FILL, 2 * (STAGES - ONE)),),
    peaks=(PEAK_MICROS, PEAK_RANKS + PEAK_RANKS_PER_CHUNK - 2 * PEAK_RANK_PER_CHUNK - PEAK_PER_CHUNK),
)
