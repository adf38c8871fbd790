"""Queues of waiting jobs: one for each class, inside it by arrival, or by deadline where that is the order.

A queue has a head, a tail and the last of the jobs that admission has passed by (``NONE`` outside of it).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.kernels.fleet.columns import BY_CLASS, EARLIEST_DEADLINE
from simulator.kernels.jit import law_part
from simulator.kernels.serving import NONE, WAITING


@law_part
def enqueue(jobs: Any, queues: Any, job: int, front: bool, order: int) -> None:
    """Put a job into the queue of its class, of [classes, 3]; in ``front`` of it, or by ``order``."""
    kind = jobs.priority[job]
    jobs.following[job] = NONE
    if queues[kind, 0] == NONE:
        queues[kind, 0] = queues[kind, 1] = job
    elif front:
        jobs.following[job] = queues[kind, 0]
        queues[kind, 0] = job
    elif order == EARLIEST_DEADLINE and jobs.deadline_s[queues[kind, 1]] > jobs.deadline_s[job]:
        _insert(jobs, queues, kind, job)
    else:
        jobs.following[queues[kind, 1]] = job
        queues[kind, 1] = job
    jobs.status[job] = WAITING


@law_part
def _insert(jobs: Any, queues: Any, kind: int, job: int) -> None:
    """Put a job before the first of its class whose deadline is later and of which nothing was done yet."""
    before, other = NONE, queues[kind, 0]
    while other != NONE and (jobs.preempted[other] > 0 or jobs.deadline_s[other] <= jobs.deadline_s[job]):
        before, other = other, jobs.following[other]
    jobs.following[job] = other
    if other == NONE:
        queues[kind, 1] = job
    if before == NONE:
        queues[kind, 0] = job
    else:
        jobs.following[before] = job


@law_part
def dequeue(jobs: Any, queues: Any, kind: int) -> int:
    """Take the first job of a class, of those that were not passed by."""
    job, before = first(jobs, queues, kind), queues[kind, 2]
    if before == NONE:
        queues[kind, 0] = jobs.following[job]
    else:
        jobs.following[before] = jobs.following[job]
    if queues[kind, 1] == job:
        queues[kind, 1] = before
    return job


@law_part
def first(jobs: Any, queues: Any, kind: int) -> int:
    """The first job of a class, of those that were not passed by; or ``NONE``."""
    before = queues[kind, 2]
    return queues[kind, 0] if before == NONE else jobs.following[before]


@law_part
def pass_by(jobs: Any, queues: Any, kind: int) -> None:
    """Leave the first job of a class where it is and look behind it, until ``look_again``."""
    queues[kind, 2] = first(jobs, queues, kind)


@law_part
def look_again(queues: Any) -> None:
    """Look at all jobs again."""
    for kind in range(queues.shape[0]):
        queues[kind, 2] = NONE


@law_part
def next_class(jobs: Any, queues: Any, order: int) -> int:
    """The class whose first job is next: of the lowest number, by the earliest deadline, or by arrival; or ``NONE``.

    One that was swapped out or preempted stands before all others of its class.
    """
    best, best_s = NONE, np.inf
    for kind in range(queues.shape[0]):
        job = first(jobs, queues, kind)
        if job == NONE:
            continue
        if order == BY_CLASS:
            return kind
        when_s = jobs.deadline_s[job] if order == EARLIEST_DEADLINE else jobs.ready_s[job]
        if best == NONE or when_s < best_s:
            best, best_s = kind, when_s
    return best
