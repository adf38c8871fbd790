"""Long runs of a training step by flags: what is written once, and that figures of goodput are passed on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from silicost.long_runs import LongRun
from silicost.scenarios import training_scenario
from simulator.simulate import simulate
from workloads.models.catalogue import load_model
from workloads.models.parameters import count_parameters

Run = Callable[..., Any]
ASKED = "train --model llama-3.2-1b --device h100-sxm-80gb --count 8 --tp 1 --dp 8 --global-batch 64 --seq-len 2048"


@pytest.mark.parametrize("zero", [0, 1, 3])
def test_a_checkpoint_has_each_parameter_once(zero: int) -> None:
    """Weights of 2 B and 12 B of states; of sharded weights also the two layers that are gathered."""
    scenario = training_scenario(
        "llama-3.2-1b", "h100-sxm-80gb", global_batch=64, seq_len=2048, dp=8, tp=1, zero=zero,
        runtime="megatron-core-2025",
    )  # fmt: skip
    name, found = LongRun(1000).of(scenario, simulate(scenario))
    parameters = count_parameters(load_model("llama-3.2-1b")).total
    assert name == "run"
    assert found["checkpoint_bytes"] == pytest.approx(14.0 * parameters, rel=0.15 if zero == 3 else 0.01)


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
        ("--steps 9 --checkpoint-bandwidth 3s", "--checkpoint-bandwidth"),
    ],
)  # fmt: skip
def test_what_is_refused(refused: Run, flags: str, said: str) -> None:
    assert said in refused(f"{ASKED} {flags}")
