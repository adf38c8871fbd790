"""What to measure next, as a program and as a person reads it."""

from __future__ import annotations

import csv
import io
import json
import math
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware_specs.errors import InputError
from silicost.commands.next_measurement import FROM_SAMPLES, PROBES, command_for, next_measurement
from silicost.output import Format
from silicost.scenarios import inference_scenario
from simulator.decisions.measurements import Measurement
from simulator.simulate import simulate
from simulator.uncertainty.intervals import Error

STUDY = """
metrics = "tpot_s"
title = "Which one?"
[scenario]
model = "llama-3.1-8b"
isl = 512
osl = 32
batch = 4
[axes]
device = ["h100-sxm-80gb", "mi300x", "t4"]
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


def asked(study: Path, capsys: pytest.CaptureFixture[str], how: Format = Format.JSON) -> str:
    capsys.readouterr()
    next_measurement(study=str(study), format=how)
    return capsys.readouterr().out


def whole(study: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(asked(study, capsys))


def test_json(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = whole(study, capsys)
    assert (found["metric"], found["better"], found["title"]) == ("tpot_s", "lower", "Which one?")
    assert [each["name"] for each in found["alternatives"]] == ["h100-sxm-80gb", "mi300x"]
    assert [each["name"] for each in found["left_out"]] == ["t4"]
    assert "does not fit" in found["left_out"][0]["reason"]
    for each in found["alternatives"]:
        result = simulate(inference_scenario("llama-3.1-8b", each["name"], batch=4, isl=512, osl=32))
        band = result.intervals["tpot_s"]
        assert (each["value"], each["p10"], each["p90"]) == (result.metrics["tpot_s"], band.p10, band.p90)
    chances = [each["chance_best"] for each in found["alternatives"]]
    assert sum(chances) == pytest.approx(1.0)
    assert found["flip_chance"] == pytest.approx(min(chances))
    assert found["chosen"] == min(found["alternatives"], key=lambda each: each["value"])["name"]
    rows = found["measurements"]
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    flips = [row["flip_chance"] for row in rows]
    assert flips == sorted(flips)
    assert 0.0 < found["after_all"]["flip_chance"] < flips[0] < found["flip_chance"]
    assert (rows[0]["device"], rows[0]["operators"]) == ("mi300x", "gemm"), "which nobody has measured"
    assert rows[0]["shared_sd_after"] < rows[0]["shared_sd"]
    assert sum(doubt["share"] for doubt in found["doubts"]) == pytest.approx(1.0)


def test_chances_follow_the_intervals(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = whole(study, capsys)
    ratio = math.log(found["alternatives"][0]["value"] / found["alternatives"][1]["value"])
    expected = 0.5 * math.erfc(abs(ratio) / found["ratio_sd"]["now"] / math.sqrt(2.0))
    assert found["flip_chance"] == pytest.approx(expected, rel=1e-9)
    sds = [math.log(each["p90"] / each["p10"]) / 2.0 / 1.2815515655446004 for each in found["alternatives"]]
    assert 0.7 * math.hypot(*sds) < found["ratio_sd"]["now"] < math.hypot(*sds), "errors of two devices share a little"


def test_a_rate_chooses_as_its_time(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    as_time = whole(study, capsys)
    study.write_text(STUDY.replace("tpot_s", "decode_tokens_per_s"))
    as_rate = whole(study, capsys)
    assert as_rate["better"] == "higher"
    assert as_rate["chosen"] == as_time["chosen"]
    assert as_rate["flip_chance"] == pytest.approx(as_time["flip_chance"], rel=1e-9)


def test_a_price_alone_is_no_doubt(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = STUDY.replace("tpot_s", "usd_per_million_output_tokens").replace("[axes]", 'device = "mi300x"\n[axes]')
    axis = 'device = ["h100-sxm-80gb", "mi300x", "t4"]'
    study.write_text(text.replace(axis, 'price = ["2.5 USD/h", "2 USD/h"]'))
    found = whole(study, capsys)
    assert (found["chosen"], found["flip_chance"], found["measurements"]) == ("2 USD/h", 0.0, [])
    assert "no measurement of operators would lessen that chance" in asked(study, capsys, Format.TABLE)


def test_table_and_csv(study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    found = whole(study, capsys)
    text = asked(study, capsys, Format.TABLE)
    lines = text.splitlines()
    assert lines[0] == "Which one?"
    assert f"choose {found['chosen']}: with a chance of" in text
    assert f"measure gemm on mi300x next ({FROM_SAMPLES}): it lessens that chance to" in text
    assert "is assumed: the median of the calibrations there are" in text
    assert "left out" in text
    assert max(map(len, lines)) <= 200
    rows = list(csv.DictReader(io.StringIO(asked(study, capsys, Format.CSV))))
    assert [row["operators"] for row in rows] == [row["operators"] for row in found["measurements"]]
    assert float(rows[0]["flip_chance"]) == found["measurements"][0]["flip_chance"]


def test_one_that_can_be_run_is_chosen(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.write_text(STUDY.replace('"h100-sxm-80gb", ', ""))
    assert "choose mi300x: no other alternative can be run" in asked(study, capsys, Format.TABLE)
    found = whole(study, capsys)
    assert (found["rival"], found["flip_chance"], found["measurements"]) == (None, 0.0, [])


def test_the_same_to_the_bit(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.write_text(STUDY.replace('"t4"', '"a100-sxm-80gb", "gaudi-3"'))
    assert asked(study, capsys) == asked(study, capsys)


def test_bad_studies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        next_measurement(study=str(tmp_path / "none.toml"), format=Format.JSON)


def of(device_class: str, runtime: str, family: str) -> Measurement:
    nothing = np.zeros(0)
    return Measurement(
        "d", device_class, runtime, family, "bf16", nothing.astype(int), nothing, Error(1, 1), Error(0, 0)
    )


def test_commands_and_probes() -> None:
    registry = import_module("simulator.calibration.probes.registry")
    for name in ("torch_products", "torch_attention", "torch_vector", "torch_calls"):
        import_module(f"simulator.calibration.probes.{name}")
    runtimes = import_module("simulator.calibration.probes.torch_calls").RUNTIMES
    for family, probe in PROBES.items():
        assert set(registry.PROBES[probe].targets) == {"cpu", "gpu"}
        assert command_for(of("cpu", runtimes["cpu"], family)) == f"silicost calibrate cpu --only {probe}"
    assert command_for(of("gpu", runtimes["gpu"], "gemm")) == "silicost calibrate gpu --only torch.products"
    assert command_for(of("gpu", "vllm-0.19", "gemm")) == FROM_SAMPLES
    assert command_for(of("tpu", "jax-xla-2024", "gemm")) == FROM_SAMPLES
    assert command_for(of("gpu", "nccl", "collective")) == "silicost calibrate network"
