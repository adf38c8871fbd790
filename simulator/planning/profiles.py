"""Profiles: the ways in which one layer can lie on pools, a pool for each phase and part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final

import numpy as np

from simulator.planning.additive import Group, Ints, Problem

MOST: Final = 1500
"""Profiles of a layer that are looked at: above that a layer lies on at most two pools, or its phases lie alike."""


@dataclass(frozen=True)
class Shapes:
    """Which placements are looked at: ``together``: all phases of a part on one pool; ``whole``: all parts of a layer
    on one pool in each phase; ``pools``: on these alone (none: all); ``mixed``: no pool does everything; ``phase`` and
    ``part``: (a, b): all of phase a, or part a of all layers that have several, on pool b."""

    together: bool = False
    whole: bool = False
    pools: tuple[int, ...] = ()
    mixed: bool = False
    phase: tuple[int, int] | None = None
    part: tuple[int, int] | None = None


def profiles_of(problem: Problem, group: Group, shapes: Shapes) -> Ints:
    """All allowed profiles of a layer of ``group``, shape [profiles, phases, parts]."""
    phases, parts = len(problem.phases), len(group.parts)
    pools = shapes.pools or tuple(range(len(problem.pools)))
    wide, deep = 1 if shapes.together else phases, 1 if shapes.whole else parts
    free = wide * deep
    ways: Iterable[tuple[int, ...]] = product(pools, repeat=free)
    if len(pools) ** free > MOST:
        ways = _on_two(pools, free)
        if len(pools) + len(pools) * (len(pools) - 1) // 2 * (2**free - 2) > MOST:
            wide, ways = 1, _on_two(pools, deep)
    chosen = np.array(sorted(set(ways)), np.int64).reshape(-1, wide, deep)
    chosen = np.ascontiguousarray(np.broadcast_to(chosen, (len(chosen), phases, parts)))
    allowed = [bool(np.isfinite(_seconds(group, one)).all()) and _pinned(shapes, one) for one in chosen]
    found: Ints = chosen[np.array(allowed, np.bool_)] if len(chosen) else chosen
    return found


def _pinned(shapes: Shapes, profile: Ints) -> bool:
    """Whether a profile has the phase and the part where they have to be."""
    rows = [] if shapes.phase is None else [profile[shapes.phase[0]] == shapes.phase[1]]
    if shapes.part is not None and profile.shape[1] > 1:
        rows.append(profile[:, shapes.part[0]] == shapes.part[1])
    return all(bool(row.all()) for row in rows)


def _on_two(pools: tuple[int, ...], free: int) -> Iterable[tuple[int, ...]]:
    """Choices of ``free`` pools, at most two different ones."""
    yield from ((pool,) * free for pool in pools)
    for pair in combinations(pools, 2):
        yield from product(pair, repeat=free)


def _seconds(group: Group, profile: Ints) -> np.ndarray:
    phases, parts = np.indices(profile.shape)
    return np.asarray(group.seconds[phases, parts, profile])
