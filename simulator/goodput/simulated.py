"""Runs with failures, drawn: what the closed form expects, and how far single runs are from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from hardware_specs.errors import InputError
from simulator.goodput.checkpoints import CheckpointTimes
from simulator.goodput.run_kernel import PARTS, simulate_runs
from simulator.goodput.slowdowns import Floats
from workloads.traffic.streams import counted, stream

LONGEST: Final = 1e3
"""A run is given up after so many times its work."""


@dataclass(frozen=True)
class Process:
    """What interrupts a run and how it comes back: rates [1/s], times [s].

    ``hardware_share`` is the share of failures that take a node away; ``spares`` nodes stand by (None: always enough),
    broken ones are back after an exponential time of mean ``repair_s``.
    """

    per_s: float
    hardware_share: float
    detect_s: float
    restart_s: float
    repair_s: float = 0.0
    spares: int | None = None


def simulated_runs(
    work_s: Floats, interval_s: Floats, times: CheckpointTimes, process: Process, seed: int = 0
) -> dict[str, Floats]:
    """Independent runs, shape [n]: wall time and its parts [s], and interruptions, by the names in ``PARTS``.

    Args:
        work_s, interval_s: seconds of steps of each run and between its checkpoints, shape [n].
        seed: of all draws; run k depends on the seed and k alone.

    A run that lasts more than 1,000 times its work is given up: its wall time is infinite.

    Raises:
        InputError: a seed that is none, an interval that is not positive.
    """
    runs = counted(len(work_s), "runs", 1)
    if not float(np.min(interval_s)) > 0.0:
        raise InputError(f"checkpoint interval {float(np.min(interval_s))!r} s; allowed: above 0")
    state = stream(seed, "interruptions").integers(0, 1 << 63, runs, np.uint64)
    limited = process.spares is not None and process.repair_s > 0.0 and process.hardware_share > 0.0
    back = np.zeros((process.spares or 0) + 1)
    parts = np.zeros((runs, len(PARTS)))
    simulate_runs(
        np.ascontiguousarray(work_s, np.float64), np.ascontiguousarray(interval_s, np.float64), times.stall_s,
        times.unsafe_s, process.per_s, max(process.hardware_share, 1e-300), process.detect_s, process.restart_s,
        max(process.repair_s, 1e-300), limited, LONGEST * float(np.max(work_s)), state, back, parts,
    )  # fmt: skip
    return {name: parts[:, k] for k, name in enumerate(PARTS)}


def percentiles(wall_s: Floats) -> tuple[float, float]:
    """The times that a tenth and nine tenths of the runs stay below [s]."""
    low, high = (float(np.quantile(wall_s, p, method="lower")) for p in (0.1, 0.9))
    return (low if math.isfinite(low) else math.inf), (high if math.isfinite(high) else math.inf)
