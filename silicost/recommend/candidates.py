"""A device under its best plan, or why it has none; and how far the ranking of several is sure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.records import DeviceSpec
from reports.numbers import quantity
from silicost.recommend.question import Limit, Question
from silicost.studies.cells import Value, scenario_of
from simulator.decisions.chances import chance_of_first, chances
from simulator.decisions.terms import METRICS, covariance_of, joined_terms, terms_of
from simulator.devices.priors import tdp_w
from simulator.metrics import BY_NAME
from simulator.result import Result
from simulator.simulate import simulate
from simulator.uncertainty.intervals import DEVICE_CORRELATION, Z80

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
STAGES: Final = ("class", "runtime", "dtype", "plan", "memory", "slo", "budget", "price", "bound", "screened")
"""Reasons of losers, in the order in which a device meets them."""


class Designs(NamedTuple):
    """Batches of one cut of a device: their metrics by name, shape [n] each, and which of them fit and keep every bound
    and budget, shape [n]."""

    batch: Ints
    metrics: Mapping[str, Floats]
    holds: npt.NDArray[np.bool_]


class Loser(NamedTuple):
    """A device without an answer: a code of ``STAGES`` and the words; ``off`` by how much it missed (log); the designs
    that missed, where they were priced."""

    device: str
    device_class: str
    code: str
    why: str
    off: float = math.inf
    designs: Designs | None = None


@dataclass(frozen=True)
class Candidate:
    """A device under its best plan.

    Args:
        question: the flags of ``silicost simulate`` or ``train`` that ask for it.
        metrics: what it does, by name.
        interval: 80% ends of the metric that ranks; None: not known.
        usd_per_hour: what all its devices cost; None without a price. ``price_origin``: whose price.
        rated_w: rated power of all devices.
        bound: what the longest phase is bound by.
        result: the simulation of it alone, where it was made.
        more: what else is known (replicas, rate).
        designs: of static batches, all batches of the cut that won.
    """

    device: DeviceSpec
    question: Mapping[str, Value]
    metrics: Mapping[str, float | None]
    count: int
    memory_bytes: float
    usable_bytes: float
    usd_per_hour: float | None
    price_origin: str
    rated_w: float
    bound: str
    interval: tuple[float, float] | None = None
    result: Result | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    designs: Designs | None = None

    @property
    def plan(self) -> dict[str, Value]:
        """How the work is cut and in which formats."""
        words = ("device", "model", "isl", "osl", "global_batch", "seq_len", "site", "lora_rank")
        return {key: value for key, value in self.question.items() if key not in words}


def rated_w(spec: DeviceSpec, count: int) -> float:
    """Rated power of so many devices [W]."""
    return tdp_w(spec) * count


def loss(asked: Question, each: Candidate) -> float:
    """What is to be made small: the log of the metric, or of its inverse."""
    value = each.metrics[asked.metric]
    assert value is not None
    return -math.log(value) if asked.higher else math.log(value)


def headroom(limits: Sequence[Limit], each: Candidate) -> dict[str, float]:
    """What is left to each bound: 0.3 is 30% of it."""
    found = {}
    for limit in limits:
        name, bound = limit.constraint.metric, limit.constraint.bound
        value = each.metrics.get(name)
        if value is not None:
            found[name] = 1.0 - value / bound if limit.constraint.op == "<=" else value / bound - 1.0
    return found


def over_budget(asked: Question, spec: DeviceSpec, count: int) -> tuple[str, float]:
    """Why so many devices are beyond what may be drawn or bought, and by how much (log); "" where they are not."""
    rated = rated_w(spec, count)
    if asked.budget_w and rated > asked.budget_w:
        over = quantity(rated - asked.budget_w, "w")
        return f"draws up to {quantity(rated, 'w')}, {over} over the budget", math.log(rated / asked.budget_w)
    if math.isfinite(asked.purchase_usd):
        bought = spec.price.purchase
        if bought is None:
            return "no purchase price is known, so that no budget can be kept", math.inf
        cost = bought.value * count
        if cost > asked.purchase_usd:
            words = f"costs {cost:,.0f} USD, {cost - asked.purchase_usd:,.0f} USD over the budget"
            return words, math.log(cost / asked.purchase_usd)
    return "", 0.0


def over_hourly(usd_per_h: float, most: float) -> str:
    """By how much an hour is too dear."""
    return f"costs {usd_per_h:.4g} USD/h, {usd_per_h - most:.3g} USD/h over the budget"


def does_not_fit(needed: float, usable: float, count: int) -> str:
    """By how much a device is over."""
    of = f"each of {count} devices" if count > 1 else "one device"
    over = needed - usable
    return f"does not fit: {of} needs {needed / 1e9:.4g} GB of {usable / 1e9:.4g} GB, {over / 1e9:.3g} GB over"


def broken(limits: Sequence[Limit], metrics: Mapping[str, float | None]) -> tuple[str, float]:
    """Which bounds metrics break and the largest excess (log); "" where all hold."""
    words, most = [], 0.0
    for limit in limits:
        name, bound = limit.constraint.metric, limit.constraint.bound
        value = metrics.get(name)
        off = math.inf if value is None else float(limit.constraint.margins(np.array([value]))[0])
        if off > 0.0:
            dimension = BY_NAME[name].dimension if name in BY_NAME else "s"
            there = "is not known" if value is None else f"is {quantity(value, dimension)}"
            side = "above" if limit.constraint.op == "<=" else "below"
            words.append(f"{name} {there}, {side} {quantity(bound, dimension)}")
            most = max(most, off)
    return ", ".join(words), most


def refine(each: Candidate, metric: str) -> Candidate:
    """``each`` simulated alone: its interval and what bounds it."""
    result = simulate(scenario_of(each.question))
    ends = result.intervals.get(metric)
    known = (ends.p10, ends.p90) if ends is not None else each.interval
    return replace(each, result=result, interval=known)


class Chances(NamedTuple):
    """How sure a ranking is: the chance of each of the first to be the best, and that the first beats each."""

    best: tuple[float, ...]
    first_beats: tuple[float, ...]
    how: str


def chances_of(asked: Question, ranked: Sequence[Candidate]) -> Chances | None:
    """Of candidates that were refined; None for fewer than two, or without intervals.

    Errors of static batches are compared source by source (``decisions.terms``); of other workloads the spreads of the
    intervals are, with the correlation of two devices.
    """
    if len(ranked) < 2 or any(each.interval is None for each in ranked):
        return None
    mean = np.array([loss(asked, each) for each in ranked])
    results = [each.result for each in ranked]
    if asked.kind == "inference" and asked.metric in METRICS and all(results):
        loads = [
            terms_of(scenario_of(each.question), each.result, asked.metric)
            for each in ranked
            if each.result is not None
        ]
        terms, matrix = joined_terms(loads)
        covariance, how = matrix @ covariance_of(terms) @ matrix.T, "errors source by source"
    else:
        covariance, how = _alike(ranked), f"intervals with a correlation of {DEVICE_CORRELATION:g} between devices"
    first = [0.5]
    for other in range(1, len(ranked)):
        variance = covariance[0, 0] + covariance[other, other] - 2.0 * covariance[0, other]
        gap = np.array(mean[other] - mean[0])
        first.append(float(chance_of_first(gap, np.array(max(float(variance), 0.0)))))
    return Chances(tuple(chances(mean, covariance).tolist()), tuple(first), how)


def _alike(ranked: Sequence[Candidate]) -> Floats:
    sds = np.array([math.log(each.interval[1] / each.interval[0]) / (2.0 * Z80) for each in ranked if each.interval])
    same = np.array([[DEVICE_CORRELATION if a is not b else 1.0 for b in ranked] for a in ranked])
    return np.asarray(same * np.outer(sds, sds))


def against_first(asked: Question, first: Candidate, each: Candidate) -> str:
    """Why ``each`` loses against the first: by how much, because of what."""
    times = math.exp(loss(asked, each) - loss(asked, first))
    if each is first:
        return ""
    words = {"usd": "dearer", "energy": "more energy", "latency": "slower", "throughput": "slower"}[asked.objective]
    parts = []
    if asked.objective == "usd" and each.usd_per_hour and first.usd_per_hour:
        price, per = each.usd_per_hour / first.usd_per_hour, "step" if asked.kind == "training" else "token"
        parts.append(f"{price:.3g}x the price an hour, {times / price:.3g}x the time per {per}")
    if asked.objective == "energy" and each.count:
        parts.append(f"{each.rated_w / first.rated_w:.3g}x the rated power")
    parts.append(f"bound by {each.bound}" if each.bound else "")
    return f"{times:.3g}x: {words}; {'; '.join(part for part in parts if part)}"
