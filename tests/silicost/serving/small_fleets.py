"""Small fleets: a 135M model on one L4, and what is asked of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from silicost.serving.answer import Answer, fleet_of, serve
from silicost.serving.tables import FleetTable, PoolTable, TrafficTable

Floats = npt.NDArray[np.float64]
STEADY = TrafficTable(rate=20.0, requests=60, isl="uniform:low=20,high=200", osl="uniform:low=1,high=30")
ONE = TrafficTable(rate=1.0, requests=1, isl="100", osl="20")


def pool(name: str = "a", **changes: Any) -> PoolTable:
    """A pool of one replica, whose host is not hidden behind the device."""
    given = {
        "device": "l4",
        "model": "smollm-135m",
        "runtime": "vllm-0.6",
        "scheduler": "vllm-v1",
        "price": "1 USD/h",
    } | changes
    return PoolTable(name=name, **given)


def fleet(*pools: PoolTable, traffic: TrafficTable = STEADY, **more: Any) -> FleetTable:
    """A fleet of ``pools``, or of one."""
    return FleetTable(traffic, pools or (pool(),), **more)


def served(table: FleetTable, *, intervals: bool = False) -> Answer:
    """What it comes to."""
    return serve(fleet_of(table, "f.toml"), intervals=intervals)


def value(answer: Answer, name: str) -> float:
    """One number of the outcome."""
    found = answer.found.outcome.values[name]
    assert found is not None
    return found


def most_at_once(begin_s: Floats, end_s: Floats) -> int:
    """How many intervals overlap at most; one that ends where another begins does not overlap it."""
    events = sorted([(time, 1) for time in begin_s] + [(time, -1) for time in end_s])
    running, most = 0, 0
    for _, change in events:
        running += change
        most = max(most, running)
    return most
