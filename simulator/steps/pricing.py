"""Prices of a graph: the device law for what computes, the network for what communicates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from simulator.devices.model import DeviceModel
from simulator.kernels import collectives
from simulator.kernels.roofline import COMPUTE, ENERGY, MEMORY, OVERHEAD, TIME
from simulator.network.communicator import Communicator
from simulator.result import OperatorCost, PhaseCost
from simulator.uncertainty.intervals import Error
from workloads.graph import Graph, OpColumns, columns_of
from workloads.operators import COLLECTIVES, FAMILIES, FAMILY_CODES, Operator, OpKind

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Seconds = TypeVar("Seconds", float, Floats)

BOUNDS = ("compute", "memory", "communication", "overhead")
_COLLECTIVE = FAMILIES.index("collective")
_COMMUNICATION = 5
"""Row behind those of the kernels."""
LAUNCH_SHARPNESS = 3.0
"""Exponent with which launches and kernels of a step that runs ahead join. From the four models of vTrain's single
node, of which 2.3 to 3.1 fits each three best; rounded."""
HALVES_SHARPNESS = 2.0
"""Exponent with which the math and the exchanges of two halves of a step join. Set with the decode steps of DeepSeek-V3
on 72 H100 and 128 H800 in sight (SGLang team 2025-05, deepseek-ai/profile-data); rounded."""
_SUMMED = tuple(name for name, kind in OperatorCost.__annotations__.items() if kind == "float")
"""Fields of an operator's cost that add up."""


@dataclass(frozen=True)
class PricedGraph:
    """A graph with the cost of one execution of each operator; all arrays have shape [n].

    ``call`` has the operators as they are called, where each of ``graph`` is several calls one behind the other.
    """

    graph: Graph
    time_s: Floats
    compute_s: Floats
    memory_s: Floats
    overhead_s: Floats
    communication_s: Floats
    energy_j: Floats
    call: Graph | None = None

    @cached_property
    def total_s(self) -> float:
        """Serial time of all operators and repeats [s]."""
        return float(np.dot(self.time_s, self.graph.repeat))

    @property
    def total_j(self) -> float:
        """Energy of one device [J]."""
        return float(np.dot(self.energy_j, self.graph.repeat))

    @cached_property
    def bounds(self) -> list[str]:
        """What each operator is bound by: "compute", "memory", "communication" or "overhead"."""
        parts = np.stack([self.compute_s, self.memory_s, self.communication_s, self.overhead_s])
        return [BOUNDS[code] for code in parts.argmax(axis=0)]

    def seconds_by_bound(self) -> dict[str, float]:
        """Serial seconds by what bounds them."""
        seconds = dict.fromkeys(BOUNDS, 0.0)
        for bound, spent in zip(self.bounds, (self.time_s * self.graph.repeat).tolist(), strict=True):
            seconds[bound] += spent
        return seconds


def busy_seconds(kernels_s: Sequence[float], launches_s: Sequence[float]) -> list[float]:
    """How long kernels take whose host launches them ahead of the device, shape as both [s].

    All kernels or all launches, whichever is longer, is what takes least: where neither is far longer, parts of the
    work wait for the host and others for the device. Joined as two asymptotes are, t = (k^n + l^n)^(1/n) (Churchill and
    Usagi, AIChE J. 18(6), 1972, doi:10.1002/aic.690180606), with n = ``LAUNCH_SHARPNESS``.
    """
    n = LAUNCH_SHARPNESS
    longer = [(max(pair), min(pair)) for pair in zip(kernels_s, launches_s, strict=True)]
    return [most * (1.0 + (least / most) ** n) ** (1.0 / n) if least > 0.0 else most for most, least in longer]


def hidden_share(math_s: Seconds, exchange_s: Seconds) -> Seconds:
    """Share of the exchanges of a step that the math of its other half hides, shape as both [s].

    Two halves take turns on the devices and on the network: the longer of the two is what takes least, and as dispatch,
    experts, combination and attention are not of one length, parts show. Joined as two asymptotes with the exponent
    ``HALVES_SHARPNESS``.
    """
    shown_s = (math_s**HALVES_SHARPNESS + exchange_s**HALVES_SHARPNESS) ** (1.0 / HALVES_SHARPNESS)
    share: Seconds = (math_s + exchange_s - shown_s) / (exchange_s + (exchange_s == 0.0))
    return share


