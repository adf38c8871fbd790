"""Schedules by name: a module ``schedule_*.py`` of this package that defines ``SCHEDULE`` is one."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import import_module
from typing import Final

import numpy as np

from hardware_specs.errors import InputError, UnknownName
from simulator.schedules.actions import Order, Program, program_of
from simulator.schedules.forms import Floats

MOST_ACTIONS: Final = 20_000_000
"""Largest program that is written out."""
_PACKAGE: Final = "simulator.schedules"


def _in_turn(rank: int, chunk: int, ranks: int) -> int:
    return chunk * ranks + rank


@dataclass(frozen=True, eq=False)
class Schedule:
    """A pipeline schedule.

    Attributes:
        name: its name.
        meaning: what it does, one line.
        reference: where it was published.
        order: the actions of a rank.
        needs: what the numbers of ranks, micro-batches and chunks must be, in words.
        fits: (ranks, micro-batches, chunks) -> whether they are.
        chunks: of a rank; 0: as many as are asked for.
        stage_of: (rank, chunk, ranks) -> the stage that a chunk is.
        copies: how often the parameters of a stage are held, all ranks together.
        split: whether it has I and W.
        paths: those that can be the longest one, each as ``forms.path`` gives it; none: no closed form.
        peaks: sums whose least one is what a rank keeps at most, in the terms of ``forms``.
    """

    name: str
    meaning: str
    reference: str
    order: Order
    needs: str = "any"
    fits: Callable[[int, int, int], bool] = lambda ranks, micro_batches, chunks: True
    chunks: int = 1
    stage_of: Callable[[int, int, int], int] = _in_turn
    copies: int = 1
    split: bool = False
    paths: Sequence[Floats] = field(default=())
    peaks: Sequence[Floats] = field(default=())


@cache
def schedules() -> dict[str, Schedule]:
    """All schedules by name, in order of their names."""
    modules = (module.name for module in pkgutil.iter_modules(import_module(_PACKAGE).__path__))
    found: list[Schedule] = [
        import_module(f"{_PACKAGE}.{name}").SCHEDULE for name in modules if name.startswith("schedule_")
    ]
    return {schedule.name: schedule for schedule in sorted(found, key=lambda s: s.name)}


def names() -> tuple[str, ...]:
    """Names of all schedules."""
    return tuple(schedules())


def schedule_of(name: str, place: str = "") -> Schedule:
    """The schedule of a name.

    Raises:
        UnknownName: there is none.
    """
    if name not in schedules():
        raise UnknownName("schedule", name, schedules(), f"allowed: {', '.join(schedules())}", place)
    return schedules()[name]


def code_of(name: str) -> int:
    """Number of a schedule in arrays of plans; holds in this process only."""
    return names().index(schedule_of(name).name)


def refusal(name: str, ranks: int, micro_batches: int, chunks: int) -> str:
    """Why a schedule cannot be cut that way; "" where it can."""
    schedule = schedule_of(name)
    for what, number in (("ranks", ranks), ("micro-batches", micro_batches), ("chunks", chunks)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            return f"{number!r} {what}; allowed: a whole number from 1 on"
    if schedule.chunks and chunks != schedule.chunks:
        return f"{chunks} chunks a rank; {name} has {schedule.chunks}"
    if not schedule.fits(ranks, micro_batches, chunks):
        return f"{ranks} ranks, {micro_batches} micro-batches, {chunks} chunks; {name} needs {schedule.needs}"
    return ""


def program(name: str, ranks: int, micro_batches: int, chunks: int = 0, place: str = "") -> Program:
    """The program of a schedule.

    Args:
        name: one of ``names()``.
        ranks: pipeline ranks.
        micro_batches: of one step.
        chunks: stages that a rank holds; 0: as many as the schedule has, 2 where it leaves that open.
        place: where the name stands, for errors.

    Raises:
        UnknownName: no schedule has that name.
        InputError: numbers that the schedule cannot be cut into, or more than twenty million actions.
    """
    held = chunks or schedule_of(name, place).chunks or 2
    reason = refusal(name, ranks, micro_batches, held)
    if not reason and ranks * micro_batches * held * 3 > MOST_ACTIONS:
        reason = f"{ranks} ranks, {micro_batches} micro-batches, {held} chunks are more than {MOST_ACTIONS:,} actions"
    if reason:
        raise InputError(f"{place}: schedule {name}: {reason}" if place else f"schedule {name}: {reason}")
    return _program(name, ranks, micro_batches, held)


@lru_cache(maxsize=32)
def _program(name: str, ranks: int, micro_batches: int, chunks: int) -> Program:
    schedule = schedule_of(name)
    stages = [[schedule.stage_of(rank, chunk, ranks) for chunk in range(chunks)] for rank in range(ranks)]
    actions = [schedule.order(rank, ranks, micro_batches, chunks) for rank in range(ranks)]
    return program_of(name, micro_batches, stages, actions)
