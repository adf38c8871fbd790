"""Energy at three boundaries, money and carbon: arithmetic on seconds, watts and prices."""

from __future__ import annotations

from simulator.result import Energy


def energy_of(device_j: float, duration_s: float, host_w: float, pue: float) -> Energy:
    """Energy of a run at the three boundaries.

    Args:
        device_j: what all devices draw [J].
        duration_s: how long the nodes are held [s].
        host_w: draw of CPUs, DRAM, fans and NICs of the share of the nodes that the run holds [W].
        pue: facility power over IT power [1].
    """
    node = device_j + host_w * duration_s
    return Energy(device_j, node, node * pue)


def carbon_g(facility_j: float, g_per_j: float) -> float:
    """Operational carbon [g] of ``facility_j`` on a grid of ``g_per_j``."""
    return facility_j * g_per_j


def usd(duration_s: float, devices: int, usd_per_device_s: float) -> float:
    """Price of holding ``devices`` for ``duration_s`` [USD]."""
    return duration_s * devices * usd_per_device_s
