"""Grids on which prices are tabulated: dense where prices bend or jump, sparse where they grow evenly.

Prices jump where one more token begins a tile, a lane or a wave, at places that each law has for itself. Intervals of a
grid are therefore cut in two as long as the price inside them is not what lies between those of their ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Price = Callable[[Floats, Floats], Floats]
"""Prices of pairs, [n] and [n] to [values, n]: seconds and joules, which a grid is judged by, and any others."""

_PER_DOUBLING: Final = 4
"""Grid points of a size from one power of two to the next, before any are added."""
TOLERANCE: Final = 0.005
"""Share of an iteration's time and energy by which the price inside an interval may be off."""
MOST: Final = 192
"""Points of an axis at most; the worst intervals are cut first."""
_CUT: Final = 0.382
"""Where intervals are tried and cut: the golden section, at which steps of equal width do not agree by chance."""
_ROUNDS: Final = 20
"""How often an interval is cut at most: from 16,384 tokens down to one."""


def grid(most: int) -> Floats:
    """Whole numbers from 1 to ``most``, ``_PER_DOUBLING`` between powers of two; at least two."""
    steps = np.arange(0.0, np.log2(max(most, 2)) * _PER_DOUBLING + 1.0)
    found = np.unique(np.minimum(np.round(2.0 ** (steps / _PER_DOUBLING)), most))
    return np.unique(np.concatenate([found, [1.0, 2.0, float(max(most, 2))]]))


def tabulated(one_at: Floats, other_at: Floats, price: Price, rest: Callable[[Floats], Floats]) -> tuple[
    Floats, Floats, Floats
]:  # fmt: skip
    """Prices on a grid of two sizes that has been refined along both.

    Args:
        one_at, other_at: where to begin.
        price: of pairs of sizes.
        rest: seconds and joules of an iteration of each first size besides, [2, n]; errors are judged by their sum.

    Returns:
        Both axes, and the prices, shape [values, len(one), len(other)].
    """
    values = _outer(price, one_at, other_at)
    one_at, values = _refined(one_at, values, lambda at: _outer(price, at, other_at), lambda at: rest(at)[:, :, None])
    besides = rest(one_at)[:, None, :]
    other_at, flipped = _refined(
        other_at, values.swapaxes(1, 2), lambda at: _outer(price, one_at, at).swapaxes(1, 2), lambda at: besides
    )
    return one_at, other_at, np.ascontiguousarray(flipped.swapaxes(1, 2))


def _outer(price: Price, one_at: Floats, other_at: Floats) -> Floats:
    one, other = (values.ravel() for values in np.meshgrid(one_at, other_at, indexing="ij"))
    return price(one, other).reshape(-1, len(one_at), len(other_at))


def _refined(
    at: Floats, values: Floats, price: Callable[[Floats], Floats], rest: Callable[[Floats], Floats]
) -> tuple[Floats, Floats]:  # fmt: skip
    """An axis and its prices, shape [values, len(at), others], with points added where they are missed."""
    open_ = np.ones(len(at) - 1, np.bool_)
    for _ in range(_ROUNDS):
        open_ &= np.diff(at) > 1.0
        left = np.flatnonzero(open_)
        if not len(left):
            break
        inside = np.maximum(np.floor(at[left] + _CUT * np.diff(at)[left]), at[left] + 1.0)
        weight = ((inside - at[left]) / (at[left + 1] - at[left]))[:, None]
        exact = price(inside)
        between = values[:2, left] * (1.0 - weight) + values[:2, left + 1] * weight
        error = (np.abs(between - exact[:2]) / (exact[:2] + rest(inside))).max(axis=(0, 2))
        worst = np.argsort(-error, kind="stable")[: max(0, MOST - len(at))]
        missed = (error > TOLERANCE) & np.isin(np.arange(len(error)), worst)
        open_[left[~missed]] = False
        added = left[missed] + 1
        at = np.insert(at, added, inside[missed])
        values = np.insert(values, added, exact[:, missed], axis=1)
        open_ = np.insert(open_, added, True)
    return at, values
