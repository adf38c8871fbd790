"""Units: the devices of a pool that work in lockstep, and the links of the Fabric that they reach.

All tensor and data parallel ranks of a pipeline stage do the same at the same time, so one lane and one port stand for
all of them: a port has one device's bandwidth, and flows count one device's bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    def name(self) -> str:
        """Pool and device numbers: "tpu-v5e:0-3"."""
        first = self.stage * self.devices
        numbers = str(first) if self.devices == 1 else f"{first}-{first + self.devices - 1}"
        return f"{self.prepared.pool.name}:{numbers}"

    def lane(self, engine: str) -> Lane:
        """One of the unit's engines."""
        return Lane(self.name, engine)

    def ports(self) -> dict[str, float]:
        """Every port of one device, both directions, and its bandwidth [B/s]."""
        network = self.prepared.network
        system = network.system
        host = network.host.bandwidth.value * network.host.achieved_fraction.value
        bandwidths = {network.link.id: network.port_bytes_per_s, network.host.id: host}
        if system.network:
            bandwidths[system.network] = network.network_bytes_per_s
        return {self.port(link, way): bandwidth for link, bandwidth in bandwidths.items() for way in ("out", "in")}

    def port(self, link: str, way: str) -> str:
        """Name of the port on ``link``; ``way`` is "out" or "in"."""
        return f"{self.name} {link} {way}"


def collective_flow(operator: Operator, sender: Unit, receiver: Unit | None = None) -> Flow:
    """The flow of a collective inside ``sender``, or of a send from it to the ``receiver`` stage.

    Alone on the links it takes as long as the closed form: the runtime's factor and the launch gap included.
    """
    prepared = sender.prepared
    row = prepared.model.record[0]
    factor, gap_s = float(row["factors"][COLLECTIVE]), float(row["gap_s"])
    group: Communicator = prepared.communicators[operator.axis]
    cost = collective_cost(operator.kind, operator.message_bytes, group)
    inner, outer = cost.inner_bytes / factor, cost.outer_bytes / factor
    size = max(inner, outer)
    crossings: list[Crossing] = []
    receiver = receiver or sender
    for wire, level_bandwidth, link in (
        (inner, group.inner.bandwidth, prepared.network.link.id),
        (outer, group.outer.bandwidth, prepared.network.system.network),
    ):
        if wire > 0.0:
            # The algorithm may use less than the whole port; what it leaves is counted as used.
            multiple = wire / size * sender.ports()[sender.port(link, "out")] / level_bandwidth
            crossings += [Crossing(sender.port(link, "out"), multiple), Crossing(receiver.port(link, "in"), multiple)]
    return Flow(size, tuple(crossings), cost.startup_s / factor + gap_s)


def transfer_flow(size_bytes: float, source: Unit, target: Unit) -> Flow:
    """``size_bytes`` in all from one pool to another over their host links, each device carrying its part."""
    network = source.prepared.network
    return Flow(
        size_bytes,
        (
            Crossing(source.port(network.host.id, "out"), 1.0 / source.devices),
            Crossing(target.port(target.prepared.network.host.id, "in"), 1.0 / target.devices),
        ),
        network.host.latency.value,
    )


def load_flow(size_bytes: float, target: Unit) -> Flow:
    """``size_bytes`` in all from the hosts of a pool to its devices."""
    host = target.prepared.network.host
    return Flow(size_bytes, (Crossing(target.port(host.id, "in"), 1.0 / target.devices),), host.latency.value)
