"""Requests as columns: when they arrive, how long they are, and what became of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError
from simulator.checks import LARGEST
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
    following: Ints
    status: Ints
    preempted: Ints
    replica: Ints
    scheduled_s: Floats
    first_s: Floats
    last_s: Floats


def check_asked(asked: Asked) -> None:
    """Refuse requests that are no requests.

    Raises:
        InputError: with the first such request, its value and what is allowed.
    """
    arrival_s, count = asked.arrival_s, len(asked.arrival_s)
    lengths = {"prompt tokens": asked.input, "output tokens": asked.output}
    for name, values in lengths.items():
        if len(values) != count:
            raise InputError(f"{count} arrivals, but {name} of {len(values)} requests: must be as many")
        _refuse(name, values, ~((values >= 1) & (values <= LARGEST)), f"at least 1, at most {LARGEST}")
    _refuse("arrival_s", arrival_s, ~(np.isfinite(arrival_s) & (arrival_s >= 0.0)), "a finite time, at least 0")
    early = np.concatenate([[False], np.diff(arrival_s) < 0.0])[:count]
    _refuse("arrival_s", arrival_s, early, "no earlier than the request before; sort by arrival")


def _refuse(name: str, values: npt.NDArray[Any], wrong: npt.NDArray[np.bool_], allowed: str) -> None:
    if wrong.any():
        first = int(wrong.argmax())
        raise InputError(f"request {first}: {name} {values[first]}: must be {allowed}")


def columns_of(asked: Asked, longest: int, cache_tokens: int) -> Columns:
    """Columns of requests that wait; those that no replica can ever hold are rejected.

    Args:
        longest: context of the model or the limit of the server [tokens].
        cache_tokens: tokens that the cache of a replica holds.

    Raises:
        InputError: lengths below 1, arrivals that are out of order or no times.
    """
    check_asked(asked)
    count = len(asked.arrival_s)

    def whole(value: int = 0) -> Ints:
        return np.full(count, value, np.int64)

    def seconds() -> Floats:
        return np.full(count, -1.0)

    total = asked.input + asked.output
    status: Any = np.where((total > longest) | (total > cache_tokens), REJECTED, WAITING).astype(np.int64)
    return Columns(
        asked.arrival_s.astype(np.float64), asked.input.astype(np.int64), asked.output.astype(np.int64),
        asked.input.astype(np.int64), whole(), whole(), whole(), whole(), whole(NONE), status, whole(),
        whole(), seconds(), seconds(), seconds(),
    )  # fmt: skip
