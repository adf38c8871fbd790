"""Pools that take turns on the same devices: who they are, and when nobody uses those."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.kernels import serving as kernel
from simulator.kernels.fleet import columns as c
from simulator.prepared import Prepared
from simulator.serving.fleet import FleetServed
from simulator.serving.jobs import Floats


def sharers(served: FleetServed, pool: int) -> tuple[int, ...]:
    """Numbers of the pools that run on the devices of ``pool``, itself among them."""
    name = served.setups[pool].shares
    return tuple(k for k, setup in enumerate(served.setups) if k == pool or (name and setup.shares == name))


def idle_s(served: FleetServed, group: Sequence[int], there: Sequence[Floats]) -> float:
    """Replica-seconds in which devices were there and no pool of ``group`` used them.

    Args:
        there: seconds in which each replica of each pool was there.
    """
    most = max(len(there[pool]) for pool in group)
    held_s, busy_s = np.zeros(most), np.zeros(most)
    for pool in group:
        own_s = there[pool]
        held_s[: len(own_s)] = np.maximum(held_s[: len(own_s)], own_s)
        busy_s[: len(own_s)] += served.replicas[served.own(pool), kernel.BUSY_S]
    return float(np.maximum(held_s - busy_s, 0.0).sum())


def power_of_bins(served: FleetServed, pool: int, prepared: Prepared, bins: int) -> Floats:
    """Mean power of the devices of a pool in each of the first bins of time [W], with its part of their idle power; of
    a pool that scales with that of the replicas that it began with."""
    setup, width, group = served.setups[pool], served.bin_s, sharers(served, pool)
    busy = served.bins[list(group), :bins, c.B_BUSY_S].sum(axis=0) / width
    static_w = float(prepared.model.record["static_w"]) * setup.costs.devices / len(group)
    found: Floats = served.bins[pool, :bins, c.B_ENERGY_J] / width + static_w * np.maximum(setup.replicas - busy, 0.0)
    return found
