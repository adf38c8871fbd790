"""Fits of the numbers of a software runtime to measured runs.

Whole runs determine few of a runtime's numbers: those of its kernels relative to the device law, and what its host
takes. They are moved in their logarithms by Gauss-Newton steps on the mean absolute log ratio of predicted to measured,
with rows weighted by the inverse of their residual (Lawson 1961; Holland and Welsch, "Robust regression using
iteratively reweighted least squares", 1977, doi:10.1080/03610927708827533), and pulled weakly to where they were. A
number that hardly moves any row stays; runs of few groups say little about others, and pull harder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.optimize import lsq_linear

from hardware_specs.facts import Fact
from workloads.runtimes.catalogue import HIGHEST_FACTOR
from workloads.runtimes.record import Runtime

Floats = npt.NDArray[np.float64]

PULL: Final = 3e-3
"""Mean absolute log ratio that moving a number by a factor e must gain, with many groups of rows."""
FEW_GROUPS: Final = 10.0
"""Groups of rows with which it must gain twice as much."""
LEAST_EFFECT: Final = 0.02
"""Mean change of a log prediction per log of a number below which rows do not determine it."""
_PROBE: Final = 0.06
"""Step of the logarithm by which slopes are taken."""
_LARGEST_STEP: Final = 0.7
_LEAST_RESIDUAL: Final = 0.03
_STEPS: Final = 6


class Number(NamedTuple):
    """A number of a runtime that fits may move: a factor of ``factors`` or seconds of the host, and its range."""

    name: str
    low: float
    high: float


_KERNELS: Final = (
    ("gemm", 0.05, 1.2), ("gemv", 0.05, 1.2), ("moe", 0.05, HIGHEST_FACTOR),
    ("attention_prefill", 0.02, HIGHEST_FACTOR), ("attention_decode", 0.02, HIGHEST_FACTOR),
    ("vector", 0.05, HIGHEST_FACTOR),
)  # fmt: skip
"""Kernel families with the ranges of their factors. Laws grant products of good libraries 0.84 of the bandwidth, and of
the peak what power sustains: more than a fifth above that is not there to be had."""
_LAUNCHES: Final = ("launch", "graph_launch")
_HOST: Final = ("host_step", "host_sequence", "host_rank")
_SHORTEST_LAUNCH_S, _LONGEST_LAUNCH_S, _LONGEST_OF_TRAINING_S = 0.5e-6, 40e-6, 80e-6
_SHORTEST_STEP_S, _LONGEST_STEP_S = 1e-6, 20e-3
_HOST_FACTOR: Final = 5.0
"""How far a fit may move what the host takes: profiles know its order of magnitude."""


def numbers_of(runtime: Runtime) -> tuple[Number, ...]:
    """The numbers of ``runtime`` that fits may move; a time of 0 says that there is none."""
    found = [Number(*each) for each in _KERNELS if _fact(runtime, each[0])]
    longest = _LONGEST_OF_TRAINING_S if runtime.trains else _LONGEST_LAUNCH_S
    for name in _LAUNCHES:
        now = getattr(runtime, name).value
        if now > 0.0:
            found.append(Number(name, min(_SHORTEST_LAUNCH_S, now), max(longest, now)))
    for name in _HOST:
        fact = getattr(runtime, name)
        if fact and fact.value > 0.0:
            low, high = fact.value / _HOST_FACTOR, fact.value * _HOST_FACTOR
            found.append(Number(name, max(low, _SHORTEST_STEP_S), min(high, _LONGEST_STEP_S)))
    return tuple(found)


def _fact(runtime: Runtime, name: str) -> Fact | None:
    return getattr(runtime.factors if hasattr(runtime.factors, name) else runtime, name, None)


def values_of(runtime: Runtime, numbers: Sequence[Number]) -> Floats:
    """The values of ``numbers`` in ``runtime``, shape [numbers]."""
    facts = [_fact(runtime, number.name) for number in numbers]
    return np.array([fact.value for fact in facts if fact])


def with_values(runtime: Runtime, values: Mapping[str, float]) -> Runtime:
    """``runtime`` with other values of numbers, by name."""
    factors: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in values.items():
        fact = _fact(runtime, name)
        if fact is None:
            raise ValueError(f"runtime {runtime.id} has no number {name!r}")
        chosen = factors if hasattr(runtime.factors, name) else others
        chosen[name] = msgspec.structs.replace(fact, value=value, text=f"{value:.3g}")
    return msgspec.structs.replace(runtime, factors=msgspec.structs.replace(runtime.factors, **factors), **others)


class FittedNumbers(NamedTuple):
    """Values by name of the numbers that rows determine, and how many evaluations it took to find them."""

    values: dict[str, float]
    evaluations: int


def fit_numbers(
    log_ratios: Callable[[dict[str, float]], Floats],
    start: Floats,
    numbers: Sequence[Number],
    groups: int,
    weights: Floats | None = None,
) -> FittedNumbers:
    """Fit ``numbers`` so that the mean absolute log ratio is least.

    Args:
        log_ratios: log of predicted over measured of every row with these values, shape [rows].
        start: today's values, shape [numbers]; brought into the ranges.
        groups: of rows that are alike.
        weights: how much each row counts; None: all the same.
    """
    low, high = (np.log([getattr(number, end) for number in numbers]) for end in ("low", "high"))
    prior = np.clip(np.log(start), low, high)
    pull = PULL * (1.0 + FEW_GROUPS / groups)
    count = 0
    weight = 1.0 if weights is None else weights / weights.mean()

    def residuals(u: Floats) -> Floats:
        nonlocal count
        count += 1
        values = {number.name: float(value) for number, value in zip(numbers, np.exp(u), strict=True)}
        return weight * log_ratios(values)

    def target(r: Floats, u: Floats) -> float:
        return float(np.abs(r).mean() + pull * np.square(u - prior).sum())

    u, r = prior, residuals(prior)
    slopes = _slopes(residuals, u, r, range(len(u)), high)
    free = np.flatnonzero(np.abs(slopes).mean(axis=0) > LEAST_EFFECT)
    for step in range(_STEPS):
        if not free.size:
            break
        if step:
            slopes = _slopes(residuals, u, r, free, high)
        rows, pulls = (
            _weighted(r, slopes[:, free]),
            np.sqrt(pull) * np.column_stack([np.eye(free.size), u[free] - prior[free]]),
        )
        least, most = (np.clip(end[free] - u[free], -_LARGEST_STEP, _LARGEST_STEP) for end in (low, high))
        matrix = np.vstack([rows, pulls])
        change = lsq_linear(matrix[:, :-1], -matrix[:, -1], (least - 1e-9, most + 1e-9)).x
        before = target(r, u)
        for part in (1.0, 0.5, 0.25, 0.1):
            trial = u.copy()
            trial[free] = np.clip(u[free] + part * change, low[free], high[free])
            left = residuals(trial)
            if target(left, trial) < before:
                u, r = trial, left
                break
        if target(r, u) > before - 3e-4:
            break
    u = _polished(residuals, target, u, r, free, low, high)
    return FittedNumbers({numbers[j].name: float(np.exp(u[j])) for j in free.tolist()}, count)


def _polished(
    residuals: Callable[[Floats], Floats], target: Callable[[Floats, Floats], float], u: Floats, r: Floats,
    free: Any, low: Floats, high: Floats,
) -> Floats:  # fmt: skip
    """``u`` after a step up or down in each of the variables ``free`` where that brings the target down."""
    for j in free.tolist():
        for shift in (0.15, -0.15):
            trial = u.copy()
            trial[j] = np.clip(u[j] + shift, low[j], high[j])
            left = residuals(trial)
            if target(left, trial) < target(r, u):
                u, r = trial, left
                break
    return u


def _slopes(residuals: Callable[[Floats], Floats], u: Floats, r: Floats, which: Any, high: Floats) -> Floats:
    """Changes of the residuals per unit of each of the variables ``which``, shape [rows, variables]; 0 for others."""
    slopes = np.zeros((len(r), len(u)))
    for j in which:
        step = _PROBE if u[j] + _PROBE <= high[j] else -_PROBE
        probe = u.copy()
        probe[j] += step
        slopes[:, j] = (residuals(probe) - r) / step
    return slopes


def _weighted(r: Floats, slopes: Floats) -> Floats:
    """Slopes and residuals, weighted so that their squares are the absolute residuals; shape [rows, variables + 1]."""
    weight = np.sqrt(0.5 / (len(r) * np.maximum(np.abs(r), _LEAST_RESIDUAL)))
    return weight[:, None] * np.column_stack([slopes, r])
