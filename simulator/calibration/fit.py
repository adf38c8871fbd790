"""Robust, bounded fits of law parameters to measured operators.

The residual is the log ratio of predicted to measured seconds, so that a point of a microsecond counts as one of a
second. A soft-L1 least-squares run from the prior is refined by Nelder-Mead on the mean absolute log ratio, which
outliers hardly move. Parameters stay inside bounds through a logistic map of an unbounded variable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares, minimize

from simulator.devices.model import DeviceModel, cost_on_devices
from simulator.kernels.roofline import TIME
from workloads.graph import OpColumns

Floats = npt.NDArray[np.float64]

SOFT_LOG_RATIO = 0.05
"""Log ratio from which on a point counts linearly instead of quadratically."""


class Free(NamedTuple):
    """A parameter to fit: its name in the law and the physical range it may take."""

    name: str
    low: float
    high: float


class Fit(NamedTuple):
    """Fitted values by name, and the log ratios that they leave, shape [samples]."""

    values: dict[str, float]
    residuals: Floats


def fit_parameters(
    model: DeviceModel, columns: OpColumns, measured_s: Floats, free: Sequence[Free], most_steps: int = 700
) -> Fit:
    """Fit ``free`` parameters of a device's law to measured seconds of operators.

    Args:
        model: the device under the runtime that was measured; its other parameters stay as they are.
        columns: operators, shape [n] each.
        measured_s: seconds of one execution of each, shape [n]; positive.
        most_steps: bound on Nelder-Mead steps.

    Raises:
        ValueError: a measured time that is not positive, or a range without room.
    """
    if not np.all(measured_s > 0.0):
        raise ValueError("measured seconds must be positive")
    if any(not p.low < p.high for p in free):
        raise ValueError("every free parameter needs low < high")
    low, high = (np.array([getattr(p, end) for p in free]) for end in ("low", "high"))
    record = model.record.copy()
    trial = DeviceModel(model.spec, model.runtime, record, ())
    log_measured = np.log(measured_s)

    def values(u: Floats) -> Floats:
        return low + (high - low) / (1.0 + np.exp(-np.clip(u, -30.0, 30.0)))  # type: ignore[no-any-return]

    def residuals(u: Floats) -> Floats:
        for parameter, value in zip(free, values(u), strict=True):
            record[parameter.name] = value
        predicted = cost_on_devices((trial,), columns)[0, TIME]
        return np.log(predicted) - log_measured  # type: ignore[no-any-return]

    start = np.array([float(model.record[0][p.name]) for p in free])
    inside = np.clip((start - low) / (high - low), 0.02, 0.98)
    u = np.log(inside / (1.0 - inside))
    u = least_squares(residuals, u, loss="soft_l1", f_scale=SOFT_LOG_RATIO, diff_step=1e-2, max_nfev=60).x
    target: Callable[[Floats], float] = lambda v: float(np.abs(residuals(v)).mean())  # noqa: E731
    for _ in range(2):
        u = minimize(target, u, method="Nelder-Mead", options={"maxiter": most_steps, "xatol": 1e-3, "fatol": 1e-6}).x
    fitted = dict(zip((p.name for p in free), map(float, values(u)), strict=True))
    return Fit(fitted, residuals(u))
