"""A server whose queue never empties: equal requests that all wait at the start, answered by the compiled scheduler.

What such a server gives follows from the batch that it holds: as many sequences as its scheduler runs and its cache
has blocks for. A runtime that reserves the blocks of a whole answer admits no more than whole requests fit; others
admit prompts as they fit and take the sequence that began last out again where blocks run short. Where the number of
requests is stated, all of them count, those of the last and emptier batches too; where it is not, the rate is that of
the requests between two numbers of them, so that neither the first nor the last batch counts.

Plans with data parallel ways are served as one of their ranks, which all do the same; pipelines are not served.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

import msgspec
import numpy as np

from hardware_specs.errors import InputError
from simulator.kernels import serving as kernel
from simulator.prepared import Prepared
from simulator.scenario import Plan
from simulator.serving.cluster import Limits, cache_blocks, serve
from simulator.serving.requests import Asked
from simulator.serving.step_tables import StepTables, step_tables
from workloads.models.architecture import Architecture

BLOCK_TOKENS: Final = 16
"""Tokens of a cache block: the default of vLLM."""
BATCHED_TOKENS: Final = 8192
"""New tokens of an iteration at most where a runtime takes whole prompts: the default of trtllm-bench."""
BATCHES: Final = (2, 4)
"""Batches of requests between which the rate is taken where their number is not known."""

KnownTables = dict[tuple[object, ...], StepTables]
"""Prices of iterations by the configuration and the sizes that they cover."""


class Asks(NamedTuple):
    """Equal requests of one replica: prompt and answer [tokens], how many there are (0: without end), and the most that
    the scheduler runs at a time."""

    isl: int
    osl: int
    requests: int
    sequences: int


class Rate(NamedTuple):
    """Requests that a replica answers [1/s], and the most sequences that it held at a time."""

    requests_per_s: float
    sequences: int


def saturated_rate(prepared: Prepared, arch: Architecture, asks: Asks, key: object, known: KnownTables) -> Rate:
    """The rate at which one replica of ``prepared`` answers.

    Args:
        key: what ``prepared`` is; prices of equal ones are taken from ``known``, and kept there.

    Raises:
        InputError: a pipeline, an encoder, or not even one request fits.
    """
    replica, limits = server_of(prepared, arch, asks)
    # Lengths and limits are rounded up, so that many rows share their prices.
    sizes = (limits.batched_tokens, _rounded(limits.sequences), _rounded(limits.context))
    if (key, *sizes) not in known:
        known[key, *sizes] = step_tables(prepared, arch, *sizes)

    def seconds(requests: int) -> float:
        asked = Asked(np.zeros(requests), np.full(requests, asks.isl), np.full(requests, asks.osl))
        served = serve(replica, arch, asked, limits, tables=known[key, *sizes])
        if not (served.requests.status == kernel.DONE).all():
            raise InputError("not even one sequence fits")
        return float(served.replicas[0, kernel.TIME])

    if asks.requests:
        return Rate(asks.requests / seconds(asks.requests), limits.sequences)
    few, many = (count * limits.sequences for count in BATCHES)
    return Rate((many - few) / (seconds(many) - seconds(few)), limits.sequences)


def one_replica(prepared: Prepared) -> Prepared:
    """One rank group of ``prepared`` as a server of its own.

    Raises:
        InputError: a pipeline.
    """
    pool = prepared.pool
    if pool.plan.pp > 1:
        raise InputError(f"--pp {pool.plan.pp}: pipelines are not served")
    plan = Plan(pool.plan.tp, ep=min(pool.plan.ep, pool.plan.tp))
    return replace(prepared, pool=msgspec.structs.replace(pool, plan=plan, count=plan.devices))


def server_of(prepared: Prepared, arch: Architecture, asks: Asks) -> tuple[Prepared, Limits]:
    """One replica of ``prepared`` as its runtime sets it up for ``asks``, and what its scheduler allows.

    A runtime that reserves answers is set up for as many sequences as fit (trtllm-bench tunes an engine's largest batch
    so), others for as many as they may run.

    Raises:
        InputError: a pipeline, or not even one request fits.
    """
    sequences, batched = asks.sequences, _batched(prepared)
    reserves = prepared.pool.runtime.reserves_answers
    replica = one_replica(prepared)
    for most in (1, 0) if reserves else (sequences,):
        most = most or sequences
        blocks = cache_blocks(replica, arch, BLOCK_TOKENS, batched, most)
        whole = blocks // -(-(asks.isl + asks.osl) // BLOCK_TOKENS)
        if whole < 1:
            raise InputError("not even one sequence fits")
        if reserves:
            sequences = min(sequences, whole)
    return replica, Limits(max(batched, sequences), sequences, BLOCK_TOKENS, blocks, asks.isl + asks.osl)


def _batched(prepared: Prepared) -> int:
    return prepared.pool.runtime.prefill_chunk or BATCHED_TOKENS


def _rounded(count: int) -> int:
    """The power of two from ``count`` on."""
    return 1 << max(count - 1, 1).bit_length()
