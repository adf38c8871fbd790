"""What the search of a batch of queries takes on a device: tables whose "tokens" are queries.

Operators of a search (``workloads.retrieval.work``) are priced by the law of the device. Laws say nothing of three
things, which ``search_rates`` does: look-ups in small tables, walks from one place in memory to the next, and queries
that one thread works at alone. A stage of Q queries on a device of T threads takes, with l the law's seconds::

    wave     = ceil(Q / T)         queries (CPU), or lists of queries, that a thread does in turn
    walk     = steps (L + step) + accesses (A + access) + bytes behind the first line / thread bandwidth
    alone    = max(wave walk, lookups / lookup rate, wave bytes of a query / thread bandwidth)
    t        = sqrt(l^2 + alone^2)

L is the latency of a read that all else waits for, A what of it each access pays where a thread does not ask for
several at once; both between cache and memory by the share of the index that the cache holds. Stages follow one
another. An FPGA works at all of them at a time, like a pipeline: the slowest stage of the batch, and what one query
takes in the others.

Energy is that of the law's operators; for what a stage takes longer the static draw, and half of what lies between it
and the rated power for the share of the threads that are busy. That half is assumed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from hardware_specs.errors import InputError
from simulator.checks import check_count
from simulator.kernels.roofline import ENERGY, TIME
from simulator.prepared import Prepared
from simulator.serving.grids import Floats
from simulator.serving.search_rates import Rates, rates_of
from simulator.serving.step_tables import StepTables
from workloads.graph import columns_of
from workloads.retrieval.indexes import NAMES, Index, check_index
from workloads.retrieval.work import Stage, search_work

MOST_QUERIES: Final = 16_384
"""Longest table."""
_LINE_BYTES: Final = 64.0
_BUSY_SHARE: Final = 0.5
"""Of the power between static and rated that threads draw which look up or wait for memory. Assumed."""


class SearchCost(NamedTuple):
    """Searches of batches of some sizes, shape [n] each: seconds, joules; seconds of each stage, [stages, n]."""

    seconds: Floats
    joules: Floats
    stages_s: Floats


def search_tables(prepared: Prepared, index: Index, most_queries: int) -> StepTables:
    """The tables of one replica that searches ``index``: ``rows_*`` by queries, everything else zero.

    Raises:
        InputError: an index that cannot be or does not fit, a device that cannot search it, more than one device.
    """
    check_count("--max-num-seqs", most_queries, MOST_QUERIES)
    priced = search_cost(prepared, index, np.arange(1.0, most_queries + 1.0))
    rows = np.concatenate([np.zeros((2, 1)), np.stack([priced.seconds, priced.joules])], axis=1)
    none, ends = np.zeros(most_queries + 1), np.array([1.0, float(max(most_queries, 2))])
    square, cube = np.zeros((2, 2)), np.zeros((2, 2, 2))
    return StepTables(rows[0], rows[1], none, none, ends, ends, square, square, ends, ends, cube, cube)


def search_cost(prepared: Prepared, index: Index, queries: Floats) -> SearchCost:
    """Seconds and joules of the search of batches of ``queries`` [n] on the device of ``prepared``.

    Raises:
        InputError: as ``search_tables``.
    """
    check_index(index)
    check_fits(prepared, index)
    rates = rates_of(prepared.model, index)
    work = [search_work(index, float(count)) for count in queries]
    columns = columns_of([stage.operator for stages in work for stage in stages])
    priced = prepared.model.cost(columns).reshape(5, len(queries), -1)
    law_s, law_j = priced[TIME].T, priced[ENERGY].T
    alone_s = np.array([[_alone_s(stage, rates) for stage in stages] for stages in work]).T
    stages_s = np.hypot(law_s, alone_s)
    record = prepared.model.record
    static_w, rated_w = float(record["static_w"]), float(record["rated_w"])
    pieces = [max(stage.queries if rates.whole_queries else stage.pieces for stage in stages) for stages in work]
    busy = np.minimum(1.0, np.array(pieces) / rates.threads)
    extra_j = (stages_s - law_s) * _BUSY_SHARE * max(0.0, rated_w - static_w) * busy
    seconds = _joined(prepared, index, rates, stages_s)
    joules = (law_j - static_w * law_s + extra_j).sum(axis=0) + static_w * seconds
    return SearchCost(seconds, joules, stages_s)


def check_fits(prepared: Prepared, index: Index) -> None:
    """Refuse an index that one device cannot hold.

    Raises:
        InputError: naming both sizes; or the plan has more than one device.
    """
    plan, device = prepared.pool.plan, prepared.pool.device
    if plan.devices > 1:
        raise InputError(f"a search runs on one device, the plan has {plan.devices}; use --replicas for more")
    left = prepared.usable_bytes - prepared.pool.runtime.context.value
    if index.bytes > left:
        raise InputError(
            f"{device.id} cannot hold the {NAMES[type(index)]} index of {index.vectors:,} vectors: it takes "
            f"{index.bytes / 1e9:.4g} GB, {max(left, 0.0) / 1e9:.4g} GB can be used"
        )


def _alone_s(stage: Stage, rates: Rates) -> float:
    """Seconds of a stage that the law does not see."""
    pieces = stage.queries if rates.whole_queries else stage.pieces
    if not pieces:
        return 0.0
    wave = float(np.ceil(pieces / rates.threads))
    walk_s, moved = 0.0, (stage.operator.weight_bytes + stage.operator.read_bytes) / pieces
    if stage.gather is not None:
        g = stage.gather
        behind = g.steps * max(0.0, g.step_bytes - _LINE_BYTES) + g.accesses * max(0.0, g.access_bytes - _LINE_BYTES)
        walk_s = g.steps * (rates.latency_s + rates.step_s) + g.accesses * (rates.access_latency_s + rates.access_s)
        walk_s += behind / rates.thread_bytes_per_s
        moved = 0.0
    # The last wave may be a thin one: a thread is as slow whatever the others do.
    thin = wave * rates.threads / pieces
    tables_s = thin * (stage.lookups / rates.lookups_per_s + stage.entries / rates.entries_per_s)
    return max(wave * walk_s, tables_s, wave * moved / rates.thread_bytes_per_s)


def _joined(prepared: Prepared, index: Index, rates: Rates, stages_s: Floats) -> Floats:
    """Seconds of whole searches: stages one after the other, or as a pipeline."""
    total: Floats = stages_s.sum(axis=0)
    if not rates.dataflow:
        return total
    work = search_work(index, 1.0)
    law_s = prepared.model.cost(columns_of([stage.operator for stage in work]))[TIME]
    single = np.hypot(law_s, [_alone_s(stage, rates) for stage in work])
    slowest: Floats = stages_s.max(axis=0) + single.sum() - single.max()
    return slowest
