"""Fit the numbers of software runtimes to measured inference and training runs.

    python benchmarks/fit_runtimes.py POINTS... [--only TEXT] [--keep NAME]... [--assume COLUMN]... [--write | --each]

Every runtime with enough measured runs has its factors and host times moved so that its runs are predicted best;
numbers that its runs do not determine stay, and all do where a fit to some groups does not improve others. Groups of
runs (a model on a device) are ordered by digest and every fourth is held out; runs of quality A or B that state all
that a prediction needs are used, energy and what a server's limits decide apart. ``--only`` fits runtimes whose id
contains this text, ``--keep`` leaves a number as it is: what other devices that are better known say of it (products of
a vendor's library on a device with a calibration) holds. ``--assume input_len`` takes runs that do not state this
column, and no other, with what is assumed for them: for what it hardly matters to. ``--write`` changes the files of
the runtimes; without it the fits are only printed: mean absolute error before and after, of groups seen and held out.
``--each`` leaves every group out in turn, fits the others, and prints what that says of it.

A calibration that was measured under a runtime holds for others by the ratio of their factors: fit the runtimes that
calibrations name before others.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError
from hardware_specs.facts import Fit, group_digest
from hardware_specs.files import write_text
from simulator.calibration.rewrite import with_fitted
from simulator.calibration.runtimes import FittedNumbers, Number, fit_numbers, numbers_of, values_of, with_values
from simulator.calibration.split import HELD_OUT, folds_of
from simulator.simulate import simulate
from simulator.validation.assumptions import complete
from simulator.validation.cells import Row, measured_value
from simulator.validation.inference import METRICS, published_of
from simulator.validation.inference_point import WHAT_FITS, point_of
from simulator.validation.one_pool import device_of
from simulator.validation.outcome import RUN_GROUPS, run_key
from simulator.validation.points import Points, read_points
from simulator.validation.predictor import Predictor
from simulator.validation.step_assumptions import complete_step
from simulator.validation.training import METRIC, scenario_of, step_time_s
from workloads.runtimes.catalogue import default_runtime, load_runtime
from workloads.runtimes.match import match_runtime
from workloads.runtimes.record import Runtime

Floats = npt.NDArray[np.float64]
Predict = Callable[[Predictor, Runtime], float]

FEWEST_RUNS: Final = 12
MOST_RUNS: Final = 250
_TRIED_ON: Final = HELD_OUT + 1
"""The fold that shows first whether a fit to the others is any good; then it is fitted too."""
DATA: Final = Path("workloads/runtimes/data")
RULE: Final = (
    "pairs of device and model ordered by digest, every fourth held out; mean absolute log ratio of predicted to "
    "measured runs minimised on the others, with a weak pull to the values before; devices weigh by the root of their "
    "runs"
)


class Run(NamedTuple):
    """A measured run: its table, device and model, what was measured, and how it is predicted under a runtime."""

    source: str
    device: str
    model: str
    metric: str
    observed: float
    predict: Predict

    @property
    def key(self) -> str:
        """The key of its group."""
        return run_key(self.device, self.model)


def main() -> None:
    """Fit, print and, if asked to, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", nargs="+", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", action="append", default=[])
    parser.add_argument("--assume", action="append", default=[])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--each", action="store_true")
    parser.add_argument("--date", default=time.strftime("%Y-%m-%d"))
    arguments = parser.parse_args()
    try:
        runs = runs_by_runtime(read_points(arguments.points), frozenset(arguments.assume))
    except InputError as error:
        sys.exit(f"error: {error}")
    chosen = {
        name: found for name, found in sorted(runs.items()) if arguments.only in name and len(found) >= FEWEST_RUNS
    }
    # Runs are handed to the workers by the fork: what predicts them is no data.
    _CHOSEN.update(chosen)
    _KEPT.update(arguments.keep)
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
        if arguments.each:
            for name in chosen:
                print(_each_left_out(name, pool), flush=True)
            return
        for name, fitted in zip(chosen, pool.map(_fit_named, chosen), strict=True):
            print(fitted.report, flush=True)
            if arguments.write and fitted.values:
                rule = f"{RULE}; {', '.join(arguments.assume)} as assumed" if arguments.assume else RULE
                write(name, fitted, arguments.date, rule)


_CHOSEN: dict[str, list[Run]] = {}
_KEPT: set[str] = set()


class Fitted(NamedTuple):
    """Values of a runtime by name, the runs that they rest on, and what to say."""

    values: dict[str, float]
    seen: tuple[tuple[str, str, str], ...]
    report: str


def _fit_named(name: str) -> Fitted:
    return fit(load_runtime(name), _CHOSEN[name], _KEPT)


