"""Exact placements by mixed integer programming (HiGHS): how many layers of each group lie on pools in which way.

Equal layers are counted, not named: n[g, a] of group g have profile a (``simulator.planning.profiles``), and c[g, e, s]
times a layer that leaves its data on the pools e is followed by one that reads them on the pools s. Counts that are
balanced at every (e, s) and hang together are a path through the layers, and every path has such counts, so that the
least cost of counts is that of placements; where counts fall apart a cut forbids it and the program is solved again.
The size does not grow with the number of layers. A group of one layer has n of 0 or 1: the general case.

A pool that takes part may cost something by the second (energy, dollars): w >= T - M (1 - u), with u whether it works.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final, NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from simulator.planning.additive import Aim, Floats, Ints, Placement, Problem, totals_of
from simulator.planning.kinds import kinds_of
from simulator.planning.profiles import Shapes, profiles_of
from simulator.planning.runs_order import cheapest_order, eulerian

MOST_CHANGES: Final = 1500
"""Changes (e, s) of a group: above that each phase has its own, and the order of the layers is found afterwards."""
ROUNDS: Final = 25
"""Cuts against counts that fall apart."""
GAP: Final = 1e-7


@dataclass(frozen=True)
class Solution:
    """A placement and its value; ``bound``: no placement of these shapes has less. ``placement`` is None where none
    fits, or none was found in time."""

    value: float
    placement: Placement | None
    bound: float

    @property
    def proven(self) -> bool:
        """Whether the value is the least there is."""
        return self.placement is not None and self.value <= self.bound * (1.0 + 1e-5) + 1e-15


def solve(
    problem: Problem, aim: Aim, shapes: Shapes | None = None, seconds: float = 10.0, known: float = np.inf,
    within: float = 0.0,
) -> Solution:  # fmt: skip
    """The placement of the least value.

    Args:
        shapes: which placements are looked at; default all.
        seconds: time of the solver, all rounds together [s]; when it is over the best so far counts.
        known: value of a placement that is known; it tightens the program.
        within: share above the bound at which a placement is good enough.
    """
    return _Program(problem, aim, shapes or Shapes(), known).solved(seconds, within)


def free_of_transfers(problem: Problem) -> Problem:
    """The same work where nothing costs on its way."""
    groups = tuple(replace(g, enters_s=np.zeros_like(g.enters_s), inner=()) for g in problem.groups)
    return replace(problem, groups=groups, loops=())


class _Axis(NamedTuple):
    """States of some phases between layers of one group: ``enters`` and ``leaves`` say which one each profile has;
    columns of first, last and (from, to) of the program."""

    phases: tuple[int, ...]
    entries: Ints
    exits: Ints
    enters: Ints
    leaves: Ints
    first: int
    last: int
    changes: int


class _Program:
    """Columns, rows and sums of the program."""

    def __init__(self, problem: Problem, aim: Aim, shapes: Shapes, known: float) -> None:
        self.problem, self.aim, self.known = problem, aim, known
        self.pools, self.phases = len(problem.pools), len(problem.phases)
        self.profiles = [profiles_of(problem, group, shapes) for group in problem.groups]
        self.columns = 0
        self.whole: list[tuple[int, int]] = []
        self.tops: list[tuple[int, int, float]] = []
        self.rows: list[tuple[Ints, Floats, float, float]] = []
        self.terms: dict[tuple[str, int, int], list[tuple[int, float]]] = {}
        self.joint = True
        if all(len(found) for found in self.profiles):
            self.n = [self._new(len(found), g.count) for found, g in zip(self.profiles, problem.groups, strict=True)]
            self.axes = [self._axes(index) for index in range(len(problem.groups))]
            self._layers()
            self._between()
            self._limits()
            if shapes.mixed:
                slots = sum(g.count * self.phases * len(g.parts) for g in problem.groups)
                for pool in range(self.pools):
                    self._row(self._amount(pool, 1.0), 0, slots - 1)
            self.cost = self._goal()

    def _new(self, count: int, most: float, whole: bool = True) -> int:
        first = self.columns
        self.columns += count
        self.tops.append((first, count, most))
        if whole:
            self.whole.append((first, count))
        return first

    def _add(self, kind: str, one: int, other: int, column: int, value: float) -> None:
        if value != 0.0:
            self.terms.setdefault((kind, one, other), []).append((column, value))

    def _row(self, entries: Sequence[tuple[int, float]], low: float, high: float) -> None:
        where = np.array([column for column, _ in entries], np.int64)
        self.rows.append((where, np.array([value for _, value in entries]), low, high))

    def _axes(self, index: int) -> list[_Axis]:
        """States before and after the layers of a group, of all phases at once or of each by itself."""
        group, profiles = self.problem.groups[index], self.profiles[index]
        enters, leaves = profiles[:, :, 0], profiles[:, :, group.exit]
        joint = tuple(range(self.phases))
        sizes = len(np.unique(enters, axis=0)) * len(np.unique(leaves, axis=0))
        split = group.count == 1 or (sizes > MOST_CHANGES and self.phases > 1)
        self.joint &= group.count == 1 or not split
        found = []
        for phases in [(phase,) for phase in joint] if split else [joint]:
            entries, of_entry = np.unique(enters[:, phases], axis=0, return_inverse=True)
            exits, of_exit = np.unique(leaves[:, phases], axis=0, return_inverse=True)
            first, last = self._new(len(entries), 1), self._new(len(exits), 1)
            changes = self._new(len(entries) * len(exits), group.count - 1) if group.count > 1 else -1
            found.append(_Axis(phases, entries, exits, of_entry.ravel(), of_exit.ravel(), first, last, changes))
        return found

    def _layers(self) -> None:
        """What layers and the changes between them take, and the balance of their counts."""
        for index, group in enumerate(self.problem.groups):
            self._row([(self.n[index] + a, 1.0) for a in range(len(self.profiles[index]))], group.count, group.count)
            for a, profile in enumerate(self.profiles[index]):
                self._sum_profile(index, a, profile)
            for axis in self.axes[index]:
                self._balance(index, axis)

    def _sum_profile(self, index: int, a: int, profile: Ints) -> None:
        group, column = self.problem.groups[index], self.n[index] + a
        for (phase, part), pool in np.ndenumerate(profile):
            self._add("phase", phase, 0, column, float(group.seconds[phase, part, pool]))
            self._add("busy", int(pool), 0, column, float(group.seconds[phase, part, pool]))
            self._add("joule", int(pool), 0, column, float(group.joules[phase, part, pool]))
            if part == 0:
                self._add("phase", phase, 0, column, float(group.waits_s[phase, pool]))
        for part in range(len(group.parts)):
            for pool in np.unique(profile[:, part]):
                self._add("held", int(pool), 0, column, float(group.held_bytes[part, pool]))
        for edge in group.inner:
            self._move(edge.target[0], int(profile[edge.source]), int(profile[edge.target]), column, edge.seconds)

    def _move(self, phase: int, source: int, target: int, column: int, seconds: Floats) -> None:
        if source != target:
            self._add("phase", phase, 0, column, float(seconds[source, target]))
            self._add("link", source, target, column, float(seconds[source, target]))

    def _balance(self, index: int, axis: _Axis) -> None:
        group = self.problem.groups[index]
        many, width = group.count > 1, len(axis.entries)
        self._row([(axis.first + s, 1.0) for s in range(width)], 1, 1)
        self._row([(axis.last + e, 1.0) for e in range(len(axis.exits))], 1, 1)
        for s in range(width):
            row = [(self.n[index] + int(a), 1.0) for a in np.flatnonzero(axis.enters == s)]
            row += [(axis.changes + e * width + s, -1.0) for e in range(len(axis.exits)) if many]
            self._row([*row, (axis.first + s, -1.0)], 0, 0)
        for e in range(len(axis.exits)):
            row = [(self.n[index] + int(a), 1.0) for a in np.flatnonzero(axis.leaves == e)]
            row += [(axis.changes + e * width + s, -1.0) for s in range(width) if many]
            self._row([*row, (axis.last + e, -1.0)], 0, 0)
        for e in range(len(axis.exits) if many else 0):
            for s in range(width):
                for at, phase in enumerate(axis.phases):
                    self._move(
                        phase, int(axis.exits[e, at]), int(axis.entries[s, at]), axis.changes + e * width + s,
                        group.enters_s[phase],
                    )  # fmt: skip

    def _ends(self, index: int, phase: int, last: bool) -> dict[int, list[int]]:
        """Columns that say on which pool a group ends, or begins, in a phase."""
        found: dict[int, list[int]] = {}
        for axis in self.axes[index]:
            if phase in axis.phases:
                states, first = (axis.exits, axis.last) if last else (axis.entries, axis.first)
                for i, pool in enumerate(states[:, axis.phases.index(phase)].tolist()):
                    found.setdefault(pool, []).append(first + i)
        return found

    def _between(self) -> None:
        """Transfers from group to group, and round loops: as a transport between the two ends."""
        groups = self.problem.groups
        for index in range(1, len(groups)):
            for phase in range(self.phases):
                self._transport((index - 1, phase), (index, phase), groups[index].enters_s[phase])
        for loop in self.problem.loops:
            self._transport(loop.source, loop.target, loop.seconds)

    def _transport(self, source: tuple[int, int], target: tuple[int, int], seconds: Floats) -> None:
        if not seconds.any():
            return
        leaving, arriving = self._ends(*source, last=True), self._ends(*target, last=False)
        at = {key: i for i, key in enumerate((p, q) for p in leaving for q in arriving)}
        first = self._new(len(at), 1, whole=False)
        for p, columns in leaving.items():
            self._row([*((first + at[p, q], 1.0) for q in arriving), *((c, -1.0) for c in columns)], 0, 0)
        for q, columns in arriving.items():
            self._row([*((first + at[p, q], 1.0) for p in leaving), *((c, -1.0) for c in columns)], 0, 0)
        for (p, q), i in at.items():
            self._move(target[1], p, q, first + i, seconds)

    def _limits(self) -> None:
        """Memory; equal pools in the order of how much they do; pools without any memory left do nothing."""
        for shared in self.problem.shared:
            first = self._new(self.pools, 1, whole=False)
            for pool in range(self.pools):
                self._add("held", pool, 0, first + pool, float(shared.held_bytes[pool]))
                for index in shared.groups:
                    on = [i for i, profile in enumerate(self.profiles[index]) if pool in profile]
                    self._row([*((self.n[index] + i, 1.0) for i in on), (first + pool, -1.0)], -np.inf, 0)
        capacity = self.problem.capacity_bytes
        for pool in range(self.pools):
            if capacity[pool] < 0.0:
                barred = [
                    (self.n[i] + a, 1.0)
                    for i, found in enumerate(self.profiles)
                    for a, profile in enumerate(found)
                    if pool in profile
                ]
                self._row(barred, 0, 0)
            elif capacity[pool] > 0.0 and (terms := self.terms.get(("held", pool, 0))):
                self._row([(column, value / float(capacity[pool])) for column, value in terms], -np.inf, 1)
            elif terms := self.terms.get(("held", pool, 0)):
                self._row([(column, 1.0) for column, value in terms], 0, 0)
        kinds = kinds_of(self.problem, self.aim)
        for pool in range(self.pools):
            before = next((p for p in reversed(range(pool)) if kinds[p] == kinds[pool]), None)
            if before is not None:
                self._row(self._amount(before, 1.0) + self._amount(pool, -1.0), 0, np.inf)

    def _amount(self, pool: int, sign: float) -> list[tuple[int, float]]:
        found = []
        for index, profiles in enumerate(self.profiles):
            uses = (profiles == pool).sum(axis=(1, 2))
            found += [(self.n[index] + int(a), sign * float(uses[a])) for a in np.flatnonzero(uses)]
        return found

    def _vector(self, kind: str, one: int, other: int = 0) -> Floats:
        found = np.zeros(self.columns)
        for column, value in self.terms.get((kind, one, other), ()):
            found[column] += value
        return found

    def _goal(self) -> Floats:
        aim = self.aim
        if aim.slowest:
            top = self._new(1, np.inf, whole=False)
            for key in [key for key in self.terms if key[0] in ("busy", "link")]:
                self._row([*self.terms[key], (top, -1.0)], -np.inf, 0)
            if np.isfinite(aim.flying):
                whole = [term for phase in range(self.phases) for term in self.terms.get(("phase", phase, 0), ())]
                self._row([*whole, (top, -aim.flying)], -np.inf, 0)
            cost = np.zeros(self.columns)
            cost[top] = 1.0
            return cost
        charged = self._standing() if aim.stands else {}
        cost = np.zeros(self.columns)
        for phase in range(self.phases):
            cost += aim.second * self._vector("phase", phase)
        for pool in range(self.pools):
            cost += aim.busy[pool] * self._vector("busy", pool) + aim.joule[pool] * self._vector("joule", pool)
        for column, rate in charged.items():
            cost[column] += rate
        return cost

    def _standing(self) -> dict[int, float]:
        """Columns of the time that each pool is paid for, in all and in each phase that it works in, with rates."""
        charged: dict[int, float] = {}
        most = self._longest()
        phases = [self._vector("phase", phase) for phase in range(self.phases)]
        for pool in range(self.pools):
            works = self._new(self.phases, 1)
            at_all = self._new(1, 1)
            for phase in range(self.phases):
                self._uses(pool, phase, works + phase)
                self._row([(works + phase, 1.0), (at_all, -1.0)], -np.inf, 0)
                if self.aim.in_phase[pool] > 0.0:
                    paid = self._paid(phases[phase], works + phase, most)
                    charged[paid] = float(self.aim.in_phase[pool])
            if self.aim.at_all[pool] > 0.0:
                charged[self._paid(np.sum(phases, axis=0), at_all, most)] = float(self.aim.at_all[pool])
        return charged

    def _uses(self, pool: int, phase: int, column: int) -> None:
        for index, profiles in enumerate(self.profiles):
            on = np.flatnonzero((profiles[:, phase] == pool).any(axis=1))
            if len(on):
                row = [(self.n[index] + int(a), 1.0) for a in on]
                self._row([*row, (column, -float(self.problem.groups[index].count))], -np.inf, 0)

    def _paid(self, seconds: Floats, works: int, most: float) -> int:
        """w >= T - most (1 - works), in parts of ``most``."""
        paid = self._new(1, np.inf, whole=False)
        terms = [(int(c), float(-seconds[c] / most)) for c in np.flatnonzero(seconds)]
        self._row([*terms, (paid, 1.0 / most), (works, -1.0)], -1.0, np.inf)
        return paid

    def _longest(self) -> float:
        """A time that the best placement does not exceed [s]: what is known allows, else the slowest of everything."""
        least = float((self.aim.at_all + self.aim.in_phase).min()) + self.aim.second
        if np.isfinite(self.known) and least > 0.0 and (self._net() >= 0.0).all():
            return self.known / least * (1.0 + 1e-6)
        layers = sum(
            float(np.where(np.isfinite(g.seconds), g.seconds, 0.0).max(axis=2).sum() + g.waits_s.max(axis=1).sum())
            * g.count + float(g.enters_s.max(axis=(1, 2)).sum() + sum(e.seconds.max() for e in g.inner)) * g.count
            for g in self.problem.groups
        )  # fmt: skip
        return layers + sum(float(loop.seconds.max()) for loop in self.problem.loops)

    def _net(self) -> Floats:
        """What parts cost besides the time that pools stand, where all of it is at least 0."""
        found = [
            (self.aim.busy * np.where(np.isfinite(g.seconds), g.seconds, 0.0) + self.aim.joule * g.joules).ravel()
            for g in self.problem.groups
        ]
        return np.concatenate(found)

    def solved(self, seconds: float, within: float) -> Solution:
        """Solve, cut and solve again."""
        if not self.columns or not all(len(found) for found in self.profiles):
            return Solution(np.inf, None, np.inf)
        scale = self._scale()
        bound, best, until = 0.0, Solution(np.inf, None, 0.0), monotonic() + seconds
        for _ in range(ROUNDS):
            low, high, integral = np.zeros(self.columns), np.zeros(self.columns), np.zeros(self.columns)
            for first, count, most in self.tops:
                high[first : first + count] = most
            for first, count in self.whole:
                integral[first : first + count] = 1
            found = milp(
                self.cost * scale, integrality=integral, bounds=Bounds(low, high), constraints=self._matrix(),
                options={"time_limit": max(0.1, until - monotonic()), "mip_rel_gap": max(GAP, within / 2.0)},
            )  # fmt: skip
            if found.x is None:
                infeasible = found.status == 2
                return best if best.placement else Solution(np.inf, None, np.inf if infeasible else bound)
            bound = max(bound, float(found.mip_dual_bound or 0.0) / scale)
            placement, apart = self._placement(np.rint(found.x))
            if placement is not None:
                for one in (placement, self._tidy(placement)):
                    value = self.aim.value(totals_of(self.problem, one))
                    if value <= best.value:
                        best = Solution(value, one, bound)
            if not apart or best.value <= bound * (1.0 + within) or monotonic() > until:
                break
        return Solution(best.value, best.placement, min(bound, best.value))

    def _scale(self) -> float:
        """Brings values near 1,000: tolerances of the solver are absolute."""
        values = self.cost[self.cost > 0.0]
        if self.aim.slowest:
            values = np.array([value for key, terms in self.terms.items() if key[0] == "busy" for _, value in terms])
        typical = float(values.mean()) if len(values) else 1.0
        return 100.0 / typical if typical > 0.0 else 1.0

    def _matrix(self) -> LinearConstraint:
        lengths = [len(where) for where, _, _, _ in self.rows]
        at = np.repeat(np.arange(len(self.rows)), lengths)
        where = np.concatenate([row[0] for row in self.rows])
        values = np.concatenate([row[1] for row in self.rows])
        matrix = coo_array((values, (at, where)), shape=(len(self.rows), self.columns)).tocsr()
        return LinearConstraint(matrix, [row[2] for row in self.rows], [row[3] for row in self.rows])

    def _placement(self, x: Floats) -> tuple[Placement | None, bool]:
        """The layers in order; and whether some counts fall apart, which is cut."""
        layers: list[Ints] = []
        apart = False
        for index, group in enumerate(self.problem.groups):
            profiles = self.profiles[index]
            counts = x[self.n[index] : self.n[index] + len(profiles)].astype(np.int64)
            if group.count == 1 or int((counts > 0).sum()) == 1:
                order: list[int] | None = [int(counts.argmax())] * group.count
                if group.count > 1 and len(self.axes[index]) == 1:
                    order = self._path(index, counts, x) or order
            elif len(self.axes[index]) == 1:
                order = self._path(index, counts, x)
                if order is None:
                    apart = True
                    self._cut(index, counts, x)
                    order = self._ordered(index, counts)
            else:
                order = self._ordered(index, counts)
            layers += [profiles[a] for a in order or ()]
        return tuple(layers), apart

    def _tidy(self, placement: Placement) -> Placement:
        """Equal profiles of a group side by side, in an order of few transfers."""
        layers: list[Ints] = []
        for index, (start, group) in enumerate(zip(self.problem.starts, self.problem.groups, strict=True)):
            own = placement[start : start + group.count]
            counts = np.array([sum(np.array_equal(p, one) for one in own) for p in self.profiles[index]])
            layers += [self.profiles[index][a] for a in self._ordered(index, counts)]
        return tuple(layers)

    def _path(self, index: int, counts: Ints, x: Floats) -> list[int] | None:
        axis = self.axes[index][0]
        width = len(axis.entries)
        steps = [
            (("enter", int(axis.enters[a])), ("leave", int(axis.leaves[a])), int(a))
            for a in np.flatnonzero(counts)
            for _ in range(counts[a])
        ]
        for change in range(width * len(axis.exits)):
            times = int(x[axis.changes + change])
            steps += [(("leave", change // width), ("enter", change % width), -1)] * times
        start = int(x[axis.first : axis.first + width].argmax())
        path = eulerian(("enter", start), steps)
        return None if path is None else [number for number in path if number >= 0]

    def _cut(self, index: int, counts: Ints, x: Floats) -> None:
        """What is not reached from the first layer must be entered as often as it is used by a layer at most."""
        axis, group = self.axes[index][0], self.problem.groups[index]
        width = len(axis.entries)
        changes = x[axis.changes : axis.changes + width * len(axis.exits)].reshape(len(axis.exits), width)
        reached = {int(x[axis.first : axis.first + width].argmax())}
        while True:
            out = {int(axis.leaves[a]) for a in np.flatnonzero(counts) if int(axis.enters[a]) in reached}
            more = {int(s) for e in out for s in np.flatnonzero(changes[e])} - reached
            if not more:
                break
            reached |= more
        beyond = [s for s in range(width) if s not in reached]
        inside = {int(axis.leaves[a]) for a in np.flatnonzero(counts) if int(axis.enters[a]) in beyond}
        entering = [
            (axis.changes + e * width + s, float(group.count))
            for e in range(len(axis.exits)) if e not in inside
            for s in beyond
        ]  # fmt: skip
        entering += [(axis.first + s, float(group.count)) for s in beyond]
        # Other profiles that go from beyond the cut to inside it also connect it.
        entering += [
            (self.n[index] + int(a), float(group.count))
            for a in range(len(self.profiles[index]))
            if int(axis.leaves[a]) in inside and int(axis.enters[a]) not in beyond
        ]
        for a in np.flatnonzero(counts):
            if int(axis.enters[a]) in beyond:
                self._row([*entering, (self.n[index] + int(a), -1.0)], 0, np.inf)

    def _ordered(self, index: int, counts: Ints) -> list[int]:
        """Runs of equal profiles in an order of few transfers."""
        group, profiles = self.problem.groups[index], self.profiles[index]
        there = np.flatnonzero(counts).tolist()

        def change(one: int, other: int) -> float:
            pairs = zip(profiles[there[one]][:, group.exit], profiles[there[other]][:, 0], strict=True)
            return sum(float(group.enters_s[phase, p, q]) for phase, (p, q) in enumerate(pairs) if p != q)

        order = cheapest_order(len(there), change)
        return [there[i] for i in order for _ in range(counts[there[i]])]
