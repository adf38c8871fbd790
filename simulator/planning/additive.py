"""The additive cost model: what a placement of layers on pools costs when nothing contends and nothing overlaps.

Layers follow each other; of each, every *part* (attention, FFN, experts) runs in every *phase* (prefill, decode) on
some pool. With s seconds and e joules of a part on its pool, and t seconds of a transfer where data changes pool, the
time of a phase is the sum of its s and t, and the load of a pool the sum of its s. A pool holds the weights and the
cache of a part where any phase runs it there. All else (what overlaps, what shares links) is for the engine to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Placement = tuple[Ints, ...]
"""Pool of each phase and part, shape [phases, parts], layer by layer."""

ROOM: Final = 1e-6
"""Share by which a memory may be overfull in arithmetic."""


@dataclass(frozen=True)
class Edge:
    """A transfer inside a layer, from one (phase, part) to another: ``seconds`` from p to q, [pools, pools]."""

    source: tuple[int, int]
    target: tuple[int, int]
    seconds: Floats


@dataclass(frozen=True)
class Group:
    """``count`` equal layers in a row (the embedding and the head are groups of one).

    ``seconds`` and ``joules`` are of all executions on a pool, shape [phases, parts, pools]; inf seconds: it must not
    run there. ``waits_s`` [phases, pools] passes where the first part runs and keeps no device busy. ``held_bytes``
    [parts, pools] lie on one device. ``enters_s`` [phases, pools, pools] brings what the layer before has made from its
    pool to that of the first part; data leaves a layer from part ``exit``.
    """

    label: str
    count: int
    parts: tuple[str, ...]
    seconds: Floats
    joules: Floats
    waits_s: Floats
    held_bytes: Floats
    enters_s: Floats
    inner: tuple[Edge, ...] = ()
    exit: int = 0


@dataclass(frozen=True)
class Loop:
    """A transfer between groups of one layer that are not neighbours: tokens from the head to the embedding.

    From the exit of ``source`` (group, phase) to the first part of ``target``; ``seconds`` [pools, pools].
    """

    source: tuple[int, int]
    target: tuple[int, int]
    seconds: Floats


@dataclass(frozen=True)
class Shared:
    """Bytes [pools] that lie once on a pool that runs any of some groups of one layer: tied embeddings."""

    groups: tuple[int, ...]
    held_bytes: Floats


@dataclass(frozen=True)
class Problem:
    """Work to be placed: groups of layers, bottom to top; ``capacity_bytes`` [pools] of one device."""

    pools: tuple[str, ...]
    phases: tuple[str, ...]
    groups: tuple[Group, ...]
    capacity_bytes: Floats
    loops: tuple[Loop, ...] = ()
    shared: tuple[Shared, ...] = ()

    @property
    def layers(self) -> int:
        """Layers in all, embedding and head included."""
        return sum(group.count for group in self.groups)

    @cached_property
    def group_of_layer(self) -> tuple[int, ...]:
        """Index of the group of each layer."""
        return tuple(index for index, group in enumerate(self.groups) for _ in range(group.count))

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First layer of each group."""
        return tuple(np.cumsum([0, *(group.count for group in self.groups)])[:-1].tolist())


@dataclass(frozen=True)
class Totals:
    """What a placement adds up to.

    ``phase_s`` [phases]; ``busy_s`` and ``works`` [phases, pools]; ``joules`` [pools]; ``link_s`` [pools, pools] from
    one pool to another; ``held_bytes`` [pools]; ``fits``: of every pool.
    """

    phase_s: Floats
    busy_s: Floats
    works: npt.NDArray[np.bool_]
    joules: Floats
    link_s: Floats
    held_bytes: Floats
    fits: bool

    @property
    def seconds(self) -> float:
        """All phases, one after the other [s]."""
        return float(self.phase_s.sum())

    @property
    def slowest_s(self) -> float:
        """The busiest pool or link: the time between requests of a full pipeline [s]."""
        return float(max(self.busy_s.sum(axis=0).max(), self.link_s.max(initial=0.0)))


