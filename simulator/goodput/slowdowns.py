"""How much slower than the typical device the devices of a job are: laws of one factor a rank.

A factor of 1 is the time that a step was predicted for, that of the median device. Laws answer from their upper end,
for maxima of many ranks live there: ``exceeded(x)`` is the share of ranks slower than x, ``quantile(share)`` the factor
that this share of the ranks exceeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

Floats = npt.NDArray[np.float64]
_HALVINGS = 80


class Slowdown(Protocol):
    """A law of the slow-down factor of one rank."""

    @property
    def kinks(self) -> tuple[float, ...]:
        """Factors at which the law is not smooth."""
        ...

    @property
    def jumps(self) -> tuple[float, ...]:
        """Shares, between 0 and 1, around which ``quantile`` falls at once or nearly so."""
        ...

    def exceeded(self, factor: Floats) -> Floats:
        """Share of ranks that are slower than ``factor``; same shape."""
        ...

    def quantile(self, share: Floats) -> Floats:
        """The factor that a ``share`` of ranks exceeds, share in (0, 1]; same shape."""
        ...


@dataclass(frozen=True)
class LogNormal:
    """ln X is normal with mean 0: many small causes, each of some percent. ``sigma`` is its standard deviation."""

    sigma: float

    @property
    def kinks(self) -> tuple[float, ...]:
        """None where it spreads; the factor 1 where it does not."""
        return () if self.sigma else (1.0,)

    @property
    def jumps(self) -> tuple[float, ...]:
        """None."""
        return ()

    def exceeded(self, factor: Floats) -> Floats:
        """1 - Phi(ln x / sigma)."""
        if not self.sigma:
            return (factor < 1.0).astype(np.float64)
        with np.errstate(divide="ignore"):
            return _floats(ndtr(-np.log(np.maximum(factor, 0.0)) / self.sigma))

    def quantile(self, share: Floats) -> Floats:
        """exp(-sigma Phi^-1(share))."""
        return _floats(np.exp(-self.sigma * ndtri(np.clip(share, 1e-300, 1.0 - 1e-16))))


@dataclass(frozen=True)
class ExponentialTail:
    """X = 1 + E, E exponential with ``mean``: no rank is faster than predicted, few are much slower."""

    mean: float

    @property
    def kinks(self) -> tuple[float, ...]:
        """The least factor, 1."""
        return (1.0,)

    @property
    def jumps(self) -> tuple[float, ...]:
        """None."""
        return ()

    def exceeded(self, factor: Floats) -> Floats:
        """exp(-(x - 1) / mean)."""
        if not self.mean:
            return (factor < 1.0).astype(np.float64)
        return np.exp(-np.maximum(factor - 1.0, 0.0) / self.mean)

    def quantile(self, share: Floats) -> Floats:
        """1 - mean ln(share)."""
        return 1.0 - self.mean * np.log(np.clip(share, 1e-300, 1.0))


@dataclass(frozen=True)
class SlowShare:
    """A mixture: a ``share`` of the ranks is ``factor`` times slower; all have log-normal noise of ``sigma``."""

    share: float
    factor: float
    sigma: float = 0.0

    @property
    def kinks(self) -> tuple[float, ...]:
        """Both factors where there is no noise."""
        return () if self.sigma else (1.0, self.factor)

    @property
    def jumps(self) -> tuple[float, ...]:
        """The share of the slow ones."""
        return (self.share,) if 0.0 < self.share < 1.0 else ()

    def exceeded(self, factor: Floats) -> Floats:
        """(1 - p) P(noise > x) + p P(noise > x / factor)."""
        noise = LogNormal(self.sigma)
        return (1.0 - self.share) * noise.exceeded(factor) + self.share * noise.exceeded(factor / self.factor)

    def quantile(self, share: Floats) -> Floats:
        """By halving, to 1e-12 or better."""
        share = np.asarray(share, np.float64)
        if not self.sigma:
            return np.where(share <= self.share, self.factor, 1.0)
        noise = LogNormal(self.sigma).quantile(share)
        low, high = noise, noise * self.factor
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            above = self.exceeded(middle) > share
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return 0.5 * (low + high)


@dataclass(frozen=True)
class Measured:
    """Measured quantiles, with straight lines between them.

    Args:
        shares: share of ranks at or below each factor, rising from 0 to 1.
        factors: rising.
    """

    shares: tuple[float, ...]
    factors: tuple[float, ...]

    @property
    def kinks(self) -> tuple[float, ...]:
        """All measured factors."""
        return self.factors

    @property
    def jumps(self) -> tuple[float, ...]:
        """Shares above each measured step."""
        return tuple(1.0 - share for share in self.shares if 0.0 < share < 1.0)

    def exceeded(self, factor: Floats) -> Floats:
        """1 - F(x), F a polygon; at a step of F the value above it."""
        factors, shares = np.asarray(self.factors), np.asarray(self.shares)
        last = np.clip(np.searchsorted(factors, factor, side="right") - 1, 0, len(factors) - 2)
        width = factors[last + 1] - factors[last]
        part = np.clip((factor - factors[last]) / np.where(width > 0.0, width, 1.0), 0.0, 1.0)
        below = shares[last] + part * (shares[last + 1] - shares[last])
        below = np.where(factor < factors[0], 0.0, np.where(factor >= factors[-1], 1.0, below))
        return _floats(1.0 - below)

    def quantile(self, share: Floats) -> Floats:
        """The polygon, inverted."""
        return _floats(np.interp(1.0 - np.asarray(share), self.shares, self.factors))


def _floats(value: Any) -> Floats:
    return np.asarray(value, np.float64)


@dataclass(frozen=True)
class Straggler:
    """A law of slow ranks, and what shares a draw of it.

    Args:
        group: devices that share one factor (8: the devices of a node).
        each_step: a new draw every step, as of noise; else devices stay as slow for the whole run.
        known: (number, factor) of devices that are known to be slow; then there is no chance, and all others are 1.
    """

    law: Slowdown
    group: int = 1
    each_step: bool = False
    known: tuple[tuple[int, float], ...] = ()

    def draws(self, ranks: int) -> int:
        """Independent factors among ``ranks`` devices that stand beside each other."""
        return -(-ranks // self.group)
