"""Quantities with units: "3.35 TB/s", "80 GiB", "700 W" to SI floats and back, checked by dimension."""

from __future__ import annotations

import math
import re
from typing import Final

from hardware_specs.errors import UnitError

_DECIMAL: Final = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY: Final = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}
_SMALL: Final = {"m": 1e-3, "u": 1e-6, "µ": 1e-6, "n": 1e-9, "p": 1e-12}


def _scaled(dimension: str, bases: dict[str, float], *prefixes: dict[str, float]) -> dict[str, tuple[str, float]]:
    return {
        prefix + base: (dimension, factor * scale)
        for base, scale in bases.items()
        for table in prefixes
        for prefix, factor in table.items()
    }


_UNITS: Final[dict[str, tuple[str, float]]] = {
    **_scaled("bytes", {"B": 1.0}, _DECIMAL, _BINARY),
    **_scaled("bytes", {"b": 0.125, "bit": 0.125}, _DECIMAL, _BINARY),
    **_scaled("bytes_per_s", {"B/s": 1.0}, _DECIMAL, _BINARY),
    **_scaled("bytes_per_s", {"b/s": 0.125, "bit/s": 0.125, "bps": 0.125}, _DECIMAL),
    **_scaled("flops", {"FLOP/s": 1.0, "FLOPS": 1.0, "OP/s": 1.0, "OPS": 1.0}, _DECIMAL),
    **_scaled("flop", {"FLOP": 1.0}, _DECIMAL),
    **_scaled("hz", {"Hz": 1.0}, _DECIMAL),
    **_scaled("s", {"s": 1.0}, {"": 1.0}, _SMALL),
    "min": ("s", 60.0), "h": ("s", 3600.0), "d": ("s", 86400.0), "year": ("s", 365.25 * 86400.0),
    **_scaled("w", {"W": 1.0}, _DECIMAL, {"m": 1e-3}),
    **_scaled("j", {"J": 1.0}, _DECIMAL, _SMALL),
    **_scaled("j", {"Wh": 3600.0}, _DECIMAL),
    **_scaled("j_per_flop", {"J/FLOP": 1.0}, {"": 1.0}, _SMALL),
    **_scaled("j_per_byte", {"J/B": 1.0, "J/bit": 8.0, "J/b": 8.0}, {"": 1.0}, _SMALL),
    **_scaled("usd", {"USD": 1.0}, {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}),
    "USD/h": ("usd_per_s", 1.0 / 3600.0), "USD/kWh": ("usd_per_j", 1.0 / 3.6e6),
    "g/kWh": ("g_per_j", 1.0 / 3.6e6), "kg/kWh": ("g_per_j", 1e3 / 3.6e6),
    "mm2": ("m2", 1e-6), "nm": ("m", 1e-9),
    "": ("number", 1.0), "x": ("number", 1.0), "%": ("number", 0.01),
}  # fmt: skip

DIMENSIONS: Final = tuple(sorted({dimension for dimension, _ in _UNITS.values()}))
_QUANTITY: Final = re.compile(r"^\s*([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\d\s].*?)?\s*$")
_SAMPLES: Final = {
    "bytes": "80 GiB", "bytes_per_s": "3.35 TB/s", "flops": "989 TFLOP/s", "hz": "1.98 GHz", "s": "2.5 us",
    "w": "700 W", "j": "10 J", "usd": "30000 USD", "usd_per_s": "2.5 USD/h", "usd_per_j": "0.08 USD/kWh",
    "g_per_j": "400 g/kWh", "number": "0.85", "j_per_flop": "0.5 pJ/FLOP", "j_per_byte": "7 pJ/bit",
}  # fmt: skip

_IN_WORDS: Final = {
    "bytes": "a size", "bytes_per_s": "a bandwidth", "flops": "a rate of operations", "flop": "a count of operations",
    "hz": "a frequency", "s": "a time", "w": "a power", "j": "an energy", "usd": "an amount of money",
    "usd_per_s": "a price per time", "usd_per_j": "a price of energy", "g_per_j": "a carbon intensity",
    "number": "a plain number", "j_per_flop": "an energy per operation", "j_per_byte": "an energy per byte",
    "m2": "an area", "m": "a length",
}  # fmt: skip


def parse_quantity(text: str | float | int, dimension: str, place: str = "") -> float:
    """The SI value of ``text``.

    Args:
        text: a number with its unit ("3.35 TB/s"), or a bare number where ``dimension`` is ``"number"``.
        dimension: one of ``DIMENSIONS``; the suffix of the SI name (``bytes_per_s``, ``w`` ...).
        place: where the text stands, for the error ("h100.toml: memory.bandwidth").

    Returns:
        The value in SI units [B, B/s, FLOP/s, s, W, J, USD ...]; finite.

    Raises:
        UnitError: no number, unknown unit, or a unit of another dimension.
    """
    prefix = f"{place}: " if place else ""
    sample = _SAMPLES.get(dimension, "1")
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise UnitError(f"{prefix}{text!r} is no quantity; write for example {sample!r}")
    if not isinstance(text, str):
        if not math.isfinite(text):
            raise UnitError(f"{prefix}{text} is not a finite number; write for example {sample!r}")
        if dimension != "number":
            raise UnitError(f"{prefix}{text} has no unit; write for example {sample!r}")
        return float(text)
    match = _QUANTITY.match(text)
    if match is None:
        raise UnitError(f"{prefix}{text!r} is no quantity; write for example {sample!r}")
    unit = (match[2] or "").strip()
    if unit not in _UNITS:
        raise UnitError(f"{prefix}unknown unit {unit!r} in {text!r}; write for example {sample!r}")
    found, factor = _UNITS[unit]
    if found != dimension:
        what = f"is {_IN_WORDS[found]}, not {_IN_WORDS[dimension]}" if unit else "has no unit"
        raise UnitError(f"{prefix}{text!r} {what}; write for example {sample!r}")
    value = float(match[1].replace("_", "")) * factor
    if not math.isfinite(value):
        raise UnitError(f"{prefix}{text!r} is not finite")
    return value


def dimension_of(text: str | float | int) -> str:
    """The dimension of a quantity's unit; "number" where it has none, or no known one."""
    match = _QUANTITY.match(text) if isinstance(text, str) else None
    return _UNITS.get((match[2] or "").strip(), ("number", 1.0))[0] if match else "number"


_SHOWN: Final = {
    "bytes": "B", "bytes_per_s": "B/s", "flops": "FLOP/s", "flop": "FLOP", "hz": "Hz", "s": "s", "w": "W", "j": "J",
    "usd": "USD",
}  # fmt: skip


def human_unit(value: float, dimension: str) -> tuple[float, str]:
    """The factor and the name of the unit that suits ``value``: 3.35e12 bytes_per_s -> (1e12, "TB/s").

    (1.0, "") for a dimension without a human unit; DRAM sizes stay decimal.
    """
    base = _SHOWN.get(dimension)
    if base is None or value == 0 or not math.isfinite(value):
        return 1.0, base or ""
    steps = [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")]
    if dimension in ("s", "j"):
        steps = [(1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p")]
    scale, prefix = next((step for step in steps if abs(value) >= step[0] * 0.9995), steps[-1])
    return scale, f"{prefix}{base}"


def format_quantity(value: float, dimension: str, digits: int = 4) -> str:
    """``value`` in the human unit of its size: 3.35e12 bytes_per_s -> "3.35 TB/s"."""
    scale, unit = human_unit(value, dimension)
    return f"{value / scale:.{digits}g} {unit}".rstrip()
