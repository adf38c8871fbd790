"""Mixtures beside what their devices would do alone: what crosses between devices by hand, verdicts, crossings."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hardware_specs.errors import InputError
from reports.study import Contest, Curve, Factor, Mixture, measure_of
from silicost.serving.answer import serve
from silicost.studies.crossovers import against_of, crossings_of, verdict_of
from silicost.studies.mixed import Alternative
from silicost.studies.mixed_figures import figures_of, fleet_waits, takes_turns, waiting_share
from silicost.studies.page_words import mixture_answer
from silicost.studies.shipped import path_of, shipped_studies
from silicost.studies.study import Study, read_study, study_from_text, study_of
from simulator.simulate import simulate

Run = Callable[..., Any]
MIXED = tuple(name for name in shipped_studies() if name.startswith("mixed-"))
USD = measure_of("usd", "lower")


def mixture(name: str) -> Alternative:
    mixed = read_study(path_of(name)).mixed
    assert mixed is not None
    return mixed.mixture


def alone(name: str, which: str) -> Alternative:
    mixed = read_study(path_of(name)).mixed
    assert mixed is not None
    return mixed.of(which)


def small(**changes: Any) -> dict[str, Any]:
    return {
        "base": {"scenario": "prefill-gpu-decode-tpu", "name": "both"},
        "alternatives": [
            {"name": "H100", "system": {"device": "h100-sxm-80gb"}, "plan": {"weight_dtype": "int8"}},
            {"name": "TPU", "system": {"device": "tpu-v5e"}, "plan": {"weight_dtype": "int8"}},
        ],
        "scenario": {"batch": 1, "osl": 8},
        "axes": {"isl": [128, 1024]},
        **changes,
    }


def test_cache_of_a_prompt_crosses_to_the_wafer() -> None:
    question = {"isl": 8192, "rate": 0.01, "requests": 3}
    mixed = mixture("mixed-prefill-decode")
    answer = serve(mixed.fleet(question), intervals=False)
    token_bytes = 2 * 32 * 8 * 128 * 2  # keys and values, layers, heads, values of a head, bf16
    carried = answer.found.links[0].carried_bytes
    assert carried == pytest.approx(3 * 8192 * token_bytes, rel=0.01)
    gap = (figures_of(mixed, question).values["tpot_s"] or 0.0) - (
        figures_of(alone("mixed-prefill-decode", "wafer alone"), question).values["tpot_s"] or 0.0
    )
    assert gap * 255 == pytest.approx(8192 * token_bytes / 50e9, rel=0.1)


def test_hidden_states_cross_to_the_experts_and_back() -> None:
    scenario = mixture("mixed-experts-cpu").scenario({"batch": 64, "isl": 512, "osl": 2})
    result = simulate(scenario)
    tokens = 64 * (512 + 1)
    moved = (61 - 3) * 2 * tokens * 7168 * 2  # layers with experts, both ways, hidden size, bf16
    link = scenario.links["pcie5-x16"]
    at_peak_s = moved / link.bandwidth.value
    assert at_peak_s < result.breakdown["transfer"] < 1.6 * at_peak_s


def test_vectors_and_prompts_cross_between_stages() -> None:
    answer = serve(mixture("mixed-retrieval-fpga").fleet({"rate": 1, "requests": 10}), intervals=False)
    carried = {frozenset(link.between): link.carried_bytes for link in answer.found.links}
    assert carried[frozenset(("embed", "search"))] == 10 * 768 * 4
    assert carried[frozenset(("search", "answer"))] == 10 * 1024 * 4


def test_weights_cross_once_over_the_adapters() -> None:
    one, eight = (figures_of(mixture("mixed-train-serve"), {"steps": 10, "batches": n}).values for n in (1, 8))
    weights = 8.03e9 * 2
    assert weights / (4 * 50e9) < (one["handover_s"] or 0.0) < 1.2 * weights / (4 * 50e9)
    assert one["handover_s"] == eight["handover_s"]
    assert (eight["makespan_s"] or 0.0) - (one["makespan_s"] or 0.0) == pytest.approx(7 * (one["e2e_s"] or 0.0))
    assert one["makespan_s"] == pytest.approx(
        10 * (one["step_time_s"] or 0.0) + (one["handover_s"] or 0.0) + (one["e2e_s"] or 0.0)
    )


def test_training_and_serving_are_paid_for_their_own_part() -> None:
    question = {"steps": 10, "batches": 3}
    found = figures_of(mixture("mixed-train-serve"), question).values
    scenario = mixture("mixed-train-serve").scenario(question)
    h100, tpu = (pool.usd_per_device_s.value * pool.count for pool in scenario.pools if pool.usd_per_device_s)
    by_hand = h100 * 10 * (found["step_time_s"] or 0.0) + tpu * 3 * (found["e2e_s"] or 0.0)
    assert found["usd"] == pytest.approx(by_hand + (h100 + tpu) * (found["handover_s"] or 0.0), rel=1e-6)


def test_pools_that_are_the_same_devices_hand_nothing_over() -> None:
    alternative = alone("mixed-train-serve", "H100 alone")
    scenario = alternative.scenario({"steps": 1})
    assert takes_turns(scenario, *scenario.pools)
    halves = tuple(msgspec.structs.replace(pool, count=4) for pool in scenario.pools)
    assert not takes_turns(scenario, *halves)
    assert figures_of(alternative, {"steps": 1}).values["handover_s"] == 0.0


def test_waiting_counts_by_price() -> None:
    assert waiting_share({"a": (3.0, 10.0), "b": (1.0, 0.0)}, 10.0) == pytest.approx(0.25)
    fleet = serve(alone("mixed-retrieval-fpga", "L40S alone").fleet({"rate": 8, "requests": 60}), intervals=False)
    pools = fleet.found.pools
    busy = sum(pool.busy_s / pool.active_s for pool in pools)
    assert fleet_waits(["card"] * 3, pools) == pytest.approx(max(0.0, 1.0 - busy))
    assert fleet_waits([""] * 3, pools) > 0.6


def test_a_crossing_lies_where_the_lines_meet() -> None:
    found = crossings_of((1.0, 100.0), Curve("mix", (2.0, 0.5)), Curve("alone", (1.0, 1.0)), USD)
    assert [each.pays for each in found] == [True]
    assert found[0].at == pytest.approx(10.0)
    higher = measure_of("output_tokens_per_s", "higher")
    assert not crossings_of((1.0, 100.0), Curve("mix", (2.0, 0.5)), Curve("alone", (1.0, 0.2)), higher)
    assert not crossings_of((1.0, 2.0), Curve("mix", (2.0, math.nan)), Curve("alone", (1.0, 1.0)), USD)


def test_a_verdict_says_where_and_why() -> None:
    nan = math.nan
    curves = (Curve("mix", (4.0, 2.0, 1.0)), Curve("a", (2.0, 2.5, 3.0)), Curve("b", (nan, 3.0, nan)))
    said = verdict_of("batch", (1.0, 2.0, 4.0), curves, USD, {"waiting_share": (0.8, 0.5, 0.1)})
    assert said.startswith("It pays in batch from 2 to 4: at batch 4 it is 3.00× as good as the next best, a.")
    assert "at batch 1 a is 2.00× as good; 80% of what the mixture pays is for devices that wait" in said
    never = verdict_of("batch", (1.0, 2.0, 4.0), (curves[1], curves[0], Curve("c", (1.0, 1.0, 1.0))), USD, {})
    assert never.startswith("It does not pay anywhere: at batch 1 c is 2.00× as good, at batch 4 c is 3.00× as good;")
    assert against_of("batch", (1.0, 2.0, 4.0), curves[0], curves[1], USD).startswith("better in batch from 2 to 4")
    assert "not feasible" in verdict_of("x", (1.0, 2.0), (Curve("m", (nan, nan)), Curve("a", (1.0, 1.0))), USD, {})


def test_better_only_where_the_other_cannot_run_is_said_so() -> None:
    nan, places = math.nan, (1.0, 2.0, 4.0)
    mix = Curve("mix", (4.0, 4.0, 4.0))
    assert against_of("rate", places, mix, Curve("a", (2.0, 2.5, nan)), USD) == (
        "worse where both are feasible (0.500× to 0.625×); a is not in rate at 4"
    )
    assert against_of("rate", places, mix, Curve("a", (2.0, 5.0, nan)), USD).endswith("a is not feasible in rate at 4)")


def test_reasons_are_about_what_is_measured() -> None:
    curves = (Curve("mix", (4.0,)), Curve("a", (2.0,)))
    for name, words in (("usd", "dearer"), ("e2e_s", "slower"), ("facility_j", "draw more")):
        said = verdict_of("rate", (1.0,), curves, measure_of(name, "lower"), {})
        assert words in said and said.count("its own devices") == 1


def test_the_lead_says_in_which_metrics_and_where() -> None:
    measures = (USD, measure_of("e2e_s", "lower"), measure_of("tpot_s", "lower"))

    def block(rate: str, *mixed: float) -> Mixture:
        contests = tuple(Contest(i, (Curve("mix", (v,)), Curve("a", (1.0,))), (), "") for i, v in enumerate(mixed))
        return Mixture(Factor("isl", ("8",), (8.0,)), (("rate", rate),), contests)

    said = mixture_answer(measures, (block("1", 2.0, 2.0, 0.5), block("16", 2.0, 0.5, 0.5)))
    assert said == (
        "The mixture is the best somewhere along isl in end-to-end latency (rate 16) and time per output token. "
        f"It never is in {measures[0].title.lower()}."
    )
    assert mixture_answer(measures, (block("1", 2.0, 2.0, 2.0),)).startswith(
        "The mixture is nowhere along isl the best"
    )


def test_an_alternative_beyond_its_memory_loses() -> None:
    curves = (Curve("mix", (4.0, 2.0)), Curve("a", (2.0, math.nan)))
    assert "at batch 2 nothing else is feasible" in verdict_of("batch", (1.0, 2.0), curves, USD, {})


def test_text_says_the_study_again() -> None:
    asked = study_of(small(), "here", Path())
    again = study_from_text(asked.text)
    assert again.mixed == asked.mixed
    assert again.space.names == ("alternative", "isl")
    assert asked.engine


def wrong(**changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        study_of(small(**changes), "here", Path())
    return str(caught.value)


def test_bad_files_are_refused_in_a_line() -> None:
    assert "needs either 'scenario' or 'fleet'" in wrong(base={})
    assert "did you mean 'prefill-gpu-decode-tpu'" in wrong(base={"scenario": "prefill-gpu-decode-tpv"})
    assert "1 to 12 [[alternatives]]" in wrong(alternatives=[])
    assert "missing key 'name'" in wrong(alternatives=[{"system": {}}])
    assert "did you mean 'plan'" in wrong(alternatives=[{"name": "a", "plam": {}}])
    assert "two are called 'both'" in wrong(alternatives=[{"name": "both"}])
    assert "unknown key" in wrong(axes={"seq_len": [1, 2]})
    assert "not of a study with a [base]" in wrong(intervals=True)
    assert "'wait_share' is not allowed" in wrong(metrics=["wait_share"])
    assert "workload.kind" in wrong(alternatives=[{"name": "a", "workload": {"kind": "training", "model": "gpt2"}}])
    with pytest.raises(InputError, match=r"need a \[base\]"):
        study_of({"alternatives": [], "axes": {}}, "here", Path())


def test_a_small_study_from_the_command_line(silicost: Run, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        'title = "Small"\nquestion = "Does it pay?"\n[base]\nscenario = "prefill-gpu-decode-tpu"\nname = "both"\n'
        '[[alternatives]]\nname = "H100"\nsystem = { device = "h100-sxm-80gb" }\n'
        'plan = { weight_dtype = "int8" }\n[scenario]\nbatch = 1\nosl = 8\n[axes]\nisl = [128, 1024]\n'
    )
    ran = silicost(f"sweep {tmp_path / 's.toml'} --out {tmp_path / 'out'} --format json")
    assert ran.status == 0, ran.err
    assert ran.json["rows"] == ran.json["feasible"] == 4
    contests = ran.json["mixture"][0]["contests"]
    assert [each["metric"] for each in contests] == [
        "e2e_s", "usd_per_million_output_tokens", "facility_j_per_output_token",
    ]  # fmt: skip
    assert all(each["verdict"] and set(each["against"]) == {"H100"} for each in contests)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Where the mixture pays</h2>" in page
    assert "Along each axis of numbers</h2>" not in page
    told = silicost(f"sweep {tmp_path / 's.toml'} --out {tmp_path / 'out'} --report none")
    assert "the mixture along isl" in told.out
    rows = silicost(f"sweep {tmp_path / 's.toml'} --out {tmp_path / 'out'} --report none --format csv").out
    assert rows.count("\n") == 5


@pytest.mark.parametrize("name", MIXED)
def test_shipped_ones_can_be_run_at_their_first_point(name: str) -> None:
    asked: Study = read_study(path_of(name))
    assert asked.mixed is not None
    assert len(MIXED) == 4
    assert asked.question.endswith("?")
    sampler = asked.sampler()
    each = sampler.count // len(asked.mixed.alternatives)
    for start in range(0, sampler.count, each):
        question = {**asked.fixed, **sampler.points(start, start + 1).row(0)}
        which = question.pop("alternative")
        question |= {"requests": 30} if asked.mixed.mixture.kind == "fleet" else {}
        found = figures_of(asked.mixed.of(which), question)
        assert found.fits
        assert all(found.values[metric] is not None for metric in asked.metrics)
