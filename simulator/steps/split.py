"""Layers on pipeline stages such that the slowest stage is as fast as can be, under the memory of each.

Stages hold runs of layers. With t(s, i, j) the time of stage s with layers i .. j - 1, infinite where these do not fit,
the least time of the slowest of stages 0 .. s that hold the first j layers is

    T(s, j) = min over i of max(T(s - 1, i), t(s, i, j)),

the linear partition problem (Skiena, "The Algorithm Design Manual", 2nd ed., section 8.5). Of all splits with that time
the one with the least sum of squares is taken, the most even one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from simulator.prepared import Prepared
from simulator.scenario import TrainStep
from simulator.steps.pipeline import Parts, parts_seconds
from simulator.steps.ranks import Rank, ranks_of
from simulator.steps.train_step import price_step
from simulator.steps.training_result import rank_memory

Floats = npt.NDArray[np.float64]
SAME: Final = 1e-9
"""Share by which times may differ that are the same."""


def balanced_split(seconds: Floats) -> tuple[int, ...]:
    """Layers of each stage; none where no split is allowed.

    Args:
        seconds: of stage s with layers i .. j - 1, shape [stages, layers + 1, layers + 1] [s]; inf: not allowed.
    """
    stages, ends = seconds.shape[0], seconds.shape[1]
    slowest = np.full(ends, np.inf)
    slowest[0] = 0.0
    for stage in range(stages):
        slowest = np.maximum(slowest[:, None], seconds[stage]).min(axis=0)
    if not np.isfinite(slowest[-1]):
        return ()
    allowed = np.where(seconds <= slowest[-1] * (1.0 + SAME), seconds, np.inf) ** 2
    total = np.full(ends, np.inf)
    total[0] = 0.0
    chosen = []
    for stage in range(stages):
        sums = total[:, None] + allowed[stage]
        chosen.append(sums.argmin(axis=0))
        total = sums.min(axis=0)
    lengths, end = [], ends - 1
    for firsts in reversed(chosen):
        first = int(firsts[end])
        lengths.append(end - first)
        end = first
    return tuple(reversed(lengths))


def runs_seconds(layers: Sequence[float], begins_s: float, least: int) -> Floats:
    """Time of every run of layers on one stage, [layers + 1, layers + 1] [s]; inf for shorter ones than ``least``.

    Args:
        layers: time of each [s].
        begins_s: what the stage takes besides [s].
    """
    before = np.concatenate([[0.0], np.cumsum(layers)])
    firsts, ends = np.indices((len(before), len(before)))
    found: Floats = np.where(ends - firsts >= least, before[None, :] - before[:, None] + begins_s, np.inf)
    return found


def forbid(seconds: Floats, fits: Callable[[int, int], bool]) -> None:
    """Make runs infinite that do not fit, in place; of runs that begin alike all that are longer do not fit either."""
    last = len(seconds) - 1
    for first in range(last + 1):
        low, high = first, last
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(first, middle) else (low, middle - 1)
        seconds[first, low + 1 :] = np.inf


def balanced_stages(prepared: Prepared, work: TrainStep) -> tuple[int, ...]:
    """Layers of each pipeline stage of the plan of ``prepared``, the embedding and the head counted.

    Where no split fits the memory it is balanced without regard to it. Of schedules that hold two stages on a rank
    memory is not looked at.

    Raises:
        InputError: a plan that cannot be priced.
    """
    arch, plan = work.model, prepared.pool.plan
    if plan.pp == 1:
        return (arch.layers,)
    groups = [group for group, each in enumerate(arch.groups) for _ in range(each.count)]
    micro = price_step(work, plan, prepared.how, prepared.model, prepared.communicators).micro
    seconds = _of_stages(parts_seconds(micro), plan.pp, plan.vpp)
    runtime = prepared.pool.runtime
    if runtime.runs_ahead and not runtime.graph_mode:
        launches = parts_seconds(replace(micro, time_s=np.full_like(micro.time_s, runtime.launch.value)))
        seconds = np.maximum(seconds, _of_stages(launches, plan.pp, plan.vpp, runtime.host_step.value))
    limited = seconds.copy()
    for rank in ranks_of(arch, plan):
        if sum(rank.kept) == sum(rank.layers):
            forbid(limited[rank.number], _fits(prepared, work, rank, groups))
    return balanced_split(limited) or balanced_split(seconds)


def _of_stages(parts: Parts, stages: int, pieces: int, more_s: float = 0.0) -> Floats:
    """Time of every run of layers on each stage, ``more_s`` besides, [stages, layers + 1, layers + 1] [s]."""
    layers = [once for once, count in zip(parts.layers_s, parts.counts, strict=True) for _ in range(count)]
    begins = np.full(stages, more_s)
    begins[0] += parts.embedding_s
    begins[-1] += parts.head_s
    return np.stack([runs_seconds(layers, float(each), pieces) for each in begins])


def _fits(prepared: Prepared, work: TrainStep, rank: Rank, groups: Sequence[int]) -> Callable[[int, int], bool]:
    """Whether a device of a rank has room for the layers from one to before another."""
    known: dict[tuple[int, ...], bool] = {}

    def fits(first: int, end: int) -> bool:
        layers = tuple(groups[first:end].count(group) for group in range(len(work.model.groups)))
        if layers not in known:
            own = rank._replace(layers=layers, kept=tuple(map(float, layers)))
            known[layers] = rank_memory(prepared, work, own).total <= prepared.usable_bytes
        return known[layers]

    return fits
