"""Leaf switches: which traffic between nodes goes up to the oversubscribed tier, and how much longer that takes.

A leaf has the ports of some nodes, all devices of each or, where the network is rail-optimised, those of one rail: then
devices of the same number in their nodes meet at a leaf (Wang et al., "Rail-only", arXiv:2307.12169, section 2). Of
what a leaf's L ports of C bytes/s each could send up, L C / f fits, f the oversubscription. So a pattern in which the
leaf sends up u times what one port carries keeps the way up busy for u f / L seconds for each of that port:

    ring, tree over nodes    f min(1, apart / nodes of a leaf): each group enters and leaves a leaf once
    all-to-all               f (1 - peers at the same leaf / peers in other nodes)
    send                     f min(1, nodes to the next stage / nodes of a leaf)

and f where a group's members on other nodes hang on other rails. Libraries order ranks by node, as NCCL does; what a
library forwards inside a node to the rail of the receiver (NCCL's PXN) is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from hardware_specs.records import SystemNode, SystemSpec
from hardware_specs.systems import check_leaves


class Upward(NamedTuple):
    """Seconds on the way up from a leaf for each second at a device's port; 0: nothing goes there."""

    ring: float = 0.0
    pairs: float = 0.0
    send: float = 0.0


@dataclass(frozen=True)
class Leaves:
    """Leaf switches above the nodes of a group.

    Args:
        devices: of a node.
        rails: leaves that the devices of a node are spread over, in equal runs.
        nodes: that one leaf reaches.
        oversubscription: bandwidth down over bandwidth up.
    """

    devices: int
    rails: int
    nodes: int
    oversubscription: float

    def upward(self, size: int, stride: int, inner: int, first: int = 0) -> Upward:
        """What a communicator of ``size`` devices ``stride`` ranks apart, ``inner`` of them in a node, sends up.

        Exact where groups do not straddle leaves; where ``first``, the first node of the ranks, makes them, the ring's
        share is right on average over the groups and an all-to-all counts as one over two leaves.
        """
        groups = size // inner
        if groups == 1:
            return Upward()
        step = stride * inner
        run = self.devices // self.rails
        apart = max(1, step // self.devices)
        span = apart * groups
        within = span <= self.nodes and self.nodes % span == 0 and first % span == 0
        aligned = self.rails == 1 or step % self.devices == 0
        ring = 1.0 if not aligned else 0.0 if within else min(1.0, apart / self.nodes)
        return Upward(*(self.oversubscription * part for part in (
            ring, self._of_pairs(groups, inner, stride, run, apart, within), self._of_sends(stride, within)
        )))  # fmt: skip

    def _of_pairs(self, groups: int, inner: int, stride: int, run: int, apart: int, within: bool) -> float:
        """Share of the peers in other nodes that hang on other leaves."""
        beside = groups if within else max(1, min(-(-groups // 2), self.nodes // apart))
        on_rail = max(1, min(inner, run // stride)) if self.rails > 1 else inner
        return 1.0 - (beside - 1) * on_rail / (inner * (groups - 1))

    def _of_sends(self, stride: int, within: bool) -> float:
        """Share of the devices whose next stage is at another leaf."""
        if self.rails > 1 and stride % self.devices:
            return 1.0
        return 0.0 if within else min(1.0, stride / (self.devices * self.nodes))


def leaves_of(system: SystemSpec, group: SystemNode) -> Leaves | None:
    """The leaf switches above ``group``; None where the network is as wide above them as below.

    Raises:
        InputError: rails that do not divide the devices of a node, numbers that are not whole.
    """
    ratio = system.network_oversubscription
    if ratio is None or ratio.value == 1.0:
        return None
    check_leaves(system)
    rails, reach = system.network_rails, system.network_leaf_nodes
    count = int(rails.value) if rails is not None else 1
    nodes = int(reach.value) if reach is not None else system.nodes if count > 1 else 1
    return Leaves(group.count, count, nodes, ratio.value)
