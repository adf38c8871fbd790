"""Kernels of STREAM and of multiply-adds in registers, in numba: each thread works on its own part of the arrays.

One parallel region holds all ``passes`` over the arrays, so that threads are forked and joined once per call. Inner
loops are functions of their own over slices from 0: LLVM turns those into vector code, which it does not with bounds
that vary. Sums may be reordered, which gives them several accumulators; multiply and add may be contracted to one.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit, prange

import simulator.kernels  # noqa: F401  (names the folder of compiled kernels)

COPY, SCALE, ADD, TRIAD, READ, FILL = range(6)
CHAINS: Final = 4
"""Independent chains of multiply-adds, which hide their latency."""
DEPTH: Final = 32
"""Multiply-adds of a chain between a load and a store."""


@njit(cache=True)
def _fill(a: Any, value: Any) -> None:
    for i in range(a.size):
        a[i] = value


@njit(cache=True)
def _copy(a: Any, b: Any, passes: int) -> None:
    for _ in range(passes):
        for i in range(a.size):
            a[i] = b[i]


@njit(cache=True)
def _scale(a: Any, b: Any, factor: Any, passes: int) -> None:
    for _ in range(passes):
        for i in range(a.size):
            a[i] = factor * b[i]


@njit(cache=True)
def _add(a: Any, b: Any, c: Any, passes: int) -> None:
    for _ in range(passes):
        for i in range(a.size):
            a[i] = b[i] + c[i]


@njit(cache=True)
def _triad(a: Any, b: Any, c: Any, factor: Any, passes: int) -> None:
    for _ in range(passes):
        for i in range(a.size):
            a[i] = b[i] + factor * c[i]


@njit(cache=True, fastmath={"reassoc", "nsz"})
def _sum(a: Any, passes: int) -> Any:
    total = np.float32(0.0)
    for _ in range(passes):
        for i in range(a.size):
            total += a[i]
    return total


@njit(cache=True, parallel=True)
def stream(kind: int, a: Any, b: Any, c: Any, factor: Any, passes: int, sums: Any) -> None:
    """One of the streams on ``sums.size`` threads.

    Args:
        kind: ``COPY`` a = b, ``SCALE`` a = factor b, ``ADD`` a = b + c, ``TRIAD`` a = b + factor c, ``READ`` sums of
            a, ``FILL`` a = factor.
        a, b, c: fp32 of shape [n]; those that a kind does not name may be empty.
        factor: fp32 too: a wider one would have the arrays converted.
        passes: times that the arrays are walked through.
        sums: fp32 of shape [threads]; written by ``READ`` alone: ``passes`` times the sum of a thread's part.
    """
    threads, n = sums.size, a.size
    for t in prange(threads):
        low, high = n * t // threads, n * (t + 1) // threads
        if kind == COPY:
            _copy(a[low:high], b[low:high], passes)
        elif kind == SCALE:
            _scale(a[low:high], b[low:high], factor, passes)
        elif kind == ADD:
            _add(a[low:high], b[low:high], c[low:high], passes)
        elif kind == TRIAD:
            _triad(a[low:high], b[low:high], c[low:high], factor, passes)
        elif kind == READ:
            sums[t] = _sum(a[low:high], passes)
        else:
            _fill(a[low:high], factor)


@njit(cache=True, fastmath={"contract"})
def _multiply_add(x: Any, y: Any, z: Any, w: Any, factor: Any, term: Any, passes: int) -> None:
    for _ in range(passes):
        for i in range(x.size):
            x_i, y_i, z_i, w_i = x[i], y[i], z[i], w[i]
            for _ in range(DEPTH):
                x_i = x_i * factor + term
                y_i = y_i * factor + term
                z_i = z_i * factor + term
                w_i = w_i * factor + term
            x[i], y[i], z[i], w[i] = x_i, y_i, z_i, w_i


@njit(cache=True, parallel=True)
def multiply_add(x: Any, factor: Any, term: Any, passes: int) -> None:
    """``DEPTH`` times x = x factor + term for each number of x, shape [threads, CHAINS, n]; all that ``passes`` times.

    2 CHAINS n DEPTH passes FLOPs per thread, of which one in ``DEPTH`` loads and stores.
    """
    for t in prange(x.shape[0]):
        _multiply_add(x[t, 0], x[t, 1], x[t, 2], x[t, 3], factor, term, passes)
