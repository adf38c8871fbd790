"""Work through pipeline stages that serve it in order: a flow shop.

What passes is a sequence of jobs (micro-batches, chunks of a prompt); *servers* are what each passes one after the
other, one job at a time: stages, and the links between them. Of n equal jobs the last one leaves after

    t = sum(servers) + (n - 1) max(servers)

(Pinedo, "Scheduling", 5th ed., section 6.1, proportionate flow shops); of equal stages that is the bubble of GPipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from simulator.steps.pricing import PricedGraph
from workloads.lowering.plan import stage_layers

FOLLOWED = 8
"""Rounds of equal jobs that are followed one by one where few may be in flight."""


class Parts(NamedTuple):
    """Time of the parts of one way through a model [s]: the embedding, one layer of each run of equal ones, and what
    follows them; ``counts`` are the layers of each run."""

    embedding_s: float
    layers_s: tuple[float, ...]
    head_s: float
    counts: tuple[int, ...]


def parts_seconds(priced: PricedGraph) -> Parts:
    """Parts of ``priced`` (of a training graph: forward and backward); sends between stages are left out."""
    embedding = head = 0.0
    layers: dict[str, float] = {}
    counts: dict[str, int] = {}
    for block in priced.graph.blocks:
        once = float(priced.time_s[block.start : block.stop].sum())
        group = block.label.partition(".")[0]
        if group.startswith("layers"):
            layers[group] = layers.get(group, 0.0) + once
            counts[group] = block.repeat
        elif group == "embedding":
            embedding += once
        elif group != "pipeline":
            head += once
    return Parts(embedding, tuple(layers.values()), head, tuple(counts.values()))


def stage_seconds(priced: PricedGraph, stages: int, lengths: tuple[int, ...] = ()) -> list[float]:
    """Time on each stage of one way through ``priced`` (of a training graph: forward and backward) [s].

    The embedding is on the first stage, the head on the last one, layers as ``stage_layers`` spreads them (each stage
    has as many as ``lengths`` says, where it does); sends between stages are left out.
    """
    if stages == 1:
        return [priced.total_s]
    parts = parts_seconds(priced)
    held = stage_layers(parts.counts, stages, lengths)
    seconds = [sum(number * once for number, once in zip(row, parts.layers_s, strict=True)) for row in held]
    seconds[0] += parts.embedding_s
    seconds[-1] += parts.head_s
    return seconds


def send_seconds(priced: PricedGraph) -> float:
    """One send from a stage to the next in ``priced`` [s]; 0 without stages."""
    return sum(
        float(priced.time_s[block.start : block.stop].sum())
        for block in priced.graph.blocks
        if block.label == "pipeline"
    )


def servers(priced: PricedGraph, host_s: float, stages: int) -> tuple[float, ...]:
    """What one inference step passes [s]: its host, then stages and sends in turn.

    Without stages there is one server: the host waits for each step before it begins the next. With several steps in
    flight it works on one while the devices work on the others.
    """
    if stages == 1:
        return (host_s + priced.total_s,)
    send_s = send_seconds(priced)
    found = [host_s]
    for seconds in stage_seconds(priced, stages):
        found += [seconds, send_s]
    return tuple(found[:-1])


def passed(free_s: Sequence[float], seconds: Sequence[float], jobs: float) -> list[float]:
    """When each server is free again, after ``jobs`` equal jobs of ``seconds`` each, if it was free at ``free_s`` [s].

    A job begins on a server when the one before it has left that server and itself the server before; the longest path
    through jobs x servers enters at some server i, and is then sum(i..j) + (jobs - 1) max(i..j).
    """
    ends = [0.0] * len(seconds)
    for first in range(len(seconds)):
        total = slowest = 0.0
        for last in range(first, len(seconds)):
            total += seconds[last]
            slowest = max(slowest, seconds[last])
            ends[last] = max(ends[last], free_s[first] + total + (jobs - 1.0) * slowest)
    return ends


def all_passed(steps: Sequence[tuple[Sequence[float], float]], in_flight: int = 0) -> float:
    """When the last of some jobs has passed all servers: (seconds, jobs) of each kind, in order [s].

    With at most ``in_flight`` of them at once (0: no limit) a job begins when the one that many before it has passed;
    as many as there are servers keep the slowest of them busy. Such jobs are followed one by one, of each kind up to
    ``FOLLOWED`` rounds; any more take as long as jobs in rhythm do.
    """
    free: list[float] = [0.0] * len(steps[0][0])
    if not 0 < in_flight < len(free):
        for seconds, jobs in steps:
            free = passed(free, seconds, jobs)
        return free[-1]
    left = [0.0] * in_flight
    rest_s = 0.0
    for seconds, jobs in steps:
        followed = min(jobs, FOLLOWED * in_flight)
        rest_s += (jobs - followed) / in_flight * round_seconds(seconds, in_flight)
        for _ in range(round(followed)):
            free[0] = max(free[0], left[0])
            free = passed(free, seconds, 1.0)
            left = [*left[1:], free[-1]]
    return free[-1] + rest_s


def round_seconds(seconds: Sequence[float], jobs: float) -> float:
    """Time from one round to the next of ``jobs`` jobs that begin anew as soon as they have passed all servers [s]."""
    return max(sum(seconds), jobs * max(seconds))


@lru_cache(maxsize=512)
def trapezoid(count: int, points: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Up to ``points`` of the indices 0 .. count - 1, and how many each stands for: the trapezoidal rule.

    Sums a function that is linear between the points exactly; weights sum to ``count``.
    """
    if count <= points:
        return tuple(range(count)), (1.0,) * count
    chosen = np.unique(np.linspace(0, count - 1, points).round().astype(int))
    weights = np.zeros(len(chosen))
    weights[0] += 0.5
    weights[-1] += 0.5
    gaps = np.diff(chosen) / 2.0
    weights[:-1] += gaps
    weights[1:] += gaps
    return tuple(chosen.tolist()), tuple(weights.tolist())
