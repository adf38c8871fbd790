"""Figures that many plans share, computed once for each combination of the columns that they depend on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_DENSE = 4_000_000
"""Combinations up to which each has a place in a table of all."""


def looked_up(columns: Sequence[npt.NDArray[np.integer]], figures: Callable[[int], Sequence[float]]) -> Floats:
    """Figures of each row, [n, k].

    Args:
        columns: what they depend on, whole numbers of shape [n] each.
        figures: of a row; called for one row of each combination.
    """
    key, size = np.zeros(len(columns[0]), np.int64), 1
    for column in columns:
        values, place = ordinals(column)
        key *= values
        key += place
        size *= values
    first, place = _places(key, size)
    found: Floats = np.array([figures(int(row)) for row in first], np.float64)[place]
    return found


def ordinals(column: npt.NDArray[np.integer]) -> tuple[int, Ints]:
    """How many different values there are, and the place of each row's among them."""
    if not len(column):
        return 1, np.zeros(0, np.int64)
    least = int(column.min())
    there = np.zeros(int(column.max()) - least + 1, np.int64)
    there[column - least] = 1
    place = np.cumsum(there) - 1
    return int(place[-1]) + 1, place[column - least]


def _places(key: Ints, size: int) -> tuple[Ints, Ints]:
    """First row of each key, and the place of each row's key among these."""
    if size > max(MOST_DENSE, len(key)):
        _, first, place = np.unique(key, return_index=True, return_inverse=True)
        return first.astype(np.int64), place.astype(np.int64)
    rows = np.full(size, -1, np.int64)
    rows[key[::-1]] = np.arange(len(key) - 1, -1, -1)
    known = np.flatnonzero(rows >= 0)
    places = np.empty(size, np.int64)
    places[known] = np.arange(len(known))
    return rows[known], places[key]