@dataclass(frozen=True)
class Aim:
    """What is to be small, as a linear function of totals, and of times of the pools that take part.

        value = second T + sum_p (busy_p busy + joule_p J + at_all_p T [p works] + in_phase_p T_phase [p works in it])

    or, with ``slowest``, the time between requests of a pipeline in which ``flying`` are on their way: the load of the
    busiest pool or link, and at least T / flying (the asymptotic bounds of a closed queueing network: Lazowska et al.,
    "Quantitative System Performance", 1984, ch. 5). Arrays have shape [pools].
    """

    name: str
    second: float
    busy: Floats
    joule: Floats
    in_phase: Floats
    at_all: Floats
    slowest: bool = False
    flying: float = float("inf")

    @property
    def stands(self) -> bool:
        """Whether a pool costs something by taking part."""
        return bool(self.in_phase.any() or self.at_all.any())

    def value(self, totals: Totals) -> float:
        """The value of a placement; inf where it is not allowed or does not fit."""
        if not totals.fits or not np.isfinite(totals.seconds):
            return float("inf")
        if self.slowest:
            return max(totals.slowest_s, totals.seconds / self.flying)
        paid = float(self.busy @ totals.busy_s.sum(axis=0) + self.joule @ totals.joules)
        stands = float(totals.works.any(axis=0) @ self.at_all) * totals.seconds
        stands += float((totals.works @ self.in_phase) @ totals.phase_s)
        return self.second * totals.seconds + paid + stands


def plain_aim(pools: int, name: str = "latency", flying: float = float("inf")) -> Aim:
    """Latency, or with the name "throughput" the slowest stage."""
    none = np.zeros(pools)
    return Aim(name, 1.0, none, none, none, none, name == "throughput", flying)


@dataclass
class _Sums:
    phase_s: Floats
    busy_s: Floats
    joules: Floats
    link_s: Floats
    held: Floats
    works: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), np.bool_))

    def move(self, phase: int, source: int, target: int, seconds: Floats) -> None:
        if source != target:
            self.phase_s[phase] += seconds[source, target]
            self.link_s[source, target] += seconds[source, target]


def totals_of(problem: Problem, placement: Placement) -> Totals:
    """Add a placement up, layer by layer."""
    phases, pools = len(problem.phases), len(problem.pools)
    sums = _Sums(
        np.zeros(phases), np.zeros((phases, pools)), np.zeros(pools), np.zeros((pools, pools)), np.zeros(pools),
        np.zeros((phases, pools), np.bool_),
    )  # fmt: skip
    leaves: list[int] = []
    for layer, index in enumerate(problem.group_of_layer):
        group, chosen = problem.groups[index], placement[layer]
        _add_layer(sums, group, chosen)
        for phase in range(phases):
            if layer:
                sums.move(phase, leaves[phase], int(chosen[phase, 0]), group.enters_s[phase])
        leaves = chosen[:, group.exit].tolist()
    for loop in problem.loops:
        (one, phase), (other, later) = loop.source, loop.target
        source = placement[problem.starts[one]][phase, problem.groups[one].exit]
        sums.move(later, int(source), int(placement[problem.starts[other]][later, 0]), loop.seconds)
    for shared in problem.shared:
        there = np.unique(np.concatenate([placement[problem.starts[g]].ravel() for g in shared.groups]))
        sums.held[there] += shared.held_bytes[there]
    fits = bool((sums.held <= problem.capacity_bytes * (1.0 + ROOM))[sums.works.any(axis=0)].all())
    return Totals(sums.phase_s, sums.busy_s, sums.works, sums.joules, sums.link_s, sums.held, fits)


def _add_layer(sums: _Sums, group: Group, chosen: Ints) -> None:
    for (phase, part), pool in np.ndenumerate(chosen):
        sums.phase_s[phase] += group.seconds[phase, part, pool]
        sums.busy_s[phase, pool] += group.seconds[phase, part, pool]
        sums.joules[pool] += group.joules[phase, part, pool]
        sums.works[phase, pool] = True
        if part == 0:
            sums.phase_s[phase] += group.waits_s[phase, pool]
    for part in range(len(group.parts)):
        for pool in np.unique(chosen[:, part]):
            sums.held[pool] += group.held_bytes[part, pool]
    for edge in group.inner:
        sums.move(edge.target[0], int(chosen[edge.source]), int(chosen[edge.target]), edge.seconds)


def every_placement(problem: Problem, profiles: Sequence[Ints]) -> Iterator[Placement]:
    """All placements whose layers take one of the profiles of their group, each [profiles, phases, parts]."""
    from itertools import product

    for chosen in product(*(range(len(profiles[g])) for g in problem.group_of_layer)):
        yield tuple(profiles[g][one] for g, one in zip(problem.group_of_layer, chosen, strict=True))


def exhaustive(problem: Problem, aim: Aim, profiles: Sequence[Ints]) -> tuple[float, Placement | None]:
    """The least value over all placements, and one that has it; (inf, None) where none is allowed."""
    best: tuple[float, Placement | None] = (float("inf"), None)
    for placement in every_placement(problem, profiles):
        value = aim.value(totals_of(problem, placement))
        if value < best[0]:
            best = value, placement
    return best
