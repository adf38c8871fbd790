"""Which points nothing beats: non-dominated rows and ranks of a table of costs, of which less is better.

Row a dominates row b if it is nowhere larger and somewhere smaller. So equal rows do not dominate each other: all of
them are on the front, or none. A row with NaN is unknown: it is never on the front and dominates nothing; infinity is
a number like others.

Two columns are sorted once and swept; three are swept in lexicographic order over a Fenwick tree of prefix minima,
O(n log n) (Kung, Luccio and Preparata, On finding the maxima of a set of vectors, Journal of the ACM 22(4), 1975;
Fenwick, A new data structure for cumulative frequency tables, Software: Practice and Experience 24(3), 1994); more
are compared with the front so far. Before that, rows that a small sample already dominates are dropped.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

UNKNOWN: Final = -1
"""Rank of a row with NaN."""
_SAMPLE: Final = 2_000
_JUDGES: Final = 64
"""Most rows of the sample's front that every other row is compared with."""
_FEW: Final = 20_000
"""Up to so many rows a sample saves nothing."""


def non_dominated(costs: npt.ArrayLike) -> Bools:
    """Which rows of ``costs`` [n, d] no other row dominates, shape [n].

    Raises:
        ValueError: ``costs`` has not two dimensions, or no column.
    """
    table = _table(costs)
    mask = np.zeros(len(table), dtype=np.bool_)
    rows = np.flatnonzero(~np.isnan(table).any(axis=1))
    known = table if len(rows) == len(table) else table[rows]
    if len(known) > _FEW:
        left = _survivors(known)
        rows, known = rows[left], known[left]
    mask[rows[_front(known)]] = True
    return mask


def ranks(costs: npt.ArrayLike, most: int | None = None) -> Ints:
    """The front that each row of ``costs`` [n, d] is on, shape [n]: 0 for those that nothing dominates, 1 for those
    that only rows of rank 0 dominate, and so on; ``UNKNOWN`` for rows with NaN.

    Args:
        most: all rows beyond this rank get it; None: ranks are told to the last. From three columns on the work grows
            with the number of ranks.

    Raises:
        ValueError: as ``non_dominated``.
    """
    table = _table(costs)
    found = np.full(len(table), UNKNOWN, dtype=np.int64)
    left = np.flatnonzero(~np.isnan(table).any(axis=1))
    if table.shape[1] <= 2:
        pairs = np.stack([table[left, 0], table[left, -1]], axis=1)
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        found[left[order]] = _chain_lengths(pairs[order], _places(pairs[order, 1]))
        return found if most is None else np.minimum(found, most)
    rank = 0
    while len(left):
        best = np.ones(len(left), dtype=np.bool_) if rank == most else non_dominated(table[left])
        found[left[best]] = rank
        left, rank = left[~best], rank + 1
    return found


def _table(costs: npt.ArrayLike) -> Floats:
    table = np.ascontiguousarray(costs, dtype=np.float64)
    if table.ndim != 2 or not table.shape[1]:
        raise ValueError(f"costs must have shape [n, d] with d at least 1, not {table.shape}")
    return table


