"""How well inference is predicted on each class of hardware: the device known, and only its datasheet known.

    python benchmarks/inference_classes.py POINTS... [--only CLASS] [--view NAME]... [--groups] [--skipped] [--where ..]

Rows of quality A and B with an exact or mean batch count. The error of a (source, device) group is the mean absolute
percentage error of its rows, where a row that cannot be predicted counts as 100%; that of a class is the mean over its
groups. Joules per token are a class of their own. Views:

- shipped: all rows, with the numbers that ship, whatever they saw.
- held-out: the same, of rows that no fit of the runtime or device saw. Groups may lack here.
- models: models are ordered by digest and dealt to ``FOLDS`` folds; calibrated numbers of runtimes are fitted anew to
  rows of the other folds, from the shipped values, to which they are weakly pulled.
- datasheet: calibrations of the device are hidden, those of its class that saw it too, and calibrated parameters of its
  spec; the runtime is as shipped, which may have seen the device.
- devices: as datasheet, and calibrated numbers of runtimes are fitted anew to rows of other devices, by ``FOLDS`` folds
  of devices.

With ``--law NAME`` views with folds also fit these parameters of the law of one class (``--only``) to the other folds.

A runtime that has rows in one fold only cannot be fitted without it: the column ``unrefitted`` counts its rows, which
are predicted with the shipped numbers. Classes: see ``CLASSES``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from msgspec.structs import replace

from hardware_specs.calibrations import calibrations_of, use_calibration
from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Mark
from hardware_specs.files import write_text
from hardware_specs.records import DeviceSpec
from hardware_specs.threads import with_threads
from simulator.calibration.runtimes import Number, fit_numbers, numbers_of, values_of, with_values
from simulator.calibration.split import folds_of, spread_over
from simulator.calibration.write import calibrations_text
from simulator.devices.priors import is_sram_resident
from simulator.devices.registry import law_of
from simulator.scenario import Scenario
from simulator.validation.assumptions import complete
from simulator.validation.cells import Row, Unpredictable, measured_value, reason_of
from simulator.validation.inference import energy_per_token, published_of
from simulator.validation.inference_point import Point, point_of
from simulator.validation.one_pool import device_of, one_pool
from simulator.validation.outcome import is_fitted
from simulator.validation.points import conditions_in, read_points
from simulator.validation.predictor import Predictor
from workloads.runtimes.catalogue import load_runtime
from workloads.runtimes.match import match_runtime
from workloads.runtimes.record import Runtime

Floats = npt.NDArray[np.float64]
Values = Mapping[str, float]

CLASSES: Final = ("gpu-servers", "gpu-others", "asic", "cpu", "tpu", "fpga", "sram-asic", "joules")
"""NVIDIA GPUs under server software; GPUs of others, and all under software for personal use (llama.cpp, MLX) ...;
energy of any device."""
TARGETS: Final = {
    "gpu-servers": (0.15, 0.25), "gpu-others": (0.20, 0.30), "asic": (0.20, 0.40), "cpu": (0.20, 0.35),
    "tpu": (0.30, None), "fpga": (0.30, None), "joules": (0.18, 0.25),
}  # fmt: skip
"""Errors asked for with the device known and with its datasheet alone."""
VIEWS: Final = ("shipped", "held-out", "models", "datasheet", "devices")
PERSONAL: Final = ("llamacpp", "ik-llamacpp", "mlx")
CONSUMER: Final = ("rtx-", "gtx-", "titan-", "quadro-", "jetson-")
ENERGY: Final = "j_per_output_token"
SHIPPED: Final = Path("hardware_specs/data/calibrations").resolve()
FOLDS: Final = 4
MOST_OF_DEVICE: Final = 24
"""Runs of a device that fits of law parameters take at most."""
LAW_RANGE: Final = 4.0
"""How far, as a factor, they move them."""
MOST_RUNS: Final = 120
"""Runs that a fit of a runtime to other folds takes at most."""
FEWEST_RUNS: Final = 4
SKIPPED: Final = 1.0
"""The error that a row counts as that cannot be predicted."""


class Case(NamedTuple):
    """A measured row: what it says, where it is from, and the class, device and runtime that it is of."""

    row: Row
    source: str
    table: str
    kind: str
    device: str
    runtime: str
    reason: str = ""
    """Why it has no device or runtime; "" where it has both."""

    @property
    def model(self) -> str:
        return self.row.get("model", "")

    @property
    def metric(self) -> str:
        return self.row.get("metric", "")

    @property
    def observed(self) -> float:
        return measured_value(self.row, "measured")

    @property
    def key(self) -> str:
        """Rows of one key are thinned together."""
        return f"{self.device} {self.model}"


class Guess(NamedTuple):
    """A prediction, or why there is none; whether the numbers behind it were fitted without its row."""

    predicted: float
    reason: str = ""
    refitted: bool = True


class Spared(Predictor):
    """Predictions with other runtimes and device specs than the catalogue's."""

    def __init__(self, runtimes: Mapping[str, Runtime], specs: Mapping[str, DeviceSpec] | None = None) -> None:
        super().__init__({}, list(runtimes.values()))
        self.specs = specs or {}

    def scenario(self, point: Point) -> Scenario:
        """As ``Predictor.scenario``, with the spec that is given for the device."""
        made = super().scenario(point)
        spec = self.specs.get(point.device)
        if spec is None:
            return made
        spec = with_threads(spec, point.threads)
        return one_pool(made.workload, spec, made.pools[0].runtime, point.plan, point.formats, point.plan.devices)


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", nargs="+", type=Path)
    parser.add_argument("--only", choices=CLASSES, action="append", default=[])
    parser.add_argument("--view", choices=VIEWS, action="append", default=[])
    parser.add_argument("--law", action="append", default=[], help="law parameters that views with folds fit anew too")
    parser.add_argument("--groups", action="store_true", help="print each (source, device) group")
    parser.add_argument("--skipped", action="store_true", help="print why rows are skipped")
    parser.add_argument("--rows", type=Path, help="CSV file for all rows with their predictions")
    parser.add_argument("--where", default="", help="only rows whose columns have these values: device=t4|l40")
    arguments = parser.parse_args()
    try:
        cases = [case for case in judged(arguments.points, arguments.where) if not arguments.only or
                 case.kind in arguments.only]  # fmt: skip
    except InputError as error:
        sys.exit(f"error: {error}")
    views = arguments.view or ["shipped", "held-out", "datasheet"]
    print("class        view        groups   rows skipped unrefitted   mean  median row   asked")
    kept = []
    for view in views:
        guesses = predicted(cases, view, arguments.law)
        kept.append(frame_of(cases, guesses, view))
        for line in table(cases, guesses, view, arguments.groups, arguments.skipped):
            print(line, flush=True)
    if arguments.rows:
        write_text(arguments.rows, pd.concat(kept).to_csv(index=False))


