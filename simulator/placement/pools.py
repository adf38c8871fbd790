"""The pools of a scenario, made ready to share one workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hardware_specs.errors import InputError
from simulator.placement.rules import cut_layers
from simulator.prepared import Prepared, prepare_pool
from simulator.scenario import Scenario


def common_structure(scenario: Scenario, replicas: bool = False) -> tuple[Prepared, ...]:
    """All pools; where rules may cut a layer, lowered with the fusions that all have, so that their graphs correspond.

    Args:
        replicas: whether each pool may have several, and micro-batches of its own.

    Raises:
        InputError: a pool with pipeline (or data) parallel ways among several pools, experts cut other than tp ways, or
            pools that differ in micro-batch or recomputation.
    """
    prepared = [prepare_pool(scenario, pool) for pool in scenario.pools]
    if scenario.mixed:
        for each in prepared:
            if each.pool.plan.pp > 1 or (each.pool.plan.dp > 1 and not replicas):
                ways = "tp, dp (and ep)" if replicas else "tp (and ep)"
                raise InputError(
                    f"pool {each.pool.name}: pp {each.pool.plan.pp}, dp {each.pool.plan.dp}; in a scenario with "
                    f"several pools each has {ways} only: place layers on pools for a pipeline"
                )
            if each.pool.plan.ep not in (1, each.pool.plan.tp):
                raise InputError(
                    f"pool {each.pool.name}: ep {each.pool.plan.ep}; in a scenario with several pools it must be 1 or "
                    f"tp = {each.pool.plan.tp}"
                )
        for word, values in (
            ("micro_batch", set() if replicas else {each.pool.plan.micro_batch for each in prepared}),
            ("recompute", {each.pool.plan.recompute for each in prepared}),
        ):
            if len(values) > 1:
                raise InputError(f"pools differ in {word} ({', '.join(map(str, values))}); they share one step")
    if not cut_layers(scenario.rules):
        return tuple(prepared)
    shared = frozenset.intersection(*(each.how.fusions for each in prepared))
    return tuple(replace(each, how=replace(each.how, fusions=shared)) for each in prepared)


def names_of(prepared: Sequence[Prepared]) -> str:
    """The devices of some pools in words: "8 x h100-sxm-80gb + 4 x tpu-v5e"."""
    return " + ".join(f"{each.pool.count} x {each.pool.device.id}" for each in prepared)
