"""Fleets at the edge of what is possible, and beyond it: correct, or a clear error, and always an end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hand_made import tables_of

from hardware_specs.errors import InputError, UnknownName
from simulator.kernels import serving as kernel
from simulator.kernels.fleet import columns as c
from simulator.serving.cluster import Limits
from simulator.serving.fleet import (
    ROUTERS,
    SCHEDULES,
    Costs,
    FleetServed,
    Link,
    Outage,
    Scaling,
    Setup,
    end_s,
    peak_fraction,
    serve_fleet,
)
from simulator.serving.jobs import Edges, Named, Work

STEP_S = 0.01
USUAL = Setup("one", tables_of(lambda rows: STEP_S + 0.0 * rows, 2048), Limits(2048, 256, 16, 10_000, 4096))


def whole(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def work_of(n: int, prompt: int = 10, output: int = 10, **columns: object) -> Work:
    work = Work(np.zeros(n, np.int64), np.zeros(n), np.full(n, prompt), np.full(n, output))
    return work._replace(**columns)


def chain(n: int, **columns: object) -> Edges:
    """Each job waits for the one before."""
    nothing = np.zeros(n - 1)
    edges = Edges(np.arange(n - 1), np.arange(1, n), nothing, nothing, np.full(n - 1, kernel.NONE))
    return edges._replace(**columns)


def statuses(served: FleetServed) -> set[int]:
    return set(served.jobs.status.tolist())


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("router", ROUTERS)
def test_no_jobs(schedule: str, router: str) -> None:
    setup = replace(USUAL, schedule=schedule, router=router, replicas=3, unit_blocks=2, scaling=Scaling(0, 5, 1.0))
    served = serve_fleet([setup], work_of(0))
    assert not served.replicas.any() and not served.gaps.any() and not served.bins.any()
    assert end_s(served) == peak_fraction(served, 0) == 0.0


def test_a_prompt_longer_than_the_context_is_rejected_with_all_that_wait_for_it() -> None:
    """At the limit itself it is served."""
    prompt = np.array([4086, 4087, 10, 10, 10])
    edges = chain(5)
    edges = Edges(*(column[[1, 2]] for column in edges[:5]))
    served = serve_fleet([USUAL], work_of(5)._replace(input=prompt, edges=edges))
    rejected, done = kernel.REJECTED, kernel.DONE
    assert served.jobs.status.tolist() == [done, rejected, rejected, rejected, done]


@pytest.mark.parametrize("why", ["too long", "late", "full", "lost"])
def test_a_client_goes_on_after_an_answer_that_it_did_not_get(why: str) -> None:
    """The next request follows after the pause, be the one before turned away or lost; a next turn does not."""
    n, setup, outages = 4, USUAL, [Outage(0, 0, 0.05 + 0.06 * k, 0.01) for k in range(21 if why == "lost" else 0)]
    work = work_of(n)._replace(input=np.where(np.arange(n) == (0 if why == "too long" else -1), 5000, 10))
    if why == "late":
        setup, work = replace(USUAL, drop_late=True), work._replace(deadline_s=np.array([-1.0, 9.0, 9.0, 9.0]))
    if why == "full":
        setup = replace(USUAL, waiting=1, limits=USUAL.limits._replace(sequences=1))
        work = work._replace(output=np.array([10, 10, 10, 10]))
    first, last = (1, 2) if why == "full" else (0, 1)
    for always in (True, False):
        edges = chain(n, delay_s=np.full(n - 1, 2.0), always=np.full(n - 1, always))
        edges = Edges(*(column[first : last + (why != "full")] for column in edges))
        served = serve_fleet([setup], work._replace(edges=edges), outages=outages)
        assert served.jobs.status[first] in (kernel.REJECTED, c.LOST)
        assert (served.jobs.status[last] == kernel.DONE) == always
        if always:
            assert served.jobs.ready_s[last] >= 2.0


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_job_that_fills_the_whole_cache_is_served(schedule: str) -> None:
    """Whatever is kept, drafted or swapped."""
    for extra in ({}, {"drafts": 4, "acceptance": 0.5}, {"swap_blocks": 10}, {"unit_blocks": 3, "tier_units": 2}):
        setup = replace(USUAL, schedule=schedule, limits=Limits(32, 8, 4, 10, 40), **extra)
        names = Named(np.arange(9) * 3, np.tile([0, 1, 2], 8))
        served = serve_fleet([setup], work_of(8, 30, 10, names=names))
        assert statuses(served) == {kernel.DONE}, extra


def test_a_job_that_was_swapped_out_comes_back_when_moving_takes_no_time() -> None:
    setup = replace(USUAL, limits=Limits(64, 8, 1, 12, 12), swap_blocks=100, tables=USUAL.tables)
    served = serve_fleet([setup], work_of(4, 2, 9))
    assert statuses(served) == {kernel.DONE}
    assert served.replicas[0, c.SWAPS] > 0
    assert served.gaps.sum() == 4 * 8


@pytest.mark.parametrize("extra", [{}, {"mtbf_s": 1.0, "mttr_s": 0.5}, {"scaling": Scaling(1, 1, 1.0)}])
def test_every_replica_fails_for_good(extra: dict[str, object]) -> None:
    """What was done stays done, the rest is lost, and the run ends, whatever else goes on elsewhere."""
    setup = replace(USUAL, replicas=2, limits=USUAL.limits._replace(sequences=1), **extra)
    other = replace(USUAL, name="two", scaling=Scaling(1, 3, 1.0), mtbf_s=5.0, mttr_s=1.0)
    gone = [Outage(0, replica, 0.5, np.inf) for replica in range(setup.most)]
    setup = setup if setup.most == 2 else replace(setup, replicas=1)
    work = work_of(100)._replace(pool=np.arange(100) % 2)
    served = serve_fleet([setup, other], work, outages=gone[: setup.most])
    first, second = served.jobs.status[::2], served.jobs.status[1::2]
    assert set(first.tolist()) == {kernel.DONE, c.LOST}
    assert set(second.tolist()) == {kernel.DONE}
    assert (served.jobs.last_s[::2][first == kernel.DONE] <= 0.5 + STEP_S).all()


def test_jobs_that_wait_for_one_that_is_lost_are_rejected() -> None:
    served = serve_fleet([USUAL], work_of(3)._replace(edges=chain(3)), outages=[Outage(0, 0, 0.05, np.inf)])
    assert served.jobs.status[0] == c.LOST and not (served.jobs.status[1:] == kernel.DONE).any()


def test_a_failure_for_good_in_the_midst_of_another_is_for_good() -> None:
    outages = [Outage(0, 0, 0.05, 1.0), Outage(0, 0, 0.1, np.inf)]
    assert statuses(serve_fleet([USUAL], work_of(3), outages=outages)) == {c.LOST}
    later = [Outage(0, 0, 0.05, 1.0), Outage(0, 0, 0.1, 7.0)]
    served = serve_fleet([USUAL], work_of(3), outages=later)
    assert served.jobs.first_s == pytest.approx(7.1 + STEP_S)
    assert served.jobs.retries.tolist() == [1, 1, 1]


def test_a_replica_that_fails_again_and_again_is_given_up_by_its_jobs() -> None:
    outages = [Outage(0, 0, 0.05 + 0.06 * k, 0.01) for k in range(200)]
    served = serve_fleet([USUAL], work_of(2, 10, 100), outages=outages)
    assert statuses(served) == {c.LOST} and served.jobs.retries.tolist() == [21, 21]


@pytest.mark.parametrize("order", ["fcfs", "priority", "deadline"])
def test_all_deadlines_lie_in_the_past(order: str) -> None:
    late = replace(USUAL, drop_late=True, order=order)
    work = work_of(50)._replace(arrival_s=np.full(50, 5.0), deadline_s=np.full(50, 1.0))
    served = serve_fleet([late], work)
    assert statuses(served) == {kernel.REJECTED} and not served.replicas[0, kernel.ITERATIONS]
    served = serve_fleet([replace(late, drop_late=False)], work)
    assert statuses(served) == {kernel.DONE}


def test_the_earliest_deadline_is_first_inside_a_class_too() -> None:
    setup = replace(USUAL, order="deadline", limits=USUAL.limits._replace(sequences=1))
    rng = np.random.default_rng(0)
    deadline_s = rng.permutation(np.arange(1.0, 21.0))
    served = serve_fleet([setup], work_of(20)._replace(deadline_s=deadline_s))
    assert np.array_equal(np.argsort(served.jobs.scheduled_s), np.argsort(deadline_s))


@pytest.mark.parametrize("start_s", [0.0, 3.0])
def test_a_pool_grows_from_nothing_and_to_nothing_again(start_s: float) -> None:
    setup = replace(USUAL, replicas=0, scaling=Scaling(0, 4, 1.0, look_s=0.5, start_s=start_s, patience=2))
    work = work_of(8)._replace(arrival_s=np.repeat([1.2, 99.9], 4))
    served = serve_fleet([setup], work)
    assert statuses(served) == {kernel.DONE}
    assert served.jobs.first_s[[0, 4]] == pytest.approx([1.5 + start_s + STEP_S, 100.0 + start_s + STEP_S], rel=1e-6)
    assert (served.replicas[:, c.ACTIVE_S] > 0.0).all() and served.replicas[:, c.ACTIVE_S].max() < 10.0


def test_replicas_that_are_still_to_come_are_given_back_before_one_that_serves() -> None:
    """A burst starts three more, which nobody wants a second later: the one that serves stays. A start that was given
    up brings nobody up, not even where the same replica has been started anew."""
    setup = replace(USUAL, scaling=Scaling(1, 4, 1.0, look_s=1.0, start_s=100.0, patience=1))
    arrival_s = np.repeat([0.95, 6.5, 99.95, 102.5], [8, 1, 8, 4])
    work = work_of(21)._replace(arrival_s=arrival_s, output=np.repeat([10, 10, 500, 10], [8, 1, 8, 4]))
    served = serve_fleet([setup], work)
    assert statuses(served) == {kernel.DONE}
    assert (served.jobs.first_s - arrival_s).max() < 0.1
    assert set(served.jobs.replica.tolist()) == {0}
    assert 4.0 < served.replicas[1:, c.ACTIVE_S].sum() < 40.0


@pytest.mark.parametrize("seed", range(3))
def test_a_pool_that_scales_always_has_one_that_serves(seed: int) -> None:
    setup = replace(USUAL, replicas=2, scaling=Scaling(1, 4, 4.0, look_s=1.0, patience=1))
    arrival_s = np.cumsum(np.random.default_rng(seed).exponential(0.25, 2000))
    served = serve_fleet([setup], work_of(2000, output=100)._replace(arrival_s=arrival_s))
    assert served.replicas[2:, c.ACTIVE_S].sum() > 0.0
    assert (served.jobs.scheduled_s - arrival_s).max() < 0.1


def test_a_replica_that_is_let_go_takes_up_work_again() -> None:
    """The last one drains with a long job when another arrives: it stays, and serves both."""
    setup = replace(USUAL, scaling=Scaling(0, 1, 10.0, look_s=0.1, start_s=1.0, patience=1))
    work = work_of(2, 10, 100)._replace(arrival_s=np.array([0.25, 0.65]), output=np.array([100, 10]))
    served = serve_fleet([setup], work)
    assert statuses(served) == {kernel.DONE}


@pytest.mark.parametrize("order", ["fcfs", "priority", "deadline"])
def test_a_job_whose_adapter_has_no_slot_holds_up_no_other(order: str) -> None:
    """One slot, five jobs: those of the first adapter and of none run at once, the others keep their order."""
    setup = replace(USUAL, order=order)
    served = serve_fleet([setup], work_of(5)._replace(adapter=np.array([0, 1, 0, 2, -1])))
    assert served.jobs.scheduled_s == pytest.approx([0.0, 0.1, 0.0, 0.2, 0.0])


def test_adapters_of_sequences_that_stand_still_cost_nothing() -> None:
    """While the prompt of a second adapter runs alone, the first one's decodes wait, and it is not paid."""
    setup = replace(USUAL, schedule="prefill-first", adapter_slots=2, costs=Costs(adapter_s=1.0))
    work = work_of(2, output=3)._replace(adapter=np.array([0, 1]), arrival_s=np.array([0.0, 0.5]))
    served = serve_fleet([setup], work)
    assert served.jobs.first_s == pytest.approx([1.01, 2.02])
    assert served.jobs.last_s == pytest.approx([2.02 + 2 * 2.01] * 2)


