"""--recompute beyond its three words, typed and from configurations of frameworks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.silicost.conftest import Run

T = "train --model llama-3.1-8b --device h100-sxm-80gb --global-batch 8 --seq-len 1024 --tp 8 --format json"
TITAN = """
[model]
name = "llama3"
flavor = "8B"
[training]
local_batch_size = 1
seq_len = 1024
[parallelism]
tensor_parallel_degree = 8
[activation_checkpoint]
mode = "selective"
selective_ac_option = "{option}"
"""


def test_half_of_the_layers_lies_between_none_and_all(silicost: Run) -> None:
    none, half, full = (silicost(f"{T} --recompute {how}").json for how in ("none", "every:2", "full"))
    times, kept = (
        [r["step_time_s"] for r in (none, half, full)],
        [r["memory_bytes"]["activations"] for r in (none, half, full)],
    )
    assert times[1] == pytest.approx((times[0] + times[2]) / 2.0, rel=1e-3)
    assert kept[2] < kept[1] < kept[0]
    hfu = [r["hfu"] * r["step_time_s"] for r in (none, half, full)]
    assert hfu[1] == pytest.approx((hfu[0] + hfu[2]) / 2.0, rel=1e-3)
    assert half["mfu"] * times[1] == pytest.approx(none["mfu"] * times[0]), "model FLOPs are the same"


@pytest.mark.parametrize("how", ["layers:2", "uniform:4", "modules:mlp,layernorm", "modules:core_attn"])
def test_other_policies_cost_time_and_no_memory(silicost: Run, how: str) -> None:
    none, other = (silicost(f"{T} --recompute {text}").json for text in ("none", how))
    assert other["step_time_s"] > none["step_time_s"]
    assert other["memory_bytes"]["activations"] <= none["memory_bytes"]["activations"]
    assert other["configuration"]["plan"]["recompute"] == how


def test_a_configuration_of_torchtitan_recomputes_every_second_layer(silicost: Run, tmp_path: Path) -> None:
    device = "--device h100-sxm-80gb --count 8 --format json"
    for option, text in (("2", "every:2"), ("3", "every:3"), ("op", "selective")):
        file = tmp_path / f"run{option}.toml"
        file.write_text(TITAN.format(option=option))
        assert silicost(f"train --config {file} {device}").json["configuration"]["plan"]["recompute"] == text
    typed = silicost(f"train --config {file} --recompute full {device}").json
    assert typed["configuration"]["plan"]["recompute"] == "full"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("every:0", "--recompute 'every:0': '0' layers; allowed: a whole number from 1 to 10000"),
        ("module:mlp", "did you mean 'modules:NAME'?"), ("half", "--recompute 'half': allowed are none, selective"),
        ("modules:mlp,moo", "--recompute: unknown part of a layer 'moo'; did you mean 'moe'"),
    ],
)  # fmt: skip
def test_bad_policies(silicost: Run, how: str, message: str) -> None:
    ran = silicost(f"{T} --recompute {how}")
    assert ran.status == 2
    assert message in ran.err
