"""Stages of a training step on the pools of a system: which pools, in which order, with how many layers each.

Every order of every choice of pools (all of them, and pairs) has its layers balanced under memory by
``simulator.placement.balance`` and run on the engine; beside it stands what each pool would do alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Final

import msgspec

from hardware_specs.errors import DoesNotFit, InputError, UnknownName
from simulator.placement.alone import best_alone
from simulator.placement.balance import BALANCED, mixed_training
from simulator.placement.privacy import check_privacy
from simulator.planning.blocks import OBJECTIVES
from simulator.planning.homogeneous import Alone
from simulator.result import Result
from simulator.scenario import Pool, Privacy, Scenario, TrainStep

MOST: Final = 24
"""Orders of pools that are run."""


@dataclass(frozen=True)
class TrainFound:
    """What a search found, as ``simulator.planning.place.Found``; values are of one step."""

    objective: str
    best: tuple[float, Scenario, Result] | None
    tried: list[dict[str, Any]]
    homogeneous: tuple[Alone, ...]
    bound: float
    left_out: dict[str, str]

    @property
    def alone(self) -> Alone | None:
        """The best of what pools do alone."""
        able = [each for each in self.homogeneous if each.result is not None]
        return min(able, key=lambda each: each.value) if able else None

    @property
    def best_value(self) -> float | None:
        """Value of the best order of several pools."""
        return self.best[0] if self.best else None

    @property
    def value(self) -> float:
        """Value of the answer."""
        return min(v for v in (self.best_value, self.alone.value if self.alone else None) if v is not None)

    @property
    def _mixed(self) -> bool:
        return self.best is not None and (self.alone is None or self.best[0] < self.alone.value)

    @property
    def scenario(self) -> Scenario:
        """The scenario of the answer."""
        if self._mixed and self.best:
            return self.best[1]
        assert self.alone is not None and self.alone.scenario is not None
        return self.alone.scenario

    @property
    def result(self) -> Result:
        """The simulated answer."""
        if self._mixed and self.best:
            return self.best[2]
        assert self.alone is not None and self.alone.result is not None
        return self.alone.result

    @property
    def why_not(self) -> str:
        """What is in the way of the mixture where it does not pay."""
        assert self.best is not None
        result = self.best[2]
        moved = result.breakdown.get("transfer", 0.0) / (result.metrics["step_time_s"] or 1.0)
        step_s = result.metrics["step_time_s"] or 1.0
        idle = max(result.pools, key=lambda pool: 1.0 - pool.busy_s / step_s)
        return f"transfers take {moved:.0%} of its step, and {idle.name} waits {1.0 - idle.busy_s / step_s:.0%} of it"


def place_training(scenario: Scenario, work: TrainStep, objective: str) -> TrainFound:
    """The pools, their order and their layers that are best for a step; ``objective`` as in inference, throughput is
    that of steps.

    Raises:
        InputError: another objective, or a price that is not known.
        DoesNotFit: nothing fits, or nothing is allowed.
    """
    if objective not in OBJECTIVES:
        raise UnknownName("objective", objective, OBJECTIVES, f"allowed: {', '.join(OBJECTIVES)}", "--place")
    bare = msgspec.structs.replace(scenario, rules=(), layers="")
    homogeneous = tuple(_alone(bare, work, pool, objective) for pool in bare.pools)
    tried: list[dict[str, Any]] = []
    best: tuple[float, Scenario, Result] | None = None
    for pools in _orders(bare.pools) if bare.mixed else ():
        own = msgspec.structs.replace(bare, pools=pools, layers=BALANCED)
        try:
            check_privacy(own)
            result = mixed_training(own, work)
        except InputError as error:
            tried.append({"placement": _words(pools), "why": str(error)})
            continue
        value = _value(objective, result)
        tried.append({"placement": str(result.configuration.get("layers", _words(pools))), "value": value})
        if result.fits and (best is None or value < best[0]):
            best = value, own, result
    rates = sum(1.0 / each.value for each in homogeneous if each.result is not None)
    able = [each.value for each in homogeneous if each.result is not None]
    bound = (1.0 / rates if objective in ("latency", "throughput") else min(able)) if able else 0.0
    if best is None and not able:
        raise DoesNotFit("no placement fits: " + "; ".join(f"{each.pool}: {each.why}" for each in homogeneous))
    return TrainFound(objective, best, tried, homogeneous, bound, {})


def _orders(pools: tuple[Pool, ...]) -> Iterator[tuple[Pool, ...]]:
    found = [order for size in range(len(pools), 1, -1) for order in permutations(pools, size)]
    yield from found[:MOST]


def _words(pools: tuple[Pool, ...]) -> str:
    return " > ".join(pool.name for pool in pools)


def _alone(scenario: Scenario, work: TrainStep, pool: Pool, objective: str) -> Alone:
    for data in ("prompts", "weights"):
        allowed = scenario.privacy.allowed(data)
        if allowed is not None and pool.name not in allowed:
            return Alone(pool.name, pool.device.id, pool.count, why=f"may not see {data}")
    found = best_alone(scenario, work, pool)
    if found.plan is None or found.result is None:
        return Alone(pool.name, pool.device.id, pool.count, why="does not fit, by any plan")
    own = msgspec.structs.replace(pool, plan=found.plan)
    single = msgspec.structs.replace(scenario, pools=(own,), privacy=Privacy())
    return Alone(pool.name, pool.device.id, pool.count, _value(objective, found.result), single, found.result)


def _value(objective: str, result: Result) -> float:
    """Seconds, joules of devices, or dollars of one step."""
    metric = {"energy": None, "usd": "usd_per_step"}.get(objective, "step_time_s")
    if metric is None:
        return result.energy.device
    value = result.metrics[metric]
    if value is None:
        raise InputError(f"--place usd: {result.reasons.get(metric, 'no price is known')}")
    return value
