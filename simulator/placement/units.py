"""Units: the devices of a pool that work in lockstep, and the links of the Fabric that they reach.

All tensor and data parallel ranks of a pipeline stage do the same at the same time, so one lane and one port stand for
all of them: a port has one device's bandwidth, and flows count one device's bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from hardware_specs.records import LinkSpec
from simulator.engine.tasks import Crossing, Flow, Lane
from simulator.network.communicator import Communicator, collective_cost
from simulator.prepared import Prepared
from workloads.operators import FAMILIES, Operator

COLLECTIVE = FAMILIES.index("collective")


@dataclass(frozen=True, eq=False)
class Unit:
    """Stage ``stage`` of a pool's pipeline."""

    prepared: Prepared
    stage: int = 0

    @property
    def devices(self) -> int:
        """Devices in lockstep."""
        return self.prepared.pool.plan.tp * self.prepared.pool.plan.dp

    @property
    def ranks(self) -> range:
        """Numbers of its devices in their group of the system."""
        first = self.prepared.network.ranks.start + self.stage * self.devices
        return range(first, first + self.devices)

    @property
    def name(self) -> str:
        """Pool and device numbers: "tpu-v5e:0-3"."""
        first = self.ranks.start
        numbers = str(first) if self.devices == 1 else f"{first}-{first + self.devices - 1}"
        return f"{self.prepared.pool.name}:{numbers}"

    def lane(self, engine: str) -> Lane:
        """One of the unit's engines."""
        return Lane(self.name, engine)

    def ports(self) -> dict[str, float]:
        """Every port of one device and every shared link that its devices cross, both directions [B/s]."""
        network = self.prepared.network
        host = network.host.bandwidth.value * network.host.achieved_fraction.value
        bandwidths = {network.link.id: network.port_bytes_per_s, network.host.id: host}
        if network.system.network:
            bandwidths[network.system.network] = network.network_port_bytes_per_s
        carried = {self.port(link, way): bandwidth for link, bandwidth in bandwidths.items() for way in ("out", "in")}
        for link in bandwidths:
            for name, shared in network.shared(network.links[link], self.ranks).items():
                carried |= {f"{name} {way}": shared.bytes_per_s for way in ("out", "in")}
        return carried

    def shared(self, link: str, way: str, each: float) -> list[Crossing]:
        """What a flow that has ``each`` bytes of one device for one of its own puts on shared links behind ``link``."""
        network = self.prepared.network
        found = network.shared(network.links[link], self.ranks)
        return [Crossing(f"{name} {way}", each * shared.devices) for name, shared in found.items()]

    def port(self, link: str, way: str) -> str:
        """Name of the port on ``link``; ``way`` is "out" or "in"."""
        return f"{self.name} {link} {way}"


def collective_flow(operator: Operator, sender: Unit, receiver: Unit | None = None) -> Flow:
    """The flow of a collective inside ``sender``, or of a send from it to the ``receiver`` stage.

    Alone on the links it takes as long as the closed form: the runtime's factor and the launch gap included.
    """
    prepared = sender.prepared
    row = prepared.model.record
    factor, gap_s = float(row["factors"][COLLECTIVE]), float(row["gap_s"])
    group: Communicator = prepared.communicators[operator.axis]
    cost = collective_cost(operator.kind, operator.message_bytes, group)
    inner, outer = cost.inner_bytes / factor, cost.outer_bytes / factor
    size = max(inner, outer)
    crossings: list[Crossing] = []
    receiver = receiver or sender
    for wire, level_bandwidth, link, leaves_node in (
        (inner, group.inner.bandwidth, prepared.network.link.id, False),
        (outer, group.outer.bandwidth, prepared.network.system.network, True),
    ):
        if wire > 0.0:
            # The algorithm may use less than the whole port; what it leaves is counted as used.
            multiple = wire / size * sender.ports()[sender.port(link, "out")] / level_bandwidth
            for unit, way in ((sender, "out"), (receiver, "in")):
                crossings.append(Crossing(unit.port(link, way), multiple))
                crossings += unit.shared(link, way, wire / size) if leaves_node else []
    return Flow(size, tuple(crossings), cost.startup_s / factor + gap_s)


def transfer_link(source: Unit, target: Unit) -> LinkSpec:
    """What joins the devices of two units: their group's own link inside a node, else the host link; the network
    between nodes."""
    network, other = source.prepared.network, target.prepared.network
    if network.nodes(source.ranks) != other.nodes(target.ranks):
        return network.network_link
    if network.group.id == other.group.id and network.group.topology != "none":
        return network.link
    return network.host


def transfer_flow(size_bytes: float, source: Unit, target: Unit) -> Flow:
    """``size_bytes`` in all from one pool to another over ``transfer_link``, each device carrying its part."""
    link = transfer_link(source, target)
    crossings: list[Crossing] = []
    for unit, way, other in ((source, "out", target), (target, "in", source)):
        network, multiple = unit.prepared.network, 1.0
        if link.id == network.link.id and network.group.id == other.prepared.network.group.id:
            multiple = network.port_bytes_per_s / network.peer_bytes_per_s(other.devices)
        share = 1.0 / unit.devices
        crossings += [Crossing(unit.port(link.id, way), share * multiple), *unit.shared(link.id, way, share)]
    return Flow(size_bytes, tuple(crossings), link.latency.value)


def load_flow(size_bytes: float, target: Unit) -> Flow:
    """``size_bytes`` in all from the hosts of a pool to its devices."""
    host = target.prepared.network.host
    share = 1.0 / target.devices
    crossings = (Crossing(target.port(host.id, "in"), share), *target.shared(host.id, "in", share))
    return Flow(size_bytes, crossings, host.latency.value)
