"""``silicost require``: the answer holds when ``silicost simulate`` checks it, and what cannot be held says so."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
ASKED = "--model llama-3.1-8b --device h100-sxm-80gb --isl 512 --osl 16"


def test_the_least_bandwidth(silicost: Run) -> None:
    command = f"require {ASKED} --batch 4 --knob device.memory.bandwidth --format json"
    found = silicost(command, "--hold", "tpot_s <= 6 ms").json
    assert (found["kind"], found["binding"], found["reversals"]) == ("least", "tpot_s", [])
    for factor, holds in ((1.0 + 1e-6, True), (1.0 - 1e-6, False)):
        text = f"device.memory.bandwidth={found['value'] * factor / 1e12:.12g} TB/s"
        said = silicost(f"simulate {ASKED} --batch 4 --format json", "--set", text).json
        assert (said["tpot_s"] <= 0.006) == holds
    assert found["metrics"]["tpot_s"] == pytest.approx(0.006, rel=1e-6)
    assert {"device.parameters.gemm_stream_share", "runtime.host_step"} <= {row["path"] for row in found["levers"]}
    assert found["set"].startswith("device.memory.bandwidth=")


def test_the_largest_batch_and_what_binds(silicost: Run, tmp_path: Path) -> None:
    ran = silicost(f"require {ASKED} --knob batch --range 1:2000 --report {tmp_path}/r.html", "--hold", "tpot_s<=1 s")
    assert "largest batch that holds tpot_s <= 1.00 s:" in ran.out
    assert "above it the memory binds" in ran.out
    assert "what else moves memory_share" in ran.out
    assert "does not fit the memory" in ran.out
    assert "Along the number" in (tmp_path / "r.html").read_text()
    found = silicost(f"require {ASKED} --knob batch --range 1:2000 --format json", "--hold", "tpot_s<=1 s").json
    most = silicost(f"simulate {ASKED} --format json").json["max_batch"]
    assert (found["value"], found["kind"], found["binding"]) == (most, "largest", "memory")
    assert any(row["path"].startswith("device.memory.") for row in found["levers"])


def test_several_bounds_and_csv(silicost: Run) -> None:
    held = ("--hold", "tpot_s <= 30 ms", "--hold", "output_tokens_per_s >= 300")
    found = silicost(f"require {ASKED} --knob batch --format json", *held).json
    assert found["kind"] == "between"
    rows = list(csv.DictReader(io.StringIO(silicost(f"require {ASKED} --knob batch --format csv", *held).out)))
    assert [row["state"] for row in rows] == [each["state"] for each in found["stretches"]]


def test_what_cannot_be_held(silicost: Run) -> None:
    ran = silicost(f"require {ASKED} --knob device.memory.bandwidth", "--hold", "tpot_s <= 0.1 ms")
    assert ran.status == 3
    assert "no device.memory.bandwidth from 3.35 GB/s to 3.35 PB/s holds it" in ran.err
    assert "where tpot_s binds" in ran.err
    assert "what else moves tpot_s at 3.35 PB/s" in ran.out
    everywhere = silicost(f"require {ASKED} --knob device.power.tdp --range 600W:800W", "--hold", "tpot_s <= 1 s")
    assert (everywhere.status, "every device.power.tdp from 600 W to 800 W holds it" in everywhere.out) == (0, True)


def test_a_price(silicost: Run) -> None:
    hold = ("--hold", "usd_per_million_output_tokens <= 2 USD")
    found = silicost(f"require {ASKED} --knob price --format json", *hold).json
    price = f"{found['value'] * 3600.0:.10g} USD/h"
    said = silicost(f"simulate {ASKED} --format json", "--price", price).json
    assert found["kind"] == "largest"
    assert said["usd_per_million_output_tokens"] == pytest.approx(2.0, rel=1e-8)


@pytest.mark.parametrize(
    ("hold", "more", "said"),
    [
        ("tpot_s <= 30 GB", "--knob batch", "'30 GB' is a size, not a time"),
        ("tpot_s <= 30", "--knob batch", "has no unit; write for example"),
        ("tpot <= 30 ms", "--knob batch", "unknown metric 'tpot'; did you mean 'tpot_s'?"),
        ("step_time_s <= 3 s", "--knob batch", "--hold step_time_s: llama-3.1-8b on 1 x h100-sxm-80gb has none"),
        ("tpot_s ~ 3 ms", "--knob batch", "must be METRIC <= VALUE or METRIC >= VALUE"),
        ("tpot_s <= 3 ms", "--knob bandwidth", "did you mean 'device.memory.bandwidth' or"),
        ("tpot_s <= 3 ms", "--knob batch --range 9:3", "goes down; write the smaller number first"),
        ("tpot_s <= 3 ms", "--knob batch --range 3", "must be KNOB=LOW:HIGH"),
    ],
)
def test_bad_input(refused: Callable[..., str], hold: str, more: str, said: str) -> None:
    assert said in refused(f"require {ASKED} {more}", "--hold", hold)
