"""Which pools are equal: exchanging them changes nothing."""

from __future__ import annotations

import numpy as np

from simulator.planning.additive import Aim, Floats, Group, Problem


def kinds_of(problem: Problem, aim: Aim) -> tuple[int, ...]:
    """Kind of each pool, numbered from 0; pools of one kind can take each other's place in any placement."""
    kinds: list[int] = []
    for pool in range(len(problem.pools)):
        same = next((p for p in range(pool) if _exchangeable(problem, aim, p, pool)), None)
        kinds.append(max(kinds, default=-1) + 1 if same is None else kinds[same])
    return tuple(kinds)


def _exchangeable(problem: Problem, aim: Aim, one: int, other: int) -> bool:
    order = np.arange(len(problem.pools))
    order[[one, other]] = other, one

    def by_pool(values: Floats) -> bool:
        return np.array_equal(values, values[..., order])

    def by_pair(values: Floats) -> bool:
        apart = np.where(np.eye(len(order), dtype=np.bool_), 0.0, values)
        return np.array_equal(apart, apart[..., order, :][..., order])

    def in_group(group: Group) -> bool:
        own = (group.seconds, group.joules, group.waits_s, group.held_bytes)
        return all(map(by_pool, own)) and by_pair(group.enters_s) and all(by_pair(e.seconds) for e in group.inner)

    weights = (aim.busy, aim.joule, aim.in_phase, aim.at_all, problem.capacity_bytes)
    return (
        all(map(by_pool, weights))
        and all(map(in_group, problem.groups))
        and all(by_pair(loop.seconds) for loop in problem.loops)
        and all(by_pool(shared.held_bytes) for shared in problem.shared)
    )
