"""Study files: what they say, what is refused, and that their text says the same again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hardware_specs.errors import InputError
from silicost.studies.study import better_of, constraint_of, read_study, study_from_text, study_of

SCENARIO = {"model": "llama-3.1-8b", "device": "h100-sxm-80gb", "isl": 512, "osl": 64}


def study(**tables: Any) -> dict[str, Any]:
    return {"scenario": SCENARIO, "axes": {"batch": "1:8:*2"}, **tables}


def test_axes_of_all_kinds() -> None:
    asked = study_of(
        study(
            axes={
                "batch": "1:8:*2", "dtype": ["bf16", "fp8"], "device.memory.bandwidth": "1x,2x",
                "device": {"compute": {"units": {"low": 60, "high": 132, "whole": True}}},
            },
            scenario={"model": "llama-3.1-8b", "device": "h100-sxm-80gb", "isl": 512, "osl": 64},
            linked=[{"tp": [1, 2], "count": [1, 2]}],
            sample={"kind": "sobol", "n": 64, "seed": 3},
        ),
        "s.toml", Path(),
    )  # fmt: skip
    assert asked.space.names == (
        "batch", "dtype", "device.memory.bandwidth", "device.compute.units", "tp", "count",
    )  # fmt: skip
    points = asked.sampler().points(0, 64)
    assert len(points) == 64
    for row in (points.row(i) for i in range(64)):
        assert row["tp"] == row["count"]
        assert row["batch"] in (1, 2, 4, 8)
        assert 60 <= int(row["device.compute.units"]) <= 132
        assert row["device.memory.bandwidth"] in ("1x", "2x")


def test_set_tables_are_paths() -> None:
    asked = study_of(study(scenario={**SCENARIO, "set": {"device.memory.bandwidth": "2x"}}), "s.toml", Path())
    assert asked.fixed["device.memory.bandwidth"] == "2x"


def test_the_text_says_the_same_study(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        'title = "t"\nmetrics = ["tpot_s"]\nconstraints = ["tpot_s <= 30 ms"]\nconditions = ["batch > 1"]\n'
        '[scenario]\nmodel = "llama-3.1-8b"\ndevice = "./mine.toml"\nisl = 8\n'
        '[axes]\nosl = "16:64:+16"\nbatch = "1:8:*2"\ndtype = "bf16,fp8"\n'
    )
    read = read_study(tmp_path / "s.toml")
    again = study_from_text(read.text)
    assert again.fixed == read.fixed
    assert read.fixed["device"] == str(tmp_path / "mine.toml")
    assert again.space.names == read.space.names == ("osl", "batch", "dtype")
    assert again.sampler().points(0, 100).digest() == read.sampler().points(0, 100).digest()
    assert again.constraints == read.constraints
    assert read.constraints[0].bound == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"axes": {"bach": [1, 2]}}, "unknown axis; did you mean 'batch'"),
        ({"axes": {"devices.memory.bandwidth": ["1x", "2x"]}}, "unknown axis; did you mean 'device.memory.bandwidth'"),
        ({"axes": {}}, "nothing varies"),
        ({"axes": {"isl": [1, 2]}}, "'isl' is fixed in .scenario. and an axis"),
        ({"axis": {}}, "'axis': unknown key; did you mean 'axes'"),
        ({"metrics": ["tpot"]}, "'tpot' is not allowed; did you mean 'tpot_s'"),
        ({"metrics": ["step_time_s"]}, "'step_time_s' is not allowed"),
        ({"axes": {"batch": [1, 2], "global_batch": [1]}}, "does not belong to training"),
        ({"axes": {"batch": [1, 2], "recompute": ["full", "none"]}}, "belongs to training"),
        ({"linked": [{"tp": [1, 2], "count": [1, 2, 4]}]}, "linked axes need equally many values"),
        ({"constraints": ["tpot_s <= 3 GB"]}, "'3 GB' is a size, not a time"),
        ({"constraints": ["tpot_s <= 1 s", "tpot_s >= 2 s"]}, "contradict each other"),
        ({"constraints": ["tpot_s <= 30"]}, "30"),
        ({"constraints": ["foo <= 30 ms"]}, "unknown metric 'foo'"),
        ({"objectives": ["foo"]}, "'foo' is not allowed .allowed: ttft_s"),
        ({"constraints": ["tpot_s < 1"]}, "must be 'METRIC <= NUMBER'"),
        ({"conditions": ["batch > 100"]}, "keeps no point"),
        ({"conditions": ["batsh > 1"]}, "batsh"),
        ({"sample": {"kind": "sobel", "n": 4}}, "unknown sampler 'sobel'; did you mean 'sobol'"),
        ({"sample": {"kind": "sobol"}}, "n"),
        ({"sample": {"kind": "sobol", "m": 4}}, "'m': unknown key"),
        ({"sample": {"kind": "random", "n": 10**12}}, "1,000,000,000,000"),
        ({"axes": {"batch": {"low": 1, "high": 8}}}, "a grid has no continuous axis"),
        ({"axes": {"batch": {"low": 8, "high": 1}}, "sample": {"kind": "sobol", "n": 4}}, "the low one below"),
        ({"axes": {"batch": "1:8:+0"}}, "step"),
        ({"engine": "yes"}, "engine: must be true or false"),
        ({"objectives": ["tpot_s:down"]}, "METRIC:lower or METRIC:higher"),
    ],
)  # fmt: skip
def test_what_is_refused(tables: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        study_of(study(**tables), "s.toml", Path()).sampler()


def test_ten_to_the_twelve_points_are_too_many() -> None:
    axes = {"batch": "1:10000:+1", "isl": "1:10000:+1", "osl": "1:10000:+1"}
    asked = study_of({"scenario": {"model": "gpt2", "device": "t4"}, "axes": axes}, "s.toml", Path())
    assert asked.space.size == 10**12
    with pytest.raises(InputError, match="1,000,000,000,000 points"):
        asked.sampler()


def test_units_of_constraints() -> None:
    assert constraint_of("memory_bytes <= 20 GB", "x").bound == 20e9
    assert constraint_of("j_per_output_token >= 500 mJ", "x").bound == 0.5
    assert constraint_of("ttft_s <= 200ms", "x").bound == pytest.approx(0.2)
    assert better_of("tpot_s") == "lower"
    assert better_of("output_tokens_per_s") == "higher"
