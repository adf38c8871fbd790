"""Fits of a collective library's values, and of link latencies, to measured collectives.

As for the laws of devices (``simulator.calibration.fit``): log ratios of predicted to measured seconds, soft-L1 least
squares, every value inside its physical range. A value may be of the library everywhere, or of one link or device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from simulator.kernels.collectives import Library, collective_seconds
from simulator.network.communicator import Communicator

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SOFT_LOG_RATIO = 0.1
"""Log ratio from which on a point counts linearly instead of quadratically."""
LATENCY = "latency"
"""Name of a value that is the latency of the link inside a node, not one of the library."""
_DECADE = 10.0


class CollectiveSample(NamedTuple):
    """Measured collectives of one group: ``kinds``, ``message_bytes`` [B] and ``measured_s`` of shape [n].

    ``places``: link and device ids whose values hold here, a later one before an earlier one.
    """

    group: Communicator
    places: tuple[str, ...]
    kinds: Ints
    message_bytes: Floats
    measured_s: Floats


class Free(NamedTuple):
    """A value to fit between ``low`` and ``high``, of the library itself (``place`` "") or at a place."""

    name: str
    low: float
    high: float
    place: str = ""


def collective_log_ratios(
    samples: Sequence[CollectiveSample], base: Library, at: Mapping[tuple[str, str], float]
) -> Floats:
    """Log of predicted over measured seconds, one sample after the other, with ``at`` [place, name] over ``base``."""
    found = []
    for sample in samples:
        values = {name: value for place in ("", *sample.places) for (of, name), value in at.items() if of == place}
        inner = sample.group.inner
        if LATENCY in values:
            inner = inner._replace(latency=values.pop(LATENCY))
        seconds = collective_seconds(
            sample.kinds, sample.message_bytes, inner, sample.group.outer, base._replace(**values)
        )
        found.append(np.log(seconds / sample.measured_s))
    return np.concatenate(found)


def fit_collectives(
    samples: Sequence[CollectiveSample],
    base: Library,
    free: Sequence[Free],
    start: Mapping[tuple[str, str], float],
    most_steps: int = 60,
) -> dict[tuple[str, str], float]:
    """Fit ``free`` values; the others stay as ``start`` [place, name] or else ``base`` has them.

    Returns:
        ``start`` with the fitted values.

    Raises:
        ValueError: no sample, a measured time that is not positive, or a range without room.
    """
    if not samples or any(not np.all(sample.measured_s > 0.0) for sample in samples):
        raise ValueError("a fit needs samples, and measured seconds that are positive")
    if any(not each.low < each.high for each in free):
        raise ValueError("every free value needs low < high")
    logs = np.array([each.low > 0.0 and each.high / each.low > _DECADE for each in free])
    low, high = (_scaled(np.array([getattr(each, end) for each in free]), logs) for end in ("low", "high"))

    def values(u: Floats) -> dict[tuple[str, str], float]:
        inside = low + (high - low) * u
        plain = np.where(logs, np.exp(np.where(logs, inside, 0.0)), inside)
        return {**start, **{(f.place, f.name): float(v) for f, v in zip(free, plain, strict=True)}}

    first = np.array([start.get((each.place, each.name), getattr(base, each.name, 0.0)) for each in free])
    u = np.clip((_scaled(first, logs) - low) / (high - low), 0.01, 0.99)
    found = least_squares(
        lambda u: collective_log_ratios(samples, base, values(u)), u, bounds=(0.0, 1.0), loss="soft_l1",
        f_scale=SOFT_LOG_RATIO, diff_step=1e-3, max_nfev=most_steps,
    )  # fmt: skip
    return values(found.x)


def _scaled(values: Floats, logs: npt.NDArray[np.bool_]) -> Floats:
    """Logarithms where a range spans more than a decade."""
    return np.where(logs, np.log(np.where(logs, np.maximum(values, 1e-300), 1.0)), values)
