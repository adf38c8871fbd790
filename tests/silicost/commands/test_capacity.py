"""``silicost capacity``: what it prints, keeps and refuses."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
TRAFFIC = "--isl 200 --osl 30 --requests 1000"
SLO = "--slo ttft=100ms@p99,tpot=20ms@p90"
ONE = f"capacity --model smollm-135m --device l4 {TRAFFIC} {SLO}"


def test_one_fleet(silicost: Run) -> None:
    found = silicost(f"{ONE} --format json").json
    assert found["rate_per_s"] < found["above_per_s"] <= found["rate_per_s"] * 1.0101
    assert found["rate_per_s_per_replica"] == found["rate_per_s_per_device"] == found["rate_per_s"]
    assert set(found["binds"]) <= {"ttft@p99", "tpot@p90", "overload"}
    assert found["rate_per_s"] <= found["saturated_per_s"] or not found["notes"]
    ends = found["intervals"]["rate_per_s"]
    assert ends["p10"] < found["rate_per_s"] < ends["p90"]
    assert found["at_rate"]["ttft_s"]["p99"] <= 0.11
    assert (found["fleet"], found["requests"]) == (None, 1000)
    assert found["notes"]
    said = silicost(f"{ONE} --no-intervals")
    assert "80% interval" not in said.out
    assert f"breaks {', '.join(found['binds'])}" in said.out


def test_the_rate_is_that_of_serve(silicost: Run) -> None:
    """``serve`` at the rate found prints what the capacity says of its run."""
    found = silicost(f"{ONE} --no-intervals --format json").json
    serve = ONE.replace("capacity", "serve")
    told = silicost(f"{serve} --rate {found['rate_per_s']!r} --no-intervals --format json").json
    for name in ("requests_per_s", "goodput_requests_per_s", "j_per_output_token", "utilisation"):
        assert told[name] == found["at_rate"][name]


def test_a_rate_to_be_served(silicost: Run) -> None:
    found = silicost(f"{ONE} --no-intervals --rate 2000 --price", "1 USD/h", "--format", "json").json
    assert found["fleet"]["replicas"] == found["fleet"]["devices"] >= 2
    assert found["fleet"]["at_rate"]["usd_per_hour"] == pytest.approx(found["fleet"]["replicas"])
    said = silicost(f"{ONE} --no-intervals --rate 2000").out
    assert f"{found['fleet']['replicas']} replicas serve 2000/s:" in said


def test_a_page_of_each_search(silicost: Run, tmp_path: Path) -> None:
    """One fleet with and without a rate, designs, prompts and answers apart, and a search that finds nothing."""
    apart = "--find disaggregated --prefill-device l4 --decode-device l4 --rate 150"
    many = f"--device l4,l40s --executor here --out {tmp_path}/designs"
    asked = {"rate": "--device l4 --rate 1000", "one": "--device l4", "many": many, "apart": apart}
    for name, more in asked.items():
        page = tmp_path / f"{name}.html"
        silicost(f"capacity --model smollm-135m {TRAFFIC} {SLO} {more} --report {page}")
        html = page.read_text(encoding="utf-8")
        assert 'class="answer"' in html and 'id="load"' in html and 'id="tried"' in html
        assert len(html) < 400_000
        assert json.loads((tmp_path / f"{name}.page.json").read_text())["form"] == "capacity"
    none = silicost(f"capacity --model smollm-135m --device l4 {TRAFFIC} --slo ttft=1us --report {tmp_path}/none.html")
    assert none.status == 3
    assert "No rate holds the objectives" in (tmp_path / "none.html").read_text(encoding="utf-8")


def test_designs_are_kept_and_read_by_study(silicost: Run, tmp_path: Path) -> None:
    asked = (f"capacity --model smollm-135m --device l4,l40s --max-num-seqs 4,64 {TRAFFIC} {SLO} --executor here "
             f"--part 1 --out {tmp_path}/s")  # fmt: skip
    first = silicost(f"{asked} --format json")
    assert first.json["feasible"] == first.json["rows"] == 4
    assert "were there" not in first.err
    again = silicost(f"{asked} --format json")
    assert (again.json, "4 were there" in again.err) == (first.json, True)
    rows = list(csv.DictReader(io.StringIO(silicost(f"{asked} --format csv").out)))
    assert [(row["device"], row["max_num_seqs"]) for row in rows] == [
        ("l4", "4"), ("l4", "64"), ("l40s", "4"), ("l40s", "64"),
    ]  # fmt: skip
    assert silicost(f"study show {tmp_path}/s --format json").json["state"] == "complete"
    out = silicost(f"study export {tmp_path}/s --columns device,max_num_seqs,rate_per_s,binds").out
    assert [float(row["rate_per_s"]) for row in csv.DictReader(io.StringIO(out))] == [
        pytest.approx(float(row["rate_per_s"])) for row in rows
    ]
    said = silicost(asked).out
    assert "4 designs, 4 feasible" in said
    assert "Pareto front of usd_per_million_output_tokens and j_per_output_token" in said


def test_designs_none_of_which_serves(silicost: Run, tmp_path: Path) -> None:
    ran = silicost(f"capacity --model llama-3.1-70b --device l4,l40s {TRAFFIC} {SLO} --out {tmp_path}/s")
    assert ran.status == 3
    assert "no design is feasible" in ran.err
    assert "cannot serve llama-3.1-70b" in ran.err


def test_a_device_that_cannot_hold_the_model(silicost: Run) -> None:
    ran = silicost(f"capacity --model llama-3.1-70b --device l4 {TRAFFIC} {SLO}")
    assert (ran.status, ran.out) == (3, "")
    assert "l4 cannot serve llama-3.1-70b" in ran.err


def test_prompts_and_answers_apart(silicost: Run) -> None:
    asked = (
        f"capacity --find disaggregated --model smollm-135m --prefill-device l4 --decode-device l4,l40s {TRAFFIC} {SLO}"
    )
    found = silicost(f"{asked} --rate 150 --format json").json
    assert len(found["disaggregated"]) == len(found["aggregated"]) == 2
    assert found["said"].startswith("disaggregation")
    costs = [each["at_rate"]["usd_per_hour"] for each in found["disaggregated"]]
    assert costs == sorted(costs)
    assert found["said"] in silicost(f"{asked} --rate 150").out


def test_no_rate_holds(silicost: Run) -> None:
    ran = silicost(f"capacity --model smollm-135m --device l4 {TRAFFIC} --slo ttft=1us")
    assert ran.status == 3
    assert "no rate holds the objectives: ttft@p99 is" in ran.err
    assert json.loads(silicost(f"capacity --model smollm-135m --device l4 {TRAFFIC} --slo ttft=1us --format json").out)[
        "rate_per_s"
    ] == 0.0  # fmt: skip


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--slo ttf=1s", "unknown latency; did you mean 'ttft'?"),
        ("--rate 0", "--rate 0: must be above 0"),
        ("--rate nan", "--rate nan: must be above 0"),
        ("--requests 0", "--requests 0: must be from 100"),
        ("--requests 99", "--requests 99: must be from 100"),
        ("--requests 1.5", "is no whole number"),
        ("--tp 1,x", "--tp 'x': must be a whole number"),
        ("--tp 1,,2", "an item is empty"),
        ("--tp 1,2 --link tp,count", "'count' is no axis"),
        ("--tp 1,2 --where dp<=1", "dp"),
        ("--where tp<=1", "--where: nothing varies"),
        ("--out somewhere", "--out: one fleet has no table"),
        ("--scheduler vllm-v9", "unknown scheduler 'vllm-v9'"),
        ("--router nearest,round-robin", "unknown router 'nearest'"),
        ("--find best", "unknown search 'best'"),
        ("--find disaggregated", "which rate is to be served"),
        ("--find disaggregated --rate 5 --tp 1,2", "--tp: has one value"),
        ("--fleet sentiment", "stands in the file beside --fleet"),
        ("--think 3s", "--think: only conversations have pauses"),
        ("--tp 1,2 --part 0 --out never", "--part 0"),
        ("--tp 1,2 --workers 0 --out never", "--workers 0"),
        ("--workers 2", "--workers: only a search over designs has it"),
        ("--executor here", "--executor: only a search over designs has it"),
        ("--rate 5 --dask tcp://a:1", "--dask: only a search over designs has it"),
        ("--part 2", "--part: only a search over designs has it"),
        ("--trace t.csv", "--isl and --trace contradict each other"),
        ("--replicas 0", "replicas 0"),
    ],
)
def test_what_is_refused(refused: Callable[..., str], more: str, said: str) -> None:
    slo = "" if "--slo" in more else SLO
    count = "" if "--requests" in more else "--requests 1000"
    assert said in refused(f"capacity --model smollm-135m --device l4 --isl 200 --osl 30 {count} {slo} {more}")


def test_what_is_missing(refused: Callable[..., str]) -> None:
    assert "a capacity needs objectives" in refused(f"capacity --model smollm-135m --device l4 {TRAFFIC}")
    assert "--model: which model" in refused(f"capacity --device l4 {TRAFFIC} {SLO}")
    assert "--device: on which device?" in refused(f"capacity --model smollm-135m {TRAFFIC} {SLO}")
    assert "--isl and --osl" in refused(f"capacity --model smollm-135m --device l4 {SLO}")
