"""Closed forms as data: sums whose coefficients depend on the numbers of ranks, micro-batches and chunks alone.

The time of a program is the length of its longest path; a path is so many forwards, backwards and sends, whatever they
last. A schedule lists the paths that can be the longest one, counted in the vectors below: p ranks, m micro-batches,
v chunks a rank, rank r.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ONE, RANKS, MICROS, FILLED, ROUNDS, FIRST_ROUNDS, PAIR_ROUNDS, STAGES, PER_CHUNK, RANKS_PER_CHUNK = np.eye(10)
"""Of paths: 1, p, m, min(m, p); n = floor((m - 1) (p - 1) / p), how often two neighbours wait for each other,
min(n, p - 1), the same of pairs, floor(((p - 1) m - p + 2) / p); p v, 1 / v, p / v."""

(PEAK_ONE, PEAK_RANKS, PEAK_MICROS, PEAK_RANK, PEAK_PER_CHUNK, PEAK_RANKS_PER_CHUNK, PEAK_RANK_PER_CHUNK, KEPT_RANKS,
 KEPT_MICROS, KEPT_RANK) = np.eye(10)  # fmt: skip
"""Of peaks: 1, p, m, r, 1 / v, p / v, r / v; p k, m k, r k, where k is the share of activations that W still needs."""


def path(f: Any = 0.0, b: Any = 0.0, w: Any = 0.0, send: Any = 0.0, pair: Any = 0.0) -> Floats:
    """A path less m (F + I + W): its F, I, W (of all chunks of a rank), sends and pairs; B counts as I and W.

    Returns:
        Coefficients, shape [5, terms of paths].
    """
    return np.array([row * np.ones(len(ONE)) for row in (f, b, w, send, pair)])
