"""Topologies: from a system's links to the two levels of a communicator, and to the ports that transfers share.

Devices of one group are numbered node by node. Inside a node the group's own link and topology join them; nodes are
joined by the network, at each device's share of it. Bandwidths are what a plain copy between two devices reaches:
nominal x ``achieved_fraction`` of the link; latencies are of one hop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hardware_specs.errors import InputError
from hardware_specs.records import DeviceSpec, LinkSpec, SystemNode, SystemSpec
from simulator.kernels.collectives import Level
from simulator.network.communicator import Communicator

ALONE = Level(1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0)
"""The level of a group that has a single member there."""


@dataclass(frozen=True)
class Network:
    """The links of one group of equal devices in a system."""

    system: SystemSpec
    links: Mapping[str, LinkSpec]
    device: DeviceSpec

    @property
    def group(self) -> SystemNode:
        """The group of one node that holds the device.

        Raises:
            InputError: the system has no such device.
        """
        for group in self.system.groups:
            if group.device == self.device.id:
                return group
        has = ", ".join(group.device for group in self.system.groups)
        raise InputError(f"system {self.system.id} has no {self.device.id}; it has {has}")

    @property
    def devices(self) -> int:
        """Devices of this kind in the whole system."""
        return self.group.count * self.system.nodes

    @property
    def port_bytes_per_s(self) -> float:
        """What one device's scale-up port carries per direction [B/s]: its own figure, else the link's."""
        link = self.link
        own = self.device.ports.scaleup_bandwidth
        nominal = own.value if own is not None and link.category == "scale-up" else link.bandwidth.value
        return nominal * link.achieved_fraction.value

    @property
    def link(self) -> LinkSpec:
        """The link inside the group."""
        return self.links[self.group.link or self.system.host_link]

    @property
    def host(self) -> LinkSpec:
        """The link between a device and its host, and through it to the other groups of the node."""
        return self.links[self.system.host_link]

    @property
    def network_bytes_per_s(self) -> float:
        """A device's share of the network between nodes, per direction [B/s].

        Raises:
            InputError: the system has no network.
        """
        if not self.system.network:
            raise InputError(f"system {self.system.id} has no network between nodes; choose a plan inside one node")
        link = self.links[self.system.network]
        share = self.system.network_bandwidth_per_device or link.bandwidth
        return share.value * link.achieved_fraction.value

    def communicator(self, size: int, stride: int = 1, one_shot: bool = False) -> Communicator:
        """``size`` devices, ``stride`` ranks apart, as inner (one node) and outer (between nodes) levels.

        Raises:
            InputError: the system has fewer devices, or several nodes without a network.
        """
        if size * stride > self.devices:
            raise InputError(
                f"system {self.system.id} has {self.devices} x {self.device.id}; {size * stride} are needed "
                "(choose a larger --system or fewer devices)"
            )
        reach = max(1, self.group.count // stride)
        inner = max(d for d in range(1, min(size, reach) + 1) if size % d == 0)
        outer = size // inner
        return Communicator(
            size, stride, self._inner(inner, stride), ALONE if outer == 1 else self._outer(outer), one_shot
        )

    def _outer(self, size: int) -> Level:
        bandwidth, latency = self.network_bytes_per_s, self.links[self.system.network].latency.value
        return Level(float(size), size - 1.0, 1.0, 1.0, bandwidth, bandwidth, latency, 1.0, 0.0)

    def _inner(self, size: int, stride: int) -> Level:
        if size == 1:
            return ALONE
        topology, link, port = self.group.topology, self.link, self.port_bytes_per_s
        n, latency = float(size), link.latency.value
        if topology == "switch":
            return Level(n, n - 1.0, 1.0, 1.0, port, port, latency, 1.0, float(link.in_network_reduction))
        if topology == "full-mesh":
            pair = port / max(self.group.count - 1, 1)
            return Level(n, n - 1.0, 1.0, 1.0, pair * (n - 1.0), pair, latency, 1.0, 0.0)
        if topology in ("torus-2d", "torus-3d", "ring"):
            return self._torus(size, stride)
        return Level(n, n - 1.0, 1.0, 1.0, port, port, latency, 0.0, 0.0)

    def _torus(self, size: int, stride: int) -> Level:
        """A sub-torus: the group fills the axes one after the other, from the ``stride`` on."""
        shape = self.group.shape or (self.group.count,)
        extents = sub_torus(shape, size, stride)
        link, port = self.link, self.port_bytes_per_s
        axis_bandwidth = port / len(shape)
        used = [(e, e == whole) for e, whole in zip(extents, shape, strict=True) if e > 1]
        # Both directions of an axis carry data where the ring closes, or where it is a line of two.
        bandwidth = sum(axis_bandwidth * (1.0 if closed and e > 2 else 0.5) for e, closed in used)
        distance = sum(e / 4.0 if closed else (e * e - 1.0) / (3.0 * e) for e, closed in used)
        steps, diameter = sum(e - 1.0 for e, _ in used), sum(e // 2 if closed else e - 1 for e, closed in used)
        pair = axis_bandwidth / 2.0
        spread = distance * size / (size - 1.0)
        connected = float(size == 2)
        return Level(float(size), steps, float(diameter), spread, bandwidth, pair, link.latency.value, connected, 0.0)


def sub_torus(shape: tuple[int, ...], size: int, stride: int = 1) -> tuple[int, ...]:
    """Extents along each axis of ``size`` members ``stride`` apart, last axis filled first.

    What does not divide evenly is counted on the axis where it happens, rounded up.
    """
    extents, skip, left = [], stride, size
    for axis in reversed(shape):
        free = max(1, axis // skip)
        take = min(left, free)
        extents.append(take)
        left = -(-left // take)
        skip = max(1, skip // axis)
    if left > 1:
        extents[-1] *= left
    return tuple(reversed(extents))
