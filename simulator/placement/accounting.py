"""What executions cost: energy and busy time of each pool, and where the time went along the critical path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from simulator.devices.priors import idle_w
from simulator.engine.tasks import Execution
from simulator.placement.program import Units, static_w
from simulator.placement.units import Unit
from simulator.prepared import Prepared
from simulator.uncertainty.intervals import Part, prior_error
from workloads.operators import FAMILIES


@dataclass(frozen=True)
class Run:
    """An execution, or a window of it, that stands for ``times`` equal ones.

    The window is the time from ``start_s`` to ``end_s``, to which the tasks from ``first`` to before ``last`` belong.
    """

    execution: Execution
    times: float = 1.0
    start_s: float = 0.0
    end_s: float = math.inf
    first: int = 0
    last: int | None = None

    @property
    def seconds(self) -> float:
        """What it adds to the duration [s]."""
        return (min(self.end_s, self.execution.makespan_s) - self.start_s) * self.times

    def inside_s(self, start_s: float, end_s: float) -> float:
        """How much of a span lies in the window [s]."""
        return max(0.0, min(end_s, self.end_s) - max(start_s, self.start_s))


@dataclass(frozen=True)
class Account:
    """Totals of runs, one after the other.

    ``energy_j`` and ``busy_s`` are by pool: of all its devices [J], and of its busiest one [s]. ``breakdown`` sums to
    the duration; ``parts`` is the same by device, for the interval.
    """

    duration_s: float
    energy_j: dict[str, float]
    busy_s: dict[str, float]
    breakdown: dict[str, float]
    parts: tuple[Part, ...]


def account(runs: Sequence[Run], prepared: Sequence[Prepared], units: Units) -> Account:
    """Add up ``runs``.

    In a run in which it has work a device draws its static power throughout (gaps are short, clocks stay up), what its
    tasks spend comes on top; in one in which it has none it draws its idle power.
    """
    energy: dict[str, float] = {}
    busy: dict[str, float] = {}
    for each in prepared:
        name = each.pool.name
        spans = [[run.execution.busy_s(u.name, run.start_s, run.end_s) for run in runs] for u in units[name]]
        busy[name] = max(sum(s * run.times for s, run in zip(row, runs, strict=True)) for row in spans)
        energy[name] = sum(_joules(run, unit) * unit.devices for unit in units[name] for run in runs)
    breakdown, parts = attribute(runs, prepared, units)
    return Account(sum(run.seconds for run in runs), energy, busy, breakdown, parts)


def _joules(run: Run, unit: Unit) -> float:
    """Energy of one device of a unit [J]."""
    tasks = run.execution.program.tasks[run.first : run.last]
    dynamic_j = sum(task.dynamic_j for task in tasks if task.lanes[0].unit == unit.name)
    works = any(lane.unit == unit.name for task in tasks for lane in task.lanes)
    floor_w = static_w(unit) if works else idle_w(unit.prepared.pool.device)
    return dynamic_j * run.times + floor_w * run.seconds


def attribute(
    runs: Sequence[Run], prepared: Sequence[Prepared], units: Units
) -> tuple[dict[str, float], tuple[Part, ...]]:
    """Seconds along the critical paths by family, and by device and family with the operators behind them."""
    owner = {unit.name: each for each in prepared for unit in units[each.pool.name]}
    breakdown: dict[str, float] = {}
    seconds: dict[tuple[str, str], float] = {}
    owners: dict[tuple[str, str], Prepared] = {}
    for run in runs:
        e = run.execution
        on_path = 0.0
        for i in e.critical_path():
            span = run.inside_s(e.start_s[i], e.end_s[i]) * run.times
            if span == 0.0:
                continue
            task = e.program.tasks[i]
            on_path += span
            breakdown[task.family] = breakdown.get(task.family, 0.0) + span
            each = owner.get(task.lanes[0].unit, prepared[0])
            key = (each.pool.device.id if task.lanes[0].unit in owner else "links", task.family)
            seconds[key] = seconds.get(key, 0.0) + span
            owners[key] = each
        if abs(run.seconds - on_path) > 1e-9 * abs(run.seconds):
            breakdown["idle"] = breakdown.get("idle", 0.0) + run.seconds - on_path
    return breakdown, tuple(_part(*key, spent, owners[key]) for key, spent in seconds.items())


def _part(name: str, family: str, seconds: float, prepared: Prepared) -> Part:
    """What a family takes on a device or on the links, with the error of its calibrations, else of its class."""
    device_class = prepared.pool.device.device_class
    known = family in FAMILIES and name != "links"
    error = prepared.model.error(family, prepared.precision.compute) if known else prior_error(device_class, family)
    return Part(name, device_class, family, seconds, error)


def bound_of(execution: Execution, first: int = 0, last: int | None = None) -> str:
    """What most of the critical path is bound by, of the tasks from ``first`` to before ``last``."""
    stop = len(execution.program.tasks) if last is None else last
    totals: dict[str, float] = {}
    for i in execution.critical_path():
        if first <= i < stop:
            bound = execution.program.tasks[i].bound
            totals[bound] = totals.get(bound, 0.0) + execution.end_s[i] - execution.start_s[i]
    return max(totals, key=lambda name: totals[name]) if totals else "overhead"
