"""Intervals of a prediction: a log-normal error with a bias that operators of a family share.

The seconds of a run are T = sum of parts T_p, a part being what one operator family takes on one device. The log error
of a part has a component that all its operators share (standard deviation s_p) and one of each distinct operator's own
(o_i; the layers of a model repeat one operator, and so its error). Shared errors of different families on one device
correlate (clock, power and driver are shared), those of different devices less. So with w = seconds / T::

    sd(log T)^2 = sum_p sum_q w_p w_q s_p s_q rho_pq + sum_i (w_i o_i)^2

and a root-sum-square over operators, which assumes that no error is shared, is never used. A whole run errs beyond its
operators (what the host does between them, clocks that fall, the version of the software): ``WHOLE_RUN`` by class.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

from simulator.result import Interval

Z80: Final = 1.2815515655446004
Z95: Final = 1.959963984540054

FAMILY_CORRELATION: Final = 0.5
"""Assumed correlation of the shared errors of two families on one device."""

DEVICE_CORRELATION: Final = 0.2
"""Assumed correlation of errors on two devices: they share the lowering and the form of the law."""


class Error(NamedTuple):
    """Standard deviations of the log error of operators: what they share, and what is each one's own."""

    shared: float
    own: float


def _alike(**shared: float) -> dict[str, Error]:
    """Errors by family, as much of each operator's own as shared."""
    return {family: Error(sd, sd) for family, sd in shared.items()}


ERRORS: Final[dict[str, dict[str, Error]]] = {
    "gpu": {
        "gemm": Error(0.24, 0.28), "moe": Error(0.15, 0.35), "attention_prefill": Error(0.22, 0.3),
        "attention_decode": Error(0.24, 0.44), "vector": Error(0.22, 0.35), "collective": Error(0.3, 0.3),
    },
    "tpu": _alike(gemm=0.3, moe=0.5, attention_prefill=0.6, attention_decode=0.6, vector=0.5),
    "cpu": _alike(gemm=0.45, moe=0.6, attention_prefill=0.7, attention_decode=0.6, vector=0.6),
    "fpga": _alike(gemm=0.6, moe=0.8, attention_prefill=0.8, attention_decode=0.8, vector=0.8),
    "asic": _alike(gemm=0.5, moe=0.6, attention_prefill=0.7, attention_decode=0.7, vector=0.6),
}  # fmt: skip
"""Errors by class and family where no calibration holds. GPU: of fits to other devices on whole devices left out
(``benchmarks/fit_operators.py`` prints them). The others are assumed: class-level judgement."""

OTHER_BIAS: Final = 0.6
"""For families that the table lacks (collectives, transfers, optimizer, host)."""


COLLECTIVE_IN_NODE: Final = 0.1
COLLECTIVE_OVER_NODES: Final = 0.4
"""Standard deviation of the log error of collectives of a library that was fitted, shared and own alike: from the sizes
of groups that the fits left out (``workloads.collectives``), inside a node and between nodes."""

POWER: Final = 0.25
"""Standard deviation of the log of predicted power. Assumed: its shares come from one board."""

WHOLE_RUN: Final[dict[str, float]] = {"gpu": 0.12, "tpu": 0.2, "cpu": 0.3, "fpga": 0.5, "asic": 0.15}
"""Standard deviation of what a run's log error has beyond its operators, by class: what is left of measured inference
and training runs (docs: physics, Intervals) when the errors of operators are taken off, rounded up."""


class StepSpread(NamedTuple):
    """What is left of the errors of operators in a training step, as a share, and what it errs beyond them [log]."""

    operators: float
    beyond: float


TRAINING_STEP: Final[dict[str, StepSpread]] = {"gpu": StepSpread(0.2, 0.08), "tpu": StepSpread(0.2, 0.1)}
"""By class, from measured steps that no fit of their runtime saw (docs: physics, Intervals; 239 on GPUs, 8 on TPUs), so
that 80% intervals hold 86% of them: rounded up, for few models stand behind them. Steps of other classes are too few,
and spread as any run."""


def prior_error(device_class: str, family: str) -> Error:
    """The error of a family where no calibration holds."""
    return ERRORS[device_class].get(family, Error(OTHER_BIAS, OTHER_BIAS))


def collective_error(fitted: bool, nodes: int) -> Error:
    """The error of collectives over ``nodes``; ``fitted`` says that constants of the library were."""
    if not fitted:
        return Error(OTHER_BIAS, OTHER_BIAS)
    sd = COLLECTIVE_IN_NODE if nodes == 1 else COLLECTIVE_OVER_NODES
    return Error(sd, sd)


class Part(NamedTuple):
    """What the operators of one family take on one device: seconds, and the error of their sum."""

    device: str
    device_class: str
    family: str
    seconds: float
    error: Error


def log_sd(parts: Iterable[Part]) -> float:
    """Standard deviation of the log of the summed seconds of ``parts``; 0 for no time."""
    ordered = sorted(part for part in parts if part.seconds > 0.0)
    total = sum(part.seconds for part in ordered)
    variance = 0.0
    for i, p in enumerate(ordered):
        w = p.seconds / total
        variance += w * w * (p.error.shared**2 + p.error.own**2)
        for q in ordered[:i]:
            rho = FAMILY_CORRELATION if p.device == q.device else DEVICE_CORRELATION
            variance += 2.0 * rho * w * p.error.shared * q.seconds / total * q.error.shared
    return math.sqrt(variance)


def run_sd(parts: Iterable[Part]) -> float:
    """As ``log_sd``, for a whole run: with what it errs beyond its operators, shared by all of one class."""
    chosen = [part for part in parts if part.seconds > 0.0]
    total = sum(part.seconds for part in chosen)
    beyond = sum(part.seconds / total * WHOLE_RUN[part.device_class] for part in chosen)
    return math.hypot(log_sd(chosen), beyond)


def step_sd(parts: Iterable[Part]) -> float:
    """As ``run_sd``, for a training step; each class of devices with its own ``TRAINING_STEP``."""
    chosen = [part for part in parts if part.seconds > 0.0]
    total = sum(part.seconds for part in chosen)
    spreads = [TRAINING_STEP.get(p.device_class, StepSpread(1.0, WHOLE_RUN[p.device_class])) for p in chosen]
    beyond = sum(part.seconds / total * spread.beyond for part, spread in zip(chosen, spreads, strict=True))
    left = [
        part._replace(error=Error(part.error.shared * spread.operators, part.error.own * spread.operators))
        for part, spread in zip(chosen, spreads, strict=True)
    ]
    return math.hypot(log_sd(left), beyond)


def interval(value: float, sd: float, power: float = 1.0) -> Interval:
    """The interval of ``value`` whose log has standard deviation ``|power| sd``.

    ``power`` is how the metric depends on time: 1 for seconds and dollars, -1 for rates, the static share for
    energy (static power scales with time, dynamic energy does not).
    """
    s = abs(power) * sd
    return Interval(
        value * math.exp(-Z95 * s), value * math.exp(-Z80 * s), value * math.exp(Z80 * s), value * math.exp(Z95 * s)
    )
