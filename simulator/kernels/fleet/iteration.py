"""One iteration of a replica: which sequences run, what it takes, and what each of them has got after it.

Schedulers differ in three choices. *Mixed* ones let prompts share an iteration with sequences that decode (the V1
engine of vLLM; Sarathi with a small budget, arXiv:2403.02310); others run prompts first and alone (the V0 engine,
arXiv:2309.06180; SGLang). *Chunked* ones cut a prompt that is longer than what is left of the budget. *Static* ones
begin a batch when the one before is over, and hold each place until all of it is. A sequence that comes with the cache
of all its prompt but the last token decodes at once, whatever the scheduler.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.kernels.fleet.columns import (
    ACCEPTANCE,
    ACCEPTED,
    ADAPTER_J,
    ADAPTER_LOAD_S,
    ADAPTER_S,
    ADAPTER_SLOTS,
    ADAPTER_STEP_J,
    ADAPTER_STEP_S,
    ADAPTER_TOKEN_J,
    ADAPTER_TOKEN_S,
    ADAPTERS,
    B_BLOCKS,
    B_BUSY_S,
    B_ENERGY_J,
    B_HOST_S,
    B_ITERATIONS,
    B_PROMPT_TOKENS,
    B_READ_TOKENS,
    B_RUNNING,
    B_TOKENS,
    B_TRANSFER_S,
    B_WAITING,
    BLOCK,
    BLOCKS,
    CACHED,
    CHUNKED,
    CONTEXT,
    DECODERS,
    DEVICES,
    DRAFTED,
    DRAFTS,
    DROP_LATE,
    ENDED,
    FILLING,
    FIRST_COME,
    FREE,
    HIDDEN,
    HIT_TOKENS,
    HOST_S,
    HOST_SEQUENCE_S,
    HOST_STEP_S,
    LOAD_UNIT_S,
    LOADS,
    MIXED,
    ORDER,
    PROMPTS,
    READ_TOKENS,
    RESERVES,
    RUNNING,
    SEQUENCES_MOST,
    SHARED_BLOCKS,
    STATIC,
    STATIC_W,
    SWAP,
    SWAP_BLOCK_S,
    SWAPPED,
    SWAPS,
    TOKENS_MOST,
    TRANSFER_S,
    WAITS,
    WATERMARK,
)
from simulator.kernels.fleet.prefix_cache import hold, keep_computed, leading_units, make_room, release
from simulator.kernels.fleet.queues import dequeue, enqueue, first, look_again, next_class, pass_by
from simulator.kernels.jit import law_kernel, law_part
from simulator.kernels.serving import (
    BUSY_S,
    DECODING,
    DONE,
    ENERGY_J,
    EVENTS,
    ITERATIONS,
    KV_PEAK,
    KV_S,
    NONE,
    PREEMPTIONS,
    PREFILL_TOKENS,
    PROMPT,
    QUEUE_S,
    REJECTED,
    RUNNING_S,
    TIME,
    TOKENS,
    decode_price,
    prompt_price,
    record_gap,
)
from simulator.kernels.speculation import emitted


@law_part
def _blocks(tokens: int, size: int) -> int:
    return -(-tokens // size)


@law_part
def _take(state: Any, cache: Any, r: int, choices: Any, blocks: int) -> None:
    """Take free blocks; the prefix cache gives up what it keeps in them."""
    state[FREE] -= blocks
    if state[CACHED] > state[FREE]:
        make_room(state, cache, r, choices)


@law_part
def _missing(jobs: Any, job: int, tokens: int, choices: Any) -> int:
    """Blocks that a job lacks for so many tokens."""
    own = jobs.blocks[job] + jobs.held[job] * choices[SHARED_BLOCKS]
    return max(_blocks(tokens, choices[BLOCK]) - own, 0)


@law_part
def _reach(jobs: Any, job: int, choices: Any) -> int:
    """Tokens of a sequence that an iteration may bring into the cache; drafts behind its end need no room."""
    return min(jobs.computed[job] + choices[DRAFTS] + 1, jobs.input[job] + jobs.output[job])


@law_part
def drop(jobs: Any, state: Any, running: Any, stats: Any, cache: Any, r: int, place: int, choices: Any) -> None:
    """Take the job at ``place`` out of the batch and give back all that it holds."""
    job = running[place]
    if jobs.status[job] == PROMPT:
        state[PROMPTS] -= 1
    else:
        state[DECODERS] -= 1
        state[CONTEXT] -= jobs.computed[job]
    if choices[SHARED_BLOCKS] > 0:
        release(jobs, state, cache, r, job, choices[SHARED_BLOCKS])
    state[FREE] += jobs.blocks[job]
    jobs.blocks[job] = 0
    adapter = jobs.adapter[job]
    if adapter != NONE:
        cache.adapters[r, adapter] -= 1
        cache.adapter_used_s[r, adapter] = stats[TIME]
        if cache.adapters[r, adapter] == 0:
            state[ADAPTERS] -= 1
    for k in range(place, state[RUNNING] - 1):
        running[k] = running[k + 1]
    state[RUNNING] -= 1


@law_part
def _victim(jobs: Any, state: Any, running: Any, choices: Any) -> int:
    """The place of the sequence that gives way: the one that began last, of the class that matters least.

    First come, first served knows no classes.
    """
    worst = state[RUNNING] - 1
    if choices[ORDER] == FIRST_COME:
        return worst
    for place in range(state[RUNNING] - 2, -1, -1):
        if jobs.priority[running[place]] > jobs.priority[running[worst]]:
            worst = place
    return worst


@law_part
def _preempt(
    jobs: Any, state: Any, running: Any, queues: Any, stats: Any, cache: Any, r: int, choices: Any, costs: Any
) -> float:  # fmt: skip
    """Let a sequence wait again before all others of its class, and return the seconds of moving what it holds.

    Where the host has room its blocks go there; else they are computed again, behind what it has got.
    """
    place = _victim(jobs, state, running, choices)
    job = running[place]
    blocks = jobs.blocks[job]
    was_decoding = jobs.status[job] == DECODING
    drop(jobs, state, running, stats, cache, r, place, choices)
    jobs.preempted[job] += 1
    stats[PREEMPTIONS] += 1.0
    state[WAITS] += 1
    if was_decoding and choices[SWAP] > 0 and state[SWAPPED] + blocks <= choices[SWAP]:
        state[SWAPPED] += blocks
        stats[SWAPS] += 1.0
        jobs.swapped[job] = blocks
        enqueue(jobs, queues, job, True, choices[ORDER])
        return blocks * costs[SWAP_BLOCK_S]
    jobs.computed[job] = 0
    jobs.cached[job] = 0
    jobs.prompt[job] = jobs.input[job] + jobs.made[job]
    enqueue(jobs, queues, job, True, choices[ORDER])
    return 0.0


@law_part
def _blocks_of_decoders(
    jobs: Any, state: Any, running: Any, queues: Any, stats: Any, cache: Any, r: int, choices: Any, costs: Any
) -> tuple[bool, float]:  # fmt: skip
    """Give every sequence that decodes the blocks of its next tokens; whether some were short, seconds of swapping."""
    short, moved_s = False, 0.0
    while True:
        needed = 0
        for place in range(state[RUNNING]):
            job = running[place]
            if jobs.status[job] == DECODING:
                needed += _missing(jobs, job, _reach(jobs, job, choices), choices)
        if state[FREE] >= needed:
            break
        moved_s += _preempt(jobs, state, running, queues, stats, cache, r, choices, costs)
        short = True
    for place in range(state[RUNNING]):
        job = running[place]
        if jobs.status[job] == DECODING:
            jobs.blocks[job] += _missing(jobs, job, _reach(jobs, job, choices), choices)
    _take(state, cache, r, choices, needed)
    return short, moved_s


@law_part
def _use_adapter(jobs: Any, state: Any, stats: Any, cache: Any, r: int, job: int, choices: Any, costs: Any) -> float:
    """Count a sequence of an adapter, and return the seconds of bringing it; one that none uses gives way to it."""
    adapter = jobs.adapter[job]
    if adapter == NONE:
        return 0.0
    cache.adapters[r, adapter] += 1
    if cache.adapters[r, adapter] == 1:
        state[ADAPTERS] += 1
    loaded = cache.adapter_used_s[r, adapter] >= 0.0
    cache.adapter_used_s[r, adapter] = stats[TIME]
    if loaded:
        return 0.0
    count, oldest = 0, NONE
    for other in range(cache.adapters.shape[1]):
        if cache.adapter_used_s[r, other] < 0.0:
            continue
        count += 1
        if cache.adapters[r, other] == 0 and (
            oldest == NONE or cache.adapter_used_s[r, other] < cache.adapter_used_s[r, oldest]
        ):
            oldest = other
    if count > choices[ADAPTER_SLOTS] and oldest != NONE:
        cache.adapter_used_s[r, oldest] = -1.0
    stats[LOADS] += 1.0
    return costs[ADAPTER_LOAD_S]


@law_part
def _room_for_adapter(jobs: Any, state: Any, cache: Any, r: int, job: int, choices: Any) -> bool:
    """Whether a job may run beside the adapters of the batch; those that may not are passed by, as vLLM does."""
    adapter = jobs.adapter[job]
    return adapter == NONE or cache.adapters[r, adapter] > 0 or state[ADAPTERS] < choices[ADAPTER_SLOTS]


@law_part
def _decodes_at_once(jobs: Any, job: int) -> bool:
    """Whether a job came with all of its prompt in the cache but the token that gives the next one."""
    cached = jobs.cached[job]
    return cached > 0 and cached == jobs.prompt[job] - 1 and jobs.output[job] > 0 and jobs.swapped[job] == 0


@law_part
def _admit(
    jobs: Any, state: Any, running: Any, queues: Any, stats: Any, cache: Any, r: int, choices: Any, costs: Any,
    kind: int, budget: int,
) -> tuple[int, float]:  # fmt: skip
    """Admit the first job of a class; new tokens of its prompt (0: it decodes; -1: no room), seconds of loading."""
    job, size = first(jobs, queues, kind), choices[BLOCK]
    spare = choices[WATERMARK] if state[RUNNING] > 0 else 0
    if jobs.swapped[job] > 0:
        blocks = jobs.swapped[job]
        if state[FREE] < min(blocks + 1 + spare, choices[BLOCKS]):
            return -1, 0.0
        dequeue(jobs, queues, kind)
        state[FREE] -= blocks
        jobs.blocks[job] = blocks
        state[SWAPPED] -= blocks
        jobs.swapped[job] = 0
        jobs.status[job] = DECODING
        state[DECODERS] += 1
        state[CONTEXT] += jobs.computed[job]
        state[WAITS] -= 1
        running[state[RUNNING]] = job
        state[RUNNING] += 1
        return 0, blocks * costs[SWAP_BLOCK_S] + _use_adapter(jobs, state, stats, cache, r, job, choices, costs)
    unit_blocks = choices[SHARED_BLOCKS]
    there, idle, tier = 0, 0, 0
    known = jobs.cached[job]
    if unit_blocks > 0:
        unit_tokens = unit_blocks * size
        there, idle, tier = leading_units(jobs, cache, r, job, jobs.prompt[job] // unit_tokens)
        # Also of a prompt that is all there the last token is computed, for it gives the next one.
        known = max(known, min(there * unit_tokens, jobs.prompt[job] - 1))
    new = jobs.prompt[job] - known
    at_once = _decodes_at_once(jobs, job)
    if at_once:
        new = 0
    if new > budget:
        if choices[CHUNKED] == 0 and budget < choices[TOKENS_MOST]:
            return -1, 0.0
        new = budget
    ahead = known + new
    if at_once:
        ahead = min(known + choices[DRAFTS] + 1, jobs.prompt[job] + jobs.output[job])
    if choices[RESERVES] > 0:
        ahead = jobs.prompt[job] + jobs.output[job]
    private = max(_blocks(ahead, size) - there * unit_blocks, 0)
    if state[FREE] < private + (idle + tier) * unit_blocks + spare:
        return -1, 0.0
    dequeue(jobs, queues, kind)
    state[WAITS] -= 1
    loading_s = 0.0
    if there > 0:
        own = jobs.first_hash[job]
        for k in range(there):
            hold(state, cache, r, jobs.hashes[own + k], unit_blocks)
        jobs.held[job] = there
        loading_s = tier * costs[LOAD_UNIT_S]
        if jobs.scheduled_s[job] < 0.0:
            stats[HIT_TOKENS] += known - jobs.cached[job]
    _take(state, cache, r, choices, private)
    jobs.blocks[job] = private
    running[state[RUNNING]] = job
    state[RUNNING] += 1
    jobs.computed[job] = known + new
    if at_once:
        state[DECODERS] += 1
        state[CONTEXT] += known
        jobs.status[job] = DECODING
    else:
        state[PROMPTS] += 1
        jobs.status[job] = PROMPT
    if jobs.scheduled_s[job] < 0.0:
        jobs.scheduled_s[job] = stats[TIME]
        jobs.matched[job] = known
    return new, loading_s + _use_adapter(jobs, state, stats, cache, r, job, choices, costs)


@law_part
def _too_late(jobs: Any, state: Any, queues: Any, stats: Any, kind: int) -> bool:
    """Let the first job of a class go if its time is over and nothing of it has begun."""
    job = first(jobs, queues, kind)
    if jobs.scheduled_s[job] >= 0.0 or jobs.deadline_s[job] >= stats[TIME]:
        return False
    dequeue(jobs, queues, kind)
    state[WAITS] -= 1
    jobs.status[job] = REJECTED
    return True


@law_part
def _account(
    state: Any, stats: Any, cell: Any, choices: Any, costs: Any, device_s: float, moved_s: float, joules: float,
    prompt_tokens: int, read: int,
) -> float:  # fmt: skip
    """Let an iteration pass: energy, and integrals over time, in all and in the bin in which it begins; its seconds."""
    host_s = costs[HOST_STEP_S] + costs[HOST_SEQUENCE_S] * state[RUNNING]
    seconds = max(device_s, host_s) if costs[HIDDEN] > 0.0 else device_s + host_s
    waited_s = seconds - device_s
    energy_j = (joules + costs[STATIC_W] * waited_s) * costs[DEVICES]
    used = choices[BLOCKS] - state[FREE]
    stats[TIME] += seconds
    stats[BUSY_S] += seconds
    stats[ENERGY_J] += energy_j
    stats[ITERATIONS] += 1.0
    stats[QUEUE_S] += state[WAITS] * seconds
    stats[RUNNING_S] += state[RUNNING] * seconds
    stats[KV_S] += used * seconds
    stats[KV_PEAK] = max(stats[KV_PEAK], float(used))
    stats[HOST_S] += waited_s
    stats[TRANSFER_S] += moved_s
    stats[READ_TOKENS] += read
    cell[B_WAITING] += state[WAITS] * seconds
    cell[B_RUNNING] += state[RUNNING] * seconds
    cell[B_BLOCKS] += used * seconds
    cell[B_BUSY_S] += seconds
    cell[B_HOST_S] += waited_s
    cell[B_TRANSFER_S] += moved_s
    cell[B_PROMPT_TOKENS] += prompt_tokens
    cell[B_READ_TOKENS] += read
    cell[B_ENERGY_J] += energy_j
    cell[B_ITERATIONS] += 1.0
    return seconds


@law_part
def iterate(
    jobs: Any, state: Any, running: Any, queues: Any, stats: Any, cache: Any, r: int, choices: Any, costs: Any,
    tables: Any, bins: Any, width_s: float, gaps: Any, gap: Any, seed: int, ended: Any,
) -> int:  # fmt: skip
    """Run one iteration of replica ``r``, which has something to do; jobs that ended or were let go are in ``ended``.

    Args:
        gap: shortest gap [s] and bins per doubling of ``gaps``.

    Returns:
        How many jobs are in ``ended``; -1 if nothing could run.
    """
    ahead = choices[DRAFTS] + 1
    gone = 0
    state[ENDED] = 0
    short, moved_s = False, 0.0
    mixed, static = choices[MIXED] > 0, choices[STATIC] > 0
    budget = choices[TOKENS_MOST]
    decoding = 0
    if mixed:
        short, moved_s = _blocks_of_decoders(jobs, state, running, queues, stats, cache, r, choices, costs)
        decoding = min(state[DECODERS], budget // ahead)
        budget = budget - decoding * ahead if decoding == state[DECODERS] else 0
    chunk_s = chunk_j = idle_s = idle_j = 0.0
    prompt_tokens, finished, adapters = 0, 0, 0
    place = 0
    while place < state[RUNNING] and budget > 0:
        job = running[place]
        place += 1
        if jobs.status[job] != PROMPT or jobs.computed[job] == jobs.prompt[job]:
            continue
        before = jobs.computed[job]
        new = min(jobs.prompt[job] - before, budget)
        more = _missing(jobs, job, before + new, choices)
        while state[FREE] < more and jobs.status[job] == PROMPT:
            moved_s += _preempt(jobs, state, running, queues, stats, cache, r, choices, costs)
            short = True
        if jobs.status[job] != PROMPT:
            break
        jobs.blocks[job] += more
        _take(state, cache, r, choices, more)
        jobs.computed[job] = before + new
        budget -= new
        more_s, alone_s = prompt_price(tables, tables.prefill_s, new, before + new)
        more_j, alone_j = prompt_price(tables, tables.prefill_j, new, before + new)
        chunk_s, chunk_j = chunk_s + more_s, chunk_j + more_j
        idle_s = alone_s if prompt_tokens == 0 else max(idle_s, alone_s)
        idle_j = alone_j if prompt_tokens == 0 else max(idle_j, alone_j)
        prompt_tokens += new
        adapters += _runs(jobs, stats, cache, r, job)
        if before + new == jobs.prompt[job]:
            finished += 1
    decoding = min(decoding, state[DECODERS])
    if state[RUNNING] == 0:
        state[FILLING] = 1
    opened = not static or state[FILLING] > 0
    while opened and not short and budget > 0 and state[RUNNING] < choices[SEQUENCES_MOST]:
        kind = next_class(jobs, queues, choices[ORDER])
        if kind == NONE:
            break
        job = first(jobs, queues, kind)
        if choices[DROP_LATE] > 0 and gone < ended.shape[0] and _too_late(jobs, state, queues, stats, kind):
            ended[gone] = job
            gone += 1
            continue
        if not _room_for_adapter(jobs, state, cache, r, job, choices):
            pass_by(jobs, queues, kind)
            continue
        # Behind one that came back from the host, which decodes from the next iteration on, it does so too.
        now = mixed and decoding == state[DECODERS] and _decodes_at_once(jobs, job)
        if now and budget < ahead:
            break
        new, loading_s = _admit(
            jobs, state, running, queues, stats, cache, r, choices, costs, kind, budget
        )  # fmt: skip
        if new < 0:
            break
        moved_s += loading_s
        if now:
            decoding += 1
            budget -= ahead
        if new == 0:
            continue
        budget -= new
        computed = jobs.computed[job]
        more_s, alone_s = prompt_price(tables, tables.prefill_s, new, computed)
        more_j, alone_j = prompt_price(tables, tables.prefill_j, new, computed)
        chunk_s, chunk_j = chunk_s + more_s, chunk_j + more_j
        idle_s = alone_s if prompt_tokens == 0 else max(idle_s, alone_s)
        idle_j = alone_j if prompt_tokens == 0 else max(idle_j, alone_j)
        prompt_tokens += new
        adapters += _runs(jobs, stats, cache, r, job)
        if computed == jobs.prompt[job]:
            finished += 1
    look_again(queues)
    if decoding == 0 and prompt_tokens == 0 and state[DECODERS] > 0:
        _, more_s = _blocks_of_decoders(jobs, state, running, queues, stats, cache, r, choices, costs)
        moved_s += more_s
        decoding = min(state[DECODERS], choices[TOKENS_MOST] // ahead) if mixed else state[DECODERS]
        state[FILLING] = 0
    drafted = decoding * ahead
    tokens = drafted + prompt_tokens
    if tokens == 0 and moved_s == 0.0:
        return gone if gone > 0 else -1
    answered = drafted + finished
    context = float(state[CONTEXT] + decoding)
    if decoding != state[DECODERS]:
        context = float(_context_of(jobs, state, running, decoding) + decoding)
    device_s = tables.rows_s[tokens] + tables.head_s[answered] + (chunk_s + idle_s)
    device_s += decode_price(tables, decoding, context, False)
    joules = tables.rows_j[tokens] + tables.head_j[answered] + (chunk_j + idle_j)
    joules += decode_price(tables, decoding, context, True)
    if state[ADAPTERS] > 0:
        adapters += _adapters_of(jobs, state, running, stats, cache, r, decoding)
    if adapters > 0:
        device_s += costs[ADAPTER_STEP_S] + adapters * costs[ADAPTER_S] + tokens * costs[ADAPTER_TOKEN_S]
        joules += costs[ADAPTER_STEP_J] + adapters * costs[ADAPTER_J] + tokens * costs[ADAPTER_TOKEN_J]
    exposed_s = max(device_s, moved_s) - device_s
    device_s += exposed_s
    joules += costs[STATIC_W] * exposed_s
    begin_s, before = stats[TIME], stats[TOKENS]
    cell = bins[min(int(begin_s / width_s), bins.shape[0] - 1)]
    seconds = _account(state, stats, cell, choices, costs, device_s, moved_s, joules, prompt_tokens, int(context))
    stats[PREFILL_TOKENS] += prompt_tokens
    gone = _after(
        jobs, state, running, stats, cache, r, choices, costs, gaps, gap, seed, ended, gone, decoding, begin_s, seconds
    )
    cell[B_TOKENS] += stats[TOKENS] - before
    return gone


@law_part
def _runs(jobs: Any, stats: Any, cache: Any, r: int, job: int) -> int:
    """Let a job run in this iteration: 1 if it is the first of its adapter in it, else 0."""
    adapter = jobs.adapter[job]
    if adapter == NONE or cache.adapter_turn[r, adapter] == stats[ITERATIONS]:
        return 0
    cache.adapter_turn[r, adapter] = int(stats[ITERATIONS])
    return 1


@law_part
def _adapters_of(jobs: Any, state: Any, running: Any, stats: Any, cache: Any, r: int, decoding: int) -> int:
    """Adapters of the first ``decoding`` sequences that decode, beside those that run already.

    A static batch runs those that are done, too.
    """
    found, seen = 0, 0
    for place in range(state[RUNNING]):
        job = running[place]
        if jobs.status[job] in (DECODING, DONE) and seen < decoding:
            found += _runs(jobs, stats, cache, r, job)
            seen += 1
    return found


@law_part
def _context_of(jobs: Any, state: Any, running: Any, decoding: int) -> int:
    """Tokens in the cache of the first ``decoding`` sequences that decode."""
    total, seen = 0, 0
    for place in range(state[RUNNING]):
        job = running[place]
        if jobs.status[job] == DECODING and seen < decoding:
            total += jobs.computed[job]
            seen += 1
    return total


@law_part
def _after(
    jobs: Any, state: Any, running: Any, stats: Any, cache: Any, r: int, choices: Any, costs: Any, gaps: Any, gap: Any,
    seed: int, ended: Any, gone: int, decoding: int, begin_s: float, seconds: float,
) -> int:  # fmt: skip
    """Give the tokens of an iteration to its sequences, and let those that have all of them leave.

    Gaps are counted from the last iteration that gave a sequence tokens, be it that of another replica.
    """
    unit_blocks = choices[SHARED_BLOCKS]
    unit_tokens = unit_blocks * choices[BLOCK]
    seen, steady = 0, 0
    for place in range(state[RUNNING]):
        job = running[place]
        if jobs.status[job] == DECODING:
            if seen == decoding:
                if unit_blocks > 0:
                    keep_computed(jobs, state, cache, r, job, unit_blocks, unit_tokens)
                continue
            seen += 1
            got = 1
            if jobs.first_s[job] < 0.0:
                jobs.first_s[job] = stats[TIME]
            if jobs.last_s[job] == begin_s:
                steady += 1
            elif jobs.last_s[job] >= 0.0:
                record_gap(gaps, stats[TIME] - jobs.last_s[job], 1, gap[0], gap[1])
            if choices[DRAFTS] > 0:
                got = emitted(choices[DRAFTS], costs[ACCEPTANCE], _draw(seed, job, jobs.made[job]))
                stats[DRAFTED] += choices[DRAFTS]
                stats[ACCEPTED] += got - 1
                got = min(got, jobs.output[job] - jobs.made[job])
            jobs.computed[job] += got
            jobs.made[job] += got
            state[CONTEXT] += got
            stats[TOKENS] += got
        elif jobs.status[job] == PROMPT and jobs.computed[job] == jobs.prompt[job]:
            state[PROMPTS] -= 1
            state[DECODERS] += 1
            state[CONTEXT] += jobs.computed[job]
            jobs.status[job] = DECODING
            if jobs.output[job] > 0:
                jobs.made[job] += 1
                stats[TOKENS] += 1
            if jobs.first_s[job] < 0.0:
                jobs.first_s[job] = stats[TIME]
            if jobs.last_s[job] >= 0.0 and jobs.output[job] > 0:
                record_gap(gaps, stats[TIME] - jobs.last_s[job], 1, gap[0], gap[1])
        else:
            if unit_blocks > 0:
                keep_computed(jobs, state, cache, r, job, unit_blocks, unit_tokens)
            continue
        jobs.last_s[job] = stats[TIME]
        if unit_blocks > 0:
            keep_computed(jobs, state, cache, r, job, unit_blocks, unit_tokens)
    record_gap(gaps, seconds, steady, gap[0], gap[1])
    return _leave(jobs, state, running, stats, cache, r, choices, ended, gone)


@law_part
def _leave(
    jobs: Any, state: Any, running: Any, stats: Any, cache: Any, r: int, choices: Any, ended: Any, gone: int
) -> int:  # fmt: skip
    """Jobs that have all their tokens leave; of a static batch once all of them have."""
    over = 0
    for place in range(state[RUNNING]):
        job = running[place]
        if jobs.status[job] == DECODING and jobs.made[job] >= jobs.output[job]:
            jobs.status[job] = DONE
            ended[gone] = job
            gone += 1
            stats[EVENTS] += 1.0
        if jobs.status[job] == DONE:
            over += 1
    if choices[STATIC] > 0 and over < state[RUNNING]:
        return gone
    place = 0
    while place < state[RUNNING]:
        if jobs.status[running[place]] == DONE:
            drop(jobs, state, running, stats, cache, r, place, choices)
            state[ENDED] += 1
        else:
            place += 1
    return gone


@law_kernel
def _draw(seed: int, job: int, made: int) -> float:
    """A number in [0, 1) that depends on the seed, the job and the token alone (splitmix64)."""
    x = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(job + 1) * np.uint64(0xBF58476D1CE4E5B9)
    x += np.uint64(made + 1) * np.uint64(0x94D049BB133111EB)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return float(x >> np.uint64(11)) / 9007199254740992.0
