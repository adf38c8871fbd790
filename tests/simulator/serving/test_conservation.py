"""What serving never loses, makes or reverses: requests, tokens, blocks, causes, order and the past."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hand_made import Case, random_case

from simulator.kernels import serving as kernel
from simulator.prepared import Prepared
from simulator.serving.cluster import GAP_BINS, Limits, Served, serve
from simulator.serving.requests import Asked, Columns, columns_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def run(pool: Prepared, case: Case) -> Served:
    return serve(
        pool, pool.scenario.workload.model, case.asked, case.limits, replicas=case.replicas, router=case.router,
        concurrency=case.concurrency, seed=case.seed, tables=case.tables,
    )  # fmt: skip


@dataclass
class Watched:
    """One replica that is looked at after every iteration."""

    requests: Columns
    limits: Limits
    state: Ints
    running: Ints
    residues: Ints
    stats: Floats

    @property
    def batch(self) -> list[int]:
        return self.running[: self.state[kernel.RUNNING]].tolist()

    @property
    def queue(self) -> list[int]:
        found, at = [], int(self.state[kernel.HEAD])
        while at != kernel.NONE:
            found.append(at)
            at = int(self.requests.following[at])
        return found

    def length(self, request: int) -> int:
        """Tokens in the cache."""
        computed = int(self.requests.computed[request])
        if self.requests.status[request] == kernel.DECODING:
            computed += int(self.state[kernel.CLOCK] - self.requests.since[request])
        return computed

    def given(self, request: int) -> int:
        """Tokens that were given."""
        made = int(self.requests.made[request])
        if self.requests.status[request] == kernel.DECODING:
            made += int(self.state[kernel.CLOCK] - self.requests.since[request])
        return made

    def check(self) -> None:
        """Everything that the state says of the batch is so."""
        state, limits, requests = self.state, self.limits, self.requests
        batch, queue = self.batch, self.queue
        assert len(set(batch) | set(queue)) == len(batch) + len(queue)
        assert state[kernel.WAITS] == len(queue)
        assert len(batch) <= limits.sequences
        assert all(requests.status[request] == kernel.WAITING for request in queue)
        prompts = [request for request in batch if requests.status[request] == kernel.PROMPT]
        decoding = [request for request in batch if requests.status[request] == kernel.DECODING]
        assert len(prompts) + len(decoding) == len(batch)
        assert (state[kernel.PROMPTS], state[kernel.DECODERS]) == (len(prompts), len(decoding))
        assert prompts in ([], batch[-1:])
        lengths = [self.length(request) for request in batch]
        held = sum(-(-length // limits.block_tokens) for length in lengths)
        assert 0 <= state[kernel.FREE] == limits.blocks - held
        assert state[kernel.CONTEXT] == sum(self.length(request) for request in decoding)
        places = [(self.length(request) - state[kernel.CLOCK]) % limits.block_tokens for request in decoding]
        assert np.array_equal(self.residues, np.bincount(places, minlength=limits.block_tokens))
        for request in decoding:
            assert self.length(request) == requests.input[request] + self.given(request) - 1
            assert 1 <= self.given(request) < requests.output[request]
        ends = min((int(requests.ends[request]) for request in decoding), default=1 << 62)
        assert state[kernel.CLOCK] < state[kernel.SOONEST] <= ends

    def fingerprint(self) -> tuple[int, float, float]:
        return int(self.state[kernel.CLOCK]), float(self.stats[kernel.TIME]), float(self.stats[kernel.TOKENS])


def watch(case: Case) -> tuple[Watched, Ints, Ints]:
    """All requests wait on one replica; with it the arrays that ``advance`` wants of all replicas."""
    requests = columns_of(case.asked, case.limits.context, case.limits.blocks * case.limits.block_tokens)
    state = np.zeros(kernel.STATE, np.int64)
    state[[kernel.HEAD, kernel.TAIL]] = kernel.NONE
    state[kernel.FREE], state[kernel.SOONEST] = case.limits.blocks, 1 << 62
    running = np.full(case.limits.sequences, kernel.NONE, np.int64)
    residues = np.zeros(case.limits.block_tokens, np.int64)
    replica = Watched(requests, case.limits, state, running, residues, np.zeros(kernel.STATS))
    bounds = np.array(case.limits[:4], np.int64)
    return replica, bounds, np.zeros(GAP_BINS, np.int64)


def test_every_iteration_keeps_blocks_tokens_and_order() -> None:
    preemptions = 0.0
    costs = np.array([1e-3, 1e-5, 50.0, 1.0, 1e-5, 16.0, 0.0])
    for seed in range(250):
        case = random_case(seed, 25)
        replica, bounds, gaps = watch(case)
        for request in range(len(case.asked.input)):
            if replica.requests.status[request] != kernel.REJECTED:
                kernel.push(replica.requests, replica.state, request, False)
        while replica.batch or replica.queue:
            before, prefilled = replica.fingerprint(), replica.stats[kernel.PREFILL_TOKENS]
            q = replica.requests
            decoding = [request for request in replica.batch if q.status[request] == kernel.DECODING]
            thrown = q.preempted[decoding].copy()
            kernel.advance(
                replica.requests, replica.state, replica.running, replica.residues, replica.stats, gaps, case.tables,
                bounds, costs, float(np.nextafter(replica.stats[kernel.TIME], np.inf)), True,
            )  # fmt: skip
            after = replica.fingerprint()
            assert after[0] == before[0] + 1 and after[1] > before[1] and after[2] >= before[2]
            new = replica.stats[kernel.PREFILL_TOKENS] - prefilled
            kept = int((q.preempted[decoding] == thrown).sum())
            assert 0 < kept + new <= case.limits.batched_tokens
            assert kept <= after[2] - before[2] <= case.limits.sequences
            replica.check()
        assert replica.state[kernel.FREE] == case.limits.blocks
        assert not replica.residues.any()
        assert replica.stats[kernel.KV_PEAK] <= case.limits.blocks
        preemptions += replica.stats[kernel.PREEMPTIONS]
    assert preemptions > 100


@pytest.mark.parametrize("part", range(3))
def test_requests_and_tokens_are_conserved_and_causes_come_first(pools: tuple[Prepared, ...], part: int) -> None:
    """A token's gap is counted once: of one that follows a preemption, from the last token before it."""
    for seed in range(part, 900, 3):
        case = random_case(seed)
        served = run(pools[seed % 2], case)
        q, stats = served.requests, served.replicas
        done = q.status == kernel.DONE
        total = case.asked.input + case.asked.output
        held = case.limits.blocks * case.limits.block_tokens
        assert np.array_equal(~done, (total > held) | (total > case.limits.context))
        assert (q.status[~done] == kernel.REJECTED).all()
        assert np.array_equal(q.made[done], case.asked.output[done]) and not q.made[~done].any()
        assert stats[:, kernel.TOKENS].sum() == case.asked.output[done].sum()
        assert served.gaps.sum() == (case.asked.output[done] - 1).sum()
        again = stats[:, kernel.PREFILL_TOKENS].sum() - case.asked.input[done].sum()
        assert again == 0.0 if not q.preempted.any() else again >= 0.0
        assert q.preempted.sum() == stats[:, kernel.PREEMPTIONS].sum()
        assert stats[:, kernel.EVENTS].sum() == done.sum()
        assert (stats[:, kernel.KV_PEAK] <= case.limits.blocks).all()
        assert (q.arrival_s <= q.scheduled_s)[done].all() and (q.scheduled_s < q.first_s)[done].all()
        assert np.array_equal((q.first_s < q.last_s)[done], case.asked.output[done] > 1)
        assert (q.first_s <= q.last_s)[done].all()
        for r in range(case.replicas):
            own = np.flatnonzero(done & (q.replica == r))
            own = own[np.argsort(q.arrival_s[own], kind="stable")]
            assert (np.diff(q.scheduled_s[own]) >= 0.0).all(), "first come, first served"
            assert len(own) == 0 or q.last_s[own].max() == stats[r, kernel.TIME]


