"""How the rate of arrivals changes over time, as steps of constant rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np

from hardware_specs.errors import InputError
from workloads.traffic.record import Floats
from workloads.traffic.streams import stream

DAY_S: Final = 86400.0
STEPS: Final = 1440
"""Steps of a sinusoid's period: minutes of a day."""
MOST_BURSTS: Final = 10_000_000


class Steps(NamedTuple):
    """A rate that is constant from ``from_s[j]`` to the next step, in multiples of a nominal rate; shape [steps].

    ``area`` is its integral from 0 to ``from_s[j]``; after ``period_s`` with the integral ``whole`` all begins anew
    (both infinite: it never does). Time 0 of the traffic is at ``start_s``.
    """

    from_s: Floats
    level: Floats
    area: Floats
    period_s: float = math.inf
    whole: float = math.inf
    start_s: float = 0.0


class Pattern(Protocol):
    """A rate over time."""

    def steps(self, nominal_s: float, seed: int) -> Steps:
        """Steps for as long as an integral of ``nominal_s`` needs: seconds at the nominal rate."""
        ...


@dataclass(frozen=True)
class Steady:
    """The nominal rate throughout."""

    def steps(self, nominal_s: float, seed: int) -> Steps:
        """One step."""
        return Steps(np.zeros(1), np.ones(1), np.zeros(1))


@dataclass(frozen=True)
class Diurnal:
    """A sinusoid whose mean over a period is the nominal rate: 1 + a cos(2 pi (t - peak) / period), in ``STEPS`` steps
    that each have its mean.

    Args:
        peak_to_mean: 1 + a, from 1 to 2; the lowest rate is 1 - a.
        peak_at_s: time of the period when the rate is highest.
        start_s: time of the period when the traffic begins.
        period_s: of a day, or another one.
    """

    peak_to_mean: float
    peak_at_s: float = DAY_S / 2.0
    start_s: float = 0.0
    period_s: float = DAY_S

    def steps(self, nominal_s: float, seed: int) -> Steps:
        """The steps of one period."""
        ends = np.arange(STEPS + 1) / STEPS
        angle = 2.0 * np.pi * (ends - self.peak_at_s / self.period_s)
        level = 1.0 + (self.peak_to_mean - 1.0) * np.diff(np.sin(angle)) / np.diff(angle)
        return _periodic(np.maximum(level, 0.0), self.period_s, self.start_s)


@dataclass(frozen=True)
class Profile:
    """Rates of equal parts of a period (24 of a day: its hours), in any unit; their mean is the nominal rate."""

    values: tuple[float, ...]
    start_s: float = 0.0
    period_s: float = DAY_S

    def steps(self, nominal_s: float, seed: int) -> Steps:
        """The steps of one period."""
        level = np.array(self.values)
        return _periodic(level / level.mean(), self.period_s, self.start_s)


@dataclass(frozen=True)
class Bursts:
    """The nominal rate, and ``factor`` times as much for ``lasts_s`` from random times on, as news makes it.

    Bursts begin as a Poisson process, one in ``every_s`` seconds on average; one that begins in another prolongs it.
    So a share 1 - exp(-lasts_s / every_s) of the time is burst, that of an M/D/infinity queue that is busy, and the
    mean rate is 1 + (factor - 1) share.
    """

    factor: float
    lasts_s: float
    every_s: float

    @property
    def mean(self) -> float:
        """Mean rate in multiples of the nominal one."""
        return 1.0 + (self.factor - 1.0) * -math.expm1(-self.lasts_s / self.every_s)

    def steps(self, nominal_s: float, seed: int) -> Steps:
        """Quiet and burst in turn, until nothing earlier is needed.

        Raises:
            InputError: more than ``MOST_BURSTS`` bursts.
        """
        last_s = nominal_s / min(self.factor, 1.0)
        if last_s / self.every_s > MOST_BURSTS:
            raise InputError(
                f"bursts: one every {self.every_s:g} s over {last_s:.4g} s are more than {MOST_BURSTS:,}; "
                "allowed: fewer requests, or rarer bursts"
            )
        begins = self._begins(last_s, seed)
        ends = begins + self.lasts_s
        new = np.append(True, begins[1:] > ends[:-1])
        begins, ends = begins[new], ends[np.append(new[1:], True)]
        from_s = np.concatenate([[0.0], np.stack([begins, ends], axis=1).ravel()])
        level = np.ones(len(from_s))
        level[1::2] = self.factor
        return Steps(from_s, level, _areas(from_s, level))

    def _begins(self, last_s: float, seed: int) -> Floats:
        """When bursts begin, shape [bursts]: all up to ``last_s`` and at least one later."""
        count = 16
        while True:
            begins = np.cumsum(stream(seed, "bursts").standard_exponential(count)) * self.every_s
            if begins[-1] > last_s:
                return begins
            count *= 2


def time_of(steps: Steps, area: Floats) -> Floats:
    """When the integral of the rate from the start on reaches ``area``, shape [n], never falling [s].

    A renewal process of unit rate at these times is one of the changing rate (time change; Cinlar, Introduction to
    Stochastic Processes, 1975, ch. 4.7): exact for Poisson arrivals, and bursty ones stay bursty.
    """
    if steps.start_s:
        area = area + _area_at(steps, steps.start_s)
    rounds = np.floor(area / steps.whole)
    rest = area - rounds * steps.whole if math.isfinite(steps.whole) else area
    rest = np.clip(rest, 0.0, np.nextafter(steps.whole, 0.0))
    at = np.searchsorted(steps.area, rest, side="right") - 1
    times = steps.from_s[at] + (rest - steps.area[at]) / steps.level[at] - steps.start_s
    if math.isfinite(steps.period_s):
        times = times + rounds * steps.period_s
    return np.maximum.accumulate(np.maximum(times, 0.0))


def _area_at(steps: Steps, time_s: float) -> float:
    """Integral of the rate from 0 to ``time_s`` of the first period."""
    at = int(np.searchsorted(steps.from_s, time_s, side="right")) - 1
    return float(steps.area[at] + (time_s - steps.from_s[at]) * steps.level[at])


def _periodic(level: Floats, period_s: float, start_s: float) -> Steps:
    """Equal parts of a period."""
    ends = period_s * np.arange(len(level) + 1) / len(level)
    area = _areas(ends, np.append(level, 0.0))
    return Steps(ends[:-1], level, area[:-1], period_s, float(area[-1]), start_s)


def _areas(from_s: Floats, level: Floats) -> Floats:
    return np.append(0.0, np.cumsum(np.diff(from_s) * level[:-1]))
