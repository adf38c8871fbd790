"""Replicas for prompts and for answers: the numbers hold, fewer do not, and whether they pay is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from small_fleets import fleet, pool

from silicost.serving.answer import fleet_of
from silicost.serving.capacity import capacity_of
from silicost.serving.capacity_runs import at_rate, judge, saturated_of, with_replicas
from silicost.serving.capacity_split import Sized, _least, _walked, find_split
from silicost.serving.tables import FleetTable, StageTable, TrafficTable

TRAFFIC = TrafficTable(isl="900", osl="20", requests=2000)


def pair(**more: Any) -> FleetTable:
    given = {"slo": "ttft=100ms@p99,tpot=6ms@p99"} | more
    return fleet(pool("prefill", device="l4"), pool("decode", device="l4"), traffic=TRAFFIC,
                 stage=(StageTable("prefill", decode="decode"),), **given)  # fmt: skip


@pytest.mark.parametrize("needs", [(3, 2), (1, 5), (4, 4), (1, 1)])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (5.0, 1.0), (1.0, 5.0)])
def test_the_walk_finds_the_cheapest(needs: tuple[int, int], weights: tuple[float, float]) -> None:
    both = max(needs)
    found = _walked(lambda p, d: p >= needs[0] and d >= needs[1], both, weights, lambda: False)
    assert found == needs


@pytest.mark.parametrize(("weights", "best"), [((1.0, 1.0), 6), ((4.0, 1.0), 8), ((1.0, 4.0), 8)])
def test_the_walk_trades_one_for_the_other(weights: tuple[float, float], best: int) -> None:
    def holds(prompts: int, answers: int) -> bool:
        return prompts * answers >= 8

    found = _walked(holds, 4, weights, lambda: False)
    cheapest = min(
        (p * weights[0] + d * weights[1] for p in range(1, 5) for d in range(1, 5) if holds(p, d)), default=0.0
    )
    assert found[0] * weights[0] + found[1] * weights[1] == cheapest
    assert _least(lambda number: number >= best, 20) == best


def test_the_numbers_hold_and_fewer_do_not() -> None:
    found = find_split(pair(), ["l4"], ["l4"], 90.0)
    assert (len(found.split), len(found.whole), found.refused) == (1, 1, ())
    best = found.split[0]
    numbers = {name: count for name, (_, count) in best.pools.items()}
    assert judged(numbers, 90.0) == ()
    for name in numbers:
        if numbers[name] > 1:
            assert judged({**numbers, name: numbers[name] - 1}, 90.0)
    assert best.figures["usd_per_hour"] == pytest.approx(sum(numbers.values()))
    assert best.devices == sum(numbers.values())
    assert found.whole[0].figures["usd_per_hour"] == pytest.approx(found.whole[0].devices)


def judged(numbers: dict[str, int], rate: float) -> tuple[str, ...]:
    table = pair()
    pools = tuple(msgspec.structs.replace(each, replicas=numbers[each.name]) for each in table.pool)
    traffic = msgspec.structs.replace(table.traffic, rate=rate)
    there = fleet_of(msgspec.structs.replace(table, pool=pools, traffic=traffic), "f.toml")
    return judge(at_rate(there, rate), rate, (1.0, 1.0))


def costs(found: Sized) -> float:
    value = found.figures["usd_per_hour"]
    assert value is not None
    return value


def test_whether_it_pays_is_said() -> None:
    for slo in ("ttft=100ms@p99,tpot=6ms@p99", "ttft=1s@p99,tpot=200ms@p90"):
        found = find_split(pair(slo=slo), ["l4"], ["l4"], 60.0)
        assert found.pays == (not found.whole or costs(found.split[0]) < costs(found.whole[0]))
        assert found.said.startswith("disaggregation pays" if found.pays else "disaggregation does not pay")
    assert not found.pays


def test_devices_that_cannot_say_why() -> None:
    found = find_split(pair(slo="ttft=1us@p99"), ["l4"], ["l4"], 60.0)
    assert (found.split, found.whole, found.pays) == ((), (), False)
    assert found.said == "nothing serves the rate within the objectives"
    assert len(found.refused) == 2
    assert all("for themselves" in each.why for each in found.refused)


def test_a_short_trace_hides_no_overload(tmp_path: Path) -> None:
    """A trace that ends before its queue is as long as the bound is no reason for fewer replicas than complete it."""
    lines = ["arrival_s,input,output", *(f"{0.2 * k:.6f},900,20" for k in range(300))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    traffic = TrafficTable(trace=str(tmp_path / "t.csv"), trace_format="csv")
    table = msgspec.structs.replace(pair(slo="ttft=1h@p99,tpot=1h@p99"), traffic=traffic)
    single = capacity_of(table, "f.toml", intervals=False)
    rate = 3.0 * single.rate_per_s
    assert judge(with_replicas(single.subject.fleet, {"prefill": 1, "decode": 1}), rate, (1.0, 1.0)) == ()
    (best,) = find_split(table, ["l4"], ["l4"], rate).split
    numbers = {name: count for name, (_, count) in best.pools.items()}
    assert saturated_of(with_replicas(single.subject.fleet, numbers)) > 0.9 * rate
    fewer = max(numbers, key=lambda name: numbers[name])
    assert numbers[fewer] >= 3
    less = {**numbers, fewer: numbers[fewer] - 1}
    assert saturated_of(with_replicas(single.subject.fleet, less)) < rate
