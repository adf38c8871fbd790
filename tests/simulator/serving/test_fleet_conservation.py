"""What fleets never lose, make or reverse: jobs, tokens, blocks, bytes, causes and the past."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hand_made import random_tables, tables_of
from random_fleets import Fleet, random_fleet

from simulator.kernels import serving as kernel
from simulator.kernels.fleet import columns as c
from simulator.serving import fleet as fleets
from simulator.serving.cluster import Limits
from simulator.serving.fleet import FleetServed, Link, Outage, Setup, serve_fleet
from simulator.serving.jobs import Edges, Named, Work

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FLEETS = 800
FINAL = (kernel.DONE, kernel.REJECTED, c.LOST)


def done(served: FleetServed) -> npt.NDArray[np.bool_]:
    return served.jobs.status == kernel.DONE


def quiet(fleet: Fleet) -> bool:
    """No failure and no scaling."""
    return not fleet.outages and not any(setup.scaling for setup in fleet.setups)


def handed_on(fleet: Fleet, served: FleetServed) -> npt.NDArray[np.bool_]:
    """Jobs with tokens that go on, over a link, from the last token of another."""
    found = np.zeros(len(fleet.work.pool), np.bool_)
    if fleet.work.edges is not None:
        edges = fleet.work.edges
        found[edges.after[(edges.link >= 0) & done(served)[edges.before]]] = True
    return found & (served.jobs.made > 0) & (fleet.work.cached > 0)


def came_computed(fleet: Fleet) -> npt.NDArray[np.bool_]:
    """Jobs that lack the last token of their prompt, which a step of decoding brings."""
    work = fleet.work
    found: npt.NDArray[np.bool_] = (work.cached > 0) & (work.cached == work.input - 1) & (work.output > 0)
    return found


def test_the_gap_of_a_cache_on_its_way_is_one_between_tokens() -> None:
    """The second token comes a transfer and an iteration after the first, which the other pool gave."""
    tables = tables_of(lambda rows: 1e-3 + 0.0 * rows, 64)
    setups = [Setup(name, tables, Limits(64, 8, 16, 100, 64)) for name in ("one", "two")]
    edges = Edges(*(np.array([k]) for k in (0, 1)), np.array([0.25]), np.array([1e3]), np.array([0]))
    cached, prompt, output = np.array([0, 9]), np.array([9, 10]), np.array([1, 3])
    work = Work(np.array([0, 1]), np.zeros(2), prompt, output, cached=cached, edges=edges)
    served = serve_fleet(setups, work, links=[Link(1e3, 1e5)])
    assert served.jobs.first_s == pytest.approx([0.001, 1.252])
    assert served.gaps[0].sum() == 0 and served.gaps[1].sum() == 3
    longest_s = fleets.LEAST_GAP_S * 2.0 ** (np.flatnonzero(served.gaps[1]).max() / fleets.GAPS_PER_DOUBLING)
    assert longest_s == pytest.approx(1.251, rel=0.1)


def test_every_job_ends_once_and_tokens_add_up() -> None:
    """Prompt tokens are computed, came with a job or were found in the cache; bins hold what replicas did."""
    for seed in range(FLEETS):
        fleet = random_fleet(seed)
        served = fleet.serve()
        q, stats, own = served.jobs, served.replicas, done(served)
        assert np.isin(q.status, FINAL).all()
        assert np.array_equal(q.made[own], fleet.work.output[own])
        assert stats[:, kernel.EVENTS].sum() == own.sum()
        assert stats[:, kernel.PREEMPTIONS].sum() == q.preempted.sum()
        if not q.retries.any():
            assert stats[:, kernel.TOKENS].sum() == q.made[own].sum() and not q.made[~own].any()
            if not any(setup.drafts for setup in fleet.setups):
                handed = handed_on(fleet, served) if quiet(fleet) else np.zeros(0, np.int64)
                known = served.gaps.sum() - np.maximum(q.made - 1, 0).sum()
                assert known == handed.sum() if quiet(fleet) else known >= 0
        if quiet(fleet) and not q.preempted.any():
            asked = (fleet.work.input - fleet.work.cached)[own & ~came_computed(fleet)].sum()
            assert stats[:, kernel.PREFILL_TOKENS].sum() + stats[:, c.HIT_TOKENS].sum() == asked
        for column, binned in (
            (kernel.TOKENS, c.B_TOKENS), (kernel.PREFILL_TOKENS, c.B_PROMPT_TOKENS), (kernel.BUSY_S, c.B_BUSY_S),
            (kernel.ENERGY_J, c.B_ENERGY_J), (kernel.ITERATIONS, c.B_ITERATIONS), (c.READ_TOKENS, c.B_READ_TOKENS),
            (c.HOST_S, c.B_HOST_S), (c.TRANSFER_S, c.B_TRANSFER_S),
        ):  # fmt: skip
            for pool in range(len(fleet.setups)):
                total = stats[served.own(pool), column].sum()
                assert served.bins[pool, :, binned].sum() == pytest.approx(total, rel=1e-9), column


def test_blocks_are_given_back_and_the_cache_knows_what_it_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[c.Cache] = []
    build = fleets._cache

    def watched(named: int, replicas: int, jobs: c.Jobs) -> c.Cache:
        kept.append(build(named, replicas, jobs))
        return kept[-1]

    monkeypatch.setattr(fleets, "_cache", watched)
    units = 0
    for seed in range(FLEETS):
        fleet = random_fleet(seed)
        served = fleet.serve()
        for r, state in enumerate(served.state):
            setup = fleet.setups[state[c.POOL]]
            assert state[c.FREE] == setup.limits.blocks
            assert not state[[c.RUNNING, c.WAITS, c.DECODERS, c.PROMPTS, c.CONTEXT, c.SWAPPED, c.ADAPTERS]].any()
            assert 0 <= state[c.COMING_HERE] <= (served.jobs.status == c.LOST).sum()
            assert served.replicas[r, kernel.KV_PEAK] <= setup.limits.blocks
            refs, tier = kept[-1].refs[r], kept[-1].tier[r]
            assert refs.max() <= 0 and not kept[-1].adapters[r].any()
            assert state[c.CACHED] == (refs == 0).sum() * setup.unit_blocks <= state[c.FREE]
            assert state[c.IN_TIER] == (tier == 0).sum() <= setup.tier_units
            assert (kept[-1].adapter_used_s[r] >= 0.0).sum() <= setup.adapter_slots
            for after, head, there in (
                (kept[-1].after[r], c.LRU_HEAD, refs),
                (kept[-1].tier_after[r], c.TIER_HEAD, tier),
            ):
                assert sorted(listed(after, int(state[head]))) == np.flatnonzero(there == 0).tolist()
            units += int((refs == 0).sum())
    assert units > 200


def listed(after: Ints, unit: int) -> list[int]:
    found = []
    while unit != kernel.NONE:
        found.append(unit)
        unit = int(after[unit])
    return found


def test_causes_come_first() -> None:
    edges = 0
    for seed in range(FLEETS):
        fleet = random_fleet(seed)
        q, work = fleet.serve().jobs, fleet.work
        own = q.status == kernel.DONE
        assert (work.arrival_s <= q.arrival_s)[own].all() and (q.arrival_s <= q.ready_s)[own].all()
        assert (q.ready_s <= q.scheduled_s)[own].all() and (q.scheduled_s < q.first_s)[own].all()
        steps = own & ~came_computed(fleet)  # else drafts may come with the first token
        assert np.array_equal((q.first_s < q.last_s)[steps], work.output[steps] > 1)
        assert (q.first_s <= q.last_s)[own].all()
        if work.edges is None:
            continue
        before, after, delay_s, size_bytes, link, always = work.edges
        assert (own[before] | always)[own[after]].all()
        followed = own[after] & own[before]
        rate = np.array([min(each) for each in [*fleet.links, (np.inf, np.inf)]])[link]
        earliest_s = q.last_s[before] + size_bytes / rate + delay_s
        assert (q.ready_s[after] >= earliest_s * (1.0 - 1e-12))[followed].all()
        edges += int(followed.sum())
    assert edges > 1000


@pytest.mark.parametrize("rates", [Link(1e4, 1e6), Link(1e4, 2.5e4), Link(1e5, 2e4)])
def test_no_port_and_no_link_carries_more_than_its_rate(rates: Link) -> None:
    """Each job of one pool sends to one of the other; transfers of a port follow each other."""
    rng = np.random.default_rng(int(rates.bytes_per_s))
    n = 200
    tables = random_tables(rng, 64, 8, 64)
    setups = [Setup(name, tables, Limits(64, 8, 4, 200, 64), replicas=3) for name in ("prefill", "decode")]
    pool = np.repeat([0, 1], n)
    before, after = np.arange(n), np.arange(n, 2 * n)
    size_bytes = rng.exponential(200.0, n)
    edges = Edges(before, after, np.zeros(n), size_bytes, np.zeros(n, np.int64))
    arrival_s = np.concatenate([np.cumsum(rng.exponential(0.01, n)), np.zeros(n)])
    asked = rng.integers(1, 30, 2 * n)
    served = serve_fleet(setups, Work(pool, arrival_s, asked, np.ones(2 * n, np.int64), edges=edges), links=[rates])
    assert done(served).all()
    came_s = served.jobs.arrival_s[after]
    left_s = served.jobs.last_s[before]
    began_s = came_s - size_bytes / min(rates)
    assert (began_s >= left_s * (1.0 - 1e-12)).all()
    for way, ports in enumerate((served.jobs.replica[before], served.jobs.replica[after])):
        for port in np.unique(ports):
            spans = sorted(zip(began_s[ports == port], came_s[ports == port], strict=True))
            assert all(one[1] <= other[0] + 1e-12 for one, other in pairwise(spans))
            busy_s = served.links.port_busy_s[0, port, way]
            assert size_bytes[ports == port].sum() / min(rates) <= busy_s * (1.0 + 1e-9)
            assert busy_s <= came_s.max() - left_s.min()
    order = np.argsort(came_s)
    most_bytes = rates.bytes_per_s * (came_s[order] - left_s.min())
    assert (np.cumsum(size_bytes[order]) <= most_bytes * (1.0 + 1e-9)).all()
    assert served.links.carried_bytes[0] == pytest.approx(size_bytes.sum(), rel=1e-12)
    assert served.links.busy_s[0] == pytest.approx(size_bytes.sum() / rates.bytes_per_s, rel=1e-12)


def test_a_busy_port_holds_up_no_other_pair() -> None:
    """Two jobs of one replica send to the same one; a third, of others, is there as soon as its own ports allow."""
    tables = tables_of(lambda rows: 1e-3 + 0.0 * rows, 64)
    setups = [Setup(name, tables, Limits(64, 8, 16, 100, 64), replicas=2, router="session") for name in ("one", "two")]
    session = np.array([0, 0, 1, 0, 0, 1])
    edges = Edges(np.arange(3), np.arange(3, 6), np.zeros(3), np.full(3, 1e3), np.zeros(3, np.int64))
    one = np.ones(6, np.int64)
    work = Work(np.repeat([0, 1], 3), np.zeros(6), one, one, session=session, edges=edges)
    served = serve_fleet(setups, work, links=[Link(1e3, 1e5)])
    assert served.jobs.arrival_s[3:] == pytest.approx([1.001, 2.001, 1.001])
    sent_s, received_s = served.links.port_busy_s[0].T
    assert sent_s == pytest.approx([2.0, 1.0, 0.0, 0.0]) and received_s == pytest.approx([0.0, 0.0, 2.0, 1.0])
    assert served.links.busy_s[0] == pytest.approx(0.03)


@pytest.mark.parametrize("router", ["least-outstanding", "power-of-two", "prefix-aware"])
def test_routers_see_what_is_on_its_way(router: str) -> None:
    """Two prompts end together; their caches go to two replicas, though neither is there yet."""
    tables = tables_of(lambda rows: 1e-3 + 0.0 * rows, 64)
    setups = [Setup(name, tables, Limits(64, 8, 16, 100, 64), replicas=2, router=router) for name in ("one", "two")]
    one, nobody = np.ones(4, np.int64), np.zeros(2, np.int64)
    edges = Edges(np.arange(2), np.arange(2, 4), np.zeros(2), np.full(2, 1e3), nobody)
    for seed in range(20):
        work = Work(np.array([0, 0, 1, 1]), np.zeros(4), one, one, edges=edges)
        draws = np.random.default_rng(seed).random((4, 2))
        served = serve_fleet(setups, work, links=[Link(1e3, 1e5)], seed=seed)
        if router != "power-of-two" or len(set((2.0 * draws[3]).astype(int))) == 2:
            assert sorted(served.jobs.replica[2:]) == [2, 3], seed


def test_the_same_seed_gives_the_same_run_and_what_was_asked_stays() -> None:
    for seed in range(100):
        fleet = random_fleet(seed, mtbf_s=0.5, mttr_s=0.1)
        asked = [None if column is None else np.copy(column) for column in fleet.work[:9]]
        one, other = fleet.serve(), fleet.serve()
        assert all(np.array_equal(a, b) for a, b in zip(one.jobs, other.jobs, strict=True))
        for name in ("state", "replicas", "gaps", "bins"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
        assert all(a is b or np.array_equal(a, b) for a, b in zip(asked, fleet.work[:9], strict=True))


def test_no_replica_is_idle_while_jobs_wait_for_it() -> None:
    """It is busy exactly while jobs that it did are there; devices that are shared wait for each other."""
    for seed in range(FLEETS):
        fleet = random_fleet(seed, shares="")
        if not quiet(fleet):
            continue
        served = fleet.serve()
        q, own = served.jobs, done(served)
        for r in range(len(served.state)):
            here = own & (q.replica == r)
            busy_s = covered(q.ready_s[here], q.last_s[here])
            assert served.replicas[r, kernel.BUSY_S] == pytest.approx(busy_s, rel=1e-9, abs=1e-12)


def covered(begin_s: Floats, end_s: Floats) -> float:
    total, reached = 0.0, -np.inf
    for begin, end in sorted(zip(begin_s.tolist(), end_s.tolist(), strict=True)):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def test_time_in_queue_and_batch_adds_up_to_time_in_the_system() -> None:
    """Little's law, exactly, on shared devices too; a static batch holds places of those that are done."""
    shared = 0
    for seed in range(FLEETS):
        fleet = random_fleet(seed, drop_late=False, schedule=["vllm-v1", "vllm-v0", "prefill-first"][seed % 3])
        if not quiet(fleet):
            continue
        served = fleet.serve()
        q, own = served.jobs, done(served)
        for r, stats in enumerate(served.replicas):
            here = own & (q.replica == r)
            total_s = float((q.last_s - q.ready_s)[here].sum())
            assert stats[kernel.QUEUE_S] + stats[kernel.RUNNING_S] == pytest.approx(total_s, rel=1e-9, abs=1e-12)
        shared += sum(setup.shares != "" for setup in fleet.setups) > 1
    assert shared > 10


