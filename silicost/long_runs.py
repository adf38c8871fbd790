"""What becomes of a training step over a whole run: stragglers, failures, checkpoints (``simulator.goodput``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from hardware_specs.errors import InputError
from hardware_specs.reliability import reliability_of
from hardware_specs.units import parse_quantity
from simulator.checks import check_count
from simulator.goodput.checkpoints import Checkpoint
from simulator.goodput.goodput import goodput_of, parse_interval
from simulator.goodput.pipelines import Pipelines
from simulator.goodput.slowdown_words import parse_slowdown
from simulator.result import Result
from simulator.scenario import Scenario, TrainStep
from simulator.steps.replicas import shards_of

NODE_BYTES_PER_S: Final = 2e9
"""What a node writes of a checkpoint, where nobody says [B/s]. Assumed."""


@dataclass(frozen=True)
class LongRun:
    """A run of ``steps`` steps, in the words of flags: "" is what is known of the device, or the best."""

    steps: int
    straggler: str = ""
    mtbf: str = ""
    interval: str = ""
    bandwidth: str = ""
    asynchronous: bool = False

    def of(self, scenario: Scenario, result: Result) -> tuple[str, dict[str, Any]]:
        """The name of the table, and the figures of the run by theirs.

        Raises:
            InputError: numbers that cannot be.
        """
        work, pool = scenario.workload, scenario.pools[0]
        step_s = result.metrics["step_time_s"]
        if not isinstance(work, TrainStep) or step_s is None or scenario.mixed:
            raise InputError("--steps: long runs are of training steps on one pool of devices")
        check_count("--steps", self.steps, 1_000_000_000)
        plan, uses = pool.plan, result.pools[0].memory
        # What replicas hold alike is written once.
        cut, alike = shards_of(work, plan, pool.runtime), plan.dp * plan.cp
        written = pool.count * (uses.weights * cut.weights + uses.optimizer * cut.states) / alike
        rate = parse_quantity(self.bandwidth, "bytes_per_s", "--checkpoint-bandwidth") if self.bandwidth else 0.0
        saved = Checkpoint(written, rate or NODE_BYTES_PER_S, asynchronous=self.asynchronous)
        count = work.global_batch // (plan.dp * plan.micro_batch)
        found = goodput_of(
            step_s, pool.count, reliability_of(pool.device), steps=self.steps, checkpoint=saved,
            interval_s=parse_interval(self.interval) if self.interval else None,
            mtbf_s=parse_quantity(self.mtbf, "s", "--mtbf") if self.mtbf else None,
            straggler=parse_slowdown(self.straggler) if self.straggler else None,
            layout=Pipelines(plan.tp * plan.cp, plan.pp, plan.dp, count, 1.0 / plan.vpp), seed=scenario.seed,
        )  # fmt: skip
        lost = {f"lost_{name}": value for name, value in vars(found.lost).items()}
        return "run", {
            "steps": found.steps, "wall_s": found.wall_s, "wall_p10_s": found.wall_p10_s,
            "wall_p90_s": found.wall_p90_s, "goodput": found.goodput, "slowed_step_s": found.slowed_step_s,
            "interruptions": found.interruptions, "job_mtbf_s": found.job_mtbf_s,
            "checkpoint_bytes": written, "checkpoint_interval_s": found.interval_s,
            "checkpoint_optimum_s": found.optimal_s, "checkpoint_daly_s": found.daly_s,
            "checkpoint_young_s": found.young_s, "checkpoint_stall_s": found.stall_s, **lost,
            "rates_known": found.rates_known,
        }  # fmt: skip
