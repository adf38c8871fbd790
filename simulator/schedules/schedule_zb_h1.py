"""ZB-H1: 1F1B whose backward is cut in two, so that gradients of weights fill the drain of the pipeline."""

from __future__ import annotations

from simulator.schedules.actions import Action, Kind
from simulator.schedules.forms import (
    FILLED,
    FIRST_ROUNDS,
    KEPT_MICROS,
    KEPT_RANK,
    KEPT_RANKS,
    ONE,
    PEAK_MICROS,
    PEAK_RANK,
    PEAK_RANKS,
    RANKS,
    ROUNDS,
    path,
)
from simulator.schedules.registry import Schedule


def order(rank: int, ranks: int, micro_batches: int, chunks: int) -> list[Action]:
    """Actions of a rank; rank r computes gradients of weights r micro-batches late."""
    ahead = min(ranks - rank - 1, micro_batches)
    actions = [Action(Kind.F, 0, i) for i in range(ahead)]
    for i in range(micro_batches):
        if i + ahead < micro_batches:
            actions.append(Action(Kind.F, 0, i + ahead))
        actions.append(Action(Kind.I, 0, i))
        if i >= rank:
            actions.append(Action(Kind.W, 0, i - rank))
    actions += [Action(Kind.W, 0, i) for i in range(max(micro_batches - rank, 0), micro_batches)]
    return actions


_FILL, _LATE, _SHORT, _LATER = RANKS - ONE, FILLED - ONE, RANKS - FILLED, ROUNDS - FIRST_ROUNDS
_LEFT = PEAK_RANKS - PEAK_RANK

SCHEDULE = Schedule(
    name="zb-h1",
    meaning="1F1B whose gradients of weights are computed late, so that they fill the drain of the pipeline",
    reference="Qi et al., Zero Bubble Pipeline Parallelism, arXiv:2401.10241, section 2.1",
    order=order,
    split=True,
    paths=(
        path(_FILL, _FILL, -_LATE, 2 * (_FILL + FIRST_ROUNDS)),
        path(_FILL, _SHORT, 0.0, _FILL + _SHORT + 2 * FIRST_ROUNDS),
        path(_SHORT, _FILL, 0.0, 2 * _FILL),
        path(_FILL, _FILL, -_LATE - _LATER, 2 * (_FILL + ROUNDS)),
        path(_FILL, _SHORT, -_LATER, _FILL + _SHORT + 2 * ROUNDS),
    ),
    peaks=(PEAK_MICROS, _LEFT + KEPT_RANK, _LEFT + KEPT_MICROS - KEPT_RANKS + KEPT_RANK),
)
