"""Scores of several files, their documented form, and rows that come back as they were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from hardware_specs.errors import InputError
from simulator.validation.points import Points
from simulator.validation.serving import NO_RUN
from simulator.validation.validate import narrowed, predict, report_of, rows_of

MakePoints = Callable[..., Points]
NORM = {"source": "lab", "device": "a100-sxm-80gb", "op": "rmsnorm", "dtype": "fp16", "rows": "4096", "cols": "8192",
        "measured_s": "1e-4", "software": "", "my note": "kept"}  # fmt: skip
CPU = {"engine": "llama.cpp", "device": "ryzen-9-7950x", "model": "llama-3.1-8b", "weight_dtype": "q4_k_m",
       "batch": "1", "input_len": "64", "output_len": "8", "metric": "tpot_s", "measured": "0.1"}  # fmt: skip

GROUP = [
    "kind", "source", "device", "op", "n", "skipped", "skip_reasons", "mape", "mape_with_skipped", "median_ape",
    "p90_ape", "median_abs_log_ratio", "bias", "kendall_tau", "coverage_80", "coverage_95", "interval_score",
    "constant_band_score", "coverage_80_p", "coverage_95_p", "fitted_rows", "source_devices",
    "assumed_rows",
]  # fmt: skip


@pytest.fixture
def tables(points: MakePoints) -> list[Points]:
    return [
        points("ops", [NORM, {**NORM, "device": "t4"}, {**NORM, "device": "t5"}, {**NORM, "source": ""}], "ops-table"),
        points("inference", [CPU, {**CPU, "model": ""}], "cpu_edge_misc"),
        points("serving", [{"arrival_s": "0", "input_len": "1", "output_len": "1"}], "run"),
    ]


def labels(report: dict[str, Any], *names: str) -> list[tuple[str, ...]]:
    return [tuple(group.get(name, "") for name in names) for group in report["groups"]]


def test_form_of_the_report(tables: list[Points]) -> None:
    report = report_of(predict(tables, {}))
    assert list(report) == ["schema", "groups", "overall", "memory", "ranking", "left_out"]
    assert report["memory"] is None
    assert report["ranking"] == []
    for group in report["groups"]:
        assert list(group) == [("metric" if name == "op" and group["kind"] != "ops" else name) for name in GROUP]
    assert list(report["overall"]) == [*GROUP[4:], "source_device_groups", "fitted", "held_out"]
    assert list(report["overall"]["source_device_groups"]) == ["groups", "without_prediction", *GROUP[7:-5]]


def test_groups_by_kind_source_device_and_op(tables: list[Points]) -> None:
    report = report_of(predict(tables, {}))
    assert labels(report, "kind", "source", "device") == [
        ("ops", "lab", "a100-sxm-80gb"),
        ("ops", "lab", "t4"),
        ("ops", "lab", "t5"),
        ("ops", "ops-table", "a100-sxm-80gb"),
        ("inference", "cpu_edge_misc", "ryzen-9-7950x"),
        ("serving", "run", ""),
    ]
    assert [(group["n"], group["skipped"]) for group in report["groups"]] == [
        (1, 0), (1, 0), (0, 1), (1, 0), (1, 1), (0, 1),
    ]  # fmt: skip
    assert report["groups"][-1]["skip_reasons"] == {NO_RUN: 1}


def test_skipped_rows_are_counted_over_all(tables: list[Points]) -> None:
    overall = report_of(predict(tables, {}))["overall"]
    assert (overall["n"], overall["skipped"]) == (4, 3)
    assert sum(overall["skip_reasons"].values()) == 3
    assert overall["mape_with_skipped"] == pytest.approx((4 * overall["mape"] + 3) / 7)
    assert (overall["source_device_groups"]["groups"], overall["source_device_groups"]["without_prediction"]) == (6, 2)


def test_rows_that_a_fit_has_seen_are_told_apart_and_may_be_left_out(tables: list[Points]) -> None:
    overall = report_of(predict(tables, {}))["overall"]
    assert (overall["fitted"]["n"], overall["fitted"]["skipped"]) == (1, 1)
    assert (overall["held_out"]["n"], overall["fitted_rows"]) == (3, 1)
    report = report_of(predict(tables, {}, exclude_fitted=True))
    assert report["left_out"] == {"seen by a fit": 2}
    assert (report["overall"]["n"], report["overall"]["fitted"]["n"]) == (3, 0)
    assert "inference" not in {group["kind"] for group in report["groups"]}


def test_groups_by_any_label(tables: list[Points]) -> None:
    scored = predict(tables[:1], {})
    assert labels(report_of(scored, ["device_class", "my note"]), "device_class", "my note") == [
        ("", "kept"), ("gpu", "kept"),
    ]  # fmt: skip
    regimes = {group["regime"]: group["n"] + group["skipped"] for group in report_of(scored, ["regime"])["groups"]}
    assert regimes == Counter(scored[0].outcome.regime.tolist())
    assert labels(report_of(predict(tables, {}), ["fitted"]), "kind", "fitted") == [
        ("ops", "False"), ("inference", "True"), ("serving", "False"),
    ]  # fmt: skip
    with pytest.raises(InputError, match="did you mean 'device'"):
        report_of(predict(tables, {}), ["devise"])
    with pytest.raises(InputError, match="at least one column"):
        report_of(predict(tables, {}), [])


def test_rows_that_rest_on_assumptions_are_told_apart_and_may_be_left_out(points: MakePoints) -> None:
    found = [points("inference", [CPU, {**CPU, "input_len": ""}, {**CPU, "device": "t5"}])]
    scored = predict(found, {})
    assert labels(report_of(scored, ["assumed"]), "assumed") == [("",), ("input_len",)]
    overall = report_of(scored)["overall"]
    assert (overall["n"], overall["assumed_rows"]) == (2, 1)
    kept = narrowed(scored, "assumed=,metric=tpot_s")
    assert [len(each.outcome) for each in kept] == [2]
    assert len(kept[0].points.table) == 2
    assert report_of(kept)["overall"]["assumed_rows"] == 0
    assert len(narrowed(scored, "regime=memory|compute|overhead,assumed=input_len")[0].outcome) == 1
    with pytest.raises(InputError, match="no row is left"):
        narrowed(scored, "assumed=batch")


def test_rows_come_back_with_their_predictions(tables: list[Points]) -> None:
    rows = rows_of(predict(tables, {}))
    assert len(rows) == 7
    assert rows["kind"].tolist() == ["ops"] * 4 + ["inference"] * 2 + ["serving"]
    assert rows["my note"].tolist()[:4] == ["kept"] * 4
    assert rows["measured_s"].tolist()[0] == 1e-4
    assert rows["predicted"].notna().tolist() == [True, True, False, True, True, False, False]
    assert rows["skip_reason"].tolist()[-1] == NO_RUN
    assert (rows["low_80"] < rows["high_80"])[rows["predicted"].notna()].all()
    assert rows["source"].tolist()[3] is None


def test_columns_of_the_input_are_kept_beside_ours(points: MakePoints) -> None:
    row = {**NORM, "predicted": "12", "device_class": "card", "kind": "odd"}
    rows = rows_of(predict([points("ops", [row])], {}))
    assert rows["input_predicted"].tolist() == [12.0]
    assert rows["device_class"].tolist() == ["card"]
    assert (rows["input_kind"].tolist(), rows["kind"].tolist()) == (["odd"], ["ops"])
    assert rows.columns.is_unique


def test_progress_is_told(tables: list[Points]) -> None:
    told: list[tuple[str, int, int]] = []
    predict(tables, {}, progress=lambda *state: told.append(state))
    assert ("ops-table", 4, 4) in told
    assert ("cpu_edge_misc", 2, 2) in told


STEP = {"source": "lab", "framework": "torchtitan", "device": "h100-sxm-80gb", "n_devices": "8", "model": "gpt-x",
        "layers": "24", "hidden": "2048", "heads": "16", "ffn": "8192", "vocab": "51200", "seq_len": "2048",
        "global_batch": "32", "micro_batch": "4", "tp": "1", "pp": "1", "recompute": "none", "precision": "bf16",
        "metric": "step_time_s", "measured": "1", "primary": "1"}  # fmt: skip


def test_memory_of_training_runs_has_a_line_of_its_own(points: MakePoints) -> None:
    memory = {**STEP, "metric": "memory_bytes", "primary": "0", "measured": "4e10"}
    rows = [STEP, memory, {**memory, "source": "other", "measured": "8e10"}, {**memory, "layers": ""}]
    scored = predict([points("training", rows)], {})
    report = report_of(scored)
    assert report["overall"]["n"] == 1, "memory is no step time"
    figures = report["memory"]
    assert list(figures) == GROUP[4:]
    assert (figures["n"], figures["skipped"], figures["source_devices"]) == (2, 1, 2)
    assert scored[0].memory is not None
    held = scored[0].memory.predicted
    assert figures["mape"] == pytest.approx((abs(held[1] / 4e10 - 1.0) + abs(held[2] / 8e10 - 1.0)) / 2.0)
    assert figures["coverage_80"] is None, "no interval is given"
    runtime = str(scored[0].memory.runtime[1])
    kept = narrowed(scored, f"runtime={runtime}")[0]
    assert kept.memory is not None and len(kept.memory) == len(kept.points.table)
    assert report_of(predict([points("training", [STEP])], {}))["memory"] is None
