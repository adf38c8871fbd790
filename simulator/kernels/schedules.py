"""Which steps static batches consist of, for whole arrays; scalar twins: ``steps.prefill``, ``steps.pipeline``.

Everything here is counting: no law and no hardware.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy")
def trapezoid(count: int, points: int, indices: Any, weights: Any) -> int:
    """Up to ``points`` of 0 .. count - 1 and how many each stands for (``steps.pipeline.trapezoid``), into two arrays.

    Returns:
        How many there are.
    """
    if count <= points:
        for k in range(count):
            indices[k] = k
            weights[k] = 1.0
        return count
    step = (count - 1) / (points - 1)
    for k in range(points):
        indices[k] = int(np.rint(k * step)) if k < points - 1 else count - 1
    for k in range(points):
        before = indices[k] - indices[k - 1] if k else 0
        after = indices[k + 1] - indices[k] if k < points - 1 else 0
        weights[k] = 0.5 * (before + after)
    weights[0] += 0.5
    weights[points - 1] += 0.5
    return points


@njit(cache=True, error_model="numpy")
def prefill_steps(replica: Any, isl: Any, chunk: Any, points: int, batch: Any, q_len: Any, kv_len: Any, repeats: Any,
                  owner: Any) -> int:  # fmt: skip
    """The prefill steps of each batch (``steps.prefill.prefill_steps``), one after the other, into five arrays.

    Args:
        replica, isl, chunk: sequences, prompt tokens and most tokens of a step, shape [n] each.
        points: contexts at which the chunks of one prompt are priced.
        batch, q_len, kv_len, repeats, owner: of each step; room for n x (points + 2) of them.

    Returns:
        How many steps there are.
    """
    indices, weights = np.empty(points, np.int64), np.empty(points)
    found = 0
    for i in range(replica.shape[0]):
        whole, rest = isl[i] // chunk[i], isl[i] % chunk[i]
        if chunk[i] >= isl[i]:
            whole, rest = 0, isl[i]
        for k in range(trapezoid(whole, points, indices, weights)):
            batch[found], q_len[found] = 1.0, chunk[i]
            kv_len[found] = (indices[k] + 1) * chunk[i]
            repeats[found], owner[found] = weights[k] * replica[i], i
            found += 1
        full, left = (replica[i] * rest) // chunk[i], (replica[i] * rest) % chunk[i]
        if full > 0:
            batch[found], q_len[found], kv_len[found] = chunk[i] / rest, rest, isl[i]
            repeats[found], owner[found] = full, i
            found += 1
        if left > 0:
            batch[found], q_len[found], kv_len[found] = left / rest, rest, isl[i]
            repeats[found], owner[found] = 1.0, i
            found += 1
    return found


@njit(cache=True, error_model="numpy")
def expand(coefficients: Any, operators: Any, features: Any, out: Any) -> None:
    """Counts of operators in steps: coefficients [c, n, f] of the chosen ``operators`` times features [f, s], into
    ``out`` [c, len(operators), s]."""
    for c in range(out.shape[0]):
        for row in range(operators.shape[0]):
            line = out[c, row]
            line[:] = 0.0
            for f in range(features.shape[0]):
                factor = coefficients[c, operators[row], f]
                if factor != 0.0:
                    own = features[f]
                    for s in range(line.shape[0]):
                        line[s] += factor * own[s]


@njit(cache=True, error_model="numpy")
def mark_contexts(row: Any, isl: Any, osl: Any, points: int, first: int, used: Any) -> None:
    """Mark the contexts at which the decode of each point is priced in ``used`` [rows, contexts from ``first`` on]."""
    indices, weights = np.empty(points, np.int64), np.empty(points)
    for i in range(row.shape[0]):
        for k in range(trapezoid(osl[i] - 1, points, indices, weights)):
            used[row[i], isl[i] + 1 + indices[k] - first] = 1


@njit(cache=True, error_model="numpy")
def number_marks(used: Any, slot: Any, rows: Any, contexts: Any, first: int) -> int:
    """Number the marks of ``used`` into ``slot`` of the same shape, and list them; returns how many there are."""
    found = 0
    for r in range(used.shape[0]):
        for c in range(used.shape[1]):
            if used[r, c]:
                slot[r, c] = found
                rows[found] = r
                contexts[found] = c + first
                found += 1
    return found


@njit(cache=True, error_model="numpy")
def count_marks(used: Any) -> int:
    """How many marks there are."""
    found = 0
    for r in range(used.shape[0]):
        for c in range(used.shape[1]):
            found += used[r, c]
    return found


@njit(cache=True, error_model="numpy")
def sum_contexts(row: Any, isl: Any, osl: Any, points: int, first: int, slot: Any, values: Any, out: Any) -> None:
    """Sum ``values`` [marks, v] over the decode steps of each point, contexts weighted, into ``out`` [v, n]."""
    indices, weights = np.empty(points, np.int64), np.empty(points)
    for i in range(row.shape[0]):
        for v in range(values.shape[1]):
            out[v, i] = 0.0
        for k in range(trapezoid(osl[i] - 1, points, indices, weights)):
            place = slot[row[i], isl[i] + 1 + indices[k] - first]
            for v in range(values.shape[1]):
                out[v, i] += weights[k] * values[place, v]


@njit(cache=True, error_model="numpy")
def list_contexts(isl: Any, osl: Any, points: int, owner: Any, context: Any, weight: Any) -> int:
    """List point, context and weight of every priced decode step into three arrays; returns how many there are."""
    indices, weights = np.empty(points, np.int64), np.empty(points)
    found = 0
    for i in range(isl.shape[0]):
        for k in range(trapezoid(osl[i] - 1, points, indices, weights)):
            owner[found], context[found], weight[found] = i, isl[i] + 1 + indices[k], weights[k]
            found += 1
    return found


@njit(cache=True, error_model="numpy")
def all_passed(first: Any, servers: Any, repeats: Any, in_flight: int, followed: int, out: Any) -> None:
    """When the last step of each batch has passed all servers (``steps.pipeline.all_passed``), into ``out`` [n].

    Args:
        first: where the steps of each batch begin, shape [n + 1].
        servers: seconds of each step on each server, shape [steps, servers].
        repeats: of each step.
        in_flight: steps at once; 0: no limit.
        followed: rounds that are followed one by one.
    """
    count = servers.shape[1]
    free, ends, left = np.zeros(count), np.zeros(count), np.zeros(max(in_flight, 1))
    limited = 0 < in_flight < count
    for i in range(first.shape[0] - 1):
        free[:] = 0.0
        left[:] = 0.0
        rest_s = 0.0
        for s in range(first[i], first[i + 1]):
            seconds = servers[s]
            if not limited:
                _passed(free, seconds, repeats[s], ends)
                continue
            one_by_one = min(repeats[s], float(followed * in_flight))
            rest_s += (repeats[s] - one_by_one) / in_flight * max(seconds.sum(), in_flight * seconds.max())
            for _ in range(int(np.rint(one_by_one))):
                free[0] = max(free[0], left[0])
                _passed(free, seconds, 1.0, ends)
                left[:-1] = left[1:].copy()
                left[-1] = free[-1]
        out[i] = free[-1] + rest_s


@njit(cache=True, error_model="numpy")
def _passed(free: Any, seconds: Any, jobs: float, ends: Any) -> None:
    """``steps.pipeline.passed`` in place: when each server is ``free`` again."""
    ends[:] = 0.0
    for begin in range(seconds.shape[0]):
        total = slowest = 0.0
        for last in range(begin, seconds.shape[0]):
            total += seconds[last]
            slowest = max(slowest, seconds[last])
            ends[last] = max(ends[last], free[begin] + total + (jobs - 1.0) * slowest)
    free[:] = ends


@njit(cache=True, error_model="numpy")
def largest_batches(
    isl: Any, chunk: int, stages: int, encoder: bool, fixed_bytes: Any, sequence_bytes: Any, row_bytes: float,
    limit_bytes: float, most: int, out: Any,
) -> None:  # fmt: skip
    """Largest batch of a replica whose memory is within ``limit_bytes`` (0: none), into ``out`` [n].

    Memory is ``fixed_bytes`` + batch x ``sequence_bytes`` + rows x ``row_bytes``, rows being the tokens of the largest
    step. It grows with the batch, so that bisection between 1 and ``most`` finds the answer.
    """
    for i in range(isl.shape[0]):
        if _used(most, isl[i], chunk, stages, encoder, fixed_bytes, sequence_bytes[i], row_bytes) <= limit_bytes:
            out[i] = most
            continue
        low, high = 0, most
        while high - low > 1:
            middle = (low + high) // 2
            if _used(middle, isl[i], chunk, stages, encoder, fixed_bytes, sequence_bytes[i], row_bytes) <= limit_bytes:
                low = middle
            else:
                high = middle
        out[i] = low


@njit(cache=True, error_model="numpy")
def _used(
    batch: int, isl: int, chunk: int, stages: int, encoder: bool, fixed: float, sequence: float, row: float
) -> float:
    return fixed + batch * sequence + max(step_tokens(batch, isl, chunk, stages, encoder), batch) * row


@njit(cache=True, error_model="numpy")
def step_tokens(batch: int, isl: int, chunk: int, stages: int, encoder: bool) -> int:
    """``steps.prefill.chunk_tokens``: most tokens of one prefill step of a replica's ``batch``."""
    micro = -(-batch // min(stages, batch)) * isl
    most = min(micro, chunk if chunk > 0 else micro)
    return max(most - most % isl, isl) if encoder else most


@njit(cache=True, error_model="numpy")
def steps_tokens(batch: Any, isl: Any, chunk: int, stages: int, encoder: bool, out: Any) -> None:
    """``step_tokens`` of whole arrays, into ``out`` [n]."""
    for i in range(batch.shape[0]):
        out[i] = step_tokens(batch[i], isl[i], chunk, stages, encoder)
