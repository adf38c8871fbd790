"""Laws of lengths and of times, each as its quantile function: a uniform number in [0, 1) in, a value out.

A request keeps its uniform number when the law changes, so that two laws are compared on the same draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Protocol

import numpy as np

from workloads.traffic.record import Floats


class Law(Protocol):
    """A distribution of one number."""

    def at(self, unit: Floats) -> Floats:
        """The quantiles at ``unit``, numbers in [0, 1), shape [n]; never falling in ``unit``, but of a ``Sample``."""
        ...


@dataclass(frozen=True)
class Fixed:
    """Always ``value``."""

    value: float

    def at(self, unit: Floats) -> Floats:
        """``value`` throughout."""
        return np.full(len(unit), self.value)


@dataclass(frozen=True)
class Uniform:
    """Every number from ``low`` to ``high`` alike; ``whole``: every whole number, both ends included."""

    low: float
    high: float
    whole: bool

    def at(self, unit: Floats) -> Floats:
        """low + u (high - low); whole numbers: low + floor(u (high - low + 1))."""
        if self.whole:
            return self.low + np.floor(unit * (self.high - self.low + 1.0))
        return self.low + unit * (self.high - self.low)


@dataclass(frozen=True)
class Normal:
    """The normal distribution."""

    mean: float
    std: float

    def at(self, unit: Floats) -> Floats:
        """mean + std z(u)."""
        return self.mean + self.std * _normal(unit) if self.std else np.full(len(unit), self.mean)


@dataclass(frozen=True)
class LogNormal:
    """The exponential of a normal variable of mean ``mu`` and deviation ``sigma``; mean exp(mu + sigma^2 / 2)."""

    mu: float
    sigma: float

    def at(self, unit: Floats) -> Floats:
        """exp(mu + sigma z(u))."""
        if not self.sigma:
            return np.full(len(unit), math.exp(self.mu))
        with np.errstate(over="ignore"):
            return np.exp(self.mu + self.sigma * _normal(unit))


@dataclass(frozen=True)
class Exponential:
    """The exponential distribution of this mean."""

    mean: float

    def at(self, unit: Floats) -> Floats:
        """-mean ln(1 - u)."""
        return -self.mean * np.log1p(-unit)


@dataclass(frozen=True)
class Geometric:
    """Whole numbers k from 1 on with probability p (1 - p)^(k - 1), p = 1 / mean."""

    mean: float

    def at(self, unit: Floats) -> Floats:
        """1 + floor(ln(1 - u) / ln(1 - p))."""
        if self.mean <= 1.0:
            return np.ones(len(unit))
        return 1.0 + np.floor(np.log1p(-unit) / math.log1p(-1.0 / self.mean))


@dataclass(frozen=True)
class Zipf:
    """Whole numbers k from ``low`` to ``high`` with a probability proportional to k^-alpha."""

    alpha: float
    low: int
    high: int

    def at(self, unit: Floats) -> Floats:
        """The least k whose cumulative probability is above u."""
        return self.low + np.searchsorted(self._cumulative, unit, side="right").astype(np.float64)

    @cached_property
    def _cumulative(self) -> Floats:
        """Cumulative probability at low ... high - 1, shape [high - low]."""
        ratios = np.arange(self.low, self.high + 1, dtype=np.float64) / self.low
        total = np.cumsum(ratios**-self.alpha)
        return np.asarray(total[:-1] / total[-1])


@dataclass(frozen=True, eq=False)
class Sample:
    """Measured values, shape [m], drawn with replacement."""

    values: Floats

    def at(self, unit: Floats) -> Floats:
        """Value number floor(u m) of the sample, as it stands."""
        return self.values[(unit * len(self.values)).astype(np.int64)]


@dataclass(frozen=True)
class Clipped:
    """Another law, whose values below ``low`` become ``low`` and above ``high`` become ``high``."""

    law: Law
    low: float
    high: float

    def at(self, unit: Floats) -> Floats:
        """min(max(quantile, low), high)."""
        return np.clip(self.law.at(unit), self.low, self.high)


def lognormal_of_mean(mean: float, quantile: float, level: float) -> LogNormal | None:
    """The lognormal law of this mean whose quantile at ``level`` is ``quantile``; None where there is none.

    With z the standard normal quantile at ``level``, quantile / mean = exp(sigma z - sigma^2 / 2), of which the root
    sigma = z - sqrt(z^2 - 2 ln(quantile / mean)) is taken. Roots exist for ratios up to ``largest_ratio``; the second
    one, sigma > z, has tails that no measured lengths have, and is the only one for ratios below 1.
    """
    z, excess = normal_quantile(level), math.log(quantile / mean)
    if excess < 0.0 or z * z < 2.0 * excess:
        return None
    sigma = z - math.sqrt(z * z - 2.0 * excess)
    return LogNormal(math.log(mean) - sigma * sigma / 2.0, sigma)


def largest_ratio(level: float) -> float:
    """The largest quantile at ``level`` over the mean that a lognormal law has, exp(z^2 / 2): 14.97 at 0.99."""
    return math.exp(normal_quantile(level) ** 2 / 2.0)


def normal_quantile(level: float) -> float:
    """The standard normal quantile at one ``level`` in (0, 1)."""
    return NormalDist().inv_cdf(level)


def _normal(unit: Floats) -> Floats:
    """Standard normal quantiles."""
    from scipy.special import ndtri

    return np.asarray(ndtri(unit))
