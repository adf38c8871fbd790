"""Loads, lengths and limits at the edge of what is possible, and beyond it: correct, or a clear error."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hand_made import asked_of, tables_of

from hardware_specs.errors import InputError, UnknownName
from silicost.scenarios import inference_scenario
from simulator.kernels import serving as kernel
from simulator.prepared import Prepared, prepare
from simulator.serving.cluster import ROUTERS, Limits, Served, cache_blocks, serve
from simulator.serving.requests import Asked
from simulator.serving.step_tables import step_tables

STEP_S = 0.01
USUAL = Limits(2048, 256, 16, 10_000, 4096)


def run(
    pool: Prepared, asked: Asked, limits: Limits = USUAL, *, replicas: int = 1, router: str = "round-robin",
    concurrency: int = 0,
) -> Served:  # fmt: skip
    """Every iteration takes ``STEP_S``."""
    tables = tables_of(lambda rows: STEP_S + 0.0 * rows, max(limits.batched_tokens, limits.sequences))
    return serve(
        pool, pool.scenario.workload.model, asked, limits, replicas=replicas, router=router, concurrency=concurrency,
        tables=tables,
    )  # fmt: skip


def all_done(served: Served) -> bool:
    return bool((served.requests.status == kernel.DONE).all())


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("concurrency", [0, 7])
def test_no_requests(bare: Prepared, router: str, concurrency: int) -> None:
    served = run(bare, asked_of([], 1, 1), router=router, replicas=3, concurrency=concurrency)
    assert not served.replicas.any() and not served.gaps.any() and len(served.requests.status) == 0


def test_one_token_in_and_one_out(bare: Prepared) -> None:
    served = run(bare, asked_of([2.0], 1, 1))
    assert served.requests.first_s == served.requests.last_s == pytest.approx(2.0 + STEP_S)
    assert served.replicas[0, [kernel.ITERATIONS, kernel.TOKENS, kernel.PREFILL_TOKENS]].tolist() == [1.0, 1.0, 1.0]
    assert not served.gaps.any()


def test_what_the_cache_or_the_context_cannot_hold_is_rejected_and_the_rest_is_served(bare: Prepared) -> None:
    """At the limit itself a request is served: 40 blocks of 16 tokens, a context of 600."""
    limits = Limits(100, 8, 16, 40, 600)
    prompt = np.array([590, 591, 100_000, 10, 1, 10])
    output = np.array([10, 10, 1, 100_000, 599, 10])
    served = run(bare, asked_of(np.zeros(6), prompt, output), limits)
    rejected = served.requests.status == kernel.REJECTED
    assert rejected.tolist() == [False, True, True, True, False, False]
    assert (served.requests.status[~rejected] == kernel.DONE).all()
    by_cache = run(bare, asked_of([0.0, 0.0], [630, 631], 10), limits._replace(context=10_000))
    assert by_cache.requests.status.tolist() == [kernel.DONE, kernel.REJECTED]


@pytest.mark.parametrize("router", ROUTERS)
def test_all_requests_rejected(bare: Prepared, router: str) -> None:
    for concurrency in (0, 5):
        served = run(bare, asked_of(np.zeros(20), 5000, 1), router=router, replicas=2, concurrency=concurrency)
        assert (served.requests.status == kernel.REJECTED).all() and not served.replicas.any()


@pytest.mark.parametrize(("prompt", "budget"), [(1000, 100), (1001, 100), (5, 1), (3999, 2048)])
def test_prompts_longer_than_the_budget_are_cut(bare: Prepared, prompt: int, budget: int) -> None:
    served = run(bare, asked_of([0.0], prompt, 3), USUAL._replace(batched_tokens=budget))
    chunks = -(-prompt // budget)
    assert served.requests.first_s == pytest.approx(chunks * STEP_S)
    assert served.replicas[0, kernel.ITERATIONS] == chunks + 2
    assert served.replicas[0, kernel.PREFILL_TOKENS] == prompt


def test_ten_thousand_at_once(bare: Prepared) -> None:
    """2048 tokens an iteration, 256 sequences: full all the time, first come first served."""
    served = run(bare, asked_of(np.zeros(10_000), 128, 32))
    assert all_done(served)
    assert (np.diff(served.requests.scheduled_s) >= 0.0).all()
    assert served.replicas[0, kernel.TIME] == pytest.approx(served.replicas[0, kernel.ITERATIONS] * STEP_S)
    assert served.replicas[0, kernel.RUNNING_S] <= 256 * served.replicas[0, kernel.TIME]
    at_least = 10_000 * 32 / 256
    assert at_least <= served.replicas[0, kernel.ITERATIONS] <= 1.6 * at_least


def test_ten_times_what_can_be_served_for_an_hour(bare: Prepared) -> None:
    """One sequence at a time, 10 iterations each: 10 requests/s; 100 come. The queue grows by 90 a second."""
    hour, capacity = 3600.0, 1.0 / (10 * STEP_S)
    arrival_s = np.arange(0.0, hour, 1.0 / (10 * capacity))
    served = run(bare, asked_of(arrival_s, 8, 10), USUAL._replace(sequences=1))
    assert all_done(served)
    assert served.replicas[0, kernel.TIME] == pytest.approx(len(arrival_s) / capacity, rel=1e-6)
    waits = served.requests.scheduled_s - arrival_s
    assert np.abs(waits - (np.arange(len(arrival_s)) / capacity - arrival_s)).max() < 1e-5
    assert served.replicas[0, kernel.BUSY_S] == served.replicas[0, kernel.TIME]


def test_overload_of_a_real_server_ends_at_its_capacity() -> None:
    """Requests at ten times the rate are answered at the rate that a standing queue is; nothing is lost."""
    ready = prepare(inference_scenario("llama-2-7b", "a100-sxm-80gb", batch=1, isl=1, osl=1))
    arch = ready.scenario.workload.model
    limits = Limits(2048, 256, 16, cache_blocks(ready, arch, 16, 2048, 256), 4096)
    tables = step_tables(ready, arch, 2048, 256, 4096)
    rng = np.random.default_rng(0)

    def rate(arrival_s: npt.NDArray[np.float64]) -> float:
        served = serve(ready, arch, asked_of(arrival_s, 512, 128), limits, tables=tables)
        assert all_done(served)
        return len(arrival_s) / float(served.replicas[0, kernel.TIME])

    standing = rate(np.zeros(20_000))
    overloaded = rate(np.cumsum(rng.exponential(0.1 / standing, int(36_000 * standing))))
    assert overloaded == pytest.approx(standing, rel=0.02)


@pytest.mark.parametrize("router", ROUTERS)
def test_equal_arrival_times_keep_their_order(bare: Prepared, router: str) -> None:
    arrival_s = np.repeat(np.arange(20) * 0.005, 50)
    served = run(bare, asked_of(arrival_s, 100, 5), USUAL._replace(sequences=4), router=router, replicas=3)
    assert all_done(served)
    for r in range(3):
        assert (np.diff(served.requests.scheduled_s[served.requests.replica == r]) >= 0.0).all()


@pytest.mark.parametrize("router", ROUTERS)
def test_a_thousand_replicas(bare: Prepared, router: str) -> None:
    """With as many replicas as requests under way none waits, but where two are drawn at random."""
    arrival_s = np.cumsum(np.full(5000, 1e-4))
    served = run(bare, asked_of(arrival_s, 16, 6), USUAL, router=router, replicas=1000)
    assert all_done(served)
    used = np.bincount(served.requests.replica, minlength=1000)
    if router == "round-robin":
        assert (used == 5).all()
    waits = served.requests.scheduled_s - arrival_s
    assert waits.max() == pytest.approx(0.0, abs=1e-9) if router != "power-of-two" else waits.max() <= STEP_S
    assert served.replicas[:, kernel.TOKENS].sum() == 5000 * 6


def test_a_thousand_replicas_in_a_closed_loop_of_few_and_of_many(bare: Prepared) -> None:
    for concurrency in (1, 3, 999, 1001, 100_000):
        served = run(bare, asked_of(np.zeros(2500), 16, 6), replicas=1000, concurrency=concurrency)
        assert all_done(served)
        assert served.requests.replica.max() == min(concurrency, 1000) - 1


def test_one_sequence_at_a_time(bare: Prepared) -> None:
    served = run(bare, asked_of(np.zeros(50), 100, 7), USUAL._replace(sequences=1))
    assert served.requests.last_s == pytest.approx(np.arange(1, 51) * 7 * STEP_S)
    assert served.requests.scheduled_s[1:] == pytest.approx(served.requests.last_s[:-1])


def test_a_block_larger_than_the_context(bare: Prepared) -> None:
    """Each sequence holds one block, so that blocks are how many run at once."""
    served = run(bare, asked_of(np.zeros(40), 100, 20), Limits(2048, 256, 512, 5, 200))
    assert all_done(served) and not served.requests.preempted.any()
    assert served.replicas[0, kernel.KV_PEAK] == 5.0
    assert served.replicas[0, kernel.RUNNING_S] == pytest.approx(served.replicas[0, kernel.KV_S])
    assert served.replicas[0, kernel.TIME] == pytest.approx(8 * 20 * STEP_S)


def test_a_cache_of_one_request_serves_all_by_turns(bare: Prepared) -> None:
    """The cache holds 32 tokens: two prompts, but only one whole answer; the younger is preempted and comes again."""
    served = run(bare, asked_of(np.zeros(6), 8, 24), Limits(64, 8, 1, 32, 64))
    assert all_done(served)
    assert served.replicas[0, kernel.PREEMPTIONS] >= 5.0
    assert served.replicas[0, kernel.KV_PEAK] <= 32.0


def test_times_of_a_calendar(bare: Prepared) -> None:
    """Arrivals in seconds since 1970: a float64 still tells 0.24 us apart."""
    arrival_s = 1.7e9 + np.arange(100) * 0.001
    served = run(bare, asked_of(arrival_s, 16, 6))
    early = run(bare, asked_of(np.arange(100) * 0.001, 16, 6))
    assert served.requests.last_s - 1.7e9 == pytest.approx(early.requests.last_s, abs=1e-4)
    assert served.replicas[0, kernel.BUSY_S] == pytest.approx(early.replicas[0, kernel.BUSY_S])


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (asked_of([0.0, 2.0, 1.0], 1, 1), "request 2: arrival_s 1.0: must be no earlier"),
        (asked_of([0.0, np.nan], 1, 1), "request 1: arrival_s nan"),
        (asked_of([0.0, np.inf], 1, 1), "request 1: arrival_s inf"),
        (asked_of([-1.0], 1, 1), "request 0: arrival_s -1.0"),
        (asked_of([0.0, 1.0], [3, 0], 1), "request 1: prompt tokens 0: must be at least 1"),
        (asked_of([0.0], 1, -4), "request 0: output tokens -4"),
        (asked_of([0.0], 1 << 40, 1), "at most 100000000"),
        (Asked(np.zeros(3), np.ones(2, np.int64), np.ones(3, np.int64)), "3 arrivals, but prompt tokens of 2"),
    ],
)
def test_requests_that_are_none_are_refused(bare: Prepared, asked: Asked, words: str) -> None:
    with pytest.raises(InputError, match=words):
        run(bare, asked)


@pytest.mark.parametrize("field", Limits._fields)
@pytest.mark.parametrize("value", [0, -1, 10**12])
def test_sizes_that_no_server_has_are_refused(bare: Prepared, field: str, value: int) -> None:
    limits = USUAL._replace(**{field: value})
    with pytest.raises(InputError, match=f"{value}: must be a whole number from 1 to"):
        serve(bare, bare.scenario.workload.model, asked_of([0.0], 1, 1), limits)


@pytest.mark.parametrize(("name", "value"), [("replicas", 0), ("replicas", 10**9), ("concurrency", -1)])
def test_fleets_that_cannot_be_are_refused(bare: Prepared, name: str, value: int) -> None:
    with pytest.raises(InputError, match=f"--{name} {value}"):
        run(bare, asked_of([0.0], 1, 1), **{name: value})  # type: ignore[arg-type]


def test_unknown_routers_and_plans_that_serving_does_not_cut_are_refused(bare: Prepared) -> None:
    with pytest.raises(UnknownName, match="did you mean 'round-robin'"):
        run(bare, asked_of([0.0], 1, 1), router="round-robbin")
    piped = prepare(inference_scenario("llama-3.1-8b", "h100-sxm-80gb", batch=1, isl=1, osl=1, pp=2))
    with pytest.raises(InputError, match="--pp 2"):
        run(piped, asked_of([0.0], 1, 1))


def test_a_device_that_cannot_hold_the_model_says_so() -> None:
    ready = prepare(inference_scenario("llama-3.1-70b", "rtx-4090", batch=1, isl=1, osl=1))
    with pytest.raises(InputError, match=r"rtx-4090 cannot serve llama-3\.1-70b: weights 141 GB"):
        cache_blocks(ready, ready.scenario.workload.model, 16, 2048, 256)


def test_an_encoder_does_not_take_prompts_in_chunks() -> None:
    ready = prepare(inference_scenario("bert-large", "a100-sxm-80gb", batch=1, isl=1, osl=1))
    with pytest.raises(InputError, match="bert-large is an encoder"):
        step_tables(ready, ready.scenario.workload.model, 64, 8, 512)


def test_states_that_do_not_grow_lie_beside_the_blocks() -> None:
    """A state space model has nothing but them, so that blocks are no limit, and sequences are one."""
    ready = prepare(inference_scenario("mamba-2.8b", "a100-sxm-80gb", batch=1, isl=1, osl=1))
    arch = ready.scenario.workload.model
    assert cache_blocks(ready, arch, 16, 2048, 256) >= 1 << 30
    with pytest.raises(InputError, match="states"):
        cache_blocks(ready, arch, 16, 2048, 100_000)
