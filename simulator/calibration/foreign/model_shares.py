"""From llama-bench rows to two numbers of a CPU: the share of its peak and of its bandwidth that llama.cpp reaches.

A prompt is bound by the math of the products, a generation by streaming the weights. Everything else in the step
(attention, norms, gaps between operators) is priced as the device and the runtime are known, without sampling and
without the host, which llama-bench leaves out. The two shares are moved until whole runs are predicted best, by log
ratios under a soft-L1 loss. One entry holds for packed weights (formats that are unpacked before the product), one for
plain ones: give the ``formats`` that matter if a file has several. Where a model is none of ours, its parameters and
bytes stand as square products, and its attention is on their account.

Other device classes: laws of GPUs and accelerators have launches, waves, caches and attention of their own, which two
numbers for whole models do not tell apart; fit a runtime to them instead (``simulator.calibration.runtimes``).
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.stats import t as student

from hardware_specs.calibrations import Calibration, Residuals
from hardware_specs.dtypes import COMPUTE_DTYPES
from hardware_specs.errors import InputError
from hardware_specs.facts import Fit, group_digest
from hardware_specs.records import DeviceSpec
from simulator.calibration.foreign.model_runs import DTYPE, ModelRun, Weights, best_over_threads, run_of, usable_rows
from simulator.calibration.foreign.reasons import Reasons
from simulator.calibration.foreign.record import ModelRow
from simulator.calibration.residuals import residuals_of
from simulator.calibration.sizes import measured_sizes
from simulator.devices.calibrated import KINDS, WEIGHTS, Choice
from simulator.devices.model import DeviceModel, compile_device, cost_on_devices
from simulator.devices.registry import Parameter, law_of
from simulator.formats import precision_of
from simulator.kernels.roofline import RUNTIME_FAMILIES, TIME
from simulator.scenario import Formats
from simulator.uncertainty.intervals import Z80, Z95, prior_error
from workloads.graph import OpColumns
from workloads.operators import FAMILIES
from workloads.runtimes.catalogue import load_runtime
from workloads.runtimes.record import Runtime

Floats = npt.NDArray[np.float64]

SOFT_LOG_RATIO: Final = 0.1
"""Log ratio from which on a run counts linearly instead of quadratically."""
_OPERATORS: Final = ("gemm",)
_STREAM: Final = "stream_share"
_MATH: Final = ("gemm_share", "tile_share")
_LEAST_EFFECT: Final = 0.05
"""Change of a log prediction per log of a share, in the runs that move most, below which runs do not show it."""
_LOW, _HIGH = 0.01, 1.0
_MEDIAN_OF_NORMAL: Final = 0.6745


@dataclass(frozen=True)
class Shares:
    """Entries for a device, which model each name was taken for, and what was left out with the reason."""

    entries: tuple[Calibration, ...]
    models: Mapping[str, str]
    skipped: tuple[str, ...]


def shares_of(
    rows: Sequence[ModelRow], device: DeviceSpec, *, date: str, runtime: str = "llamacpp-cpu",
    formats: Sequence[str] = (),
) -> Shares:  # fmt: skip
    """Calibrations of products on a CPU under llama.cpp.

    Args:
        date: of the fit, ISO.
        runtime: id of the runtime whose kernels ran.
        formats: ids of storage formats that count ("q4_k_m"); empty: all.

    Raises:
        InputError: a device that is no CPU, or no row that can be used.
    """
    if device.device_class != "cpu":
        raise InputError(
            f"{device.id} is a {device.device_class}: shares are fitted for CPUs only. The law of its class has "
            "launches, waves and attention of its own, which whole runs do not tell apart"
        )
    reasons, models = Reasons(), dict[str, str]()
    software = load_runtime(runtime)
    runs: dict[Weights, list[ModelRun]] = defaultdict(list)
    for row in best_over_threads(usable_rows(rows, formats, reasons)):
        run = run_of(row, device, software)
        runs[run.weights].append(run)
        models[row.model] = run.taken_for or "parameters and bytes alone"
    if not runs:
        raise InputError(f"no run of llama-bench shows a share of {device.id}: {'; '.join(reasons.texts) or 'no rows'}")
    entries = [_entry(runs[weights], weights, device, software, date) for weights in sorted(runs)]
    found = tuple(entry for entry in entries if entry is not None)
    if not found:
        raise InputError(f"no run of llama-bench depends on a share of {device.id}")
    return Shares(found, models, reasons.texts)


def _entry(
    runs: Sequence[ModelRun], weights: Weights, device: DeviceSpec, runtime: Runtime, date: str
) -> Calibration | None:
    """The entry for one kind of weights; None where no run depends on a share."""
    dtype = precision_of(Formats(DTYPE), device).compute
    trial = _Trial(device, runtime, runs, weights)
    free = trial.shown()
    if not free:
        return None
    values, sd = trial.fit(free)
    models = sorted({run.model for run in runs})
    what = f"{len(runs)} runs of {len(models)} model{'s' if len(models) > 1 else ''}"
    rule = f"shares of the peak and of the bandwidth from {what} with llama-bench"
    if len(models) > 1:
        residuals = _of_models_left_out(runs, models, device, runtime, weights, free)
        rule += "; residuals of models left out in turn"
    else:
        residuals = _of_the_class(device)
        rule += "; one model: nothing could be left out, so the residuals are the errors assumed of the class"
    keys = sorted({f"model={run.model} format={run.format}" for run in runs})
    return Calibration(
        operators=_OPERATORS,
        parameters={name: f"{value:.4g}" for name, value in values.items()},
        fit=Fit(
            f"{device.id}-{runtime.id}-{weights}", tuple(sorted({run.source for run in runs})), rule, date,
            (device.id,), len(runs), groups=(" ".join(map(group_digest, keys)),), rows_sha256=_digest(runs),
        ),
        residuals=residuals,
        dtypes=(dtype,),
        runtimes=(runtime.id,),
        weights=weights,
        intervals={
            name: _interval(value, student.ppf(0.975, len(runs) - len(free)) * sd[name])
            for name, value in values.items()
            if math.isfinite(sd[name])
        },
        held_out_error_shape=residuals.mape if len(models) > 1 else None,
        measured=measured_sizes(trial.products(run) for run in runs if run.taken_for),
    )  # fmt: skip


def _interval(value: float, off: float) -> tuple[str, str]:
    """The ends of an interval whose logarithm reaches ``off`` to either side; no share is above 1."""
    return f"{value * math.exp(-off):.4g}", f"{min(value * math.exp(off), _HIGH):.4g}"


def _digest(runs: Sequence[ModelRun]) -> str:
    digest = hashlib.sha256()
    for run in runs:
        digest.update(f"{run.model} {run.format} {run.measured_s!r} {run.repeat.sum()!r}\n".encode())
    return digest.hexdigest()


def _of_models_left_out(
    runs: Sequence[ModelRun], models: Sequence[str], device: DeviceSpec, runtime: Runtime, weights: Weights,
    free: Sequence[Parameter],
) -> Residuals:  # fmt: skip
    """Residuals of every model by a fit to the others."""
    ratios, groups, blocks = list[float](), list[str](), list[str]()
    for model in models:
        kept = [run for run in runs if run.model != model]
        out = [run for run in runs if run.model == model]
        values, _ = _Trial(device, runtime, kept, weights).fit(free)
        ratios += _Trial(device, runtime, out, weights).log_ratios(values).tolist()
        groups += [f"{run.model} {run.format}" for run in out]
        blocks += [model] * len(out)
    return residuals_of(np.array(ratios), groups, blocks)


def _of_the_class(device: DeviceSpec) -> Residuals:
    """The errors that are assumed of products where nothing was measured: rows 0 says that nothing was left out."""
    shared, own = prior_error(device.device_class, "gemm")
    sd = math.hypot(shared, own)
    off = math.expm1(_MEDIAN_OF_NORMAL * sd)
    return Residuals(0, 0, off, off, shared, own, (-Z95 * sd, -Z80 * sd, Z80 * sd, Z95 * sd))


class _Trial:
    """Runs priced with trial shares, as the entry under construction will price them."""

    def __init__(self, device: DeviceSpec, runtime: Runtime, runs: Sequence[ModelRun], weights: Weights) -> None:
        self.device, self.runs, self.weights = device, runs, weights
        base = compile_device(device, runtime)
        records = np.concatenate([base.records, base.records[:1]])
        number = len(records) - 1
        # As for any entry of the runtime's own kernels: its factors are in the shares.
        records[number]["factors"][[FAMILIES.index(family) for family in RUNTIME_FAMILIES]] = 1.0
        records[number]["weight_factor"] = 1.0
        table = base.choice.table.copy()
        kinds = [KINDS[name] for name in _OPERATORS]
        dtype = COMPUTE_DTYPES.index(precision_of(Formats(DTYPE), device).compute)
        table[np.ix_(kinds, [dtype], [WEIGHTS.index(weights)])] = number
        self.model = DeviceModel(base.spec, base.runtime, records, Choice(base.choice.entries, table), base.errors, ())
        self.measured_s = np.array([run.measured_s for run in runs])

    def log_ratios(self, values: Mapping[str, float]) -> Floats:
        """Log of predicted over measured seconds of the runs with these shares, shape [runs]."""
        records = self.model.records.copy()
        for name, value in values.items():
            records[-1][name] = value
        trial = replace(self.model, records=records)
        seconds = [float(cost_on_devices((trial,), run.columns)[0, TIME] @ run.repeat) for run in self.runs]
        ratios: Floats = np.log(np.array(seconds) / self.measured_s)
        return ratios

    def products(self, run: ModelRun) -> OpColumns:
        """The operators of a run that the shares price."""
        return run.columns.take(np.flatnonzero(self.model.which(run.columns) == len(self.model.records) - 1))

    def shown(self) -> list[Parameter]:
        """The shares that predictions of some runs depend on: of the peak (of its dtype) and of the bandwidth."""
        known = {parameter.name: parameter for parameter in law_of(self.device.device_class).parameters}
        names: tuple[str, ...] = (*_MATH, _STREAM)
        start = {name: self._start(known[name]) for name in names if name in known}
        before = self.log_ratios(start)
        effects = {
            name: float(np.abs(self.log_ratios({**start, name: 0.9 * value}) - before).max()) / 0.105
            for name, value in start.items()
        }
        math_share = max((name for name in _MATH if name in effects), key=lambda name: effects[name])
        return [known[name] for name in (math_share, _STREAM) if effects[name] > _LEAST_EFFECT]

    def _start(self, parameter: Parameter) -> float:
        return min(max(float(self.model.records[0][parameter.name]), _LOW), _HIGH)

    def fit(self, free: Sequence[Parameter]) -> tuple[dict[str, float], dict[str, float]]:
        """Fitted shares, and the standard errors of their logarithms (NaN with no more runs than shares)."""
        names = [parameter.name for parameter in free]

        def residuals(u: Floats) -> Floats:
            return self.log_ratios(dict(zip(names, np.exp(u).tolist(), strict=True)))

        start = np.log(np.clip([self._start(parameter) for parameter in free], 1.01 * _LOW, 0.99 * _HIGH))
        found = least_squares(
            residuals, start, bounds=(math.log(_LOW), math.log(_HIGH)), loss="soft_l1", f_scale=SOFT_LOG_RATIO,
            diff_step=1e-3,
        )  # fmt: skip
        rest = len(self.runs) - len(names)
        left = residuals(found.x)
        sd = np.full(len(names), math.nan)
        if rest > 0:
            slopes = np.column_stack([(residuals(found.x + 1e-3 * step) - left) / 1e-3 for step in np.eye(len(names))])
            inverse = np.linalg.pinv(slopes.T @ slopes)
            sd = np.sqrt(np.maximum(np.diag(inverse), 0.0) * float(left @ left) / rest)
        values = np.exp(found.x).tolist()
        return dict(zip(names, values, strict=True)), dict(zip(names, sd.tolist(), strict=True))
