"""``silicost train --search``: every plan of a training step, those that pay, and why others do not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from hardware_specs.errors import DoesNotFit, InputError
from simulator.assemble import paid_usd
from simulator.bulk.lookup import looked_up
from simulator.bulk.plan_steps import PlanCosts, price_plans
from simulator.bulk.plans import OFFLOAD, Bounds, Plans, plan_of, plan_space
from simulator.explore.pareto import non_dominated
from simulator.prepared import Prepared, prepare
from simulator.scenario import RECOMPUTE, Scenario, TrainStep, check_plan
from simulator.schedules.registry import code_of, names, schedule_of
from simulator.simulate import simulate
from simulator.steps.offload import KINDS, Offloads, offloads_of, store_of
from simulator.steps.overlap import overlapped
from workloads.lowering.plan import check_sharding
from workloads.lowering.recompute import policy_of

Bools = npt.NDArray[np.bool_]
NEAR: Final = 1.25
"""Plans that need up to so much of the memory are near misses."""
MISSES: Final = 5
"""Near misses that are told."""
PINNED: Final = ("tp", "pp", "dp", "cp", "ep", "vpp", "micro_batch", "recompute", "seq_parallel", "zero", "schedule")
"""Flags that hold a search to one value, by a column."""
HELD: Final = ("etp", "cp_comm", "shard", "overlap", "offload")
"""Flags that hold it by the plan of the scenario."""


FIXED: Final = ("etp", "cp_comm", "shard")
"""What of a plan no column of a search says."""


def bounds_of(prepared: Prepared, held: Collection[str], pinned: Mapping[str, Any] | None = None) -> Bounds:
    """What a search tries on devices and under a runtime: all that the runtime may move beside the math, and all that
    may lie on the host where that is known; of what is ``held`` the plan's own. What changes nothing is left out.

    Args:
        pinned: values that plans must have, by the names of ``PINNED``.

    Raises:
        InputError: what the plan says of it cannot be.
    """
    base, work, wanted = prepared.pool.plan, prepared.scenario.workload, pinned or {}
    store_of(prepared.network, offloads_of(base))
    runtime, every = prepared.pool.runtime, msgspec.structs.replace(base, overlap="all")
    recompute = tuple(how for how in RECOMPUTE if how != "selective" or _selects(prepared))
    zero = (0, 3) if isinstance(work, TrainStep) and work.lora_rank else (0, 1, 2, 3)
    found = Bounds(
        recompute=(wanted["recompute"],) if wanted.get("recompute") in RECOMPUTE else recompute,
        zero=(wanted["zero"],) if wanted.get("zero") in (0, 1, 2, 3) else zero,
        offloads=("",) if "offload" in held else _offloads(prepared),
    )
    if "overlap" in held:
        overlapped(base, runtime, 3)
        return found
    return found._replace(overlaps=overlapped(every, runtime, 3), below=overlapped(every, runtime, 0))


def _offloads(prepared: Prepared) -> tuple[str, ...]:
    try:
        store_of(prepared.network, Offloads(*["host"] * len(KINDS)))
    except InputError:
        return ("",)
    return OFFLOAD


def _selects(prepared: Prepared) -> bool:
    """Whether selective recomputation runs anything again: scores of attention that lie in memory, or what the runtime
    takes it for."""
    return prepared.pool.runtime.selective != "selective" or not prepared.how.fused("flash")


@dataclass(frozen=True)
class Found:
    """A search: all plans, their costs, the rows that no other beats, and those that would if they fitted."""

    prepared: Prepared
    plans: Plans
    costs: PlanCosts
    front: Sequence[int]
    misses: Sequence[int]
    missed: PlanCosts

    def row(self, index: int, costs: PlanCosts | None = None) -> dict[str, Any]:
        """A plan with its metrics, as programs read them: all of what was priced, held or searched."""
        costs = costs or self.costs
        priced = plan_of(self.prepared.pool.plan, self.plans, index)
        plan = {name: getattr(priced, name) for name in (*Plans._fields, *FIXED)}
        step_s, device_j = float(costs.step_s[index]), float(costs.device_j[index])
        work, pool = self.prepared.scenario.workload, self.prepared.pool
        assert isinstance(work, TrainStep)
        paid, _ = paid_usd((self.prepared,), {pool.name: device_j}, step_s)
        return {
            **plan, "step_time_s": step_s, "memory_bytes": float(costs.memory_bytes[index]), "device_j": device_j,
            "usd_per_step": paid, "tokens_per_s_per_device": work.global_batch * work.seq_len / step_s / pool.count,
        }  # fmt: skip


def search_plans(
    scenario: Scenario, pinned: Mapping[str, Any], bounds: Bounds | None = None, held: Collection[str] = ()
) -> Found:
    """Search all plans of a training scenario on as many devices as its pool has.

    Args:
        pinned: values that plans must have, by the names of ``PINNED``.
        held: names of ``HELD`` that are as the plan of the scenario says; of others all are tried, or the usual.

    Raises:
        InputError: no plan, or a value that no plan has.
        DoesNotFit: no plan fits the memory.
    """
    prepared, work = prepare(scenario), scenario.workload
    if not isinstance(work, TrainStep):
        raise InputError("--search: plans are searched for training steps")
    _check_pinned(pinned)
    plans = plan_space(
        work, prepared.pool.count, bounds or bounds_of(prepared, held, pinned), prepared.pool.runtime.pads_heads
    )
    plans = plans.take(_kept(plans, pinned))
    plans = plans.take(_possible(prepared, work, plans))
    costs = price_plans(prepared, work, plans)
    if not costs.fits.any():
        raise DoesNotFit(_why_none(prepared, plans, costs))
    rows = np.flatnonzero(costs.fits)
    table = np.stack([costs.step_s, costs.memory_bytes, costs.device_j], axis=1)[rows]
    front = rows[non_dominated(table)]
    front = _distinct(front[np.argsort(costs.step_s[front], kind="stable")], costs)
    usable = prepared.usable_bytes
    near = np.flatnonzero((costs.memory_bytes > usable) & (costs.memory_bytes <= NEAR * usable))
    missed = price_plans(prepared, work, plans.take(near), NEAR)
    faster = np.flatnonzero(missed.step_s < costs.step_s[front[0]])
    faster = faster[np.argsort(missed.step_s[faster], kind="stable")]
    whole = _spread(missed, near, len(plans.tp))
    return Found(prepared, plans, costs, front.tolist(), _distinct(near[faster], whole)[:MISSES].tolist(), whole)


def _check_pinned(pinned: Mapping[str, Any]) -> None:
    """Refuse words of flags that no search tries.

    Raises:
        InputError: a way to recompute that is none, or that has no column; a schedule of stages on one stage.
        UnknownName: no such schedule.
    """
    asked = pinned.get("recompute", "none")
    if asked not in RECOMPUTE:
        policy_of(asked, inner=False)
        raise InputError(
            f"--recompute {asked}: a search tries {', '.join(RECOMPUTE)} only; run a plan with it without --search"
        )
    schedule = pinned.get("schedule", "")
    if schedule:
        schedule_of(schedule, "--schedule")
    if schedule not in ("", "1f1b") and pinned.get("pp") == 1:
        raise InputError(f"--schedule {schedule}: it is of pipeline stages, and --pp is 1; use --pp above 1")


def _why_none(prepared: Prepared, plans: Plans, costs: PlanCosts) -> str:
    """Why no plan fits: the memory of devices, or what else binds those that it can hold."""
    count, usable = f"none of {len(plans.tp):,} plans fits", prepared.usable_bytes
    if not len(plans.tp):
        return count
    order = np.argsort(costs.memory_bytes, kind="stable")
    inside = order[costs.memory_bytes[order] <= usable]
    if not len(inside):
        return (
            f"{count}: the smallest needs {costs.memory_bytes[order[0]] / 1e9:.3g} GB of {usable / 1e9:.3g} GB a "
            "device; use more devices, --recompute full or --zero 3"
        )
    outside = order[len(inside) :]
    more = f"; of others the smallest needs {costs.memory_bytes[outside[0]] / 1e9:.3g} GB" if len(outside) else ""
    return (
        f"{count}: {len(inside):,} need no more than the {usable / 1e9:.3g} GB of a device, but cannot run: "
        f"{_refusal(prepared, plans, int(inside[0]))}{more}"
    )


def _refusal(prepared: Prepared, plans: Plans, row: int) -> str:
    """What ``simulate`` says against a plan."""
    pool = prepared.pool
    own = msgspec.structs.replace(pool, plan=plan_of(pool.plan, plans, row))
    try:
        simulate(msgspec.structs.replace(prepared.scenario, pools=(own,)))
    except InputError as error:
        return str(error)
    return "their network, host or schedule cannot carry them"


def _distinct(rows: npt.NDArray[np.int64], costs: PlanCosts) -> npt.NDArray[np.int64]:
    """The first of all rows that cost the same."""
    table = np.stack([costs.step_s, costs.memory_bytes, costs.device_j], axis=1)[rows]
    _, first = np.unique(np.round(table, 12), axis=0, return_index=True)
    return rows[np.sort(first)]


def _spread(costs: PlanCosts, rows: npt.NDArray[np.int64], count: int) -> PlanCosts:
    """Costs of some rows as columns of all."""
    found = [np.full(count, np.nan) for _ in range(4)]
    for column, values in zip(found, costs, strict=True):
        column[rows] = values
    return PlanCosts(found[0], found[1] > 0.0, found[2], found[3])


def _kept(plans: Plans, pinned: Mapping[str, Any]) -> Bools:
    """Plans that have the pinned values.

    Raises:
        InputError: none has.
    """
    kept = np.ones(len(plans.tp), np.bool_)
    for name, value in pinned.items():
        words: Sequence[str] = ()
        if name == "recompute":
            column, code, words = plans.recompute, RECOMPUTE.index(value), RECOMPUTE
        elif name == "schedule":
            column, code, words = plans.schedule, code_of(value), names()
        else:
            column, code = getattr(plans, "sequence" if name == "seq_parallel" else name), int(value)
        before, kept = kept, kept & (column == code)
        if not kept.any():
            flag = f"--{name.replace('_', '-')}"
            there = ", ".join(words[k] if words else str(k) for k in np.unique(column[before])[:12].tolist())
            raise InputError(f"{flag} {value}: no plan has it together with what stands before; plans have {there}")
    return kept


def _possible(prepared: Prepared, work: TrainStep, plans: Plans) -> Bools:
    """Plans that what the scenario holds allows: experts, shards and heads that its ways can cut.

    Raises:
        InputError: there is none.
    """
    base = prepared.pool.plan
    if not (base.etp or base.shard) and base.cp_comm == "p2p":
        return np.ones(len(plans.tp), np.bool_)
    reason = ""

    def allowed(row: int) -> Sequence[float]:
        nonlocal reason
        plan = plan_of(base, plans, row)
        try:
            check_plan(plan, plan.devices)
            check_sharding(work.model, plan.sharding, prepared.pool.runtime.pads_heads)
        except InputError as error:
            reason = str(error)
            return (0.0,)
        return (1.0,)

    kept = looked_up([plans.tp, plans.pp, plans.dp, plans.cp, plans.ep], allowed)[:, 0] > 0.0
    if not kept.any():
        raise InputError(f"--search: no plan has this: {reason}")
    return kept


def _why(needed: float, usable: float) -> str:
    return f"needs {needed / 1e9:.4g} GB a device, {usable / 1e9:.4g} GB can be used"


def json_of(found: Found) -> dict[str, Any]:
    """The keys that programs read."""
    usable = found.prepared.usable_bytes
    return {
        "plans_evaluated": len(found.plans.tp), "plans_feasible": int(found.costs.fits.sum()),
        "usable_bytes": usable, "front": [found.row(row) for row in found.front],
        "near_misses": [
            {**found.row(row, found.missed), "why_not": _why(found.missed.memory_bytes[row], usable)}
            for row in found.misses
        ],
    }  # fmt: skip
