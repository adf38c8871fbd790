"""Robust, bounded fits of law parameters to measured operators.

The residual is the log ratio of predicted to measured seconds, so that a point of a microsecond counts as one of a
second. A soft-L1 least-squares run (the better of two starts) is refined by Nelder-Mead on the mean absolute log ratio,
which outliers hardly move. Both pull weakly towards the prior. Parameters stay inside their physical range through a
logistic map of an unbounded variable; a range of more than a decade is mapped by its logarithm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares, minimize

from simulator.devices.model import DeviceModel, cost_on_devices
from simulator.devices.registry import Parameter
from simulator.kernels.roofline import TIME
from workloads.graph import OpColumns

Floats = npt.NDArray[np.float64]

SOFT_LOG_RATIO = 0.05
"""Log ratio from which on a point counts linearly instead of quadratically."""
PRIOR = 1e-4
"""Mean log ratio that a step of 1 in an unbounded variable away from the prior must gain: what samples do not determine
stays near the prior, and off the bounds."""
_DECADE = 10.0
_STEP = 1e-2
"""Step of a derivative in an unbounded variable."""
Z95 = 1.96


class Sample(NamedTuple):
    """Measured operators of one device under one runtime: columns and seconds of one execution, shape [n] each."""

    model: DeviceModel
    columns: OpColumns
    measured_s: Floats


class Fitted(NamedTuple):
    """Fitted values by name, and the log ratios of predicted to measured that they leave, shape [all samples]."""

    values: dict[str, float]
    residuals: Floats


class _Ranges:
    """Parameters between their bounds as unbounded variables, and back."""

    def __init__(self, free: Sequence[Parameter]) -> None:
        if any(not p.low < p.high for p in free):
            raise ValueError("every free parameter needs low < high")
        self.names = [p.name for p in free]
        self.logs = np.array([p.low > 0.0 and p.high / p.low > _DECADE for p in free])
        low, high = (np.array([getattr(p, end) for p in free]) for end in ("low", "high"))
        self.low = np.where(self.logs, np.log(np.where(self.logs, low, 1.0)), low)
        self.high = np.where(self.logs, np.log(high), high)

    def free(self, values: Floats) -> Floats:
        scaled = np.where(self.logs, np.log(np.where(self.logs, np.maximum(values, 1e-300), 1.0)), values)
        inside = np.clip((scaled - self.low) / (self.high - self.low), 0.02, 0.98)
        # A variable of exactly 0 would leave both optimisers without a first step.
        return np.log(inside / (1.0 - inside)) + 1e-3  # type: ignore[no-any-return]

    def values(self, u: Floats) -> Floats:
        inside = self.low + (self.high - self.low) / (1.0 + np.exp(-np.clip(u, -30.0, 30.0)))
        return np.where(self.logs, np.exp(np.where(self.logs, inside, 0.0)), inside)


def log_ratios(samples: Sequence[Sample], values: dict[str, float]) -> Floats:
    """Log of predicted over measured seconds with ``values`` in every record, one sample after the other."""
    found = []
    for sample in samples:
        model = sample.model
        records = model.records.copy()
        for name, value in values.items():
            records[name] = value
        trial = DeviceModel(model.spec, model.runtime, records, model.choice, model.errors, ())
        found.append(np.log(cost_on_devices((trial,), sample.columns)[0, TIME] / sample.measured_s))
    return np.concatenate(found)


def interval_of(
    samples: Sequence[Sample], values: Mapping[str, float], free: Sequence[Parameter], groups: Sequence[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Ends of the 95% interval of fitted ``values``.

    From the derivatives of the log ratios in the unbounded variables and what is left of them: added up by group, since
    rows of a group are alike (the sandwich of White, Econometrica 48(4), 1980, doi:10.2307/1912934), or as that of rows
    that are all as far off as they are on average, whichever is wider. A variable that the samples do not move is as
    uncertain as its range.

    Args:
        groups: group of each row of all samples.
    """
    ranges = _Ranges(free)
    middle = ranges.free(np.array([values[name] for name in ranges.names]))

    def named(u: Floats) -> dict[str, float]:
        return dict(zip(ranges.names, ranges.values(u).tolist(), strict=True))

    left = log_ratios(samples, named(middle))
    steps = _STEP * np.eye(len(middle))
    slopes = [
        (log_ratios(samples, named(middle + step)) - log_ratios(samples, named(middle - step))) / (2.0 * _STEP)
        for step in steps
    ]
    jacobian = np.stack(slopes, axis=1)
    names, place = np.unique(np.array(groups, str), return_inverse=True)
    scores = np.zeros((len(names), len(middle)))
    np.add.at(scores, place, jacobian * left[:, None])
    # A logistic variable of the whole range has a standard deviation of about 2.
    noise = max(float(np.mean(left**2)), 1e-6)
    ridge = np.diag(np.full(len(middle), noise / 4.0))
    curvature = jacobian.T @ jacobian
    inverse = np.linalg.inv(curvature + ridge)
    small = len(names) / max(len(names) - 1.0, 1.0)
    by_group = inverse @ (small * scores.T @ scores + noise * ridge) @ inverse
    # A fit of absolute errors passes through as many rows as it has parameters: what is left of those says too little.
    spare = max(len(left) - float(np.trace(inverse @ curvature)), 1.0)
    by_row = inverse * max(float(np.sum(left**2)) / spare, 1e-6)
    spread = np.sqrt(np.maximum(np.diag(by_group), np.diag(by_row)))
    low, high = (named(middle + sign * Z95 * spread) for sign in (-1.0, 1.0))
    # A value at the end of its range lies beyond the middle that its derivatives were taken at.
    return (
        {name: min(end, values[name]) for name, end in low.items()},
        {name: max(end, values[name]) for name, end in high.items()},
    )