def test_failures_lose_nothing_as_long_as_a_replica_comes_back() -> None:
    retries = 0
    for seed in range(400):
        fleet = random_fleet(seed, drop_late=False, waiting=0)
        rng = np.random.default_rng(seed)
        outages = [
            Outage(pool, replica, float(rng.uniform(0.0, 2.0)), float(rng.exponential(0.5)))
            for pool, setup in enumerate(fleet.setups) for replica in range(setup.most) for _ in range(2)
        ]  # fmt: skip
        served = fleet._replace(outages=outages).serve()
        fits = fleet._replace(outages=[]).serve().jobs.status != kernel.REJECTED
        assert np.array_equal(done(served), fits)
        retries += int(served.jobs.retries.sum())
    assert retries > 300


def test_only_late_jobs_are_dropped() -> None:
    dropped = 0
    for seed in range(300):
        fleet = random_fleet(seed, drop_late=True, waiting=0)._replace(outages=[])
        served = fleet.serve()
        q, own = served.jobs, done(served)
        assert (q.scheduled_s <= q.deadline_s)[own].all()
        patient = fleet._replace(work=fleet.work._replace(deadline_s=None)).serve()
        gone = done(patient) & ~own
        assert not gone[q.deadline_s == np.inf].any()
        if fleet.work.edges is None:
            assert (q.deadline_s < served.replicas[:, kernel.TIME].max())[gone].all()
        dropped += int(gone.sum())
    assert dropped > 300


