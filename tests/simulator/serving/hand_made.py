"""Step tables, requests and limits made by hand or drawn at random, small enough for every odd thing to happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.serving.cluster import ROUTERS, Limits
from simulator.serving.requests import Asked
from simulator.serving.step_tables import StepTables

Floats = npt.NDArray[np.float64]
ENDS = np.array([1.0, 1e6])


def tables_of(rows_s: Callable[[Floats], Floats], most_tokens: int) -> StepTables:
    """Iterations whose time depends on their new tokens alone."""
    rows = np.concatenate([[0.0], rows_s(np.arange(1.0, most_tokens + 1.0))])
    nothing, of_prompts = np.zeros((2, 2)), np.zeros((2, 2, 2))
    return StepTables(
        rows, rows * 100.0, np.zeros(most_tokens + 1), np.zeros(most_tokens + 1), ENDS, ENDS, nothing, nothing, ENDS,
        ENDS, of_prompts, of_prompts,
    )  # fmt: skip


def asked_of(arrival_s: npt.ArrayLike, prompt: npt.ArrayLike, output: npt.ArrayLike) -> Asked:
    """Requests; one length is that of all."""
    at = np.atleast_1d(np.asarray(arrival_s, np.float64))
    lengths = (np.broadcast_to(np.asarray(values, np.int64), at.shape).copy() for values in (prompt, output))
    return Asked(at, *lengths)


class Case(NamedTuple):
    """One scenario: what ``cluster.serve`` takes."""

    asked: Asked
    limits: Limits
    tables: StepTables
    replicas: int
    router: str
    concurrency: int
    seed: int


def random_tables(rng: np.random.Generator, tokens: int, sequences: int, context: int) -> StepTables:
    """Tables without any order in them."""

    def column(size: int, scale: float) -> Floats:
        return np.concatenate([[0.0], scale * rng.uniform(0.5, 1.5, size)])

    def at(most: int) -> Floats:
        inner = rng.integers(1, max(most, 2) + 1, rng.integers(0, 5)).astype(np.float64)
        return np.unique(np.concatenate([[1.0, max(most, 2)], inner]))

    most, seen, many, new = max(tokens, sequences), at(context), at(sequences), at(min(tokens, context))
    decode, prefill = (len(many), len(seen)), (2, len(new), len(seen))
    return StepTables(
        column(most, 0.01), column(most, 1.0), column(sequences, 0.002), column(sequences, 0.2), many, seen,
        rng.uniform(0.0, 0.01, decode), rng.uniform(0.0, 1.0, decode), new, seen, rng.uniform(0.0, 0.01, prefill),
        rng.uniform(0.0, 1.0, prefill),
    )  # fmt: skip


def random_case(seed: int, most_requests: int = 60) -> Case:
    """A scenario of few requests: tiny caches and budgets, bursts and ties, all routers, open and closed loops."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, most_requests + 1))
    longest_in, longest_out = (int(rng.choice([1, 4, 30, 120])) for _ in range(2))
    prompt, output = rng.integers(1, longest_in + 1, n), rng.integers(1, longest_out + 1, n)
    size = int(rng.choice([1, 2, 3, 4, 7, 16, 32]))
    largest = -(-int((prompt + output).max()) // size)
    limits = Limits(
        int(rng.choice([1, 2, 5, 16, 64, 4096])), int(rng.choice([1, 2, 3, 8, 64])), size,
        max(1, int(largest * rng.choice([0.8, 1.0, 1.2, 2.0, 5.0, 50.0]))), longest_in + longest_out,
    )  # fmt: skip
    rate = float(rng.choice([1.0, 10.0, 100.0, 1000.0]))
    arrival_s = np.cumsum(rng.exponential(1.0 / rate, n))
    kind = rng.integers(4)
    if kind == 1:
        arrival_s = np.floor(arrival_s * rate / 5.0) * 5.0 / rate
    elif kind == 2:
        arrival_s = np.zeros(n)
    replicas = int(rng.choice([1, 1, 2, 3, 5]))
    concurrency = int(rng.integers(1, 12)) if kind == 3 else 0
    tables = random_tables(rng, limits.batched_tokens, limits.sequences, limits.context)
    return Case(
        asked_of(arrival_s, prompt, output), limits, tables, replicas, str(rng.choice(sorted(ROUTERS))), concurrency,
        int(rng.integers(1000)),
    )  # fmt: skip
