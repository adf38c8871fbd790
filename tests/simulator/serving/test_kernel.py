"""The compiled scheduler: macro-steps are single steps, and both are a plain scheduler's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hand_made import Case, random_case
from plain_scheduler import Sequence, Server, serve_plainly

from simulator.kernels import serving as kernel
from simulator.prepared import Prepared
from simulator.serving.cluster import GAP_BINS, GAPS_PER_DOUBLING, LEAST_GAP_S, Served, serve

SCENARIOS = 2400
REFERENCES = 600


def run(pool: Prepared, case: Case, one_by_one: bool = False) -> Served:
    return serve(
        pool, pool.scenario.workload.model, case.asked, case.limits, replicas=case.replicas, router=case.router,
        concurrency=case.concurrency, seed=case.seed, tables=case.tables, one_by_one=one_by_one,
    )  # fmt: skip


def assert_same(one: Served, other: Served) -> None:
    for name, values in one.requests._asdict().items():
        assert np.array_equal(values, getattr(other.requests, name)), name
    assert np.array_equal(one.replicas, other.replicas)
    assert np.array_equal(one.gaps, other.gaps)


@pytest.mark.parametrize("part", range(8))
def test_macro_steps_are_single_steps_to_the_bit(pools: tuple[Prepared, ...], part: int) -> None:
    preemptions = 0.0
    for seed in range(part, SCENARIOS, 8):
        case, pool = random_case(seed), pools[seed // 8 % 2]
        found = run(pool, case)
        assert_same(found, run(pool, case, one_by_one=True))
        preemptions += found.replicas[:, kernel.PREEMPTIONS].sum()
    assert preemptions > 1000


def tokens_between(gaps_s: list[float]) -> npt.NDArray[np.int64]:
    """Gaps counted in bins of a sixteenth of a doubling."""
    places = np.floor(GAPS_PER_DOUBLING * np.log2(np.array(gaps_s) / LEAST_GAP_S)).astype(np.int64)
    return np.bincount(np.clip(places, 0, GAP_BINS - 1), minlength=GAP_BINS)


@pytest.mark.parametrize("part", range(4))
def test_tokens_come_when_a_plain_scheduler_gives_them(pools: tuple[Prepared, ...], part: int) -> None:
    for seed in range(10_000 + part, 10_000 + REFERENCES, 4):
        case, pool = random_case(seed, 30), pools[seed // 8 % 2]
        found = run(pool, case)
        servers, every = serve_plainly(
            pool, case.tables, case.asked, case.limits, case.replicas, case.router, case.concurrency, case.seed
        )
        assert_like(found, servers, every)


def assert_like(found: Served, servers: list[Server], every: list[Sequence]) -> None:
    requests = found.requests
    rejected = [not sequence.tokens_s for sequence in every]
    assert np.array_equal(requests.status, np.where(rejected, kernel.REJECTED, kernel.DONE))
    for r, server in enumerate(servers):
        assert all(requests.replica[sequence.number] == r for sequence in server.taken)
    columns = {
        "scheduled_s": [s.scheduled_s for s in every], "first_s": [(s.tokens_s or [-1.0])[0] for s in every],
        "last_s": [(s.tokens_s or [-1.0])[-1] for s in every], "preempted": [s.preempted for s in every],
    }  # fmt: skip
    for name, values in columns.items():
        assert getattr(requests, name) == pytest.approx(np.array(values), rel=1e-9), name
    gaps = [float(gap) for s in every for gap in np.diff(s.tokens_s)]
    assert np.array_equal(found.gaps, tokens_between(gaps))
    stats = {
        kernel.ENERGY_J: "joules", kernel.ITERATIONS: "iterations", kernel.PREEMPTIONS: "preemptions",
        kernel.KV_PEAK: "most_blocks", kernel.TOKENS: "given", kernel.PREFILL_TOKENS: "prefilled",
        kernel.QUEUE_S: "queue_s", kernel.RUNNING_S: "running_s", kernel.KV_S: "block_s", kernel.TIME: "now_s",
    }  # fmt: skip
    for column, name in stats.items():
        values = np.array([getattr(server, name) for server in servers])
        assert found.replicas[:, column] == pytest.approx(values, rel=1e-9, abs=1e-9), name
