"""The prefix cache of a replica: units of blocks by the name of their content, kept until the room is needed.

A unit that a sequence holds cannot leave; one that none holds counts as free and leaves, least recently used first,
for the tier in host memory where there is one. Of a sequence whose blocks are given back the last unit is the first to
leave, since the others are of use without it and it is not without them (as vLLM does).
"""

from __future__ import annotations

from typing import Any

from simulator.kernels.fleet.columns import (
    CACHED,
    FREE,
    IN_TIER,
    LRU_HEAD,
    LRU_TAIL,
    SHARED_BLOCKS,
    TIER,
    TIER_HEAD,
    TIER_TAIL,
)
from simulator.kernels.jit import law_part
from simulator.kernels.serving import NONE


@law_part
def _append(state: Any, before: Any, after: Any, head: int, tail: int, unit: int) -> None:
    """Put a unit behind all others of a list."""
    last = state[tail]
    before[unit], after[unit] = last, NONE
    if last == NONE:
        state[head] = unit
    else:
        after[last] = unit
    state[tail] = unit


@law_part
def _remove(state: Any, before: Any, after: Any, head: int, tail: int, unit: int) -> None:
    """Take a unit out of a list."""
    one, other = before[unit], after[unit]
    if one == NONE:
        state[head] = other
    else:
        after[one] = other
    if other == NONE:
        state[tail] = one
    else:
        before[other] = one


@law_part
def make_room(state: Any, cache: Any, r: int, choices: Any) -> None:
    """Let units leave until no more are kept than blocks are free."""
    unit_blocks = choices[SHARED_BLOCKS]
    while state[CACHED] > state[FREE]:
        unit = state[LRU_HEAD]
        _remove(state, cache.before[r], cache.after[r], LRU_HEAD, LRU_TAIL, unit)
        cache.refs[r, unit] = NONE
        state[CACHED] -= unit_blocks
        if choices[TIER] == 0:
            continue
        if cache.tier[r, unit] != NONE:
            _remove(state, cache.tier_before[r], cache.tier_after[r], TIER_HEAD, TIER_TAIL, unit)
            _append(state, cache.tier_before[r], cache.tier_after[r], TIER_HEAD, TIER_TAIL, unit)
            continue
        if state[IN_TIER] == choices[TIER]:
            oldest = state[TIER_HEAD]
            _remove(state, cache.tier_before[r], cache.tier_after[r], TIER_HEAD, TIER_TAIL, oldest)
            cache.tier[r, oldest] = NONE
            state[IN_TIER] -= 1
        cache.tier[r, unit] = 0
        _append(state, cache.tier_before[r], cache.tier_after[r], TIER_HEAD, TIER_TAIL, unit)
        state[IN_TIER] += 1


@law_part
def leading_units(jobs: Any, cache: Any, r: int, job: int, most: int) -> tuple[int, int, int]:
    """Leading units of a job that are there, at most ``most``: all, those that none holds, and those in the tier."""
    first = jobs.first_hash[job]
    count = min(jobs.first_hash[job + 1] - first, most)
    there, idle, tier = 0, 0, 0
    while there < count:
        unit = jobs.hashes[first + there]
        if cache.refs[r, unit] != NONE:
            if cache.refs[r, unit] == 0:
                idle += 1
        elif cache.tier[r, unit] != NONE:
            tier += 1
        else:
            break
        there += 1
    return there, idle, tier


@law_part
def hold(state: Any, cache: Any, r: int, unit: int, unit_blocks: int) -> None:
    """Hold a unit, which may be there or not; its blocks are taken where none held it before."""
    refs = cache.refs[r, unit]
    if refs == 0:
        _remove(state, cache.before[r], cache.after[r], LRU_HEAD, LRU_TAIL, unit)
        state[CACHED] -= unit_blocks
    if refs <= 0:
        state[FREE] -= unit_blocks
        cache.refs[r, unit] = 1
    else:
        cache.refs[r, unit] += 1


@law_part
def release(jobs: Any, state: Any, cache: Any, r: int, job: int, unit_blocks: int) -> None:
    """Give up the units that a job holds, the last one first."""
    first = jobs.first_hash[job]
    for k in range(jobs.held[job] - 1, -1, -1):
        unit = jobs.hashes[first + k]
        cache.refs[r, unit] -= 1
        if cache.refs[r, unit] == 0:
            _append(state, cache.before[r], cache.after[r], LRU_HEAD, LRU_TAIL, unit)
            state[CACHED] += unit_blocks
            state[FREE] += unit_blocks
    jobs.held[job] = 0


@law_part
def keep_computed(jobs: Any, state: Any, cache: Any, r: int, job: int, unit_blocks: int, unit_tokens: int) -> None:
    """Name the units of a job that are complete by now, so that others find them."""
    first = jobs.first_hash[job]
    count = jobs.first_hash[job + 1] - first
    while jobs.held[job] < count and (jobs.held[job] + 1) * unit_tokens <= jobs.computed[job]:
        unit = jobs.hashes[first + jobs.held[job]]
        state[FREE] += unit_blocks
        jobs.blocks[job] -= unit_blocks
        hold(state, cache, r, unit, unit_blocks)
        jobs.held[job] += 1


@law_part
def forget(state: Any, cache: Any, r: int) -> None:
    """Empty the cache of a replica that is gone, its tier and its adapters too."""
    cache.refs[r, :] = NONE
    cache.tier[r, :] = NONE
    cache.adapter_used_s[r, :] = -1.0
    state[CACHED] = 0
    state[IN_TIER] = 0
    state[LRU_HEAD] = state[LRU_TAIL] = state[TIER_HEAD] = state[TIER_TAIL] = NONE