def test_what_was_found_in_the_cache_is_that_of_the_first_admission() -> None:
    """Own blocks that a preempted job finds again are no hits."""
    setup = replace(USUAL, limits=Limits(64, 8, 1, 30, 30), unit_blocks=1)
    names = Named(np.arange(5) * 19, np.arange(76))
    served = serve_fleet([setup], work_of(4, 10, 9, names=names))
    assert served.jobs.preempted.any()
    assert not served.jobs.matched.any() and served.replicas[0, c.HIT_TOKENS] == 0


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_a_job_that_comes_with_its_cache_decodes_at_once(schedule: str) -> None:
    """Each arrival joins the steps of those before it: no iteration of a prompt, and none that they wait for."""
    setup = replace(USUAL, schedule=schedule)
    work = work_of(5)._replace(cached=np.full(5, 9), arrival_s=np.arange(5) * (0.0 if schedule == "static" else 0.015))
    served = serve_fleet([setup], work)
    assert statuses(served) == {kernel.DONE}
    assert served.replicas[0, kernel.PREFILL_TOKENS] == 0 and served.replicas[0, kernel.TOKENS] == 50
    assert served.jobs.last_s - served.jobs.first_s == pytest.approx(0.09)
    assert (served.jobs.first_s - served.jobs.ready_s <= 2.0 * STEP_S).all()


