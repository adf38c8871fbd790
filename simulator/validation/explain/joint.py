"""The one number that best explains several rows at once: least mean of |ln(predicted / measured)| over its values.

Each row's gap is close to a line in the logarithm of a number, so the least mean lies at or near a value that closes
one of the rows: these are tried, and the best is refined between its neighbours. Rows that do not depend on the number
keep their gaps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from scipy.optimize import minimize_scalar

from simulator.validation.explain.cases import Case
from simulator.validation.explain.closing import DOUBTFUL, Closing, Gap, gap_of
from simulator.validation.explain.setup import Candidate

_MOST_TRIED: Final = 9
"""Values that close rows and are tried, spread over all of them."""
_REFINEMENTS: Final = 12
LEAST_GAIN: Final = 1e-3
"""A mean gap that shrinks by less does not."""


class Measured(NamedTuple):
    """A row with its measured time [s], its gap ln(predicted / measured), and what each candidate does about it."""

    case: Case
    target_s: float
    gap: float
    closings: tuple[Closing, ...]


class Joint(NamedTuple):
    """A number that is set to ``value`` for all rows that it is part of (``rows`` of them).

    ``before`` and ``after`` are the means of |ln(predicted / measured)| over all rows; ``size`` the change in standard
    deviations.
    """

    candidate: Candidate
    value: float
    rows: int
    before: float
    after: float
    size: float

    @property
    def rank(self) -> tuple[bool, float, float]:
        """Believable changes first; what leaves least, to two digits; of these the smallest change."""
        return (self.size > DOUBTFUL, round(self.after, 2), self.size)


def joint_of(rows: Sequence[Measured]) -> list[Joint]:
    """The numbers of two rows or more that make the rows fit better, the best first."""
    if not rows:
        return []
    before = sum(abs(row.gap) for row in rows) / len(rows)
    owned: dict[tuple[str, str], list[tuple[Measured, Closing]]] = {}
    for row in rows:
        for closing in row.closings:
            owned.setdefault((closing.candidate.path, closing.candidate.owner), []).append((row, closing))
    found = [_best(before, len(rows), members) for members in owned.values() if len(members) > 1]
    return sorted((each for each in found if each.after < before - LEAST_GAIN), key=lambda each: each.rank)


def _best(before: float, count: int, members: Sequence[tuple[Measured, Closing]]) -> Joint:
    """The best value of one number for the rows ``members`` of ``count``."""
    candidate = members[0][1].candidate
    gaps: list[Gap] = [gap_of(row.case, closing.candidate, row.target_s) for row, closing in members]
    elsewhere = before * count - sum(abs(row.gap) for row, _ in members)

    def left(value: float) -> float:
        """The mean gap over all rows; infinite where a row cannot be simulated."""
        own = sum(abs(gap(value)) for gap in gaps)
        return (elsewhere + own) / count if math.isfinite(own) else math.inf

    tried = sorted({closing.nearest for _, closing in members} | {candidate.now or _least(members)})
    tried = [tried[round(i * (len(tried) - 1) / (_MOST_TRIED - 1))] for i in range(_MOST_TRIED)]
    tried = sorted(set(tried))
    place = min(range(len(tried)), key=lambda i: left(tried[i]))
    value, after = tried[place], left(tried[place])
    low, high = tried[max(place - 1, 0)], tried[min(place + 1, len(tried) - 1)]
    if low < high:
        refined = minimize_scalar(
            lambda x: left(math.exp(x)), bounds=(math.log(low), math.log(high)), method="bounded",
            options={"maxiter": _REFINEMENTS},
        )  # fmt: skip
        if refined.fun < after:
            value, after = math.exp(refined.x), float(refined.fun)
    return Joint(candidate, value, len(members), before, after, candidate.size(value))


def _least(members: Sequence[tuple[Measured, Closing]]) -> float:
    """The smallest value that comes closest for a row, where the present one is zero."""
    return min(closing.nearest for _, closing in members)
