"""Names of columns and of choices that compiled fleets share."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from simulator.kernels.serving import STATS

LOST, COMING = 5, 6
"""States of a job besides those of ``serving``: nothing is left that could answer it; it is not there yet."""

(POOL, GROUP, STATUS, RUNNING, FREE, CACHED, WAITS, DECODERS, PROMPTS, CONTEXT, ENDED, ADAPTERS, SWAPPED, QUEUED,
 IN_TIER, LRU_HEAD, LRU_TAIL, TIER_HEAD, TIER_TAIL, FILLING, OUTAGES, COMING_HERE) = range(22)  # fmt: skip
"""Columns of the state of a replica, whole numbers. ``CACHED``: blocks that only the prefix cache holds, which count as
free; ``QUEUED``: it is in the queue of replicas that have work; ``OUTAGES``: failures that it has not got over, or at
least ``FOREVER`` where it never will; ``COMING_HERE``: jobs on their way to it over a link."""
FOREVER: Final = 1 << 40
STATE: Final = 22

OFF, STARTING, UP, DRAINING, DOWN = range(5)
"""Status of a replica."""

(HOST_S, TRANSFER_S, READ_TOKENS, ACTIVE_S, SINCE, HIT_TOKENS, SWAPS, LOADS, DRAFTED, ACCEPTED) = range(
    STATS, STATS + 10
)
"""Columns of what is known of a replica beside those of ``serving``: seconds of host and transfers in its iterations,
tokens of the cache that were read, seconds in which it was there and since when, prompt tokens found in the cache
at first admissions, sequences swapped out, adapters loaded, tokens drafted and accepted."""
FLEET_STATS: Final = STATS + 10

(TOKENS_MOST, SEQUENCES_MOST, BLOCK, BLOCKS, MIXED, CHUNKED, STATIC, WATERMARK, ROUTER, FIRST, REPLICAS, DRAFTS, SWAP,
 ORDER, WAITING_MOST, ADAPTER_SLOTS, SHARED_BLOCKS, TIER, LEAST, MOST, PATIENCE, DROP_LATE,
 RESERVES) = range(23)  # fmt: skip
"""Columns of the choices of a pool, whole numbers. ``SHARED_BLOCKS``: blocks of a unit of the prefix cache (0: none);
``TIER``: units that the host's memory keeps; ``SWAP``: blocks that may be swapped out to it; ``WAITING_MOST``: requests
that may wait at a pool (0: any number); ``LEAST`` and ``MOST`` replicas, ``PATIENCE`` looks before one is let go."""
POOL_CHOICES: Final = 23

(HOST_STEP_S, HOST_SEQUENCE_S, STATIC_W, DEVICES, HIDDEN, SWAP_BLOCK_S, LOAD_UNIT_S, ADAPTER_S, ADAPTER_J,
 ADAPTER_LOAD_S, ACCEPTANCE, TARGET, LOOK_S, START_S, MTBF_S, MTTR_S,
 ADAPTER_STEP_S, ADAPTER_STEP_J, ADAPTER_TOKEN_S, ADAPTER_TOKEN_J) = range(20)  # fmt: skip
"""Columns of the costs of a pool: host seconds of an iteration and of each sequence in it; static power of a device [W]
and devices; 1 where the host is hidden behind the devices; seconds to swap a block and to load a unit of the prefix
cache; of each adapter of a batch (and joules), and to load one; acceptance rate of drafts; outstanding requests that a
replica should have, seconds between looks and until a new replica is there; mean seconds from one failure to the next
(0: none) and until a replica that failed is back; of any iteration with adapters, and of each of its new tokens."""
POOL_COSTS: Final = 20

FIRST_COME, BY_CLASS, EARLIEST_DEADLINE = range(3)
"""``ORDER`` of waiting jobs."""

ROUND_ROBIN, LEAST_OUTSTANDING, POWER_OF_TWO, PREFIX_AWARE, SESSION = range(5)
"""``ROUTER`` of a pool."""

ARRIVE, FINISH, CANCEL, FAIL, RECOVER, READY, LOOK = range(7)
"""Kinds of events."""

(B_WAITING, B_RUNNING, B_BLOCKS, B_BUSY_S, B_HOST_S, B_TRANSFER_S, B_PROMPT_TOKENS, B_TOKENS, B_READ_TOKENS,
 B_ENERGY_J, B_ITERATIONS) = range(11)  # fmt: skip
"""Columns of bins of time, integrals over the bin: the first three in requests, sequences and blocks times seconds."""
BIN_COLUMNS: Final = 11


class Jobs(NamedTuple):
    """Jobs, shape [n] each: what each asks, whom it waits for, and what became of it.

    ``cached`` prompt tokens come with it, computed elsewhere. ``hashes[first_hash[i]:first_hash[i + 1]]`` name its
    units of the prefix cache, its answer included. ``waits_for`` jobs must end before it may arrive; those that wait
    for it are ``edge_to[first_edge[i]:first_edge[i + 1]]``, each after ``edge_delay_s`` and, where ``edge_link`` is not
    ``NONE``, ``edge_bytes`` over that link; where ``edge_always`` also if the job before was turned away or lost, then
    without bytes. One that does not fit (``fits``) is turned away when it arrives. ``matched`` prompt tokens were
    in a cache when it was first admitted. Times are -1 until they are known; ``last_s`` of a job whose cache comes over
    a link is that of the job before, until it has a token of its own.
    """

    pool: Any
    arrival_s: Any
    input: Any
    output: Any
    cached: Any
    priority: Any
    session: Any
    adapter: Any
    deadline_s: Any
    first_hash: Any
    hashes: Any
    waits_for: Any
    first_edge: Any
    edge_to: Any
    edge_delay_s: Any
    edge_bytes: Any
    edge_link: Any
    edge_always: Any
    fits: Any
    draws: Any
    prompt: Any
    computed: Any
    made: Any
    blocks: Any
    held: Any
    matched: Any
    status: Any
    following: Any
    preempted: Any
    retries: Any
    swapped: Any
    replica: Any
    ready_s: Any
    scheduled_s: Any
    first_s: Any
    last_s: Any


class Replicas(NamedTuple):
    """States of replicas: ``state`` [r, STATE], ``stats`` [r, FLEET_STATS], ``queues`` [r, classes, 3], ``running``
    [r, most], ``ports_s`` [r, 2] until when each sends and receives."""

    state: Any
    stats: Any
    queues: Any
    running: Any
    ports_s: Any


class Cache(NamedTuple):
    """Prefix caches: per replica and name of a unit, how many hold it (``NONE``: it is not there) and its neighbours
    in the order of last use; the same of the tier in host memory. ``adapters`` [r, adapters] counts the sequences that
    use an adapter, ``adapter_used_s`` when one that is loaded was last used (-1: not loaded), ``adapter_turn`` the last
    iteration that ran it."""

    refs: Any
    before: Any
    after: Any
    tier: Any
    tier_before: Any
    tier_after: Any
    adapters: Any
    adapter_used_s: Any
    adapter_turn: Any


class Pools(NamedTuple):
    """Choices [p, POOL_CHOICES], costs [p, POOL_COSTS], jobs that no replica is there for [p, classes, 3] and how many;
    turns of round-robin routers; bins of time [p, bins, BIN_COLUMNS] and their width [s], [1]; ``group_s`` until when
    devices that several replicas share are busy; how often in a row a look found too many replicas (``NONE``: nobody
    looks)."""

    choices: Any
    costs: Any
    queues: Any
    backlog: Any
    turn: Any
    bins: Any
    width_s: Any
    group_s: Any
    idle_looks: Any


class Links(NamedTuple):
    """Links between pools, [l]: rate of a port of a replica and of the whole [B/s], until when the whole is busy, bytes
    carried and seconds in which the whole was busy; ``port_busy_s`` [l, r, 2]: seconds in which each replica sent and
    received over it."""

    port_bytes_per_s: Any
    bytes_per_s: Any
    until_s: Any
    carried_bytes: Any
    busy_s: Any
    port_busy_s: Any


class Heap(NamedTuple):
    """A queue of the earliest: keys [s], a stamp that keeps the order of equal keys, items; ``size`` [3] holds the
    length, the last stamp and, of events, how many are of jobs."""

    key_s: Any
    stamp: Any
    item: Any
    size: Any
