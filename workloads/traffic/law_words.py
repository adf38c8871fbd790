"""Laws in words: ``lognormal:mean=512,p99=4000``, of lengths in tokens and of times in seconds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from hardware_specs.errors import InputError, clipped
from hardware_specs.units import parse_quantity
from workloads.traffic.laws import (
    Clipped,
    Exponential,
    Fixed,
    Geometric,
    Law,
    LogNormal,
    Normal,
    Uniform,
    Zipf,
    largest_ratio,
    lognormal_of_mean,
    normal_quantile,
)
from workloads.traffic.record import MOST_TOKENS
from workloads.traffic.words import Form, Words, built

QUANTILES: Final = {"p90": 0.90, "p95": 0.95, "p99": 0.99}
_SPREADS: Final = (*QUANTILES, "std", "sigma")
_CENTRES: Final = ("mean", "median")
_BOUNDS: Final = ("min", "max")
_MOST_ZIPF: Final = 1 << 24
"""Most different values of a Zipf law, whose probabilities are kept as a table."""


def law_of_tokens(text: str | int | float, place: str, hint: str = "") -> Law:
    """A law of lengths: a number of tokens, or one of ``fixed``, ``uniform``, ``normal``, ``lognormal``,
    ``exponential``, ``geometric`` and ``zipf``, each with ``min`` and ``max`` if wanted.

    Args:
        place: where it stands, for errors ("--isl").
        hint: what else may stand there.

    Raises:
        InputError: an unknown law or key, or numbers that no such law has.
    """
    number = _plain_number(text)
    if number is not None:
        if number != math.floor(number) or not 1 <= number <= MOST_TOKENS:
            shown = clipped(str(text))
            raise InputError(f"{place}: {shown!r} must be a whole number of tokens, from 1 to {MOST_TOKENS}")
        return Fixed(number)
    if not isinstance(text, str):
        raise InputError(f"{place}: {text!r} must be a number of tokens, or a law: 'lognormal:mean=512,p99=4000'")
    return built(text, _TOKEN_FORMS, "law of lengths", place, hint)


def law_of_times(text: str, place: str) -> Law:
    """A law of times in seconds: "20 s", or one of ``fixed``, ``uniform``, ``normal``, ``lognormal`` and
    ``exponential`` with values such as ``mean=20 s``; values below 0 become 0.

    Raises:
        InputError: an unknown law or key, a value without a unit of time, or numbers that no such law has.
    """
    if isinstance(text, str) and text.strip()[:1].isalpha():
        return built(text, _TIME_FORMS, "law of times", place, ", or a time such as '20 s'")
    value = parse_quantity(text, "s", place)
    if value < 0.0:
        raise InputError(f"{place}: {text!r} must be a time from 0 on")
    return Fixed(value)


def _plain_number(text: Any) -> float | None:
    """``text`` as a number; None where it is none. NaN and infinities are numbers that nobody allows."""
    if isinstance(text, bool):
        return None
    try:
        value = float(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else 0.0


def _uniform(words: Words, unit: str) -> Law:
    whole = unit == "number"
    low, high = (_length(words, key) if whole else words.number(key, unit) for key in ("low", "high"))
    if low > high:
        raise words.error(f"low {words.values['low']} is above high {words.values['high']}")
    return Uniform(low, high, whole)


def _length(words: Words, key: str) -> float:
    return float(words.whole(key, 1, MOST_TOKENS))


def _normal(words: Words, unit: str) -> Law:
    return Normal(words.positive("mean", unit), words.number("std", unit))


def _lognormal(words: Words, unit: str) -> Law:
    """From a centre (mean or median) and a spread (a quantile, the standard deviation, or sigma)."""
    centres, spreads = ([key for key in keys if key in words.values] for keys in (_CENTRES, _SPREADS))
    if len(centres) != 1 or len(spreads) != 1:
        raise words.error(f"needs one of {', '.join(_CENTRES)} and one of {', '.join(_SPREADS)}")
    centre, spread = centres[0], spreads[0]
    middle = words.positive(centre, unit)
    if spread == "sigma":
        return _of_sigma(centre, middle, words.number("sigma"))
    if spread == "std":
        relative = words.number("std", unit) / middle
        # of the mean: std / mean = sqrt(w - 1) with w = exp(sigma^2); of the median: std / median = sqrt(w^2 - w)
        w = 1.0 + relative**2 if centre == "mean" else (1.0 + math.sqrt(1.0 + 4.0 * relative**2)) / 2.0
        return _of_sigma(centre, middle, math.sqrt(math.log(w)))
    level, quantile = QUANTILES[spread], words.positive(spread, unit)
    said = f"{spread} {words.values[spread]!r} of {centre} {words.values[centre]!r}"
    if quantile < middle:
        raise words.error(f"{said} is impossible; it must be at least the {centre}")
    if centre == "median":
        return _of_sigma(centre, middle, math.log(quantile / middle) / normal_quantile(level))
    law = lognormal_of_mean(middle, quantile, level)
    if law is None:
        most = largest_ratio(level)
        raise words.error(f"{said} is impossible; it is at most {most:.4g} times the mean, so {most * middle:.4g}")
    return law


def _of_sigma(centre: str, middle: float, sigma: float) -> LogNormal:
    return LogNormal(math.log(middle) - (sigma * sigma / 2.0 if centre == "mean" else 0.0), sigma)


def _geometric(words: Words, unit: str) -> Law:
    return Geometric(words.number("mean", unit, least=1.0))


def _zipf(words: Words, unit: str) -> Law:
    low = words.whole("low", 1, MOST_TOKENS) if "low" in words.values else 1
    high = words.whole("high", 1, MOST_TOKENS)
    if not low <= high < low + _MOST_ZIPF:
        raise words.error(f"high {words.values['high']!r} must be from low, {low}, to {low + _MOST_ZIPF - 1}")
    return Zipf(words.number("alpha"), low, high)


_Builder = Callable[[Words, str], Law]


def _bounded(build: _Builder, unit: str) -> Callable[[Words], Law]:
    """The law that ``build`` makes, within ``min`` and ``max`` where these are given."""

    def within(words: Words) -> Law:
        law = build(words, unit)
        if not any(key in words.values for key in _BOUNDS):
            return law
        least = 1.0 if unit == "number" else 0.0
        low = words.number("min", unit, least=least, default=least)
        high = words.number("max", unit, least=least, default=math.inf)
        if low > high:
            raise words.error(f"min {words.values['min']} is above max {words.values['max']}")
        return Clipped(law, low, high)

    return within


def _form(build: _Builder, unit: str, needs: tuple[str, ...], may: tuple[str, ...] = ()) -> Form[Law]:
    return Form(needs, (*may, *_BOUNDS), _bounded(build, unit))


def _forms(unit: str) -> dict[str, Form[Law]]:
    def fixed(words: Words) -> Law:
        return Fixed(_length(words, "value") if unit == "number" else words.number("value", unit))

    return {
        "fixed": Form(("value",), (), fixed),
        "uniform": _form(_uniform, unit, ("low", "high")),
        "normal": _form(_normal, unit, ("mean", "std")),
        "lognormal": _form(_lognormal, unit, (), (*_CENTRES, *_SPREADS)),
        "exponential": _form(lambda words, unit: Exponential(words.positive("mean", unit)), unit, ("mean",)),
    }


_TIME_FORMS: Final = _forms("s")
_TOKEN_FORMS: Final = {
    **_forms("number"),
    "geometric": _form(_geometric, "number", ("mean",)),
    "zipf": _form(_zipf, "number", ("alpha", "high"), ("low",)),
}
TOKEN_LAWS: Final = tuple(_TOKEN_FORMS)
TIME_LAWS: Final = tuple(_TIME_FORMS)
