"""What equal devices of a system would do alone: the best plan of each group for the same batch, in closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from hardware_specs.errors import InputError
from simulator.prepared import prepare_pool
from simulator.result import Result
from simulator.scenario import Plan, Pool, Privacy, Scenario, StaticBatch
from simulator.steps.inference_result import inference_result, memory_use
from simulator.timeline import Timeline

Worth = Callable[[Scenario, Result], float]
"""Value of a result under an objective, small is good."""


@dataclass(frozen=True)
class Alone:
    """The best plan of the devices of one group, its value and its result; without a result ``why`` says what is in
    the way."""

    pool: str
    device: str
    devices: int
    value: float = float("inf")
    scenario: Scenario | None = None
    result: Result | None = None
    why: str = ""

    @property
    def ways(self) -> str:
        """The plan in words."""
        return ways_of(self.scenario.pools[0].plan) if self.scenario else ""

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        plan = self.scenario.pools[0].plan if self.scenario else None
        return {
            "pool": self.pool, "device": self.device, "count": self.devices, "fits": self.result is not None,
            "value": self.value if self.result else None, "why": self.why,
            "plan": msgspec.to_builtins(plan) if plan else None,
        }  # fmt: skip


def ways_of(plan: Plan) -> str:
    """A plan in words: "tp 4, dp 2"; "" where there is one device."""
    return ", ".join(f"{way} {getattr(plan, way)}" for way in ("tp", "pp", "dp") if getattr(plan, way) > 1)


def alone(scenario: Scenario, work: StaticBatch, worth: Worth) -> list[Alone]:
    """Each group of equal devices by itself: pools of one group together, by the plan of the least value that fits."""
    groups: dict[str, list[Pool]] = {}
    for pool in scenario.pools:
        groups.setdefault(scenario.group_of(pool).id, []).append(pool)
    return [_best(scenario, work, pools, worth) for pools in groups.values()]


def _best(scenario: Scenario, work: StaticBatch, pools: list[Pool], worth: Worth) -> Alone:
    whole = msgspec.structs.replace(pools[0], count=sum(pool.count for pool in pools))
    name = " + ".join(pool.name for pool in pools)
    best, why = Alone(name, whole.device.id, whole.count), ""
    privacy = scenario.privacy
    for data in ("prompts", "weights", "kv"):
        allowed = privacy.allowed(data)
        if allowed is not None and any(pool.name not in allowed for pool in pools):
            return replace(best, why=f"may not see {data}")
    for plan in _plans(scenario, work, whole):
        own = msgspec.structs.replace(whole, plan=plan)
        single = msgspec.structs.replace(scenario, pools=(own,), rules=(), layers="", privacy=Privacy())
        try:
            prepared = prepare_pool(single, own)
            if memory_use(prepared, work).total > prepared.usable_bytes:
                why = "does not fit, by any plan"
                continue
            result = inference_result(prepared, work, Timeline(()))
        except InputError as error:
            why = why or str(error)
            continue
        value = worth(single, result)
        if value < best.value:
            best = Alone(name, whole.device.id, whole.count, value, single, result)
    return best if best.result else replace(best, why=why)


def _plans(scenario: Scenario, work: StaticBatch, pool: Pool) -> Iterator[Plan]:
    """The plan that is asked for, and all others of all devices, tensor parallel ways inside a node."""
    node = scenario.group_of(pool).count
    seen = set()
    for tp in _divisors(pool.count):
        for pp in _divisors(pool.count // tp):
            dp = pool.count // (tp * pp)
            if tp <= node and pp <= work.model.layers and dp <= work.batch:
                seen.add((tp, pp, dp))
    if pool.plan.devices == pool.count:
        yield pool.plan
    for tp, pp, dp in sorted(seen):
        yield msgspec.structs.replace(pool.plan, tp=tp, pp=pp, dp=dp, ep=1)


def _divisors(number: int) -> list[int]:
    return [ways for ways in range(1, number + 1) if number % ways == 0]
