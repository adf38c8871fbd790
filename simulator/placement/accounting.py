"""What executions cost: energy and busy time of each pool, and where the time went along the critical path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.devices.priors import idle_w
from simulator.engine.tasks import Execution
from simulator.placement.program import Units
from simulator.prepared import Prepared
from simulator.uncertainty.intervals import Part


@dataclass(frozen=True)
class Run:
    """An execution that stands for ``times`` equal ones."""

    execution: Execution
    times: float = 1.0

    @property
    def seconds(self) -> float:
        """What it adds to the duration [s]."""
        return self.execution.makespan_s * self.times


@dataclass(frozen=True)
class Account:
    """Totals of runs, one after the other.

    ``energy_j`` and ``busy_s`` are by pool: of all its devices [J], and of one of them [s]. ``breakdown`` sums to
    the duration; ``parts`` is the same by device, for the interval.
    """

    duration_s: float
    energy_j: dict[str, float]
    busy_s: dict[str, float]
    breakdown: dict[str, float]
    parts: tuple[Part, ...]


def account(runs: Sequence[Run], prepared: Sequence[Prepared], units: Units) -> Account:
    """Add up ``runs``; devices that wait draw their idle power."""
    duration = sum(run.seconds for run in runs)
    energy: dict[str, float] = {}
    busy: dict[str, float] = {}
    for each in prepared:
        name = each.pool.name
        per_device = [_unit_totals(runs, unit.name) for unit in units[name]]
        busy[name] = max(total_busy for _, total_busy in per_device)
        energy[name] = sum(
            (joules + idle_w(each.pool.device) * max(0.0, duration - total_busy)) * unit.devices
            for unit, (joules, total_busy) in zip(units[name], per_device, strict=True)
        )
    breakdown, parts = _attribute(runs, prepared, units)
    return Account(duration, energy, busy, breakdown, parts)


def _unit_totals(runs: Sequence[Run], unit: str) -> tuple[float, float]:
    """Energy of the tasks of one device of a unit [J], and its busy time [s]."""
    joules = sum(
        task.energy_j * run.times for run in runs for task in run.execution.program.tasks if task.lanes[0].unit == unit
    )
    return joules, sum(run.execution.busy_s(unit) * run.times for run in runs)


def _attribute(
    runs: Sequence[Run], prepared: Sequence[Prepared], units: Units
) -> tuple[dict[str, float], tuple[Part, ...]]:
    """Seconds along the critical paths by family, and by device and family with the operators behind them."""
    owner = {unit.name: each for each in prepared for unit in units[each.pool.name]}
    breakdown: dict[str, float] = {}
    seconds: dict[tuple[str, str, str], list[float]] = {}
    for run in runs:
        e = run.execution
        on_path = 0.0
        for i in e.critical_path():
            task, span = e.program.tasks[i], (e.end_s[i] - e.start_s[i]) * run.times
            on_path += span
            breakdown[task.family] = breakdown.get(task.family, 0.0) + span
            device = owner.get(task.lanes[0].unit, prepared[0]).pool.device
            name = device.id if task.lanes[0].unit in owner else "links"
            entry = seconds.setdefault((name, device.device_class, task.family), [0.0, 0.0])
            entry[0], entry[1] = entry[0] + span, entry[1] + run.times
        if abs(run.seconds - on_path) > 1e-9 * abs(run.seconds):
            breakdown["idle"] = breakdown.get("idle", 0.0) + run.seconds - on_path
    return breakdown, tuple(Part(*key, *entry) for key, entry in seconds.items())


def bound_of(execution: Execution, first: int = 0, last: int | None = None) -> str:
    """What most of the critical path is bound by, of the tasks from ``first`` to before ``last``."""
    stop = len(execution.program.tasks) if last is None else last
    totals: dict[str, float] = {}
    for i in execution.critical_path():
        if first <= i < stop:
            bound = execution.program.tasks[i].bound
            totals[bound] = totals.get(bound, 0.0) + execution.end_s[i] - execution.start_s[i]
    return max(totals, key=lambda name: totals[name]) if totals else "overhead"
