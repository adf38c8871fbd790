"""The loop of events of a fleet: arrivals, routing, transfers, failures and scaling, in the order of time.

Of all that could happen next the earliest happens: an event, or the next iteration of the replica that is first to
begin one. An iteration that has begun is over before anything else becomes of its replica; a failure in the midst of
one takes effect at its end.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from simulator.kernels.fleet.columns import (
    ACTIVE_S,
    ARRIVE,
    BLOCK,
    BLOCKS,
    CANCEL,
    COMING,
    COMING_HERE,
    DOWN,
    DRAINING,
    ENDED,
    FAIL,
    FINISH,
    FIRST,
    FOREVER,
    FREE,
    GROUP,
    LEAST,
    LOOK,
    LOOK_S,
    LOST,
    MOST,
    MTBF_S,
    MTTR_S,
    OFF,
    ORDER,
    OUTAGES,
    PATIENCE,
    POOL,
    POWER_OF_TWO,
    PREFIX_AWARE,
    QUEUED,
    READY,
    RECOVER,
    REPLICAS,
    ROUND_ROBIN,
    ROUTER,
    RUNNING,
    SESSION,
    SHARED_BLOCKS,
    SINCE,
    START_S,
    STARTING,
    STATUS,
    SWAPPED,
    TARGET,
    UP,
    WAITING_MOST,
    WAITS,
)
from simulator.kernels.fleet.heap import postpone, put, take
from simulator.kernels.fleet.iteration import _draw, drop, iterate
from simulator.kernels.fleet.prefix_cache import forget, leading_units
from simulator.kernels.fleet.queues import dequeue, enqueue, next_class
from simulator.kernels.fleet.stacked import cut
from simulator.kernels.jit import law_kernel, law_part
from simulator.kernels.serving import DONE, KV_S, NONE, QUEUE_S, REJECTED, RUNNING_S, TIME

MOST_RETRIES: Final = 20
"""How often a job begins again on another replica before it is given up."""


@law_part
def _event(heap: Any, at_s: float, kind: int, argument: int) -> None:
    put(heap, at_s, (kind << 40) + argument)
    if kind <= CANCEL:
        heap.size[2] += 1


@law_part
def _outstanding(state: Any, stats: Any, at_s: float) -> int:
    """Jobs that a router sees at a replica: those on their way to it count, and those that end in the iteration under
    way are still there."""
    return state[RUNNING] + state[WAITS] + state[COMING_HERE] + (state[ENDED] if stats[TIME] > at_s else 0)


@law_part
def _nth_up(replicas: Any, first: int, count: int, n: int) -> int:
    """The ``n``-th replica of a pool that is up, counted from 0 and around; ``NONE`` where none is."""
    up = 0
    for r in range(first, first + count):
        up += replicas.state[r, STATUS] == UP
    if up == 0:
        return NONE
    n = n % up
    for r in range(first, first + count):
        if replicas.state[r, STATUS] == UP:
            if n == 0:
                return r
            n -= 1
    return NONE


@law_part
def _least(replicas: Any, first: int, count: int, at_s: float) -> int:
    """The replica with the fewest outstanding jobs, of those that are up."""
    best, fewest = NONE, 0
    for r in range(first, first + count):
        if replicas.state[r, STATUS] == UP:
            here = _outstanding(replicas.state[r], replicas.stats[r], at_s)
            if best == NONE or here < fewest:
                best, fewest = r, here
    return best


@law_part
def _by_prefix(jobs: Any, replicas: Any, cache: Any, choices: Any, job: int) -> int:
    """The replica that has least to do with a job there: blocks in use, those that wait or come, and those it lacks."""
    size, unit_blocks = choices[BLOCK], choices[SHARED_BLOCKS]
    wanted = -(-jobs.input[job] // size)
    whole = jobs.input[job] // (unit_blocks * size) if unit_blocks > 0 else 0
    best, least = NONE, 0
    for r in range(choices[FIRST], choices[FIRST] + choices[REPLICAS]):
        if replicas.state[r, STATUS] != UP:
            continue
        there = 0
        if unit_blocks > 0:
            there, _, _ = leading_units(jobs, cache, r, job, whole)
        load = choices[BLOCKS] - replicas.state[r, FREE]
        load += (replicas.state[r, WAITS] + replicas.state[r, COMING_HERE]) * wanted
        load += max(wanted - there * unit_blocks, 0)
        if best == NONE or load < least:
            best, least = r, load
    return best


@law_part
def _choose(jobs: Any, replicas: Any, pools: Any, cache: Any, job: int, at_s: float) -> int:
    """The replica that a job goes to; ``NONE`` where none is up."""
    pool = jobs.pool[job]
    choices = pools.choices[pool]
    first, count, router = choices[FIRST], choices[REPLICAS], choices[ROUTER]
    if router == ROUND_ROBIN:
        chosen = _nth_up(replicas, first, count, pools.turn[pool])
        pools.turn[pool] += 1
        return chosen
    if router == POWER_OF_TWO:
        up = 0
        for r in range(first, first + count):
            up += replicas.state[r, STATUS] == UP
        one = _nth_up(replicas, first, count, int(jobs.draws[job, 0] * up))
        other = _nth_up(replicas, first, count, int(jobs.draws[job, 1] * up))
        if one == NONE:
            return NONE
        there = _outstanding(replicas.state[one], replicas.stats[one], at_s)
        return other if _outstanding(replicas.state[other], replicas.stats[other], at_s) < there else one
    if router == PREFIX_AWARE:
        return _by_prefix(jobs, replicas, cache, choices, job)
    if router == SESSION and jobs.session[job] != NONE:
        return _nth_up(replicas, first, count, jobs.session[job])
    return _least(replicas, first, count, at_s)


@law_part
def _address(jobs: Any, replicas: Any, job: int, target: int) -> None:
    """Let a job that is not there yet be on its way to ``target``, or to none."""
    before = jobs.replica[job]
    if before != NONE:
        replicas.state[before, COMING_HERE] -= 1
    if target != NONE:
        replicas.state[target, COMING_HERE] += 1
    jobs.replica[job] = target


@law_part
def _wake(replicas: Any, pools: Any, ready: Any, r: int) -> None:
    """Let a replica take its turn, if it does not wait for it already."""
    if replicas.state[r, QUEUED] == 0:
        replicas.state[r, QUEUED] = 1
        put(ready, _turn_s(replicas, pools, r), r)


@law_part
def _turn_s(replicas: Any, pools: Any, r: int) -> float:
    """When a replica may begin: once its devices are free."""
    group = replicas.state[r, GROUP]
    if group == NONE:
        return replicas.stats[r, TIME]
    return max(replicas.stats[r, TIME], pools.group_s[group])


@law_part
def _lose(jobs: Any, events: Any, job: int, status: int, at_s: float, left: Any) -> None:
    """Give a job up, and with it those that wait for it, unless they may begin all the same."""
    jobs.status[job] = status
    left[0] -= 1
    if jobs.first_edge[job + 1] > jobs.first_edge[job]:
        _event(events, at_s, CANCEL, job)


@law_part
def _deliver(
    jobs: Any, replicas: Any, pools: Any, cache: Any, events: Any, ready: Any, job: int, at_s: float, left: Any
) -> None:  # fmt: skip
    """A job arrives: it is turned away, waits for a replica to come up, or joins the queue of one."""
    pool = jobs.pool[job]
    choices = pools.choices[pool]
    first, count = choices[FIRST], choices[REPLICAS]
    chosen = jobs.replica[job]
    if jobs.status[job] == COMING:
        _address(jobs, replicas, job, NONE)
    if not jobs.fits[job]:
        _lose(jobs, events, job, REJECTED, at_s, left)
        return
    if jobs.ready_s[job] < 0.0:
        jobs.ready_s[job] = at_s
        if choices[WAITING_MOST] > 0:
            waiting = pools.backlog[pool]
            for r in range(first, first + count):
                waiting += replicas.state[r, WAITS]
            if waiting >= choices[WAITING_MOST]:
                _lose(jobs, events, job, REJECTED, at_s, left)
                return
    if chosen != NONE and replicas.state[chosen, STATUS] != UP:
        # What had been sent there is of no use elsewhere.
        jobs.cached[job] = 0
        chosen = NONE
    if chosen == NONE:
        chosen = _choose(jobs, replicas, pools, cache, job, at_s)
    if chosen == NONE:
        enqueue(jobs, pools.queues[pool], job, False, choices[ORDER])
        pools.backlog[pool] += 1
        return
    jobs.replica[job] = chosen
    state, stats = replicas.state[chosen], replicas.stats[chosen]
    if state[RUNNING] == 0 and state[WAITS] == 0:
        stats[TIME] = max(stats[TIME], at_s)
    stats[QUEUE_S] += stats[TIME] - at_s  # until the iteration under way ends
    enqueue(jobs, replicas.queues[chosen], job, False, choices[ORDER])
    state[WAITS] += 1
    _wake(replicas, pools, ready, chosen)


@law_part
def _flush(
    jobs: Any, replicas: Any, pools: Any, cache: Any, events: Any, ready: Any, pool: int, at_s: float, left: Any
) -> None:  # fmt: skip
    """A replica has come up: what waited for one goes to it."""
    while pools.backlog[pool] > 0:
        kind = next_class(jobs, pools.queues[pool], 0)
        job = dequeue(jobs, pools.queues[pool], kind)
        pools.backlog[pool] -= 1
        _deliver(jobs, replicas, pools, cache, events, ready, job, at_s, left)


@law_part
def _finish(
    jobs: Any, replicas: Any, pools: Any, cache: Any, links: Any, events: Any, job: int, at_s: float
) -> None:  # fmt: skip
    """Start those that waited for a job, each after what it has to wait and what has to come over a link.

    A transfer leaves the port of one replica and enters that of another, one after the other in each: it begins when
    both are free. The link between the pools is a server of its own, first come, first served, that does not wait for
    ports; a transfer is over no earlier than the link is with it.
    """
    for edge in range(jobs.first_edge[job], jobs.first_edge[job + 1]):
        other, link = jobs.edge_to[edge], jobs.edge_link[edge]
        if jobs.status[other] != COMING:
            continue
        arrives_s = at_s
        if link != NONE and jobs.fits[other]:
            size_bytes = jobs.edge_bytes[edge]
            source = jobs.replica[job]
            begin_s = max(at_s, replicas.ports_s[source, 0])
            target = jobs.replica[other]
            if size_bytes > 0.0 and (target == NONE or replicas.state[target, STATUS] != UP):
                target = _choose(jobs, replicas, pools, cache, other, at_s)
                _address(jobs, replicas, other, target)
            if target != NONE:
                begin_s = max(begin_s, replicas.ports_s[target, 1])
            links.until_s[link] = max(at_s, links.until_s[link]) + size_bytes / links.bytes_per_s[link]
            arrives_s = begin_s + size_bytes / min(links.port_bytes_per_s[link], links.bytes_per_s[link])
            arrives_s = max(arrives_s, links.until_s[link])
            replicas.ports_s[source, 0] = arrives_s
            links.port_busy_s[link, source, 0] += arrives_s - begin_s
            if target != NONE:
                replicas.ports_s[target, 1] = arrives_s
                links.port_busy_s[link, target, 1] += arrives_s - begin_s
            links.carried_bytes[link] += size_bytes
            if jobs.cached[other] > 0:
                jobs.last_s[other] = max(jobs.last_s[other], jobs.last_s[job])
            links.busy_s[link] += size_bytes / links.bytes_per_s[link]
        _over(jobs, events, edge, arrives_s)


@law_part
def _over(jobs: Any, events: Any, edge: int, at_s: float) -> None:
    """A job that another waits for is over, and what it hands on is there."""
    other = jobs.edge_to[edge]
    jobs.arrival_s[other] = max(jobs.arrival_s[other], at_s + jobs.edge_delay_s[edge])
    jobs.waits_for[other] -= 1
    if jobs.waits_for[other] == 0:
        _event(events, jobs.arrival_s[other], ARRIVE, other)


@law_part
def _cancel(jobs: Any, replicas: Any, events: Any, job: int, at_s: float, left: Any) -> None:
    """A job was turned away or lost, and with it those that wait for it, unless they may begin all the same."""
    for edge in range(jobs.first_edge[job], jobs.first_edge[job + 1]):
        other = jobs.edge_to[edge]
        if jobs.status[other] != COMING:
            continue
        if jobs.edge_always[edge]:
            _over(jobs, events, edge, at_s)
            continue
        _address(jobs, replicas, other, NONE)
        _lose(jobs, events, other, REJECTED, at_s, left)


@law_part
def _again(jobs: Any, events: Any, job: int, at_s: float, left: Any) -> None:
    """A job whose replica is gone begins anew elsewhere."""
    jobs.retries[job] += 1
    jobs.computed[job] = jobs.cached[job] = jobs.made[job] = jobs.swapped[job] = 0
    jobs.prompt[job] = jobs.input[job]
    jobs.first_s[job] = jobs.last_s[job] = -1.0
    jobs.replica[job] = NONE
    if jobs.retries[job] > MOST_RETRIES:
        _lose(jobs, events, job, LOST, at_s, left)
    else:
        _event(events, at_s, ARRIVE, job)


@law_part
def _fail(
    jobs: Any, replicas: Any, pools: Any, cache: Any, events: Any, r: int, at_s: float, down_s: float, left: Any
) -> None:  # fmt: skip
    """A replica fails: what it ran and what waited at it goes elsewhere, its cache is lost."""
    state, stats = replicas.state[r], replicas.stats[r]
    if down_s < np.inf:
        state[OUTAGES] += 1
        _event(events, at_s + down_s, RECOVER, r)
    else:
        state[OUTAGES] += FOREVER
    if state[STATUS] != UP and state[STATUS] != DRAINING:
        return
    at_s = max(at_s, stats[TIME])  # an iteration that has begun is over first
    choices = pools.choices[state[POOL]]
    while state[RUNNING] > 0:
        job = replicas.running[r, 0]
        over = jobs.status[job] == DONE
        drop(jobs, state, replicas.running[r], stats, cache, r, 0, choices)
        if not over:
            _again(jobs, events, job, at_s, left)
    while state[WAITS] > 0:
        job = dequeue(jobs, replicas.queues[r], next_class(jobs, replicas.queues[r], 0))
        state[WAITS] -= 1
        _again(jobs, events, job, at_s, left)
    state[SWAPPED] = 0
    state[STATUS] = DOWN
    forget(state, cache, r)


@law_part
def _exponential(seed: int, one: int, other: int, mean: float) -> float:
    return -mean * np.log1p(-_draw(seed, one, other))


@law_part
def _let_go(replicas: Any, cache: Any, r: int, at_s: float) -> None:
    """A replica that drains and has nothing left is given back; its cache is lost."""
    state, stats = replicas.state[r], replicas.stats[r]
    if state[STATUS] == DRAINING and state[RUNNING] == 0 and state[WAITS] == 0:
        state[STATUS] = OFF
        stats[ACTIVE_S] += max(at_s, stats[TIME]) - stats[SINCE]
        forget(state, cache, r)


@law_part
def _latest_start(replicas: Any, first: int, count: int) -> int:
    """The replica of a pool that was started last, of those that are not there yet; ``NONE`` where there is none."""
    latest = NONE
    for r in range(first, first + count):
        if replicas.state[r, STATUS] == STARTING and (
            latest == NONE or replicas.stats[r, SINCE] >= replicas.stats[latest, SINCE]
        ):
            latest = r
    return latest


@law_part
def _look(replicas: Any, pools: Any, cache: Any, events: Any, pool: int, at_s: float) -> bool:
    """Let a pool grow or shrink to what is outstanding; whether there is any sense in looking again.

    Replicas that are not there yet are given back first, the latest one before others, so that those that serve are
    never fewer than the least for the sake of one that is still to come.
    """
    choices, costs = pools.choices[pool], pools.costs[pool]
    first, count = choices[FIRST], choices[REPLICAS]
    outstanding, have, could = pools.backlog[pool], 0, False
    for r in range(first, first + count):
        outstanding += _outstanding(replicas.state[r], replicas.stats[r], at_s)
        status = replicas.state[r, STATUS]
        have += status in (UP, STARTING)
        could = could or status != DOWN
    wanted = min(max(int(np.ceil(outstanding / costs[TARGET])), choices[LEAST]), choices[MOST])
    if wanted >= have:
        pools.idle_looks[pool] = 0
    for status in (DRAINING, OFF):
        for r in range(first, first + count):
            if have < wanted and replicas.state[r, STATUS] == status:
                have += 1
                if status == DRAINING:
                    replicas.state[r, STATUS] = UP
                    continue
                replicas.state[r, STATUS] = STARTING
                replicas.stats[r, SINCE] = at_s
                _event(events, at_s + costs[START_S], READY, r)
    if wanted < have:
        pools.idle_looks[pool] += 1
        if pools.idle_looks[pool] >= choices[PATIENCE]:
            pools.idle_looks[pool] = 0
            latest = _latest_start(replicas, first, count)
            idlest = _least(replicas, first, count, at_s)
            if latest != NONE:
                replicas.state[latest, STATUS] = OFF
                replicas.stats[latest, ACTIVE_S] += at_s - replicas.stats[latest, SINCE]
            elif idlest != NONE:
                replicas.state[idlest, STATUS] = DRAINING
                _let_go(replicas, cache, idlest, at_s)
    return could


@law_part
def _stand(pools: Any, state: Any, stats: Any, until_s: float) -> None:
    """Let a replica stand still while others use its devices: queue, batch and cache are as they were."""
    waited_s = until_s - stats[TIME]
    stats[QUEUE_S] += state[WAITS] * waited_s
    stats[RUNNING_S] += state[RUNNING] * waited_s
    stats[KV_S] += (pools.choices[state[POOL], BLOCKS] - state[FREE]) * waited_s
    stats[TIME] = until_s


@law_part
def _fold(pools: Any) -> None:
    """Make bins of time twice as wide."""
    half = pools.bins.shape[1] // 2
    for pool in range(pools.bins.shape[0]):
        for b in range(half):
            for c in range(pools.bins.shape[2]):
                pools.bins[pool, b, c] = pools.bins[pool, 2 * b, c] + pools.bins[pool, 2 * b + 1, c]
        pools.bins[pool, half:, :] = 0.0
    pools.width_s[0] *= 2.0


@law_part
def _up(
    jobs: Any, replicas: Any, pools: Any, cache: Any, events: Any, ready: Any, r: int, at_s: float, left: Any
) -> None:  # fmt: skip
    """A replica has come up."""
    replicas.state[r, STATUS] = UP
    replicas.stats[r, TIME] = max(replicas.stats[r, TIME], at_s)
    pool = replicas.state[r, POOL]
    if pools.idle_looks[pool] == NONE and pools.costs[pool, LOOK_S] > 0.0:
        pools.idle_looks[pool] = 0
        _event(events, at_s, LOOK, pool)
    _flush(jobs, replicas, pools, cache, events, ready, pool, at_s, left)


@law_part
def _any_hope(replicas: Any, pools: Any) -> bool:
    """Whether a replica may come up that jobs wait for."""
    for r in range(replicas.state.shape[0]):
        pool, status = replicas.state[r, POOL], replicas.state[r, STATUS]
        if pools.backlog[pool] == 0:
            continue
        if status == STARTING or (status == DOWN and replicas.state[r, OUTAGES] < FOREVER):
            return True
        if status in (OFF, DRAINING) and pools.idle_looks[pool] != NONE and pools.choices[pool, MOST] > 0:
            return True
    return False


@law_part
def _handle(
    jobs: Any, replicas: Any, pools: Any, cache: Any, links: Any, events: Any, ready: Any, outages: Any, seed: int,
    left: Any,
) -> None:  # fmt: skip
    """Let the earliest event happen."""
    at_s = events.key_s[0]
    code = take(events)
    kind, argument = code >> 40, code & ((1 << 40) - 1)
    if kind <= CANCEL:
        events.size[2] -= 1
    if kind == ARRIVE:
        _deliver(jobs, replicas, pools, cache, events, ready, argument, at_s, left)
    elif kind == FINISH:
        _finish(jobs, replicas, pools, cache, links, events, argument, at_s)
    elif kind == CANCEL:
        _cancel(jobs, replicas, events, argument, at_s, left)
    elif kind == FAIL:
        known = outages.shape[0]
        r = int(outages[argument, 0]) if argument < known else argument - known
        costs = pools.costs[replicas.state[r, POOL]]
        if argument < known:
            _fail(jobs, replicas, pools, cache, events, r, at_s, outages[argument, 1], left)
        else:
            number = events.size[1]
            down_s = _exponential(seed + 1, r, number, costs[MTTR_S])
            _event(events, at_s + down_s + _exponential(seed + 2, r, number, costs[MTBF_S]), FAIL, argument)
            if replicas.state[r, STATUS] in (UP, DRAINING):
                _fail(jobs, replicas, pools, cache, events, r, at_s, down_s, left)
    elif kind == LOOK:
        again = _look(replicas, pools, cache, events, argument, at_s)
        if pools.backlog[argument] > 0 and _least(
            replicas, pools.choices[argument, FIRST], pools.choices[argument, REPLICAS], at_s
        ) != NONE:  # fmt: skip
            _flush(jobs, replicas, pools, cache, events, ready, argument, at_s, left)
        if again:
            _event(events, at_s + pools.costs[argument, LOOK_S], LOOK, argument)
        else:
            pools.idle_looks[argument] = NONE
    elif kind == RECOVER:
        replicas.state[argument, OUTAGES] -= 1
        if replicas.state[argument, OUTAGES] == 0 and replicas.state[argument, STATUS] == DOWN:
            _up(jobs, replicas, pools, cache, events, ready, argument, at_s, left)
    elif replicas.state[argument, STATUS] == STARTING and at_s >= (
        replicas.stats[argument, SINCE] + pools.costs[replicas.state[argument, POOL], START_S]
    ):  # one that was given back and started anew has a later event of its own
        if replicas.state[argument, OUTAGES] > 0:
            replicas.state[argument, STATUS] = DOWN
        else:
            _up(jobs, replicas, pools, cache, events, ready, argument, at_s, left)


@law_kernel
def run(
    jobs: Any, replicas: Any, pools: Any, cache: Any, links: Any, events: Any, ready: Any, outages: Any, roots: Any,
    tables: Any, gaps: Any, gap: Any, ended: Any, seed: int,
) -> None:  # fmt: skip
    """Run until every job is answered, turned away or lost.

    Args:
        events, ready: heaps; the first may hold failures and looks, the second is empty.
        outages: replica and seconds of known failures, [f, 2].
        roots: jobs that wait for no other, in the order of their arrival.
        tables: prices of the pools (``stacked.Stacked``).
        gaps: counts of gaps between tokens, [pools, bins]; ``gap``: shortest gap [s] and bins per doubling.
        ended: room for as many jobs as there are and one.
    """
    left = ended[-1:]
    left[0] = 0
    for job in range(jobs.status.shape[0]):
        left[0] += jobs.status[job] == COMING
    at_root = 0
    while left[0] > 0:
        root_s = np.inf
        while at_root < roots.shape[0] and jobs.status[roots[at_root]] != COMING:
            at_root += 1
        if at_root < roots.shape[0]:
            root_s = jobs.arrival_s[roots[at_root]]
        event_s = events.key_s[0] if events.size[0] > 0 else np.inf
        turn_s = ready.key_s[0] if ready.size[0] > 0 else np.inf
        idle = root_s == np.inf and turn_s == np.inf
        if idle and (event_s == np.inf or (events.size[2] == 0 and not _any_hope(replicas, pools))):
            break
        if event_s <= root_s and event_s <= turn_s:
            _handle(jobs, replicas, pools, cache, links, events, ready, outages, seed, left)
            continue
        if root_s <= turn_s:
            _deliver(jobs, replicas, pools, cache, events, ready, roots[at_root], root_s, left)
            at_root += 1
            continue
        r = ready.item[0]
        state, stats = replicas.state[r], replicas.stats[r]
        if state[RUNNING] == 0 and state[WAITS] == 0:
            take(ready)
            state[QUEUED] = 0
            continue
        begin_s = _turn_s(replicas, pools, r)
        if begin_s > turn_s:
            postpone(ready, begin_s)
            continue
        take(ready)
        _stand(pools, state, stats, begin_s)
        while begin_s >= pools.width_s[0] * pools.bins.shape[1]:
            _fold(pools)
        pool = state[POOL]
        gone = iterate(
            jobs, state, replicas.running[r], replicas.queues[r], stats, cache, r, pools.choices[pool],
            pools.costs[pool], cut(tables, pool), pools.bins[pool], pools.width_s[0], gaps[pool], gap, seed,
            ended,
        )  # fmt: skip
        if gone < 0:
            # Nothing of it can ever run here.
            kind = next_class(jobs, replicas.queues[r], 0)
            if kind == NONE:
                state[QUEUED] = 0
                continue
            job = dequeue(jobs, replicas.queues[r], kind)
            state[WAITS] -= 1
            _lose(jobs, events, job, LOST, stats[TIME], left)
        for k in range(gone):
            left[0] -= 1
            job = ended[k]
            if jobs.first_edge[job + 1] > jobs.first_edge[job]:
                _event(events, stats[TIME], FINISH if jobs.status[job] == DONE else CANCEL, job)
        if state[GROUP] != NONE:
            pools.group_s[state[GROUP]] = stats[TIME]
        if state[RUNNING] > 0 or state[WAITS] > 0:
            put(ready, _turn_s(replicas, pools, r), r)
        else:
            state[QUEUED] = 0
            _let_go(replicas, cache, r, stats[TIME])
