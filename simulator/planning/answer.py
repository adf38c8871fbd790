"""What a placement that was found says: the answer beside its bound and what equal devices do alone."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hardware_specs.errors import InputError, clipped
from simulator.configuration import kind_of
from simulator.planning.homogeneous import Alone
from simulator.planning.place import Found, place
from simulator.planning.rules_of import rule_words
from simulator.planning.training import TrainFound, place_training
from simulator.result import Result
from simulator.scenario import Scenario, StaticBatch, TrainStep

UNITS: Final = {"latency": "s", "throughput": "s between batches", "energy": "J", "usd": "USD"}
OF_POOL: Final = (
    "device", "device_class", "count", "runtime", "dtype", "weight_dtype", "kv_dtype", "recipe", "plan", "weight_note",
)  # fmt: skip
"""What the configuration of a result says of its only pool."""


def placed_result(scenario: Scenario, objective: str) -> tuple[Scenario, Result]:
    """The best placement of a scenario for an objective and its result, whose ``configuration`` says the placement, the
    bound, what equal devices do alone, and whether the mixture pays.

    Raises:
        InputError: a workload that is no static batch and no training step; as ``place``.
        DoesNotFit: as ``place``.
    """
    work = scenario.workload
    if isinstance(work, StaticBatch):
        return _told(place(scenario, work, objective))
    if isinstance(work, TrainStep):
        return _told(place_training(scenario, work, objective))
    raise InputError(
        f"--place {clipped(repr(objective))}: of a workload of kind {kind_of(scenario)!r} nothing can be placed "
        "(allowed: inference, training)"
    )


def _told(found: Found | TrainFound) -> tuple[Scenario, Result]:
    result = found.result
    words = {
        "placed for": found.objective, "placement": rule_words(found.scenario),
        **{f"{each.pool} alone": _alone_words(each, found.objective) for each in found.homogeneous},
        **{f"{name} left out": why for name, why in found.left_out.items()},
        "bound": f"{found.bound:.4g} {UNITS[found.objective]}", "verdict": verdict(found),
    }  # fmt: skip
    data: dict[str, Any] = {
        "objective": found.objective, "unit": UNITS[found.objective],
        "rules": [msgspec.to_builtins(rule) for rule in found.scenario.rules],
        "value": found.value, "bound": found.bound,
        "alone": [each.as_json() for each in found.homogeneous], "simulated": found.tried,
    }  # fmt: skip
    asked = {**_by_pool(found, result), **words, "found": data}
    return found.scenario, msgspec.structs.replace(result, configuration=asked)


def _by_pool(found: Found | TrainFound, result: Result) -> dict[str, Any]:
    """The configuration with its pools in a list, one or several."""
    asked = result.configuration
    if "pools" in asked:
        return asked
    own = {key: value for key, value in asked.items() if key in OF_POOL}
    rest = {key: value for key, value in asked.items() if key not in OF_POOL}
    return {**rest, "pools": [{"name": found.scenario.pools[0].name, **own}]}


def _alone_words(each: Alone, objective: str) -> str:
    if each.result is None:
        return each.why
    return f"{each.value:.4g} {UNITS[objective]} ({each.ways or 'one device'})"


def verdict(found: Found | TrainFound) -> str:
    """One sentence: whether several pools are better than equal devices alone, by how much, or why not."""
    alone, best, unit = found.alone, found.best_value, UNITS[found.objective]
    if best is None:
        return "No mixture is possible: one pool is all there is, or no other placement fits."
    if alone is None:
        return "The mixture is needed: no pool alone can hold or may see all of it."
    if best < alone.value:
        return (
            f"The mixture pays: {best:.4g} {unit}, {alone.pool} alone {alone.value:.4g} {unit} "
            f"({alone.value / best - 1.0:.1%} more)."
        )
    return (
        f"The mixture does not pay: {alone.pool} alone needs {alone.value:.4g} {unit}, the best mixture {best:.4g} "
        f"{unit}; {found.why_not}."
    )