def frame_of(cases: Sequence[Case], guesses: Sequence[Guess | None], view: str) -> pd.DataFrame:
    """The cells of the rows of a view, and beside them class, runtime, what was predicted and the error."""
    return pd.DataFrame(
        {**case.row, "source": case.source, "class": case.kind, "runtime": case.runtime, "view": view,
         "predicted": guess.predicted, "error": error_of(case, guess), "skip_reason": guess.reason}
        for case, guess in zip(cases, guesses, strict=True) if guess
    )  # fmt: skip


def judged(places: Sequence[Path], where: str = "") -> list[Case]:
    """Rows of quality A and B with an exact or mean batch."""
    found = []
    for points in read_points(places, "inference"):
        for row, source in zip(points.records(), points.sources(), strict=True):
            stated = row.get("quality", "A") in ("A", "B") and row.get("batch_kind", "exact") in ("", "exact", "mean")
            if stated and all(
                condition.holds([row.get(condition.column, "")])[0] for condition in conditions_in(where)
            ):
                found.append(case_of(row, source, points.name))
    return found


def case_of(row: Row, source: str, table_name: str) -> Case:
    """The class, device and runtime of a row."""
    try:
        spec = device_of(row.get("device", ""))
        runtime = match_runtime(row.get("engine", ""), spec, published_of((source, table_name)))[0].id
    except InputError as error:
        kind = {"gpu": "gpu-others"}.get(row.get("device_class", ""), row.get("device_class", ""))
        return Case(row, source, table_name, kind, row.get("device", ""), "", reason_of(error))
    return Case(row, source, table_name, class_of(spec, runtime, row.get("metric", "")), spec.id, runtime)


def class_of(spec: DeviceSpec, runtime: str, metric: str) -> str:
    """The class in which a row is scored."""
    if metric == ENERGY:
        return "joules"
    if spec.device_class == "asic":
        return "sram-asic" if is_sram_resident(spec) else "asic"
    if spec.device_class != "gpu":
        return spec.device_class
    personal = runtime.startswith(PERSONAL) or spec.id.startswith(CONSUMER) or spec.vendor != "NVIDIA"
    return "gpu-others" if personal else "gpu-servers"


