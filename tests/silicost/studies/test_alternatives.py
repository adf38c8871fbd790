"""Alternatives of studies: the product of axes, what is refused, and what cannot be run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hardware_specs
from hardware_specs.errors import DoesNotFit, InputError, UnknownName
from silicost.scenarios import inference_scenario
from silicost.studies.alternatives import MOST, feasible, load_alternatives
from silicost.studies.cells import scenario_of

SCENARIO = '[scenario]\nmodel = "qwen2.5-1.5b"\nisl = 128\nosl = 16\n'
GOOD = f'metrics = "tpot_s"\n{SCENARIO}[axes]\ndevice = ["h100-sxm-80gb", "xeon-8480-plus"]\nbatch = [1, 8]\n'


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return tmp_path / "study.toml"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_product_of_the_axes(study: Path) -> None:
    read = load_alternatives(write(study, GOOD))
    assert read.metric == "tpot_s"
    assert [name for name, _ in read.candidates] == [
        "h100-sxm-80gb, batch 1", "h100-sxm-80gb, batch 8", "xeon-8480-plus, batch 1", "xeon-8480-plus, batch 8",
    ]  # fmt: skip
    found, left_out = feasible(read)
    assert left_out == []
    asked = inference_scenario("qwen2.5-1.5b", "xeon-8480-plus", batch=8, isl=128, osl=16)
    assert found[3].scenario.hash == asked.hash == scenario_of(read.candidates[3].question).hash


def test_changes_and_files_beside_the_study(study: Path, tmp_path: Path) -> None:
    shipped = Path(hardware_specs.__file__).parent / "data" / "devices" / "gpu" / "l4.toml"
    (tmp_path / "mine.toml").write_text(shipped.read_text())
    axis = '"device.memory.bandwidth" = ["1x", "2x"]'
    text = f'metrics = "e2e_s"\n{SCENARIO}device = "./mine.toml"\n[axes]\n{axis}\n'
    found, _ = feasible(load_alternatives(write(study, text)))
    assert [each.name for each in found] == ["device.memory.bandwidth=1x", "device.memory.bandwidth=2x"]
    plain, fast = (each.result.metrics["e2e_s"] for each in found)
    assert plain is not None
    assert fast is not None
    assert fast < plain


def test_what_cannot_be_run_is_left_out_with_its_reason(study: Path) -> None:
    text = 'metrics = "usd_per_million_output_tokens"\n[scenario]\nmodel = "llama-3.1-8b"\nisl = 128\nosl = 16\n'
    text += '[axes]\ndevice = ["h100-sxm-80gb", "p4-pcie-8gb", "gb10-dgx-spark"]\ndtype = ["bf16", "fp4"]\n'
    found, left_out = feasible(load_alternatives(write(study, text)))
    reasons = dict(left_out)
    assert {each.name for each in found} >= {"h100-sxm-80gb, bf16"}
    assert len(found) + len(left_out) == 6
    assert "does not fit" in reasons["p4-pcie-8gb, bf16"]
    assert "cannot compute in fp4" in reasons["h100-sxm-80gb, fp4"]


def test_what_has_no_value_is_left_out(study: Path, tmp_path: Path) -> None:
    with pytest.raises(DoesNotFit, match="h100-sxm-80gb, batch 1: only one output token"):
        feasible(load_alternatives(write(study, GOOD.replace("osl = 16", "osl = 1"))))
    site = (Path(hardware_specs.__file__).parent / "data" / "sites" / "us-average.toml").read_text()
    (tmp_path / "clean.toml").write_text(re.sub(r'carbon = \{ value = "[^"]*"', 'carbon = { value = "0 g/kWh"', site))
    text = GOOD.replace("tpot_s", "carbon_g").replace("[axes]", 'site = "./clean.toml"\n[axes]')
    with pytest.raises(DoesNotFit, match="h100-sxm-80gb, batch 1: carbon_g is 0;"):
        feasible(load_alternatives(write(study, text)))


def test_nothing_that_can_be_run(study: Path) -> None:
    text = (
        'metrics = "tpot_s"\n[scenario]\nmodel = "llama-3.1-70b"\nisl = 128\nosl = 16\n[axes]\ndevice = ["t4", "l4"]\n'
    )
    with pytest.raises(DoesNotFit, match="no alternative can be run: t4: does not fit"):
        feasible(load_alternatives(write(study, text)))
    with pytest.raises(InputError, match="--isl 0"):
        feasible(load_alternatives(write(study, GOOD.replace("isl = 128", "isl = 0"))))
    with pytest.raises(UnknownName, match="h100-sxm-80gb"):
        feasible(load_alternatives(write(study, GOOD.replace("h100-sxm-80gb", "h100-sxm-80g"))))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace('metrics = "tpot_s"\n', ""), "missing key 'metrics'"),
        (GOOD.replace("tpot_s", "tpot"), "metrics: 'tpot' is not allowed; did you mean 'tpot_s'?"),
        (GOOD.replace("tpot_s", "max_batch"), "metrics: 'max_batch' is not allowed"),
        (GOOD.replace('"tpot_s"', "1"), "metrics: must be a list of texts, not 1"),
        (GOOD.replace("[axes]", "[axis]"), "'axis': unknown key; did you mean 'axes'?"),
        (GOOD.replace("osl", "osll"), "'osll': unknown axis; did you mean 'osl'?"),
        (GOOD.replace("osl = 16\n", ""), "'osl' is missing"),
        (GOOD.replace("batch", "bacth"), "'bacth': unknown axis; did you mean 'batch'?"),
        (GOOD.replace("[1, 8]", "[]"), "axes.batch"),
        (GOOD.replace("[1, 8]", "[8, 8]"), "axis batch: 8 stands twice"),
        (GOOD.replace("batch", "osl"), "'osl' is fixed in [scenario] and an axis"),
        (f'metrics = "tpot_s"\n{SCENARIO}device = "t4"\n', "nothing varies"),
        (f'metrics = "tpot_s"\n{SCENARIO}[axes]\ndevice = ["t4"]\n', "axes: 1 alternative: there is nothing to decide"),
        (GOOD.replace("[1, 8]", str(list(range(1, 40)))), f"axes: 78 alternatives: weigh fewer (allowed: 2 to {MOST})"),
        ('metrics = "tpot_s"\nscenario = 1\n', "scenario: must be a table, not 1"),
        ("metrics = \n", "not valid TOML"),
    ],
)
def test_what_is_refused(study: Path, text: str, says: str) -> None:
    with pytest.raises(InputError) as refused:
        load_alternatives(write(study, text))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_alternatives(tmp_path / "none.toml")
