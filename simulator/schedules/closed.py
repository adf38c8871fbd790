"""Closed forms of whole arrays of plans: time of a step and memory of a rank, without a program.

For equal stages; sends run beside computation. Exact for every number of micro-batches that a schedule allows and sends
of any length (GPipe), up to the least of F, I and W of a chunk (1F1B, ZB-H1, interleaved 1F1B) or a quarter of it
(DualPipe, ZB-V). Every form is the length of paths that are there: no program takes less.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware_specs.errors import InputError
from simulator.kernels.jit import law_kernel, law_part
from simulator.schedules.registry import schedules

Floats = NDArray[np.float64]


@cache
def tables() -> tuple[Floats, Floats]:
    """Closed forms of all schedules, by code: paths and peaks, shapes [schedules, most, ...]; nan: there are none."""
    return _stacked([s.paths for s in schedules().values()]), _stacked([s.peaks for s in schedules().values()])


def _stacked(forms: Any) -> Floats:
    """Lists of forms as one array, the last one of each repeated."""
    most = max(len(own) for own in forms)
    unknown = np.full_like(next(own[0] for own in forms if len(own)), np.nan)
    rows = [[*own, *[own[-1] if len(own) else unknown] * (most - len(own))] for own in forms]
    return np.array(rows, np.float64)


@law_part
def bubble_of(
    paths: Any, p: float, m: float, v: float, f: float, b: float, w: float, send: float, pair: float
) -> float:
    """Time of a step beyond m (f + b + w) [s]: its longest path; 0 on one rank.

    Args:
        paths: those of the schedule, shape [paths, 5, terms of paths].
        f, b, w: F, I and W of one micro-batch on one rank [s].
        send, pair: a send; an F and a B that run together [s].
    """
    if p < 2.0:
        return 0.0
    rounds = (m - 1.0) * (p - 1.0) // p
    pair_rounds = ((p - 1.0) * m - p + 2.0) // p
    longest = -np.inf
    for k in range(paths.shape[0]):
        total = 0.0
        for row in range(5):
            c = paths[k, row]
            count = (
                c[0] + c[1] * p + c[2] * m + c[3] * min(m, p) + c[4] * rounds + c[5] * min(rounds, p - 1.0)
                + c[6] * pair_rounds + c[7] * p * v + (c[8] + c[9] * p) / v
            )  # fmt: skip
            total += count * (f if row == 0 else b if row == 1 else w if row == 2 else send if row == 3 else pair)
        longest = total if not total <= longest else longest
    return longest


@law_part
def peak_of(peaks: Any, p: float, m: float, v: float, r: float, kept: float) -> float:
    """Most that a rank keeps, in activations of one micro-batch on one rank: the least of some sums.

    Args:
        peaks: those of the schedule, shape [sums, terms of peaks].
        r: the rank.
        kept: share of the activations that W still needs.
    """
    least = np.inf
    for k in range(peaks.shape[0]):
        c = peaks[k]
        plain = c[0] + c[1] * p + c[2] * m + c[3] * r + (c[4] + c[5] * p + c[6] * r) / v
        total = plain + (c[7] * p + c[8] * m + c[9] * r) * kept
        least = total if not total >= least else least
    return least


@law_kernel
def totals(table: Any, plans: Any, times: Any, out: Any) -> None:
    """``closed_total_s`` of plans, into ``out`` [n].

    Args:
        table: paths of all schedules.
        plans: code, p, m, v, shape [4, n].
        times: F, I, W, send, share of a pair, shape [5, n].
    """
    for i in range(out.shape[0]):
        f, b, w = times[0, i], times[1, i], times[2, i]
        pair = max(times[4, i] * (f + b + w), f, b + w)
        m = plans[2, i]
        out[i] = m * (f + b + w) + bubble_of(
            table[int(plans[0, i])], plans[1, i], m, plans[3, i], f, b, w, times[3, i], pair
        )


@law_kernel
def peaks(table: Any, plans: Any, where: Any, out: Any) -> None:
    """``closed_peak`` of plans, into ``out`` [n]; ``where``: rank and share kept for W, shape [2, n]."""
    for i in range(out.shape[0]):
        p, m, v = plans[1, i], plans[2, i], plans[3, i]
        out[i] = peak_of(table[int(plans[0, i])], p, m, v, where[0, i], where[1, i])


def closed_total_s(
    code: Any, p: Any, m: Any, v: Any, f_s: Any, b_in_s: Any, w_s: Any, send_s: Any = 0.0, pair_share: Any = 1.0
) -> Floats:
    """Time of a step on equal stages [s]; arguments are numbers or arrays that broadcast.

    Args:
        code: schedule, ``registry.code_of``.
        p, m, v: ranks, micro-batches, chunks a rank.
        f_s, b_in_s, w_s: F, I and W of one micro-batch on one rank, all its chunks together [s].
        send_s: of an activation from one rank to another [s].
        pair_share: time of a joined F and B as a share of their sum.

    Returns:
        Seconds, in the shape that the arguments broadcast to; nan for a schedule without a closed form.
    """
    numbers, shape = _broadcast(code, p, m, v, f_s, b_in_s, w_s, send_s, pair_share)
    out = np.empty(numbers.shape[1])
    totals(tables()[0], numbers[:4], numbers[4:], out)
    return out.reshape(shape)


def closed_bubble_s(code: Any, p: Any, m: Any, v: Any, f_s: Any, b_in_s: Any, w_s: Any, send_s: Any = 0.0) -> Floats:
    """As ``closed_total_s``, less the work of a rank, m (F + I + W) [s]."""
    work = np.asarray(m, float) * (np.asarray(f_s, float) + b_in_s + w_s)
    return np.asarray(closed_total_s(code, p, m, v, f_s, b_in_s, w_s, send_s) - work)


def closed_peak(code: Any, p: Any, m: Any, v: Any, rank: Any, kept_for_w: Any = 1.0) -> Floats:
    """Most that a rank keeps, in activations of one micro-batch on one rank (all its chunks together).

    Args:
        rank: from 0 on.
        kept_for_w: share of the activations that W still needs, of schedules with I and W: the rest is free after I.

    Returns:
        In the shape that the arguments broadcast to; nan for a schedule without a closed form.
    """
    numbers, shape = _broadcast(code, p, m, v, rank, kept_for_w)
    out = np.empty(numbers.shape[1])
    peaks(tables()[1], numbers[:4], numbers[4:], out)
    return out.reshape(shape)


def unequal_total_s(
    code: Any, p: Any, m: Any, v: Any, slowest: Any, summed: Any, send_s: Any = 0.0, pair_share: Any = 1.0
) -> Floats:
    """Estimate of a step on unequal stages [s], the larger of two.

    The work of the slowest rank, the bubble of the other ones' mean and a send each way between all stages: neighbours
    of the slowest rank have time to send. A pipeline of equal ranks, the mean of these: neighbours wait for each other.

    Args:
        slowest: F, I and W of one micro-batch on the rank that has most to do, shape [3, ...] [s].
        summed: of all ranks, same shape [s].

    Returns:
        Seconds, in the shape that the arguments broadcast to; exact for GPipe without sends whose slowest rank is so
        forward and backward. ``docs/schedules.md`` has the error of the others.
    """
    most, total = np.asarray(slowest, float), np.asarray(summed, float)
    ranks = np.asarray(p, float)
    (f, b, w), (other_f, other_b, other_w) = most, (total - most) / np.maximum(ranks - 1.0, 1.0)
    pairs = closed_total_s(code, p, m, v, f, b, w, 0.0, pair_share) - closed_total_s(code, p, m, v, f, b, w)
    fill = closed_bubble_s(code, p, m, v, other_f, other_b, other_w) + 2.0 * (ranks * v - 1.0) * send_s
    alone = np.asarray(m, float) * (f + b + w) + pairs + np.where(ranks > 1.0, fill, 0.0)
    mean_f, mean_b, mean_w = total / ranks
    equal = closed_total_s(code, p, m, v, mean_f, mean_b, mean_w, send_s, pair_share)
    return np.asarray(np.maximum(alone, equal))


def least_total_s(m: Any, slowest: Any, summed: Any, pair_share: Any = 1.0) -> Floats:
    """What no schedule undercuts on unequal stages [s]: the busiest rank; one micro-batch, forward and back.

    Args:
        slowest, summed: as in ``unequal_total_s``.
    """
    most, total = np.asarray(slowest, float), np.asarray(summed, float)
    busiest = np.asarray(m, float) * np.maximum(most.sum(axis=0) * pair_share, np.maximum(most[0], most[1] + most[2]))
    return np.asarray(np.maximum(busiest, total[0] + total[1]))


def _broadcast(*values: Any) -> tuple[Floats, tuple[int, ...]]:
    """Values as one array [values, n], and their common shape."""
    try:
        arrays = np.broadcast_arrays(*(np.asarray(value, np.float64) for value in values))
    except (TypeError, ValueError) as error:
        raise InputError(f"closed form: {error}; allowed: numbers and arrays that broadcast") from None
    codes = arrays[0]
    if codes.size and not ((codes >= 0) & (codes < len(schedules())) & (codes == np.floor(codes))).all():
        raise InputError(f"closed form: unknown code of a schedule; allowed: 0 to {len(schedules()) - 1}")
    return np.stack([array.reshape(-1) for array in arrays]), codes.shape
