"""Whole fleets: what goes in comes out, under load, failures and nonsense; the same every time."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_fleets import ONE, fleet, most_at_once, pool, served, value

from hardware_specs.errors import InputError, UnknownName
from silicost.serving.answer import Answer, fleet_of, load_fleet, serve, shipped_fleets
from silicost.serving.tables import (
    AdaptersTable,
    FailuresTable,
    FailureTable,
    LinkTable,
    PoolTable,
    PrefixTable,
    ScalingTable,
    SessionsTable,
    SpeculationTable,
    StageTable,
    TenantTable,
    TrafficTable,
)
from simulator.bulk.metrics import batch_columns
from simulator.bulk.static_batches import Batches
from simulator.serving.uncertain import scaled_setup

FULL = TrafficTable(rate=400.0, requests=400, isl="uniform:low=20,high=300", osl="uniform:low=1,high=90")


def counted(answer: Answer) -> tuple[float, float, float]:
    """Requests that were completed, rejected and lost; each of them is one of the three."""
    found = tuple(value(answer, name) for name in ("completed", "rejected", "lost"))
    rows = answer.requests
    assert sum(found) == value(answer, "requests") == len(rows["input"])
    assert found[0] == rows["completed"].sum()
    assert not (rows["completed"] & rows["rejected"]).any()
    assert np.isfinite(rows["e2e_s"]).sum() == found[0]
    return found  # type: ignore[return-value]


VARIANTS: dict[str, dict[str, Any]] = {
    "v0": {"scheduler": "vllm-v0"}, "sarathi": {"scheduler": "sarathi"}, "prompts": {"scheduler": "prefill-first"},
    "static": {"scheduler": "static"}, "no-evict": {"scheduler": "no-evict"}, "few blocks": {"kv_blocks": 40},
    "swap": {"kv_blocks": 40, "swap": "1 GB"}, "prefix": {"prefix_cache": PrefixTable(64, "1 GB")},
    "ngram": {"speculation": SpeculationTable(3, 0.6)}, "two": {"replicas": 2, "router": "power-of-two"},
    "pp": {"pp": 2, "count": 2}, "tpu": {"device": "tpu-v5e", "runtime": ""}, "one at once": {"max_num_seqs": 1},
}  # fmt: skip


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_every_request_gets_every_token(changes: dict[str, Any]) -> None:
    answer = served(fleet(pool(**changes), traffic=FULL))
    rows = answer.requests
    assert counted(answer) == (400.0, 0.0, 0.0)
    order = (rows["arrival_s"], rows["scheduled_s"], rows["first_token_s"], rows["last_token_s"])
    for before, after in itertools.pairwise(order):
        assert (before <= after).all()
    assert (rows["first_token_s"] > rows["arrival_s"]).all()
    assert answer.served.jobs.made.tolist() == rows["output"].tolist()
    assert 0.0 < value(answer, "utilisation") <= 1.0 + 1e-12
    assert 0.0 < value(answer, "kv_peak_fraction") <= 1.0
    assert value(answer, "facility_j") >= value(answer, "node_j") >= value(answer, "device_j") > 0.0


def test_little_waiting_is_rate_times_time() -> None:
    answer = served(fleet(pool(max_num_seqs=4), traffic=FULL))
    rows = answer.requests
    waited = float((rows["scheduled_s"] - rows["arrival_s"]).sum()) / value(answer, "duration_s")
    assert value(answer, "waiting_mean") == pytest.approx(waited, rel=1e-9)


@pytest.mark.parametrize("clients", [1, 5, 64, 10_000])
def test_a_closed_loop_has_no_more_requests_than_clients(clients: int) -> None:
    loop = TrafficTable(concurrency=clients, requests=300, isl="64", osl="uniform:low=1,high=60")
    answer = served(fleet(pool(replicas=2), traffic=loop))
    assert counted(answer)[0] == 300
    assert most_at_once(answer.requests["arrival_s"], answer.requests["last_token_s"]) == min(clients, 300)


def test_the_same_seed_is_the_same_run() -> None:
    table = fleet(pool(replicas=2, router="power-of-two", speculation=SpeculationTable(3, 0.6)), traffic=FULL)
    one, same = served(table), served(table)
    for name, column in one.requests.items():
        np.testing.assert_array_equal(column, same.requests[name])
    assert one.found == same.found
    other = served(fleet(*table.pool, traffic=FULL, seed=7))
    assert other.found.outcome.values != one.found.outcome.values


def test_intervals_hold_the_run() -> None:
    answer = served(fleet(slo="ttft=20ms@p90"), intervals=True)
    assert answer.intervals["ttft_s.p99"][0] < answer.intervals["ttft_s.p99"][1]  # type: ignore[operator]
    known = {**answer.found.outcome.values}
    for name, latency in answer.found.outcome.latencies.items():
        known |= {f"{name}.{field}": number for field, number in latency._asdict().items()}
    assert answer.intervals.keys() == known.keys()
    for name, number in known.items():
        low, high = answer.intervals[name]
        if number is not None and low is not None and high is not None:
            assert low <= number <= high, name
    assert served(fleet()).intervals == {}


def test_one_request_is_as_uncertain_as_a_batch_of_one() -> None:
    """Its interval is the one that a static batch of one such sequence has, host included."""
    ready = fleet_of(fleet(pool(scheduler="vllm-v1"), traffic=ONE), "f.toml")
    answer = serve(ready, intervals=True)
    batch = Batches(*(np.array([value], np.int64) for value in (1, 100, 20)))
    columns, _ = batch_columns(ready.pools[0].prepared, batch, ("e2e_s",), intervals=True)
    assert answer.requests["e2e_s"][0] == pytest.approx(columns["e2e_s"][0], rel=0.02)
    ends = answer.intervals["e2e_s.mean"]
    assert ends == pytest.approx((columns["e2e_s.p10"][0], columns["e2e_s.p90"][0]), rel=0.02)


def test_what_moves_with_the_times_of_a_pool() -> None:
    adapters = AdaptersTable(8, 4, 2)
    setup = fleet_of(fleet(pool(adapters=adapters, swap="1 GB", prefix_cache=PrefixTable())), "f.toml").pools[0].setup
    other = scaled_setup(setup, 1.44)
    for field in dataclasses.fields(setup.costs):
        one, two = (getattr(each.costs, field.name) for each in (setup, other))
        factor = 1.44 if field.name.endswith("_s") else 1.2 if field.name.endswith("_j") else 1.0
        assert two == pytest.approx(one * factor), field.name
    assert scaled_setup(setup, 1.0) is setup


def test_no_requests_are_no_latencies() -> None:
    answer = served(fleet(traffic=TrafficTable(rate=1.0, requests=0, isl="10", osl="10")), intervals=True)
    assert counted(answer) == (0.0, 0.0, 0.0)
    assert answer.found.outcome.latencies["ttft_s"].mean is None
    assert answer.found.outcome.values["requests_per_s"] is None
    assert answer.intervals == {}


def test_one_token_has_no_gap() -> None:
    answer = served(fleet(traffic=TrafficTable(rate=5.0, requests=9, isl="1", osl="1")))
    assert counted(answer)[0] == 9
    assert answer.found.outcome.latencies["tpot_s"].mean is None
    assert answer.requests["ttft_s"].tolist() == answer.requests["e2e_s"].tolist()


@pytest.mark.parametrize("changes", [{}, {"context": 64}, {"kv_blocks": 4}])
def test_what_is_longer_than_context_or_cache_is_rejected(changes: dict[str, Any], tmp_path: Path) -> None:
    trace = tmp_path / "t.csv"
    trace.write_text("arrival_s,input,output\n0,50,10\n0.1,5000,10\n0.2,20,5\n")
    answer = served(fleet(pool(**changes), traffic=TrafficTable(trace=str(trace))))
    assert counted(answer) == (2.0, 1.0, 0.0)
    assert answer.requests["rejected"].tolist() == [False, True, False]


def test_an_hour_at_ten_times_what_it_can() -> None:
    slow = pool(device="a100-sxm-80gb", model="llama-2-7b")
    answer = served(fleet(slow, traffic=TrafficTable(rate=130.0, requests=468_000, isl="512", osl="128")))
    assert counted(answer)[0] == 468_000
    assert value(answer, "utilisation") == pytest.approx(1.0)
    most = value(answer, "requests_per_s")
    rows = answer.requests
    # The queue grows evenly: the last request waits for all that the first hour left.
    assert rows["queue_s"][-1] == pytest.approx(468_000 / most - 3600.0, rel=0.02)
    assert 9.0 < 130.0 / most < 11.0


def test_a_full_queue_turns_away() -> None:
    answer = served(fleet(pool(max_num_seqs=2, most_waiting=5), traffic=FULL))
    done, rejected, lost = counted(answer)
    assert lost == 0
    assert done > 10
    assert rejected > 100
    begun_s = np.where(answer.requests["completed"], answer.requests["scheduled_s"], answer.requests["arrival_s"])
    there = answer.requests["completed"]
    assert most_at_once(answer.requests["arrival_s"][there], begun_s[there]) <= 6


def test_replicas_that_fail_for_good_lose_what_is_left() -> None:
    gone = tuple(FailureTable("a", "1 s", replica) for replica in range(3))
    answer = served(fleet(pool(replicas=3), failure=gone))
    done, _, lost = counted(answer)
    assert 10 < done < 30
    assert done + lost == 60
    assert answer.requests["last_token_s"][answer.requests["completed"]].max() < 1.2
    two = served(fleet(pool(replicas=3), failure=gone[:2]))
    assert counted(two) == (60.0, 0.0, 0.0)
    assert set(two.requests["replica"][-20:]) == {2}


def test_nobody_there_from_the_start() -> None:
    assert counted(served(fleet(failure=(FailureTable("a", "0 s"),)))) == (0.0, 0.0, 60.0)


def test_a_replica_that_comes_back_serves_what_waited() -> None:
    answer = served(fleet(failure=(FailureTable("a", "1 s", lasts="2 s"),)))
    assert counted(answer)[0] == 60
    assert answer.found.outcome.latencies["ttft_s"].p99 == pytest.approx(2.0, abs=0.1)
    often = served(fleet(pool(failures=FailuresTable("1 s", "100 ms")), traffic=FULL))
    assert sum(counted(often)[:2]) == 400
    assert value(often, "retries") > 0


def test_a_pool_that_scales() -> None:
    busy = TrafficTable(rate=100.0, requests=3000, isl="200", osl="60")
    small = pool(max_num_seqs=8, router="least-outstanding")
    alone = served(fleet(small, traffic=busy))
    grows = pool(max_num_seqs=8, router="least-outstanding", autoscale=ScalingTable(1, 4, 8.0, "1 s", "5 s"))
    grown = served(fleet(grows, traffic=busy))
    assert counted(grown)[0] == counted(alone)[0] == 3000
    assert grown.requests["e2e_s"].mean() < 0.7 * alone.requests["e2e_s"].mean()
    assert 1.1 < grown.found.pools[0].active_s / value(grown, "duration_s") <= 4.0
    figures = grown.found.pools[0]
    assert figures.replicas_mean == pytest.approx(figures.active_s / value(grown, "duration_s"), rel=1e-3)
    assert 2 <= figures.replicas_peak <= 4
    assert alone.found.pools[0].replicas_mean == pytest.approx(1.0)
    assert alone.found.pools[0].replicas_peak == 1


def test_tenants() -> None:
    tenants = (
        TenantTable("gold", 0.25, 0, "ttft=200ms"), TenantTable("free", 0.75, 1, deadline="1500 ms"),
    )  # fmt: skip
    steady = TrafficTable(rate=60.0, requests=400, isl=FULL.isl, osl=FULL.osl)
    answer = served(fleet(pool(max_num_seqs=4, order="priority", drop_late=True), traffic=steady, tenant=tenants))
    done, rejected, _ = counted(answer)
    assert done + rejected == 400
    assert rejected > 0
    found = answer.found.tenants
    assert found["gold"]["requests"] == (answer.requests["tenant"] == 0).sum() == pytest.approx(100, abs=30)
    assert found["gold"]["ttft_s.p99"] < found["free"]["ttft_s.p99"]  # type: ignore[operator]
    assert found["free"]["slo_attainment"] is None
    late = answer.requests["scheduled_s"] - answer.requests["arrival_s"] > 1.5 + 1e-9
    assert not (late & (answer.requests["tenant"] == 1) & answer.requests["completed"]).any()


def test_goodput_counts_what_keeps_every_bound() -> None:
    answer = served(fleet(pool(max_num_seqs=4), traffic=FULL, slo="ttft=500ms@p90,e2e=1s@p90"))
    rows = answer.requests
    good = ((rows["ttft_s"] <= 0.5) & (rows["e2e_s"] <= 1.0)).sum()
    assert 0 < good < 400
    assert value(answer, "slo_attainment") == good / 400
    assert value(answer, "goodput_requests_per_s") == pytest.approx(good / value(answer, "duration_s"))


def test_pools_that_share_a_device_take_turns() -> None:
    def shared(name: str) -> PoolTable:
        return pool(name, shares="card", memory_utilization=0.4, max_num_seqs=8)

    stages = (StageTable("a", name="x", output="20"), StageTable("b", name="y"))
    answer = served(fleet(shared("a"), shared("b"), traffic=FULL, stage=stages))
    apart = served(fleet(pool("a", max_num_seqs=8), pool("b", max_num_seqs=8), traffic=FULL, stage=stages))
    assert counted(answer)[0] == 400
    busy_s = sum(found.busy_s for found in answer.found.pools)
    assert busy_s <= value(answer, "duration_s") * (1.0 + 1e-9)
    assert value(answer, "duration_s") > value(apart, "duration_s")
    assert value(answer, "usd") < value(apart, "usd")


def test_pools_that_share_a_device_use_no_more_than_one_device() -> None:
    """Two stages that take turns on one device, as two pools or as one: the same joules, dollars and use."""
    once = TrafficTable(concurrency=1, requests=20, isl="100", osl="20")
    half = {"memory_utilization": 0.4, "kv_blocks": 500}
    two = [pool(name, shares="card", **half) for name in "ab"]
    links = (LinkTable(("a", "b"), bandwidth="1e9 GB/s", latency="0 s"),)
    stages = [(StageTable("a", name="x", output="20"), StageTable(y, name="y", bytes="0 B")) for y in "ba"]
    shared = served(fleet(*two, traffic=once, stage=stages[0], link=links))
    one = served(fleet(pool("a", **half), traffic=once, stage=stages[1]))
    assert value(shared, "utilisation") == pytest.approx(1.0, abs=1e-3)
    for name in ("duration_s", "device_j", "node_j", "usd", "utilisation"):
        assert value(shared, name) == pytest.approx(value(one, name), rel=1e-6), name
    for name in ("mfu", "mbu"):
        both = sum(getattr(found, name) for found in shared.found.pools)
        assert both == pytest.approx(getattr(one.found.pools[0], name), rel=0.05)
        assert both < 1.0
    watts = sum(series.columns["power_w"] for series in shared.series)
    joules = (watts * np.diff(shared.series[0].end_s, prepend=0.0)).sum()
    assert joules == pytest.approx(value(one, "device_j"), rel=0.05)


@pytest.mark.parametrize("name", shipped_fleets())
def test_shipped_fleets_are_served(name: str) -> None:
    table, place = load_fleet(name)
    assert place == f"{name}.toml"
    assert table.title
    assert table.slo or any(tenant.slo for tenant in table.tenant)


TRAFFIC: tuple[tuple[dict[str, Any], str], ...] = (
    ({"rate": None}, "give one of --rate, --concurrency and --trace; none is given"),
    ({"concurrency": 4}, "--rate and --concurrency are given"),
    ({"rate": -1.0}, r"rate -1\.0 must be above 0"),
    ({"rate": None, "concurrency": -1}, "--concurrency -1: must be a whole number from 1"),
    ({"arrivals": "poison"}, "--arrivals: unknown arrivals 'poison'; did you mean 'poisson'"),
    ({"arrivals": "closed:concurrency=3"}, "a closed loop has no rate"),
    ({"burstiness": 0.0}, "burstiness"),
    ({"requests": -1}, "--requests -1: must be a whole number from 1"),
    ({"requests": 10**9}, "--requests 1000000000: must be"),
    ({"isl": ""}, "--isl and --osl say how long prompts and answers are"),
    ({"isl": "0"}, "--isl: '0' must be a whole number of tokens"),
    ({"osl": "lognormal:mean=100,p99=1e6"}, "--osl: lognormal: p99 '1e6' of mean '100' is impossible"),
    ({"isl": "absent.csv"}, r"absent\.csv: no such file"),
    ({"trace_format": "azure"}, "--trace-format and --speedup: only a trace has them"),
    ({"speedup": 2.0}, "--trace-format and --speedup: only a trace has them"),
    ({"rate": None, "trace": "absent.csv"}, r"absent\.csv: no such file"),
    ({"rate": None, "trace": "absent.csv", "speedup": 0.0}, "--speedup 0: must be above zero"),
    ({"rate": None, "trace": "x.csv", "sessions": SessionsTable("3")}, "sessions: a trace has its own requests"),
    ({"sessions": SessionsTable("0")}, r"sessions\.turns: '0' must be"),
    ({"sessions": SessionsTable("3", "-1 s")}, r"sessions\.think: '-1 s' must be a time from 0 on"),
    ({"sessions": SessionsTable("3", "1 s", -5)}, "system prompt -5"),
    ({"sessions": SessionsTable("3", "1 s", 0, 10)}, "no turn fits into 10 tokens"),
)  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), TRAFFIC, ids=lambda case: str(case)[:60])
def test_traffic_that_cannot_be(changes: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"rate": 20.0, "requests": 60, "isl": "64", "osl": "16"} | changes
    with pytest.raises(InputError, match=said) as caught:
        fleet_of(fleet(traffic=TrafficTable(**given)), "f.toml")
    assert str(caught.value).startswith("f.toml: traffic")


FLEETS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"seed": -1}, "seed -1: must be a whole number from 0 to"),
    ({"seed": 2**63}, "seed 9223372036854775808: must be"),
    ({"site": "mars"}, "unknown site 'mars'"),
    ({"slo": "ttfx=5s"}, r"slo 'ttfx': unknown latency; did you mean 'ttft'"),
    ({"slo": "ttft=5"}, "slo ttft: '5' has no unit"),
    ({"tenant": (TenantTable("x", 0.5),)}, r"shares of tenants add up to 0\.5; they must be 1 together"),
    ({"tenant": (TenantTable("x", 0.5), TenantTable("x", 0.5))}, "tenant x: is there twice"),
    ({"tenant": (TenantTable("", 1.0),)}, "a tenant must have a name"),
    ({"tenant": (TenantTable("x", 1.5),)}, r"tenant x: share 1\.5: must be above 0 and at most 1"),
    ({"tenant": (TenantTable("x", 1.0, 64),)}, r"tenant x: priority 64: must be from 0 \(goes first\) to 63"),
    ({"tenant": (TenantTable("x", 1.0, slo="bad"),)}, "tenant x: slo 'bad': must be as ttft=500ms@p99"),
    ({"tenant": (TenantTable("x", 1.0, deadline="soon"),)}, "tenant x: deadline: 'soon' is no quantity"),
    ({"tenant": (TenantTable("x", 1.0, deadline="-1 s"),)}, "tenant x: deadline: '-1 s' must be above zero"),
    ({"failure": (FailureTable("aa", "1 s"),)}, r"failure 1: unknown pool 'aa'; did you mean 'a'\? \(allowed: a\)"),
    ({"failure": (FailureTable("a", "1 s", 3),)}, "failure 1: replica 3: a has replicas 0 to 0"),
    ({"failure": (FailureTable("a", "-1 s"),)}, "failure 1: at '-1 s': must be zero or more"),
    ({"failure": (FailureTable("a", ""),)}, "failure 1: at: '' is no quantity"),
    ({"failure": (FailureTable("a", "1 s", 0, "0 s"),)}, "failure 1: lasts: '0 s' must be above zero"),
)  # fmt: skip


def test_a_single_pipeline_stage_does_not_fail() -> None:
    with pytest.raises(InputError, match=r"failure 1: replicas of several pipeline stages \(pp 2\) do not fail"):
        served(fleet(pool(pp=2, count=2), failure=(FailureTable("a", "1 s"),)))


@pytest.mark.parametrize(("changes", "said"), FLEETS, ids=lambda case: str(case)[:60])
def test_fleets_that_cannot_be(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        served(fleet(traffic=ONE, **changes))
    assert str(caught.value).startswith("f.toml: ")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"router": "robin"}, r"pool a: unknown router 'robin'; did you mean 'round-robin'\? \(allowed: round-robin"),
        ({"order": "lifo"}, r"pool a: unknown order 'lifo' \(allowed: fcfs, priority, deadline\)"),
        ({"speculation": SpeculationTable(4, 1.5)}, r"pool a: acceptance 1\.5: must be from 0 to 1"),
        ({"kv_blocks": -1}, "pool a: blocks -1: must be a whole number"),
        ({"kv_blocks": 10**12}, "pool a: --kv-blocks 1000000000000: must be at most [0-9]+: so many of 16 tokens"),
        ({"swap": "1 GB", "prefix_cache": PrefixTable()}, "pool a: blocks are kept by name .* or swapped, not both"),
    ],
)
def test_what_the_compiled_fleet_refuses_is_placed_too(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=f"f.toml: {said}"):
        served(fleet(pool(**changes), traffic=ONE))


def test_too_many_jobs() -> None:
    many = fleet(traffic=TrafficTable(rate=1.0, requests=600, isl="9", osl="2"), stage=(StageTable("a", fanout=10**5),))
    with pytest.raises(InputError, match="600 requests of 100000 jobs: at most 50000000 jobs in all"):
        served(many)


def test_names_of_fleets() -> None:
    with pytest.raises(UnknownName, match="unknown fleet 'costumer-service'; did you mean 'customer-service'"):
        load_fleet("costumer-service")
    with pytest.raises(InputError, match=r"absent\.toml: cannot be read"):
        load_fleet("absent.toml")


def test_files_lie_beside_the_fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "day.csv").write_text("arrival_s,input,output\n0,50,10\n")
    (tmp_path / "long.csv").write_text("input,output\n30,5\n30,5\n")
    pools = '[[pool]]\ndevice = "l4"\nmodel = "smollm-135m"\n'
    (tmp_path / "one.toml").write_text(f'[traffic]\ntrace = "day.csv"\n{pools}')
    (tmp_path / "two.toml").write_text(f'[traffic]\nrate = 1.0\nrequests = 4\nisl = "long.csv"\n{pools}')
    monkeypatch.chdir("/")
    assert fleet_of(*load_fleet(str(tmp_path / "one.toml"))).traffic.input.tolist() == [50]
    traffic = fleet_of(*load_fleet(str(tmp_path / "two.toml"))).traffic
    assert (traffic.input.tolist(), traffic.output.tolist()) == ([30] * 4, [5] * 4)


def test_tables_are_read_strictly(tmp_path: Path) -> None:
    file = tmp_path / "f.toml"
    for text, said in (
        ("", "f.toml: missing keys 'pool', 'traffic'"),
        ('[traffic]\nrate = "x"\n', r"f\.toml: traffic\.rate: must be a number, not 'x'"),
        ("[traffic]\nrates = 1\n", r"f\.toml: traffic\.rates: unknown key; did you mean 'rate'"),
        ('[[pool]]\ndevice = "l4"\nmodell = "x"\n', r"pool\[0\]\.modell: unknown key; did you mean 'model'"),
        ("[[pool]]\nreplicas = 1.5\n", r"pool\[0\]\.replicas: must be a whole number, not 1\.5"),
        ('[[pool]]\ndevice = "l4"\nautoscale = { least = 1 }\n', r"pool\[0\]\.autoscale: missing keys 'most', 'outsta"),
        ("[traffic]\nrate = inf\n", r"traffic\.rate: must be a number, not inf"),
        ("[traffic\n", "not valid TOML"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=said):
            load_fleet(str(file))


def test_devices_are_accounted_for_as_long_as_they_work() -> None:
    encoder = pool("e", model="bge-base-en-v1.5")
    stages = (StageTable("e", name="x", input="300", fanout=4), StageTable("a", name="y"))
    answer = served(fleet(pool("a", most_waiting=1, max_num_seqs=1), encoder, traffic=FULL, stage=stages))
    done, rejected, _ = counted(answer)
    assert done > 1
    assert rejected > 1
    for found in answer.found.pools:
        assert found.utilisation is not None
        assert 0.0 < found.utilisation <= 1.0 + 1e-9
        assert found.active_s >= value(answer, "duration_s")
    one = served(
        fleet(failure=(FailureTable("a", "1 s"),), traffic=TrafficTable(rate=50.0, requests=90, isl="9", osl="99"))
    )
    assert one.found.pools[0].busy_s <= one.found.pools[0].active_s * (1.0 + 1e-9)


def test_a_timeline_counts_what_the_run_does() -> None:
    grows = pool(max_num_seqs=8, autoscale=ScalingTable(1, 4, 8.0, "1 s", "2 s"), kv_blocks=200)
    answer = served(fleet(grows, traffic=TrafficTable(rate=100.0, requests=1500, isl="200", osl="60")))
    (series,) = answer.series
    assert series.columns["kv_fraction"].max() <= 1.0
    assert series.columns["busy_replicas"].max() > 1.5


def test_pipeline_stages_count_what_their_replica_runs() -> None:
    """Little: those that run and wait on average are the rate times the time of each."""
    traffic = TrafficTable(rate=20.0, requests=2000, isl="200", osl="50")
    answer = served(fleet(pool(count=2, tp=1, pp=2), traffic=traffic))
    found = answer.found.outcome
    inside = value(answer, "running_mean") + value(answer, "waiting_mean")
    mean = found.latencies["e2e_s"].mean
    assert mean is not None
    assert inside == pytest.approx(value(answer, "requests_per_s") * mean, rel=0.02)
