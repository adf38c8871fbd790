"""The method "gp": Gaussian processes say where the front may be, and the hypervolume that it would add says where to
look.

After a first Latin hypercube each batch is chosen one point after the other. Every other point is the one whose
predicted costs add the most hypervolume, times the chance that it has an answer; the points between are chosen in the
same way from functions drawn from the processes, constraints included, so that what is unsure gets its turn (Bradford,
Schweidtmann and Lapkin, Efficient multiobjective optimization employing Gaussian processes, spectral sampling and a
genetic algorithm, Journal of Global Optimization 71, 2018; here the functions are drawn exactly, on the most promising
points alone). What has been chosen counts as if it had its predicted costs.

Spaces of up to ``search_archive.LISTED`` points are looked at whole. In larger ones, and on continuous axes, candidates
are random points and children of the front: two of its points crossed, some axes redrawn or moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from simulator.explore.hypervolume import improvements, reference_of
from simulator.explore.pareto import ranks
from simulator.explore.search_archive import Archive
from simulator.explore.search_codes import Coding
from simulator.explore.search_model import GaussianProcess
from simulator.explore.space import Range

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_TAUGHT: Final = 1_000
"""Most rows that a process is conditioned on: the best half of them, and others at random."""
_SCREENED: Final = 600
"""Candidates on which functions are drawn."""
_DRAWN: Final = 4_096
"""Random candidates, and as many children, of a space that is not listed."""
_DEEPEST: Final = 20
"""Fronts of predicted costs that screening tells apart."""
_REFIT: Final = 1.2
"""Parameters are fitted again when there are so many times as many rows."""
_OPTIMISM: Final = 2.0
_MORE_OPTIMISM: Final = 3.0
"""Standard deviations by which a candidate may be better than predicted."""
_LEAST_CHANCE: Final = 0.02


@dataclass(frozen=True)
class Beliefs:
    """What is predicted for m candidates: less is better; a margin must not be positive.

    Args:
        codes: [m, axes].
        means: of all costs and margins, [m, d + k], the last one half minus the chance of an answer.
        roots: of the covariance of each column, [m, m].
        costs: how many columns are costs, d.
    """

    codes: Floats
    means: Floats
    roots: list[Floats]
    costs: int

    @cached_property
    def spreads(self) -> Floats:
        """Standard deviations [m, d + k]."""
        return np.stack([np.sqrt((root**2).sum(axis=1)) for root in self.roots], axis=1)

    @property
    def chances(self) -> Floats:
        """Of an answer, [m]."""
        return np.clip(0.5 - self.means[:, -1], _LEAST_CHANCE, 1.0)

    def drawn(self, rng: np.random.Generator) -> Floats:
        """One function per column, drawn at all candidates, [m, d + k]."""
        waves = [root @ rng.standard_normal(len(root)) for root in self.roots]
        return self.means + np.stack(waves, axis=1)


class GaussianMethod:
    """Args:
    coding: of the space.
    first: points of the Latin hypercube with which a search begins, those of a warm start counted.
    rng: of the hypercube.
    """

    def __init__(self, coding: Coding, first: int, rng: np.random.Generator) -> None:
        self.coding = coding
        self.design = coding.of_unit(_latin_hypercube(first, len(coding.counts), rng))
        self.processes: list[GaussianProcess] = []
        self.fitted_to = 0

    def propose(self, count: int, archive: Archive, rng: np.random.Generator) -> Floats:
        """The rest of the first design, then what promises most."""
        waiting = len(archive) + len(archive.asked)
        if waiting < len(self.design) or archive.scores.complete.sum() < 2:
            return archive.new(self.design)[: min(count, max(len(self.design) - waiting, 1))]
        candidates = self._candidates(archive, rng)
        if not len(candidates):
            return candidates
        self._learn(archive, rng)
        chosen = self._screen(candidates, archive, rng)
        return _chosen(count, self._beliefs(chosen, len(archive.scores.costs[0])), self._front(archive), rng)

    def _units(self, codes: Floats) -> tuple[Floats, Bools]:
        """Codes as the processes see them, without axes of one choice [n, used], and which of those are of texts."""
        features, axes = self.coding.features(codes)
        columns, named = [], []
        for place, count in enumerate(self.coding.counts):
            if count == 1:
                continue
            is_number = self.coding.orders[place] is not None or isinstance(self.coding.space.axes[place], Range)
            columns.append(features[:, axes == place][:, 0] if is_number else codes[:, place])
            named.append(not is_number)
        return np.stack(columns, axis=1) if columns else np.zeros((len(codes), 0)), np.array(named, dtype=np.bool_)

    def _candidates(self, archive: Archive, rng: np.random.Generator) -> Floats:
        unseen = archive.unseen()
        if unseen is not None:
            return unseen
        parents = archive.codes[archive.front]
        if not len(parents):
            parents = archive.codes[np.argsort(archive.scores.violations, kind="stable")[:10]]
        drawn = [self.coding.random(_DRAWN, rng), children(self.coding, parents, _DRAWN, rng)]
        return archive.new(np.concatenate(drawn))

    def _learn(self, archive: Archive, rng: np.random.Generator) -> None:
        """Condition a process per cost and margin, and one on whether there is an answer."""
        scores = archive.scores
        rows = _taught(archive, rng)
        points, named = self._units(archive.codes[rows])
        refused = np.where(scores.answered, -0.5, 0.5)
        columns = [*scores.costs.T, *scores.margins.T, refused]
        if not self.processes:
            self.processes = [GaussianProcess(named) for _ in columns]
        refit = len(archive) >= _REFIT * self.fitted_to
        self.fitted_to = len(archive) if refit else self.fitted_to
        for process, column in zip(self.processes, columns, strict=True):
            values = column[rows]
            known = np.isfinite(values)
            process.learn(points[known], values[known], rng, refit)

    def _screen(self, candidates: Floats, archive: Archive, rng: np.random.Generator) -> Floats:
        """The candidates that are on the first fronts of predicted costs, or of the best that these may be."""
        if len(candidates) <= _SCREENED:
            return candidates
        points, _ = self._units(candidates)
        guesses = [process.guess(points) for process in self.processes]
        means, spreads = (np.stack(columns, axis=1) for columns in zip(*guesses, strict=True))
        costs = archive.scores.costs.shape[1]
        likely = (means[:, costs:] <= 0.0).all(axis=1)
        possible = (means[:, costs:] - _OPTIMISM * spreads[:, costs:] <= 0.0).all(axis=1)
        place = np.full(len(candidates), _DEEPEST + 1.0)
        for rows, off in ((likely, 0.0), (possible, 1.0)):
            some = np.flatnonzero(rows)
            order = ranks(means[some, :costs] - off * spreads[some, :costs], _DEEPEST)
            place[some] = np.minimum(place[some], order)
        order = np.argsort(place + 0.5 * rng.random(len(place)), kind="stable")
        return candidates[order[:_SCREENED]]

    def _beliefs(self, candidates: Floats, costs: int) -> Beliefs:
        points, _ = self._units(candidates)
        found = [process.joint(points) for process in self.processes]
        return Beliefs(candidates, np.stack([mean for mean, _ in found], axis=1), [root for _, root in found], costs)

    def _front(self, archive: Archive) -> Floats:
        """The costs of the front, and those predicted for feasible points that were asked for and not told."""
        front = archive.scores.costs[archive.front]
        if not len(archive.asked):
            return front
        points, _ = self._units(archive.asked)
        means = np.stack([process.guess(points)[0] for process in self.processes], axis=1)
        costs = front.shape[1]
        return np.vstack([front, means[(means[:, costs:] <= 0.0).all(axis=1), :costs]])


def children(coding: Coding, parents: Floats, count: int, rng: np.random.Generator) -> Floats:
    """``count`` codes near ``parents`` [p, axes]: each axis from one of two parents; then at least one axis anew, drawn
    at random or moved by between a thousandth and all of its length."""
    axes = len(coding.counts)
    pairs = rng.integers(len(parents), size=(2, count))
    codes: Floats = np.where(rng.random((count, axes)) < 0.5, parents[pairs[0]], parents[pairs[1]])
    changed = rng.random((count, axes)) < 1.0 / axes
    changed[np.arange(count), rng.integers(axes, size=count)] = True
    redrawn = coding.of_unit(rng.random((count, axes)))
    for place, axis in enumerate(coding.space.axes):
        new = redrawn[:, place]
        if isinstance(axis, Range) or coding.orders[place] is not None:
            low, high = (axis.low, axis.high) if isinstance(axis, Range) else (0.0, len(axis.values) - 1.0)
            step = (high - low) * 10.0 ** (-3.0 * rng.random(count)) * rng.choice([-1.0, 1.0], count)
            if coding.counts[place] is not None:
                step = np.sign(step) * np.maximum(np.round(np.abs(step)), 1.0)
            moved = np.clip(codes[:, place] + step, low, high)
            new = np.where(rng.random(count) < 0.5, new, moved)
        codes[:, place] = np.where(changed[:, place], new, codes[:, place])
    return codes


def _chosen(count: int, beliefs: Beliefs, front: Floats, rng: np.random.Generator) -> Floats:
    """``count`` candidates, one after the other."""
    costs = beliefs.costs
    free = np.ones(len(beliefs.codes), dtype=np.bool_)
    reference = _reference(beliefs, front)
    taken: list[int] = []
    hopeful = beliefs.means - _MORE_OPTIMISM * beliefs.spreads
    while len(taken) < count and free.any():
        draw = beliefs.drawn(rng) if len(taken) % 2 else beliefs.means
        chance = np.ones(len(free)) if len(taken) % 2 else beliefs.chances
        gains = np.zeros(len(free))
        if reference is None:
            gains = 1.0 / (1.0 + np.maximum(draw[:, costs:], 0.0).sum(axis=1))
        for values, weight in ((draw, chance), (hopeful, np.ones(len(free)))):
            if reference is None or gains[free].max() > 0.0:
                break
            # A drawn function tells what has an answer; of the mean the chance does, below.
            last = values.shape[1] - (values is beliefs.means)
            some = np.flatnonzero(free & (values[:, costs:last] <= 0.0).all(axis=1))
            gains[some] = improvements(front, values[some, :costs], reference) * weight[some]
        place = int(np.argmax(np.where(free, gains, -1.0)))
        if gains[place] <= 0.0:
            place = int(rng.choice(np.flatnonzero(free)))
        taken.append(place)
        free[place] = False
        if (beliefs.means[place, costs:-1] <= 0.0).all():
            front = np.concatenate([front, beliefs.means[place : place + 1, :costs]])
    return beliefs.codes[taken]


def _reference(beliefs: Beliefs, front: Floats) -> Floats | None:
    """The worse, cost by cost, of the reference points of the known and the predicted front; None without any."""
    likely = (beliefs.means[:, beliefs.costs :] <= 0.0).all(axis=1)
    sets = [front, beliefs.means[likely, : beliefs.costs]]
    points = [reference_of(costs) for costs in sets if len(costs)]
    return np.asarray(np.max(points, axis=0)) if points else None


def _taught(archive: Archive, rng: np.random.Generator) -> Ints:
    """The rows that processes learn from: all, or the best and some others."""
    if len(archive) <= _TAUGHT:
        return np.arange(len(archive))
    fronts = ranks(archive.scores.sought, _DEEPEST)
    fronts = np.where(fronts < 0, _DEEPEST + 1, fronts)
    order = np.lexsort((rng.random(len(fronts)), archive.scores.violations, ~archive.scores.complete, fronts))
    half = _TAUGHT // 2
    return np.sort(np.concatenate([order[:half], rng.permutation(order[half:])[: _TAUGHT - half]]))


def _latin_hypercube(count: int, axes: int, rng: np.random.Generator) -> Floats:
    """``count`` places in the unit cube, one in each of ``count`` equal slices of every axis (McKay, Beckman and
    Conover, Technometrics 21(2), 1979)."""
    slices = rng.permuted(np.tile(np.arange(count), (axes, 1)), axis=1).T
    return np.asarray((slices + rng.random((count, axes))) / max(count, 1))
