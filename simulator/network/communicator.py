"""Communicators: the devices of one parallelism axis, and what a collective over them costs."""

from __future__ import annotations

from typing import NamedTuple

from simulator.kernels import collectives as kernel
from simulator.kernels.collectives import Level, Library
from simulator.network.leaves import Upward
from workloads.operators import OpKind


class Communicator(NamedTuple):
    """``size`` devices, ``stride`` ranks apart, on two levels of links, and the library that they use.

    ``meets_inside``: other communicators of a device cross the same links inside a node; in a mesh, and mostly in a
    torus, each has its own. ``upward``: what it sends above the leaf switches.
    """

    size: int
    stride: int
    inner: Level
    outer: Level
    library: Library
    meets_inside: bool = True
    upward: Upward = Upward()


class CollectiveCost(NamedTuple):
    """One collective: its time alone on the links [s], start-up, and wire bytes of one device on each level [B]."""

    seconds: float
    startup_s: float
    inner_bytes: float
    outer_bytes: float
    algorithm: str


def collective_cost(kind: OpKind, message_bytes: float, group: Communicator) -> CollectiveCost:
    """The cheapest algorithm for one collective; ``message_bytes`` as ``Operator`` defines it for the kind."""
    seconds, startup, inner, outer, algorithm = kernel.collective_cost(
        int(kind), message_bytes, group.inner, group.outer, group.library
    )
    return CollectiveCost(seconds, startup, inner, outer, kernel.ALGORITHMS[algorithm])
