"""Numbers of runtimes and laws fitted anew to the cases of other folds (see ``inference_classes``)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from inference_cases import Case, Spared, Values, guess_of, under_law

from hardware_specs.devices import load_device
from hardware_specs.facts import Mark
from simulator.calibration.runtimes import Number, fit_numbers, numbers_of, values_of, with_values
from simulator.calibration.split import folds_of, spread_over
from simulator.devices.registry import law_of
from simulator.prepared import prepare
from simulator.scenario import StaticBatch
from simulator.steps.batch_metrics import BatchTotals, batch_metrics
from simulator.steps.static_batch import price_batch
from simulator.validation.assumptions import complete
from simulator.validation.inference_point import Point, point_of
from simulator.validation.predictor import Predictor
from workloads.runtimes.catalogue import load_runtime
from workloads.runtimes.record import Runtime

Floats = npt.NDArray[np.float64]

FOLDS: Final = 4
MOST_OF_DEVICE: Final = 24
"""Runs of a device that fits of law parameters take at most."""
LAW_RANGE: Final = 4.0
"""How far, as a factor, they move them."""
MOST_RUNS: Final = 120
"""Runs that a fit of a runtime to other folds takes at most."""
FEWEST_RUNS: Final = 4


def refitted(cases: Sequence[Case], by: str) -> tuple[list[dict[str, Runtime]], list[bool]]:
    """For each case its runtime as fitted to cases of other folds, and whether there were any.

    Args:
        by: the field of a case whose values are dealt to folds.
    """
    folds = folds_of([getattr(case, by) for case in cases], FOLDS)
    by_runtime: dict[str, list[int]] = defaultdict(list)
    for number, case in enumerate(cases):
        if not case.reason and not case.is_energy:
            by_runtime[case.runtime].append(number)
    jobs, places = [], []
    for name, rows in sorted(by_runtime.items()):
        for fold in sorted(set(folds[rows].tolist())):
            others = [cases[i] for i in rows if folds[i] != fold]
            jobs.append((name, others))
            places.append((name, fold))
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
        made = dict(zip(places, pool.map(_fitted, *zip(*jobs, strict=True)), strict=True)) if jobs else {}
    one: dict[tuple[str, int], dict[str, Runtime]] = {
        place: ({place[0]: runtime} if runtime else {}) for place, runtime in made.items()
    }
    pairs = [(case.runtime, int(fold)) for case, fold in zip(cases, folds, strict=True)]
    empty: dict[str, Runtime] = {}
    return [one.get(pair, empty) for pair in pairs], [bool(one.get(pair)) for pair in pairs]


def _fitted(name: str, others: Sequence[Case]) -> Runtime | None:
    """A runtime fitted to ``others``; None where these are too few."""
    start = load_runtime(name)
    numbers = [number for number in numbers_of(start) if _is_calibrated(start, number)]
    if not numbers:
        return start
    usable = _usable(start, others)
    if len(usable) < FEWEST_RUNS:
        return None
    usable = [usable[i] for i in spread_over(np.array([case.observed for case in usable]), MOST_RUNS)]
    metrics, devices = Counter(case.metric for case in usable), Counter(case.device for case in usable)
    weights = np.array([(metrics[case.metric] * devices[case.device]) ** -0.5 for case in usable])
    trials = trials_of(usable)

    def ratios(values: Mapping[str, float]) -> Floats:
        return trials.log_ratios(Spared({start.id: with_values(start, values)}))

    groups = len({case.key for case in usable})
    found = fit_numbers(ratios, values_of(start, numbers), numbers, groups, weights)
    return with_values(start, found.values)


def _is_calibrated(runtime: Runtime, number: Number) -> bool:
    fact = getattr(runtime.factors, number.name, None) or getattr(runtime, number.name)
    return bool(fact.mark == Mark.CALIBRATED)


def _usable(runtime: Runtime, cases: Sequence[Case]) -> list[Case]:
    ratios = _log_ratios(Spared({runtime.id: runtime}), cases)
    return [case for case, ratio in zip(cases, ratios, strict=True) if np.isfinite(ratio)]


def _log_ratios(predictor: Predictor, cases: Sequence[Case]) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log([guess_of(case, predictor).predicted / case.observed for case in cases])


class Trials(NamedTuple):
    """Cases that many trials predict, and the points that they are under any of these."""

    cases: Sequence[Case]
    points: Sequence[Point]

    def log_ratios(self, predictor: Spared) -> Floats:
        """As ``_log_ratios``, without what no metric of time needs: energy, intervals, what a result says of itself."""
        known: dict[Point, Mapping[str, float | None]] = {}
        found = []
        for case, point in zip(self.cases, self.points, strict=True):
            if point not in known:
                known[point] = times_of(predictor, point)
            found.append((known[point][case.metric] or np.nan) / case.observed)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(found)


def trials_of(cases: Sequence[Case]) -> Trials:
    """Of cases that can be predicted."""
    points = []
    for case in cases:
        cells, _ = complete(case.row, load_device(case.device), load_runtime(case.runtime), {})
        points.append(Predictor({}).settled(point_of(cells, case.device, case.runtime)))
    return Trials(cases, points)


def times_of(predictor: Predictor, point: Point) -> Mapping[str, float | None]:
    """The metrics of a static batch as ``simulate`` has them; only those of time hold."""
    prepared = prepare(predictor.scenario(point))
    work = prepared.scenario.workload
    assert isinstance(work, StaticBatch)
    cost = price_batch(work, prepared.pool.plan, prepared.how, prepared.model, prepared.communicators)
    totals = BatchTotals(cost.ttft_s, cost.tpot_s, cost.e2e_s, {prepared.pool.name: 0.0}, 1)
    return batch_metrics((prepared,), work, totals, None)[0]


def law_values(cases: Sequence[Case], by: str, names: Sequence[str]) -> list[Values]:
    """For each case law parameters as fitted to the cases of its class in other folds, under shipped runtimes."""
    folds = folds_of([getattr(case, by) for case in cases], FOLDS)
    jobs = []
    for fold in range(FOLDS):
        others = [case for case, own in zip(cases, folds, strict=True) if own != fold and not case.reason]
        jobs.append([case for case in others if not case.is_energy])
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
        found = list(pool.map(_law_fitted, jobs, [list(names)] * FOLDS))
    return [found[int(fold)] for fold in folds]


def _law_fitted(cases: Sequence[Case], names: Sequence[str]) -> dict[str, float]:
    spec = load_device(cases[0].device)
    start = {each.name: each.prior(spec) for each in law_of(spec.device_class).parameters if each.name in names}
    kept = _evenly(cases)

    usable = np.isfinite(_log_ratios(Spared({}), kept))
    kept = [case for case, use in zip(kept, usable, strict=True) if use]
    trials = trials_of(kept)

    def ratios(values: Mapping[str, float]) -> Floats:
        return trials.log_ratios(Spared({}, {name: under_law(load_device(name), values) for name in devices}))

    devices = {case.device for case in kept}
    numbers = [Number(name, value / LAW_RANGE, value * LAW_RANGE) for name, value in start.items()]
    sizes = Counter(case.device for case in kept)
    weights = np.array([sizes[case.device] ** -0.5 for case in kept])
    groups = len({case.key for case in kept})
    return start | fit_numbers(ratios, np.array(list(start.values())), numbers, groups, weights).values


def _evenly(cases: Sequence[Case]) -> list[Case]:
    """At most ``MOST_OF_DEVICE`` cases of each device, evenly spread over what was measured."""
    parts: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        parts[case.device].append(case)
    return [own[i] for own in parts.values() for i in spread_over(np.array([c.observed for c in own]), MOST_OF_DEVICE)]
