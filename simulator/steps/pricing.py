"""Prices of a graph: the device law for what computes, the network for what communicates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from simulator.devices.model import DeviceModel
from simulator.kernels.roofline import COMPUTE, ENERGY, MEMORY, OVERHEAD, TIME
from simulator.network.communicator import Communicator, collective_cost
from simulator.result import OperatorCost, PhaseCost
from workloads.graph import Graph
from workloads.operators import COLLECTIVES, FAMILIES, OpKind

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PricedGraph:
    """A graph with the cost of one execution of each operator; all arrays have shape [n]."""

    graph: Graph
    time_s: Floats
    compute_s: Floats
    memory_s: Floats
    overhead_s: Floats
    communication_s: Floats
    energy_j: Floats

    @cached_property
    def total_s(self) -> float:
        """Serial time of all operators and repeats [s]."""
        return float(np.dot(self.time_s, self.graph.repeat))

    @property
    def total_j(self) -> float:
        """Energy of one device [J]."""
        return float(np.dot(self.energy_j, self.graph.repeat))

    def seconds_by_family(self) -> dict[str, float]:
        """Serial seconds per operator family, families without time left out."""
        seconds = dict.fromkeys(FAMILIES, 0.0)
        for operator, time, repeat in zip(self.graph.operators, self.time_s, self.graph.repeat, strict=True):
            seconds[operator.family] += float(time * repeat)
        return {family: value for family, value in seconds.items() if value > 0.0}

    def bound(self, overhead_s: float = 0.0, communication_s: float = 0.0) -> str:
        """What most of the time is bound by: "compute", "memory", "communication" or "overhead".

        ``overhead_s`` and ``communication_s`` are spent beside the operators (host, reductions) [s].
        """
        seconds = {"compute": 0.0, "memory": 0.0, "communication": communication_s, "overhead": overhead_s}
        for i, repeat in enumerate(self.graph.repeat):
            seconds[self.bound_of(i)] += float(self.time_s[i] * repeat)
        return max(seconds, key=lambda name: seconds[name])

    def bound_of(self, i: int) -> str:
        """What operator ``i`` is bound by."""
        parts = {
            "compute": self.compute_s[i],
            "memory": self.memory_s[i],
            "communication": self.communication_s[i],
            "overhead": self.overhead_s[i],
        }
        return max(parts, key=lambda name: float(parts[name]))


def price_graph(graph: Graph, model: DeviceModel, communicators: Mapping[str, Communicator]) -> PricedGraph:
    """Price every operator of ``graph`` on one device of the group that ``communicators`` describe (by axis).

    A collective takes what the network says divided by the runtime's factor, plus the launch gap; the device
    draws its static power meanwhile.
    """
    priced = model.cost(graph.columns)
    communication = np.zeros(len(graph))
    for i, operator in enumerate(graph.operators):
        if operator.kind in COLLECTIVES:
            group = communicators[operator.axis]
            communication[i] = collective_seconds(operator.kind, operator.message_bytes, group, model)
    time = priced[TIME] + communication
    energy = priced[ENERGY] + communication * float(model.record[0]["static_w"])
    return PricedGraph(graph, time, priced[COMPUTE], priced[MEMORY], priced[OVERHEAD], communication, energy)


def collective_seconds(kind: OpKind, message_bytes: float, group: Communicator, model: DeviceModel) -> float:
    """A collective under the runtime of ``model``: its factor and launch gap included [s]."""
    row = model.record[0]
    factor = float(row["factors"][FAMILIES.index("collective")])
    return collective_cost(kind, message_bytes, group).seconds / factor + float(row["gap_s"])


def phase_cost(
    name: str, priced: PricedGraph, device: str, host_s: float = 0.0, steps: float = 1.0, counts: Floats | None = None
) -> PhaseCost:
    """The phase as a result shows it: operators with their repeats, ``steps`` times over, and host time.

    ``counts`` replaces the repeats of the graph where the device runs only part of it, shape [n].
    """
    runs = (priced.graph.repeat if counts is None else counts) * steps
    rows = [
        OperatorCost(
            name=operator.name, kind=operator.kind.name.lower(), family=operator.family, device=device,
            repeat=float(n), flops=operator.flops * float(n), moved_bytes=operator.moved_bytes * float(n),
            time_s=float(priced.time_s[i] * n), compute_s=float(priced.compute_s[i] * n),
            memory_s=float(priced.memory_s[i] * n), communication_s=float(priced.communication_s[i] * n),
            overhead_s=float(priced.overhead_s[i] * n), energy_j=float(priced.energy_j[i] * n),
            bound=priced.bound_of(i), dtype=operator.dtype,
        )
        for i, (operator, n) in enumerate(zip(priced.graph.operators, runs, strict=True))
        if n > 0.0
    ]  # fmt: skip
    if host_s > 0.0:
        rows.append(
            OperatorCost(
                name="host", kind="host", family="host", device="host", repeat=steps, flops=0.0, moved_bytes=0.0,
                time_s=host_s * steps, compute_s=0.0, memory_s=0.0, communication_s=0.0,
                overhead_s=host_s * steps, energy_j=0.0, bound="overhead",
            )
        )  # fmt: skip
    return PhaseCost(name, sum(row.time_s for row in rows), tuple(rows))
