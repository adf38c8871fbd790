"""What the axes of a study do to its metrics: spreads at each level, ratios of like points, shares of the variance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from reports.study import Heat, Ratio, Shares, Spread

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_QUANTILES: Final = (0.1, 0.5, 0.9)
_NO_VARIANCE: Final = 1e-18
"""Variance of a logarithm below which a metric is one number."""
_NO_SHARE: Final = 1e-9
"""Shares below it are rounding."""


def spreads_of(codes: Ints, levels: int, values: Floats, feasible: Bools) -> tuple[Spread, ...]:
    """10, 50 and 90% of ``values`` [n] at each of ``levels``, linearly interpolated; feasible and known ones alone."""
    asked = np.bincount(codes, minlength=levels)
    runs = np.bincount(codes[feasible], minlength=levels)
    known = feasible & np.isfinite(values)
    own, numbers = codes[known], values[known]
    order = np.argsort(numbers, kind="stable")
    order = order[np.argsort(own[order], kind="stable")]
    ordered = numbers[order]
    counts = np.bincount(own, minlength=levels)
    starts = np.cumsum(counts) - counts
    found = np.full((3, levels), np.nan)
    some = counts > 0
    for row, part in enumerate(_QUANTILES):
        at = starts[some] + part * (counts[some] - 1)
        low = np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, starts[some] + counts[some] - 1)
        found[row, some] = ordered[low] + (at - low) * (ordered[high] - ordered[low])
    columns = [column.tolist() for column in (asked, runs, *found)]
    return tuple(Spread(*each) for each in zip(*columns, strict=True))


def shares_of(codes: Sequence[Ints], values: Floats, feasible: Bools, sampled: bool) -> Shares:
    """Share of the variance of log ``values`` [n] between the levels of each factor.

    eta squared, the variance between levels over the whole; of samples, in which levels differ by chance too, epsilon
    squared, 1 - (1 - eta^2) (n - 1) / (n - levels) (Kelley, PNAS 21(9), 1935, doi:10.1073/pnas.21.9.554).

    Args:
        codes: the level of each point on each factor, shape [n] each.
    """
    with np.errstate(invalid="ignore"):
        known = feasible & np.isfinite(values) & (values > 0.0)
    logs = np.log(values[known])
    count = len(logs)
    if count < 2 or float(np.var(logs)) < _NO_VARIANCE:
        return Shares(count, tuple(math.nan for _ in codes))
    centred = logs - logs.mean()
    whole = float(centred @ centred)
    return Shares(count, tuple(_share(each[known], centred, whole, sampled) for each in codes))


def _share(codes: Ints, centred: Floats, whole: float, sampled: bool) -> float:
    counts = np.bincount(codes)
    sums = np.bincount(codes, weights=centred)
    some = counts > 0
    part = float((sums[some] ** 2 / counts[some]).sum()) / whole
    free = len(codes) - int(some.sum())
    if sampled and free > 0:
        part = 1.0 - (1.0 - part) * (len(codes) - 1) / free
    return 0.0 if part < _NO_SHARE else min(part, 1.0)


def ratios_of(
    first: Ints, levels: int, others: Sequence[Ints], metrics: Sequence[Floats], feasible: Bools
) -> list[tuple[Ratio, ...]]:
    """Each metric at each level of the first factor over that at its first level, for points that are equal in all
    other factors and feasible at both; one tuple of ratios by metric for each level.

    Args:
        first: level of each point on the first factor, shape [n].
        others: exact values of each point on all other axes as numbers, shape [n] each.
    """
    groups = groups_of(others, len(first))
    tables = []
    for values in metrics:
        table = np.full((int(groups.max(initial=-1)) + 1, levels), np.nan)
        table[groups[feasible], first[feasible]] = values[feasible]
        tables.append(table)
    return [tuple(_ratio(table, level) for table in tables) for level in range(levels)]


def _ratio(table: Floats, level: int) -> Ratio:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = table[:, level] / table[:, 0]
    known = ratios[np.isfinite(ratios)]
    if not len(known):
        return Ratio(0, math.nan, math.nan, math.nan)
    low, median, high = np.quantile(known, _QUANTILES).tolist()
    return Ratio(len(known), low, median, high)


def groups_of(codes: Sequence[Ints], count: int) -> Ints:
    """Equal numbers for points that are equal in all of ``codes``, shape [n], from 0 without gaps."""
    key = np.zeros(count, np.int64)
    for each in codes:
        key = key * (int(each.max(initial=0)) + 1) + each
        key = np.unique(key, return_inverse=True)[1]
    return key


def heat_of(
    places: tuple[int, int], codes: Sequence[Ints], levels: Sequence[int], values: Floats, feasible: Bools
) -> Heat:
    """A metric over two factors: ``places`` of rows and columns."""
    rows, columns = places
    combined = codes[rows] * levels[columns] + codes[columns]
    spreads = spreads_of(combined, levels[rows] * levels[columns], values, feasible)
    width = levels[columns]
    return Heat(rows, columns, tuple(spreads[k : k + width] for k in range(0, len(spreads), width)))
