"""What becomes of a training step over a whole run: stragglers, failures, checkpoints (``simulator.goodput``)."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, lcm
from typing import Any, Final

from hardware_specs.errors import DoesNotFit, InputError, UnitError, clipped
from hardware_specs.reliability import reliability_of
from hardware_specs.units import parse_quantity
from reports.numbers import quantity, whole
from simulator.checks import check_count
from simulator.goodput.checkpoints import Checkpoint
from simulator.goodput.goodput import Goodput, Recovery, goodput_of, parse_interval
from simulator.goodput.pipelines import Pipelines
from simulator.goodput.simulated import LONGEST
from simulator.goodput.slowdown_words import parse_slowdown
from simulator.goodput.slowdowns import Straggler
from simulator.prepared import Prepared, prepare
from simulator.result import Result
from simulator.scenario import Plan, Scenario, TrainStep
from simulator.schedules.closed import closed_bubble_s
from simulator.schedules.registry import code_of, schedule_of
from simulator.steps.replicas import adapter_parameters, keeps_masters, shards_of, state_bytes
from workloads.models.parameters import count_parameters

NODE_BYTES_PER_S: Final = 2e9
"""What a node writes of a checkpoint, where nobody says [B/s]. Assumed."""


@dataclass(frozen=True)
class LongRun:
    """A run of ``steps`` steps, in the words of flags: "" is what is known of the device, or the best.

    ``asynchronous`` checkpoints are written beside the training; ``spares`` nodes stand by (None: always enough).
    """

    steps: int
    straggler: str = ""
    mtbf: str = ""
    interval: str = ""
    bandwidth: str = ""
    asynchronous: bool = False
    spares: int | None = None

    def of(self, scenario: Scenario, result: Result) -> tuple[str, dict[str, Any]]:
        """The name of the table, and the figures of the run by theirs.

        Raises:
            InputError: numbers that cannot be.
            DoesNotFit: failures come so often that the run does not end.
        """
        work, pool = scenario.workload, scenario.pools[0]
        step_s = result.metrics["step_time_s"]
        if not isinstance(work, TrainStep) or step_s is None or scenario.mixed:
            raise InputError("--steps: long runs are of training steps on one pool of devices")
        check_count("--steps", self.steps, 1_000_000_000)
        if self.spares is not None and self.spares < 0:
            raise InputError(f"--spares {self.spares}: must be at least 0")
        prepared, reliability = prepare(scenario), reliability_of(pool.device)
        written = checkpoint_bytes(prepared, work)
        rate = _above_zero(self.bandwidth, "bytes_per_s", "--checkpoint-bandwidth", "2 GB/s") or NODE_BYTES_PER_S
        copied = min(reliability.devices, pool.count) * _host_bytes_per_s(prepared)
        saved = Checkpoint(
            written, rate, asynchronous=self.asynchronous, copy_bytes_per_s=copied
        )  # fmt: skip
        found = goodput_of(
            step_s, pool.count, reliability, steps=self.steps, checkpoint=saved,
            interval_s=parse_interval(self.interval) if self.interval else None,
            mtbf_s=_above_zero(self.mtbf, "s", "--mtbf", "5 year"), straggler=self._straggler(pool.count),
            layout=layout_of(work, pool.plan), recovery=Recovery(spares=self.spares), seed=scenario.seed,
        )  # fmt: skip
        if not found.ends:
            raise DoesNotFit(_endless(found))
        lost = {f"lost_{name}": value for name, value in vars(found.lost).items()}
        return "run", {
            "steps": found.steps, "wall_s": found.wall_s, "wall_p10_s": found.wall_p10_s,
            "wall_p90_s": found.wall_p90_s, "usd": _usd(result, found.wall_s), "goodput": found.goodput,
            "slowed_step_s": found.slowed_step_s,
            "interruptions": found.interruptions, "job_mtbf_s": found.job_mtbf_s,
            "checkpoint_bytes": written, "checkpoint_interval_s": found.interval_s,
            "checkpoint_optimum_s": found.optimal_s, "checkpoint_daly_s": found.daly_s,
            "checkpoint_young_s": found.young_s, "checkpoint_stall_s": found.stall_s, **lost,
            "rates_known": found.rates_known,
        }  # fmt: skip

    def _straggler(self, devices: int) -> Straggler | None:
        """The slow devices, which the job must have."""
        found = parse_slowdown(self.straggler) if self.straggler else None
        for device, _ in found.known if found else ():
            if device >= devices:
                raise InputError(
                    f"--straggler {clipped(self.straggler)}: device {device}; the job has devices 0 to {devices - 1}"
                )
        return found


def _usd(result: Result, wall_s: float) -> float | None:
    """What devices cost that are held for a whole run, lost time being paid for as time of steps is [USD]."""
    usd, step_s = result.metrics["usd_per_step"], result.metrics["step_time_s"]
    return usd / step_s * wall_s if usd is not None and step_s else None


def _above_zero(text: str, dimension: str, flag: str, sample: str) -> float | None:
    """A quantity of a flag [SI]; None where it is not given."""
    if not text:
        return None
    try:
        value = parse_quantity(text, dimension, flag)
    except UnitError as error:
        why = str(error).partition("; write for example")[0]
        raise InputError(f"{why}; write for example {sample!r}") from None
    if value <= 0.0:
        raise InputError(f"{flag} {clipped(text)!r}: must be above 0, for example {sample!r}")
    return value


def _endless(run: Goodput) -> str:
    """Why a run does not end, in one line."""
    return (
        f"the run does not end: the {whole(run.devices)} devices are interrupted every "
        f"{quantity(run.job_mtbf_s, 's')}, and {whole(run.steps)} steps of {quantity(run.slowed_step_s, 's')} with a "
        f"checkpoint of {quantity(run.stall_s + run.unsafe_s, 's')} every {quantity(run.interval_s, 's')} would take "
        f"more than {LONGEST:,.0f} times their own time; use --mtbf, --checkpoint-bandwidth, --checkpoint-async or "
        "fewer devices"
    )


def checkpoint_bytes(prepared: Prepared, work: TrainStep) -> float:
    """What a checkpoint of a training step holds: weights and optimizer states of every trained parameter, once [B].

    Of adapters the frozen model is no part of it; where shards of weights are the fp32 masters themselves, there is no
    16-bit copy beside them.
    """
    plan, runtime = prepared.pool.plan, prepared.pool.runtime
    each = state_bytes(work, prepared.precision.attention, runtime)
    if work.lora_rank:
        return adapter_parameters(work) * (each.weights + each.states)
    masters = keeps_masters(work, runtime, each, shards_of(work, plan, runtime))
    return count_parameters(work.model).total * (each.states + (0.0 if masters else each.weights))


def layout_of(work: TrainStep, plan: Plan) -> Pipelines:
    """Which ranks of a training step wait for each other.

    Ranks run tensor parallel fastest, then context, then data: those that exchange tokens of experts are
    ep x etp neighbours, so that whole blocks of tp x cp ranks and of ep x etp ones work in step.
    """
    inside, ranks = plan.tp * plan.cp, plan.tp * plan.cp * plan.dp
    together = lcm(inside, plan.ep * max(plan.etp, 1)) if plan.sharding.sends_tokens else inside
    count = work.global_batch // (plan.dp * plan.micro_batch)
    return Pipelines(together, plan.pp, ranks // together, count, bubble_share(plan, count))


def bubble_share(plan: Plan, count: int) -> float:
    """The bubble of a plan's schedule as a share of that of 1F1B, forward and both backwards of equal length [1].

    Args:
        count: micro-batches.
    """
    if plan.pp == 1:
        return 1.0
    name = plan.schedule or ("interleaved" if plan.vpp > 1 else "1f1b")
    chunks = schedule_of(name).chunks or plan.vpp
    own, usual = (
        float(closed_bubble_s(code_of(each), plan.pp, count, pieces, 1.0, 1.0, 1.0))
        for each, pieces in ((name, chunks), ("1f1b", 1))
    )
    return min(max(own / usual, 0.0), 1.0) if isfinite(own) else 1.0 / plan.vpp


def _host_bytes_per_s(prepared: Prepared) -> float:
    """What a device copies to its host when all of its node do [B/s]."""
    network = prepared.network
    shares = [each.bytes_per_s / each.devices for each in network.shared(network.host, network.ranks).values()]
    return min([network.host.bandwidth.value * network.host.achieved_fraction.value, *shares])
