"""The meter of energy for what is calibrated, or the reason why there is none."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from simulator.calibration.machine.nvml import Nvml
from simulator.calibration.machine.system_files import SystemFiles
from simulator.calibration.power.energy import Energy, Meter
from simulator.calibration.power.gpu_power import NvmlMeter
from simulator.calibration.power.rapl import RaplMeter
from simulator.calibration.probes.registry import Target


class NoMeter:
    """Stands in where no energy can be read: it gives the time, and NaN for the rest.

    Args:
        missing: why.
        clock: seconds.
    """

    def __init__(self, missing: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self.missing, self._clock = missing, clock
        self._started_s: float | None = None

    def start(self) -> None:
        """See ``Meter``."""
        self._started_s = self._clock()

    def stop(self) -> Energy:
        """See ``Meter``."""
        if self._started_s is None:
            raise ValueError("the meter was not started")
        seconds, self._started_s = self._clock() - self._started_s, None
        return Energy(math.nan, seconds)


def meter_for(
    target: Target,
    index: int = 0,
    *,
    files: SystemFiles | None = None,
    nvml: Nvml | None = None,
    environ: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Meter:
    """What reads the energy of the CPU (RAPL) or of a GPU (NVML).

    Args:
        index: which of the GPUs that CUDA programs may use.
        files, nvml, environ: what to ask; None: this machine.
        clock: seconds.
    """
    meter: Meter = RaplMeter(files, clock) if target == "cpu" else NvmlMeter(nvml, index, clock, environ=environ)
    return NoMeter(meter.missing, clock) if meter.missing else meter
