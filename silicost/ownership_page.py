"""From what a fleet costs bought and rented to the page that shows it: along the utilisation, and month by month."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from reports.calibration import Headline
from reports.numbers import number, quantity, share
from reports.whatif import Bands, Curves, Floats
from silicost.ownership import ENDS, Life
from silicost.whatif_pages import write_page_of
from simulator.ownership import HOUR_S, rented_usd, spent_usd

_LEAST_USE: Final = 0.05
"""Curves along the utilisation begin here, or below the least break-even point."""
_POINTS: Final = 49
_BAND: Final = "range of the prices"


class Side(NamedTuple):
    """A curve: its name, and what it is at a number where prices are the least, the middle or the most."""

    name: str
    at: Callable[[float, str], float]


def write_ownership(path: str, name: str, verdict: str, found: Life, whole: Mapping[str, Any]) -> None:
    """The page of ``silicost own``.

    Args:
        verdict: whether to buy, in a sentence.
        whole: as ``silicost own --format json`` prints it.

    Raises:
        InputError: the place cannot be written.
    """
    low, high = whole["duration_80"]
    notes = [
        *found.reasons.values(), *(f"assumed: {text}" for text in found.assumed),
        f"times, and with them dollars of tokens, are {low:.2f} to {high:.2f} of these with a chance of 80%",
        "taxes, financing, prices that fall during the life and failed devices are left out",
    ]  # fmt: skip
    cards = tuple(_card(title, whole[side]) for title, side in (("Bought", "buy"), ("Rented", "rent")) if whole[side])
    write_page_of(
        path, f"Buy or rent: {name}", f"{verdict[:1].upper()}{verdict[1:]}.", cards=cards,
        curves=(_along_use(found, whole), _along_months(found, whole)) if cards else (),
        notes=tuple(f"{note[:1].upper()}{note[1:]}." for note in notes),
    )  # fmt: skip


def _card(title: str, side: Mapping[str, Any]) -> Headline:
    """What a device-hour at work costs one way, and what it consists of."""
    hour, tokens = side["usd_per_device_hour"], side["usd_per_million_tokens"]
    lines = [("by the prices", f"{_usd(hour['low'])} to {_usd(hour['high'])}")] if hour["low"] != hour["high"] else []
    lines += [("a million tokens", _usd(tokens["middle"]))] if tokens["middle"] is not None else []
    if "purchase_usd" in side:
        bought, parts = side["purchase_usd"], side["usd_per_hour"]
        lines += [(f"purchase, {part}", _usd(bought[part])) for part in ("device", "host", "network") if bought[part]]
        lines += [(f"{part}, every hour", _usd(parts[part])) for part in ("capital", "electricity", "upkeep")]
    origin = side.get("origin") or side["purchase_usd"]["origin"]
    return Headline(title, "a device-hour at work", _usd(hour["middle"]), origin, tuple(lines))


def _usd(value: float) -> str:
    return quantity(value, "usd")


def _along_use(found: Life, whole: Mapping[str, Any]) -> Curves:
    """Dollars of a device-hour at work along the share of the hours at work."""

    def at_use(use: float) -> Life:
        return replace(found, terms=found.terms._replace(utilisation=use))

    sides = []
    if (bought := found.bought) is not None:
        sides.append(Side("bought", lambda use, end: HOUR_S * at_use(use).owned_usd_per_used_s(getattr(bought, end))))
    if (rent := found.rent) is not None:
        sides.append(Side("rented", lambda use, end: HOUR_S * at_use(use).rented_usd_per_used_s(getattr(rent, end))))
    even, used = whole["break_even_utilisation"] or {}, found.terms.utilisation
    ends = [value for value in (*even.values(), used) if value]
    marks = [(used, f"at work {share(used)} of the hours, as was asked")]
    if even.get("middle"):
        where = "below" if found.terms.reserved else "above"
        marks.insert(0, (even["middle"], f"buying pays {where} {_share(even['middle'])} of the hours{_ends(even)}"))
    grid = np.geomspace(min(_LEAST_USE, 0.7 * min(ends)), 1.0, _POINTS)
    return _curves(
        "Dollars of a device-hour at work", "share of the hours at work", "fraction", "a device-hour at work",
        sides, [*grid, *ends], marks, _several(found),
    )  # fmt: skip


def _along_months(found: Life, whole: Mapping[str, Any]) -> Curves:
    """Present value of all that one device has cost, month by month."""
    terms = found.terms

    def spent(months: float, end: str, resale: bool) -> float:
        assert found.bought is not None
        asset = found.asset(getattr(found.bought, end))
        return spent_usd(asset, found.draw, terms.utilisation, months, resale)

    def paid(months: float, end: str) -> float:
        assert found.rent is not None
        share_paid = 1.0 if terms.reserved else terms.utilisation
        return rented_usd(found.asset(0.0), getattr(found.rent, end), share_paid, months)

    sides = []
    if found.bought is not None:
        sides.append(Side("bought", lambda months, end: spent(months, end, False)))
    if found.rent is not None:
        sides.append(Side("rented", paid))
    if found.bought is not None:
        sides.append(Side("bought, sold at book value", lambda months, end: spent(months, end, True)))
    even = (whole["break_even_month"] or {}).get("kept", {})
    ends = [value for value in even.values() if value]
    marks = []
    if even.get("middle"):
        marks.append((even["middle"], f"the purchase is earned back after {even['middle']:.1f} months, not sold"))
    grid = np.geomspace(min([1.0, *ends]), terms.months, _POINTS)
    return _curves(
        f"Dollars of one device, at work {share(terms.utilisation)} of the hours", "months", "",
        "paid so far, present value", sides, [*grid, *ends], marks, _several(found),
    )  # fmt: skip


def _curves(
    title: str, along: str, dimension: str, metric: str, sides: Sequence[Side], at: Sequence[float],
    marks: Sequence[tuple[float, str]], several: bool,
) -> Curves:  # fmt: skip
    """Curves of dollars, with bands between the least and the most that is asked where several ask."""
    points = np.array(sorted({float(each) for each in at}))

    def values(end: str) -> Floats:
        return np.array([[side.at(each, end) for each in points.tolist()] for side in sides])

    low, middle, high = (values(end) for end in ENDS)
    return Curves(
        title, along, dimension, metric, "usd", tuple(side.name for side in sides), points, middle, tuple(marks),
        math.nan, Bands(_BAND, low, high) if several else None,
    )  # fmt: skip


def _several(found: Life) -> bool:
    return any(prices is not None and prices.sources > 1 for prices in (found.bought, found.rent))


def _share(value: float | None) -> str:
    return "no share" if value is None else f"{number(100.0 * value)}\u00a0%"


def _ends(even: Mapping[str, float | None]) -> str:
    return "" if even["low"] == even["high"] else f" ({_share(even['low'])} to {_share(even['high'])} by the prices)"
