"""``silicost train``: the documented keys, and what plans and recomputation change."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

T = "train --model llama-3.1-8b --device h100-sxm-80gb --global-batch 16 --seq-len 1024 --format json"
KEYS = {
    "kind", "title", "step_time_s", "tokens_per_s_per_device", "model_tflops_per_device", "mfu", "hfu", "usd_per_step",
    "carbon_g", "memory_bytes", "memory_capacity_bytes", "fits", "energy_j", "pools", "bound", "breakdown", "intervals",
    "reasons", "warnings", "configuration", "provenance", "scenario_hash", "seed", "schema",
    "laws_hash", "silicost_version",
}  # fmt: skip
Run = Callable[..., Any]


@pytest.mark.parametrize(
    "more",
    ["--tp 8", "--tp 2 --pp 4 --recompute full", "--tp 4 --dp 2", "--lora-rank 16", "--tp 8 --runtime megatron-2022"],
)
def test_json(silicost: Run, more: str) -> None:
    ran = silicost(f"{T} {more}")
    assert ran.status == (0 if ran.json["fits"] else 3), ran.err
    result = ran.json
    assert set(result) == KEYS
    assert (result["kind"], result["configuration"]["plan"]["micro_batch"]) == ("training", 1)
    assert set(result["memory_bytes"]) == {"weights", "activations", "gradients", "optimizer", "overhead", "total"}
    assert sum(result["breakdown"].values()) == pytest.approx(result["step_time_s"], rel=1e-9)
    assert 0.0 < result["mfu"] <= result["hfu"] < 1.0
    for name, ends in result["intervals"].items():
        assert ends["p2_5"] < ends["p10"] < result[name] < ends["p90"] < ends["p97_5"], name


def test_definitions_hold(silicost: Run) -> None:
    r = silicost(f"{T} --tp 8").json
    assert r["tokens_per_s_per_device"] == pytest.approx(16 * 1024 / r["step_time_s"] / 8)
    assert r["mfu"] == pytest.approx(r["model_tflops_per_device"] / 989.0, rel=0.01)


def test_recomputation_trades_time_for_memory(silicost: Run) -> None:
    none, full = (silicost(f"{T} --tp 8 --recompute {how}").json for how in ("none", "full"))
    assert full["memory_bytes"]["activations"] < none["memory_bytes"]["activations"]
    assert full["step_time_s"] > none["step_time_s"]
    assert full["hfu"] > none["hfu"] * none["step_time_s"] / full["step_time_s"]


def test_adapters_need_fewer_states(silicost: Run) -> None:
    everything, adapters = silicost(f"{T} --tp 8").json, silicost(f"{T} --tp 8 --lora-rank 8").json
    assert adapters["memory_bytes"]["optimizer"] < everything["memory_bytes"]["optimizer"] / 50


@pytest.mark.parametrize("model", ["bert-large", "mamba-130m", "mixtral-8x7b", "gpt2"])
def test_other_architectures_train(silicost: Run, model: str) -> None:
    ran = silicost(f"train --model {model} --device h100-sxm-80gb --global-batch 8 --seq-len 256 --format json")
    assert ran.status in (0, 3), ran.err
    assert ran.json["step_time_s"] > 0.0


@pytest.mark.parametrize("page", ["training.md", "goodput.md", "training_precision.md"])
def test_commands_of_the_docs_fit(silicost: Run, page: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / page).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"^ *silicost (train (?!--config).*)$", text, re.MULTILINE)
    assert commands
    for command in commands:
        ran = silicost(command)
        assert (ran.status, "means nothing" in ran.err) == (0, False), (command, ran.err)