def test_64_classes_and_no_more() -> None:
    setup = replace(USUAL, order="priority", limits=USUAL.limits._replace(sequences=1))
    kinds = np.arange(64)[::-1].copy()
    served = serve_fleet([setup], work_of(64)._replace(priority=kinds))
    assert np.array_equal(np.argsort(served.jobs.scheduled_s), np.argsort(kinds))
    with pytest.raises(InputError, match="65 classes"):
        serve_fleet([setup], work_of(65)._replace(priority=np.arange(65)))


@pytest.mark.parametrize("rate", [1e30, np.inf])
def test_a_huge_link_takes_no_time(rate: float) -> None:
    edges = chain(5, size_bytes=np.full(4, 1e9), link=np.zeros(4, np.int64))
    there = serve_fleet([USUAL], work_of(5)._replace(edges=edges), links=[Link(rate, rate)]).jobs
    assert there.last_s == pytest.approx(0.1 * np.arange(1, 6))
    slow = serve_fleet([USUAL], work_of(5)._replace(edges=edges), links=[Link(1e9, 5e8)]).jobs
    assert slow.last_s == pytest.approx(0.1 * np.arange(1, 6) + 2.0 * np.arange(5))


def test_a_chain_of_a_thousand_jobs() -> None:
    served = serve_fleet([USUAL], work_of(1000)._replace(edges=chain(1000, delay_s=np.full(999, 0.5))))
    assert served.jobs.last_s == pytest.approx(0.1 * np.arange(1, 1001) + 0.5 * np.arange(1000))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"edges": chain(3, before=whole(1, 2), after=whole(2, 1))}, "job 1: waits for 2: must be an earlier job"),
        ({"edges": chain(3, before=whole(0, 1), after=whole(1, 1))}, "an earlier job"),
        ({"edges": chain(3, after=whole(1, 3))}, "an earlier job"),
        ({"edges": chain(3, link=whole(0, 5))}, "job 1: link 5: must be below 1"),
        ({"edges": chain(3, delay_s=np.array([0.0, np.nan]))}, "delay_s nan"),
        ({"edges": chain(3, size_bytes=np.array([0.0, -1.0]))}, "bytes -1.0"),
        ({"edges": chain(3, delay_s=np.zeros(1))}, "must be as many"),
        ({"pool": whole(0, 1, 0)}, "job 1: pool 1: must be from 0 to 0"),
        ({"input": whole(1, 0, 1)}, "prompt tokens 0"),
        ({"output": whole(1, -1, 1)}, "output tokens -1"),
        ({"arrival_s": np.array([0.0, np.nan, 0.0])}, "arrival_s nan"),
        ({"arrival_s": np.zeros(2)}, "3 jobs, but arrival_s of 2"),
        ({"priority": whole(0, -1, 0)}, "priority -1"),
        ({"adapter": whole(0, -2, 0)}, "adapter -2"),
        ({"deadline_s": np.array([1.0, np.nan, 1.0])}, "deadline_s nan"),
        ({"cached": whole(0, 10, 0)}, "cached 10: must be from 0 to below its prompt"),
        ({"names": Named(whole(0, 1, 1, 2), whole(0))}, "offsets must be 4, from 0 to 1"),
        ({"names": Named(whole(0, 1, 1, 1), whole(-3))}, "name -3"),
    ],
)  # fmt: skip
def test_jobs_that_cannot_be_are_refused(columns: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        serve_fleet([USUAL], work_of(3)._replace(**columns), links=[Link(1.0, 1.0)])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"replicas": 0}, "replicas"),
        ({"replicas": -1}, "-1 replicas"),
        ({"acceptance": 1.5}, "acceptance 1.5"),
        ({"drafts": -1}, "drafts -1: must be at least 0"),
        ({"drafts": 2048}, "2048 drafts"),
        ({"drafts": 200}, "tables end at 2048 rows"),
        ({"adapter_slots": 0}, "adapter_slots 0: must be at least 1"),
        ({"mttr_s": float("nan")}, "mttr_s nan"),
        ({"mtbf_s": -1.0}, "mtbf_s -1.0"),
        ({"swap_blocks": 1, "unit_blocks": 1}, "not both"),
        ({"limits": Limits(2048, 256, 16, 0, 4096)}, "blocks"),
        ({"limits": Limits(4096, 256, 16, 10, 4096)}, "tables end at 2048 rows: must reach 4096"),
        ({"scaling": Scaling(3, 2, 1.0)}, "scaling"),
        ({"scaling": Scaling(0, 2, 0.0)}, "scaling"),
        ({"scaling": Scaling(0, 2, 1.0, look_s=float("nan"))}, "scaling"),
    ],
)  # fmt: skip
def test_pools_that_cannot_be_are_refused(columns: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        serve_fleet([replace(USUAL, **columns)], work_of(256))


def test_names_that_are_unknown_are_refused() -> None:
    for key in ("schedule", "order", "router"):
        with pytest.raises(UnknownName, match="pool one"):
            serve_fleet([replace(USUAL, **{key: "none-such"})], work_of(1))
    with pytest.raises(InputError, match="at least one pool"):
        serve_fleet([], work_of(1))
    for outage in (Outage(1, 0, 0.0, 1.0), Outage(0, 1, 0.0, 1.0), Outage(0, 0, -1.0, 1.0), Outage(0, 0, 0.0, 0.0)):
        with pytest.raises(InputError, match="failure 0"):
            serve_fleet([USUAL], work_of(1), outages=[outage])
    for link in (Link(0.0, 1.0), Link(1.0, float("nan"))):
        with pytest.raises(InputError, match="must be positive"):
            serve_fleet([USUAL], work_of(1), links=[link])


def test_ten_times_what_can_be_served_ends_with_its_queue() -> None:
    setup = replace(USUAL, limits=USUAL.limits._replace(sequences=8), costs=Costs(host_step_s=0.0))
    n = 20_000
    arrival_s = np.arange(n) / (10.0 * 8.0 / (10.0 * STEP_S))
    served = serve_fleet([setup], work_of(n)._replace(arrival_s=arrival_s))
    assert statuses(served) == {kernel.DONE}
    assert end_s(served) == pytest.approx(n / 8.0 * 10.0 * STEP_S, rel=1e-3)
