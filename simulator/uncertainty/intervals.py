"""Intervals of a prediction: a log-normal error with a bias that operators of a family share.

The seconds of a graph are T = sum over families of T_f. The log error of family f is a bias shared by every
operator of that family on that device (standard deviation b_f; between families the biases correlate by rho),
plus an independent part (i_f per operator) that averages out. So::

    sd(log T)^2 = sum_f sum_g w_f w_g b_f b_g (1 if f = g else rho) + sum_f w_f^2 i_f^2 / n_f,   w_f = T_f / T

and a root-sum-square over operators, which assumes that no error is shared, is never used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from simulator.result import Interval

Z80: Final = 1.2815515655446004
Z95: Final = 1.959963984540054

FAMILY_CORRELATION: Final = 0.5
"""Assumed correlation of the biases of two families on one device (clock, power and driver are shared)."""

BIAS: Final[dict[str, dict[str, float]]] = {
    "gpu": {"gemm": 0.25, "moe": 0.45, "attention_prefill": 0.5, "attention_decode": 0.5, "vector": 0.4},
    "tpu": {"gemm": 0.3, "moe": 0.5, "attention_prefill": 0.6, "attention_decode": 0.6, "vector": 0.5},
    "cpu": {"gemm": 0.45, "moe": 0.6, "attention_prefill": 0.7, "attention_decode": 0.6, "vector": 0.6},
    "fpga": {"gemm": 0.6, "moe": 0.8, "attention_prefill": 0.8, "attention_decode": 0.8, "vector": 0.8},
    "asic": {"gemm": 0.5, "moe": 0.6, "attention_prefill": 0.7, "attention_decode": 0.7, "vector": 0.6},
}
"""Standard deviation of the shared log error by class and family, for devices without samples. Assumed: class-level
judgement, to be replaced by residuals of fits."""

OTHER_BIAS: Final = 0.6
"""For families that the table lacks (collectives, transfers, optimizer, host)."""


def log_sd(seconds: Mapping[str, float], operators: Mapping[str, float], device_class: str) -> float:
    """Standard deviation of log time.

    Args:
        seconds: time per family [s].
        operators: executed operators per family.
        device_class: whose table of biases applies.
    """
    total = sum(seconds.values())
    if total <= 0.0:
        return 0.0
    table = BIAS[device_class]
    terms = [
        (value / total, table.get(family, OTHER_BIAS), operators.get(family, 1.0))
        for family, value in sorted(seconds.items())
    ]
    variance = 0.0
    for i, (w, b, n) in enumerate(terms):
        variance += (w * b) ** 2 * (1.0 + 1.0 / max(n, 1.0))
        variance += 2.0 * FAMILY_CORRELATION * sum(w * b * v * c for v, c, _ in terms[:i])
    return math.sqrt(variance)


def interval(value: float, sd: float, power: float = 1.0) -> Interval:
    """The interval of ``value`` whose log has standard deviation ``|power| sd``.

    ``power`` is how the metric depends on time: 1 for seconds and dollars, -1 for rates, about 0.6 for energy
    (static power scales with time, dynamic energy does not).
    """
    s = abs(power) * sd
    return Interval(
        value * math.exp(-Z95 * s), value * math.exp(-Z80 * s), value * math.exp(Z80 * s), value * math.exp(Z95 * s)
    )
