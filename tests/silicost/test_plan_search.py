"""``silicost train --search``: keys, flags that hold values, near misses; flags of plans and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

S = "train --search --model llama-3.2-1b --device h100-sxm-80gb --count 8 --global-batch 16 --seq-len 2048"
S += " --format json"
T = "train --model llama-3.2-1b --device h100-sxm-80gb --global-batch 16 --seq-len 2048 --format json"
Run = Callable[..., Any]


def test_json(silicost: Run) -> None:
    found = silicost(S).json
    assert {"plans_evaluated", "plans_feasible", "front", "near_misses", "usable_bytes"} == set(found)
    assert found["plans_evaluated"] >= found["plans_feasible"] > len(found["front"]) > 0
    times = [plan["step_time_s"] for plan in found["front"]]
    assert times == sorted(times)
    for plan in found["front"]:
        assert plan["tp"] * plan["pp"] * plan["dp"] * plan["cp"] == 8
        assert plan["memory_bytes"] <= found["usable_bytes"]
        others = [o for o in found["front"] if o is not plan]
        better = ("step_time_s", "memory_bytes", "device_j")
        assert not any(all(o[name] <= plan[name] for name in better) for o in others)


def test_the_best_plan_takes_what_it_says(silicost: Run) -> None:
    best = silicost(S).json["front"][0]
    flags = " ".join(
        f"--{name.replace('_', '-')} {best[name]}"
        for name in ("tp", "pp", "dp", "cp", "vpp", "micro_batch", "zero", "recompute", "schedule")
    )
    options = f"{'--seq-parallel' if best['sequence'] else ''} --overlap {best['overlap']}"
    options += f" --offload {best['offload']}" if best["offload"] else ""
    again = silicost(f"{T} {flags} {options}").json
    assert again["step_time_s"] == pytest.approx(best["step_time_s"], rel=1e-9)
    assert again["memory_bytes"]["total"] == pytest.approx(best["memory_bytes"], rel=1e-9)


def test_flags_hold_values(silicost: Run) -> None:
    whole = silicost(S).json
    held = silicost(f"{S} --tp 2 --recompute full --overlap none --offload optimizer").json
    assert held["plans_evaluated"] < whole["plans_evaluated"] / 10
    for plan in held["front"]:
        assert (plan["tp"], plan["recompute"], plan["overlap"], plan["offload"]) == (2, "full", "", "")
    assert held["front"][0]["step_time_s"] > whole["front"][0]["step_time_s"]


def test_groups_of_shards_hold_too(silicost: Run) -> None:
    found = silicost(f"{S} --fsdp 4").json
    assert all(plan["zero"] == 3 and (plan["dp"] * plan["cp"]) % 4 == 0 for plan in found["front"])


def test_what_misses_says_why(silicost: Run) -> None:
    found = silicost(S.replace("llama-3.2-1b", "llama-3.1-8b").replace("2048", "8192")).json
    for plan in found["near_misses"]:
        assert "can be used" in plan["why_not"]
        assert plan["memory_bytes"] > found["usable_bytes"]
        assert plan["step_time_s"] < found["front"][0]["step_time_s"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--tp 3", "--tp 3: no plan has it"), ("--recompute every:2", "none, selective, full"),
        ("--fsdp 3", "must divide"), ("--out x", "writes no page"),
        ("--overlap gradient", "did you mean 'gradients'"), ("--offload disk", "allowed: all, weights"),
    ],
)  # fmt: skip
def test_a_search_refuses(silicost: Run, flags: str, words: str) -> None:
    ran = silicost(f"{S} {flags}")
    assert ran.status == 2
    assert words in ran.err


@pytest.mark.parametrize(
    ("flags", "plan"),
    [
        ("--nodes 2 --dp 16 --tp 1", {"dp": 16}), ("--dp 8 --fsdp all", {"zero": 3, "shard": 0}),
        ("--dp 8 --fsdp 4", {"zero": 3, "shard": 4}), ("--pp 4 --stages 3,5,5,3", {"stages": [3, 5, 5, 3]}),
        ("--tp 2 --cp 2 --cp-comm a2a", {"cp_comm": "a2a"}),
        ("--offload optimizer:nvme", {"offload": "optimizer:nvme"}),
    ],
)  # fmt: skip
def test_flags_of_plans(silicost: Run, flags: str, plan: dict[str, Any]) -> None:
    found = silicost(f"{T} {flags}").json["configuration"]["plan"]
    assert {name: found[name] for name in plan} == plan


def test_balanced_stages_are_no_slower(silicost: Run) -> None:
    equal, balanced = (silicost(f"{T} --pp 4 --recompute full {more}").json for more in ("", "--stages balanced"))
    stages = balanced["configuration"]["plan"]["stages"]
    assert sum(stages) == 16 and stages[-1] < 4
    assert balanced["step_time_s"] < equal["step_time_s"]


def test_optimizers_and_precisions(silicost: Run) -> None:
    adam, lion = (silicost(f"{T} {more}").json for more in ("", "--optimizer lion"))
    assert lion["memory_bytes"]["optimizer"] == pytest.approx(adam["memory_bytes"]["optimizer"] * 8 / 12)
    assert lion["configuration"]["optimizer"] == "lion"
    muon = silicost(f"{T} --optimizer muon").json
    assert (
        muon["breakdown"]["gemm"] > adam["breakdown"]["gemm"]
        or muon["breakdown"]["optimizer"] > adam["breakdown"]["optimizer"]
    )
    narrow = silicost(f"{T} --precision fp8-tensorwise").json
    assert narrow["configuration"]["recipe"] == "fp8-tensorwise"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--fsdp some --dp 8", "must be all, or"), ("--fsdp 3 --dp 8", "must divide the replicas"),
        ("--fsdp all --zero 1 --dp 8", "stage 3 of ZeRO"), ("--nodes 0", "must be at least 1"),
        ("--nodes 2 --count 9", "--count is 9"), ("--stages 8,x --pp 2", "whole numbers of layers"),
        ("--stages balanced", "use --pp above 1"), ("--optimizer adamx", "did you mean 'adamw'"),
        ("--cp 2 --cp-comm ring", "allowed: p2p"), ("--etp 2 --tp 2", "has no experts"),
        ("--overlap pipeline --runtime fsdp-2024 --dp 2", "does not"), ("--precision fp9", "fp8"),
        ("--offload all --device tpu-v5p --runtime maxtext-2024", "is not known"),
    ],
)  # fmt: skip
def test_flags_that_cannot_be(silicost: Run, flags: str, words: str) -> None:
    ran = silicost(f"{T.replace('--format json', '')} {flags}")
    assert ran.status == 2
    assert words in ran.err
