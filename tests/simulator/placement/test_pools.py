"""Pools that share one step agree on how it is cut."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from hardware_specs.errors import InputError
from simulator.scenario import Rule, Scenario, TrainStep
from simulator.simulate import simulate
from workloads.models.catalogue import load_model

WORK = TrainStep(load_model("llama-3.2-1b"), 4, 128)


def test_pools_of_one_step_recompute_alike(pools: Callable[..., Scenario]) -> None:
    scenario = pools(WORK, "gpu-tpu-lab", [("h100-sxm-80gb", 1), ("tpu-v5e", 1)], (Rule("tpu-v5e", layers=(8, 15)),))
    first, second = scenario.pools
    changed = msgspec.structs.replace(second, plan=msgspec.structs.replace(second.plan, recompute="full"))
    with pytest.raises(InputError, match=r"pools differ in recompute .*; they share one step"):
        simulate(msgspec.structs.replace(scenario, pools=(first, changed)))