def fit_parameters(samples: Sequence[Sample], free: Sequence[Parameter], most_steps: int = 700) -> Fitted:
    """Fit ``free`` parameters of a device class's law to measured operators, one value for all samples.

    Args:
        samples: with the models' other parameters staying as they are; the first model's values are the start.
        most_steps: bound on the steps of each of two Nelder-Mead runs.

    Raises:
        ValueError: no sample, a measured time that is not positive, or a range without room.
    """
    if not samples:
        raise ValueError("a fit needs at least one sample")
    if any(not np.all(sample.measured_s > 0.0) for sample in samples):
        raise ValueError("measured seconds must be positive")
    ranges = _Ranges(free)

    def named(u: Floats) -> dict[str, float]:
        return dict(zip(ranges.names, map(float, ranges.values(u)), strict=True))

    def residuals(u: Floats) -> Floats:
        return log_ratios(samples, named(u))

    first = samples[0].model.records[samples[0].model.which(samples[0].columns)[0]]
    prior = ranges.free(np.array([float(first[name]) for name in ranges.names]))
    rows = sum(len(sample.measured_s) for sample in samples)
    weight = np.sqrt(2.0 * rows * SOFT_LOG_RATIO * PRIOR)

    def with_prior(u: Floats) -> Floats:
        return np.concatenate([residuals(u), weight * (u - prior)])

    # Where a prior says that an effect is absent, nothing shows the way to it: a second run starts inside the ranges.
    runs = [
        least_squares(with_prior, start, loss="soft_l1", f_scale=SOFT_LOG_RATIO, diff_step=1e-2, max_nfev=60)
        for start in (prior, np.full(len(prior), 1e-3))
    ]
    u = min(runs, key=lambda run: float(run.cost)).x
    target: Callable[[Floats], float] = lambda v: float(  # noqa: E731
        np.abs(residuals(v)).mean() + PRIOR * np.square(v - prior).sum()
    )
    for _ in range(2):
        u = minimize(target, u, method="Nelder-Mead", options={"maxiter": most_steps, "xatol": 1e-3, "fatol": 1e-6}).x
    return Fitted(named(u), residuals(u))
