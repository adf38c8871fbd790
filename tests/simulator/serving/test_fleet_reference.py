"""Fleets against a plain one (``plain_fleet``): all schedulers, caches, waits between jobs, failures and scaling."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from plain_fleet import PlainFleet, Pool, serve_plainly
from plain_replica import STARTING, UP
from random_fleets import random_fleet

from simulator.kernels import serving as kernel
from simulator.kernels.fleet import columns as c
from simulator.serving.cluster import GAP_BINS, GAPS_PER_DOUBLING, LEAST_GAP_S
from simulator.serving.fleet import FleetServed

SCENARIOS = 1000
STATUS = {kernel.DONE: "done", kernel.REJECTED: "rejected", c.LOST: "lost"}
FIGURES = {
    "preemptions": kernel.PREEMPTIONS, "energy_j": kernel.ENERGY_J, "busy_s": kernel.BUSY_S,
    "iterations": kernel.ITERATIONS, "kv_peak": kernel.KV_PEAK, "tokens": kernel.TOKENS,
    "prompt_tokens": kernel.PREFILL_TOKENS, "hit_tokens": c.HIT_TOKENS, "swaps": c.SWAPS, "loads": c.LOADS,
    "drafted": c.DRAFTED, "accepted": c.ACCEPTED, "moved_s": c.TRANSFER_S, "read_tokens": c.READ_TOKENS,
}  # fmt: skip


def counted(gaps_s: list[float]) -> npt.NDArray[np.int64]:
    places = np.floor(GAPS_PER_DOUBLING * np.log2(np.array(gaps_s) / LEAST_GAP_S)).astype(np.int64)
    return np.bincount(np.clip(places, 0, GAP_BINS - 1), minlength=GAP_BINS)


def assert_like(found: FleetServed, plain: PlainFleet) -> None:
    jobs = found.jobs
    assert [STATUS[status] for status in jobs.status.tolist()] == [job.status for job in plain.jobs]
    for name in (
        "made", "matched", "preempted", "retries", "replica", "arrival_s", "scheduled_s", "first_s", "last_s",
    ):  # fmt: skip
        expected = np.array([getattr(job, name) for job in plain.jobs], np.float64)
        assert getattr(jobs, name) == pytest.approx(expected, rel=1e-9), name
    for name, column in FIGURES.items():
        expected = np.array([replica.figures.get(name, 0.0) for replica in plain.replicas])
        assert found.replicas[:, column] == pytest.approx(expected, rel=1e-9, abs=1e-9), name
    active = np.array([plain.active_s[replica.number] for replica in plain.replicas])
    assert found.replicas[:, c.ACTIVE_S] == pytest.approx(active, rel=1e-9)
    assert found.links.carried_bytes == pytest.approx(np.array(plain.carried_bytes), rel=1e-9)
    for (link, number, way), busy_s in plain.ports_s.items():
        assert found.links.port_busy_s[link, number, int(way == "in")] == pytest.approx(busy_s, rel=1e-9)
    for number, pool in enumerate(plain.pools):
        gaps_s = [gap for replica in pool.replicas for gap in replica.gaps_s]
        assert np.abs(np.cumsum(found.gaps[number] - counted(gaps_s))).max() <= 1, "one may lie at the edge of a bin"


def assert_devices_do_one_thing_at_a_time(plain: PlainFleet) -> None:
    spans = defaultdict(list)
    for devices, begin_s, end_s in plain.begun_s:
        spans[devices].append((begin_s, end_s))
    for own in spans.values():
        own.sort()
        assert all(one[1] <= other[0] for one, other in pairwise(own))


@pytest.mark.parametrize("part", range(4))
def test_a_fleet_does_what_a_plain_one_does(part: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(part, SCENARIOS, 4):
        fleet = random_fleet(seed)
        found, plain = fleet.serve(), serve_plainly(*fleet)
        assert_like(found, plain)
        assert_devices_do_one_thing_at_a_time(plain)
        seen.update(job.status for job in plain.jobs)
        seen.update({name: int(found.replicas[:, column].sum()) for name, column in FIGURES.items()})
        seen.update(retries=int(found.jobs.retries.sum()), grown=int((found.replicas[:, c.ACTIVE_S] > 0.0).any()))
    for name in (
        "done", "rejected", "lost", "retries", "preemptions", "swaps", "hit_tokens", "loads", "accepted", "grown",
    ):  # fmt: skip
        assert seen[name] >= 20, (name, "does not happen often enough to be tested")


def test_what_a_pool_has_stays_between_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each look, of replicas that serve or start; those that failed are not counted."""
    looks = []
    look = PlainFleet.look

    def watched(self: PlainFleet, pool: Pool, at_s: float) -> None:
        before = sum(replica.status in (UP, STARTING) for replica in pool.replicas)
        look(self, pool, at_s)
        looks.append((pool.setup.scaling, before, sum(r.status in (UP, STARTING) for r in pool.replicas)))

    monkeypatch.setattr(PlainFleet, "look", watched)
    for seed in range(200):
        fleet = random_fleet(seed)._replace(outages=[])
        assert_like(fleet.serve(), serve_plainly(*fleet))
    assert len(looks) > 300
    for scaling, before, after in looks:
        assert after <= max(before, scaling.most)
        assert after >= min(before, scaling.least)
        assert after >= before - 1, "one at a time is let go"
