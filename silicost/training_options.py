"""What the flags of ``silicost train`` say in words of scenarios: shards, nodes, stages, precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError, clipped
from hardware_specs.systems import load_system, system_for
from simulator.prepared import prepare
from simulator.scenario import Scenario, TrainStep
from simulator.steps.split import balanced_stages
from workloads.recipes import training_formats

BALANCED: Final = "balanced"
KEPT: Final = "bf16"
"""What weights are kept in where products run in 8 bits (Micikevicius et al., arXiv:2209.05433, section 3)."""
LARGE: Final = 4096
"""Devices of a system in which a node is as full as its host allows."""


def with_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Flags of training as keywords of ``silicost.scenarios.training_scenario``.

    Raises:
        InputError: a flag that cannot be read, or two that contradict each other.
    """
    found = dict(given)
    if given["fsdp"]:
        if given["zero"] not in (-1, 3):
            raise InputError(f"--fsdp {given['fsdp']}: it is stage 3 of ZeRO, but --zero is {given['zero']}")
        found |= {"zero": 3, "shard": _shard(given["fsdp"])}
    if given["nodes"] is not None:
        found["count"] = count_of_nodes(given)
    found["stages"] = () if given["stages"] == BALANCED else _stages(given["stages"])
    found["dtype"], found["recipe"] = training_formats(given["precision"], given["dtype"])
    if found["dtype"] == "fp8" and not given["weight_dtype"]:
        found["weight_dtype"] = KEPT
    return found


def balanced(scenario: Scenario) -> Scenario:
    """A training scenario whose pipeline stages have as many layers as make the slowest one fastest.

    Raises:
        InputError: it is no training on one pool, or no such stages fit the memory.
    """
    work, pool = scenario.workload, scenario.pools[0]
    if not isinstance(work, TrainStep) or pool.plan.pp == 1:
        raise InputError("--stages balanced: of a pipeline; use --pp above 1")
    plan = msgspec.structs.replace(pool.plan, stages=balanced_stages(prepare(scenario), work))
    return msgspec.structs.replace(scenario, pools=(msgspec.structs.replace(pool, plan=plan),))


def _shard(text: str) -> int:
    if text == "all":
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"--fsdp {clipped(text)!r}: must be all, or how many replicas share a copy, for example 8")
    return int(text)


def _stages(text: str) -> tuple[int, ...]:
    """Layers of each pipeline stage."""
    if not text:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise InputError(f"--stages {clipped(text)!r}: must be whole numbers of layers, 11,12,12,11, or balanced")
    return tuple(map(int, parts))


def count_of_nodes(given: Mapping[str, Any]) -> int:
    """Devices of so many nodes: of the system, or of the usual host.

    Raises:
        InputError: fewer than one node, or another number of devices than ``--count``.
    """
    nodes: int = given["nodes"]
    if nodes < 1:
        raise InputError(f"--nodes {nodes}: must be at least 1")
    device = load_device(given["device"])
    system = load_system(given["system"]) if given["system"] else system_for(device, LARGE)
    held = sum(group.count for group in system.groups if group.device == device.id)
    if given["count"] is not None and given["count"] != nodes * held:
        raise InputError(
            f"--nodes {nodes}: of {held} devices each they are {nodes * held}, but --count is {given['count']}"
        )
    return nodes * held
