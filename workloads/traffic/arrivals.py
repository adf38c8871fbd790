"""When requests arrive: laws of the gaps between them, over rates that change with time; and closed loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from hardware_specs.errors import InputError, clipped
from workloads.traffic.patterns import DAY_S, Bursts, Diurnal, Pattern, Profile, Steady
from workloads.traffic.patterns import time_of as _time_of
from workloads.traffic.record import Floats
from workloads.traffic.streams import counted, stream
from workloads.traffic.words import MOST, Form, Words, built


@dataclass(frozen=True)
class Arrivals:
    """Requests that arrive whether or not others are answered.

    Args:
        rate_per_s: requests per second: the mean, or of ``Bursts`` the quiet rate; infinite (steady alone): all at 0.
        burstiness: shape of the gamma law of gaps, so that the square of their coefficient of variation is its
            inverse: 1 a Poisson process, below 1 burstier, infinite constant gaps. As ``--burstiness`` of
            vllm/benchmarks/serve.py, but that gaps are not scaled to an exact duration afterwards (pull request 21108).
        pattern: how the rate changes with time.

    Raises:
        InputError: a rate or a burstiness that is not above 0; an infinite rate that changes.
    """

    rate_per_s: float
    burstiness: float = 1.0
    pattern: Pattern = Steady()  # noqa: RUF009

    def __post_init__(self) -> None:
        for name, value in (("rate", self.rate_per_s), ("burstiness", self.burstiness)):
            if not value >= 1.0 / MOST:
                raise InputError(f"{name} {value!r} must be above 0, from {1.0 / MOST:g} on (or inf)")
        if math.isinf(self.rate_per_s) and not isinstance(self.pattern, Steady):
            raise InputError("rate inf: an infinite rate does not change with time; give a finite one")

    def times(self, count: int, seed: int) -> Floats:
        """When the first ``count`` requests arrive [s], never falling, shape [count].

        The process begins at 0, so that the first request comes after one gap. More requests change no earlier time.
        """
        if counted(count) == 0:
            return np.zeros(0)
        if math.isinf(self.burstiness):
            passed = np.arange(1.0, count + 1.0)
        else:
            passed = np.cumsum(stream(seed, "arrivals").standard_gamma(self.burstiness, count) / self.burstiness)
        nominal = passed / self.rate_per_s
        return _time_of(self.pattern.steps(float(nominal[-1]), seed), nominal)


@dataclass(frozen=True)
class ClosedLoop:
    """``concurrency`` clients, each of which sends its next request once it is answered.

    Raises:
        InputError: no whole number of clients from 1 on.
    """

    concurrency: int

    def __post_init__(self) -> None:
        counted(self.concurrency, "concurrency", 1)


def arrivals_of(
    text: str, rate_per_s: float | None, burstiness: float | None = None, place: str = "arrivals"
) -> Arrivals | ClosedLoop:
    """Arrivals in words: ``poisson``, ``gamma:burstiness=0.5``, ``constant``, ``diurnal:peak=1.8``,
    ``profile:values=3 1 5``, ``bursts:factor=10,lasts=60 s,every=1 h`` or ``closed:concurrency=32``.

    Args:
        rate_per_s: mean requests per second, as in ``Arrivals``; None for a closed loop.
        burstiness: where the words do not say it.
        place: where they stand, for errors.

    Raises:
        InputError: unknown words, numbers that cannot be, no rate (or one too many).
    """
    found = built(text, _FORMS, "arrivals", place)
    if isinstance(found, ClosedLoop):
        if rate_per_s is not None or burstiness is not None:
            raise InputError(f"{place}: closed: a closed loop has no rate and no burstiness; clients wait for answers")
        return found
    if rate_per_s is None:
        raise InputError(f"{place}: {clipped(text)!r} needs a rate, in requests per second")
    pattern, said = found
    if said is not None and burstiness is not None and said != burstiness:
        raise InputError(f"{place}: burstiness is {said:g} in {clipped(text)!r} and {burstiness:g} beside it")
    shape = said if said is not None else burstiness
    return Arrivals(rate_per_s, 1.0 if shape is None else shape, pattern)


_Said = tuple[Pattern, float | None] | ClosedLoop
"""A pattern and the burstiness that goes with it, None where that is not said."""


def _changing(pattern: Callable[[Words], Pattern]) -> Callable[[Words], _Said]:
    def build(words: Words) -> _Said:
        said = words.positive("burstiness") if "burstiness" in words.values else None
        return pattern(words), said

    return build


def _diurnal(words: Words) -> Pattern:
    peak = words.number("peak", least=1.0)
    if peak > 2.0:
        raise words.error(
            f"peak {words.values['peak']!r} must be from 1 to 2, as no sinusoid has a peak above twice its mean; "
            "write such a day as a profile"
        )
    period_s = words.positive("period", "s", default=DAY_S)
    return Diurnal(peak, _of_period(words, "at", period_s, period_s / 2.0), _start(words, period_s), period_s)


def _profile(words: Words) -> Pattern:
    period_s = words.positive("period", "s", default=DAY_S)
    try:
        values = tuple(float(value) for value in words.values["values"].split())
    except ValueError:
        values = ()
    if len(values) < 2 or not all(0.0 <= value < math.inf for value in values) or not 0.0 < sum(values) < math.inf:
        raise words.error(
            f"values {clipped(words.values['values'])!r} must be two or more numbers from 0 on, not all 0, with blanks "
            "between them (24: the hours of a day)"
        )
    return Profile(values, _start(words, period_s), period_s)


def _bursts(words: Words) -> Pattern:
    return Bursts(words.positive("factor"), words.positive("lasts", "s"), words.positive("every", "s"))


def _start(words: Words, period_s: float) -> float:
    return _of_period(words, "start", period_s, 0.0)


def _of_period(words: Words, key: str, period_s: float, default: float) -> float:
    """A time of the period."""
    value = words.number(key, "s", default=default)
    if value >= period_s:
        raise words.error(f"{key} {words.values[key]!r} must be less than the period, {period_s:g} s")
    return value


_FORMS: Final[dict[str, Form[_Said]]] = {
    "poisson": Form((), (), lambda words: (Steady(), 1.0)),
    "gamma": Form(("burstiness",), (), _changing(lambda words: Steady())),
    "constant": Form((), (), lambda words: (Steady(), math.inf)),
    "diurnal": Form(("peak",), ("at", "start", "period", "burstiness"), _changing(_diurnal)),
    "profile": Form(("values",), ("start", "period", "burstiness"), _changing(_profile)),
    "bursts": Form(("factor", "lasts", "every"), ("burstiness",), _changing(_bursts)),
    "closed": Form(("concurrency",), (), lambda words: ClosedLoop(words.whole("concurrency"))),
}
ARRIVALS: Final = tuple(_FORMS)
