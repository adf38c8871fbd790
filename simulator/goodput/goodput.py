"""From the time of a step to the time of a run: stragglers, failures, checkpoints, restarts, waiting for nodes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from hardware_specs.errors import InputError
from hardware_specs.reliability import ReliabilitySpec, load_reliability
from hardware_specs.units import parse_quantity
from simulator.goodput.checkpoints import (
    Checkpoint,
    CheckpointTimes,
    daly_interval_s,
    optimal_interval_s,
    young_interval_s,
)
from simulator.goodput.expected import Expected, Interruptions, expected_run
from simulator.goodput.failures import FailureRates, expected_wait_s, job_rates
from simulator.goodput.maxima import LEVELS
from simulator.goodput.pipelines import Pipelines, StepSlowdown, step_slowdown
from simulator.goodput.representatives import known_slowdown
from simulator.goodput.simulated import LONGEST, Process, percentiles, simulated_runs
from simulator.goodput.slowdowns import Straggler
from workloads.traffic.streams import counted, stream

FEWEST_RUNS: Final = 64
"""Runs that are drawn at least."""
MOST_INTERRUPTIONS: Final = 5e7
"""Interruptions that are drawn in all, of more than ``FEWEST_RUNS`` runs."""


@dataclass(frozen=True)
class Recovery:
    """How a job comes back; None takes the fact of the device's reliability [s].

    ``spares``: nodes that stand by; None: always enough, so that nobody waits for a repair.
    """

    detect_s: float | None = None
    restart_s: float | None = None
    warmup_s: float | None = None
    repair_s: float | None = None
    spares: int | None = None

    def filled(self, spec: ReliabilitySpec) -> FilledRecovery:
        """With the facts of ``spec`` where there is None.

        Raises:
            InputError: a negative time or number of spares.
        """
        names = ("detect", "restart", "warmup", "repair")
        given = [getattr(self, f"{name}_s") for name in names]
        times = [getattr(spec, n).value if value is None else value for n, value in zip(names, given, strict=True)]
        for name, value in zip(names, times, strict=True):
            if not 0.0 <= value < math.inf:
                raise InputError(f"recovery {name}_s {value}; allowed: from 0 on")
        spares = None if self.spares is None else counted(self.spares, "spares")
        return FilledRecovery(times[0], times[1], times[2], times[3], spares)


@dataclass(frozen=True)
class FilledRecovery:
    """``Recovery`` with every time known [s]."""

    detect_s: float
    restart_s: float
    warmup_s: float
    repair_s: float
    spares: int | None


@dataclass(frozen=True)
class LostTime:
    """Expected time of a run that moved nothing forward, by cause [s]."""

    stragglers_s: float
    checkpoint_s: float
    rework_s: float
    restart_s: float
    waiting_s: float

    @property
    def total_s(self) -> float:
        """All causes together [s]."""
        return self.stragglers_s + self.checkpoint_s + self.rework_s + self.restart_s + self.waiting_s


@dataclass(frozen=True)
class Goodput:
    """A run of ``steps`` steps on ``devices`` devices.

    ``wall_s`` is the expected time; ``wall_p10_s`` and ``wall_p90_s`` are of ``runs`` drawn runs, whose mean is
    ``wall_drawn_s``. ``slowed_step_s`` is the step with stragglers; ``goodput`` the share of the wall time in which
    steps advanced that were not lost later, stragglers' steps included (effective training time, ETTR);
    ``useful_s`` = ``steps`` x ``step_s`` and ``lost`` sum to ``wall_s``. Intervals are of steps' time between
    checkpoints: the one used, and the optima by Young, by Daly and exactly. ``rates_known`` is False where an MTBF that
    was used is assumed. Of a run that is interrupted very often fewer ``runs`` are drawn than were asked for, and none
    of one that does not ``end``.
    """

    steps: int
    devices: int
    step_s: float
    slowed_step_s: float
    wall_s: float
    wall_p10_s: float
    wall_p90_s: float
    wall_drawn_s: float
    goodput: float
    interruptions: float
    job_mtbf_s: float
    interval_s: float
    interval_steps: int
    young_s: float
    daly_s: float
    optimal_s: float
    stall_s: float
    unsafe_s: float
    lost: LostTime
    rates_known: bool
    seed: int
    runs: int

    @property
    def ends(self) -> bool:
        """Whether the run takes up to ``LONGEST`` times the time of its steps."""
        return self.wall_s <= LONGEST * self.steps * self.slowed_step_s

    @property
    def useful_s(self) -> float:
        """Time of all steps without stragglers [s]."""
        return self.steps * self.step_s


@dataclass(frozen=True)
class _Job:
    """All that a run depends on, in SI units."""

    steps: int
    step_s: float
    slow: StepSlowdown | None
    each_step: bool
    times: CheckpointTimes
    rates: FailureRates
    recovery: FilledRecovery
    restart_s: float
    stops: Interruptions = field(init=False)

    def __post_init__(self) -> None:
        wait = expected_wait_s(self.rates.hardware_per_s, self.recovery.spares, self.recovery.repair_s)
        stops = Interruptions(
            self.rates.per_s, self.recovery.detect_s, wait * self.rates.hardware_share, self.restart_s
        )
        object.__setattr__(self, "stops", stops)

    @property
    def slowed_step_s(self) -> float:
        return self.step_s * (self.slow.mean if self.slow else 1.0)

    def expected(self, steps_between: int) -> Expected:
        step = self.slowed_step_s
        return expected_run(self.steps * step, min(steps_between, self.steps) * step, self.times, self.stops)


def parse_interval(text: str, place: str = "--checkpoint-interval") -> float | None:
    """Seconds between checkpoints of "30 min", "5 s" ...; None for "best".

    Raises:
        InputError: no time, or none above 0.
    """
    if text.strip() == "best":
        return None
    try:
        value = parse_quantity(text, "s", place)
    except InputError as error:
        raise InputError(f"{error}; or 'best'") from None
    if value <= 0.0:
        raise InputError(f"{place}: {text!r} must be above 0 s, or 'best'")
    return value


def goodput_of(
    step_s: float, devices: int, device_class: str | ReliabilitySpec, *, steps: int, checkpoint: Checkpoint,
    interval_s: float | None = None, mtbf_s: float | None = None, straggler: Straggler | None = None,
    layout: Pipelines | None = None, recovery: Recovery | None = None, devices_per_node: int | None = None,
    seed: int = 0, runs: int = 2000,
) -> Goodput:  # fmt: skip
    """Time, goodput and losses of a synchronous training run.

    Args:
        step_s: time of a step on typical devices, nothing failing [s].
        device_class: a device class ("gpu"), other facts by name ("h100"), or ``reliability_of(device)``.
        interval_s: time of steps between checkpoints [s], rounded to whole steps; None: the best.
        mtbf_s: mean time between interruptions per device [s], all parts and software in it, instead of the facts.
        straggler: slow ranks, with ``layout`` for who waits for whom (None: all ranks for each other).
        devices_per_node: devices of a node, where not those of the facts.
        runs: drawn runs for the percentiles.

    Raises:
        InputError: numbers that cannot be; a layout of other devices; an interval shorter than an asynchronous write.
    """
    spec = load_reliability(device_class) if isinstance(device_class, str) else device_class
    _check(step_s, devices, steps, runs, mtbf_s)
    per_node = counted(spec.devices if devices_per_node is None else devices_per_node, "devices_per_node", 1)
    if layout and layout.devices != devices:
        raise InputError(f"the layout has {layout.devices} devices, the job {devices}")
    nodes = -(-devices // per_node)
    rates = job_rates(spec, devices, per_node) if mtbf_s is None else FailureRates(devices / mtbf_s, 0.0)
    back = (recovery or Recovery()).filled(spec)
    slow = _slowdown(straggler, layout or Pipelines(devices)) if straggler else None
    restart_s = back.restart_s + checkpoint.transfer_s(nodes) + back.warmup_s
    each_step = bool(straggler and straggler.each_step)
    job = _Job(steps, step_s, slow, each_step, checkpoint.times(nodes), rates, back, restart_s)
    between = _steps_between(job, interval_s)
    known = mtbf_s is not None or all(
        fact is None or fact.mark != "assumed"
        for fact in (spec.device_mtbf, spec.host_mtbf, spec.network_mtbf, spec.software_mtbf)
    )
    return replace(_record(job, devices, between, seed, runs), rates_known=known)


def _slowdown(straggler: Straggler, layout: Pipelines) -> StepSlowdown:
    if not straggler.known:
        return step_slowdown(straggler, layout)
    factor = known_slowdown(dict(straggler.known), layout)
    return StepSlowdown(factor, np.full(len(LEVELS), factor))


def _check(step_s: float, devices: int, steps: int, runs: int, mtbf_s: float | None) -> None:
    for name, number in (("step_s", step_s), ("mtbf_s", 1.0 if mtbf_s is None else mtbf_s)):
        if not 0.0 < number < math.inf:
            raise InputError(f"{name} {number}; allowed: above 0 s")
    for name, count in (("devices", devices), ("steps", steps), ("runs", runs)):
        counted(count, name, 1)


def _steps_between(job: _Job, interval_s: float | None) -> int:
    """Whole steps between checkpoints: as asked, or those of the least expected time."""
    step, times = job.slowed_step_s, job.times
    least = max(1, math.ceil((times.unsafe_s - times.stall_s) / step - 1e-9))
    if interval_s is not None:
        asked = max(1, round(interval_s / step))
        if asked < least and asked < job.steps:
            raise InputError(
                f"checkpoint interval {interval_s:g} s is shorter than a checkpoint's write, {times.unsafe_s:g} s; "
                f"allowed: from {least * step:g} s on, or best"
            )
        return min(asked, job.steps)
    best = optimal_interval_s(times.stall_s, job.rates.mtbf_s)
    if math.isinf(best):
        return job.steps
    near = {min(max(least, k, 1), job.steps) for k in (math.floor(best / step), math.ceil(best / step), job.steps)}
    return min(sorted(near), key=lambda k: job.expected(k).wall_s)


def _record(job: _Job, devices: int, between: int, seed: int, runs: int) -> Goodput:
    expected, step = job.expected(between), job.slowed_step_s
    if expected.wall_s > LONGEST * job.steps * step:
        drawn = np.full(runs, math.inf)
    else:
        runs = min(runs, max(FEWEST_RUNS, int(MOST_INTERRUPTIONS / max(expected.interruptions, 1.0))))
        drawn = _drawn(job, between, seed, runs)
    low, high = percentiles(drawn)
    lost = LostTime(job.steps * (step - job.step_s), expected.checkpoint_s, expected.rework_s, expected.restart_s,
                    expected.waiting_s)  # fmt: skip
    mtbf, stall = job.rates.mtbf_s, job.times.stall_s
    return Goodput(
        steps=job.steps, devices=devices, step_s=job.step_s, slowed_step_s=step, wall_s=expected.wall_s, wall_p10_s=low,
        wall_p90_s=high, wall_drawn_s=float(np.mean(drawn)), goodput=job.steps * step / expected.wall_s,
        interruptions=expected.interruptions, job_mtbf_s=mtbf, interval_s=between * step, interval_steps=between,
        young_s=young_interval_s(stall, mtbf), daly_s=daly_interval_s(stall, mtbf),
        optimal_s=optimal_interval_s(stall, mtbf), stall_s=stall, unsafe_s=job.times.unsafe_s, lost=lost,
        rates_known=True, seed=seed, runs=runs,
    )  # fmt: skip


def _drawn(job: _Job, between: int, seed: int, runs: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Wall times of drawn runs [s], shape [runs]; devices that stay slow are drawn once a run."""
    factor = np.full(runs, job.slow.mean if job.slow else 1.0)
    if job.slow and not job.each_step:
        factor = job.slow.quantile(stream(seed, "stragglers").random(runs))
    step = job.step_s * factor
    back = job.recovery
    process = Process(
        job.rates.per_s, job.rates.hardware_share, back.detect_s, job.restart_s, back.repair_s, back.spares
    )
    return simulated_runs(job.steps * step, between * step, job.times, process, seed)["wall_s"]