def test_a_run_is_the_same_each_time_and_leaves_what_was_asked(pools: tuple[Prepared, ...]) -> None:
    for seed in range(100):
        case = random_case(seed)
        before = [values.copy() for values in case.asked]
        one, other = (run(pools[seed % 2], case) for _ in range(2))
        assert all(np.array_equal(a, b) for a, b in zip(one.requests, other.requests, strict=True))
        assert np.array_equal(one.replicas, other.replicas) and np.array_equal(one.gaps, other.gaps)
        assert all(np.array_equal(a, b) for a, b in zip(case.asked, before, strict=True))


def test_more_requests_do_not_change_the_past(pools: tuple[Prepared, ...]) -> None:
    """What ended before the first further request arrives is the same, to the bit."""
    compared = 0
    for seed in range(400):
        case = random_case(seed)
        kept = len(case.asked.input) // 2
        whole = run(pools[seed % 2], case).requests
        shorter = case._replace(asked=Asked(*(values[:kept] for values in case.asked)))
        part = run(pools[seed % 2], shorter).requests
        later = whole.arrival_s[kept:][whole.scheduled_s[kept:] >= 0.0]
        past = whole.last_s[:kept] < later.min(initial=np.inf)
        for name in ("status", "preempted", "replica", "scheduled_s", "first_s", "last_s"):
            assert np.array_equal(getattr(whole, name)[:kept][past], getattr(part, name)[past]), (seed, name)
        compared += int(past.sum())
    assert compared > 2000


def test_a_faster_device_ends_a_queue_of_one_server_no_later(bare: Prepared) -> None:
    """Of one sequence at a time; with larger batches, speed can change who is preempted."""
    for seed in range(100):
        case = random_case(seed)
        limits = case.limits._replace(sequences=1, blocks=10_000)
        case = case._replace(limits=limits, replicas=1, concurrency=0)
        quick = case._replace(
            tables=case.tables._replace(**{f"{name}_s": getattr(case.tables, f"{name}_s") * 0.9
                                           for name in ("rows", "head", "decode", "prefill")})
        )  # fmt: skip
        slow, fast = (run(bare, each).requests for each in (case, quick))
        assert (fast.last_s <= slow.last_s).all() and (fast.first_s <= slow.first_s).all()
