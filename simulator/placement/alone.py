"""What a pool of a mixed training step would do alone: the fastest plan of its devices that fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from hardware_specs.errors import InputError
from simulator.prepared import prepare_pool
from simulator.result import Result
from simulator.scenario import Plan, Pool, Scenario, TrainStep
from simulator.steps.training_result import memory_use, training_result
from simulator.timeline import Timeline

MICRO_BATCHES: Final = (1, 2, 4, 8)
RECOMPUTATIONS: Final = ("none", "selective", "full")


@dataclass(frozen=True)
class Alone:
    """The fastest plan of one pool, and its step; without a plan nothing fits."""

    pool: str
    devices: int
    tokens: int
    plan: Plan | None = None
    result: Result | None = None

    @property
    def step_s(self) -> float | None:
        """Time of the step [s]."""
        return self.result.metrics["step_time_s"] if self.result else None

    @property
    def usd_per_million_tokens(self) -> float | None:
        """Price of a million tokens [USD]; None where it is unknown."""
        return usd_per_million(self.result, self.tokens) if self.result else None

    @property
    def words(self) -> str:
        """The plan, the step and the price, for people."""
        if self.plan is None or self.step_s is None:
            return "does not fit, by any plan"
        ways = ", ".join(
            f"{name} {getattr(self.plan, name)}" for name in ("tp", "pp", "dp") if getattr(self.plan, name) > 1
        )
        usd = self.usd_per_million_tokens
        price = "price unknown" if usd is None else f"{usd:.4g} USD per 1M tokens"
        return (
            f"{self.step_s:.4g} s, {price} ({ways or 'one device'}, micro-batch {self.plan.micro_batch}, "
            f"recompute {self.plan.recompute})"
        )

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "pool": self.pool, "count": self.devices, "fits": self.plan is not None, "step_time_s": self.step_s,
            "usd_per_million_tokens": self.usd_per_million_tokens,
            "plan": msgspec.to_builtins(self.plan) if self.plan else None,
        }  # fmt: skip


def usd_per_million(result: Result, tokens: int) -> float | None:
    """Price of a million tokens of a step of ``tokens`` [USD]."""
    paid = result.metrics["usd_per_step"]
    return None if paid is None else paid / tokens * 1e6


def best_alone(scenario: Scenario, work: TrainStep, pool: Pool) -> Alone:
    """The fastest plan of ``pool`` for the same step: tensor, pipeline and data parallel ways, micro-batches,
    recomputation; in closed form."""
    found = Alone(pool.name, pool.count, work.global_batch * work.seq_len)
    best: tuple[float, Plan, Result] | None = None
    for plan in _plans(scenario, work, pool):
        single = _under(scenario, pool, plan)
        try:
            prepared = prepare_pool(single, single.pools[0])
            if memory_use(prepared, work).total > prepared.usable_bytes:
                continue
            result = training_result(prepared, work, Timeline(()))
        except InputError:
            continue
        step_s = result.metrics["step_time_s"]
        if step_s is not None and (best is None or step_s < best[0]):
            best = step_s, plan, result
    return found if best is None else Alone(found.pool, found.devices, found.tokens, best[1], best[2])


def _under(scenario: Scenario, pool: Pool, plan: Plan) -> Scenario:
    own = msgspec.structs.replace(pool, plan=plan)
    return msgspec.structs.replace(scenario, pools=(own,), rules=(), layers="", title="")


def _plans(scenario: Scenario, work: TrainStep, pool: Pool) -> Iterator[Plan]:
    """Plans of all devices of a pool, tensor parallel ways inside a node."""
    node = scenario.group_of(pool).count
    for tp in _divisors(pool.count):
        for pp in _divisors(pool.count // tp):
            dp = pool.count // (tp * pp)
            for micro in MICRO_BATCHES:
                if tp > node or pp > work.model.layers or work.global_batch % (micro * dp):
                    continue
                for recompute in RECOMPUTATIONS:
                    yield msgspec.structs.replace(
                        pool.plan, tp=tp, pp=pp, dp=dp, ep=1, micro_batch=micro, recompute=recompute
                    )


def _divisors(number: int) -> list[int]:
    return [ways for ways in range(1, number + 1) if number % ways == 0]
