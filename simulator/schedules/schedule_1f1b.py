"""1F1B: a backward follows each forward as soon as the first micro-batch is back."""

from __future__ import annotations

from simulator.schedules.actions import Action, Kind
from simulator.schedules.forms import ONE, PEAK_MICROS, PEAK_RANK, PEAK_RANKS, RANKS, ROUNDS, path
from simulator.schedules.registry import Schedule


def order(rank: int, ranks: int, micro_batches: int, chunks: int) -> list[Action]:
    """Actions of a rank; it keeps as many micro-batches as there are ranks from it to the last one."""
    ahead = min(ranks - rank - 1, micro_batches)
    actions = [Action(Kind.F, 0, i) for i in range(ahead)]
    for i in range(micro_batches):
        if i + ahead < micro_batches:
            actions.append(Action(Kind.F, 0, i + ahead))
        actions.append(Action(Kind.B, 0, i))
    return actions


_FILL = RANKS - ONE

SCHEDULE = Schedule(
    name="1f1b",
    meaning="a backward follows each forward as soon as the first micro-batch is back",
    reference="Narayanan et al., PipeDream-Flush, arXiv:2006.09503, section 2.2; Megatron-LM, arXiv:2104.04473",
    order=order,
    paths=(path(_FILL, _FILL, _FILL, 2 * (_FILL + ROUNDS)),),
    peaks=(PEAK_MICROS, PEAK_RANKS - PEAK_RANK),
)
