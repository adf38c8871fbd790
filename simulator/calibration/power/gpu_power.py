"""Energy of a GPU through NVML: its energy counter, or power samples where it has none.

The counter (nvmlDeviceGetTotalEnergyConsumption, Volta and newer) holds millijoules of the whole board. Power samples
are integrated by the trapezoid rule; from Ampere on (GA100 apart) NVML gives the mean over the last second, which lags
behind. The sensor steps, and on A100 and H100 sees a quarter of the time only (Yang, Adamek and Armour, SC24,
arXiv 2312.02741): windows of several seconds of the same work are to be trusted, windows below a second are not.
Reference: see ``simulator.calibration.machine.nvml``.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from simulator.calibration.machine.nvml import SM_CLOCK, Nvml, reasons
from simulator.calibration.power.energy import Energy, Ticker

COUNTED_PERIOD_S: Final = 0.1
"""Time between readings of clocks while the counter adds up energy."""
SAMPLED_PERIOD_S: Final = 0.02
"""Time between samples of power where there is no counter."""


class NvmlMeter:
    """Energy of one GPU.

    Args:
        index: which of the GPUs that CUDA programs may use.
        clock: seconds.
        period_s: time between readings while it runs [s]; None: as the constants above say.
        environ: environment variables; None: those of this process.
    """

    def __init__(
        self,
        nvml: Nvml | None = None,
        index: int = 0,
        clock: Callable[[], float] = time.perf_counter,
        period_s: float | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._nvml = Nvml() if nvml is None else nvml
        self._clock = clock
        devices = self._nvml.devices(os.environ if environ is None else environ)
        self._device: Any = devices[index] if 0 <= index < len(devices) else None
        self.missing = self._nvml.missing or ("" if self._device is not None else f"there is no GPU {index}")
        self._counted = not self.missing and self._joules() is not None
        if not self.missing and not self._counted and self._power_w() is None:
            self.missing = f"GPU {index} tells neither energy nor power"
        default_s = COUNTED_PERIOD_S if self._counted else SAMPLED_PERIOD_S
        self._ticker = Ticker(default_s if period_s is None else period_s, self.sample)
        self._started: tuple[float, float | None] | None = None
        self._samples: list[tuple[float, float]] = []
        self._clocks: list[float] = []
        self._reasons = 0

    def start(self) -> None:
        """See ``Meter``."""
        self._ticker.stop()
        self._samples, self._clocks, self._reasons = [], [], 0
        self._started = (self._clock(), self._joules()) if self._counted else (self._note_power(), None)
        self._ticker.start()

    def sample(self) -> None:
        """Note power, clock and what holds the clock down."""
        if not self._counted:
            self._note_power()
        self._note_clock()

    def _note_clock(self) -> None:
        mhz = self._nvml.ask("nvmlDeviceGetClockInfo", self._device, SM_CLOCK)
        if mhz:
            self._clocks.append(mhz * 1e6)
        self._reasons |= self._nvml.throttled(self._device) or 0

    def stop(self) -> Energy:
        """See ``Meter``; joules are NaN where the counter did not move: the time was too short for it."""
        if self._started is None:
            raise ValueError("the meter was not started")
        (started_s, first_j), self._started = self._started, None
        if self._counted:
            last_j, stopped_s = self._joules(), self._clock()
            self._ticker.stop()
        else:
            self._ticker.stop()
            last_j, stopped_s = None, self._note_power()
        if not self._clocks:
            self._note_clock()
        return Energy(
            joules=_difference(first_j, last_j) if self._counted else _trapezoid(self._samples),
            seconds=stopped_s - started_s,
            clock_hz=math.fsum(self._clocks) / len(self._clocks) if self._clocks else math.nan,
            throttled=reasons(self._reasons),
            source="NVML energy counter" if self._counted else "NVML power samples",
        )

    def _joules(self) -> float | None:
        millijoules = self._nvml.ask("nvmlDeviceGetTotalEnergyConsumption", self._device)
        return None if millijoules is None else millijoules * 1e-3

    def _power_w(self) -> float | None:
        milliwatts = self._nvml.ask("nvmlDeviceGetPowerUsage", self._device)
        return None if milliwatts is None else milliwatts * 1e-3

    def _note_power(self) -> float:
        """When it was noted [s]."""
        power_w, now_s = self._power_w(), self._clock()
        if power_w is not None:
            self._samples.append((now_s, power_w))
        return now_s


def _difference(first_j: float | None, last_j: float | None) -> float:
    return last_j - first_j if first_j is not None and last_j is not None and last_j > first_j else math.nan


def _trapezoid(samples: list[tuple[float, float]]) -> float:
    """Joules below samples of (s, W); NaN for fewer than two."""
    area = math.fsum((t1 - t0) * (w0 + w1) / 2.0 for (t0, w0), (t1, w1) in itertools.pairwise(samples))
    return area if len(samples) > 1 else math.nan