def _each_left_out(name: str, pool: ProcessPoolExecutor) -> str:
    """Errors of each group of runs under a fit to all others, and their mean over runs."""
    keys = sorted({run.key for run in _CHOSEN[name]})
    lines, total, count = [], 0.0, 0
    for key, errors in zip(keys, pool.map(_left_out, [name] * len(keys), keys), strict=True):
        known = errors[np.isfinite(errors)]
        total, count = total + float(known.sum()), count + len(known)
        one = next(run for run in _CHOSEN[name] if run.key == key)
        lines.append(f"    {one.device} {one.model}: {len(known)} runs {known.mean():.1%}")
    return "\n".join([f"{name}: {count} runs, each group left out in turn, {total / max(count, 1):.1%}", *lines])


def _left_out(name: str, key: str) -> Floats:
    """Absolute errors of the runs of group ``key`` under a fit to the others, shape [runs]."""
    runtime, runs = load_runtime(name), _CHOSEN[name]
    numbers = [number for number in numbers_of(runtime) if number.name not in _KEPT]
    ratios = log_ratios(runtime, runs)
    others = [run for run, ratio in zip(runs, ratios, strict=True) if run.key != key and np.isfinite(ratio)]
    after = with_values(runtime, _fitted(runtime, numbers, thinned(others)).values)
    return np.abs(np.expm1(log_ratios(after, [run for run in runs if run.key == key])))


def runs_by_runtime(found: Sequence[Points], assumable: frozenset[str] = frozenset()) -> dict[str, list[Run]]:
    """Usable runs of points files by the runtime that they ran under.

    Args:
        assumable: columns that runs of inference may leave to assumptions.
    """
    runs: dict[str, list[Run]] = defaultdict(list)
    for points in found:
        if points.kind not in ("inference", "training"):
            continue
        read = partial(_inference_run, assumable) if points.kind == "inference" else _training_run
        for row, source in zip(points.records(), points.sources(), strict=True):
            if row.get("quality", "A") not in ("A", "B"):
                continue
            try:
                runtime, run = read(row, source, points.name)
            except InputError:
                continue
            if run is not None:
                runs[runtime].append(run)
    return runs


def _inference_run(assumable: frozenset[str], row: Row, source: str, table: str) -> tuple[str, Run | None]:
    """A run of static batches; None where something else is assumed, or follows from a server's limits."""
    metric, spec = row.get("metric", ""), device_of(row.get("device", ""))
    runtime, named = match_runtime(row.get("engine", ""), spec, published_of((source, table)))
    completed, assumed = complete(row, spec, runtime, {})
    assumed = tuple(each for each in assumed if each.column not in assumable)
    if not named or assumed or metric not in METRICS or metric == "j_per_output_token":
        return runtime.id, None
    point = point_of(completed, spec.id, runtime.id)
    if point.batch == WHAT_FITS:
        return runtime.id, None

    def predict(predictor: Predictor, trial: Runtime) -> float:
        result = predictor.result(point)
        # What does not fit is measured in turns, which is not what is predicted.
        return (result.metrics[metric] or np.nan) if result.fits else np.nan

    return runtime.id, Run(source, spec.id, row["model"], metric, measured_value(row, "measured"), predict)


def _training_run(row: Row, source: str, table: str) -> tuple[str, Run | None]:
    """A training step; None for what other rows report too, or where something is assumed."""
    spec = device_of(row.get("device", ""))
    runtime, named = match_runtime(row.get("framework", ""), spec)
    runtime = runtime if named else default_runtime(spec, training=True)
    observed = step_time_s(row)
    if observed is None or row.get("primary") in ("0", "0.0"):
        return runtime.id, None
    completed, assumed = complete_step(row, spec, lambda cells: simulate(scenario_of(cells, spec, runtime, {})))
    if assumed:
        return runtime.id, None

    def predict(predictor: Predictor, trial: Runtime) -> float:
        return simulate(scenario_of(completed, spec, trial, {})).metrics[METRIC] or np.nan

    return runtime.id, Run(source, spec.id, row["model"], METRIC, observed, predict)


