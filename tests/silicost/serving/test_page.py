"""The page of a served run says what the run came to."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from small_fleets import ONE, STEADY, fleet, pool, served, value

from reports.serving import ServedCard
from reports.serving_page import FIGURES, render_served
from silicost.serving.files import Places, write_files
from silicost.serving.page import card_of
from silicost.serving.page_limits import limit_of
from silicost.serving.page_time import coarser
from silicost.serving.tables import FleetTable, StageTable, TenantTable, TrafficTable

Run = Callable[..., Any]
HOSTILE = '<img src=x onerror=alert(1)>"'


def split_fleet(**more: Any) -> FleetTable:
    """Prompts on one pool, answers on another."""
    return fleet(pool("first"), pool("second"), stage=(StageTable("first", decode="second"),), **more)


def names(card: ServedCard) -> list[str]:
    """Figures of its page."""
    return [figure.name for figure in FIGURES if figure.applies(card)]


def checked(card: ServedCard) -> str:
    """Its page, once nothing points nowhere or outside, and it is small."""
    assert len(render_served(card).encode()) < 2_000_000
    text = render_served(card, static=True)
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert {*re.findall(r'href="#([^"]*)"', text), *re.findall(r"url\(#([^)]+)\)", text)} <= set(ids)
    assert "http" not in re.sub(r"<(td|dd)[^>]*>.*?</\1>", "", text.replace("http-equiv", ""))
    assert not re.search(r"<(link|img|iframe|object|embed|base|audio|video)\b|@import|url\((?!#)", text)
    assert len(text.encode()) < 400_000
    return text


def test_numbers_of_the_page_are_those_of_the_run() -> None:
    answer = served(fleet(slo="ttft=10s@p99,e2e=1ms@p90"), intervals=True)
    card = card_of(answer)
    checked(card)
    kept, missed = card.objectives
    assert kept.value_s == answer.found.outcome.latencies["ttft_s"].p99
    assert (kept.low_s, kept.high_s) == answer.intervals["ttft_s.p99"]
    assert (kept.met, kept.kept, missed.met, missed.kept) == (True, 1.0, False, 0.0)
    assert card.answer.startswith("It misses 1 of 2 objectives: E2E p90.")
    shown = {each.name: each for one in card.cards for each in (one.first, *one.others)}
    for name in ("requests_per_s", "usd_per_million_output_tokens", "j_per_output_token", "utilisation", "mbu"):
        assert shown[name].value == value(answer, name)
        assert (shown[name].low, shown[name].high) == answer.intervals[name]
    assert shown["device_j"].value == pytest.approx(value(answer, "device_j") / 3600.0)
    assert {row.title for row in card.latencies} == {"TTFT", "TPOT", "ITL", "E2E", "Queue"}
    assert names(card) == ["latency", "over-time", "pools", "spent", "prediction"]


def test_curves_are_shares_of_all_requests() -> None:
    answer = served(fleet(traffic=msgspec.structs.replace(STEADY, requests=500)))
    for each, kind in zip(card_of(answer).distributions, ("ttft_s", "tpot_s", "e2e_s"), strict=True):
        curve = each.curves[0]
        values = answer.requests[kind]
        assert len(curve.at_s) <= 150
        assert (np.diff(curve.at_s) >= 0.0).all()
        assert (np.diff(curve.share) > 0.0).all()
        assert curve.share[-1] == 1.0
        known = values[np.isfinite(values)]
        for at, share in zip(curve.at_s, curve.share, strict=True):
            assert (known < at).mean() < share <= (known <= at).mean() + 1e-12


def test_stages_links_and_where_things_go() -> None:
    answer = served(split_fleet())
    card = card_of(answer)
    checked(card)
    assert names(card) == ["pipeline", "latency", "over-time", "pools", "spent", "links", "prediction"]
    assert [node.name for node in card.nodes] == ["first", "second"]
    assert [(arrow.source, arrow.target) for arrow in card.arrows] == [(0, 1)]
    assert card.nodes[1].column == 1
    joules, dollars = card.splits
    assert math.fsum(each.value for each in joules.slices) * 3600.0 == pytest.approx(value(answer, "facility_j"))
    assert math.fsum(each.value for each in dollars.slices) == pytest.approx(value(answer, "usd"))
    assert card.links[0].figures[0].value == answer.found.links[0].carried_bytes
    assert [pool.name for pool in card.pools] == ["first", "second"]
    assert [group.name for group in card.over_time.groups] == ["", "first", "second"] if card.over_time else False


def test_requests_over_time_add_up() -> None:
    answer = served(fleet())
    run = card_of(answer).over_time
    assert run is not None
    arrive, answered = run.groups[0].tracks[0].lines
    assert arrive.values.sum() * run.width_s == pytest.approx(60.0)
    assert answered.values.sum() * run.width_s == pytest.approx(60.0)
    assert len(run.at_s) <= 96
    for group in run.groups:
        for track in group.tracks:
            assert all(len(line.values) == len(run.at_s) for line in track.lines)


@pytest.mark.parametrize(("count", "joined"), [(7, 3), (6, 3), (1, 1), (5, 9)])
def test_joined_bins_keep_the_mean(count: int, joined: int) -> None:
    values = np.arange(count, dtype=np.float64)
    found = coarser(values, joined)
    assert len(found) == -(-count // joined)
    assert found[0] == values[:joined].mean()
    assert found[-1] == values[(len(found) - 1) * joined :].mean()


def test_tenants_have_objectives_and_curves_of_their_own() -> None:
    tenants = (TenantTable("gold", 0.5, 0, "ttft=10s@p90", "60 s"), TenantTable("others", 0.5, 1))
    answer = served(fleet(tenant=tenants, slo="e2e=9s"), intervals=True)
    card = card_of(answer)
    checked(card)
    assert [(each.whose, each.title) for each in card.objectives] == [("gold", "TTFT"), ("others", "E2E")]
    assert all(math.isnan(each.low_s) for each in card.objectives)
    assert [curve.name for curve in card.distributions[0].curves] == ["all requests", "gold", "others"]
    assert card.distributions[0].marks[0].whose == "gold"
    assert "deadline 60 s" in card.tenants[0].asks
    assert "no interval" in card.notes[0]
    assert sum(row.figures[0].value for row in card.tenants) == 60.0


def test_requests_that_are_not_answered_keep_no_objective() -> None:
    traffic = msgspec.structs.replace(STEADY, rate=500.0, requests=100)
    answer = served(fleet(pool(most_waiting=1, max_num_seqs=1), traffic=traffic, slo="e2e=100s@p90"))
    card = card_of(answer)
    text = checked(card)
    part = value(answer, "completed") / 100.0
    assert 0.0 < part < 0.9
    assert card.objectives[0].kept == pytest.approx(part)
    assert not card.objectives[0].met
    assert card.distributions[0].curves[0].share[-1] == pytest.approx(part)
    assert "too many were not answered" in text


def test_no_requests_none_answered_and_one() -> None:
    nothing = card_of(served(fleet(traffic=msgspec.structs.replace(ONE, requests=0), slo="ttft=1s"), intervals=True))
    assert nothing.answer == "No requests were asked for."
    checked(nothing)
    table = fleet(pool(context=50), traffic=TrafficTable(rate=1.0, requests=3, isl="100", osl="20"), slo="ttft=1s")
    none = card_of(served(table, intervals=True))
    assert none.answer.startswith("No request was answered")
    assert "no request was answered" in checked(none)
    one = card_of(served(fleet(traffic=ONE, slo="tpot=1s"), intervals=True))
    assert one.answer == "It holds its objective."
    checked(one)


def test_strange_names_are_only_text() -> None:
    tenants = (TenantTable(HOSTILE, 1.0, slo="ttft=1s"),)
    table = split_fleet(title=HOSTILE + "\u202e", description=HOSTILE + "\u202e", tenant=tenants)
    renamed = tuple(msgspec.structs.replace(each, name=each.name + HOSTILE) for each in table.pool)
    stage = StageTable("first" + HOSTILE, name=HOSTILE, decode="second" + HOSTILE)
    text = checked(card_of(served(msgspec.structs.replace(table, pool=renamed, stage=(stage,)))))
    assert "<img" not in text
    assert "\u202e" not in text
    assert "&lt;img" in text


def test_without_a_price_it_says_so() -> None:
    answer = served(fleet(pool(device="a30", price="")), intervals=True)
    assert answer.found.outcome.values["usd"] is None
    card = card_of(answer)
    assert checked(card).count("no price is known for a30; give one with --price") >= 3
    assert all(math.isnan(each.value) for each in card.splits[1].slices)


def test_answers_of_one_token_cost_by_request() -> None:
    traffic = TrafficTable(rate=20.0, requests=20, isl="100", osl="1")
    card = card_of(served(fleet(traffic=traffic)))
    first = [each.first.name for each in card.cards]
    assert "usd_per_thousand_requests" in first
    assert "usd_per_million_output_tokens" not in first
    assert [each.title for each in card.distributions] == ["TTFT", "E2E"]


def test_overload_is_said() -> None:
    traffic = msgspec.structs.replace(STEADY, rate=1e5, requests=300)
    card = card_of(served(fleet(pool(max_num_seqs=4), traffic=traffic, slo="ttft=1ms")))
    assert "It is overloaded: " in card.answer
    assert card.pools[0].limit == "Batch full"


def test_limits_follow_the_numbers() -> None:
    answer = served(fleet())
    ready, found = answer.fleet.pools[0], answer.found.pools[0]

    def limit(**changes: Any) -> str:
        return limit_of(ready, found._replace(**{"waiting_mean": 0.0, "utilisation": 0.9, **changes}))[0]

    assert limit(utilisation=0.2) == "Mostly idle"
    assert limit(jobs=0) == "Nothing to do"
    assert limit(kv_peak_fraction=1.0, waiting_mean=3.0) == "Cache full"
    assert limit(kv_peak_fraction=1.0, preemptions=30) == "Cache full"
    assert limit(running_mean=256.0, waiting_mean=3.0) == "Batch full"
    assert limit(host_share=0.5, transfer_share=0.1) == "Host"
    assert limit(host_share=0.1, transfer_share=0.5) == "Transfers"
    assert limit(host_share=0.0, transfer_share=0.0, mbu=0.6, mfu=0.1) == "Memory bandwidth"
    assert limit(host_share=0.0, transfer_share=0.0, mbu=0.1, mfu=0.6) == "Compute"
    assert limit(host_share=0.0, transfer_share=0.0, mbu=0.1, mfu=0.1) == "Neither memory nor compute"
    assert limit(host_share=0.0, transfer_share=0.0, mbu=None, mfu=None) == "Search"


def test_files(tmp_path: Path) -> None:
    answer = served(fleet())
    write_files(Places(str(tmp_path)), answer)
    assert json.loads((tmp_path / "result.json").read_text())["completed"] == 60
    assert (tmp_path / "report.html").read_text() == render_served(card_of(answer))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.page.json", "result.json"]


def test_the_flag(silicost: Run, tmp_path: Path) -> None:
    asked = "serve --model smollm-135m --device l4 --rate 20 --requests 10 --isl 50 --osl 5 --format json --out"
    ran = silicost(asked, str(tmp_path / "new"))
    assert ran.status == 0
    assert json.loads((tmp_path / "new" / "result.json").read_text()) == ran.json
    assert "Serving smollm-135m" in (tmp_path / "new" / "report.html").read_text()
    assert silicost(asked, "/proc/nowhere").status == 2