def _survivors(table: Floats) -> Ints:
    """Numbers of the rows that no row of a small front dominates, the front of a sample spread over the table."""
    sample = table[:: max(1, len(table) // _SAMPLE)]
    front = np.unique(sample[_front(sample)], axis=0)
    judges = front[:: -(-len(front) // _JUDGES)]
    trial = _undominated(table[: _FEW // 2], judges)
    if trial.mean() > 0.5:
        return np.arange(len(table))
    return np.flatnonzero(_undominated(table, judges))


def _front(table: Floats) -> Bools:
    """``non_dominated`` of rows without NaN."""
    if table.shape[1] == 1:
        return np.asarray(table[:, 0] == table[:, 0].min(initial=np.inf))
    mask = np.zeros(len(table), dtype=np.bool_)
    if table.shape[1] == 2:
        order = np.argsort(table[:, 0])
        mask[order] = _front_of_two(table[order])
        return mask
    order = np.lexsort(table.T[::-1])
    ordered = table[order]
    if table.shape[1] == 3:
        mask[order] = _front_of_three(ordered, _places(ordered[:, 1]))
    else:
        mask[order] = _front_of_many(ordered)
    return mask


def _places(values: Floats) -> Ints:
    """The place of each value among the different ones, from 1 on."""
    return np.unique(values, return_inverse=True)[1] + 1


@njit(cache=True)
def _undominated(table: Floats, judges: Floats) -> Any:
    """Whether no row of ``judges`` [j, d] dominates a row of ``table`` [n, d]; the judge that did comes first next."""
    n, d = table.shape
    kept = np.ones(n, np.bool_)
    order = np.arange(len(judges))
    for i in range(n):
        for place in range(len(order)):
            judge = order[place]
            smaller = False
            dominates = True
            for j in range(d):
                if judges[judge, j] > table[i, j]:
                    dominates = False
                    break
                smaller |= judges[judge, j] < table[i, j]
            if dominates and smaller:
                kept[i] = False
                if place:
                    order[place] = order[place - 1]
                    order[place - 1] = judge
                break
    return kept


@njit(cache=True)
def _front_of_two(table: Floats) -> Any:
    """The front of rows sorted by their first column: of each group that is equal there, those with the least second
    value, if it is less than all before."""
    n = len(table)
    mask = np.zeros(n, np.bool_)
    least, seen = np.inf, False
    start = 0
    while start < n:
        stop, lowest = start, table[start, 1]
        while stop < n and table[stop, 0] == table[start, 0]:
            lowest = min(lowest, table[stop, 1])
            stop += 1
        if lowest < least or not seen:
            for i in range(start, stop):
                mask[i] = table[i, 1] == lowest
            least, seen = lowest, True
        start = stop
    return mask


@njit(cache=True)
def _front_of_three(table: Floats, places: Ints) -> Any:
    """The front of rows in lexicographic order; ``places`` are those of the second column. What dominates a row stands
    before it with no larger place and no larger third value."""
    n = len(table)
    mask = np.zeros(n, np.bool_)
    size = places.max() if n else 0
    tree = np.full(size + 1, np.inf)
    filled = np.zeros(size + 1, np.bool_)
    start = 0
    while start < n:
        stop = start + 1
        while stop < n and (table[stop] == table[start]).all():
            stop += 1
        beaten = False
        place = places[start]
        while place > 0:
            beaten |= filled[place] and tree[place] <= table[start, 2]
            place -= place & -place
        if not beaten:
            mask[start:stop] = True
            place = places[start]
            while place <= size:
                tree[place] = min(tree[place], table[start, 2])
                filled[place] = True
                place += place & -place
        start = stop
    return mask


@njit(cache=True)
def _front_of_many(table: Floats) -> Any:
    """The front of rows in lexicographic order: what dominates a row stands before it."""
    n, d = table.shape
    mask = np.zeros(n, np.bool_)
    front = np.empty(n, np.int64)
    count = 0
    for i in range(n):
        beaten = False
        for place in range(count):
            smaller = False
            dominates = True
            for j in range(d):
                if table[front[place], j] > table[i, j]:
                    dominates = False
                    break
                smaller |= table[front[place], j] < table[i, j]
            if dominates and smaller:
                beaten = True
                break
        if not beaten:
            mask[i] = True
            front[count] = i
            count += 1
    return mask


@njit(cache=True)
def _chain_lengths(pairs: Floats, places: Ints) -> Any:
    """Ranks of pairs in lexicographic order: one more than the largest rank of what stands before with no larger place
    of the second value (``places``); equal rows share theirs."""
    n = len(pairs)
    found = np.zeros(n, np.int64)
    size = places.max() if n else 0
    tree = np.zeros(size + 1, np.int64)
    start = 0
    while start < n:
        stop = start + 1
        while stop < n and pairs[stop, 0] == pairs[start, 0] and pairs[stop, 1] == pairs[start, 1]:
            stop += 1
        rank = 0
        place = places[start]
        while place > 0:
            rank = max(rank, tree[place])
            place -= place & -place
        found[start:stop] = rank
        place = places[start]
        while place <= size:
            tree[place] = max(tree[place], rank + 1)
            place += place & -place
        start = stop
    return found
