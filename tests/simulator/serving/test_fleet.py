"""Fleets of one pool are what the fast path is, to the bit: every iteration on its own against macro-steps."""

from __future__ import annotations

import numpy as np
import pytest
from hand_made import Case, random_case

from simulator.kernels import serving as kernel
from simulator.prepared import Prepared
from simulator.serving.cluster import serve
from simulator.serving.fleet import Costs, FleetServed, Setup, serve_fleet
from simulator.serving.jobs import Work

SCENARIOS = 2800
"""A quarter of them are closed loops, which fleets do not have."""
COLUMNS = ("status", "made", "preempted", "scheduled_s", "first_s", "last_s")


def costs_of(pool: Prepared) -> Costs:
    runtime = pool.pool.runtime
    each = runtime.host_sequence.value if runtime.host_sequence else 0.0
    static_w = float(pool.model.record["static_w"])
    return Costs(runtime.host_step.value, each, runtime.async_scheduling, static_w, pool.pool.count)


def fleet_of(pool: Prepared, case: Case) -> FleetServed:
    setup = Setup("one", case.tables, case.limits, costs_of(pool), case.replicas, router=case.router)
    work = Work(np.zeros(len(case.asked.input), np.int64), *case.asked)
    return serve_fleet([setup], work, seed=case.seed)


@pytest.mark.parametrize("part", range(8))
def test_a_fleet_of_one_pool_is_the_fast_path_to_the_bit(pools: tuple[Prepared, ...], part: int) -> None:
    compared, preemptions = 0, 0
    for seed in range(part, SCENARIOS, 8):
        case, pool = random_case(seed), pools[seed // 8 % 2]
        if case.concurrency:
            continue
        fast = serve(
            pool, pool.scenario.workload.model, case.asked, case.limits, replicas=case.replicas, router=case.router,
            seed=case.seed, tables=case.tables,
        )  # fmt: skip
        fleet = fleet_of(pool, case)
        for name in COLUMNS:
            assert np.array_equal(getattr(fast.requests, name), getattr(fleet.jobs, name)), (seed, name)
        served = fleet.jobs.status == kernel.DONE
        assert np.array_equal(fast.requests.replica[served], fleet.jobs.replica[served]), seed
        assert np.array_equal(fast.replicas, fleet.replicas[:, : kernel.STATS]), seed
        assert np.array_equal(fast.gaps, fleet.gaps[0]), seed
        compared += 1
        preemptions += int(fleet.jobs.preempted.sum())
    assert compared > 200 and preemptions > 500
