"""Requests as columns: when they arrive, how long they are, and what became of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.kernels.serving import NONE, REJECTED, WAITING

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Asked(NamedTuple):
    """Requests in the order of their arrival, shape [n] each: seconds, prompt tokens, output tokens."""

    arrival_s: Floats
    input: Ints
    output: Ints


class Columns(NamedTuple):
    """What compiled schedulers read and write of all requests, shape [n] each.

    ``prompt`` is what must be computed before the next token (after a preemption more than ``input``), ``computed``
    what of it lies in the cache, ``made`` the tokens that were given; ``since`` and ``ends`` are counted by the
    iterations of its replica. Times are -1 until they are known.
    """

    arrival_s: Floats
    input: Ints
    output: Ints
    prompt: Ints
    computed: Ints
    made: Ints
    since: Ints
    ends: Ints
    chunk: Ints
    following: Ints
    status: Ints
    preempted: Ints
    replica: Ints
    scheduled_s: Floats
    first_s: Floats
    last_s: Floats


def columns_of(asked: Asked, longest: int, cache_tokens: int) -> Columns:
    """Columns of requests that wait; those that no replica can ever hold are rejected.

    Args:
        longest: context of the model or the limit of the server [tokens].
        cache_tokens: tokens that the cache of a replica holds.
    """
    count = len(asked.arrival_s)

    def whole(value: int = 0) -> Ints:
        return np.full(count, value, np.int64)

    def seconds() -> Floats:
        return np.full(count, -1.0)

    total = asked.input + asked.output
    status: Any = np.where((total > longest) | (total > cache_tokens), REJECTED, WAITING).astype(np.int64)
    return Columns(
        asked.arrival_s.astype(np.float64), asked.input.astype(np.int64), asked.output.astype(np.int64),
        asked.input.astype(np.int64), whole(), whole(), whole(), whole(), whole(), whole(NONE), status, whole(),
        whole(), seconds(), seconds(), seconds(),
    )  # fmt: skip
