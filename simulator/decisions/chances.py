"""Which of several uncertain alternatives is the best, and what it is worth to learn more before one is chosen.

Each alternative has a loss, the logarithm of a cost: less is better. Together the losses are normal with mean m [A]
and covariance S [A, A]. A measurement that is still to be made settles a part D of that covariance (D and S - D are
positive semidefinite): seen from now the mean after it is normal about m with covariance D, and S - D is what stays
unsure. This is preposterior analysis (Raiffa and Schlaifer, Applied Statistical Decision Theory, 1961; Howard,
Information Value Theory, IEEE Transactions on Systems Science and Cybernetics 2(1), 1966). Before and after it the
alternative is chosen that is most likely the best. So no measurement makes a wrong choice likelier: the largest of
several probabilities is convex in them, and their mean over what the measurement may show is what they are before it.

For two alternatives everything has a closed form in the difference of their losses; for more there is quasi Monte
Carlo with fixed points, the same to the bit at every call.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, owens_t
from scipy.stats import qmc

Floats = npt.NDArray[np.float64]

_POINTS: Final = 1 << 14
"""Points at which several alternatives are compared."""
_OUTCOMES: Final = 1 << 9
_POINTS_EACH: Final = 1 << 10
"""What a measurement of several alternatives may show, and the points at which they are compared after each of it."""
_SEED: Final = 20260101
_UNLIKELY: Final = 1e-3
"""An alternative with a smaller chance of being the best is not followed through what measurements may show."""
_SAME: Final = 1e-9
"""Losses that differ by less are equal: the best of them share its chance."""
_LEAST_VARIANCE: Final = 1e-18


class Outlook(NamedTuple):
    """What may come of a choice.

    Args:
        flip: chance that another alternative than the chosen one is the best.
        regret: mean loss of what is chosen beyond that of what is the best (log ratio of costs).
    """

    flip: float
    regret: float


def chances(mean: Floats, covariance: Floats) -> Floats:
    """The chance of each alternative to be the best, shape [A]; they sum to 1, equal ones share."""
    if len(mean) == 1:
        return np.ones(1)
    if len(mean) == 2:
        first = float(chance_of_first(*map(np.array, _difference(mean, covariance))))
        return np.array([first, 1.0 - first])
    return _shares(mean[:, None] + _root(covariance) @ _normal(_POINTS, len(mean), 0))


def chance_of_first(gap: Floats, variance: Floats) -> Floats:
    """The chance that the first of two losses is the smaller one, equal ones sharing; any shape.

    Args:
        gap: mean of the second loss less that of the first.
        variance: of their difference; 0 where it is certain.
    """
    unsure = variance > 0.0
    spread = np.sqrt(np.where(unsure, variance, 1.0))
    return np.where(unsure, ndtr(gap / spread), 0.5 * (np.sign(gap) + 1.0))


def outlook(mean: Floats, covariance: Floats, settled: Floats | None = None) -> Outlook:
    """What may come of choosing the likeliest alternative, at once or after a measurement.

    Args:
        mean, covariance: of the losses, shapes [A] and [A, A].
        settled: the part of ``covariance`` that the measurement settles before the choice; none: nothing.
    """
    known = np.zeros_like(covariance) if settled is None else settled
    if len(mean) == 1:
        return Outlook(0.0, 0.0)
    if len(mean) == 2:
        gap, variance = _difference(mean, covariance)
        return _outlook_of_two(gap, variance, min(max(_difference(mean, known)[1], 0.0), variance))
    now = _outlook_of_many(mean, covariance)
    if not known.any():
        return now
    flip, regret = _gain_of_many(mean, covariance, known)
    return Outlook(now.flip - flip, now.regret - regret)


def _difference(mean: Floats, covariance: Floats) -> tuple[float, float]:
    """By how much the second loss exceeds the first, and the variance of that, 0 for rounding alone."""
    variance = float(covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1])
    return float(mean[1] - mean[0]), variance if variance > _LEAST_VARIANCE else 0.0


def _outlook_of_two(gap: float, variance: float, settled: float) -> Outlook:
    """With k = |gap| / sqrt(V) and a = sqrt((V - D) / D) the chance is 2 T(k, a), T being Owen's function.

    The choice is wrong where the mean after the measurement and the true difference have different signs. They are
    bivariate normal with one mean and correlation sqrt(D / V), for which Owen's formula has a single term left (Owen,
    Annals of Mathematical Statistics 27(4), 1956). The regret is E min(0, mean after it) - E min(0, difference).
    """
    if variance == 0.0:
        return Outlook(0.5 if gap == 0.0 else 0.0, 0.0)
    slope = math.sqrt((variance - settled) / settled) if settled > 0.0 else math.inf
    flip = 2.0 * float(owens_t(abs(gap) / math.sqrt(variance), slope))
    return Outlook(flip, max(0.0, _linear_loss(gap, variance) - _linear_loss(gap, settled)))


def _linear_loss(gap: float, variance: float) -> float:
    """Unit normal linear loss (Raiffa and Schlaifer): E max(0, -x) of a normal x with mean ``|gap|``."""
    if variance <= 0.0:
        return 0.0
    sd = math.sqrt(variance)
    k = abs(gap) / sd
    density = math.exp(-0.5 * k * k) / math.sqrt(2.0 * math.pi)
    return sd * (density - k * float(ndtr(-k)))


def _outlook_of_many(mean: Floats, covariance: Floats) -> Outlook:
    losses = mean[:, None] + _root(covariance) @ _normal(_POINTS, len(mean), 0)
    shares = _shares(losses)
    chosen = int(shares.argmax())
    return Outlook(1.0 - float(shares[chosen]), float((losses[chosen] - losses.min(axis=0)).mean()))


def _gain_of_many(mean: Floats, covariance: Floats, settled: Floats) -> tuple[float, float]:
    """By how much a measurement lessens the flip and the regret.

    Both are differences between choices at the same points, so that the first is never negative; where two alternatives
    alone are likely, between closed forms.
    """
    likely = np.flatnonzero(chances(mean, covariance) > _UNLIKELY)
    if len(likely) < 2:
        return 0.0, 0.0
    inside = np.ix_(likely, likely)
    if len(likely) == 2:
        at_once = outlook(mean[likely], covariance[inside])
        informed = outlook(mean[likely], covariance[inside], settled[inside])
        return at_once.flip - informed.flip, at_once.regret - informed.regret
    after = (mean[likely, None] + _root(settled[inside]) @ _normal(_OUTCOMES, len(likely), 1)).T
    errors = _root((covariance - settled)[inside]) @ _normal(_POINTS_EACH, len(likely), 2)
    shares = np.stack([_shares(row[:, None] + errors) for row in after])
    now, then = int(shares.mean(axis=0).argmax()), shares.argmax(axis=1)
    flip = float(shares.max(axis=1).mean() - shares[:, now].mean())
    regret = float((after[:, now] - after[np.arange(len(after)), then]).mean())
    return flip, regret


def _shares(losses: Floats) -> Floats:
    """How often each alternative is the best at points [A, n], shape [A]; those that are the best together share."""
    best = losses <= losses.min(axis=0) + _SAME
    return np.asarray((best / best.sum(axis=0)).mean(axis=1))


def _root(covariance: Floats) -> Floats:
    """R with R R^T = ``covariance``, which may be singular; shape [A, A]."""
    values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
    return np.asarray(vectors * np.sqrt(np.clip(values, 0.0, None)))


@lru_cache(maxsize=32)
def _normal(points: int, dimensions: int, number: int) -> Floats:
    """Standard normal points, shape [dimensions, points]: a Sobol sequence with a random shift (Cranley, Patterson)."""
    shift = np.random.default_rng((_SEED, number)).random(dimensions)
    sequence = qmc.Sobol(dimensions, scramble=False).random(points)
    uniform = np.clip((sequence + shift) % 1.0, 1e-12, 1.0 - 1e-12)
    return np.ascontiguousarray(ndtri(uniform).T)
