"""Kernels of STREAM and its kin as copies: what they read and write."""

from __future__ import annotations

import dataclasses
from typing import Final, NamedTuple

from simulator.calibration.samples import Measurement
from workloads.operators import stream_copy


class Kernel(NamedTuple):
    """Arrays that a kernel reads and writes, as STREAM counts them: lines fetched only to be written do not count."""

    reads: float
    writes: float

    @property
    def arrays(self) -> float:
        """Arrays that it moves."""
        return self.reads + self.writes


KERNELS: Final = {
    "copy": Kernel(1, 1), "scale": Kernel(1, 1), "mul": Kernel(1, 1), "add": Kernel(2, 1), "triad": Kernel(2, 1),
    "dot": Kernel(2, 0), "nstream": Kernel(3, 1),
}  # fmt: skip


def stream_measurement(
    probe: str, variant: str, kernel: Kernel, moved_bytes: float, seconds: tuple[float, float, float], *, repeats: int,
    threads: int, source: str,
) -> Measurement:  # fmt: skip
    """A kernel that moves ``moved_bytes``; ``seconds`` are its mean, shortest and longest time."""
    each = moved_bytes / kernel.arrays
    operator = dataclasses.replace(
        stream_copy(variant, moved_bytes), read_bytes=each * kernel.reads, write_bytes=each * kernel.writes
    )
    mean, low, high = seconds
    return Measurement(
        probe, operator, max(mean, low), low, max(high, mean, low), repeats, variant=variant, threads=threads,
        source=source,
    )  # fmt: skip
