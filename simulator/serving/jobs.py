"""Jobs of a fleet as columns: requests, their stages, and what waits for what.

A request is one job or several: its stages, the prompt and the answer where two pools share them, the next message of a
conversation. A job names the pool that does it and the jobs that must be over before; between the two may lie a pause
and bytes that have to come over a link.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError
from simulator.checks import LARGEST
from simulator.kernels.fleet.columns import COMING, Jobs
from simulator.kernels.serving import NONE

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Edges(NamedTuple):
    """Who waits for whom, shape [e] each: job ``after`` waits for job ``before``, then ``delay_s``, and for
    ``size_bytes`` over ``link`` where that is not ``NONE``. Where ``always`` it also begins if the job before was
    turned away or lost, as the next request of a client does; else it is turned away too. None: nowhere."""

    before: Ints
    after: Ints
    delay_s: Floats
    size_bytes: Floats
    link: Ints
    always: Bools | None = None


class Named(NamedTuple):
    """Names of the leading units of jobs, counted from 0: job i has ``ids[offsets[i]:offsets[i + 1]]``."""

    offsets: Ints
    ids: Ints


class Work(NamedTuple):
    """What is asked of a fleet, shape [n] each; a column that is None does not apply.

    Args:
        pool: number of the pool that does a job.
        arrival_s: when it arrives; of one that waits for another the earliest time.
        input: tokens of its prompt; output: tokens that it gives (0: its prompt is all, as of an encoder).
        cached: leading tokens of the prompt that come with it.
        priority: its class, 0 first.
        session: jobs of one session go to one replica, where the router says so.
        adapter: number of its LoRA adapter, ``NONE`` for none.
        deadline_s: when it is of no use any more.
        names: names of its units for the prefix cache, those of its answer included.
        edges: who waits for whom.
    """

    pool: Ints
    arrival_s: Floats
    input: Ints
    output: Ints
    cached: Ints | None = None
    priority: Ints | None = None
    session: Ints | None = None
    adapter: Ints | None = None
    deadline_s: Floats | None = None
    names: Named | None = None
    edges: Edges | None = None


def no_edges() -> Edges:
    """Nobody waits for anybody."""
    nobody, nothing = np.zeros(0, np.int64), np.zeros(0)
    return Edges(nobody, nobody, nothing, nothing, nobody)


def check_work(work: Work, pools: int, links: int = 0) -> None:
    """Refuse jobs that cannot be.

    Args:
        pools, links: how many there are.

    Raises:
        InputError: with the first such job, its value and what is allowed.
    """
    count = len(work.pool)
    for name in ("arrival_s", "input", "output", "cached", "priority", "session", "adapter", "deadline_s"):
        column = getattr(work, name)
        if column is not None and len(column) != count:
            raise InputError(f"{count} jobs, but {name} of {len(column)}: must be as many")
    _refuse("pool", work.pool, (work.pool >= 0) & (work.pool < pools), f"from 0 to {pools - 1}")
    _refuse("prompt tokens", work.input, (work.input >= 1) & (work.input <= LARGEST), f"at least 1, at most {LARGEST}")
    _refuse("output tokens", work.output, (work.output >= 0) & (work.output <= LARGEST), f"from 0 to {LARGEST}")
    _refuse("arrival_s", work.arrival_s, np.isfinite(work.arrival_s) & (work.arrival_s >= 0.0), "a time, at least 0")
    if work.cached is not None:
        _refuse("cached", work.cached, (work.cached >= 0) & (work.cached < work.input), "from 0 to below its prompt")
    if work.priority is not None:
        _refuse("priority", work.priority, work.priority >= 0, "a class, 0 first")
    if work.adapter is not None:
        _refuse("adapter", work.adapter, work.adapter >= NONE, f"a number, or {NONE} for none")
    if work.deadline_s is not None:
        _refuse("deadline_s", work.deadline_s, ~np.isnan(work.deadline_s), "a time")
    if work.names is not None:
        _check_names(work.names, count)
    if work.edges is not None:
        sizes = [len(column) for column in work.edges if column is not None]
        if len(set(sizes)) > 1:
            raise InputError(f"edges of {', '.join(map(str, sizes))}: must be as many")
        before, after = work.edges.before, work.edges.after
        _refuse("waits for", before, (before >= 0) & (before < after) & (after < count), "an earlier job")
        delay_s, size = work.edges.delay_s, work.edges.size_bytes
        _refuse("delay_s", delay_s, np.isfinite(delay_s) & (delay_s >= 0.0), "a time, at least 0")
        _refuse("bytes", size, np.isfinite(size) & (size >= 0.0), "at least 0")
        link = work.edges.link
        _refuse("link", link, (link >= NONE) & (link < links), f"below {links}, or {NONE} for none")


def _check_names(names: Named, count: int) -> None:
    offsets = names.offsets
    if len(offsets) != count + 1 or offsets[0] != 0 or offsets[-1] != len(names.ids) or (np.diff(offsets) < 0).any():
        raise InputError(f"names of units: offsets must be {count + 1}, from 0 to {len(names.ids)}, in order")
    if len(names.ids) and int(names.ids.min()) < 0:
        raise InputError(f"name {names.ids.min()} of a unit: must be at least 0")


def _refuse(name: str, values: npt.NDArray[Any], good: Bools, allowed: str) -> None:
    if not good.all():
        first = int(good.argmin())
        raise InputError(f"job {first}: {name} {values[first]}: must be {allowed}")


def jobs_of(work: Work, fits: Bools, classes: int, seed: int) -> Jobs:
    """The columns that compiled fleets work on; ``fits``: jobs that a replica can hold."""
    count = len(work.pool)
    edges = work.edges or no_edges()
    order = np.argsort(edges.before, kind="stable")
    first_edge = np.searchsorted(edges.before[order], np.arange(count + 1)).astype(np.int64)
    waits_for = np.bincount(edges.after, minlength=count).astype(np.int64)
    always = np.zeros(len(order), np.bool_) if edges.always is None else edges.always[order].astype(np.bool_)

    def whole(values: Ints | None, otherwise: int = 0) -> Ints:
        return np.full(count, otherwise, np.int64) if values is None else values.astype(np.int64)

    def seconds() -> Floats:
        return np.full(count, -1.0)

    names = work.names or Named(np.zeros(count + 1, np.int64), np.zeros(0, np.int64))
    deadline_s = np.full(count, np.inf) if work.deadline_s is None else work.deadline_s.astype(np.float64)
    return Jobs(
        pool=whole(work.pool), arrival_s=work.arrival_s.astype(np.float64), input=whole(work.input),
        output=whole(work.output), cached=whole(work.cached), priority=np.minimum(whole(work.priority), classes - 1),
        session=whole(work.session, NONE), adapter=whole(work.adapter, NONE), deadline_s=deadline_s,
        first_hash=names.offsets.astype(np.int64), hashes=names.ids.astype(np.int64), waits_for=waits_for,
        first_edge=first_edge, edge_to=edges.after[order].astype(np.int64),
        edge_delay_s=edges.delay_s[order].astype(np.float64), edge_bytes=edges.size_bytes[order].astype(np.float64),
        edge_link=edges.link[order].astype(np.int64), edge_always=always, fits=fits,
        draws=np.random.default_rng(seed).random((count, 2)),
        prompt=whole(work.input), computed=whole(None), made=whole(None), blocks=whole(None), held=whole(None),
        matched=whole(None), status=whole(None, COMING), following=whole(None, NONE), preempted=whole(None),
        retries=whole(None), swapped=whole(None), replica=whole(None, NONE), ready_s=seconds(), scheduled_s=seconds(),
        first_s=seconds(), last_s=seconds(),
    )  # fmt: skip