def predicted(cases: Sequence[Case], view: str, law: Sequence[str] = ()) -> list[Guess | None]:
    """A guess for each case; None for those that are no part of ``view``."""
    if view == "shipped":
        return list(_shared_out(cases, False, [{}] * len(cases)))
    if view == "held-out":
        seen = [case for case in cases if not _seen(case)]
        known = dict(zip(map(id, seen), _shared_out(seen, False, [{}] * len(seen)), strict=True))
        return [known.get(id(case)) for case in cases]
    if view == "datasheet":
        return list(_shared_out(cases, True, [{}] * len(cases)))
    spared = view == "devices"
    by = "device" if spared else "model"
    runtimes, honest = refitted(cases, by)
    guesses = _shared_out(cases, spared, runtimes, law_values(cases, by, law) if law else ())
    return [guess._replace(refitted=fair) for guess, fair in zip(guesses, honest, strict=True)]


def _seen(case: Case) -> bool:
    if case.reason:
        return False
    words = (case.source, case.table)
    return is_fitted(case.runtime, case.device, *words, model=case.model, tp=case.row.get("tp", ""))


def _shared_out(
    cases: Sequence[Case], spared: bool, runtimes: Sequence[Mapping[str, Runtime]], laws: Sequence[Values] = ()
) -> list[Guess]:
    """Guesses of all cases, device by device on all cores; ``laws`` are parameters for each case."""
    parts: dict[str, list[int]] = defaultdict(list)
    for number, case in enumerate(cases):
        parts[case.device].append(number)
    found: list[Guess] = [Guess(np.nan)] * len(cases)
    laws = laws or [{}] * len(cases)
    jobs = [
        ([cases[i] for i in rows], spared, [runtimes[i] for i in rows], [laws[i] for i in rows])
        for rows in parts.values()
    ]
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
        for rows, guesses in zip(parts.values(), pool.map(_of_device, *zip(*jobs, strict=True)), strict=True):
            for place, guess in zip(rows, guesses, strict=True):
                found[place] = guess
    return found


def _of_device(
    cases: Sequence[Case], spared: bool, runtimes: Sequence[Mapping[str, Runtime]], laws: Sequence[Values]
) -> list[Guess]:
    """Guesses of cases of one device; ``spared``: from its datasheet."""
    device = cases[0].device
    if not spared or cases[0].reason:
        return _guesses(cases, runtimes, laws, {})
    with hidden(device):
        return _guesses(cases, runtimes, laws, {device: datasheet(load_device(device))})


def _guesses(
    cases: Sequence[Case],
    runtimes: Sequence[Mapping[str, Runtime]],
    laws: Sequence[Values],
    specs: Mapping[str, DeviceSpec],
) -> list[Guess]:
    known: dict[tuple[int, int], Spared] = {}
    found = []
    for case, own, law in zip(cases, runtimes, laws, strict=True):
        key = id(own), id(law)
        if key not in known:
            spec = specs.get(case.device)
            if law and not case.reason:
                spec = under_law(spec or load_device(case.device), law)
            known[key] = Spared(own, {case.device: spec} if spec else {})
        found.append(guess_of(case, known[key]))
    return found


def under_law(spec: DeviceSpec, values: Values) -> DeviceSpec:
    """``spec`` with other values of law parameters."""
    known = {parameter.name: parameter.dimension for parameter in law_of(spec.device_class).parameters}
    facts = {name: Fact(value, known[name], f"{value:.4g}", Mark.CALIBRATED, "folds") for name, value in values.items()}
    return replace(spec, parameters={**spec.parameters, **facts})


def law_values(cases: Sequence[Case], by: str, names: Sequence[str]) -> list[Values]:
    """For each case law parameters as fitted to the cases of its class in other folds, under shipped runtimes."""
    folds = folds_of([getattr(case, by) for case in cases], FOLDS)
    jobs = []
    for fold in range(FOLDS):
        others = [case for case, own in zip(cases, folds, strict=True) if own != fold and not case.reason]
        jobs.append([case for case in others if case.metric != ENERGY])
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
        found = list(pool.map(_law_fitted, jobs, [list(names)] * FOLDS))
    return [found[int(fold)] for fold in folds]


def _law_fitted(cases: Sequence[Case], names: Sequence[str]) -> dict[str, float]:
    spec = load_device(cases[0].device)
    start = {each.name: each.prior(spec) for each in law_of(spec.device_class).parameters if each.name in names}
    kept = _evenly(cases)

    def ratios(values: Mapping[str, float]) -> Floats:
        specs = {case.device: under_law(load_device(case.device), values) for case in kept}
        return _log_ratios(Spared({}, specs), kept)

    numbers = [Number(name, value / LAW_RANGE, value * LAW_RANGE) for name, value in start.items()]
    usable = np.isfinite(ratios(start))
    kept = [case for case, use in zip(kept, usable, strict=True) if use]
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


