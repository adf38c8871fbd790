"""Layers in contiguous runs, all phases of a layer on one pool: exact placements by dynamic programming.

With u the pools that have taken part so far, of which k is the last one, and C(u, f, k, j) the least cost of the first
j layers on them (f had the first layer),

    C(u + k, f, k, j) = min over i, l of C(u, f, l, i) + enter(l, k, i) + run(k, i, j),

runs that do not fit the memory of k left out; for the slowest stage the sums are maxima. Pools that are equal count by
kind, so that 16 devices of 4 kinds have 625 states instead of 65,536. What a pool costs by taking part (energy and
dollars by the second) depends on all that do: sets S of kinds are tried in the order of a bound of theirs,
min C + rate(S) min T, until the bound of the next one is above the best value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Final, NamedTuple

import numpy as np

from simulator.planning.additive import ROOM, Aim, Floats, Ints, Placement, Problem, totals_of
from simulator.planning.kinds import kinds_of
from simulator.planning.solve import Solution

MOST_STATES: Final = 4000
"""Sets of pools, counted by kind, that are looked at."""

Counts = tuple[int, ...]


class _Weights(NamedTuple):
    """What a second, a busy second and a joule cost; [pools] but the first."""

    second: float
    busy: Floats
    joule: Floats


class _Cell(NamedTuple):
    """Costs of the first j layers by first kind, [firsts, layers + 1]; where the last run begins and which kind is
    before it."""

    cost: Floats
    begins: Ints
    before: Ints


@dataclass(frozen=True)
class _Tables:
    """By kind: cost of every run [kinds, layers + 1, layers + 1] (inf: does not fit); of entering a kind from another
    at a layer [kinds, kinds, layers + 1]; of the way back from the last to the first [kinds, kinds]."""

    run: Floats
    enter: Floats
    back: Floats


def chain(problem: Problem, aim: Aim) -> Solution:
    """The best placement of contiguous runs, one for each pool that takes part; its bound is that of such placements.

    With more than ``MOST_STATES`` sets of pools nothing is looked at: no placement, and a bound of 0.
    """
    kinds = kinds_of(problem, aim)
    if prod(kinds.count(kind) + 1 for kind in set(kinds)) > MOST_STATES:
        return Solution(np.inf, None, 0.0)
    return _Chain(problem, aim).solved()


class _Chain:
    def __init__(self, problem: Problem, aim: Aim) -> None:
        self.problem, self.aim = problem, aim
        self.kind_of = kinds_of(problem, aim)
        self.members = [[p for p, k in enumerate(self.kind_of) if k == kind] for kind in range(max(self.kind_of) + 1)]
        self.kinds, self.layers = len(self.members), problem.layers
        self.loops = any(loop.seconds.any() for loop in problem.loops)
        self.fits = self._fits()

    def solved(self) -> Solution:
        plain = _Weights(self.aim.second, self.aim.busy, self.aim.joule)
        top = tuple(len(m) for m in self.members)
        if not self.aim.stands:
            ends = self._run(self._tables(plain), top)
            finals = self._finals(*ends)[:1]
            found = self._best([self._placed(*final) for final in finals])
            return replace(found, bound=min(found.bound, finals[0][0])) if finals else found
        return self._with_standing(plain, top)

    def _with_standing(self, plain: _Weights, top: Counts) -> Solution:
        none = np.zeros(len(self.problem.pools))
        costs = self._least(*self._run(self._tables(plain), top))
        times = self._least(*self._run(self._tables(_Weights(1.0, none, none)), top))
        rates = self.aim.at_all + self.aim.in_phase
        rate = {s: sum(n * float(rates[self.members[k][0]]) for k, n in enumerate(s)) for s in costs}
        order = sorted((costs[s] + rate[s] * times[s], s) for s in costs)
        best: tuple[float, Placement | None] = (np.inf, None)
        for bound, counts in order:
            if bound >= best[0]:
                break
            cells, tables = self._run(self._tables(plain._replace(second=plain.second + rate[counts])), counts)
            for value, state, first, kind in self._finals(cells, tables):
                if value < best[0] and state == counts:
                    best = value, self._placed(value, state, first, kind, cells)
                    break
        return self._best([best[1]] if best[1] is not None else [])

    def _best(self, placements: list[Placement]) -> Solution:
        if not placements:
            return Solution(np.inf, None, np.inf)
        value = self.aim.value(totals_of(self.problem, placements[0]))
        return Solution(value, placements[0], value)

    def _by_layer(self, values: list[Floats]) -> Floats:
        """Values of groups, [kinds] each, summed up from the first layer, [kinds, layers + 1]."""
        rows = [values[g] for g in self.problem.group_of_layer]
        return np.concatenate([np.zeros((1, self.kinds)), np.cumsum(rows, axis=0)]).T

    def _fits(self) -> Floats:
        """0 for runs that a pool of a kind has room for and may run, else inf, [kinds, layers + 1, layers + 1]."""
        problem, first = self.problem, [m[0] for m in self.members]
        ends = np.arange(self.layers + 1)
        held = self._by_layer([np.asarray(g.held_bytes[:, first].sum(axis=0)) for g in problem.groups])
        need = held[:, None, :] - held[:, :, None]
        for shared in problem.shared:
            at = [problem.starts[g] for g in shared.groups]
            has = np.any([(ends[:, None] <= a) & (a < ends[None, :]) for a in at], axis=0)
            need = need + has * shared.held_bytes[first][:, None, None]
        banned = self._by_layer(
            [np.where(np.isfinite(g.seconds[:, :, first]).all(axis=(0, 1)), 0.0, 1.0) for g in problem.groups]
        )
        room = need <= (problem.capacity_bytes[first] * (1.0 + ROOM))[:, None, None]
        allowed = room & (banned[:, None, :] == banned[:, :, None]) & (ends[:, None] < ends[None, :])
        return np.where(allowed, 0.0, np.inf)

    def _tables(self, weights: _Weights) -> _Tables:
        first = [m[0] for m in self.members]

        def of_layer(index: int) -> Floats:
            group = self.problem.groups[index]
            seconds = np.where(np.isfinite(group.seconds), group.seconds, 0.0).sum(axis=(0, 1))[first]
            if self.aim.slowest:
                return np.asarray(seconds)
            paid = (weights.second + weights.busy[first]) * seconds
            waits = weights.second * group.waits_s.sum(axis=0)[first]
            found: Floats = paid + waits + weights.joule[first] * group.joules.sum(axis=(0, 1))[first]
            return found

        sums = self._by_layer([of_layer(g) for g in range(len(self.problem.groups))])
        second = 1.0 if self.aim.slowest else weights.second
        enters = [self._pairs(group.enters_s.sum(axis=0) * second) for group in self.problem.groups]
        enter = np.stack([enters[g] for g in (*self.problem.group_of_layer, 0)], axis=-1)
        back = np.zeros((self.kinds, self.kinds))
        for loop in self.problem.loops:
            back += self._pairs(loop.seconds * second)
        return _Tables(sums[:, None, :] - sums[:, :, None] + self.fits, enter, back)

    def _pairs(self, seconds: Floats) -> Floats:
        """Between pools, to between kinds: two different pools of each; inf where a kind has only one."""
        found = np.full((self.kinds, self.kinds), np.inf)
        for (one, other), _ in np.ndenumerate(found):
            pair = [(p, q) for p in self.members[one][:2] for q in self.members[other][:2] if p != q]
            if pair:
                found[one, other] = seconds[pair[0]]
        return found

    def _sets(self, top: Counts) -> Iterator[Counts]:
        return product(*(range(n + 1) for n in top))

    def _run(self, tables: _Tables, top: Counts) -> tuple[dict[tuple[Counts, int], _Cell], _Tables]:
        firsts, ends = self.kinds if self.loops else 1, self.layers + 1
        cells: dict[tuple[Counts, int], _Cell] = {}
        for counts in self._sets(top):
            for kind in range(self.kinds):
                if not counts[kind]:
                    continue
                before = tuple(n - (k == kind) for k, n in enumerate(counts))
                start = np.full((firsts, ends), np.inf)
                by = np.full((firsts, ends), -1, np.int64)
                if not any(before):
                    start[kind if self.loops else 0, 0] = 0.0
                rows = [(k, cells[before, k]) for k in range(self.kinds) if before[k] and (before, k) in cells]
                if rows:
                    come = np.stack([self._joined(cell.cost, tables.enter[k, kind]) for k, cell in rows])
                    chosen = come.argmin(axis=0)
                    start = np.take_along_axis(come, chosen[None], axis=0)[0]
                    by = np.array([k for k, _ in rows])[chosen]
                if not np.isfinite(start).any():
                    continue
                whole = self._joined(start[:, :, None], tables.run[kind])
                begins = whole.argmin(axis=1)
                cost = np.take_along_axis(whole, begins[:, None], axis=1)[:, 0]
                if np.isfinite(cost).any():
                    cells[counts, kind] = _Cell(cost, begins, by)
        return cells, tables

    def _joined(self, one: Floats, other: Floats) -> Floats:
        return np.maximum(one, other) if self.aim.slowest else one + other

    def _finals(self, cells: dict[tuple[Counts, int], _Cell], tables: _Tables) -> list[tuple[float, Counts, int, int]]:
        """Whole chains by value: the pools that take part, the first and the last kind."""
        found = []
        for (counts, kind), cell in cells.items():
            for first in range(len(cell.cost)):
                value = float(cell.cost[first, -1])
                if self.loops and sum(counts) > 1:
                    value = float(self._joined(cell.cost[first, -1:], tables.back[kind, first])[0])
                if np.isfinite(value):
                    found.append((value, counts, first, kind))
        self.cells = cells
        return sorted(found)

    def _least(self, cells: dict[tuple[Counts, int], _Cell], tables: _Tables) -> dict[Counts, float]:
        least: dict[Counts, float] = {}
        for value, counts, _, _ in self._finals(cells, tables):
            least[counts] = min(value, least.get(counts, np.inf))
        return least

    def _placed(
        self, value: float, counts: Counts, first: int, kind: int,
        cells: dict[tuple[Counts, int], _Cell] | None = None,
    ) -> Placement:  # fmt: skip
        """Walk back from the last layer; pools of one kind in their order."""
        cells, end, runs = cells or self.cells, self.layers, []
        while end > 0:
            cell = cells[counts, kind]
            begin = int(cell.begins[first, end])
            runs.append((kind, begin, end))
            before = int(cell.before[first, begin])
            counts = tuple(n - (k == kind) for k, n in enumerate(counts))
            end, kind = begin, before
        taken = [0] * self.kinds
        layers: list[Ints] = []
        for kind, begin, end in reversed(runs):
            pool = self.members[kind][taken[kind]]
            taken[kind] += 1
            for layer in range(begin, end):
                parts = len(self.problem.groups[self.problem.group_of_layer[layer]].parts)
                layers.append(np.full((len(self.problem.phases), parts), pool, np.int64))
        return tuple(layers)
