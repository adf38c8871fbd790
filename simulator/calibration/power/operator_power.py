"""Power of a device while it does one call over and over, and the energy of that call.

Counters of power are coarse: NVML renews its own every 20 to 100 ms, and clocks take as long to settle. So the device
is kept busy before the meter starts and for half a second at least while it runs. The energy of a call is the mean
power times the time of a call by the clock; how much of the meter's time calls filled is told as ``busy``.

Reference: Yang, Adamek, Armour, "Part-time power measurements: nvidia-smi's lack of attention", arXiv:2312.02741
(renewal and settling of counters by GPU; repeating a short load).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from simulator.calibration.power.energy import Meter
from simulator.calibration.probes.registry import Call
from simulator.calibration.timing import Clock

LEAST_S: Final = 0.5
"""Shortest time on the meter."""
_SETTLE_S: Final = 0.2
"""Time under load before the meter starts."""
_ROUND_S: Final = 0.1
"""Length of a round: the host notices its end and starts the next one within a thousandth of it."""


class OperatorPower(NamedTuple):
    """Power of a device under one call.

    Mean power [W], seconds and joules of a call, mean clock [Hz], what held it down, calls that ran on the meter, and
    the part of the meter's time that they took. NaN where the meter reads none.
    """

    mean_w: float
    call_s: float
    call_j: float
    clock_hz: float
    throttled: str
    calls: int
    busy: float


def power_during(meter: Meter, call: Call, clock: Clock, seconds: float = LEAST_S) -> OperatorPower:
    """The power of the device during ``call``, called for ``seconds`` [s] on the meter, ``LEAST_S`` at least."""
    each_s = clock.round_s(call, 1)
    calls = max(1, round(_ROUND_S / max(each_s, 1e-9)))
    _calls_for(call, clock, calls, _SETTLE_S)
    meter.start()
    spent_s, rounds = _calls_for(call, clock, calls, max(seconds, LEAST_S))
    reading = meter.stop()
    call_s = spent_s / (rounds * calls)
    busy = min(1.0, spent_s / reading.seconds) if reading.seconds > 0.0 else math.nan
    return OperatorPower(
        reading.mean_w, call_s, reading.mean_w * call_s, reading.clock_hz, reading.throttled, rounds * calls, busy
    )


def _calls_for(call: Call, clock: Clock, calls: int, seconds: float) -> tuple[float, int]:
    """Seconds that rounds of ``calls`` took by the clock, ``seconds`` at least, and how many they were."""
    spent_s, rounds = 0.0, 0
    while spent_s < seconds:
        spent_s += max(clock.round_s(call, calls), 1e-9)
        rounds += 1
    return spent_s, rounds
