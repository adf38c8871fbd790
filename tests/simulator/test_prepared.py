"""What a pool makes of its runtime before anything is priced."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.prepared import prepare
from simulator.scenario import Scenario, StaticBatch
from workloads.models.catalogue import load_model
from workloads.runtimes.catalogue import load_runtime

WORK = StaticBatch(load_model("falcon-7b"), 8, 128, 8)


def test_one_thread_launches_on_all_chips_in_turn(one_pool: Callable[..., Scenario]) -> None:
    one = load_runtime("tt-metal-0.49").launch.value

    def launch_s(device: str, **ways: int) -> float:
        return prepare(one_pool(WORK, device, runtime="tt-metal-0.49", **ways)).pool.runtime.launch.value

    assert launch_s("wormhole-n150") == one
    assert launch_s("wormhole-n300") == pytest.approx(2 * one), "two chips on a card"
    assert launch_s("wormhole-n300", dp=4) == pytest.approx(8 * one)
    assert prepare(one_pool(WORK, "wormhole-n300", runtime="tt-metal-2024")).pool.runtime.launch.value < one
