"""``silicost recommend``: the ranking is what asking one by one gives, and losers say why."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware_specs.devices import device_names, load_device
from hardware_specs.errors import InputError
from silicost.recommend.answer import json_of, recommend
from silicost.recommend.batches import best_of
from silicost.recommend.candidates import Candidate, Loser
from silicost.recommend.question import Question, devices_of, question_of
from silicost.recommend.training import best_plans, refine_plan, scenario_of_plan
from silicost.scenarios import inference_scenario
from silicost.studies.cells import scenario_of
from simulator.decisions.superiority import superiority
from simulator.simulate import simulate

Run = Callable[..., Any]
FEW = "h100-sxm-80gb,h200-sxm-141gb,a100-sxm-80gb,l4,gaudi-3,rtx-4090,alveo-u280,groq-lpu-v1"
CHAT = {"model": "llama-3.1-8b", "isl": 512, "osl": 64, "devices": FEW}


def asked(**more: Any) -> Question:
    return question_of({**CHAT, **more}, "test")


def test_the_best_is_what_asking_one_by_one_finds() -> None:
    """Every batch and every number of devices of two GPUs, simulated alone."""
    question = asked(devices="h100-sxm-80gb,l4", slo="tpot_s<0.05", most_devices=2)
    found = recommend(question)
    for each in found.ranked:
        least = math.inf
        for tp in (1, 2):
            for batch in (2**k for k in range(11)):
                result = simulate(
                    inference_scenario("llama-3.1-8b", each.device.id, batch=batch, isl=512, osl=64, tp=tp)
                )
                if result.fits and (result.metrics["tpot_s"] or 0.0) <= 0.05:
                    least = min(least, result.metrics["usd_per_million_output_tokens"] or math.inf)
        assert each.metrics["usd_per_million_output_tokens"] == pytest.approx(least, rel=1e-9)
    values = [each.metrics[question.metric] for each in found.ranked]
    assert len(values) == 2 and values[0] is not None and values[1] is not None and values[0] < values[1]


def test_all_devices_have_an_answer_or_a_reason() -> None:
    question = asked(devices="", only="fpga,tpu", objective="throughput", batch=4)
    found = recommend(question)
    named = [each.device.id for each in found.ranked] + [each.device for each in found.losers]
    wanted = [name for name in device_names() if load_device(name).device_class in ("fpga", "tpu")]
    assert sorted(named) == sorted(wanted)
    assert all(each.why for each in found.losers)
    rates = [each.metrics["output_tokens_per_s"] or 0.0 for each in found.ranked]
    assert rates == sorted(rates, reverse=True)


def test_every_candidate_keeps_its_bounds_and_fits() -> None:
    found = recommend(asked(slo="ttft_s<0.3,tpot_s<20ms"))
    assert found.ranked
    for each in found.ranked:
        result = simulate(scenario_of(each.question))
        assert result.fits
        assert (result.metrics["ttft_s"] or 1.0) <= 0.3 and (result.metrics["tpot_s"] or 1.0) <= 0.02
        assert result.metrics[found.asked.metric] == pytest.approx(each.metrics[found.asked.metric])
        assert each.interval is not None
        ends = result.intervals[found.asked.metric]
        assert each.interval == pytest.approx((ends.p10, ends.p90))


def test_losers_say_why() -> None:
    reasons = {each.device: each for each in recommend(asked(slo="ttft_s<0.2")).losers}
    assert reasons["alveo-u280"].code == "dtype" and "int8" in reasons["alveo-u280"].why
    assert reasons["groq-lpu-v1"].code == "memory" and "GB over" in reasons["groq-lpu-v1"].why
    strict = recommend(asked(devices="l4,h100-sxm-80gb", slo="tpot_s<1ms"))
    assert not strict.ranked and all(each.code == "slo" and "above 1.00 ms" in each.why for each in strict.losers)
    power = recommend(asked(devices="l4,h100-sxm-80gb", budget_w=100.0, count="1"))
    assert [each.device.id for each in power.ranked] == ["l4"]
    assert "600 W over the budget" in power.losers[0].why
    price = recommend(asked(devices="a40,l4", count="1"))
    assert [(each.device, each.code) for each in price.losers] == [("a40", "price")]
    dear = recommend(asked(devices="l4,h100-sxm-80gb", budget_usd="2 USD/h", count="1"))
    assert [each.device.id for each in dear.ranked] == ["l4"] and dear.losers[0].code == "budget"
    bought = recommend(asked(devices="rtx-4090,h200-sxm-141gb,l4", budget_usd="9000 USD", count="1"))
    assert [each.device.id for each in bought.ranked] == ["rtx-4090"]
    assert {each.device: each.code for each in bought.losers} == {"h200-sxm-141gb": "budget", "l4": "budget"}


def test_a_device_without_a_price_ranks_where_no_dollars_are_asked_for() -> None:
    found = recommend(asked(devices="a40,l4", objective="energy"))
    row = next(each for each in json_of(found)["ranked"] if each["device"] == "a40")
    assert row["usd_per_hour"] is None and row["price"] is None
    assert row["metrics"]["usd_per_million_output_tokens"] is None


def test_owned_devices_cost_what_own_says(silicost: Run) -> None:
    found = recommend(asked(devices="h200-sxm-141gb", prices="own", count="1", batch=16))
    each = found.ranked[0]
    flags = "own --model llama-3.1-8b --isl 512 --osl 64 --batch 16 --device h200-sxm-141gb --format json"
    whole = silicost(flags).json
    assert each.usd_per_hour == pytest.approx(whole["buy"]["usd_per_device_hour"]["middle"])
    tokens = whole["buy"]["usd_per_million_tokens"]["middle"]
    assert each.metrics["usd_per_million_output_tokens"] == pytest.approx(tokens)
    rented = recommend(asked(devices="h200-sxm-141gb", prices="rent", count="1", batch=16)).ranked[0]
    assert rented.usd_per_hour != pytest.approx(each.usd_per_hour)


def test_the_chance_is_that_of_two_scenarios() -> None:
    found = recommend(asked(devices="h100-sxm-80gb,h200-sxm-141gb,a100-sxm-80gb", objective="energy", batch=8))
    first, second = found.ranked[:2]
    alone = superiority(scenario_of(first.question), scenario_of(second.question), "j_per_output_token")
    assert found.chance == pytest.approx(alone.chance, abs=1e-9)
    assert found.chances is not None and sum(found.chances.best) == pytest.approx(1.0)
    assert 0.5 <= (found.chance or 0.0) <= 1.0


def test_narrower_weights_are_tried_only_where_they_are_allowed() -> None:
    plain = recommend(asked(devices="l4")).ranked[0]
    both = recommend(asked(devices="l4", weight_dtype="bf16,int4")).ranked[0]
    assert "weight_dtype" not in plain.question and both.question["weight_dtype"] == "int4"
    assert (both.metrics[asked().metric] or 0.0) < (plain.metrics[asked().metric] or 0.0)


def test_pipelines_are_tried_where_tensor_parallel_ways_do_not_suffice() -> None:
    answer, priced = best_of(asked(most_devices=4), load_device("l4"))
    assert isinstance(answer, Candidate) and answer.question["pp"] == 1 and priced > 0
    large = question_of({"model": "llama-3.1-70b", "isl": 64, "osl": 8, "most_devices": 8}, "test")
    answer, _ = best_of(large, load_device("l4"))
    assert isinstance(answer, Candidate) and answer.count == 8
    answer, _ = best_of(large, load_device("t4"))
    assert isinstance(answer, Loser) and answer.code == "memory" and "each of 8 devices" in answer.why


def training(**more: Any) -> Question:
    return question_of(
        {"model": "llama-3.2-1b", "global_batch": 16, "seq_len": 1024, "count": "4", "objective": "latency", "top": 2}
        | more,
        "test",
    )


def test_training_leaves_out_only_who_cannot_win() -> None:
    """The bound of the datasheet holds: whoever was not searched is slower than the last that is compared."""
    question = training(devices="h100-sxm-80gb,a100-sxm-80gb,l4,t4,rtx-4090,alveo-u280")
    found = recommend(question)
    out = [each.device for each in found.losers if each.code == "bound"]
    assert out and found.ranked[0].device.id == "h100-sxm-80gb"
    last = found.ranked[question.top - 1].metrics["step_time_s"] or 0.0
    for device in out:
        alone, _, _ = best_plans(training(devices=device), devices_of(training(devices=device)))
        assert (alone[0].metrics["step_time_s"] or 0.0) > last
    assert {each.device: each.code for each in found.losers}["alveo-u280"] in ("dtype", "runtime", "compatibility")


def test_a_plan_of_training_is_what_train_says() -> None:
    each = refine_plan(training(), best_plans(training(devices="h100-sxm-80gb"), (load_device("h100-sxm-80gb"),))[0][0])
    result = simulate(scenario_of_plan(each.question))
    assert result.metrics["step_time_s"] == pytest.approx(each.metrics["step_time_s"], rel=1e-9)
    assert result.metrics["usd_per_step"] == pytest.approx(each.metrics["usd_per_step"], rel=1e-9)
    assert each.interval is not None and each.interval[0] < (each.metrics["step_time_s"] or 0.0) < each.interval[1]


def test_traffic_is_served_request_by_request() -> None:
    question = asked(devices="h100-sxm-80gb,l4", rate=4.0, slo="ttft<2s@p90,tpot<0.2", model="qwen2.5-1.5b")
    found = recommend(question)
    assert {each.device.id for each in found.ranked} == {"h100-sxm-80gb", "l4"}
    for each in found.ranked:
        assert not each.more["screened"] and each.more["replicas"] >= 1
        assert each.count == each.more["replicas"] * each.more["devices_per_replica"]
        assert (each.metrics["ttft_s"] or 9.0) <= 2.0 and (each.metrics["tpot_s"] or 9.0) <= 0.2
    assert recommend(asked(devices="l4", rate=4.0, slo="tpot<1ms")).losers[0].code == "slo"


def test_questions_that_cannot_be() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"slo": "speed<3"}, "unknown metric"), ({"slo": "ttft_s"}, "must be as"), ({"objective": "money"}, "allowed"),
        ({"only": "npu"}, "allowed"), ({"devices": "h1000"}, "unknown device"), ({"count": "0"}, "whole numbers"),
        ({"isl": 0}, "--isl"), ({"rate": 1.0, "objective": "throughput"}, "ask for usd"),
        ({"global_batch": 4}, "--seq-len"), ({"colour": "red"}, "unknown key"), ({"budget_usd": "0"}, "above 0"),
        ({"budget_usd": "-3"}, "--budget-usd -3: must be above 0"),
        ({"budget_usd": "-3 USD"}, "-3 USD: must be above 0"),
        ({"prices": "free"}, "rent or own"), ({"top": 1}, "2 to 16"), ({"slo": "ttft<1 W"}, "ttft"),
        ({"batch": 0}, "--batch 0: must be above 0"), ({"rate": 0.0}, "--rate 0"),
        ({"budget_w": -1.0}, "--budget-w -1"),
        ({"slo": "ttft>1"}, "lower is better; write ttft<1"), ({"slo": "output_tokens_per_s<9"}, "higher is better"),
    ]  # fmt: skip
    for more, words in wrong:
        with pytest.raises(InputError, match=words):
            asked(**more)


def test_the_command_and_its_files(silicost: Run, tmp_path: Path) -> None:
    text = "recommend --model llama-3.1-8b --isl 512 --osl 64 --devices l4,h100-sxm-80gb,a40"
    ran = silicost(text, "--out", str(tmp_path / "found"))
    assert ran.status == 0 and "no price of a40 is known" in ran.out and "with a chance of" in ran.out
    whole = json.loads((tmp_path / "found" / "recommendation.json").read_text())
    assert set(whole) >= {"asked", "ranked", "losers", "questions", "chance"}
    result = json.loads((tmp_path / "found" / "result.json").read_text())
    assert result["configuration"] == whole["ranked"][0]["configuration"]
    assert (tmp_path / "found" / "report.html").stat().st_size > 10_000
    assert silicost(text, "--format", "json").json["ranked"][0]["device"] == whole["ranked"][0]["device"]
    lines = silicost(text, "--format", "csv").out.splitlines()
    assert len(lines) == 4 and lines[0].startswith("rank,device")


def test_several_workloads_in_a_file(silicost: Run, refused: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "three.toml"
    path.write_text(
        '[[workload]]\nname = "chat"\nmodel = "llama-3.1-8b"\nisl = 128\nosl = 16\ndevices = ["l4", "t4"]\n'
        '[[workload]]\nname = "edge"\nmodel = "llama-3.2-1b"\nisl = 128\nosl = 16\nbudget_w = 75\ncount = 1\n'
        'devices = ["l4", "t4", "a40"]\nobjective = "energy"\n'
    )
    whole = silicost("recommend --workload", str(path), "--format", "json").json
    assert [each["asked"]["name"] for each in whole] == ["chat", "edge"]
    assert all(row["rated_w"] <= 75.0 for row in whole[1]["ranked"])
    path.write_text('[[workload]]\nmodel = "llama-3.1-8b"\nisl = 128\nosl = 16\nspeed = 3\n')
    assert "workload[1]" in refused("recommend --workload", str(path))
    path.write_text("a = 1\n")
    assert "[[workload]]" in refused("recommend --workload", str(path))


def test_nothing_feasible_is_status_3(silicost: Run) -> None:
    ran = silicost("recommend --model llama-3.1-8b --isl 512 --osl 64 --devices l4 --slo tpot_s<1us")
    assert ran.status == 3 and "no device does it; nearest is l4" in ran.err


def test_chances_need_two() -> None:
    found = recommend(asked(devices="l4"))
    assert found.chance is None and json_of(found)["chance"] is None
    assert np.isfinite(found.ranked[0].metrics[found.asked.metric] or math.nan)
