"""GPipe: all forwards, then all backwards."""

from __future__ import annotations

from simulator.schedules.actions import Action, Kind
from simulator.schedules.forms import MICROS, ONE, PEAK_MICROS, RANKS, path
from simulator.schedules.registry import Schedule


def order(rank: int, ranks: int, micro_batches: int, chunks: int) -> list[Action]:
    """Actions of a rank; every micro-batch is kept until all have passed forward."""
    return [Action(kind, 0, i) for kind in (Kind.F, Kind.B) for i in range(micro_batches)]


_FILL, _SENDS, _REST = RANKS - ONE, 2 * (RANKS - ONE), MICROS - ONE

SCHEDULE = Schedule(
    name="gpipe",
    meaning="all forwards, then all backwards",
    reference="Huang et al., GPipe, arXiv:1811.06965, section 2",
    order=order,
    paths=(
        path(_FILL, _FILL, _FILL, _SENDS),
        path(_FILL - _REST, _FILL, _FILL, _SENDS + _REST),
        path(_FILL, _FILL - _REST, _FILL - _REST, _SENDS + _REST),
        path(_FILL - _REST, _FILL - _REST, _FILL - _REST, _SENDS + 2 * _REST),
    ),
    peaks=(PEAK_MICROS,),
)