def test_a_larger_prefix_cache_computes_no_more() -> None:
    """One sequence at a time: units in the cache of a smaller one are in that of a larger one too (LRU)."""
    hits = 0
    for seed in range(60):
        fleet = random_fleet(seed, most_jobs=60)
        tokens = (fleet.work.input + fleet.work.output).max()
        names = fleet.work.names or Named(np.zeros(1, np.int64), np.zeros(0, np.int64))
        work = Work(np.zeros(len(fleet.work.pool), np.int64), np.sort(fleet.work.arrival_s), fleet.work.input,
                    fleet.work.output, names=names)  # fmt: skip
        tables = tables_of(lambda rows: 1e-3 * rows, 4096)
        least = -(-int(tokens) // 4)
        computed = []
        for blocks, unit_blocks, tier in [(least, 0, 0)] + [
            (least + k, 1, t) for t in (0, 5, 50) for k in (0, 4, 40, 400)
        ]:
            limits = Limits(4096, 1, 4, blocks, int(tokens))
            served = serve_fleet([Setup("one", tables, limits, unit_blocks=unit_blocks, tier_units=tier)], work)
            assert done(served).all()
            computed.append(served.replicas[0, kernel.PREFILL_TOKENS])
        off, grid = computed[0], np.array(computed[1:]).reshape(3, 4)
        assert grid.max() <= off
        assert (np.diff(grid, axis=0) <= 0).all() and (np.diff(grid, axis=1) <= 0).all()
        hits += int(off - grid.min())
    assert hits > 1000


def test_devices_that_are_shared_are_shared_evenly() -> None:
    """Two models on one device take turns, however long each has work."""
    tables = tables_of(lambda rows: 1e-3 + 0.0 * rows, 64)
    setups = [Setup(name, tables, Limits(64, 8, 16, 100, 1000), shares="gpu") for name in ("one", "other")]
    work = Work(np.array([0, 1]), np.zeros(2), np.array([10, 10]), np.array([400, 400]))
    served = serve_fleet(setups, work)
    assert served.jobs.last_s == pytest.approx([0.799, 0.8])
    assert served.replicas[:, kernel.BUSY_S].tolist() == pytest.approx([0.4, 0.4])
    alone = serve_fleet([replace(setup, shares="") for setup in setups], work)
    assert alone.jobs.last_s == pytest.approx([0.4, 0.4])