def beside_other_half(priced: PricedGraph) -> PricedGraph:
    """A step in two halves: exchanges with experts take only what the math does not hide [s]."""
    moves = np.array([is_expert_exchange(operator) for operator in priced.graph.operators])
    exchange_s = float(np.dot(priced.time_s[moves], priced.graph.repeat[moves]))
    if exchange_s == 0.0:
        return priced
    part = np.where(moves, 1.0 - hidden_share(priced.total_s - exchange_s, exchange_s), 1.0)
    return replace(
        priced, time_s=priced.time_s * part, communication_s=priced.communication_s * part,
        energy_j=priced.energy_j * part,
    )  # fmt: skip


def is_expert_exchange(operator: Operator) -> bool:
    """Whether an operator sends tokens to experts elsewhere, or brings them back."""
    return operator.kind == OpKind.ALL_TO_ALL and operator.axis == "ep"


def most_bound(
    steps: Iterable[tuple[PricedGraph, float]], overhead_s: float = 0.0, communication_s: float = 0.0
) -> str:
    """What most of the time of some steps, each so many times, is bound by.

    ``overhead_s`` and ``communication_s`` are spent beside the operators (host, reductions) [s].
    """
    total = dict.fromkeys(BOUNDS, 0.0) | {"overhead": overhead_s, "communication": communication_s}
    for priced, times in steps:
        for bound, spent in priced.seconds_by_bound().items():
            total[bound] += spent * times
    return max(total, key=lambda bound: total[bound])


def by_family(steps: Iterable[tuple[PricedGraph, float]]) -> dict[str, float]:
    """Serial seconds of some steps, each so many times, per operator family; families without time left out."""
    sums = np.zeros(len(FAMILIES))
    for graph, seconds in joined_steps(steps):
        sums += np.bincount(FAMILY_CODES[graph.columns.kind], seconds, len(FAMILIES))
    return {family: value for family, value in zip(FAMILIES, sums.tolist(), strict=True) if value > 0.0}


def errors_by_family(steps: Iterable[tuple[PricedGraph, float]], model: DeviceModel) -> dict[str, Error]:
    """Error of the seconds that each family takes in some steps, each so many times.

    What operators share is their mean by time; what is each one's own averages out, but a repeated operator repeats its
    error, and graphs of equal structure (decode steps) repeat their operators.
    """
    total, shared, own = (np.zeros(len(FAMILIES)) for _ in range(3))
    for graph, seconds in joined_steps(steps):
        families = FAMILY_CODES[graph.columns.kind]
        errors = model.errors[model.which(graph.columns), families]
        total += np.bincount(families, seconds, len(FAMILIES))
        shared += np.bincount(families, seconds * errors[:, 0], len(FAMILIES))
        own += np.bincount(families, (seconds * errors[:, 1]) ** 2, len(FAMILIES))
    return {
        family: Error(float(shared[i] / total[i]), float(np.sqrt(own[i]) / total[i]))
        for i, family in enumerate(FAMILIES)
        if total[i] > 0.0
    }


def joined_steps(steps: Iterable[tuple[PricedGraph, float]]) -> list[tuple[Graph, Floats]]:
    """Seconds of each operator over all steps, shape [n]; graphs of equal structure are added up."""
    totals: dict[int, tuple[Graph, Floats]] = {}
    for step, times in steps:
        values = step.time_s * (step.graph.repeat * times)
        before = totals.get(id(step.graph.blocks))
        totals[id(step.graph.blocks)] = (step.graph, values if before is None else before[1] + values)
    return list(totals.values())


def price_graph(graph: Graph, model: DeviceModel, communicators: Mapping[str, Communicator]) -> PricedGraph:
    """Price every operator of ``graph`` on one device of the group that ``communicators`` describe (by axis).

    A collective takes what the network says divided by the runtime's factor, plus the launch gap; the device
    draws its static power meanwhile.
    """
    return _priced(graph, _rows(graph.columns, graph.operators, model, communicators))


def price_graphs(
    graphs: Sequence[Graph], model: DeviceModel, communicators: Mapping[str, Communicator]
) -> list[PricedGraph]:
    """``price_graph`` of several graphs in one call; operators that they share are priced once."""
    place: dict[int, int] = {}
    unique: list[Operator] = []
    chosen = []
    for graph in graphs:
        for operator in graph.operators:
            if id(operator) not in place:
                place[id(operator)] = len(unique)
                unique.append(operator)
        chosen.append([place[id(operator)] for operator in graph.operators])
    rows = _rows(columns_of(unique), unique, model, communicators)
    return [_priced(graph, rows[:, indices]) for graph, indices in zip(graphs, chosen, strict=True)]


