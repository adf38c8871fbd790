"""Topologies: from a system's links to the two levels of a communicator, and to the ports that transfers share.

Devices of one group are numbered node by node. Inside a node the group's own link and topology join them; nodes are
joined by the network, at each device's share of it, and of the tier above leaf switches where that is oversubscribed
(see ``leaves``). Bandwidths are what a plain copy between two devices reaches: nominal x ``achieved_fraction`` of the
link; latencies are of one hop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from hardware_specs.errors import InputError
from hardware_specs.records import DeviceSpec, LinkSpec, SystemNode, SystemSpec
from simulator.kernels.collectives import Level
from simulator.network.communicator import Communicator
from simulator.network.leaves import Upward, leaves_of
from simulator.network.libraries import library_on
from workloads.collectives.catalogue import load_library

ALONE = Level(1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0)
"""The level of a group that has a single member there."""


class Shared(NamedTuple):
    """A shared link of one node: how many of some devices cross it, and what it carries per direction [B/s]."""

    devices: int
    bytes_per_s: float


@dataclass(frozen=True)
class Network:
    """The links of some equal devices of a system: numbers ``ranks`` of a ``group``, counted node by node."""

    system: SystemSpec
    links: Mapping[str, LinkSpec]
    device: DeviceSpec
    group: SystemNode
    ranks: range

    @property
    def devices(self) -> int:
        """Devices of the group in the whole system."""
        return self.group.count * self.system.nodes

    def nodes(self, ranks: range) -> range:
        """Numbers of the nodes that hold ``ranks``."""
        return range(ranks.start // self.group.count, (ranks.stop - 1) // self.group.count + 1)

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
        """A device's share of the network between nodes, per direction, when all ``ranks`` use it at once [B/s].

        Raises:
            InputError: the system has no network.
        """
        shares = [each.bytes_per_s / each.devices for each in self.shared(self.network_link, self.ranks).values()]
        return min([self.network_port_bytes_per_s, *shares])

    @property
    def network_link(self) -> LinkSpec:
        """The link between nodes.

        Raises:
            InputError: the system has none.
        """
        if not self.system.network:
            raise InputError(f"system {self.system.id} has no network between nodes; choose a plan inside one node")
        return self.links[self.system.network]

    @property
    def network_port_bytes_per_s(self) -> float:
        """What one device alone reaches of the network between nodes, per direction [B/s]."""
        share = self.system.network_bandwidth_per_device or self.network_link.bandwidth
        return share.value * self.network_link.achieved_fraction.value

    def peer_bytes_per_s(self, others: int) -> float:
        """What one device exchanges with ``others`` devices of its group and node, per direction [B/s].

        A mesh has one path for each pair; in a torus or a ring the bytes leave by one way, whoever they are for.
        """
        port = self.port_bytes_per_s
        if self.group.topology == "full-mesh":
            return port * min(1.0, others / max(self.group.count - 1, 1))
        ways = {"torus-2d": 4.0, "torus-3d": 6.0, "ring": 2.0}.get(self.group.topology, 1.0)
        return port / ways

    def shared(self, over: LinkSpec, ranks: range) -> dict[str, Shared]:
        """The shared links that ``ranks`` cross on their way over ``over``, by name: "nic h100 0 node 3"."""
        found: dict[str, Shared] = {}
        for shared in self.system.shared_links:
            if shared.over != over.id:
                continue
            capacity = shared.bandwidth.value * over.achieved_fraction.value
            for rank in ranks:
                node, number = divmod(rank, self.group.count)
                name = shared.crossed_by(self.group.id, number)
                if name:
                    name = f"{name} node {node}"
                    found[name] = Shared(found[name].devices + 1 if name in found else 1, capacity)
        return found

    def communicator(self, size: int, stride: int = 1, library: str = "nccl") -> Communicator:
        """``size`` devices, ``stride`` ranks apart, as inner (one node) and outer (between nodes) levels.

        ``library`` is the name of what they communicate with, see ``workloads.collectives``.

        Raises:
            InputError: the system has fewer devices, or several nodes without a network.
            UnknownName: no such library.
        """
        if size * stride > self.devices:
            raise InputError(
                f"system {self.system.id} has {self.devices} x {self.device.id}; {size * stride} are needed "
                "(choose a larger --system or fewer devices)"
            )
        reach = max(1, self._together() // stride)
        inner = max(d for d in range(1, min(size, reach) + 1) if size % d == 0)
        outer = size // inner
        upward = Upward() if outer == 1 else self._upward(size, stride, inner)
        between = ALONE if outer == 1 else self._outer(outer, inner, load_library(library).network_ports, upward)
        link = self.network_link if outer > 1 and inner == 1 else self.link
        values = library_on(library, link.category, link.id, self.device.id)
        meets = self.group.topology in ("switch", "pcie-tree", "none")
        return Communicator(size, stride, self._inner(inner, stride), between, values, meets, upward)

    def _upward(self, size: int, stride: int, inner: int) -> Upward:
        leaves = leaves_of(self.system, self.group)
        return leaves.upward(size, stride, inner, self.nodes(self.ranks).start) if leaves else Upward()

    def _together(self) -> int:
        """How many ranks in a row lie in one node, wherever the first one is."""
        node, offset = self.group.count, self.ranks.start % self.group.count
        return node if offset + len(self.ranks) <= node else math.gcd(node, offset)

    def _outer(self, size: int, members: int, ports: int, upward: Upward) -> Level:
        """``size`` groups of ``members``, which share the first ``ports`` ports of their node (0: each has its own)."""
        share, link = self.network_bytes_per_s, self.network_link
        most = share
        if ports:
            most = min(share, ports * link.bandwidth.value * link.achieved_fraction.value / members)
        ring, pairs, send = (min(most, share / busy) if busy > 0.0 else most for busy in upward)
        # An all-to-all counts bytes times ``spread``, a send its bandwidth between two members.
        return Level(float(size), size - 1.0, 1.0, ring / pairs, ring, send, link.latency.value, 1.0, 0.0)

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
        port = min(port, self._between_sockets(size, stride))
        return Level(n, n - 1.0, 1.0, 1.0, port, port, latency, 0.0, 0.0)

    def _between_sockets(self, size: int, stride: int) -> float:
        """What a ring of ``size`` devices ``stride`` ranks apart gets between sockets [B/s]: one connection each way,
        and another for each of the groups like it; without bound where it stays on one."""
        own, bandwidth = self.group.socket_devices, self.group.socket_bandwidth
        if own is None or bandwidth is None or size * stride <= own.value:
            return math.inf
        return bandwidth.value / stride

    def _torus(self, size: int, stride: int) -> Level:
        """A sub-torus: the group fills the axes one after the other, from the ``stride`` on.

        Members ``spacing`` hops apart leave room for as many groups like theirs in between, which share the links.
        An all-to-all is bound by the cut through the middle of an axis: of M bytes that every member of a line of e
        sends, M e / 4 cross each link there (e even); the two cuts of a ring share that.
        """
        shape = self.group.shape or (self.group.count,)
        link, port = self.link, self.port_bytes_per_s
        one_way = port / len(shape) / 2.0
        bandwidth, worst, steps, diameter, far = 0.0, 0.0, 0, 0, 1
        for whole, closes, (e, spacing) in zip(
            shape, self._closed_axes(shape), sub_torus(shape, size, stride), strict=True
        ):
            if e == 1:
                continue
            # A ring of two members next to each other has a single link.
            ways = 2.0 if closes and e * spacing == whole and whole > 2 else 1.0
            bandwidth += ways * one_way / spacing
            crossing = (e * e - e % 2) / (4.0 * e) / ways
            worst = max(worst, crossing * spacing / one_way)
            steps += (e - 1) * spacing
            diameter += (e // 2 if ways > 1.0 else e - 1) * spacing
            far = max(far, spacing)
        # ``spread`` such that (size - 1) / size x message x spread / bandwidth is the time of the worst cut.
        spread = worst * bandwidth * size / (size - 1.0)
        connected, latency = float(size == 2 and far == 1), link.latency.value
        return Level(
            float(size), float(steps), float(diameter), spread, bandwidth, one_way / far, latency, connected, 0.0
        )

    def _closed_axes(self, shape: tuple[int, ...]) -> list[bool]:
        """Whether each axis of the node's torus closes into a ring."""
        extent = self.link.ring_extent
        closed = [extent is None or axis % int(extent.value) == 0 for axis in shape]
        return closed if len(shape) < 3 else [all(closed)] * len(shape)


def sub_torus(shape: tuple[int, ...], size: int, stride: int = 1) -> list[tuple[int, int]]:
    """(members, spacing) along each axis of ``size`` devices ``stride`` ranks apart; ranks fill the last axis first.

    A size that does not divide into the axes is a line that winds through them, counted on the longest one.
    """
    found: list[tuple[int, int]] = []
    skip, left = stride, size
    for axis in reversed(shape):
        spacing = min(skip, axis)
        free = axis // spacing
        take = max(d for d in range(1, min(left, free) + 1) if left % d == 0)
        found.append((take, spacing))
        left //= take
        skip = max(1, skip // axis)
    if left > 1:
        longest = max(range(len(shape)), key=lambda i: shape[::-1][i])
        take, spacing = found[longest]
        found[longest] = (take * left, spacing)
    return found[::-1]
