"""The chance that one scenario is better than another: errors of the predictions, and inputs that are not known.

The log losses of both are normal, with errors that share their sources (``decisions.terms``). Inputs that are unsure
(prices, sizes) are drawn from stated distributions: an input of both scenarios is drawn once for both. Given the inputs
the chance has a closed form in the difference of the losses, so that only inputs are sampled, and the chance is the
mean of it (Rao-Blackwell); its Monte Carlo error is the standard deviation of that mean.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from hardware_specs.errors import InputError
from simulator.decisions.chances import chance_of_first
from simulator.decisions.knobs import Knob, Setting, knob_of, result_at, scenario_at
from simulator.decisions.terms import Loads, check_metric, covariance_of, joined_terms, terms_of
from simulator.metrics import BY_NAME
from simulator.result import Result
from simulator.scenario import Scenario
from simulator.uncertainty.intervals import Z80

Floats = npt.NDArray[np.float64]

DRAWS: Final = 400
MOST_DRAWS: Final = 100_000
SIDES: Final = ("a", "b", "")
_LAW: Final = "device.parameters."
_SAME: Final = 1e-12
"""Log losses that differ by less are equal."""


class Unsure(NamedTuple):
    """An input that is not known.

    Without ``mode`` its logarithm is normal and 80% of it lies between ``low`` and ``high``; with it the distribution
    is a triangle from ``low`` to ``high``.

    Args:
        path: of a knob.
        side: "a" or "b": of that scenario; "": of both, with one value.
    """

    path: str
    side: str
    low: float
    high: float
    mode: float | None = None

    def at(self, u: float, step: float = 0.0) -> float:
        """The quantile at ``u`` in (0, 1), rounded to a multiple of ``step``."""
        if self.mode is None:
            middle = 0.5 * math.log(self.low * self.high)
            value = math.exp(middle + float(ndtri(u)) * math.log(self.high / self.low) / (2.0 * Z80))
        else:
            value = self._triangle(u, self.mode)
        return max(step * round(value / step), step) if step else value

    def _triangle(self, u: float, mode: float) -> float:
        width = self.high - self.low
        if width == 0.0:
            return self.low
        if u * width <= mode - self.low:
            return self.low + math.sqrt(u * width * (mode - self.low))
        return self.high - math.sqrt((1.0 - u) * width * (self.high - mode))


class Superiority(NamedTuple):
    """How likely the first of two scenarios is the better one.

    Args:
        chance: with everything that is unsure; ``error`` is the Monte Carlo error of it (standard deviation).
        of_model: with errors of the predictions alone, inputs as asked.
        of_inputs: with unsure inputs alone, predictions taken for true; None without any.
        model_share: how much of the variance of the log ratio errors of predictions make up.
        ratio: by how many times the second loses (log ratio of losses, second over first), at 10%, 50% and 90%: above 0
            the first is better.
        gaps, variances: of the log ratio in each draw that both can run, shape [n].
        draws: number of draws; ``only_first``, ``only_second`` and ``neither`` of them can be run by one or none.
    """

    metric: str
    values: tuple[float, float]
    chance: float
    error: float
    of_model: float
    of_inputs: float | None
    model_share: float
    ratio: tuple[float, float, float]
    gaps: Floats
    variances: Floats
    draws: int
    only_first: int
    only_second: int
    neither: int
    seed: int


class _Point(NamedTuple):
    """The log loss of one scenario at some inputs, the terms of its error, and the metric."""

    loss: float
    loads: Loads
    value: float


def superiority(
    first: Scenario, second: Scenario, metric: str, unsure: Sequence[Unsure] = (), draws: int = DRAWS, seed: int = 0
) -> Superiority:
    """The chance that ``first`` is better than ``second`` by ``metric``.

    Raises:
        InputError: a metric that is not uncertain, an unknown knob, a workload without known errors, or a scenario that
            cannot be run as it stands.
    """
    check_metric(metric, "metric")
    asked = [_Side(scenario, metric, _own(scenario, unsure, side)) for scenario, side in ((first, "a"), (second, "b"))]
    base = [side.base() for side in asked]
    count = draws if unsure else 1
    uniform = {each: _uniform(each, count, seed) for each in unsure}
    pairs = [[side.at(uniform, i) for side in asked] for i in range(count)] if unsure else [base]
    found = [_gap(a, b) for a, b in pairs if a is not None and b is not None]
    gaps, variances = (np.array([row[i] for row in found]) for i in range(2))
    alone = sum(b is None for a, b in pairs if a is not None), sum(a is None for a, b in pairs if b is not None)
    neither = count - len(found) - sum(alone)
    if neither == count:
        raise InputError("neither can be run with any of the inputs drawn")
    chance, error = _mean(chance_of_first(gaps, variances), *alone)
    sure = _mean(chance_of_first(gaps, np.zeros_like(gaps)), *alone)[0] if unsure else None
    inner, between = (float(variances.mean()), float(gaps.var())) if len(found) else (0.0, 0.0)
    return Superiority(
        metric, (base[0].value, base[1].value), chance, error,
        float(chance_of_first(*map(np.array, _gap(*base)))), sure,
        inner / (inner + between) if inner + between > 0.0 else 1.0, _quantiles(gaps, variances), gaps, variances,
        count, alone[0], alone[1], neither, seed,
    )  # fmt: skip


def _own(scenario: Scenario, unsure: Sequence[Unsure], side: str) -> dict[Unsure, Knob]:
    """The inputs of one side and their knobs."""
    found = {}
    for each in unsure:
        if each.path.startswith(_LAW):
            raise InputError(f"{each.path}: what is unsure about a law is in the intervals of the prediction already")
        if each.side in ("", side):
            found[each] = knob_of(scenario, each.path)
    return found


class _Side:
    """One of the two scenarios; what has been asked is kept."""

    def __init__(self, scenario: Scenario, metric: str, own: Mapping[Unsure, Knob]) -> None:
        self.scenario, self.metric, self.own = scenario, metric, own
        self.sign = -1.0 if BY_NAME[metric].better == "higher" else 1.0
        self.known: dict[tuple[float, ...], _Point | None] = {}

    def base(self) -> _Point:
        """As asked; an input of which no value is known at its median.

        Raises:
            InputError: it has no value, or does not fit.
        """
        settings = [(knob, each.at(0.5)) for each, knob in self.own.items() if math.isnan(knob.value)]
        result = result_at(self.scenario, settings)
        value = result.metrics.get(self.metric)
        if not value:
            raise InputError(f"{result.title}: {self.metric}: {result.reasons.get(self.metric, 'no value')}")
        if not result.fits:
            raise InputError(f"{result.title}: does not fit the memory; a design that cannot run beats nothing")
        return self._point(settings, result)

    def at(self, uniform: Mapping[Unsure, Floats], draw: int) -> _Point | None:
        """In one draw; None where it cannot be run."""
        values = tuple(each.at(float(uniform[each][draw]), knob.step) for each, knob in self.own.items())
        if values not in self.known:
            self.known[values] = self._asked(list(zip(self.own.values(), values, strict=True)))
        return self.known[values]

    def _asked(self, settings: Sequence[Setting]) -> _Point | None:
        try:
            result = result_at(self.scenario, settings)
        except InputError:
            return None
        return self._point(settings, result) if result.metrics.get(self.metric) and result.fits else None

    def _point(self, settings: Sequence[Setting], result: Result) -> _Point:
        value = result.metrics[self.metric]
        assert value is not None
        loads = terms_of(scenario_at(self.scenario, settings), result, self.metric)
        return _Point(self.sign * math.log(value), loads, value)


def _gap(first: _Point, second: _Point) -> tuple[float, float]:
    """Mean and variance of the second log loss less the first."""
    terms, loads = joined_terms([first.loads, second.loads])
    apart = loads[1] - loads[0]
    variance = float(apart @ covariance_of(terms) @ apart)
    gap = second.loss - first.loss
    return (gap if abs(gap) > _SAME else 0.0), (variance if variance > _SAME**2 else 0.0)


def _uniform(each: Unsure, count: int, seed: int) -> Floats:
    """Numbers in (0, 1) of one input, the same whatever other inputs there are; shape [count]."""
    key = zlib.crc32(f"{each.side}.{each.path}".encode())
    return np.random.default_rng((seed, key)).uniform(1e-12, 1.0 - 1e-12, count)


def _mean(chances: Floats, only_first: int, only_second: int) -> tuple[float, float]:
    """The mean over draws, and its standard deviation; who alone can be run is the better one."""
    every = np.concatenate([chances, np.ones(only_first), np.zeros(only_second)])
    error = float(every.std(ddof=1) / math.sqrt(len(every))) if len(every) > 1 else 0.0
    return float(every.mean()), error


def _quantiles(gaps: Floats, variances: Floats) -> tuple[float, float, float]:
    """10%, 50% and 90% of the log ratio: of a mixture of normals, one for each draw; NaN without any."""
    if not len(gaps):
        return math.nan, math.nan, math.nan
    sd = np.sqrt(variances)
    if not sd.any():
        low, middle, high = np.quantile(gaps, (0.1, 0.5, 0.9)).tolist()
        return low, middle, high
    ends = float((gaps - 9.0 * sd).min()) - 1e-9, float((gaps + 9.0 * sd).max()) + 1e-9
    below = cdf_of(gaps, variances)
    low, middle, high = (float(brentq(lambda x, q=q: below(x) - q, *ends, xtol=1e-10)) for q in (0.1, 0.5, 0.9))
    return low, middle, high


def cdf_of(gaps: Floats, variances: Floats) -> Callable[[float], float]:
    """The distribution function of the log ratio."""
    sd = np.sqrt(np.maximum(variances, 1e-18))
    return lambda x: float(ndtr((x - gaps) / sd).mean())
