"""Energy of one operator: what a busy board draws however little it does, the math, the bytes, and its limit.

With W the rated power (TDP), F the share of its time in which the operator would be done at peak rate and M that in
which its bytes would be moved at full bandwidth, both in (0, 1]::

    P = min(limit W, static + W (math sqrt(F) + memory M))        E = P t

Power grows slower than the rate of math: parts of a tile that are padding, and matrix units that wait with clocks
running, draw too. Where the sum is above the limit the board lowers clock and voltage until it fits. What a law learnt
from measured times holds that slowdown already, so the power is cut here and the time is left alone.

The shares are rounded from a fit to NVML power of an H200 in products and expert products of more than 100 us, by mean
absolute log ratio, which readings that are too low hardly move. Such a reading is a mean over the trailing second
(NVIDIA, NVML API, ``nvmlDeviceGetPowerUsage``): an operator run for less than some seconds reads between the draw
before it and its own. What the shares are on other boards, and of fp32 on vector units, is assumed to be the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.kernels.jit import law_kernel

POWER_MATH = 1.25
"""Share of the rated power that math at the full dense peak would add if the board had no limit."""
POWER_MEMORY = 0.73
"""Share of the rated power that moving bytes at the full bandwidth adds."""
POWER_LIMIT = 0.985
"""Share of the rated power that a board at its limit draws on average."""


@law_kernel
def dynamic_energy(p: Any, ops: Any, i: int, kernel_s: float, bytes_s: float) -> float:
    """What operator ``i`` spends on device record ``p`` beside the static draw of ``static_w`` [J].

    Args:
        p: reads ``peaks``, ``vector_peak``, ``static_w`` (draw of a busy board that does nothing), ``rated_w`` (TDP),
            ``power_math``, ``power_memory`` and ``power_limit`` (shares of ``rated_w``).
        kernel_s: seconds that the operator keeps the device busy.
        bytes_s: seconds that its bytes take at the full bandwidth of where they lie.
    """
    if kernel_s <= 0.0:
        return 0.0
    peak = p.peaks[ops.dtype[i]]
    math_s = ops.vector_flops[i] / p.vector_peak + (ops.flops[i] / peak if ops.flops[i] > 0.0 else 0.0)
    activity = p.power_math * np.sqrt(min(1.0, math_s / kernel_s)) + p.power_memory * min(1.0, bytes_s / kernel_s)
    spare_w = max(0.0, p.power_limit * p.rated_w - p.static_w)
    return min(p.rated_w * activity, spare_w) * kernel_s  # type: ignore[no-any-return]
