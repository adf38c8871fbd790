"""``silicost break-even``: crossovers checked against ``silicost simulate``, lines, sides, and errors."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
ASKED = "--model qwen2.5-1.5b --device h100-sxm-80gb --isl 256 --osl 16"
USD = "usd_per_million_output_tokens"


def value(silicost: Run, more: str, metric: str, *rest: str) -> float:
    return float(silicost(f"simulate {ASKED} {more} --format json", *rest).json[metric])


def test_a_price_at_which_two_devices_cost_the_same(silicost: Run) -> None:
    command = f"break-even {ASKED} --batch 4 --against device=mi300x --metric {USD} --format json"
    found = silicost(command, "--over", "b.price=0.5 USD/h:50 USD/h").json
    (crossover,) = found["crossovers"]
    assert (crossover["before"], crossover["after"]) == ("b", "a")
    assert (found["a"], found["b"], found["over"]["side"]) == ("h100-sxm-80gb", "mi300x", "b")
    price = f"{crossover['at'] * 3600.0:.12g} USD/h"
    expected = value(silicost, "--batch 4", USD)
    assert value(silicost, "--batch 4 --device mi300x", USD, "--price", price) == pytest.approx(expected, rel=1e-8)


def test_batches_one_by_one(silicost: Run) -> None:
    command = f"break-even {ASKED} --against device=l4 --over batch=1:12 --metric j_per_output_token --format json"
    found = silicost(command).json
    assert found["exact"]
    devices = ("h100-sxm-80gb", "l4")
    values = {
        batch: [value(silicost, f"--batch {batch} --device {name}", "j_per_output_token") for name in devices]
        for batch in range(1, 13)
    }
    assert {sample["at"]: [sample["a"], sample["b"]] for sample in found["samples"]} == values
    for stretch in found["stretches"]:
        for batch in range(round(stretch["low"]), round(stretch["high"]) + 1):
            assert stretch["better"] == ("a" if values[batch][0] < values[batch][1] else "b")


def test_a_line_and_where_one_does_not_fit(silicost: Run, tmp_path: Path) -> None:
    command = f"break-even {ASKED} --against weight_dtype=int4 --over batch=1:4096 --metric {USD} --line isl=512,2048"
    found = silicost(f"{command} --format json").json
    rows = {row["at"]: row for row in found["line"]["rows"]}
    assert set(rows) == {512.0, 2048.0}
    assert {each["better"] for each in rows[2048.0]["stretches"]} & {"only b", "neither"}
    lines = list(csv.DictReader(io.StringIO(silicost(f"{command} --format csv").out)))
    assert {float(line["at"]) for line in lines} == set(rows)
    ran = silicost(f"{command} --report {tmp_path}/line.html")
    assert "crossovers over batch" in ran.out
    assert "only int4 runs" in ran.out
    page = (tmp_path / "line.html").read_text()
    assert "Break-even line" in page
    assert page == (tmp_path / "line.html").read_text()


def test_no_crossover(silicost: Run) -> None:
    ran = silicost(f"break-even {ASKED} --against device.memory.bandwidth=2x --over batch=1:8")
    assert "no crossover of tpot_s over batch 1 to 8: device.memory.bandwidth=2x all along" in ran.out
    same = silicost(f"break-even {ASKED} --against batch=1 --over batch=1:8")
    assert "equal all along" in same.out


def test_two_files(silicost: Run) -> None:
    ran = silicost("break-even two-devices --against two-devices --over batch=1:4 --metric makespan_s")
    assert ran.status == 0, ran.err
    assert "equal all along" in ran.out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--over batch=1:8", "--against: is missing; write for example --against device=mi300x"),
        ("--over batch=1:8 --against devise=mi300x", "--against: 'devise': unknown axis; did you mean 'device'?"),
        ("--over batch=1:8 --against device=mi300y", "unknown device 'mi300y'"),
        ("--over batch=1:8 --against tp=two", "--against tp=two: must be a whole number"),
        ("--over batch=1:8 --against device=", "must be KEY=VALUE"),
        ("--over batch=1:8 --against nowhere", "unknown scenario 'nowhere'"),
        ("--over batches=1:8 --against device=mi300x", "--over: unknown knob 'batches'; did you mean 'batch'?"),
        ("--over batch=1:8 --against device=mi300x --metric max", "--metric max: unknown; did you mean 'max_batch'?"),
        ("--over batch=1:8 --against device=mi300x --metric step_time_s", "has none (it has ttft_s"),
        ("--over batch=1:8 --against osl=1", "--metric tpot_s: qwen2.5-1.5b on 1 x h100-sxm-80gb: only one output"),
        ("--over batch=1:8 --against device=mi300x --line batch=1,2", "is the number of --over; name another one"),
        ("--over batch=1:8 --against device=mi300x --line isl=1:9", "a range with no +step or *factor"),
        ("--over batch=1:8 --against device=mi300x --points 0", "--points 0: must be a whole number from 2"),
    ],
)
def test_bad_input(refused: Callable[..., str], more: str, said: str) -> None:
    assert said in refused(f"break-even {ASKED} {more}")


def test_a_file_beside_changes(refused: Callable[..., str]) -> None:
    said = refused("break-even two-devices --against device=mi300x --over batch=1:8")
    assert "a scenario file stands beside another file, not beside changes" in said
