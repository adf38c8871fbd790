"""Search of design spaces too large to look at whole: ask for points, tell what they are worth.

    search = Search(space, [Objective("tpot_s"), Objective("j_per_output_token")], [Constraint("usd_per_h", "<=", 30)])
    while len(points := search.ask(16)):
        search.tell(points, evaluate(points))

or ``run(search, evaluate, Stop(evaluations=500))``. Several objectives, constraints, discrete and continuous axes; no
point is evaluated twice; the same seed asks the same questions. Results that exist already are told before the first
question (a warm start). What the methods do: ``search_gp``, ``search_optuna``, ``search_archive.RandomMethod``.

The default is the method that found most on the tuning spaces of ``benchmarks/search.py``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError, UnknownName
from simulator.explore.columns import Table
from simulator.explore.hypervolume import hypervolume, reference_of
from simulator.explore.objectives import Constraint, Objective, score
from simulator.explore.pareto import non_dominated
from simulator.explore.points import Points
from simulator.explore.search_archive import Archive, Method, RandomMethod
from simulator.explore.search_codes import Coding
from simulator.explore.search_gp import GaussianMethod
from simulator.explore.search_optuna import OptunaMethod
from simulator.explore.space import Space

Floats = npt.NDArray[np.float64]

METHODS: Final = ("gp", "nsga2", "tpe", "random")
DEFAULT: Final = "gp"
_FIRST_SHARE: Final = 0.2
"""Of the budget, for the first design of the method "gp"."""
_FEWEST: Final = 10
_MOST: Final = 200
_BATCHES: Final = 20
"""Batches into which the budget after the first design is cut."""
_BATCH: Final = 16
"""Points of a batch without a budget."""


class Progress(NamedTuple):
    """After some evaluations: the hypervolume reached (in the objectives' scales) and the seconds since the search was
    made [s]; and how many points are on the front."""

    evaluations: int
    hypervolume: float
    front: int
    seconds: float


@dataclass(frozen=True)
class Stop:
    """When a search ends: at whichever comes first.

    Args:
        evaluations: so many points are evaluated, a warm start not counted.
        seconds: so much time has passed [s]; a batch that was begun is finished.
        growth: the hypervolume grew by less than this share (0.001) over the last ``over`` evaluations.

    Raises:
        InputError: none is given, or one is not positive.
    """

    evaluations: int | None = None
    seconds: float | None = None
    growth: float | None = None
    over: int = 100

    def __post_init__(self) -> None:
        given = {"evaluations": self.evaluations, "seconds": self.seconds, "growth": self.growth}
        if all(value is None for value in given.values()):
            raise InputError(f"a search needs an end: give one of {', '.join(given)}")
        for name, value in {**given, "over": self.over}.items():
            if value is not None and not value > 0:
                raise InputError(f"search: {name} {value}: must be above zero")


class Search:
    """A search in progress.

    Args:
        space: axes, ranges and conditions.
        objectives: what to improve.
        constraints: what must hold; a point that breaks one, or has no answer, is never on the front.
        method: one of ``METHODS``.
        seed: the same seed, the same questions.
        budget: evaluations that are planned, if that is known; methods divide their work by it.

    Raises:
        InputError: no objective, an unknown method, or one whose library is not installed.
    """

    def __init__(
        self, space: Space, objectives: Sequence[Objective], constraints: Sequence[Constraint] = (),
        method: str = DEFAULT, seed: int = 0, budget: int | None = None,
    ) -> None:  # fmt: skip
        if not objectives:
            raise InputError("nothing is sought: give at least one objective")
        self.objectives, self.constraints = tuple(objectives), tuple(constraints)
        self.coding = Coding(space)
        self.archive = Archive(self.coding, len(self.objectives), len(self.constraints))
        self.first = _first(budget, len(space.axes))
        self._rng = np.random.default_rng(seed)
        self._method = self._made(method, seed)
        self._began = time.monotonic()
        self._marks: list[tuple[int, float]] = []

    def _made(self, method: str, seed: int) -> Method:
        if method == "gp":
            return GaussianMethod(self.coding, self.first, self._rng)
        if method in ("nsga2", "tpe"):
            return OptunaMethod(self.coding, len(self.objectives), method, seed)
        if method == "random":
            return RandomMethod()
        raise UnknownName("search method", method, METHODS, f"allowed: {', '.join(METHODS)}")

    @property
    def evaluations(self) -> int:
        """How many points are known, a warm start counted."""
        return len(self.archive)

    def ask(self, count: int) -> Points:
        """Up to ``count`` points to evaluate next, none of which was told or asked for before; none at all where the
        space has no more, or its conditions keep hardly any."""
        codes = self.archive.new(self._method.propose(count, self.archive, self._rng))[:count]
        self.archive.ask(codes)
        if not len(codes):
            codes = self.archive.random(count, self._rng)
            self.archive.ask(codes)
        return self.coding.points(codes)

    def tell(self, points: Points, table: Table) -> int:
        """Take what was found for n points, whether they were asked for or not; gives back how many of them are new.

        Points that are not in the space and points that are known already are passed over.

        Raises:
            InputError: the table lacks a metric, or has one that an objective cannot take.
        """
        scores = score(table, self.objectives, self.constraints)
        codes, inside = self.coding.codes(points)
        told = self.archive.tell(codes[inside], scores.take(inside))
        if told:
            self._marks.append((len(self.archive), time.monotonic() - self._began))
        return told

    def front(self) -> tuple[Points, Floats]:
        """The points that are feasible and not dominated, by their first cost; and their costs [f, d]."""
        rows = np.flatnonzero(self.archive.front)
        costs = self.archive.scores.costs[rows]
        order = np.lexsort(costs.T[::-1])
        return self.coding.points(self.archive.codes[rows[order]]), costs[order]

    def reference(self) -> Floats | None:
        """The reference point of the front that is known, [d] (``hypervolume.reference_of``); None without one."""
        sought = self.archive.scores.sought
        return None if np.isnan(sought).all() else reference_of(sought)

    def progress(self, reference: npt.ArrayLike | None = None) -> list[Progress]:
        """Hypervolume after each batch that was told, up to ``reference`` [d]: that of the front as it is now, if none
        is given, so that earlier batches are measured with it too."""
        limit = self.reference() if reference is None else reference
        found = []
        front = np.zeros((0, len(self.objectives)))
        start = 0
        for stop, seconds in self._marks:
            front = np.concatenate([front, self.archive.scores.sought[start:stop]])
            front = front[non_dominated(front)]
            found.append(Progress(stop, 0.0 if limit is None else hypervolume(front, limit), len(front), seconds))
            start = stop
        return found

    def growth(self, over: int) -> float:
        """By which share of itself the hypervolume grew over the last ``over`` evaluations; infinite before there were
        so many since the first design, and while nothing is feasible."""
        limit = self.reference()
        if limit is None or len(self.archive) < self.first + over:
            return math.inf
        sought = self.archive.scores.sought
        now = hypervolume(sought, limit)
        return (now - hypervolume(sought[:-over], limit)) / now if now > 0.0 else math.inf


def run(
    search: Search, evaluate: Callable[[Points], Table], stop: Stop, batch: int | None = None,
    watch: Callable[[Search], None] | None = None,
) -> str:  # fmt: skip
    """Ask, evaluate and tell until ``stop``; says why it ended: "evaluations", "seconds", "growth" or "exhausted".

    Args:
        evaluate: a table with a row per point, as an evaluator of a study gives it.
        batch: points per question; default a twentieth of what is left after the first design.
        watch: is called after each batch.

    Raises:
        InputError: ``batch`` is below one.
    """
    if batch is not None and batch < 1:
        raise InputError(f"search: batch {batch}: must be at least 1")
    began, known = time.monotonic(), search.evaluations
    most = stop.evaluations
    size = batch or (_BATCH if most is None else max(1, math.ceil((most - search.first) / _BATCHES)))
    while True:
        done = search.evaluations - known
        if most is not None and done >= most:
            return "evaluations"
        if stop.seconds is not None and time.monotonic() - began >= stop.seconds:
            return "seconds"
        if stop.growth is not None and search.growth(stop.over) < stop.growth:
            return "growth"
        points = search.ask(size if most is None else min(size, most - done))
        if not len(points):
            return "exhausted"
        search.tell(points, evaluate(points))
        if watch is not None:
            watch(search)


def _first(budget: int | None, axes: int) -> int:
    """Points of the first design."""
    wanted = 10 * axes if budget is None else round(_FIRST_SHARE * budget)
    return min(max(wanted, _FEWEST), _MOST)
