"""Fleets: pools of replicas of unlike devices that share requests, with caches, failures and scaling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError, UnknownName
from simulator.checks import LARGEST, check_count
from simulator.kernels.fleet import columns as c
from simulator.kernels.fleet.run import run
from simulator.kernels.fleet.stacked import Stacked
from simulator.kernels.serving import KV_PEAK, NONE, TIME
from simulator.serving.cluster import (
    GAP_BINS,
    GAPS_PER_DOUBLING,
    LEAST_GAP_S,
    MOST_BLOCK,
    MOST_BLOCKS,
    MOST_REPLICAS,
    Limits,
)
from simulator.serving.jobs import Floats, Ints, Work, check_work, jobs_of
from simulator.serving.step_tables import StepTables

BINS: Final = 256
"""Bins of time of a run; they grow so that half of them are always in use."""
FIRST_BIN_S: Final = 0.05
MOST_NAMED: Final = 100_000_000
"""Names of units times replicas at most: the prefix caches of a fleet are arrays of that size."""


class Schedule(NamedTuple):
    """How a replica chooses what to run: see ``kernels.fleet.iteration``.

    ``spare`` is the share of the blocks that admission leaves free (the watermark of vLLM's V0 engine). ``tokens`` is
    the usual budget of an iteration; 0: the longest context, since a prompt is not cut. One that ``reserves`` admits a
    request only with room for its whole answer (GUARANTEED_NO_EVICT of TensorRT-LLM).
    """

    mixed: bool
    chunked: bool
    static: bool
    spare: float
    tokens: int
    reserves: bool = False


SCHEDULES: Final = {
    "vllm-v1": Schedule(True, True, False, 0.0, 2048),
    "vllm-v0": Schedule(False, False, False, 0.01, 0),
    "sarathi": Schedule(True, True, False, 0.0, 512),
    "prefill-first": Schedule(False, True, False, 0.0, 8192),
    "static": Schedule(False, False, True, 0.0, 0, True),
    "no-evict": Schedule(True, True, False, 0.0, 8192, True),
}
ORDERS: Final = {"fcfs": c.FIRST_COME, "priority": c.BY_CLASS, "deadline": c.EARLIEST_DEADLINE}
ROUTERS: Final = {
    "round-robin": c.ROUND_ROBIN, "least-outstanding": c.LEAST_OUTSTANDING, "power-of-two": c.POWER_OF_TWO,
    "prefix-aware": c.PREFIX_AWARE, "session": c.SESSION,
}  # fmt: skip


class Scaling(NamedTuple):
    """How a pool grows and shrinks: replicas at least and at most, outstanding requests that one should have, seconds
    between looks, until a new one serves, and looks in a row that must find too many before one is let go."""

    least: int
    most: int
    target: float
    look_s: float = 5.0
    start_s: float = 60.0
    patience: int = 12


class Outage(NamedTuple):
    """A replica of a pool, counted from 0, that is gone from ``at_s`` on for ``seconds`` (inf: for good)."""

    pool: int
    replica: int
    at_s: float
    seconds: float


@dataclass(frozen=True)
class Costs:
    """What the scheduler of a pool needs to know of its software and devices, beside the tables.

    Args:
        host_step_s, host_sequence_s: host time of an iteration and of each sequence in it.
        hidden: the host works while the devices do.
        static_w: power of an idle device; devices: of a replica.
        swap_block_s: to move a block of the cache between device and host.
        load_unit_s: to bring a unit of the prefix cache from the host's memory.
        adapter_s, adapter_j: what each adapter of a batch adds to an iteration; adapter_load_s: to bring one;
            adapter_step_s, adapter_step_j: what any iteration with adapters pays; adapter_token_s, adapter_token_j:
            each new token in it.
    """

    host_step_s: float = 0.0
    host_sequence_s: float = 0.0
    hidden: bool = False
    static_w: float = 0.0
    devices: int = 1
    swap_block_s: float = 0.0
    load_unit_s: float = 0.0
    adapter_s: float = 0.0
    adapter_j: float = 0.0
    adapter_load_s: float = 0.0
    adapter_step_s: float = 0.0
    adapter_step_j: float = 0.0
    adapter_token_s: float = 0.0
    adapter_token_j: float = 0.0


@dataclass(frozen=True)
class Setup:
    """A pool of equal replicas.

    Args:
        limits: what each allows.
        replicas: how many there are at the start.
        schedule: a name of ``SCHEDULES``; order: one of ``ORDERS``; router: one of ``ROUTERS``.
        drafts, acceptance: speculative decoding, drafted tokens of an iteration and the share that is kept.
        swap_blocks: blocks that may be moved to the host when the cache is full (0: they are computed again).
        unit_blocks: blocks of a unit of the prefix cache (0: none is kept); tier_units: units that the host keeps.
        waiting: requests that may wait at the pool; more are turned away (0: any number).
        drop_late: whether a request whose deadline is over before it begins is let go.
        adapter_slots: adapters that a replica holds.
        mtbf_s, mttr_s: mean time between failures of a replica and until it is back (0: none fails).
        shares: a name; pools of one name share their devices, one iteration at a time.
    """

    name: str
    tables: StepTables
    limits: Limits
    costs: Costs = field(default_factory=Costs)
    replicas: int = 1
    schedule: str = "vllm-v1"
    order: str = "fcfs"
    router: str = "round-robin"
    drafts: int = 0
    acceptance: float = 0.0
    swap_blocks: int = 0
    unit_blocks: int = 0
    tier_units: int = 0
    waiting: int = 0
    drop_late: bool = False
    adapter_slots: int = 1
    mtbf_s: float = 0.0
    mttr_s: float = 600.0
    shares: str = ""
    scaling: Scaling | None = None

    @property
    def most(self) -> int:
        """Replicas at most."""
        return max(self.replicas, self.scaling.most if self.scaling else 0)


class Link(NamedTuple):
    """A link between pools: rate of a replica's port and of the whole [B/s]."""

    port_bytes_per_s: float
    bytes_per_s: float


@dataclass(frozen=True)
class FleetServed:
    """What came of all jobs: their columns, states and figures of replicas, gaps between tokens [pools, bins], bins of
    time [pools, bins, columns] and their width, and what links carried."""

    jobs: c.Jobs
    state: Ints
    replicas: Floats
    gaps: Ints
    bins: Floats
    bin_s: float
    links: c.Links
    setups: tuple[Setup, ...]

    def own(self, pool: int) -> Ints:
        """Numbers of the replicas of a pool."""
        return np.flatnonzero(self.state[:, c.POOL] == pool)


def serve_fleet(
    setups: Sequence[Setup], work: Work, *, links: Sequence[Link] = (), outages: Sequence[Outage] = (), seed: int = 0
) -> FleetServed:  # fmt: skip
    """Do ``work`` on pools.

    Args:
        links: by the numbers that edges of ``work`` use.
        outages: failures that are known.
        seed: of routers that draw, accepted drafts and failures.

    Raises:
        InputError: jobs, pools or links that cannot be.
        UnknownName: an unknown schedule, order or router.
    """
    if not setups:
        raise InputError("a fleet needs at least one pool")
    check_work(work, len(setups), len(links))
    for setup in setups:
        _check(setup)
        _check_tables(setup, len(work.pool))
    for link in links:
        if not (link.port_bytes_per_s > 0.0 and link.bytes_per_s > 0.0):
            raise InputError(f"a link of {link.port_bytes_per_s} B/s a port, {link.bytes_per_s} B/s: must be positive")
    classes = 1 if work.priority is None or not len(work.priority) else int(work.priority.max()) + 1
    if classes > 64:
        raise InputError(f"{classes} classes of requests: at most 64")
    jobs = jobs_of(work, _fits(setups, work), classes, seed)
    first = np.cumsum([0, *(setup.most for setup in setups)])
    replicas = _replicas(setups, first, classes, len(jobs.pool))
    pools = _pools(setups, first, classes)
    named = int(jobs.hashes.max()) + 1 if len(jobs.hashes) else 1
    if named * int(first[-1]) > MOST_NAMED:
        raise InputError(
            f"{named} names of cached units on {first[-1]} replicas: at most {MOST_NAMED} together; use larger units"
        )
    events = _heap(2 * len(jobs.pool) + len(outages) + 4 * int(first[-1]) + 2 * len(setups) + 8)
    outage = _post(events, setups, first, outages, seed)
    waiting = np.flatnonzero(jobs.waits_for == 0)
    roots = waiting[np.argsort(jobs.arrival_s[waiting], kind="stable")]
    rates = np.array(links, np.float64).reshape(-1, 2)
    until_s, carried_bytes, busy_s = np.zeros((3, len(rates)))
    ports_s = np.zeros((len(rates), int(first[-1]), 2))
    carried = c.Links(rates[:, 0].copy(), rates[:, 1].copy(), until_s, carried_bytes, busy_s, ports_s)
    gaps = np.zeros((len(setups), GAP_BINS), np.int64)
    run(
        jobs, replicas, pools, _cache(named, int(first[-1]), jobs), carried, events, _heap(int(first[-1]) + 1), outage,
        roots, _stacked(setups), gaps, np.array([LEAST_GAP_S, float(GAPS_PER_DOUBLING)]),
        np.zeros(len(jobs.pool) + 1, np.int64), seed,
    )  # fmt: skip
    jobs.status[(jobs.status == c.COMING) | (jobs.status < 3)] = c.LOST
    return FleetServed(
        jobs, replicas.state, replicas.stats, gaps, pools.bins, float(pools.width_s[0]), carried, tuple(setups)
    )


def _check(setup: Setup) -> None:
    """Refuse a pool that cannot be.

    Raises:
        InputError, UnknownName: with its name, the value and what is allowed.
    """
    for kind, name, known in (
        ("scheduler", setup.schedule, SCHEDULES), ("order", setup.order, ORDERS), ("router", setup.router, ROUTERS),
    ):  # fmt: skip
        if name not in known:
            raise UnknownName(kind, name, tuple(known), f"allowed: {', '.join(known)}", f"pool {setup.name}")
    limits = setup.limits
    for what, value, most in (
        ("tokens of an iteration", limits.batched_tokens, LARGEST), ("sequences", limits.sequences, LARGEST),
        ("tokens of a block", limits.block_tokens, MOST_BLOCK), ("blocks", limits.blocks, MOST_BLOCKS),
        ("context", limits.context, MOST_BLOCKS),
    ):  # fmt: skip
        check_count(f"pool {setup.name}: {what}", value, most)
    if setup.replicas < 0 or setup.most < 1:
        raise InputError(f"pool {setup.name}: {setup.replicas} replicas: must be at least 1")
    check_count(f"pool {setup.name}: replicas", setup.most, MOST_REPLICAS)
    if setup.unit_blocks and setup.swap_blocks:
        raise InputError(f"pool {setup.name}: blocks are kept by name (prefix cache) or swapped, not both")
    for what, number, least in (
        ("drafts", setup.drafts, 0), ("swap_blocks", setup.swap_blocks, 0), ("unit_blocks", setup.unit_blocks, 0),
        ("tier_units", setup.tier_units, 0), ("waiting", setup.waiting, 0), ("adapter_slots", setup.adapter_slots, 1),
        ("mtbf_s", setup.mtbf_s, 0), ("mttr_s", setup.mttr_s, 0),
    ):  # fmt: skip
        if not number >= least or number == np.inf:
            raise InputError(f"pool {setup.name}: {what} {number}: must be at least {least}")
    if setup.drafts >= limits.batched_tokens and setup.drafts:
        raise InputError(
            f"pool {setup.name}: {setup.drafts} drafts and a token: more than {limits.batched_tokens} of an iteration"
        )
    if not 0.0 <= setup.acceptance <= 1.0:
        raise InputError(f"pool {setup.name}: acceptance {setup.acceptance:g}: must be from 0 to 1")
    if setup.scaling and not (
        0 <= setup.scaling.least <= setup.scaling.most and setup.scaling.target > 0.0 and setup.scaling.look_s > 0.0
        and setup.scaling.start_s >= 0.0 and setup.scaling.patience >= 1
    ):  # fmt: skip
        raise InputError(
            f"pool {setup.name}: scaling {setup.scaling}: least must be from 0 to most, target and look_s above 0, "
            "start_s at least 0, patience at least 1"
        )


def _check_tables(setup: Setup, jobs: int) -> None:
    """Refuse tables that end before the iterations of a pool do.

    Raises:
        InputError: with their length and the length that is needed.
    """
    sequences = min(setup.limits.sequences, jobs)
    answers = sequences * (setup.drafts + 1)
    for what, column, most in (
        ("rows", setup.tables.rows_s, max(setup.limits.batched_tokens, answers)),
        ("heads", setup.tables.head_s, answers),
    ):  # fmt: skip
        if jobs and len(column) <= most:
            raise InputError(f"pool {setup.name}: its tables end at {len(column) - 1} {what}: must reach {most}")


def _fits(setups: Sequence[Setup], work: Work) -> npt.NDArray[np.bool_]:
    """Jobs that a replica of their pool can hold, [n]."""
    longest = np.array([min(s.limits.context, s.limits.blocks * s.limits.block_tokens) for s in setups], np.float64)
    found: npt.NDArray[np.bool_] = (work.input + work.output).astype(np.float64) <= longest[work.pool]
    return found


def _heap(size: int) -> c.Heap:
    return c.Heap(np.zeros(size), np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(3, np.int64))


def _replicas(setups: Sequence[Setup], first: Ints, classes: int, jobs: int) -> c.Replicas:
    count = int(first[-1])
    state = np.zeros((count, c.STATE), np.int64)
    state[:, [c.GROUP, c.LRU_HEAD, c.LRU_TAIL, c.TIER_HEAD, c.TIER_TAIL]] = NONE
    shared = sorted({setup.shares for setup in setups} - {""})
    for pool, setup in enumerate(setups):
        own = slice(first[pool], first[pool + 1])
        state[own, c.POOL] = pool
        state[own, c.FREE] = setup.limits.blocks
        state[own, c.STATUS] = c.OFF
        state[first[pool] : first[pool] + setup.replicas, c.STATUS] = c.UP
        if setup.shares:
            # The n-th replicas of all pools of a name share their devices.
            state[own, c.GROUP] = shared.index(setup.shares) * MOST_REPLICAS + np.arange(setup.most)
    used = state[:, c.GROUP] != NONE
    state[used, c.GROUP] = np.unique(state[used, c.GROUP], return_inverse=True)[1]
    most = max(min(setup.limits.sequences, max(jobs, 1)) for setup in setups)
    return c.Replicas(
        state, np.zeros((count, c.FLEET_STATS)), np.full((count, classes, 3), NONE, np.int64),
        np.full((count, most), NONE, np.int64), np.zeros((count, 2)),
    )  # fmt: skip


def _pools(setups: Sequence[Setup], first: Ints, classes: int) -> c.Pools:
    choices = np.zeros((len(setups), c.POOL_CHOICES), np.int64)
    costs = np.zeros((len(setups), c.POOL_COSTS))
    for pool, setup in enumerate(setups):
        schedule, limits, scaling = SCHEDULES[setup.schedule], setup.limits, setup.scaling
        choices[pool, [c.TOKENS_MOST, c.SEQUENCES_MOST, c.BLOCK, c.BLOCKS]] = limits[:4]
        choices[pool, [c.MIXED, c.CHUNKED, c.STATIC]] = schedule[:3]
        choices[pool, c.RESERVES] = schedule.reserves
        choices[pool, c.WATERMARK] = int(schedule.spare * limits.blocks)
        choices[pool, [c.ROUTER, c.ORDER]] = ROUTERS[setup.router], ORDERS[setup.order]
        choices[pool, [c.FIRST, c.REPLICAS]] = first[pool], setup.most
        choices[pool, [c.DRAFTS, c.SWAP, c.WAITING_MOST]] = setup.drafts, setup.swap_blocks, setup.waiting
        choices[pool, [c.ADAPTER_SLOTS, c.SHARED_BLOCKS]] = setup.adapter_slots, setup.unit_blocks
        choices[pool, [c.TIER, c.DROP_LATE]] = setup.tier_units, setup.drop_late
        if scaling:
            choices[pool, [c.LEAST, c.MOST, c.PATIENCE]] = scaling.least, scaling.most, scaling.patience
            costs[pool, [c.TARGET, c.LOOK_S, c.START_S]] = scaling.target, scaling.look_s, scaling.start_s
        own = setup.costs
        costs[pool, [c.HOST_STEP_S, c.HOST_SEQUENCE_S, c.STATIC_W]] = (
            own.host_step_s, own.host_sequence_s, own.static_w,
        )  # fmt: skip
        costs[pool, [c.DEVICES, c.HIDDEN, c.SWAP_BLOCK_S]] = own.devices, own.hidden, own.swap_block_s
        costs[pool, [c.LOAD_UNIT_S, c.ADAPTER_S, c.ADAPTER_J]] = own.load_unit_s, own.adapter_s, own.adapter_j
        costs[pool, [c.ADAPTER_LOAD_S, c.ACCEPTANCE]] = own.adapter_load_s, setup.acceptance
        costs[pool, [c.ADAPTER_STEP_S, c.ADAPTER_STEP_J]] = own.adapter_step_s, own.adapter_step_j
        costs[pool, [c.ADAPTER_TOKEN_S, c.ADAPTER_TOKEN_J]] = own.adapter_token_s, own.adapter_token_j
        costs[pool, [c.MTBF_S, c.MTTR_S]] = setup.mtbf_s, setup.mttr_s
    count = int(first[-1])
    return c.Pools(
        choices, costs, np.full((len(setups), classes, 3), NONE, np.int64), np.zeros(len(setups), np.int64),
        np.zeros(len(setups), np.int64), np.zeros((len(setups), BINS, c.BIN_COLUMNS)), np.array([FIRST_BIN_S]),
        np.zeros(count), np.array([0 if setup.scaling else NONE for setup in setups], np.int64),
    )  # fmt: skip


def _cache(named: int, replicas: int, jobs: c.Jobs) -> c.Cache:
    adapters = int(jobs.adapter.max()) + 1 if len(jobs.adapter) else 0
    here, tier = ([np.full((replicas, named), NONE, np.int32) for _ in range(3)] for _ in range(2))
    used = np.zeros((replicas, max(adapters, 1)), np.int64)
    return c.Cache(here[0], here[1], here[2], tier[0], tier[1], tier[2], used, np.full(used.shape, -1.0), used - 1)


def _post(
    events: c.Heap, setups: Sequence[Setup], first: Ints, outages: Sequence[Outage], seed: int
) -> Floats:  # fmt: skip
    """Post looks and failures; what is known of failures, [f, 2]."""
    from simulator.kernels.fleet.heap import put

    known = np.zeros((len(outages), 2))
    for number, outage in enumerate(outages):
        if not (0 <= outage.pool < len(setups) and 0 <= outage.replica < setups[outage.pool].most):
            raise InputError(f"failure {number}: no replica {outage.replica} in pool {outage.pool}")
        if not (outage.at_s >= 0.0 and np.isfinite(outage.at_s) and outage.seconds > 0.0):
            raise InputError(f"failure {number}: at {outage.at_s} s for {outage.seconds} s: must be times, above 0")
        known[number] = first[outage.pool] + outage.replica, outage.seconds
        put(events, outage.at_s, (c.FAIL << 40) + number)
    rng = np.random.default_rng([seed, 1])
    for pool, setup in enumerate(setups):
        for replica in range(setup.most if setup.mtbf_s > 0.0 else 0):
            code = (c.FAIL << 40) + len(outages) + int(first[pool]) + replica
            put(events, float(rng.exponential(setup.mtbf_s)), code)
        if setup.scaling:
            put(events, 0.0, (c.LOOK << 40) + pool)
    return known


def _stacked(setups: Sequence[Setup]) -> Stacked:
    """Tables of all pools in arrays of one shape."""
    tables = [setup.tables for setup in setups]
    sizes = np.array(
        [
            (len(t.rows_s), len(t.head_s), len(t.sequences_at), len(t.contexts_at), len(t.new_at), len(t.visible_at))
            for t in tables
        ],
        np.int64,
    )

    def padded(name: str) -> Floats:
        arrays = [np.asarray(getattr(each, name), np.float64) for each in tables]
        shape = np.max([array.shape for array in arrays], axis=0)
        found = np.zeros((len(arrays), *shape))
        for place, array in enumerate(arrays):
            found[place][tuple(slice(0, size) for size in array.shape)] = array
        return found

    return Stacked(sizes, *(padded(name) for name in StepTables._fields))


def peak_fraction(served: FleetServed, pool: int) -> float:
    """Largest share of the cache of a replica of a pool that was in use."""
    own = served.own(pool)
    return float(served.replicas[own, KV_PEAK].max()) / served.setups[pool].limits.blocks


def end_s(served: FleetServed) -> float:
    """When the last iteration was over [s]."""
    return float(served.replicas[:, TIME].max())
