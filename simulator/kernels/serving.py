"""Continuous batching, compiled: replicas advance through whole iterations between the events that change a batch.

One iteration is what the V1 engine of vLLM does (vllm/v1/core/sched/scheduler.py, read as a description): sequences
that decode get a token each; prompts, whole or in chunks, fill what is left of the token budget, those that run before
those that wait, first come first served; a sequence gets cache blocks as it grows, and where none is free the one that
began last gives up its own and computes them again later.

Between admissions, ends and shortage nothing changes but time and contexts: ``advance`` then steps in constant time,
whatever the number of sequences, and gives the same numbers to the bit as visiting each (``one_by_one``).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from simulator.kernels.jit import law_kernel, law_part

NONE: Final = -1
WAITING, PROMPT, DECODING, DONE, REJECTED = range(5)
"""What a request is doing."""

(TIME, ENERGY_J, BUSY_S, ITERATIONS, PREEMPTIONS, KV_PEAK, TOKENS, PREFILL_TOKENS, QUEUE_S, RUNNING_S, KV_S,
 EVENTS) = range(12)  # fmt: skip
"""Columns of what is known of a replica."""
STATS: Final = 12

(RUNNING, HEAD, TAIL, FREE, CLOCK, DECODERS, CONTEXT, SOONEST, WAITS, PROMPTS, ENDED, NEXT, STRIDE) = range(13)
"""Columns of the state of a replica, whole numbers: of a closed loop also its next request and the step to the one
after (0: requests arrive on their own)."""
STATE: Final = 13

ROUND_ROBIN, LEAST_OUTSTANDING, POWER_OF_TWO = range(3)
"""How a router chooses the replica of a request."""


@law_part
def between(at: Any, value: float) -> int:
    """The grid place at or below ``value``, at most the last but one."""
    low, high = 0, at.shape[0] - 1
    while high - low > 1:
        middle = (low + high) // 2
        if at[middle] <= value:
            low = middle
        else:
            high = middle
    return low


@law_part
def on_grid(one_at: Any, other_at: Any, values: Any, i: int, j: int, one: float, other: float) -> float:
    """``values`` between the grid places i, i + 1 and j, j + 1, linear in both; beyond the ends as at the ends."""
    u = (one - one_at[i]) / (one_at[i + 1] - one_at[i])
    v = (other - other_at[j]) / (other_at[j + 1] - other_at[j])
    u, v = min(max(u, 0.0), 1.0), min(max(v, 0.0), 1.0)
    low = values[i, j] + v * (values[i, j + 1] - values[i, j])
    high = values[i + 1, j] + v * (values[i + 1, j + 1] - values[i + 1, j])
    return low + u * (high - low)  # type: ignore[no-any-return]


@law_kernel
def push(requests: Any, state: Any, request: int, front: bool) -> None:
    """Put a request into the queue of a replica."""
    following = requests.following
    following[request] = NONE
    if state[HEAD] == NONE:
        state[HEAD] = state[TAIL] = request
    elif front:
        following[request] = state[HEAD]
        state[HEAD] = request
    else:
        following[state[TAIL]] = request
        state[TAIL] = request
    state[WAITS] += 1
    requests.status[request] = WAITING


@law_part
def _blocks(tokens: int, size: int) -> int:
    return -(-tokens // size)


@law_part
def _length(requests: Any, state: Any, request: int) -> int:
    """Tokens of a request that lie in the cache."""
    if requests.status[request] == DECODING:
        return requests.computed[request] + state[CLOCK] - requests.since[request]  # type: ignore[no-any-return]
    return requests.computed[request]  # type: ignore[no-any-return]


@law_part
def _leave(requests: Any, state: Any, running: Any, residues: Any, place: int, size: int) -> None:
    """Take the request at ``place`` out of the batch and give its blocks back."""
    request = running[place]
    if requests.status[request] == DECODING:
        length = _length(requests, state, request)
        state[FREE] += _blocks(length, size)
        state[DECODERS] -= 1
        state[CONTEXT] -= length
        residues[(length - state[CLOCK]) % size] -= 1
        requests.computed[request] = length
    else:
        state[FREE] += _blocks(requests.computed[request], size)
        state[PROMPTS] -= 1
    for k in range(place, state[RUNNING] - 1):
        running[k] = running[k + 1]
    state[RUNNING] -= 1


@law_part
def _find_soonest(requests: Any, state: Any, running: Any) -> None:
    """When, by the clock of iterations, the next sequence of the batch ends."""
    soonest = np.int64(1) << 62
    for k in range(state[RUNNING]):
        request = running[k]
        if requests.status[request] == DECODING:
            soonest = min(soonest, requests.ends[request])
    state[SOONEST] = soonest


@law_part
def _preempt(requests: Any, state: Any, running: Any, residues: Any, stats: Any, size: int) -> None:
    """The sequence that began last waits again, before all others; what it has got becomes part of its prompt."""
    place = state[RUNNING] - 1
    request = running[place]
    was_decoding = requests.status[request] == DECODING
    _leave(requests, state, running, residues, place, size)
    if was_decoding:
        # Its last token was sampled and not yet computed.
        made = requests.made[request] + state[CLOCK] - requests.since[request]
        requests.made[request] = made
        requests.last_s[request] = stats[TIME]
    requests.computed[request] = 0
    requests.prompt[request] = requests.input[request] + requests.made[request]
    requests.preempted[request] += 1
    stats[PREEMPTIONS] += 1.0
    push(requests, state, request, True)


@law_part
def decode_price(tables: Any, count: int, context: float, energy: bool) -> float:
    """Seconds (or joules) that ``count`` sequences which decode add to an iteration, with ``context`` tokens in all."""
    if count == 0:
        return 0.0
    mean = context / count
    i, j = between(tables.sequences_at, count), between(tables.contexts_at, mean)
    values = tables.decode_j if energy else tables.decode_s
    return float(on_grid(tables.sequences_at, tables.contexts_at, values, i, j, count, mean))


@law_part
def prompt_price(tables: Any, values: Any, new: int, visible: int) -> tuple[float, float]:
    """What a prompt, or a chunk of one, adds to those of an iteration, and what it takes besides if it is alone."""
    i, j = between(tables.new_at, new), between(tables.visible_at, visible)
    alone = on_grid(tables.new_at, tables.visible_at, values[0], i, j, new, visible)
    more = on_grid(tables.new_at, tables.visible_at, values[1], i, j, new, visible)
    return more, alone - more


@law_part
def record_gap(gaps: Any, seconds: float, count: int, least_s: float, per_doubling: float) -> None:
    """Count gaps between tokens in bins of equal ratio."""
    if count > 0 and seconds > 0.0:
        place = int(np.log2(seconds / least_s) * per_doubling)
        gaps[min(max(place, 0), gaps.shape[0] - 1)] += count


@law_kernel
def advance(
    requests: Any, state: Any, running: Any, residues: Any, stats: Any, gaps: Any, tables: Any, limits: Any,
    costs: Any, until_s: float, one_by_one: bool,
) -> None:  # fmt: skip
    """Run the iterations of one replica that begin before ``until_s``; it stands still without requests.

    Args:
        requests: columns of all requests (``serving.requests.Columns``).
        state, running, residues, stats: of this replica; ``residues`` [block size] counts sequences that decode by the
            place in a block that they have at clock 0.
        gaps: counts of gaps between tokens, of all replicas.
        tables: ``serving.step_tables.StepTables``.
        limits: tokens of an iteration, sequences, block size, blocks.
        costs: seconds of the host of an iteration, and of each sequence in it; static power of a device [W], devices;
            shortest gap [s] and bins per doubling of ``gaps``; 1 where the host is hidden behind the devices.
        one_by_one: visit every iteration on its own (for tests).
    """
    most_tokens, most_sequences, size = limits[0], limits[1], limits[2]
    least_s, per_doubling, hidden = costs[4], costs[5], costs[6] > 0.0
    while stats[TIME] < until_s:
        state[ENDED] = 0
        if state[RUNNING] == 0 and state[HEAD] == NONE:
            return
        # Blocks of sequences that decode.
        short = False
        needed = residues[(-state[CLOCK]) % size]
        while state[FREE] < needed:
            _preempt(requests, state, running, residues, stats, size)
            short = True
            needed = residues[(-state[CLOCK]) % size]
        state[FREE] -= needed
        budget = most_tokens - state[DECODERS]
        chunk_s = chunk_j = idle_s = idle_j = 0.0
        prompt_tokens, finished_prompts = 0, 0
        # A prompt that is under way: it began last, for nothing is admitted behind one that the budget cut.
        if state[PROMPTS] > 0:
            request = running[state[RUNNING] - 1]
            before = requests.computed[request]
            new = min(requests.prompt[request] - before, budget)
            more = _blocks(before + new, size) - _blocks(before, size)
            if state[FREE] < more:
                _preempt(requests, state, running, residues, stats, size)
                short = True
            else:
                state[FREE] -= more
                requests.computed[request] = before + new
                budget -= new
                prompt_tokens += new
                chunk_s, idle_s = prompt_price(tables, tables.prefill_s, new, before + new)
                chunk_j, idle_j = prompt_price(tables, tables.prefill_j, new, before + new)
                if before + new == requests.prompt[request]:
                    finished_prompts += 1
        # Prompts that wait.
        while not short and state[HEAD] != NONE and budget > 0 and state[RUNNING] < most_sequences:
            request = state[HEAD]
            new = min(requests.prompt[request], budget)
            more = _blocks(new, size)
            if state[FREE] < more:
                break
            state[HEAD] = requests.following[request]
            if state[HEAD] == NONE:
                state[TAIL] = NONE
            state[WAITS] -= 1
            state[FREE] -= more
            running[state[RUNNING]] = request
            state[RUNNING] += 1
            state[PROMPTS] += 1
            requests.status[request] = PROMPT
            requests.computed[request] = new
            if requests.scheduled_s[request] < 0.0:
                requests.scheduled_s[request] = stats[TIME]
            budget -= new
            more_s, alone_s = prompt_price(tables, tables.prefill_s, new, new)
            more_j, alone_j = prompt_price(tables, tables.prefill_j, new, new)
            chunk_s, chunk_j = chunk_s + more_s, chunk_j + more_j
            idle_s = alone_s if prompt_tokens == 0 else max(idle_s, alone_s)
            idle_j = alone_j if prompt_tokens == 0 else max(idle_j, alone_j)
            prompt_tokens += new
            if new == requests.prompt[request]:
                finished_prompts += 1
        tokens = state[DECODERS] + prompt_tokens
        if tokens == 0:
            # Nothing fits: what waits is larger than the cache, which was refused before; or all blocks are held.
            return
        answered = state[DECODERS] + finished_prompts
        host_s = costs[0] + costs[1] * state[RUNNING]
        context = float(state[CONTEXT] + state[DECODERS])
        device_s = tables.rows_s[tokens] + tables.head_s[answered] + (chunk_s + idle_s)
        device_s += decode_price(tables, state[DECODERS], context, False)
        seconds = max(device_s, host_s) if hidden else device_s + host_s
        joules = tables.rows_j[tokens] + tables.head_j[answered] + (chunk_j + idle_j)
        joules += decode_price(tables, state[DECODERS], context, True)
        waited_s = seconds - device_s
        _account(state, stats, gaps, limits, costs, seconds, joules, waited_s, state[DECODERS], least_s, per_doubling)
        stats[PREFILL_TOKENS] += prompt_tokens
        stats[TOKENS] += answered
        state[CLOCK] += 1
        state[CONTEXT] += state[DECODERS]
        if finished_prompts > 0:
            _prompts_done(requests, state, running, residues, stats, gaps, size, least_s, per_doubling)
        if state[CLOCK] >= state[SOONEST] or finished_prompts > 0:
            _end(requests, state, running, residues, stats, size)
        if one_by_one or state[PROMPTS] > 0 or state[RUNNING] == 0:
            continue
        # Nothing is admitted before the next end: the queue is empty, or its first request does not fit.
        blocked = state[HEAD] != NONE and (
            state[RUNNING] >= most_sequences
            or state[FREE] < _blocks(min(requests.prompt[state[HEAD]], most_tokens - state[DECODERS]), size)
        )
        if state[HEAD] != NONE and not blocked:
            continue
        count = state[DECODERS]
        host_s = costs[0] + costs[1] * state[RUNNING]
        fixed_s = tables.rows_s[count] + tables.head_s[count]
        fixed_j = tables.rows_j[count] + tables.head_j[count]
        i = between(tables.sequences_at, count)
        j = between(tables.contexts_at, (state[CONTEXT] + count) / count)
        while state[CLOCK] < state[SOONEST] and stats[TIME] < until_s:
            needed = residues[(-state[CLOCK]) % size]
            if state[FREE] < needed:
                break
            state[ENDED] = 0
            state[FREE] -= needed
            mean = float(state[CONTEXT] + count) / count
            while j < tables.contexts_at.shape[0] - 2 and tables.contexts_at[j + 1] <= mean:
                j += 1
            device_s = fixed_s + 0.0
            device_s += on_grid(tables.sequences_at, tables.contexts_at, tables.decode_s, i, j, count, mean)
            seconds = max(device_s, host_s) if hidden else device_s + host_s
            joules = fixed_j + 0.0
            joules += on_grid(tables.sequences_at, tables.contexts_at, tables.decode_j, i, j, count, mean)
            waited_s = seconds - device_s
            _account(state, stats, gaps, limits, costs, seconds, joules, waited_s, count, least_s, per_doubling)
            stats[TOKENS] += count
            state[CLOCK] += 1
            state[CONTEXT] += count
        if state[CLOCK] >= state[SOONEST]:
            _end(requests, state, running, residues, stats, size)


@law_part
def _account(
    state: Any, stats: Any, gaps: Any, limits: Any, costs: Any, seconds: float, joules: float, waited_s: float,
    decoding: int, least_s: float, per_doubling: float,
) -> None:  # fmt: skip
    """Let an iteration pass: time, energy, and integrals over time of queue, batch and cache."""
    used = limits[3] - state[FREE]
    stats[TIME] += seconds
    stats[BUSY_S] += seconds
    stats[ENERGY_J] += (joules + costs[2] * waited_s) * costs[3]
    stats[ITERATIONS] += 1.0
    stats[QUEUE_S] += state[WAITS] * seconds
    stats[RUNNING_S] += state[RUNNING] * seconds
    stats[KV_S] += used * seconds
    stats[KV_PEAK] = max(stats[KV_PEAK], float(used))
    record_gap(gaps, seconds, decoding, least_s, per_doubling)


@law_part
def _prompts_done(
    requests: Any, state: Any, running: Any, residues: Any, stats: Any, gaps: Any, size: int, least_s: float,
    per_doubling: float,
) -> None:  # fmt: skip
    """Prompts whose last chunk has run give a token, and decode from now on."""
    for place in range(state[RUNNING]):
        request = running[place]
        if requests.status[request] != PROMPT or requests.computed[request] < requests.prompt[request]:
            continue
        requests.status[request] = DECODING
        requests.made[request] += 1
        if requests.first_s[request] < 0.0:
            requests.first_s[request] = stats[TIME]
        else:
            record_gap(gaps, stats[TIME] - requests.last_s[request], 1, least_s, per_doubling)
        requests.last_s[request] = stats[TIME]
        requests.since[request] = state[CLOCK]
        requests.ends[request] = state[CLOCK] + requests.output[request] - requests.made[request]
        state[PROMPTS] -= 1
        state[DECODERS] += 1
        state[CONTEXT] += requests.computed[request]
        residues[(requests.computed[request] - state[CLOCK]) % size] += 1
    _find_soonest(requests, state, running)


@law_part
def _next_of_loop(requests: Any, state: Any, stats: Any) -> None:
    """In a closed loop the client whose request has ended sends its next one."""
    if state[STRIDE] == 0:
        return
    request = state[NEXT]
    while request < requests.status.shape[0]:
        state[NEXT] += state[STRIDE]
        requests.arrival_s[request] = stats[TIME]
        if requests.status[request] != REJECTED:
            push(requests, state, request, False)
            return
        request = state[NEXT]


@law_part
def _end(requests: Any, state: Any, running: Any, residues: Any, stats: Any, size: int) -> None:
    """Sequences that have all their tokens leave the batch."""
    place = 0
    while place < state[RUNNING]:
        request = running[place]
        if requests.status[request] == DECODING and requests.ends[request] <= state[CLOCK]:
            _leave(requests, state, running, residues, place, size)
            requests.made[request] = requests.output[request]
            requests.last_s[request] = stats[TIME]
            requests.status[request] = DONE
            state[ENDED] += 1
            stats[EVENTS] += 1.0
            _next_of_loop(requests, state, stats)
        else:
            place += 1
    _find_soonest(requests, state, running)


@law_kernel
def serve(
    requests: Any, states: Any, running: Any, residues: Any, stats: Any, gaps: Any, tables: Any, limits: Any,
    costs: Any, router: int, picks: Any, one_by_one: bool,
) -> None:  # fmt: skip
    """Serve all requests, which arrive in order, on equal replicas.

    Args:
        states, running, residues, stats: of each replica, [replicas, ...].
        router: ``ROUND_ROBIN``, ``LEAST_OUTSTANDING`` or ``POWER_OF_TWO``.
        picks: two replicas for each request that the last one compares, [n, 2].
    """
    replicas = states.shape[0]
    if states[0, STRIDE] == 0:
        turn = 0
        for k in range(requests.status.shape[0]):
            if requests.status[k] == REJECTED:
                continue
            at_s = requests.arrival_s[k]
            if router == ROUND_ROBIN or replicas == 1:
                chosen = turn % replicas
                turn += 1
                _until(requests, states, running, residues, stats, gaps, tables, limits, costs, chosen, at_s,
                       one_by_one)  # fmt: skip
            else:
                for r in range(replicas):
                    if router == LEAST_OUTSTANDING or r == picks[k, 0] or r == picks[k, 1]:
                        _until(requests, states, running, residues, stats, gaps, tables, limits, costs, r, at_s,
                               one_by_one)  # fmt: skip
                if router == LEAST_OUTSTANDING:
                    chosen = 0
                    for r in range(1, replicas):
                        if _outstanding(states[r], stats[r], at_s) < _outstanding(states[chosen], stats[chosen], at_s):
                            chosen = r
                else:
                    one, other = picks[k, 0], picks[k, 1]
                    there = _outstanding(states[one], stats[one], at_s)
                    chosen = other if _outstanding(states[other], stats[other], at_s) < there else one
            requests.replica[k] = chosen
            if states[chosen, RUNNING] == 0 and states[chosen, HEAD] == NONE:
                stats[chosen, TIME] = max(stats[chosen, TIME], at_s)
            stats[chosen, QUEUE_S] += stats[chosen, TIME] - at_s  # until the iteration under way ends
            push(requests, states[chosen], k, False)
    for r in range(replicas):
        _until(requests, states, running, residues, stats, gaps, tables, limits, costs, r, np.inf, one_by_one)


@law_part
def _until(
    requests: Any, states: Any, running: Any, residues: Any, stats: Any, gaps: Any, tables: Any, limits: Any,
    costs: Any, r: int, until_s: float, one_by_one: bool,
) -> None:  # fmt: skip
    if stats[r, TIME] < until_s and (states[r, RUNNING] > 0 or states[r, HEAD] != NONE):
        advance(requests, states[r], running[r], residues[r], stats[r], gaps, tables, limits, costs, until_s,
                one_by_one)  # fmt: skip


@law_part
def _outstanding(state: Any, stats: Any, at_s: float) -> int:
    """Requests that a router sees at a replica: those that end in the iteration under way are still there."""
    return state[RUNNING] + state[WAITS] + (state[ENDED] if stats[TIME] > at_s else 0)  # type: ignore[no-any-return]
