"""Stragglers in words: ``lognormal:sigma=0.03``, ``slow:share=0.001,factor=1.3,group=8``."""

from __future__ import annotations

from typing import Final

from simulator.goodput.slowdowns import ExponentialTail, LogNormal, Measured, Slowdown, SlowShare, Straggler
from workloads.traffic.words import Form, Words, built

_QUANTILES: Final = {
    "min": 0.0, "p1": 0.01, "p5": 0.05, "p10": 0.1, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95,
    "p99": 0.99, "p999": 0.999, "p9999": 0.9999, "max": 1.0,
}  # fmt: skip
_COMMON: Final = ("group", "draw")
_DRAWS: Final = ("run", "step")
_LARGEST_SIGMA: Final = 2.0
_LARGEST_FACTOR: Final = 1e3
_LAST_DEVICE: Final = 999_999


def parse_slowdown(text: str, place: str = "--straggler") -> Straggler:
    """The stragglers that ``text`` says.

    ``lognormal:sigma=0.03``; ``exponential:mean=0.02``; ``slow:share=0.001,factor=1.3`` (and ``sigma``, noise of all);
    ``quantiles:p50=1,p99=1.1,max=1.4`` (any of ``min``, ``p1`` ... ``p9999``). Each may have ``group=8``, devices that
    share a factor, and ``draw=step`` (a new one each step) or ``draw=run`` (the default). No chance has
    ``known:devices=7+4096-4103,factor=1.3``: devices by number.

    Args:
        place: where it stands, for errors.

    Raises:
        InputError: an unknown law or key, or values that it cannot have.
    """
    return built(text, _FORMS, "law of slow-downs", place)


def _straggler(words: Words, law: Slowdown) -> Straggler:
    draw = words.values.get("draw", "run")
    if draw not in _DRAWS:
        raise words.error(f"draw {draw!r} must be run or step")
    group = words.whole("group") if "group" in words.values else 1
    return Straggler(law, group, draw == "step")


def _within(words: Words, key: str, least: float, most: float, default: float | None = None) -> float:
    value = words.number(key, least=least, default=default)
    if value > most:
        raise words.error(f"{key} {words.values[key]!r} must be from {least:g} to {most:g}")
    return value


def _lognormal(words: Words) -> Straggler:
    return _straggler(words, LogNormal(_within(words, "sigma", 0.0, _LARGEST_SIGMA)))


def _exponential(words: Words) -> Straggler:
    return _straggler(words, ExponentialTail(_within(words, "mean", 0.0, _LARGEST_FACTOR)))


def _slow(words: Words) -> Straggler:
    share = _within(words, "share", 0.0, 1.0)
    factor = _within(words, "factor", 1.0, _LARGEST_FACTOR)
    return _straggler(words, SlowShare(share, factor, _within(words, "sigma", 0.0, _LARGEST_SIGMA, default=0.0)))


def _quantiles(words: Words) -> Straggler:
    given = [key for key in _QUANTILES if key in words.values]
    factors = [_within(words, key, 1e-3, _LARGEST_FACTOR) for key in given]
    for k in range(1, len(given)):
        if factors[k] < factors[k - 1]:
            low, high = (f"{given[i]} {factors[i]:g}" for i in (k - 1, k))
            raise words.error(f"{high} is less than {low}; quantiles must rise")
    shares = [_QUANTILES[key] for key in given]
    if shares[0] > 0.0:
        shares, factors = [0.0, *shares], [factors[0], *factors]
    return _straggler(words, Measured(tuple(shares), tuple(factors)))


def _known(words: Words) -> Straggler:
    factor = _within(words, "factor", 1.0, _LARGEST_FACTOR)
    devices: set[int] = set()
    for part in words.values["devices"].split("+"):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() if dash else True)):
            raise words.error(f"devices {part!r} must be a number or a range, as 7+4096-4103")
        ends = int(first), int(last if dash else first)
        if not ends[0] <= ends[1] <= _LAST_DEVICE:
            raise words.error(f"devices {part!r} must rise, and be at most {_LAST_DEVICE}")
        devices.update(range(ends[0], ends[1] + 1))
    return Straggler(LogNormal(0.0), known=tuple((device, factor) for device in sorted(devices)))


_FORMS: Final[dict[str, Form[Straggler]]] = {
    "lognormal": Form(("sigma",), _COMMON, _lognormal),
    "exponential": Form(("mean",), _COMMON, _exponential),
    "slow": Form(("share", "factor"), ("sigma", *_COMMON), _slow),
    "known": Form(("devices", "factor"), (), _known),
    "quantiles": Form(
        ("p50", "max"), (*(key for key in _QUANTILES if key not in ("p50", "max")), *_COMMON), _quantiles
    ),
}
