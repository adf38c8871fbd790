"""The highest rate of a fleet: theory, other paths to the same, what more replicas and looser bounds do."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy.optimize import brentq
from small_fleets import fleet, pool

from hardware_specs.errors import InputError
from silicost.serving.answer import asked_of, fleet_of, run_jobs, serve
from silicost.serving.capacity import Capacity, capacity_of, replicas_for, usd_per_hour
from silicost.serving.capacity_runs import at_rate, is_plain, judge, ready, rows_of, with_replicas
from silicost.serving.tables import (
    FailuresTable,
    FleetTable,
    PrefixTable,
    ScalingTable,
    SessionsTable,
    StageTable,
    TenantTable,
    TrafficTable,
)
from simulator.serving.capacity import highest_rate
from simulator.serving.fleet_outcome import request_table

FIXED = TrafficTable(isl="200", osl="30", requests=4000)
MIXED = TrafficTable(isl="uniform:low=20,high=300", osl="uniform:low=1,high=60", requests=4000)
SLO = "ttft=100ms@p99,tpot=20ms@p90"


def found(table: FleetTable, **more: Any) -> Capacity:
    return capacity_of(table, "f.toml", **({"intervals": False} | more))


def alone_s(table: FleetTable) -> float:
    """What one request takes."""
    single = msgspec.structs.replace(table.traffic, requests=1, rate=1.0)
    answer = serve(fleet_of(msgspec.structs.replace(table, traffic=single), "f.toml"), intervals=False)
    return float(answer.requests["e2e_s"][0])


def test_the_mean_wait_of_one_server_at_a_time() -> None:
    """M/D/1: W = rho D / (2 (1 - rho)) (Pollaczek 1930, Khinchine 1932)."""
    table = fleet(pool(max_num_seqs=1), traffic=msgspec.structs.replace(FIXED, requests=60_000), slo=SLO)
    service_s = alone_s(table)
    subject = ready(table, "f.toml")
    for wait in (0.5, 2.0):

        def over(rate: float, bound: float = wait * service_s) -> tuple[str, ...]:
            queue_s = rows_of(at_rate(subject, rate), (1.0,))["queue_s"]
            return ("queue",) if float(np.mean(queue_s)) > bound else ()

        rate = highest_rate(over, 1.0 / service_s, below=()).rate_per_s
        assert rate * service_s == pytest.approx(2.0 * wait / (1.0 + 2.0 * wait), rel=0.015)


def test_a_quantile_of_the_wait_of_one_server_at_a_time() -> None:
    """M/D/1: P(W <= t) = (1 - rho) exp(lambda t) for t <= D (Erlang 1909)."""
    table = fleet(pool(max_num_seqs=1), traffic=msgspec.structs.replace(FIXED, requests=None))
    service_s = alone_s(table)
    table = msgspec.structs.replace(table, slo=f"queue={0.5 * service_s:.9f}s@p50")
    rho = brentq(lambda load: (1.0 - load) * math.exp(0.5 * load) - 0.5, 0.0, 1.0)
    capacity = found(table)
    assert capacity.subject.requests >= 10_000
    assert capacity.rate_per_s * service_s == pytest.approx(rho, rel=0.03)
    assert capacity.highest.binds == ("queue@p50",)


def test_the_rate_holds_when_it_is_served_and_the_one_above_does_not() -> None:
    capacity = found(fleet(pool(), traffic=MIXED, slo=SLO))
    low, high = capacity.rate_per_s, capacity.highest.above_per_s
    assert 0.0 < low < high <= low * 1.01 * (1.0 + 1e-12)
    subject = capacity.subject.fleet
    assert (judge(subject, low, (1.0,)), judge(subject, high, (1.0,))) == ((), capacity.highest.binds)
    assert capacity.latencies["ttft_s"].p99 is not None
    assert capacity.latencies["ttft_s"].p99 <= 0.105
    assert usd_per_hour(capacity.answer) == pytest.approx(1.0)  # type: ignore[arg-type]
    assert capacity.answer is not None
    assert capacity.answer.found.outcome.values["requests"] == 4000


def test_lengths_stay_and_gaps_scale() -> None:
    subject = ready(fleet(pool(), traffic=MIXED, slo=SLO), "f.toml")
    slow, fast = at_rate(subject, 2.0).traffic, at_rate(subject, 16.0).traffic
    np.testing.assert_array_equal(slow.input, fast.input)
    np.testing.assert_array_equal(slow.output, fast.output)
    np.testing.assert_array_equal(slow.arrival_s, 8.0 * fast.arrival_s)


@pytest.mark.parametrize("router", ["round-robin", "least-outstanding", "power-of-two"])
def test_both_paths_say_the_same(router: str) -> None:
    there = at_rate(ready(fleet(pool(replicas=3, router=router), traffic=MIXED, slo=SLO), "f.toml"), 150.0)
    assert is_plain(there)
    placed, requests = asked_of(there)
    slow = request_table(run_jobs(there, placed, (1.3,)), requests)
    fast = rows_of(there, (1.3,))
    for name in ("queue_s", "ttft_s", "tpot_s", "e2e_s", "completed"):
        np.testing.assert_array_equal(fast[name], slow[name])


ODD: list[dict[str, Any]] = [
    {"scheduler": "prefill-first"}, {"router": "session"}, {"prefix_cache": PrefixTable()}, {"most_waiting": 9},
    {"swap": "1 GB"}, {"order": "deadline"}, {"drop_late": True}, {"failures": FailuresTable("1 h", "60 s")},
    {"autoscale": ScalingTable(1, 3, 4.0)},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: next(iter(odd)))
def test_what_the_fast_path_does_not_know_goes_the_other(odd: dict[str, Any]) -> None:
    assert not is_plain(ready(fleet(pool(**odd), traffic=MIXED, slo=SLO), "f.toml"))


def test_more_replicas_serve_more() -> None:
    one = found(fleet(pool(), traffic=msgspec.structs.replace(MIXED, requests=8000), slo=SLO)).rate_per_s
    for router in ("round-robin", "least-outstanding"):
        four = found(fleet(pool(replicas=4, router=router), traffic=msgspec.structs.replace(MIXED, requests=16_000),
                           slo=SLO)).rate_per_s  # fmt: skip
        assert four >= 4.0 * one * 0.97


def test_a_looser_bound_is_no_lower_rate() -> None:
    rates = [found(fleet(pool(), traffic=MIXED, slo=f"ttft={bound}ms@p99,tpot={gap}ms@p90")).rate_per_s
             for bound, gap in ((60, 10), (100, 10), (100, 20), (400, 40))]  # fmt: skip
    assert rates == sorted(rates)
    assert rates[0] < 0.95 * rates[-1]


def test_the_same_question_has_the_same_answer() -> None:
    table = fleet(pool(), traffic=MIXED, slo=SLO)
    one, two = found(table, intervals=True), found(table, intervals=True)
    assert (one.highest, one.interval, one.latencies) == (two.highest, two.interval, two.latencies)
    assert one.interval is not None
    assert one.interval[0] < one.rate_per_s < one.interval[1]
    other = found(msgspec.structs.replace(table, seed=1))
    assert other.rate_per_s != one.rate_per_s
    assert other.rate_per_s == pytest.approx(one.rate_per_s, rel=0.1)


def test_an_overload_is_no_capacity() -> None:
    """A bound on gaps alone is kept by any overload once the batch is full; the queue tells it."""
    capacity = found(fleet(pool(max_num_seqs=4), traffic=msgspec.structs.replace(FIXED, requests=None),
                           slo="tpot=10s@p99"))  # fmt: skip
    assert capacity.rate_per_s == pytest.approx(capacity.subject.saturated_per_s, rel=0.04)
    assert capacity.highest.binds == ("overload",)


def test_a_short_run_says_so() -> None:
    few = found(fleet(pool(), traffic=msgspec.structs.replace(MIXED, requests=300), slo=SLO))
    assert any("300 requests: a p99 of few" in note for note in few.notes)
    assert any("in which an overload of 1% shows" in note for note in few.notes)
    enough = found(fleet(pool(), traffic=msgspec.structs.replace(MIXED, requests=None), slo=SLO))
    assert enough.notes == ()


def test_a_short_run_hides_no_overload() -> None:
    """Requests that are over before the queue is as long as the bound are no reason for a rate that cannot last."""
    short = found(fleet(pool(), traffic=msgspec.structs.replace(MIXED, requests=200), slo="ttft=1h,tpot=1h"),
                  intervals=True)  # fmt: skip
    assert short.rate_per_s == short.subject.saturated_per_s
    assert short.highest.binds == ("overload",)
    assert short.interval is not None and short.interval[0] <= short.rate_per_s <= short.interval[1]
    assert len(short.doubts) == 1 and short.doubts[0] in short.notes
    twice = replicas_for(short, 2.0 * short.rate_per_s)
    assert twice is not None and twice.replicas >= 2


def test_bounds_that_nothing_breaks_have_no_capacity_to_tell() -> None:
    traffic = msgspec.structs.replace(MIXED, requests=200, arrivals="bursts:factor=2,lasts=1 s,every=5 s")
    wide = found(fleet(pool(), traffic=traffic, slo="ttft=1h,tpot=1h"), intervals=True)
    assert (wide.highest.above_per_s, wide.interval) == (math.inf, None)
    assert any("no rate that was tried breaks the objectives" in note for note in wide.notes)


def test_what_no_rate_holds_says_why() -> None:
    slow = found(fleet(pool(), traffic=MIXED, slo="ttft=1us@p99"))
    assert (slow.rate_per_s, slow.answer, slow.why[0]) == (0.0, None, "slo")
    assert "ttft@p99 is" in slow.why[1]
    assert "requests that have the fleet for themselves break it" in slow.why[1]
    assert replicas_for(slow, 5.0) is None
    long = found(fleet(pool(context=100), traffic=MIXED, slo=SLO))
    assert long.why[0] == "rejected"
    assert "longer than the context or the cache" in long.why[1]


def test_the_replicas_that_a_rate_needs() -> None:
    capacity = found(fleet(pool(), traffic=MIXED, slo=SLO))
    rate = 3.4 * capacity.rate_per_s
    needed = replicas_for(capacity, rate)
    assert needed is not None
    assert 3 <= needed.replicas <= 5
    subject = capacity.subject.fleet
    sized = {number: with_replicas(subject, {"a": number}) for number in (needed.replicas - 1, needed.replicas)}
    assert not judge(sized[needed.replicas], rate, (1.0,))
    assert judge(sized[needed.replicas - 1], rate, (1.0,))
    assert usd_per_hour(needed.answer) == pytest.approx(needed.replicas)
    alone = replicas_for(capacity, 0.5 * capacity.rate_per_s)
    assert alone is not None
    assert alone.replicas == 1


@pytest.mark.parametrize("plan", [{}, {"pp": 2, "count": 2}], ids=["whole", "pipeline"])
def test_other_numbers_of_replicas_are_another_fleet_to_the_bit(plan: dict[str, Any]) -> None:
    subject = ready(fleet(pool(**plan), traffic=MIXED, slo=SLO), "f.toml")
    grown = at_rate(with_replicas(subject, {"a": 3}), 100.0)
    built = at_rate(ready(fleet(pool(replicas=3, **plan), traffic=MIXED, slo=SLO), "f.toml"), 100.0)
    np.testing.assert_array_equal(rows_of(grown, (1.0,))["e2e_s"], rows_of(built, (1.0,))["e2e_s"])


def test_pools_of_their_own_for_prompts_and_answers() -> None:
    table = fleet(pool("p"), pool("d"), traffic=msgspec.structs.replace(MIXED, requests=2000),
                  stage=(StageTable("p", decode="d"),), slo=SLO)  # fmt: skip
    capacity = found(table)
    assert capacity.rate_per_s > 0.0
    two = found(msgspec.structs.replace(table, pool=(pool("p", replicas=2), pool("d", replicas=2))))
    assert two.rate_per_s > 1.6 * capacity.rate_per_s
    with pytest.raises(InputError, match="--find disaggregated"):
        replicas_for(capacity, 5.0)


def test_tenants_and_conversations() -> None:
    tenants = (TenantTable("chat", 0.5, slo="ttft=100ms@p99"), TenantTable("batch", 0.5, slo="ttft=500ms@p99"))
    strict = found(fleet(pool(), traffic=msgspec.structs.replace(MIXED, requests=None), slo="ttft=500ms@p99"))
    mixed = found(fleet(pool(), traffic=msgspec.structs.replace(MIXED, requests=None), tenant=tenants))
    assert 0.0 < mixed.rate_per_s <= strict.rate_per_s
    assert mixed.highest.binds == ("chat: ttft@p99",)
    talk = TrafficTable(isl="20", osl="10", sessions=SessionsTable("4", "100 ms"))
    capacity = found(fleet(pool(), traffic=talk, slo=SLO))
    assert capacity.notes == ()
    assert capacity.answer is not None
    per_s = capacity.answer.found.outcome.values["requests_per_s"]
    assert per_s == pytest.approx(4.0 * capacity.rate_per_s, rel=0.1)
    assert capacity.subject.saturated_per_s < 3.0 * capacity.rate_per_s


def test_bursts_are_in_every_run() -> None:
    bursts = TrafficTable(isl="200", osl="30", arrivals="bursts:factor=8,lasts=5 s,every=40 s")
    capacity = found(fleet(pool(max_num_seqs=8), traffic=bursts, slo="ttft=300ms@p99"))
    assert capacity.answer is not None
    assert capacity.answer.requests["arrival_s"][-1] == pytest.approx(400.0, rel=0.35)
    steady = msgspec.structs.replace(bursts, arrivals="poisson", requests=4000)
    assert (
        capacity.rate_per_s < 0.5 * found(fleet(pool(max_num_seqs=8), traffic=steady, slo="ttft=300ms@p99")).rate_per_s
    )


def test_a_rate_that_changes_has_its_peaks_in_every_run() -> None:
    waves = TrafficTable(isl="200", osl="30", arrivals="diurnal:peak=1.8,period=100 s")
    steady = msgspec.structs.replace(waves, arrivals="poisson", requests=5000)
    slo = "ttft=200ms@p99"
    changing, flat = found(fleet(pool(), traffic=waves, slo=slo)), found(fleet(pool(), traffic=steady, slo=slo))
    assert changing.rate_per_s == pytest.approx(flat.rate_per_s / 1.8, rel=0.12)
    assert changing.answer is not None
    assert changing.answer.found.outcome.values["duration_s"] == pytest.approx(100.0, rel=0.1)
    with pytest.raises(InputError, match="a rate that changes needs a bound on ttft, queue, e2e"):
        found(fleet(pool(), traffic=waves, slo="tpot=20ms"))


def test_a_trace_is_played_faster(tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.exponential(0.5, 2000))
    lines = ["arrival_s,input,output", *(f"{at:.6f},200,30" for at in times)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    trace = TrafficTable(trace=str(tmp_path / "t.csv"), trace_format="csv")
    played = found(fleet(pool(), traffic=trace, slo=SLO))
    drawn = found(fleet(pool(), traffic=msgspec.structs.replace(FIXED, requests=2000), slo=SLO))
    assert played.rate_per_s == pytest.approx(drawn.rate_per_s, rel=0.1)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (fleet(pool(), traffic=MIXED), "a capacity needs objectives"),
        (fleet(pool(), traffic=msgspec.structs.replace(MIXED, concurrency=4), slo=SLO), "a closed loop has no rate"),
        (fleet(pool(), traffic=msgspec.structs.replace(MIXED, requests=0), slo=SLO), "--requests"),
        (fleet(pool(), traffic=TrafficTable(), slo=SLO), "--isl and --osl"),
    ],
)
def test_what_is_refused(table: FleetTable, said: str) -> None:
    with pytest.raises(InputError, match=said):
        found(table)


def test_a_pool_that_scales_has_no_number() -> None:
    table = fleet(pool(autoscale=ScalingTable(1, 3, 4.0)), traffic=msgspec.structs.replace(MIXED, requests=500),
                  slo="ttft=2s@p90")  # fmt: skip
    capacity = found(table)
    assert capacity.rate_per_s > 0.0
    with pytest.raises(InputError, match="scales itself"):
        replicas_for(capacity, 5.0)
