"""Energy of one operator: what a busy board draws however little it does, the math, the bytes, and its limit.

With W the rated power (TDP), F the share of its time in which the operator would be done at peak rate and M that in
which its bytes would be moved at full bandwidth, both in (0, 1]::

    P = min(limit W, static + W (math F^e + memory M))        E = P t

On accelerators e is a half: power grows slower than the rate of math, as parts of a tile that are padding, and matrix
units that wait with clocks running, draw too. On CPUs it is one: F is the share of the time in which the lanes of its
cores issue instructions, those that unpack or look up weights too, and cores that wait for memory draw little. What
unpacks weights on an accelerator is no math: it is left out of F, as shifts and masks of integers draw little. Where
the sum is above the limit the board lowers clock and voltage until it fits. What a law learnt from measured times holds
that slowdown already, so the power is cut here and the time is left alone.

The shares are rounded from a fit to NVML power of an H200 in products and expert products of more than 100 us, by mean
absolute log ratio, which readings that are too low hardly move. Such a reading is a mean over the trailing second
(NVIDIA, NVML API, ``nvmlDeviceGetPowerUsage``): an operator run for less than some seconds reads between the draw
before it and its own. What the shares are on other boards, and of fp32 on vector units, is assumed to be the same.

Those of CPUs are assumed: all lanes and some of the bandwidth fill the rated power. Rounded with the power of a Jetson
AGX Orin in sight that multiplies two bits by dot products, and by look-ups at twice the rate, on all of its cores (15.0
and 10.4 W; Wei et al., T-MAC, arXiv:2407.00088).
"""

from __future__ import annotations

from typing import Any

from simulator.kernels.jit import law_kernel

POWER_MATH = 1.25
"""Share of the rated power that math at the full dense peak would add if the board had no limit."""
POWER_MEMORY = 0.73
"""Share of the rated power that moving bytes at the full bandwidth adds."""
POWER_ROOT = 0.5
"""Power of the share of math that it draws by, e above."""
POWER_LANES = 0.6
"""Share of the rated power of a CPU that lanes which issue all the time add; by their time itself, e = 1."""
POWER_CHANNELS = 0.3
"""Share of the rated power of a CPU that moving bytes at the full bandwidth adds."""
POWER_LIMIT = 0.985
"""Share of the rated power that a board at its limit draws on average."""


@law_kernel
def dynamic_energy(p: Any, ops: Any, i: int, kernel_s: float, bytes_s: float, lanes_s: float) -> float:
    """What operator ``i`` spends on device record ``p`` beside the static draw of ``static_w`` [J].

    Args:
        p: reads ``peaks``, ``vector_peak``, ``static_w`` (draw of a busy board that does nothing), ``rated_w`` (TDP),
            ``power_math``, ``power_memory`` and ``power_limit`` (shares of ``rated_w``), ``power_root`` (e above).
        kernel_s: seconds that the operator keeps the device busy.
        bytes_s: seconds that its bytes take at the full bandwidth of where they lie.
        lanes_s: seconds that lanes of a CPU issue for products of packed weights, instead of their flops; else 0.
    """
    if kernel_s <= 0.0:
        return 0.0
    math_s = lanes_s
    if lanes_s <= 0.0:
        math_s = ops.flops[i] / p.peaks[ops.dtype[i]] if ops.flops[i] > 0.0 else 0.0
        math_s += ops.vector_flops[i] / p.vector_peak if ops.dequantize[i] <= 0 else 0.0
    share = min(1.0, math_s / kernel_s)
    activity = p.power_math * share**p.power_root + p.power_memory * min(1.0, bytes_s / kernel_s)
    spare_w = max(0.0, p.power_limit * p.rated_w - p.static_w)
    return min(p.rated_w * activity, spare_w) * kernel_s  # type: ignore[no-any-return]
