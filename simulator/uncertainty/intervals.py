"""Intervals of a prediction: a log-normal error with a bias that operators of a family share.

The seconds of a run are T = sum of parts T_p, a part being what one operator family takes on one device. The log error
of a part is a bias shared by all its operators (standard deviation b_p), plus an independent part of the same size per
operator that averages out over its n_p operators. Biases of different families on one device correlate (clock, power
and driver are shared), those of different devices less. So::

    sd(log T)^2 = sum_p sum_q w_p w_q b_p b_q rho_pq + sum_p w_p^2 b_p^2 / n_p,   w_p = T_p / T

and a root-sum-square over operators, which assumes that no error is shared, is never used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

from simulator.result import Interval

Z80: Final = 1.2815515655446004
Z95: Final = 1.959963984540054

FAMILY_CORRELATION: Final = 0.5
"""Assumed correlation of the biases of two families on one device."""

DEVICE_CORRELATION: Final = 0.2
"""Assumed correlation of biases on two devices: they share the lowering and the form of the law."""

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


class Part(NamedTuple):
    """What the operators of one family take on one device: seconds, and how many of them ran."""

    device: str
    device_class: str
    family: str
    seconds: float
    operators: float

    @property
    def bias(self) -> float:
        """Standard deviation of the shared log error."""
        return BIAS[self.device_class].get(self.family, OTHER_BIAS)


def log_sd(parts: Iterable[Part]) -> float:
    """Standard deviation of the log of the summed seconds of ``parts``; 0 for no time."""
    ordered = sorted(part for part in parts if part.seconds > 0.0)
    total = sum(part.seconds for part in ordered)
    variance = 0.0
    for i, p in enumerate(ordered):
        w = p.seconds / total * p.bias
        variance += w * w * (1.0 + 1.0 / max(p.operators, 1.0))
        for q in ordered[:i]:
            rho = FAMILY_CORRELATION if p.device == q.device else DEVICE_CORRELATION
            variance += 2.0 * rho * w * q.seconds / total * q.bias
    return math.sqrt(variance)


def interval(value: float, sd: float, power: float = 1.0) -> Interval:
    """The interval of ``value`` whose log has standard deviation ``|power| sd``.

    ``power`` is how the metric depends on time: 1 for seconds and dollars, -1 for rates, the static share for
    energy (static power scales with time, dynamic energy does not).
    """
    s = abs(power) * sd
    return Interval(
        value * math.exp(-Z95 * s), value * math.exp(-Z80 * s), value * math.exp(Z80 * s), value * math.exp(Z95 * s)
    )
