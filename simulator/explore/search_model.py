"""What search believes about points that it has not seen: Gaussian processes over codes.

The covariance of two points is the full ANOVA kernel (Durrande, Ginsbourger, Roustant and Carraro, ANOVA kernels and
RKHS of zero mean functions for model-based sensitivity analysis, Journal of Multivariate Analysis 115, 2013)

    k(x, y) = s^2 prod_j (1 + a_j c_j(x_j, y_j)) / (1 + a_j)

with, per axis j, Matern 5/2 in the distance |x_j - y_j| / l_j where its choices are numbers, and exp(-1 / l_j) for two
different choices where they are texts. A small a_j says that what other axes do is nearly the same for every choice of
axis j: times and costs are products of factors, so their logarithms are near such sums, and a few points teach much.
The parameters have the largest posterior density on a sample of the rows, with log-normal priors (Rasmussen and
Williams, Gaussian Processes for Machine Learning, 2006, chapter 5).
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_FITTED_ROWS: Final = 200
"""Most rows that the parameters are fitted to; all rows given condition the predictions."""
_ITERATIONS: Final = 30
_PRIORS: Final = ((0.0, 2.0), (math.log(0.7), 1.5), (math.log(1e-4), 3.0))
"""Mean and standard deviation of the logarithms of a, l and the share of noise."""
_BOUNDS: Final = ((-6.0, 6.0), (math.log(0.05), math.log(50.0)), (math.log(1e-6), 0.0))
_CHUNK: Final = 4_096
"""Points that are predicted at a time: the memory that takes is theirs times the rows learnt."""
_JITTER: Final = 1e-6
_ROOT5: Final = math.sqrt(5.0)


class Parameters(NamedTuple):
    """Of the kernel: weights a [axes], lengths l [axes], and the variance of noise as a share of s^2."""

    weights: Floats
    lengths: Floats
    noise: float

    @staticmethod
    def of(logs: Floats) -> Parameters:
        """From the logarithms of all in one row."""
        axes = len(logs) // 2
        return Parameters(np.exp(logs[:axes]), np.exp(logs[axes : 2 * axes]), float(np.exp(logs[-1])))


class GaussianProcess:
    """A model of one number over points [n, axes], each axis scaled to the unit interval or numbered by choice.

    Args:
        named: whether an axis is one of texts, [axes].
    """

    def __init__(self, named: Bools) -> None:
        self.named = named
        self.logs = np.concatenate([np.full(count, mean) for count, (mean, _) in self._shape()])
        self.fitted = False

    def _shape(self) -> list[tuple[int, tuple[float, float]]]:
        return list(zip((len(self.named), len(self.named), 1), _PRIORS, strict=True))

    def learn(self, points: Floats, values: Floats, rng: np.random.Generator, refit: bool) -> GaussianProcess:
        """Condition on ``values`` [n] at ``points``; ``refit`` also finds the parameters anew, from where they are."""
        self.mean, self.spread = float(values.mean()), float(values.std()) or 1.0
        scaled = (values - self.mean) / self.spread
        if refit or not self.fitted:
            rows = rng.permutation(len(scaled))[:_FITTED_ROWS]
            self._fit(points[rows], scaled[rows])
            self.fitted = True
        self.parameters, self.points = Parameters.of(self.logs), points
        gram = self.covariance(points, points)
        gram[np.diag_indices(len(gram))] += self.parameters.noise + _JITTER
        self.factor = cholesky(gram, lower=True, check_finite=False)
        self.pull = cho_solve((self.factor, True), scaled, check_finite=False)
        self.scale = self.spread * math.sqrt(max(float(scaled @ self.pull) / len(scaled), _JITTER))
        return self

    def guess(self, points: Floats) -> tuple[Floats, Floats]:
        """Mean [m] and an upper bound of the standard deviation [m], that from the nearest known point alone."""
        mean, nearest = np.empty(len(points)), np.empty(len(points))
        for start in range(0, len(points), _CHUNK):
            part = slice(start, start + _CHUNK)
            across = self.covariance(points[part], self.points)
            mean[part], nearest[part] = across @ self.pull, across.max(axis=1)
        bound = self.scale * np.sqrt(np.maximum(1.0 - nearest**2, 0.0))
        return self.mean + self.spread * mean, np.asarray(bound)

    def joint(self, points: Floats) -> tuple[Floats, Floats]:
        """Mean [m] and the Cholesky factor [m, m] of the covariance of what ``points`` may have."""
        across = self.covariance(points, self.points)
        known = solve_triangular(self.factor, across.T, lower=True, check_finite=False)
        left = self.covariance(points, points) - known.T @ known
        return self.mean + self.spread * (across @ self.pull), self.scale * _root(left)

    def covariance(self, left: Floats, right: Floats) -> Floats:
        """The kernel of two sets of points without s^2, shape [l, r]: a table per axis, looked up."""
        tables, offsets, widths, rows, columns = [], [], [], [], []
        offset = 0
        for place in range(len(self.named)):
            ours, row = np.unique(left[:, place], return_inverse=True)
            theirs, column = np.unique(right[:, place], return_inverse=True)
            table = self._factor(np.abs(ours[:, None] - theirs[None, :]), place)
            tables.append(table.ravel())
            offsets.append(offset)
            widths.append(len(theirs))
            offset += table.size
            rows.append(row.ravel())
            columns.append(column.ravel())
        if not tables:
            return np.ones((len(left), len(right)))
        return np.asarray(
            _looked_up(
                np.concatenate(tables), np.array(offsets), np.array(widths), np.stack(rows, axis=1), np.stack(columns)
            )
        )  # fmt: skip

    def _factor(self, distances: Floats, place: int) -> Floats:
        weight, length = self.parameters.weights[place], self.parameters.lengths[place]
        alike, _ = _correlation(distances, length, bool(self.named[place]))
        return np.asarray((1.0 + weight * alike) / (1.0 + weight))

    def _fit(self, points: Floats, values: Floats) -> None:
        """Find the parameters; where that fails they stay."""
        distances = [np.abs(column[:, None] - column[None, :]) for column in points.T]
        bounds = [bound for (count, _), bound in zip(self._shape(), _BOUNDS, strict=True) for _ in range(count)]
        found = minimize(
            self._loss, self.logs, args=(distances, values), jac=True, method="L-BFGS-B", bounds=bounds,
            options={"maxiter": _ITERATIONS},
        )  # fmt: skip
        if np.isfinite(found.fun):
            self.logs = found.x

    def _loss(self, logs: Floats, distances: list[Floats], values: Floats) -> tuple[float, Floats]:
        """Minus the log posterior density of the parameters, s^2 at its best value, and its gradient.

        With C the kernel and noise, b = C^-1 y and s^2 = y b / n: loss = n/2 log s^2 + 1/2 log |C|, and
        d loss = 1/2 tr((C^-1 - b b' / s^2) dC).
        """
        axes, count = len(self.named), len(values)
        weights, lengths, noise = Parameters.of(logs)
        kernel = np.ones((count, count))
        by_weight, by_length = [], []
        for place, distance in enumerate(distances):
            weight = weights[place]
            alike, slope = _correlation(distance, lengths[place], bool(self.named[place]))
            factor = (1.0 + weight * alike) / (1.0 + weight)
            kernel *= factor
            by_weight.append(weight * (alike - 1.0) / ((1.0 + weight) ** 2 * factor))
            by_length.append(weight * slope / ((1.0 + weight) * factor))
        noisy = kernel + (noise + _JITTER) * np.eye(count)
        try:
            root = cholesky(noisy, lower=True, check_finite=False)
        except LinAlgError:
            return math.inf, np.zeros_like(logs)
        inverse = cho_solve((root, True), np.eye(count), check_finite=False)
        pull = inverse @ values
        scale = max(float(values @ pull) / count, _JITTER)
        loss = 0.5 * count * math.log(scale) + float(np.log(np.diag(root)).sum())
        outer = 0.5 * (inverse - np.outer(pull, pull) / scale)
        weighed = outer * kernel
        slopes = [float((weighed * each).sum()) for each in (*by_weight, *by_length)]
        means = np.repeat([mean for mean, _ in _PRIORS], (axes, axes, 1))
        spreads = np.repeat([spread for _, spread in _PRIORS], (axes, axes, 1))
        away = (logs - means) / spreads
        gradient = np.array([*slopes, float(np.trace(outer)) * noise]) + away / spreads
        return loss + 0.5 * float(away @ away), gradient


def _correlation(distance: Floats, length: float, named: bool) -> tuple[Floats, Floats]:
    """c of one axis at each distance, and its slope along the logarithm of the length."""
    if named:
        other = math.exp(-1.0 / length)
        same = distance == 0.0
        return np.where(same, 1.0, other), np.where(same, 0.0, other / length)
    way = _ROOT5 * distance / length
    decay = np.exp(-way)
    return (1.0 + way + way * way / 3.0) * decay, way * way * (1.0 + way) / 3.0 * decay


def _root(covariance: Floats) -> Floats:
    """The Cholesky factor of a covariance that rounding may have made indefinite."""
    jitter = _JITTER
    while True:
        try:
            return np.asarray(cholesky(covariance + jitter * np.eye(len(covariance)), lower=True, check_finite=False))
        except LinAlgError:
            jitter *= 10.0


@njit(cache=True)
def _looked_up(tables: Floats, offsets: Ints, widths: Ints, rows: Ints, columns: Ints) -> Any:
    """Products over axes of table entries: ``rows`` [l, axes] and ``columns`` [axes, r] are places in the tables."""
    count, axes = rows.shape
    found = np.empty((count, columns.shape[1]))
    for i in range(count):
        for j in range(axes):
            start = offsets[j] + rows[i, j] * widths[j]
            line = tables[start : start + widths[j]]
            column = columns[j]
            if j == 0:
                for k in range(len(column)):
                    found[i, k] = line[column[k]]
            else:
                for k in range(len(column)):
                    found[i, k] *= line[column[k]]
    return found
