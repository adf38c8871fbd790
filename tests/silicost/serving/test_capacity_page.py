"""The page of a capacity: what it proves is what the search has found."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from small_fleets import fleet, pool

from reports.capacity import CapacityCard, Trials
from reports.capacity_page import render_capacity
from silicost.serving.capacity import capacity_of, figures_of, replicas_between, replicas_for
from silicost.serving.capacity_designs import AxisTable, Found, Order, find, prepare_designs
from silicost.serving.capacity_loads import Seen, broken_in_words, counts_of, quantile_of, seen_at
from silicost.serving.capacity_output import rate_rows
from silicost.serving.capacity_page import card_of, goals_of
from silicost.serving.capacity_page_many import card_of_designs, card_of_split
from silicost.serving.capacity_runs import judge, with_replicas
from silicost.serving.capacity_split import find_split
from silicost.serving.tables import StageTable, TrafficTable
from simulator.explore.executors import InProcess, run_parts
from simulator.explore.reading import open_study
from simulator.explore.store import open_store

TRAFFIC = TrafficTable(isl="200", osl="30", requests=1000)
FLEET = fleet(pool(name=""), traffic=TRAFFIC, slo="ttft=100ms@p99,tpot=20ms@p90")
Asked = tuple[Found, float, CapacityCard]


@pytest.fixture(scope="module")
def one() -> tuple[Found, CapacityCard]:
    found = find(FLEET, None, True)
    return found, card_of(found, None)


@pytest.fixture(scope="module")
def asked() -> Asked:
    """A rate that takes a little more than two replicas."""
    capacity = capacity_of(FLEET, "flags")
    rate = 2.3 * capacity.rate_per_s
    found = Found(capacity, replicas_for(capacity, rate))
    return found, rate, card_of(found, rate)


def table(card: CapacityCard, first: str) -> Trials:
    return next(each for each in card.tables if each.first == first)


def test_the_highest_rate_stands_in_the_answer_and_in_every_figure(one: tuple[Found, CapacityCard]) -> None:
    (capacity, _), card = one
    assert (card.rate_per_s, (card.low_per_s, card.high_per_s)) == (capacity.rate_per_s, capacity.interval)
    assert f"{capacity.rate_per_s:.3g}" in card.answer and "TTFT p99 ≤ 100 ms and TPOT p90 ≤ 20.0 ms" in card.answer
    tried = table(card, "Rate")
    broken = {trial.rate_per_s: trial.broken for trial in capacity.highest.trials}
    assert {row.rate_per_s: not row.holds for row in tried.rows} == {rate: bool(how) for rate, how in broken.items()}
    assert [row.rate_per_s for row in tried.rows if row.chosen] == [capacity.rate_per_s]
    for panel, goal in zip(card.panels, card.goals, strict=False):
        curve = panel.curves[0]
        at = dict(zip(curve.at_per_s, curve.values, strict=True))
        assert panel.bound == goal.bound_s
        assert at[capacity.rate_per_s] <= goal.bound_s
        assert list(curve.at_per_s) == sorted(set(curve.at_per_s))
    assert [panel.dimension for panel in card.panels] == ["s", "s", "usd", "j"]


def test_the_first_sentence_says_what_makes_the_rate_doubtful() -> None:
    long, short = (
        find(
            fleet(pool(name=""), traffic=msgspec.structs.replace(TRAFFIC, requests=count), slo="ttft=1s@p99"),
            None,
            False,
        )
        for count in (None, 200)
    )
    assert not long.capacity.doubts and " But " not in card_of(long, None).answer
    assert short.capacity.rate_per_s <= short.capacity.subject.saturated_per_s
    assert f"But {short.capacity.doubts[0]}." in card_of(short, None).answer
    assert short.capacity.doubts[0] in rate_rows(short.capacity)[0]["note"]


def test_what_breaks_is_said_with_its_value(one: tuple[Found, CapacityCard]) -> None:
    _, card = one
    for row in table(card, "Rate").rows:
        assert bool(row.why) is not row.holds
        over = [goal.name for goal, value in zip(card.goals, row.latencies, strict=True) if value > goal.bound_s]
        assert all(f"{name} is" in row.why for name in over)
        assert row.holds is (not over) or any(
            said in row.why for said in ("in one half of the run", "fewer than", "overload")
        )


def test_numbers_of_the_run_are_those_of_the_search(asked: Asked) -> None:
    (_, needed), _, card = asked
    assert needed is not None
    figures = figures_of(needed.answer, needed.latencies)
    shown = {each.name: each.value for own in card.cards for each in (own.first, *own.others)}
    for name in ("usd_per_hour", "usd_per_million_output_tokens", "j_per_output_token", "ttft_s.p99", "utilisation"):
        assert shown[name] == figures[name]
    assert shown["replicas"] == needed.replicas


def test_the_chosen_count_is_the_fewest_that_holds(asked: Asked) -> None:
    (_, needed), rate, card = asked
    assert needed is not None
    rows = table(card, "Replicas").rows
    assert [int(row.replicas) for row in rows] == counts_of(needed)
    assert set(needed.tried) <= {int(row.replicas) for row in rows}
    fewest = min(int(row.replicas) for row in rows if row.holds)
    assert [int(row.replicas) for row in rows if row.chosen] == [fewest] == [needed.replicas]
    for row in rows:
        sized = with_replicas(needed.answer.fleet, {needed.answer.fleet.pools[0].name: int(row.replicas)})
        assert row.holds is not bool(judge(sized, rate, (1.0,)))
        assert row.usd_per_hour == pytest.approx(row.devices)
    assert f"{needed.replicas} replicas" in card.answer and f"{needed.replicas - 1} break" in card.answer


def test_one_replica_less_is_drawn_above_the_bound_at_the_rate(asked: Asked) -> None:
    (_, needed), rate, card = asked
    assert needed is not None
    above = []
    for panel in card.panels[:2]:
        for curve in panel.curves[:2]:
            at = dict(zip(curve.at_per_s, curve.values, strict=True))
            if curve.name.startswith(f"{needed.replicas} "):
                assert at[rate] <= panel.bound
            else:
                above.append(not at[rate] <= panel.bound)
    assert any(above)


def test_ends_of_the_interval_need_more_and_fewer(asked: Asked) -> None:
    (capacity, needed), rate, card = asked
    assert needed is not None
    span = replicas_between(capacity, needed, rate)
    assert span is not None
    assert span[0] <= needed.replicas <= span[1]
    assert f"{span[0]} to {span[1]} are needed" in card.answer
    first = card.cards[0].first
    assert (first.value, first.low, first.high) == (needed.replicas, *span)


def test_no_rate_holds_is_a_page_as_well() -> None:
    card = card_of(find(msgspec.structs.replace(FLEET, slo="ttft=1us"), None, False), None)
    assert card.answer.startswith("No rate holds the objectives: ttft@p99 is")
    html = render_capacity(card)
    assert "No rate holds the objectives" in html and 'id="load"' not in html


def test_the_same_search_gives_the_same_page(asked: Asked) -> None:
    found, rate, card = asked
    assert render_capacity(card_of(found, rate)) == render_capacity(card)


def test_quantiles_count_what_has_no_answer_as_endless() -> None:
    seen = seen_at(capacity_of(FLEET, "flags", intervals=False).subject.fleet, 5.0)
    whole = seen.rows["ttft_s"]
    assert quantile_of(seen, 0, "ttft", 0.9) == pytest.approx(float(np.quantile(whole, 0.9)))
    done = np.ones(len(whole), np.bool_)
    done[: len(whole) // 5] = False
    partly = Seen(seen.fleet, 5.0, (), {**seen.rows, "completed": done})
    assert quantile_of(partly, 0, "ttft", 0.9) == math.inf
    assert math.isfinite(quantile_of(partly, 0, "ttft", 0.5))


def test_of_many_designs_the_best_is_proved(tmp_path: Path) -> None:
    axes = (AxisTable(("device",), (("l4",), ("l40s",))), AxisTable(("max_num_seqs",), ((1,), (64,))))
    order = Order(FLEET, axes)
    prepared = prepare_designs(order, 4)
    with open_store(tmp_path / "s", prepared.definition) as writer:
        run_parts(writer, InProcess(), prepared.work, prepared.recipe)
    frame = open_study(tmp_path / "s").to_pandas()
    card = card_of_designs(frame, order)
    designs = table(card, "Design").rows
    best = frame.sort_values("usd_per_million_output_tokens").iloc[0]
    assert (designs[0].name, designs[0].chosen) == (f"{best['device']}, max num seqs {best['max_num_seqs']}", True)
    assert [row.usd_per_work for row in designs] == sorted(row.usd_per_work for row in designs)
    assert card.rate_per_s == pytest.approx(best["rate_per_s"])
    assert card.answer.startswith("4 of 4 designs of device, max num seqs can do it; the one with the cheapest tokens:")
    frame = frame.assign(feasible=False, reason="memory", detail="too large")
    assert card_of_designs(frame, order).answer == "No design is feasible: 4: too large."


def test_prompts_and_answers_apart() -> None:
    pools = pool("prefill", device="l4"), pool("decode", device="l4")
    traffic = TrafficTable(isl="900", osl="20", requests=2000)
    stages = (StageTable("prefill", decode="decode"),)
    pair = fleet(*pools, traffic=traffic, stage=stages, slo="ttft=100ms@p99,tpot=6ms@p99")
    found = find_split(pair, ["l4"], ["l4"], 90.0)
    card = card_of_split(found)
    rows = table(card, "Fleet").rows
    assert [row.chosen for row in rows].count(True) == 1
    for row in rows:
        assert all(value <= goal.bound_s for value, goal in zip(row.latencies, card.goals, strict=True))
    assert found.said[1:] in card.answer
    assert render_capacity(card) == render_capacity(card)


def test_a_bound_that_too_few_keep_is_not_laid_on_a_half() -> None:
    """A p99 between a request in time and one just too late is below the bound that one too many breaks."""
    seen = seen_at(capacity_of(FLEET, "flags", intervals=False).subject.fleet, 5.0)
    count = len(seen.rows["ttft_s"])
    late = np.full(count, 0.05)
    late[: count // 100 + 1] = 0.101
    goals = goals_of(seen.fleet)
    both = Seen(seen.fleet, 5.0, ("ttft@p99",), {**seen.rows, "ttft_s": late})
    assert quantile_of(both, 0, "ttft", 0.99) < 0.1
    assert broken_in_words(both, goals) == "TTFT p99: fewer than 99\u00a0% of the requests are within 100 ms"
    half = Seen(seen.fleet, 5.0, ("ttft@p99",), seen.rows)
    assert broken_in_words(half, goals) == "TTFT p99 is above 100 ms in one half of the run"
