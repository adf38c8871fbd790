"""``silicost chance``: the same chance in every format, seeds, distributions, and errors."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from silicost.scenarios import inference_scenario
from simulator.decisions.superiority import superiority

Run = Callable[..., Any]
ASKED = "--model qwen2.5-1.5b --device h100-sxm-80gb --isl 256 --osl 16 --batch 4"
USD = "--metric usd_per_million_output_tokens"


def test_without_inputs_it_is_the_closed_form(silicost: Run) -> None:
    asked: dict[str, Any] = {"batch": 4, "isl": 256, "osl": 16}
    a, b = (inference_scenario("qwen2.5-1.5b", device, **asked) for device in ("h100-sxm-80gb", "mi300x"))
    expected = superiority(a, b, "tpot_s")
    found = silicost(f"chance {ASKED} --against device=mi300x --format json").json
    assert found["chance_a"] == expected.chance
    assert (found["monte_carlo_sd"], found["draws"], found["unsure"]) == (0.0, 1, [])
    assert (found["value_a"], found["value_b"]) == expected.values
    assert found["better_by"]["p50"] == pytest.approx(found["value_b"] / found["value_a"])


def test_the_same_is_a_coin(silicost: Run) -> None:
    found = silicost(f"chance {ASKED} --against batch=4 --format json").json
    assert (found["chance_a"], found["better_by"]) == (0.5, {"p10": 1.0, "p50": 1.0, "p90": 1.0})


def test_unsure_inputs(silicost: Run, tmp_path: Path) -> None:
    unsure = ("--unsure", "b.price=2 USD/h:7 USD/h", "--unsure", "isl=64:256:1024")
    command = f"chance {ASKED} --against device=mi300x {USD} --draws 60 --seed 7"
    found = silicost(f"{command} --format json", *unsure).json
    assert 0.0 < found["monte_carlo_sd"] < 0.08
    assert 0.0 < found["model_share_of_variance"] < 1.0
    assert [each["distribution"] for each in found["unsure"]] == ["log-normal", "triangular"]
    assert (found["draws"], found["seed"]) == (60, 7)
    (row,) = csv.DictReader(io.StringIO(silicost(f"{command} --format csv", *unsure).out))
    assert float(row["chance_a"]) == found["chance_a"]
    ran = silicost(f"{command} --report {tmp_path}/c.html", *unsure)
    assert "h100-sxm-80gb beats mi300x by usd_per_million_output_tokens with a chance of" in ran.out
    assert "log-normal, 80% from 2 USD/h to 7 USD/h" in ran.out
    assert "triangle from 64 over 256 to 1024" in ran.out
    page = (tmp_path / "c.html").read_text()
    assert "Which one is better, and how sure that is" in page
    assert "60, seed 7" in page


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--unsure isl=64", "must be KNOB=LOW:HIGH, or KNOB=LOW:MODE:HIGH"),
        ("--unsure isl=64:32", "must go up"),
        ("--unsure isl=64:2000:1000", "must go up"),
        ("--unsure lengths=1:2", "unknown knob 'lengths'"),
        ("--unsure b.price=2:3", "has no unit"),
        ("--draws 0", "--draws 0: must be a whole number from 1 to 100000"),
        ("--seed -1", "must be a whole number from 0 to"),
        ("--metric max_batch", "'max_batch' is not allowed"),
    ],
)
def test_bad_input(refused: Callable[..., str], more: str, said: str) -> None:
    assert said in refused(f"chance {ASKED} --against device=mi300x {more}")


def test_training_has_no_known_errors(silicost: Run, tmp_path: Path) -> None:
    file = tmp_path / "train.toml"
    file.write_text(
        '[workload]\nkind = "training"\nmodel = "qwen2.5-1.5b"\n[traffic]\nglobal_batch = 8\nseq_len = 512\n'
        '[system]\ndevice = "h100-sxm-80gb"\n[runtime]\nname = "megatron-core-2025"\n'
    )
    ran = silicost(f"chance {file} --against {file} --metric tpot_s")
    assert ran.status == 2
    assert "tpot_s: no value" in ran.err
