"""Rates without the ramp and the drain of a run."""

from __future__ import annotations

import pytest
from small_fleets import fleet, pool, served, value

from silicost.serving.tables import LinkTable, ScalingTable, StageTable, TrafficTable
from simulator.serving.steady import COSTS, RATES


def test_a_loop_of_one_client_is_steady_all_along() -> None:
    answer = served(
        fleet(pool(price="1 USD/h"), traffic=TrafficTable(concurrency=1, requests=200, isl="100", osl="20"))
    )
    alone_s = float(answer.requests["e2e_s"][0])
    assert value(answer, "steady_requests_per_s") == pytest.approx(1.0 / alone_s, rel=0.01)
    assert value(answer, "steady_output_tokens_per_s") == pytest.approx(20.0 / alone_s, rel=0.01)
    assert value(answer, "steady_j_per_output_token") == pytest.approx(value(answer, "j_per_output_token"), rel=0.02)
    assert value(answer, "steady_usd_per_million_output_tokens") == pytest.approx(
        alone_s / 3600.0 / 20.0 * 1e6, rel=0.01
    )


def test_a_short_run_gives_the_rates_of_a_long_one() -> None:
    def of(requests: int) -> dict[str, float]:
        traffic = TrafficTable(concurrency=16, requests=requests, isl="100", osl="uniform:low=40,high=60")
        answer = served(fleet(traffic=traffic))
        names = ("output_tokens_per_s", "j_per_output_token", *RATES, *COSTS)
        return {name: value(answer, name) for name in names}

    short, long_ = of(150), of(6000)
    assert short["output_tokens_per_s"] < 0.95 * long_["output_tokens_per_s"]
    for name in (*RATES[1:], *COSTS):
        assert short[name] == pytest.approx(long_[name], rel=0.04), name
    for kind in ("output_tokens_per_s", "j_per_output_token"):
        assert long_[f"steady_{kind}"] == pytest.approx(long_[kind], rel=0.02)


def test_what_is_not_steady_has_a_reason() -> None:
    at_once = served(fleet(traffic=TrafficTable(rate=1e6, requests=100, isl="100", osl="50"))).found.outcome
    for name in (*RATES, *COSTS):
        assert at_once.values[name] is None
        assert "too short" in at_once.reasons[name]
    grows = pool(autoscale=ScalingTable(1, 2, 8.0))
    scaled = served(fleet(grows, traffic=TrafficTable(rate=5.0, requests=100, isl="100", osl="5"))).found.outcome
    assert [scaled.values[name] is None for name in (*RATES, *COSTS)] == [False, False, True, True]
    assert "scales" in scaled.reasons["steady_j_per_output_token"]
    free = served(fleet(pool(device="tpu-v5e", runtime="", price=""))).found.outcome
    assert ("usd" in free.reasons) == ("steady_usd_per_million_output_tokens" in free.reasons)


def test_ports_are_busy_for_as_long_as_they_carry() -> None:
    link = (LinkTable(("a", "b"), bandwidth="1 GB/s", latency="0 s"),)
    answer = served(fleet(pool("a"), pool("b"), stage=(StageTable("a", decode="b"),), link=link))
    (found,) = answer.found.links
    assert found.carried_bytes > 0.0
    assert found.port_busy_share == pytest.approx(found.carried_bytes / 1e9 / value(answer, "duration_s"), rel=1e-6)