def fit(runtime: Runtime, runs: Sequence[Run], kept: Collection[str] = ()) -> Fitted:
    """Fit ``runtime`` to its runs of groups that are not held out; few runs of a metric or device count more each.

    Numbers that are ``kept`` stay as they are.
    """
    runs = [run for run, ratio in zip(runs, log_ratios(runtime, runs), strict=True) if np.isfinite(ratio)]
    folds = folds_of([run.key for run in runs])
    seen = thinned([run for run, fold in zip(runs, folds, strict=True) if fold != HELD_OUT])
    held = [run for run, fold in zip(runs, folds, strict=True) if fold == HELD_OUT]
    first = [run for run, fold in zip(runs, folds, strict=True) if fold not in (HELD_OUT, _TRIED_ON)]
    tried_on = thinned([run for run, fold in zip(runs, folds, strict=True) if fold == _TRIED_ON])
    numbers = [number for number in numbers_of(runtime) if number.name not in kept]
    if len({run.key for run in first}) > 1 and tried_on:
        tried = with_values(runtime, _fitted(runtime, numbers, thinned(first)).values)
        then, now = (np.abs(log_ratios(each, tried_on)).mean() for each in (runtime, tried))
        if now >= then:
            words = (
                f"stays: a fit to other groups takes the mean log ratio of groups left out from {then:.3f} to {now:.3f}"
            )
            return Fitted({}, (), f"{runtime.id} {words}; {len(runs)} runs, held out {_errors(runtime, tried, held)}")
    found = _fitted(runtime, numbers, seen)
    after = with_values(runtime, found.values)
    words = [f"{runtime.id}: {found.evaluations} evaluations"]
    for what, part in (("seen", seen), ("held out", held)):
        if part:
            words.append(f"{what} {_errors(runtime, after, part)}")
    before = dict(zip((number.name for number in numbers), values_of(runtime, numbers), strict=True))
    moved = ", ".join(f"{name} {before[name]:.3g} -> {value:.3g}" for name, value in found.values.items())
    still = ", ".join(f"{name} {value:.3g}" for name, value in before.items() if name not in found.values)
    report = "; ".join(words) + f"\n    moved: {moved}\n    undetermined: {still}"
    return Fitted(found.values, tuple((run.source, run.device, run.model) for run in seen), report)


def _fitted(runtime: Runtime, numbers: Sequence[Number], runs: Sequence[Run]) -> FittedNumbers:
    def ratios(values: Mapping[str, float]) -> Floats:
        return log_ratios(with_values(runtime, values), runs)

    metrics, devices = Counter(run.metric for run in runs), Counter(run.device for run in runs)
    weights = np.array([(metrics[run.metric] * devices[run.device]) ** -0.5 for run in runs])
    return fit_numbers(ratios, values_of(runtime, numbers), numbers, len({run.key for run in runs}), weights)


def _errors(before: Runtime, after: Runtime, runs: Sequence[Run]) -> str:
    """Mean absolute error, in all and by metric, under two runtimes."""
    old, new = (np.abs(np.expm1(log_ratios(runtime, runs))) for runtime in (before, after))
    metrics = np.array([run.metric for run in runs])
    parts = [
        f"{name} {old[metrics == name].mean():.0%} -> {new[metrics == name].mean():.0%}" for name in np.unique(metrics)
    ]
    groups = len({run.key for run in runs})
    return f"{len(runs)} runs of {groups} groups {old.mean():.1%} -> {new.mean():.1%} ({', '.join(parts)})"


def log_ratios(runtime: Runtime, runs: Sequence[Run]) -> Floats:
    """Log of predicted over measured of each run under ``runtime``; NaN for what cannot be predicted."""
    predictor = Predictor({}, [runtime])
    return np.array([_log_ratio(run, predictor, runtime) for run in runs])


def _log_ratio(run: Run, predictor: Predictor, runtime: Runtime) -> float:
    try:
        return float(np.log(run.predict(predictor, runtime) / run.observed))
    except InputError:
        return np.nan


def thinned(runs: Sequence[Run], most: int = MOST_RUNS) -> list[Run]:
    """At most about ``most`` runs: of large groups fewer, evenly spread over metrics and what was measured."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.key].append(run)
    each = next(n for n in range(most, 0, -1) if n == 1 or sum(min(len(group), n) for group in groups.values()) <= most)
    return list(_spread(groups, each))


def _spread(groups: Mapping[str, list[Run]], each: int) -> Iterator[Run]:
    for key in sorted(groups):
        ordered = sorted(groups[key], key=lambda run: (run.metric, run.observed))
        for place in np.unique(np.linspace(0, len(ordered) - 1, min(each, len(ordered))).round().astype(int)).tolist():
            yield ordered[place]


def write(name: str, fitted: Fitted, date: str, rule: str = RULE) -> None:
    """Put fitted values into the file of the runtime."""
    sources, devices, _ = (tuple(sorted(set(column))) for column in zip(*fitted.seen, strict=True))
    groups = {group_digest(run_key(device, model)) for _, device, model in fitted.seen}
    about = Fit("runs", sources, rule, date, devices, len(fitted.seen), RUN_GROUPS, tuple(sorted(groups)))
    file = DATA / f"{name}.toml"
    write_text(file, with_fitted(file.read_text(encoding="utf-8"), fitted.values, about))


if __name__ == "__main__":
    main()
