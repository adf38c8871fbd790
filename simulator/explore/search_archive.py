"""What a search has evaluated, and which points are new to it."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from simulator.explore.objectives import Scores
from simulator.explore.pareto import non_dominated
from simulator.explore.search_codes import Coding, keys

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

LISTED: Final = 100_000
"""Spaces of up to so many points are listed whole; of larger ones points are drawn."""
_TRIES: Final = 20


class Archive:
    """Codes [n, axes] with their scores, in the order in which they were told; and codes that were asked for."""

    def __init__(self, coding: Coding, objectives: int, constraints: int) -> None:
        self.coding = coding
        self.codes: Floats = np.zeros((0, len(coding.counts)))
        self.scores = Scores(np.zeros((0, objectives)), np.zeros((0, constraints)), np.zeros(0, dtype=np.bool_))
        self._told: set[bytes] = set()
        self._asked: dict[bytes, Floats] = {}
        self._listed: Floats | None = None

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def asked(self) -> Floats:
        """Codes that were asked for and not told yet."""
        return np.array(list(self._asked.values())).reshape(-1, self.codes.shape[1])

    @property
    def front(self) -> Bools:
        """Which codes are feasible and not dominated, shape [n]."""
        return non_dominated(self.scores.sought)

    def ask(self, codes: Floats) -> None:
        """Note that the results of ``codes`` are awaited."""
        self._asked.update(zip(keys(codes), codes, strict=True))

    def tell(self, codes: Floats, scores: Scores) -> int:
        """Take results; codes that are known, or stand twice, keep the first. Gives back how many were new."""
        fresh = np.zeros(len(codes), dtype=np.bool_)
        for place, key in enumerate(keys(codes)):
            self._asked.pop(key, None)
            fresh[place] = key not in self._told
            self._told.add(key)
        ours = self.scores
        self.codes = np.concatenate([self.codes, codes[fresh]])
        self.scores = Scores(
            np.concatenate([ours.costs, scores.costs[fresh]]), np.concatenate([ours.margins, scores.margins[fresh]]),
            np.concatenate([ours.answered, scores.answered[fresh]]),
        )  # fmt: skip
        return int(fresh.sum())

    def new(self, codes: Floats) -> Floats:
        """Those of ``codes`` that the conditions keep and that were neither told nor asked for, each once, in order."""
        first: dict[bytes, int] = {}
        for place, key in enumerate(keys(codes)):
            if key not in self._told and key not in self._asked:
                first.setdefault(key, place)
        found = codes[list(first.values())]
        return found[self.coding.keeps(found)]

    def unseen(self) -> Floats | None:
        """All new codes of a space that can be listed; None of a larger one."""
        size = self.coding.size
        if size is None or size > LISTED:
            return None
        if self._listed is None:
            codes = self.coding.grid(0, size)
            self._listed = codes[self.coding.keeps(codes)]
        fresh = [key not in self._told and key not in self._asked for key in keys(self._listed)]
        return self._listed[np.array(fresh, dtype=np.bool_)]

    def random(self, count: int, rng: np.random.Generator) -> Floats:
        """``count`` new codes at random; fewer where there are no more, or hardly any."""
        unseen = self.unseen()
        if unseen is not None:
            return unseen[rng.permutation(len(unseen))[:count]]
        found = self.codes[:0]
        for _ in range(_TRIES):
            more = self.new(self.coding.random(count, rng))
            found = np.unique(np.concatenate([found, more]), axis=0)
            if len(found) >= count:
                break
        return found[rng.permutation(len(found))[:count]]


class Method(Protocol):
    """A way to choose the next points."""

    def propose(self, count: int, archive: Archive, rng: np.random.Generator) -> Floats:
        """Up to ``count`` codes to evaluate next. What is not new among them is passed over, what lacks is drawn."""


class RandomMethod:
    """Points at random: what other methods have to beat."""

    def propose(self, count: int, archive: Archive, rng: np.random.Generator) -> Floats:
        """New codes, all equally likely."""
        return archive.random(count, rng)
