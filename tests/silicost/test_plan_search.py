"""``silicost train --search``: keys, flags that hold values, near misses; flags of plans and what they refuse."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest

from workloads.models.catalogue import load_model
from workloads.models.parameters import count_parameters

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
        assert (plan["tp"], plan["recompute"], plan["overlap"], plan["offload"]) == (2, "full", "none", "optimizer")
    assert held["front"][0]["step_time_s"] > whole["front"][0]["step_time_s"]


def test_groups_of_shards_hold_too(silicost: Run) -> None:
    found = silicost(f"{S} --fsdp 4").json
    assert found["front"]
    for plan in found["front"]:
        assert (plan["zero"], plan["shard"], plan["cp_comm"], plan["etp"]) == (3, 4, "p2p", 0)
        assert (plan["dp"] * plan["cp"]) % 4 == 0


def test_what_no_column_says_is_in_the_rows_and_priced(silicost: Run) -> None:
    """Rows are whole plans: run again from their flags alone they take what they say."""
    held = silicost(f"{S} --cp 2 --tp 2 --cp-comm a2a --fsdp 2 --overlap none").json
    assert held["front"]
    for plan in held["front"][:2]:
        assert (plan["cp"], plan["cp_comm"], plan["shard"], plan["overlap"]) == (2, "a2a", 2, "none")
        names = ("tp", "pp", "dp", "cp", "vpp", "micro_batch", "recompute", "schedule", "cp_comm", "overlap", "offload")
        flags = " ".join(f"--{name.replace('_', '-')} {plan[name]}" for name in names if plan[name] != "")
        flags += f" --fsdp {plan['shard']}" + (" --seq-parallel" if plan["sequence"] else "")
        again = silicost(f"{T} {flags}").json
        assert again["step_time_s"] == pytest.approx(plan["step_time_s"], rel=1e-9)
        assert again["memory_bytes"]["total"] == pytest.approx(plan["memory_bytes"], rel=1e-9)


def test_ways_of_experts_are_in_the_rows(silicost: Run) -> None:
    asked = "train --search --model mixtral-8x7b --device h100-sxm-80gb --count 32 --global-batch 32 --seq-len 512"
    asked += " --tp 4 --pp 1 --cp 1 --micro-batch 1 --zero 1 --recompute none --schedule 1f1b"
    found = silicost(f"{asked} --etp 2 --ep 8 --overlap none --format json").json
    assert found["front"] and all((plan["ep"], plan["etp"]) == (8, 2) for plan in found["front"])
    assert "etp" in silicost(f"{asked} --etp 2 --ep 8 --overlap none").out
    assert "etp" not in silicost(f"{asked} --ep 8 --overlap none").out


def test_what_misses_says_why(silicost: Run) -> None:
    found = silicost(S.replace("llama-3.2-1b", "llama-3.1-8b").replace("--count 8", "--count 2")).json
    assert found["near_misses"]
    for plan in found["near_misses"]:
        assert "can be used" in plan["why_not"]
        assert found["usable_bytes"] < plan["memory_bytes"] <= 1.25 * found["usable_bytes"]
        assert plan["step_time_s"] < found["front"][0]["step_time_s"]


@pytest.mark.parametrize(("schedule", "stages"), [("zb-v", {2, 4, 8}), ("1f1b", {1, 2, 4, 8})])
def test_a_schedule_is_held(silicost: Run, schedule: str, stages: set[int]) -> None:
    """Plans of one stage have no other schedule than the usual one."""
    front = silicost(f"{S} --schedule {schedule}").json["front"]
    assert {plan["schedule"] for plan in front} == {schedule}
    assert {plan["pp"] for plan in front} <= stages


def test_what_binds_a_search_that_finds_nothing_is_the_host(silicost: Run) -> None:
    asked = "train --search --model llama-3.1-405b --device a40 --count 2 --global-batch 2 --seq-len 8192"
    ran = silicost(f"{asked} --tp 2 --pp 1 --micro-batch 1 --zero 0")
    assert ran.status == 3
    assert "need no more than the 49 GB of a device, but cannot run: --offload: needs " in ran.err
    assert "of host for each device, there are " in ran.err
    ran = silicost(f"{asked} --tp 2 --pp 1 --micro-batch 1 --zero 0 --offload optimizer")
    assert "plans fits: the smallest needs" in ran.err


def test_csv_is_whole_and_raw(silicost: Run) -> None:
    front = silicost(S).json["front"]
    rows = list(csv.DictReader(io.StringIO(silicost(S.replace("json", "csv")).out)))
    assert len(rows) == len(front) > 12
    for row, plan in zip(rows, front, strict=True):
        assert list(row) == list(plan)
        assert {name: float(row[name]) for name in ("step_time_s", "memory_bytes", "device_j")} == {
            name: plan[name] for name in ("step_time_s", "memory_bytes", "device_j")
        }
    assert " sequence " in silicost(S.replace("json", "table")).out.splitlines()[0]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--tp 3", "--tp 3: no plan has it"),
        ("--recompute every:2", "--recompute every:2: a search tries none, selective, full only"),
        ("--recompute evry:2", "did you mean 'every:N'?"), ("--schedule zb-x", "did you mean 'zb-v'"),
        ("--schedule zb-v --pp 1", "--schedule zb-v: it is of pipeline stages, and --pp is 1"),
        ("--schedule zb-v --global-batch 1", "--schedule zb-v: no plan has it together with what stands before"),
        ("--fsdp 3", "must divide"), ("--out x", "writes no page"),
        ("--overlap gradient", "did you mean 'gradients'"), ("--offload disk", "allowed: all, weights"),
        ("--stages balanced", "--stages: a search does not hold it"),
        ("--stages 8,8 --pp 2", "--stages: a search does not hold it"),
        ("--steps 1000", "--steps: a search does not hold it"),
        ("--straggler lognormal:sigma=0.1", "--straggler: a search does not hold it"),
        ("--mtbf 9h", "--mtbf: a search does not hold it"), ("--spares 1", "--spares: a search does not hold it"),
        ("--checkpoint-interval best", "--checkpoint-interval: a search does not hold it"),
        ("--checkpoint-bandwidth 1GB/s", "--checkpoint-bandwidth: a search does not hold it"),
        ("--checkpoint-async", "--checkpoint-async: a search does not hold it"),
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
    narrow = silicost(f"{T} --precision fp8-tensorwise").json
    assert narrow["configuration"]["recipe"] == "fp8-tensorwise"


@pytest.mark.parametrize("precision", ["fp8", "fp8-blockwise"])
def test_weights_are_wide_where_products_are_narrow(silicost: Run, precision: str) -> None:
    narrow, wide = (silicost(f"{T} --precision {precision}{more}").json for more in ("", " --weight-dtype bf16"))
    assert (narrow["configuration"]["dtype"], narrow["configuration"]["weight_dtype"]) == ("fp8", "bf16")
    assert narrow["memory_bytes"]["weights"] == pytest.approx(2.0 * count_parameters(load_model("llama-3.2-1b")).total)
    assert narrow["step_time_s"] == wide["step_time_s"]


def test_muon_multiplies_matrices_and_keeps_one_moment_of_them(silicost: Run) -> None:
    """Five iterations of 4 m^2 n FLOPs at least for each of 48 matrices of 2,048 x 8,192; moments of 8 B for ends."""
    adam, muon = (silicost(f"{T} --optimizer {name}").json for name in ("adamw", "muon"))
    at_peak_s = 48 * 5 * 4 * 2048**2 * 8192 / 989e12
    longer_s = muon["breakdown"]["optimizer"] - adam["breakdown"]["optimizer"]
    assert at_peak_s < longer_s < 3.0 * at_peak_s
    assert muon["step_time_s"] - adam["step_time_s"] == pytest.approx(longer_s)
    count = count_parameters(load_model("llama-3.2-1b"))
    states = 8.0 * count.total + 4.0 * (count.embedding + count.head + count.norms)
    assert muon["memory_bytes"]["optimizer"] == pytest.approx(states)


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
        ("--zero -2", "--zero -2: must be 0 to 3, or -1 for what the runtime does"),
        ("--etp -1", "--etp -1: must be at least 1, or 0 for tp where ep is 1, else 1"),
    ],
)  # fmt: skip
def test_flags_that_cannot_be(silicost: Run, flags: str, words: str) -> None:
    ran = silicost(f"{T.replace('--format json', '')} {flags}")
    assert ran.status == 2
    assert words in ran.err