def datasheet(spec: DeviceSpec) -> DeviceSpec:
    """``spec`` without the parameters that were fitted to rows of it."""
    kept = {name: fact for name, fact in spec.parameters.items() if fact.mark != Mark.CALIBRATED}
    return replace(spec, parameters=kept)


@contextmanager
def hidden(device: str) -> Iterator[None]:
    """Let no calibration hold meanwhile that saw rows of ``device``."""
    with tempfile.TemporaryDirectory() as folder:
        shipped = []
        for name in (device, load_device(device).device_class):
            entries = calibrations_of(name)
            kept = [entry for entry in entries if name != device and device not in entry.fit.devices]
            if len(kept) != len(entries):
                file = Path(folder) / f"{name}.toml"
                file.write_text(calibrations_text(kept, "What did not see it.") if kept else "calibrations = []\n")
                use_calibration(file)
                shipped.append(SHIPPED / file.name)
        try:
            yield
        finally:
            for file in shipped:
                use_calibration(file)


def guess_of(case: Case, predictor: Predictor) -> Guess:
    """The prediction of a case under its runtime."""
    if case.reason:
        return Guess(np.nan, case.reason)
    try:
        spec = load_device(case.device)
        cells, _ = complete(case.row, spec, load_runtime(case.runtime), {})
        result = predictor.result(predictor.settled(point_of(cells, case.device, case.runtime)))
        value = energy_per_token(result, cells) if case.metric == ENERGY else result.metrics[case.metric]
        if value is None:
            raise Unpredictable(result.reasons.get(case.metric, "no value"))
        return Guess(value)
    except InputError as error:
        return Guess(np.nan, reason_of(error))


def refitted(cases: Sequence[Case], by: str) -> tuple[list[dict[str, Runtime]], list[bool]]:
    """For each case its runtime as fitted to cases of other folds, and whether there were any.

    Args:
        by: the field of a case whose values are dealt to folds.
    """
    folds = folds_of([getattr(case, by) for case in cases], FOLDS)
    by_runtime: dict[str, list[int]] = defaultdict(list)
    for number, case in enumerate(cases):
        if not case.reason and case.metric != ENERGY:
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
    metrics = Counter(case.metric for case in usable)
    weights = np.array([metrics[case.metric] ** -0.5 for case in usable])

    def ratios(values: Mapping[str, float]) -> Floats:
        return _log_ratios(Spared({start.id: with_values(start, values)}), usable)

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


def table(
    cases: Sequence[Case], guesses: Sequence[Guess | None], view: str, by_group: bool, reasons: bool
) -> Iterator[str]:
    """Lines of a view: a class each, its groups below it, and why rows were skipped."""
    known = view in ("shipped", "held-out", "models")
    for kind in CLASSES:
        rows = [(case, guess) for case, guess in zip(cases, guesses, strict=True) if case.kind == kind and guess]
        if not rows:
            continue
        groups: dict[tuple[str, str], list[float]] = defaultdict(list)
        for case, guess in rows:
            groups[case.source, case.device].append(error_of(case, guess))
        means = {pair: float(np.mean(errors)) for pair, errors in groups.items()}
        skipped = sum(not np.isfinite(guess.predicted) for _, guess in rows)
        unfair = sum(not guess.refitted for _, guess in rows)
        asked = TARGETS.get(kind, (None, None))[0 if known else 1]
        median = np.median([error for errors in groups.values() for error in errors])
        yield (
            f"{kind:12} {view:10} {len(groups):7} {len(rows):6} {skipped:7} {unfair:10} "
            f"{np.mean(list(means.values())):6.1%} {median:11.1%} {f'{asked:.0%}' if asked else '-':>7}"
        )
        if by_group:
            for (source, device), mean in sorted(means.items(), key=lambda item: -item[1]):
                yield f"    {mean:7.1%} {len(groups[source, device]):5}  {source} {device}"
        if reasons:
            for reason, count in Counter(guess.reason for _, guess in rows if guess.reason).most_common():
                yield f"    skipped {count}: {reason}"


def error_of(case: Case, guess: Guess) -> float:
    """Absolute relative error; 100% where nothing was predicted."""
    return abs(guess.predicted / case.observed - 1.0) if np.isfinite(guess.predicted) else SKIPPED


if __name__ == "__main__":
    main()
