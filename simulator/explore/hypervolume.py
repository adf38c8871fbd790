"""Hypervolume: how much of the space of costs a set of points dominates, up to a reference point.

The measure of all cost vectors that are no better than some point and better than the reference in every column
(Zitzler and Thiele, Multiobjective Evolutionary Algorithms: A Comparative Case Study and the Strength Pareto Approach,
IEEE Transactions on Evolutionary Computation 3(4), 1999). It grows with every new non-dominated point, and the true
front has the largest. Exact: one and two columns by a sweep; three by sweeping the third over the staircase of the
first two (as Fonseca, Paquete and Lopez-Ibanez, An improved dimension-sweep algorithm for the hypervolume indicator,
CEC 2006, with an array instead of a tree); more by the library moocore.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from hardware_specs.errors import InputError
from simulator.explore.pareto import non_dominated

Floats = npt.NDArray[np.float64]

BEYOND: Final = 0.1
"""How far beyond a front its reference point lies, as a share of the front's range (Ishibuchi et al., How to Specify a
Reference Point in Hypervolume Calculation, Evolutionary Computation 26(3), 2018)."""


def hypervolume(costs: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """The hypervolume of ``costs`` [n, d] up to ``reference`` [d], in the product of the columns' units.

    Rows that are not better than the reference in every column add nothing, nor do rows with NaN.

    Raises:
        ValueError: shapes that do not go together; a reference that is not finite.
        InputError: more than three columns without moocore.
    """
    limit = np.ascontiguousarray(reference, dtype=np.float64)
    table = np.ascontiguousarray(costs, dtype=np.float64)
    if limit.ndim != 1 or not len(limit) or table.ndim != 2 or table.shape[1] != len(limit):
        raise ValueError(f"costs [n, d] and a reference [d] do not go together: {table.shape} and {limit.shape}")
    if not np.isfinite(limit).all():
        raise ValueError(f"the reference must be finite: {limit.tolist()}")
    inside = table[(table < limit).all(axis=1)]
    front = np.unique(inside[non_dominated(inside)], axis=0)
    if not len(front):
        return 0.0
    if len(limit) == 1:
        return float(limit[0] - front[0, 0])
    if len(limit) == 2:
        return float(_of_two(front, limit))
    if len(limit) == 3:
        return float(_of_three(front[np.argsort(front[:, 2], kind="stable")], limit))
    return _of_many(front, limit)


def reference_of(costs: npt.ArrayLike, beyond: float = BEYOND) -> Floats:
    """The reference point of a set of costs [n, d]: the worst of its front in each column (the nadir) and ``beyond``
    times the front's range in that column further, shape [d]. A column without a range takes 1 for it.

    Raises:
        ValueError: no row without NaN.
    """
    table = np.ascontiguousarray(costs, dtype=np.float64)
    front = table[non_dominated(table)]
    if not len(front):
        raise ValueError("no row has all its costs: there is no reference point")
    worst = front.max(axis=0)
    reach = worst - front.min(axis=0)
    return np.asarray(worst + beyond * np.where(reach > 0.0, reach, 1.0))


def improvements(costs: npt.ArrayLike, candidates: npt.ArrayLike, reference: npt.ArrayLike) -> Floats:
    """By how much each of ``candidates`` [m, d] alone would raise the hypervolume of ``costs`` [n, d], shape [m].

    The volume that a candidate dominates, less what of it is dominated already: that is the hypervolume of all costs
    moved up to where the candidate is better.

    Raises:
        as ``hypervolume``.
    """
    limit = np.ascontiguousarray(reference, dtype=np.float64)
    table = np.ascontiguousarray(costs, dtype=np.float64).reshape(-1, len(limit))
    asked = np.ascontiguousarray(candidates, dtype=np.float64).reshape(-1, len(limit))
    inside = table[(table < limit).all(axis=1)]
    front = np.unique(inside[non_dominated(inside)], axis=0)
    found = np.zeros(len(asked))
    useful = np.flatnonzero((asked < limit).all(axis=1))
    useful = useful[_unbeaten(asked[useful], front)]
    if len(limit) == 2:
        found[useful] = _gains_of_two(front, asked[useful], limit)
    elif len(limit) == 3:
        found[useful] = _gains_of_three(front[np.argsort(front[:, 2], kind="stable")], asked[useful], limit)
    else:
        for row in useful.tolist():
            left = hypervolume(np.maximum(front, asked[row]), limit)
            found[row] = float(np.prod(limit - asked[row])) - left
    return np.asarray(np.maximum(found, 0.0))


def _of_many(front: Floats, limit: Floats) -> float:
    try:
        moocore = import_module("moocore")
    except ImportError:
        raise InputError(
            f"the hypervolume of {len(limit)} objectives needs moocore (pip install 'silicost[search]')"
        ) from None
    return float(moocore.hypervolume(front, ref=limit))


@njit(cache=True)
def _of_two(front: Floats, limit: Floats) -> Any:
    """Of a front sorted by its first column."""
    volume, above = 0.0, limit[1]
    for i in range(len(front)):
        volume += (limit[0] - front[i, 0]) * (above - front[i, 1])
        above = front[i, 1]
    return volume


@njit(cache=True)
def _of_three(front: Floats, limit: Floats) -> Any:
    """Of a front sorted by its third column: the area that the points up to a height dominate, times the way to the
    next one. The staircase is kept sorted by its first column, the second falling."""
    n = len(front)
    x, y = np.empty(n), np.empty(n)
    count = 0
    volume, area = 0.0, 0.0
    for i in range(n):
        if i:
            volume += area * (front[i, 2] - front[i - 1, 2])
        a, b = front[i, 0], front[i, 1]
        first = np.searchsorted(x[:count], a)
        roof = y[first - 1] if first > 0 else limit[1]
        if roof <= b or (first < count and x[first] == a and y[first] <= b):
            continue
        last, left = first, a
        while last < count and y[last] >= b:
            area += (x[last] - left) * (roof - b)
            left, roof = x[last], y[last]
            last += 1
        end = x[last] if last < count else limit[0]
        area += (end - left) * (roof - b)
        kept = count - last
        shift = first + 1 - last
        if shift > 0:
            for j in range(count - 1, last - 1, -1):
                x[j + shift], y[j + shift] = x[j], y[j]
        elif shift < 0:
            for j in range(last, count):
                x[j + shift], y[j + shift] = x[j], y[j]
        x[first], y[first] = a, b
        count = first + 1 + kept
    return volume + area * (limit[2] - front[n - 1, 2])


@njit(cache=True)
def _unbeaten(asked: Floats, front: Floats) -> Any:
    """Which rows of ``asked`` have no row of the front that is nowhere larger."""
    n, d = asked.shape
    kept = np.ones(n, np.bool_)
    for i in range(n):
        for k in range(len(front)):
            beaten = True
            for j in range(d):
                if front[k, j] > asked[i, j]:
                    beaten = False
                    break
            if beaten:
                kept[i] = False
                break
    return kept


@njit(cache=True)
def _gains_of_two(front: Floats, asked: Floats, limit: Floats) -> Any:
    """``improvements`` over a front sorted by its first column; moved up, it stays sorted."""
    found = np.empty(len(asked))
    moved = np.empty_like(front)
    for i in range(len(asked)):
        for k in range(len(front)):
            moved[k, 0], moved[k, 1] = max(front[k, 0], asked[i, 0]), max(front[k, 1], asked[i, 1])
        found[i] = (limit[0] - asked[i, 0]) * (limit[1] - asked[i, 1]) - _of_two(moved, limit)
    return found


@njit(cache=True)
def _gains_of_three(front: Floats, asked: Floats, limit: Floats) -> Any:
    """``improvements`` over a front sorted by its third column; moved up, it stays sorted."""
    found = np.empty(len(asked))
    moved = np.empty_like(front)
    for i in range(len(asked)):
        whole = 1.0
        for j in range(3):
            whole *= limit[j] - asked[i, j]
            for k in range(len(front)):
                moved[k, j] = max(front[k, j], asked[i, j])
        found[i] = whole - _of_three(moved, limit) if len(front) else whole
    return found
