"""Long runs of a training step by flags: what is written once, and that figures of goodput are passed on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.numbers import number
from silicost.long_runs import LongRun, layout_of
from silicost.scenarios import training_scenario
from simulator.scenario import Plan, TrainStep
from simulator.simulate import simulate
from workloads.models.catalogue import load_model
from workloads.models.parameters import count_parameters

Run = Callable[..., Any]
ASKED = "train --model llama-3.2-1b --device h100-sxm-80gb --count 8 --tp 1 --dp 8 --global-batch 64 --seq-len 2048"


@pytest.mark.parametrize(
    ("model", "runtime", "each", "plan"),
    [
        ("llama-3.2-1b", "megatron-core-2025", 14.0, {"zero": 0}),
        ("llama-3.2-1b", "megatron-core-2025", 14.0, {"zero": 1}),
        ("llama-3.2-1b", "megatron-core-2025", 14.0, {"zero": 3}),
        ("llama-3.2-1b", "megatron-core-2025", 14.0, {"zero": 1, "offload": "optimizer"}),
        ("llama-3.2-1b", "megatron-core-2025", 14.0, {"zero": 3, "shard": 4}),
        ("llama-3.2-1b", "megatron-core-2025", 6.0, {"zero": 1, "optimizer": "sgd"}),
        ("llama-3.2-1b", "torchtitan-2025", 12.0, {"zero": 3}),
        ("llama-3.2-1b", "torchtitan-2025", 12.0, {"zero": 3, "offload": "all"}),
        ("llama-3.1-8b", "megatron-core-2025", 14.0, {"tp": 2, "pp": 2, "dp": 2, "zero": 1}),
        ("mixtral-8x7b", "megatron-core-2025", 14.0, {"zero": 0, "ep": 8}),
        ("mixtral-8x7b", "megatron-core-2025", 14.0, {"zero": 1, "ep": 8}),
    ],
)
def test_a_checkpoint_has_each_parameter_once(model: str, runtime: str, each: float, plan: dict[str, Any]) -> None:
    """Weights of 2 B and 12 B of states, however they are cut or moved; torchtitan's shards are the masters."""
    hardware = {"dp": 8, "tp": 1, **plan}
    scenario = training_scenario(model, "h100-sxm-80gb", global_batch=64, seq_len=512, runtime=runtime, **hardware)
    name, found = LongRun(1000).of(scenario, simulate(scenario))
    assert name == "run"
    assert found["checkpoint_bytes"] == pytest.approx(each * count_parameters(load_model(model)).total, rel=0.01)


def test_a_checkpoint_of_adapters_has_adapters_alone() -> None:
    """Rank r beside each of seven products [k, n] of a layer: r (k + n) parameters of 14 B."""
    scenario = training_scenario(
        "llama-3.1-70b", "h100-sxm-80gb", global_batch=64, seq_len=2048, tp=8, lora_rank=16,
        runtime="megatron-core-2025",
    )  # fmt: skip
    hidden, keys, inner = 8192, 1024, 28672
    layer = 2 * (hidden + hidden) + 2 * (hidden + keys) + 3 * (hidden + inner)
    _, found = LongRun(1000).of(scenario, simulate(scenario))
    assert found["checkpoint_bytes"] == pytest.approx(14.0 * 16 * 80 * layer, rel=0.01)


def test_experts_lie_over_the_ranks_of_a_stage() -> None:
    work = TrainStep(load_model("mixtral-8x7b"), 64, 2048)
    layouts = {
        plan: layout_of(work, plan)
        for plan in (Plan(tp=2, dp=8), Plan(tp=2, dp=8, ep=8), Plan(tp=4, dp=4, ep=2), Plan(tp=2, dp=8, ep=4, etp=2))
    }
    assert [(layout.ranks, layout.replicas) for layout in layouts.values()] == [(2, 8), (8, 2), (4, 4), (8, 2)]
    assert all(layout.devices == 16 for layout in layouts.values())


@pytest.mark.parametrize(
    ("plan", "share"),
    [
        (Plan(pp=4), 1.0), (Plan(pp=4, schedule="gpipe"), 1.0), (Plan(pp=4, vpp=4), 0.25),
        (Plan(pp=4, vpp=2, schedule="interleaved"), 0.5), (Plan(pp=4, schedule="zb-h1"), 1.0 / 3.0),
        (Plan(pp=4, schedule="zb-v"), 1.0 / 6.0), (Plan(pp=4, schedule="dualpipe"), 2.0 / 9.0),
    ],
)  # fmt: skip
def test_the_bubble_is_that_of_the_schedule(plan: Plan, share: float) -> None:
    """ZB-H1: (p - 1)(F + B - W) of (p - 1)(F + B + W), a third where all are equal (Qi et al., arXiv:2401.10241)."""
    assert layout_of(TrainStep(load_model("llama-3.2-1b"), 32, 2048), plan).bubble == pytest.approx(share)


