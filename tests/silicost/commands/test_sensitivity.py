"""``silicost sensitivity``: table, JSON, CSV and page say the same; errors name what is wrong."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from silicost.scenarios import inference_scenario
from simulator.simulate import simulate

Run = Callable[..., Any]
ASKED = "--model qwen2.5-1.5b --device h100-sxm-80gb --isl 256 --osl 32 --batch 4"


def test_json(silicost: Run) -> None:
    found = silicost(f"sensitivity {ASKED} --format json").json
    base = simulate(inference_scenario("qwen2.5-1.5b", "h100-sxm-80gb", isl=256, osl=32, batch=4)).metrics
    assert found["metrics"] == {name: base[name] for name in found["metrics"]}
    assert list(found["metrics"]) == ["tpot_s", "ttft_s", "usd_per_million_output_tokens", "j_per_output_token"]
    rows = {row["path"]: row for row in found["knobs"]}
    assert rows["price"]["slopes"]["usd_per_million_output_tokens"]["elasticity"] == pytest.approx(1.0)
    assert rows["price"]["slopes"]["tpot_s"]["elasticity"] == 0.0
    assert -1.0 < rows["device.memory.bandwidth"]["slopes"]["tpot_s"]["elasticity"] < -0.2
    for row in rows.values():
        assert row["range"]["low"] <= row["value"] <= row["range"]["high"]
        swing = row["swings"]["tpot_s"]
        if swing["low"] and swing["high"]:
            assert swing["size"] == pytest.approx(abs(math.log(swing["high"] / swing["low"])))
    assert len(rows) > 80


def test_the_table_is_ranked_and_says_what_it_leaves_out(silicost: Run) -> None:
    ran = silicost(f"sensitivity {ASKED} --metric tpot_s")
    assert ran.status == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith("qwen2.5-1.5b on 1 x h100-sxm-80gb: percent of each metric for one percent of a knob")
    assert "more knobs" in ran.out
    assert "without effect: see --format json" in ran.out
    table = lines[2 : lines.index(next(line for line in lines if line.startswith("(")))]
    shown = [float(line.split()[-1]) for line in table if "(" not in line]
    assert len(shown) > 8
    assert shown == sorted(shown, key=lambda value: -abs(value))
    assert "tpot_s (" in ran.out, "the tornado"


def test_csv_has_a_line_for_each_knob_and_metric(silicost: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(silicost(f"sensitivity {ASKED} --metric tpot_s,ttft_s --format csv").out)))
    whole = silicost(f"sensitivity {ASKED} --metric tpot_s,ttft_s --format json").json
    assert len(rows) == 2 * len(whole["knobs"])
    first = whole["knobs"][0]
    assert (rows[0]["path"], rows[0]["metric"]) == (first["path"], "tpot_s")
    assert float(rows[0]["elasticity"]) == first["slopes"]["tpot_s"]["elasticity"]


def test_chosen_knobs_and_ranges(silicost: Run) -> None:
    command = f"sensitivity {ASKED} --knob isl --knob device.memory --range isl=128:1024 --format json"
    rows = {row["path"]: row for row in silicost(command).json["knobs"]}
    assert set(rows) == {"isl", "device.memory.bandwidth", "device.memory.capacity", "device.memory.usable"}
    assert rows["isl"]["range"] == {"low": 128.0, "high": 1024.0, "why": "given"}
    longer = simulate(inference_scenario("qwen2.5-1.5b", "h100-sxm-80gb", isl=1024, osl=32, batch=4)).metrics
    assert rows["isl"]["swings"]["tpot_s"]["high"] == longer["tpot_s"]


def test_shipped_scenarios(silicost: Run) -> None:
    found = silicost("sensitivity two-devices --format json").json
    assert len(found["knobs"]) > 20
    assert not any(".parameters." in row["path"] for row in found["knobs"])


def test_training_by_flags_and_from_a_file(silicost: Run, tmp_path: Path) -> None:
    (tmp_path / "train.toml").write_text(
        '[workload]\nkind = "training"\nmodel = "qwen2.5-1.5b"\n[traffic]\nglobal_batch = 8\nseq_len = 512\n'
        '[system]\ndevice = "h100-sxm-80gb"\n[runtime]\nname = "megatron-core-2025"\n'
    )
    flags = "--model qwen2.5-1.5b --device h100-sxm-80gb --global-batch 8 --seq-len 512 --runtime megatron-core-2025"
    found = [silicost(f"sensitivity {how} --format json").json for how in (f"{tmp_path}/train.toml", flags)]
    assert found[0]["knobs"] == found[1]["knobs"]
    assert next(iter(found[0]["metrics"])) == "step_time_s"
    rows = {row["path"]: row for row in found[0]["knobs"]}
    assert rows["global_batch"]["slopes"]["step_time_s"]["elasticity"] == pytest.approx(1.0, abs=0.2)


def test_a_long_search_says_how_far_it_is(silicost: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("silicost.questions._QUIET_S", 0.0)
    ran = silicost(f"sensitivity {ASKED}")
    assert ran.status == 0
    assert re.search(r"^silicost: 1 of \d+ knobs$", ran.err, re.MULTILINE)


def test_the_page(silicost: Run, tmp_path: Path) -> None:
    for name in ("one.html", "two.html"):
        ran = silicost(f"sensitivity {ASKED} --report {tmp_path}/{name}")
        assert (ran.status, ran.err) == (0, f"silicost: report: {tmp_path}/{name}\n")
    page = (tmp_path / "one.html").read_text()
    assert page == (tmp_path / "two.html").read_text()
    assert page.count("device.memory.bandwidth") > 4
    assert "Tornado" in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_calibration_of_ones_own(silicost: Run, calibration_file: Callable[..., Path]) -> None:
    path = calibration_file()
    asked = f"--model smollm-135m --isl 32 --osl 8 --dtype fp32 --calibration {path}"
    ran = silicost(f"sensitivity {asked} --metric tpot_s --format json")
    assert ran.status == 0, ran.err
    marks = {row["path"]: row["mark"] for row in ran.json["knobs"]}
    assert "calibrated" in marks.values()
    assert ran.json["scenario"] == "smollm-135m on 1 x my-cpu"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--metric tpot", "--metric tpot: unknown; did you mean 'tpot_s'?"),
        ("--metric step_time_s", "--metric step_time_s: qwen2.5-1.5b on 1 x h100-sxm-80gb has none (it has ttft_s"),
        ("--knob memory.bandwith", "--knob: unknown knob 'memory.bandwith'"),
        ("--knob bandwidth", "did you mean 'device.memory.bandwidth' or"),
        ("--range isl=128", "must be KNOB=LOW:HIGH"),
        ("--range isl=1024:128", "goes down; write the smaller number first"),
        ("--range isl=1.5:128", "must be a whole number at least 1"),
        ("--range device.memory.bandwidth=1GB:2GB", "is a size, not a bandwidth"),
        ("--step 3", "--step 3: must be from 0.00001 to 0.2"),
        ("--format xml", "'xml' is not allowed"),
    ],
)
def test_bad_flags(refused: Callable[..., str], more: str, said: str) -> None:
    assert said in refused(f"sensitivity {ASKED} {more}")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("sensitivity", "--model: is missing; ask by flags as silicost simulate, or name a scenario"),
        ("sensitivity --model qwen2.5-1.5b --device h100-sxm-80gb --isl 3", "--osl: is missing"),
        ("sensitivity --model qwen2.5-1.5b --device h100-sxm-80gb --seq-len 3", "--global-batch: is missing"),
        (f"sensitivity {ASKED} --global-batch 4 --seq-len 3", "does not belong to training"),
        (f"sensitivity {ASKED} --micro-batch 4", "--micro-batch: does not belong to inference"),
        ("sensitivity nowhere", "unknown scenario 'nowhere'"),
        ("sensitivity two-devices --batch 3", "--batch: two-devices says what is asked"),
        ("sensitivity two-devices --weight-dtype int8", "--weight-dtype: two-devices says what is asked"),
        (f"sensitivity {ASKED} --report .", "--report .: is a folder, not a file"),
    ],
)
def test_bad_questions(refused: Callable[..., str], command: str, said: str) -> None:
    assert said in refused(command)
