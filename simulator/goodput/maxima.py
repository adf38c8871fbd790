"""The slowest of n ranks by order statistics: P(max <= x) = F(x)^n, E[max] = integral of 1 - F(x)^n.

Equations: H. A. David and H. N. Nagaraja, Order Statistics, 3rd ed. (2003), sections 2.1 and 3.1. All ranks are drawn
in tests only: here the cost does not depend on n.
"""

from __future__ import annotations

import numpy as np

from hardware_specs.errors import InputError
from simulator.goodput.slowdowns import Floats, Slowdown

_TAILS = 10.0 ** -np.arange(1.0, 13.0)
LEVELS = np.concatenate([_TAILS[::-1], np.arange(0.15, 0.86, 0.05), 1.0 - _TAILS])
"""Probabilities between whose quantiles integrals are taken, from 1e-12 to 1 - 1e-12."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)


def maximum_quantile(law: Slowdown, ranks: int, probability: Floats | float) -> Floats:
    """The factor that the slowest of ``ranks`` stays below with this probability, which is in (0, 1); same shape."""
    upper = -np.expm1(np.log(np.asarray(probability, np.float64)) / _counted(ranks))
    return law.quantile(upper)


def expected_maximum(law: Slowdown, ranks: int) -> float:
    """Expected factor of the slowest of ``ranks``; grows with ranks; relative error below 1e-5 (tests).

    Raises:
        InputError: fewer than one rank.
    """
    ends = np.unique(np.concatenate([maximum_quantile(law, ranks, LEVELS), law.kinks]))
    low, high = maximum_quantile(law, ranks, LEVELS[0]), maximum_quantile(law, ranks, LEVELS[-1])
    ends = ends[(ends >= low) & (ends <= high)]
    width = np.diff(ends)
    points = ends[:-1, None] + 0.5 * width[:, None] * (_NODES + 1.0)
    above = _above(law, ranks, points)
    return float(low) + float(np.sum(0.5 * width[:, None] * _WEIGHTS * above))


def _above(law: Slowdown, ranks: int, factor: Floats) -> Floats:
    """1 - F^n, exact where F is close to 1."""
    with np.errstate(divide="ignore"):
        return np.asarray(-np.expm1(ranks * np.log1p(-np.minimum(law.exceeded(factor), 1.0))))


def _counted(ranks: int) -> int:
    if ranks < 1:
        raise InputError(f"ranks {ranks}; allowed: a whole number from 1 on")
    return ranks
