"""What was changed in a run is found again: alone, in several rows at once, and where it is no number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from hardware_specs.errors import InputError
from silicost.scenarios import inference_scenario
from simulator.simulate import simulate
from simulator.validation.explain.closing import CLOSED
from simulator.validation.explain.explain import MOST_ROWS, explain
from simulator.validation.explain.report import report_of
from simulator.validation.validate import predict

SMALL = {"model": "llama-3.2-1b", "batch": 1, "input_len": 128}
"""A run in which the host counts."""

CHANGES: list[tuple[str, dict[str, Any], str, float]] = [
    ("run", SMALL, "runtime.host_step", 3.0),
    ("run", {**SMALL, "metric": "decode_tokens_per_s"}, "runtime.host_step", 3.0),
    ("run", {"device": "epyc-9654", "engine": "llama.cpp CPU", "batch": 1}, "device.memory.bandwidth", 0.7),
    ("run", {"metric": "ttft_s", "batch": 4}, "runtime.factors.gemm", 0.7),
    ("step", {}, "runtime.factors.gemm", 0.7),
    ("gemm", {"m": 8192}, "runtime.factors.gemm", 0.7),
    ("reduce", {}, "device.ports.scaleup_bandwidth", 0.6),
]


@pytest.mark.parametrize(("base", "cells", "path", "factor"), CHANGES, ids=str)
def test_a_change_is_found_again(
    explained: Callable[..., Any], as_if: Callable[..., Any], row_of: Callable[..., Any], base: str,
    cells: dict[str, Any], path: str, factor: float,
) -> None:  # fmt: skip
    (one,) = explained(as_if(row_of(base, **cells), path, factor)).rows
    paths = [closing.candidate.path for closing in one.closings]
    assert path in paths[:3], [(each.candidate.path, each.size) for each in one.closings[:5]]
    found = one.closings[paths.index(path)]
    assert found.needed == pytest.approx(factor * found.candidate.now, rel=0.02)
    assert found.in_range


def test_changes_are_ranked_and_close_the_gap(
    explained: Callable[..., Any], as_if: Callable[..., Any], row_of: Callable[..., Any]
) -> None:
    (one,) = explained(as_if(row_of("run"), "runtime.factors.gemv", 0.6)).rows
    assert [each.rank for each in one.closings] == sorted(each.rank for each in one.closings)
    assert len({each.candidate.path for each in one.closings}) == len(one.closings)
    for each in one.closings:
        assert each.candidate.allows(each.nearest)
        if each.in_range:
            assert abs(each.left) < CLOSED
            assert each.needed == each.nearest
        else:
            assert abs(each.left) <= abs(one.gap) + 1e-6


def test_what_set_says_makes_the_prediction_the_measurement(
    explained: Callable[..., Any], row_of: Callable[..., Any]
) -> None:
    row = row_of("run", metric="e2e_s")
    predicted = explained({**row, "measured": 1.0}).rows[0].predicted
    measured = 1.2 * predicted
    (report,) = report_of(explained({**row, "measured": measured}))["rows"]
    tried = [change for change in report["changes"] if change["in_range"]][:6]
    assert len(tried) == 6
    for change in tried:
        path, text = change["set"].split("=")
        scenario = inference_scenario(
            "llama-3.1-8b", "h100-sxm-80gb", batch=8, isl=1024, osl=64, runtime="vllm-0.19", changes={path: text}
        )
        assert simulate(scenario).metrics["e2e_s"] == pytest.approx(measured, rel=2e-3), change


def test_one_number_for_several_rows(
    explained: Callable[..., Any], as_if: Callable[..., Any], row_of: Callable[..., Any]
) -> None:
    rows = [
        as_if(row_of("run", **cells), "runtime.host_step", 4.0)
        for cells in (SMALL, {**SMALL, "device": "a100-sxm-80gb"})
    ]
    found = explained(*rows)
    best = found.joint[0]
    assert (best.candidate.path, best.rows) == ("runtime.host_step", 2)
    assert best.value == pytest.approx(4.0 * best.candidate.now, rel=0.02)
    assert best.before == pytest.approx(sum(abs(row.gap) for row in found.rows) / 2)
    assert best.after < 0.01 < best.before
    assert all(each.after < each.before and each.rows > 1 for each in found.joint)


def test_one_row_is_not_several(explained: Callable[..., Any], row_of: Callable[..., Any]) -> None:
    found = explained(row_of("reduce"), row_of("gemm"))
    assert [row.reason for row in found.rows] == ["", ""]
    assert found.joint == ()  # they have no number in common


ALTERNATIVES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"engine": "vLLM 0.6.3"}, {"engine": "vLLM 0.19"}, "runtime vllm-0.6 instead of vllm-0.19"),
    ({"engine": "SGLang 0.5"}, {"engine": ""}, "runtime sglang-0.5 instead of"),
    ({"batch": 1, "metric": "output_tokens_per_s"}, {"batch": 16}, "batch 1: one sequence at a time"),
]


@pytest.mark.parametrize(("truth", "stated", "words"), ALTERNATIVES, ids=str)
def test_what_is_no_number_is_found(
    explained: Callable[..., Any], known: Callable[..., Any], row_of: Callable[..., Any], truth: dict[str, Any],
    stated: dict[str, Any], words: str,
) -> None:  # fmt: skip
    row = row_of("run", **truth)
    (one,) = explained({**row, **stated, "measured": known(row).predicted}).rows
    (found,) = (each for each in one.alternatives if each.words.startswith(words))
    assert abs(found.left) < 1e-6
    ranked = [abs(each.left) for each in one.alternatives if "power limit" not in each.words]
    assert ranked == sorted(ranked)
    assert all(abs(each.left) < abs(one.gap) for each in one.alternatives)


UNSTATED: list[tuple[str, dict[str, Any]]] = [
    ("run", {"metric": "ttft_s", "input_len": ""}),
    ("step", {"micro_batch": ""}),
]


@pytest.mark.parametrize(("base", "cells"), UNSTATED, ids=str)
def test_what_was_assumed_may_have_been_otherwise(
    explained: Callable[..., Any], known: Callable[..., Any], row_of: Callable[..., Any], base: str,
    cells: dict[str, Any],
) -> None:  # fmt: skip
    row = row_of(base, **cells)
    subject = known(row).subject
    assert subject.variants
    for words, scenario in subject.variants:
        assert "instead of what was assumed" in words
        (one,) = explained({**row, "measured": subject.case.value_of(row["metric"], scenario)}).rows
        (found,) = (each for each in one.alternatives if each.words == words)
        assert abs(found.left) < 1e-6


def test_context_parallelism_takes_its_share(known: Callable[..., Any], row_of: Callable[..., Any]) -> None:
    subject, predicted, _ = known(row_of("step", cp=2))
    assert subject.case.seconds(subject.case.setup) == pytest.approx(predicted, rel=1e-9)
    assert sum(subject.case.parts().values()) == pytest.approx(predicted, rel=1e-9)


def test_slower_runs_may_have_a_power_limit_faster_ones_not(
    explained: Callable[..., Any], known: Callable[..., Any], row_of: Callable[..., Any]
) -> None:
    row = row_of("run", metric="ttft_s")
    predicted = known(row).predicted

    def limits(factor: float) -> list[str]:
        (one,) = explained({**row, "measured": predicted * factor}).rows
        return [each.words for each in one.alternatives if "power limit" in each.words]

    assert len(limits(1.2)) == 1
    assert limits(0.9) == []


def test_inside_the_interval_there_is_nothing_to_explain(
    explained: Callable[..., Any], known: Callable[..., Any], row_of: Callable[..., Any]
) -> None:
    row = row_of("gemm")
    predicted = known(row).predicted

    def verdict(factor: float) -> tuple[str, bool, int]:
        (one,) = report_of(explained({**row, "measured_s": predicted * factor}))["rows"]
        return one["verdict"], one["inside_80"], len(one["changes"])

    inside, is_inside, changes = verdict(1.01)
    assert inside.startswith("nothing to explain: inside the 80% interval; smallest change")
    assert (is_inside, changes > 0) == (True, True)
    assert verdict(1.0)[0::2] == ("nothing to explain: inside the 80% interval", 0)
    outside, is_inside, _ = verdict(3.0)
    assert (outside.startswith("smallest change"), is_inside) == (True, False)
    absurd, is_inside, _ = verdict(1e6)
    assert (absurd.startswith("no change of one number"), is_inside) == (True, False)


UNEXPLAINED: list[tuple[str, dict[str, Any], str]] = [
    ("run", {"metric": "j_per_output_token"}, "an energy is no time"),
    ("run", {"device": "h1000"}, "unknown device 'h1000'"),
    ("run", {"device": ""}, "device missing"),
    ("run", {"measured": "fast"}, "must be a number"),
    ("run", {"metric": "ttft_s", "batch": "", "max_tpot_s": 0.05}, "the first token of a server under load"),
    ("run", {"metric": "output_tokens_per_s", "batch": "", "request_rate": 0.5}, "what leaves the server is what"),
    ("step", {"primary": 0}, "another row is the primary one"),
    ("step", {"global_batch": 15}, "--global-batch 15: must be a multiple"),
    ("gemm", {"op": "gem"}, "unknown op 'gem'; did you mean 'gemm'"),
    ("gemm", {"device": "a100-sxm-80gb", "dtype": "fp8"}, "cannot compute in fp8"),
    ("reduce", {"nodes": 3}, "nodes 3: must divide"),
]


@pytest.mark.parametrize(("base", "cells", "reason"), UNEXPLAINED, ids=str)
def test_rows_without_an_explanation_say_why(
    explained: Callable[..., Any], row_of: Callable[..., Any], base: str, cells: dict[str, Any], reason: str
) -> None:
    found = explained(row_of(base, **cells), row_of(base, **cells))
    assert [reason in one.reason for one in found.rows] == [True, True], found.rows[0].reason
    (one, _), joint = report_of(found)["rows"], found.joint
    assert (one["changes"], one["parts"], one["alternatives"], one["verdict"], joint) == ([], [], [], "", ())
    assert one["log_ratio"] is None


def test_serving_runs_are_reasoned(points: Callable[..., Any]) -> None:
    table = points("serving", [{"arrival_s": 0, "input_len": 8, "output_len": 8}])
    (one,) = explain(predict([table], {}), {}).rows
    assert one.reason


def test_a_server_under_a_limit_is_explained_by_whole_runs(
    explained: Callable[..., Any], row_of: Callable[..., Any]
) -> None:
    row = row_of("run", batch="", max_tpot_s=0.05, metric="output_tokens_per_s")
    (one,) = explained({**row, "measured": 100.0}).rows
    assert one.reason == ""
    assert math.exp(one.gap) == pytest.approx(100.0 / one.predicted)


def test_too_many_rows_are_refused(points: Callable[..., Any], row_of: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"101 rows: explain takes at most 100 \(choose some with --where\)"):
        explain(predict([points("ops", [row_of("gemm")] * (MOST_ROWS + 1))], {}), {})
