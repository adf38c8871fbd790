"""Points of a study become rows: as ``simulate`` says, or with the reason why not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware_specs.errors import InputError
from silicost.scenarios import inference_scenario, training_scenario
from silicost.studies.study import study_of
from silicost.studies.work import prepare_study, work_from_text
from simulator.explore.points import Column
from simulator.simulate import simulate

SCENARIO = {"model": "llama-3.1-8b", "device": "h100-sxm-80gb", "isl": 512, "osl": 64}


def answered(**tables: Any) -> list[dict[str, Any]]:
    prepared = prepare_study(study_of({"scenario": SCENARIO, **tables}, "s", Path()))
    points = prepared.work.sampler.points(0, prepared.work.sampler.count)
    table = prepared.work.evaluator(points)

    def value(column: Any, row: int) -> Any:
        return column.value(row) if isinstance(column, Column) else column[row].item()

    return [
        {**points.row(row), **{name: value(column, row) for name, column in table.items()}}
        for row in range(len(points))
    ]


def test_rows_are_what_simulate_says() -> None:
    axes = {"dtype": "bf16,fp8", "batch": [1, 7, 64], "tp": [1, 2], "device.memory.bandwidth": "1x,2x"}
    metrics = ["ttft_s", "tpot_s", "memory_bytes", "usd_per_million_output_tokens"]
    for row in answered(axes=axes, metrics=metrics, intervals=True):
        result = simulate(
            inference_scenario(
                "llama-3.1-8b", "h100-sxm-80gb", batch=row["batch"], isl=512, osl=64, tp=row["tp"], dtype=row["dtype"],
                changes={"device.memory.bandwidth": row["device.memory.bandwidth"]},
            )
        )  # fmt: skip
        assert row["feasible"] and row["fits"] and row["reason"] == "" and row["detail"] == ""
        assert row["memory_bytes"] == pytest.approx(result.memory.total, rel=1e-9)
        for name in metrics[:2]:
            assert row[name] == pytest.approx(result.metrics[name], rel=1e-9)
            assert row[f"{name}.p10"] == pytest.approx(result.intervals[name].p10, rel=1e-9)
            assert row[f"{name}.p90"] == pytest.approx(result.intervals[name].p90, rel=1e-9)


def test_the_engine_agrees() -> None:
    axes = {"device": ["h100-sxm-80gb", "tpu-v5p"], "batch": [1, 16]}
    scenario = {"model": "llama-3.1-8b", "isl": 512, "osl": 64}
    closed, engine = (answered(scenario=scenario, axes=axes, engine=engine) for engine in (False, True))
    for one, other in zip(closed, engine, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            expected = pytest.approx(other[name], rel=1e-9) if isinstance(value, float) else other[name]
            assert value == expected, name


def test_reasons() -> None:
    rows = answered(
        scenario={"model": "llama-3.1-8b", "isl": 512, "osl": 64},
        axes={"device": ["h100-sxm-80gb", "p4-pcie-8gb"], "dtype": ["bf16", "fp4"], "tp": [1, 3], "batch": [0, 1]},
        constraints=["tpot_s <= 1 ms"],
    )
    found = {(r["device"], r["dtype"], r["tp"], r["batch"]): r for r in rows}
    assert found["h100-sxm-80gb", "bf16", 1, 0]["reason"] == "traffic"
    assert found["h100-sxm-80gb", "bf16", 1, 1]["reason"] == "tpot_s"
    assert found["h100-sxm-80gb", "bf16", 1, 1]["fits"]
    assert found["h100-sxm-80gb", "bf16", 3, 1]["reason"] == "plan"
    assert found["h100-sxm-80gb", "fp4", 1, 1]["reason"] == "dtype"
    assert "cannot compute in fp4" in found["h100-sxm-80gb", "fp4", 1, 1]["detail"]
    assert math.isnan(found["h100-sxm-80gb", "fp4", 1, 1]["tpot_s"])
    small = found["p4-pcie-8gb", "bf16", 1, 1]
    assert (small["reason"], small["fits"], small["feasible"]) == ("memory", False, False)
    assert small["tpot_s"] > 0.0
    assert not any(row["feasible"] for row in rows)


def test_training_steps() -> None:
    rows = answered(
        scenario={"model": "llama-3.1-8b", "device": "h100-sxm-80gb", "seq_len": 2048, "count": 8, "global_batch": 32},
        axes={"micro_batch": [1, 2, 5], "recompute": ["none", "full"]},
    )
    for row in rows:
        if row["micro_batch"] == 5:
            assert row["reason"] == "input"
            continue
        result = simulate(
            training_scenario(
                "llama-3.1-8b", "h100-sxm-80gb", global_batch=32, seq_len=2048, count=8,
                micro_batch=row["micro_batch"], recompute=row["recompute"],
            )
        )  # fmt: skip
        assert row["step_time_s"] == result.metrics["step_time_s"]
        assert row["fits"] == result.fits


def test_samples_of_continuous_axes() -> None:
    rows = answered(
        axes={"device.memory.bandwidth": {"low": "1x", "high": "4x", "log": True}, "batch": {"low": 1, "high": 64}},
        sample={"kind": "latin-hypercube", "n": 12, "seed": 5}, metrics=["tpot_s"],
    )  # fmt: skip
    assert len(rows) == 12
    row = rows[3]
    changes = {"device.memory.bandwidth": row["device.memory.bandwidth"]}
    scenario = inference_scenario("llama-3.1-8b", "h100-sxm-80gb", batch=row["batch"], isl=512, osl=64, changes=changes)
    assert row["tpot_s"] == pytest.approx(simulate(scenario).metrics["tpot_s"], rel=1e-9)


def test_names_are_checked_before_anything_is_computed() -> None:
    for axes, words in (
        ({"device": ["h100-sxm-80gb", "h10"]}, "unknown device 'h10'"),
        ({"runtime": ["vllm-0.19", "vlm"]}, "unknown runtime 'vlm'"),
        ({"device.memory.bandwith": ["1x", "2x"]}, "no field 'bandwith'; did you mean 'bandwidth'"),
    ):
        scenario = {key: value for key, value in SCENARIO.items() if key not in axes} | {"batch": 1}
        with pytest.raises(InputError, match=words):
            prepare_study(study_of({"scenario": scenario, "axes": axes}, "s", Path()))


def test_other_processes_make_the_same_work() -> None:
    prepared = prepare_study(study_of({"scenario": SCENARIO, "axes": {"batch": [1, 2, 4]}}, "s", Path()))
    again = work_from_text(prepared.recipe.text)
    assert again.evaluator.fingerprint == prepared.definition.evaluator
    points = again.sampler.points(0, 3)
    assert points.digest() == prepared.work.sampler.points(0, 3).digest()
    one, other = (work.evaluator(points)["tpot_s"] for work in (prepared.work, again))
    assert isinstance(one, np.ndarray)
    assert isinstance(other, np.ndarray)
    assert one.tolist() == other.tolist()


def test_fingerprints_tell_studies_apart() -> None:
    def fingerprint(**tables: Any) -> str:
        scenario = {**SCENARIO, **tables.pop("fixed", {})}
        return prepare_study(
            study_of({"scenario": scenario, "axes": {"batch": [1, 2]}, **tables}, "s", Path())
        ).definition.evaluator

    found = [
        fingerprint(), fingerprint(fixed={"isl": 513}), fingerprint(metrics=["tpot_s"]), fingerprint(engine=True),
        fingerprint(intervals=True), fingerprint(constraints=["tpot_s <= 1 s"]),
    ]  # fmt: skip
    assert len(set(found)) == len(found)
    assert fingerprint() == found[0]
