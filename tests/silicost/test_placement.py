"""``silicost run --place`` and [privacy] of scenario files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardware_specs.errors import InputError, UnknownName
from silicost.scenario_file import load_scenario
from simulator.scenario import Privacy

Run = Callable[..., Any]

FILE = """
[workload]
kind = "inference"
model = "llama-3.2-1b"
[traffic]
batch = 2
isl = 256
osl = 16
[system]
name = "gpu-tpu-lab"
[[plan.place]]
pool = "tpu-v5e"
phase = "decode"
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Callable[[str], str]:
    """A scenario file with more tables, by its path."""

    def made(more: str) -> str:
        path = tmp_path / "mine.toml"
        path.write_text(FILE + more)
        return str(path)

    return made


def test_place_prints_and_writes_the_answer(silicost: Run, scenario: Callable[[str], str], tmp_path: Path) -> None:
    ran = silicost("run --place latency --format json", scenario(""), "--out", str(tmp_path / "out"))
    assert ran.status == 0, ran.err
    found = ran.json["configuration"]["found"]
    assert found["objective"] == "latency"
    assert found["value"] == pytest.approx(min(found["value"], ran.json["e2e_s"]))
    assert {each["pool"] for each in found["alone"]} == {"h100-sxm-80gb", "tpu-v5e"}
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == ran.json
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The mixture does not pay: h100-sxm-80gb alone" in page
    table = silicost("run --place latency", scenario("")).out
    assert "verdict" in table and "tpu-v5e alone" in table and "bound" in table


def test_an_unknown_objective_is_refused(silicost: Run, scenario: Callable[[str], str]) -> None:
    ran = silicost("run --place speed", scenario(""))
    assert ran.status == 2
    assert "--place: unknown objective 'speed' (allowed: latency, throughput, energy, usd)" in ran.err
    assert silicost("run two-devices --place usd").status == 2


def test_a_rule_that_violates_privacy_is_refused(silicost: Run, scenario: Callable[[str], str]) -> None:
    path = scenario('[privacy]\nkv = ["site-a"]\nsites = { site-a = ["h100-sxm-80gb"] }\n')
    ran = silicost("run", path)
    assert ran.status == 2
    assert "pool 'tpu-v5e' may not see keys and values" in ran.err
    assert "from pool h100-sxm-80gb: decode, layer 0" in ran.err
    placed = silicost("run --place throughput --format json", path)
    assert placed.status == 0, placed.err
    cached = {r["pool"] for r in placed.json["configuration"]["found"]["rules"] if r["operator"] in ("", "attention.*")}
    assert cached <= {"h100-sxm-80gb"}


def test_names_of_privacy(scenario: Callable[[str], str]) -> None:
    both = '[privacy]\nprompts = ["here", "tpu-v5e"]\nsites = { here = ["h100-sxm-80gb"] }\n'
    assert load_scenario(scenario(both))[0].privacy == Privacy(prompts=("h100-sxm-80gb", "tpu-v5e"))
    with pytest.raises(UnknownName, match=r"privacy.kv: unknown pool or site 'tpu-v6'; did you mean 'tpu-v5e'"):
        load_scenario(scenario('[privacy]\nkv = ["tpu-v6"]\n'))
    with pytest.raises(InputError, match=r"privacy.sites.tpu-v5e: a pool, group or device has this name too"):
        load_scenario(scenario('[privacy]\nsites = { "tpu-v5e" = ["h100-sxm-80gb"] }\n'))