def _rows(
    columns: OpColumns, operators: Sequence[Operator], model: DeviceModel, communicators: Mapping[str, Communicator]
) -> Floats:
    """Time, parts and energy of operators, shape [6, n]: rows as the kernels give them, then communication."""
    rows = np.zeros((6, len(operators)))
    rows[:5] = model.cost(columns)
    axes = [operator.axis if operator.kind in COLLECTIVES else "" for operator in operators]
    for axis in dict.fromkeys(axes):
        if axis:
            where = np.array([i for i, other in enumerate(axes) if other == axis])
            rows[_COMMUNICATION, where] = collectives_seconds(
                columns.kind[where], columns.message_bytes[where], communicators[axis], model
            )
    rows[TIME] += rows[_COMMUNICATION]
    rows[ENERGY] += rows[_COMMUNICATION] * float(model.record["static_w"])
    return rows


def _priced(graph: Graph, rows: Floats) -> PricedGraph:
    time, compute, memory, overhead, energy, communication = rows[
        [TIME, COMPUTE, MEMORY, OVERHEAD, ENERGY, _COMMUNICATION]
    ]
    return PricedGraph(graph, time, compute, memory, overhead, communication, energy)


def collective_seconds(kind: OpKind, message_bytes: float, group: Communicator, model: DeviceModel) -> float:
    """A collective under the runtime of ``model``: its factor and launch gap included [s]."""
    return float(collectives_seconds(np.array([int(kind)]), np.array([message_bytes]), group, model)[0])


def collectives_seconds(kind: Ints, message_bytes: Floats, group: Communicator, model: DeviceModel) -> Floats:
    """Collectives of one group, shape [n] each."""
    factor = float(model.record["factors"][_COLLECTIVE])
    alone = collectives.collective_seconds(kind, message_bytes, group.inner, group.outer, group.library)
    return alone / factor + float(model.record["gap_s"])


def phase_cost(
    name: str,
    priced: PricedGraph,
    model: DeviceModel,
    host_s: float = 0.0,
    steps: float = 1.0,
    counts: Floats | None = None,
) -> PhaseCost:
    """The phase as a result shows it: operators with their repeats, ``steps`` times over, and host time.

    ``model`` priced them; ``counts`` replaces the repeats of the graph where the device runs only part of it, shape
    [n].
    """
    runs = (priced.graph.repeat if counts is None else counts) * steps
    columns = priced.graph.columns
    calls_s = np.where(FAMILY_CODES[columns.kind] == _COLLECTIVE, 0.0, priced.time_s) * runs
    called = columns if priced.call is None else priced.call.columns
    interpolated_s, extrapolated_s = (np.where(part, calls_s, 0.0).tolist() for part in model.reach(called))
    rows = [
        OperatorCost(
            name=operator.name, kind=operator.kind.name.lower(), family=operator.family, device=model.spec.id,
            repeat=float(n), flops=operator.flops * float(n), moved_bytes=operator.moved_bytes * float(n),
            time_s=float(priced.time_s[i] * n), compute_s=float(priced.compute_s[i] * n),
            memory_s=float(priced.memory_s[i] * n), communication_s=float(priced.communication_s[i] * n),
            overhead_s=float(priced.overhead_s[i] * n), energy_j=float(priced.energy_j[i] * n),
            bound=priced.bounds[i], dtype=operator.dtype, interpolated_s=interpolated_s[i],
            extrapolated_s=extrapolated_s[i],
        )
        for i, (operator, n) in enumerate(zip(priced.graph.operators, runs, strict=True))
        if n > 0.0
    ]  # fmt: skip
    if host_s > 0.0:
        rows.append(
            OperatorCost(
                name="host", kind="host", family="host", device="host", repeat=float(steps), flops=0.0,
                moved_bytes=0.0, time_s=host_s * steps, compute_s=0.0, memory_s=0.0, communication_s=0.0,
                overhead_s=host_s * steps, energy_j=0.0, bound="overhead",
            )
        )  # fmt: skip
    return PhaseCost(name, sum(row.time_s for row in rows), tuple(rows))


def joined(phases: Sequence[PhaseCost]) -> PhaseCost:
    """Steps of one phase as one: operators that stand at the same place are added up."""
    if len(phases) == 1:
        return phases[0]
    rows: dict[tuple[int, str], list[OperatorCost]] = {}
    for phase in phases:
        for place, row in enumerate(phase.operators):
            rows.setdefault((place, row.name), []).append(row)
    return PhaseCost(phases[0].name, sum(phase.time_s for phase in phases), tuple(map(_summed, rows.values())))


def _summed(rows: list[OperatorCost]) -> OperatorCost:
    """One operator in several steps; what bounds it is what bounds the longest."""
    longest = max(rows, key=lambda row: row.time_s)
    return msgspec.structs.replace(longest, **{name: sum(getattr(row, name) for row in rows) for name in _SUMMED})
