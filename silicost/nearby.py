"""The same run with a few smaller and larger batches, for the slider of its page: all of them simulated."""

from __future__ import annotations

from typing import Final

import msgspec

from hardware_specs.errors import InputError
from simulator.result import Result
from simulator.scenario import Scenario, StaticBatch
from simulator.simulate import simulate
from simulator.timeline import Timeline

_LARGEST: Final = 4
"""The largest batch is so many times that of the run, the smallest as small a part of it; steps double."""


def with_nearby(result: Result, scenario: Scenario) -> Result:
    """``result`` with those of nearby batches that fit the memory; itself where it has no batch or several pools.

    Halves of a batch that is odd are left out, and batches that the plan cannot share out.
    """
    work = scenario.workload
    if not isinstance(work, StaticBatch) or len(result.pools) != 1:
        return result
    found = (_at(batch, work, scenario) for batch in batches_near(work.batch))
    return msgspec.structs.replace(result, nearby=tuple(each for each in found if each is not None and each.fits))


def batches_near(batch: int) -> list[int]:
    """Other batches, smallest first."""
    smaller = [batch // part for part in (_LARGEST, _LARGEST // 2) if batch % part == 0]
    return [*smaller, 2 * batch, _LARGEST * batch]


def _at(batch: int, work: StaticBatch, scenario: Scenario) -> Result | None:
    other = msgspec.structs.replace(scenario, workload=msgspec.structs.replace(work, batch=batch))
    try:
        found = simulate(other)
    except InputError:
        return None
    return msgspec.structs.replace(
        found, intervals={}, provenance=(), roofs=(), timeline=Timeline(()), reasons={}, warnings=()
    )
