"""The layers of each pipeline stage, as people ask for them: "11,12,12,11", or "balanced"."""

from __future__ import annotations

import msgspec

from hardware_specs.errors import InputError
from simulator.prepared import prepare
from simulator.scenario import Scenario, TrainStep
from simulator.steps.split import balanced_stages

BALANCED = "balanced"


def read_stages(text: str, place: str = "--stages") -> tuple[int, ...]:
    """Layers of each stage; none for no text.

    Raises:
        InputError: something other than whole numbers between commas.
    """
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    for word in words:
        if not (word.isascii() and word.isdigit()):
            raise InputError(f"{place} {text!r}: allowed are layers of each stage, 11,12,12,11, or {BALANCED}")
    return tuple(map(int, words))


def with_stages(scenario: Scenario, text: str, place: str = "--stages") -> Scenario:
    """A training scenario of one pool with stages as asked for.

    Raises:
        InputError: a text that is none of the two, or a scenario that cannot be priced.
    """
    if not text:
        return scenario
    pool, work = scenario.pools[0], scenario.workload
    if text.strip() == BALANCED:
        if not isinstance(work, TrainStep):
            raise InputError(f"{place} {BALANCED}: stages are balanced for a training step")
        stages = balanced_stages(prepare(scenario), work)
    else:
        stages = read_stages(text, place)
    plan = msgspec.structs.replace(pool.plan, stages=stages)
    return msgspec.structs.replace(scenario, pools=(msgspec.structs.replace(pool, plan=plan),))
