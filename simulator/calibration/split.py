"""Honest splits: whole groups of rows are left out of a fit, never single rows.

Groups are ordered by the digest of their key, which has nothing to do with what was measured, and dealt out to folds in
turn. The first fold is held out for good: no fit sees it, and shipped figures are of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from hardware_specs.facts import group_digest

Ints = npt.NDArray[np.int64]

FOLDS: Final = 4
HELD_OUT: Final = 0


def folds_of(keys: Sequence[str], folds: int = FOLDS) -> Ints:
    """The fold of each row, by the key of its group; shape [rows].

    With fewer groups than ``folds`` each group is a fold of its own; a single group is fold 1, so that nothing is held
    out.
    """
    ordered = sorted(set(keys), key=group_digest)
    if len(ordered) < 2:
        return np.ones(len(keys), np.int64)
    place = {key: number % min(folds, len(ordered)) for number, key in enumerate(ordered)}
    return np.array([place[key] for key in keys], np.int64)


def spread_over(values: npt.NDArray[np.float64], most: int) -> Ints:
    """At most ``most`` indices, evenly spread over the sorted ``values``; sorted."""
    if len(values) <= most:
        return np.arange(len(values))
    order = np.argsort(values, kind="stable")
    return np.sort(order[np.linspace(0, len(values) - 1, most).round().astype(np.int64)])
