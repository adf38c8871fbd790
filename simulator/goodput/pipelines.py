"""Slow ranks inside pipelines: the slowest rank of each stage, then the schedule, then the slowest pipeline.

A pipeline of P stages and m micro-batches whose stages are slower by X_1 ... X_P takes

    T = m max X + b (sum X - max X)      in units of a micro-batch of a stage,

the makespan of a flow shop with equal jobs, b = 1 for GPipe and 1F1B, 1/v for 1F1B of v chunks a device (Narayanan et
al. 2021, arXiv:2104.04473, section 2.2), 0 for a schedule without bubble. Pipelines meet at the end of a step, so it
lasts as long as the slowest of the R data-parallel ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logit, ndtr

from hardware_specs.errors import InputError
from simulator.goodput.maxima import LEVELS, expected_maximum, maximum_quantile
from simulator.goodput.slowdowns import Floats, Slowdown, Straggler

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_GRID = 600
_SPREADS = 8.0


@dataclass(frozen=True)
class Pipelines:
    """How the ranks of a step wait for each other.

    Args:
        ranks: devices of one stage of one pipeline (tensor, context and expert parallel), which work in step.
        stages: stages of a pipeline.
        replicas: data-parallel pipelines.
        micro_batches: micro-batches of a step.
        bubble: share of a stage's time that filling and draining costs for each other stage (see above).

    Raises:
        InputError: a number that is not positive, or a bubble outside 0 .. 1.
    """

    ranks: int
    stages: int = 1
    replicas: int = 1
    micro_batches: int = 1
    bubble: float = 1.0

    def __post_init__(self) -> None:
        for name in ("ranks", "stages", "replicas", "micro_batches"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}; allowed: a whole number from 1 on")
        if not 0.0 <= self.bubble <= 1.0:
            raise InputError(f"bubble {self.bubble}; allowed: from 0 to 1")

    @property
    def devices(self) -> int:
        """Devices of the job."""
        return self.ranks * self.stages * self.replicas


@dataclass(frozen=True)
class StepSlowdown:
    """The slow-down of a whole step: its expectation, and its quantiles as a table over ``LEVELS``."""

    mean: float
    factors: Floats

    def quantile(self, probability: Floats | float) -> Floats:
        """The factor that a step stays below with this probability, in (0, 1); same shape.

        Between levels it goes straight over the log odds, in which exponential tails are straight.
        """
        return np.asarray(np.interp(logit(probability), logit(LEVELS), self.factors))


def step_slowdown(straggler: Straggler, layout: Pipelines) -> StepSlowdown:
    """How much longer than with typical devices a step lasts; 1 is not at all.

    Devices of a group that is larger than a stage belong to neighbouring pipelines, as in Megatron's order of ranks.
    Without pipelines it is the exact order statistic; with them sums of the stages that are not the slowest are normal
    with the exact mean and variance below the slowest (error below 0.5%, tests).
    """
    draws = straggler.draws(layout.ranks)
    shared = max(1, straggler.group // layout.ranks)
    replicas = -(-layout.replicas // shared)
    if layout.stages == 1:
        ranks = draws * replicas
        return StepSlowdown(expected_maximum(straggler.law, ranks), maximum_quantile(straggler.law, ranks, LEVELS))
    return _through_schedule(straggler.law, draws, replicas, layout)


def _through_schedule(law: Slowdown, draws: int, replicas: int, layout: Pipelines) -> StepSlowdown:
    """Distribution of the slowest of ``replicas`` pipelines, on a grid of times."""
    others = layout.stages - 1
    uniform, weight = _upper_nodes(law, draws * layout.stages)
    stage_level = uniform ** (1.0 / layout.stages)
    slowest = maximum_quantile(law, draws, stage_level)
    mean, deviation = _below(law, draws, stage_level)
    centre = layout.micro_batches * slowest + layout.bubble * others * mean
    spread = np.maximum(layout.bubble * np.sqrt(others) * deviation, 1e-9 * centre)
    low, high = float(np.min(centre - _SPREADS * spread)), float(np.max(centre + _SPREADS * spread))
    times = np.unique(np.concatenate([np.linspace(low, high, _GRID), np.quantile(centre, np.linspace(0, 1, _GRID))]))
    below = ndtr((times[:, None] - centre) / spread) @ weight
    all_below = np.clip(below, 0.0, 1.0) ** replicas
    typical = layout.micro_batches + layout.bubble * others
    expected = float(times[0]) + float(np.trapezoid(1.0 - all_below, times))
    rising, first = np.unique(all_below, return_index=True)
    return StepSlowdown(expected / typical, np.interp(LEVELS, rising, times[first]) / typical)


def _upper_nodes(law: Slowdown, ranks: int) -> tuple[Floats, Floats]:
    """Nodes and weights on (0, 1) that are dense at both ends and apart at the jumps of the slowest of ``ranks``."""
    jumps = (1.0 - np.array(law.jumps)) ** ranks
    ends = np.unique(np.concatenate([[0.0], LEVELS, jumps[jumps < 1.0 - 1e-13], [1.0 - 1e-13]]))
    width = np.diff(ends)
    points = ends[:-1, None] + 0.5 * width[:, None] * (_NODES + 1.0)
    weights = 0.5 * width[:, None] * _WEIGHTS
    return points.ravel(), weights.ravel() / weights.sum()


def _below(law: Slowdown, draws: int, level: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of a stage's factor, given that its level is below each ``level``."""
    uniform, weight = _upper_nodes(law, draws)
    factor = maximum_quantile(law, draws, uniform)
    ends = np.concatenate([[0.0], np.cumsum(weight)])
    first = np.concatenate([[0.0], np.cumsum(weight * factor)])
    second = np.concatenate([[0.0], np.cumsum(weight * factor**2)])
    mean = np.interp(level, ends, first) / level
    square = np.interp(level, ends, second) / level
    return np.asarray(mean), np.sqrt(np.maximum(square - mean**2, 0.0))