def test_slow_stages_wait_less_under_a_smaller_bubble(silicost: Run) -> None:
    asked = "train --model llama-3.2-1b --device h100-sxm-80gb --tp 1 --pp 4 --global-batch 8 --seq-len 2048"
    asked += " --steps 100 --straggler exponential:mean=0.2 --format json"
    slowed = {}
    for schedule in ("1f1b", "zb-v"):
        whole = silicost(f"{asked} --schedule {schedule}").json
        slowed[schedule] = whole["run"]["slowed_step_s"] / whole["step_time_s"]
    assert slowed["zb-v"] > slowed["1f1b"] + 0.01, "the slowest stage is a larger part of a shorter step"


def test_checkpoints_beside_the_training_and_spares(silicost: Run) -> None:
    asked = f"{ASKED} --steps 50000 --mtbf 100h --checkpoint-interval 10min --format json"
    blocking, beside = (silicost(f"{asked} {more}").json["run"] for more in ("", "--checkpoint-async"))
    assert beside["checkpoint_bytes"] == blocking["checkpoint_bytes"]
    assert beside["checkpoint_stall_s"] < blocking["checkpoint_stall_s"] / 5.0
    copied_bytes_per_s = beside["checkpoint_bytes"] / 8 / beside["checkpoint_stall_s"]
    assert 20e9 < copied_bytes_per_s < 64e9, "a host link of 16 lanes of the fifth generation"
    assert beside["lost_checkpoint_s"] < blocking["lost_checkpoint_s"] / 5.0
    waits = [silicost(f"{asked} {more}").json["run"]["lost_waiting_s"] for more in ("", "--spares 3", "--spares 0")]
    assert waits[0] == 0.0 < waits[1] < waits[2]


def test_the_run_of_a_step(silicost: Run) -> None:
    whole = silicost(f"{ASKED} --steps 5000 --format json").json
    run, step_s = whole["run"], whole["step_time_s"]
    lost = sum(value for key, value in run.items() if key.startswith("lost_"))
    assert run["wall_s"] == pytest.approx(5000 * step_s + lost, rel=1e-9)
    assert 0.9 < run["goodput"] <= 1.0
    slow = silicost(f"{ASKED} --steps 5000 --straggler slow:share=0.1,factor=1.5 --format json").json["run"]
    assert 1.0 < slow["slowed_step_s"] / step_s <= 1.5
    frail = silicost(f"{ASKED} --steps 5000 --mtbf 10h --checkpoint-interval 5min --format json").json["run"]
    assert frail["interruptions"] > run["interruptions"]
    assert frail["checkpoint_interval_s"] == pytest.approx(300.0, abs=step_s)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--mtbf 1h", "--mtbf: of a run of how many steps? give --steps"),
        ("--steps 0", "--steps 0"), ("--steps 9 --mtbf 3", "--mtbf"), ("--steps 9 --mtbf 1GB", "--mtbf"),
        ("--steps 9 --straggler lognormal:sigm=1", "unknown key"),
        ("--steps 9 --checkpoint-interval soon", "--checkpoint-interval"),
        ("--steps 9 --checkpoint-bandwidth 3s", "--checkpoint-bandwidth"), ("--steps 9 --spares -1", "--spares -1"),
        ("--spares 0", "--spares: of a run of how many steps?"),
        ("--checkpoint-async", "--checkpoint-async: of a run of how many steps?"),
    ],
)  # fmt: skip
def test_what_is_refused(refused: Run, flags: str, said: str) -> None:
    assert said in refused(f"{ASKED} {flags}")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--checkpoint-bandwidth 0GB/s", "--checkpoint-bandwidth '0GB/s': must be above 0, for example '2 GB/s'"),
        ("--checkpoint-bandwidth 2GB", "--checkpoint-bandwidth: '2GB' is a size, not a bandwidth; write"),
        ("--mtbf -5h", "--mtbf '-5h': must be above 0, for example '5 year'"),
        ("--mtbf 0", "--mtbf: '0' has no unit; write for example '5 year'"),
        ("--straggler known:devices=9,factor=1.3", "--straggler known:devices=9,factor=1.3: device 9; the job has"),
    ],
)  # fmt: skip
def test_what_cannot_be_names_its_flag(refused: Callable[..., str], flags: str, said: str) -> None:
    assert said in refused(f"{ASKED} --steps 1000 {flags}")


def test_a_run_that_does_not_end_says_why(silicost: Run) -> None:
    ran = silicost(f"{ASKED} --steps 100000 --mtbf 1s")
    assert (ran.status, ran.out) == (3, "")
    assert "the run does not end: the 8 devices are interrupted every 125 ms" in ran.err
    assert ran.err.count("\n") == 1


def test_files_hold_the_run_too(silicost: Run, tmp_path: Path) -> None:
    ran = silicost(f"{ASKED} --steps 1000 --straggler lognormal:sigma=0.03 --format json --out {tmp_path}")
    written = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert written == ran.json
    assert written["run"]["goodput"] < 1.0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"Run: steps 1,000; wall_s {number(written['run']['wall_s'])};" in page
    usd = written["usd_per_step"] / written["step_time_s"] * written["run"]["wall_s"]
    assert written["run"]["usd"] == pytest.approx(usd)
    assert "Cost of a run of 1,000 steps, USD" in page and f"in all, {number(usd)} USD" in page
