"""Numbers as people read them: three significant digits, the unit of their size, the interval in the same unit."""

from __future__ import annotations

import math
from typing import NamedTuple

from hardware_specs.units import human_unit
from simulator.metrics import BY_NAME, Metric
from simulator.result import Result

_UNSEEN = 5e-4
"""Smaller parts of a whole are told as less than a tenth of a percent."""
_NOTHING = 1e-5
"""Smaller fractions are told as less than that."""
_PLAIN_UNITS = {"fraction": (0.01, "%"), "usd": (1.0, "USD")}
_SUFFIXES = {"_s": "s", "_bytes": "bytes", "_j": "j", "_usd": "usd", "_w": "w", "_bytes_per_s": "bytes_per_s"}


class Cell(NamedTuple):
    """A metric of a result, ready to be shown.

    ``value`` is None where there is no finite number; ``reason`` then says why. ``low`` and ``high`` are the ends
    of the 80% interval in ``unit``, ``lowest`` and ``highest`` those of the 95% interval; "" without an interval.
    ``ends`` are those of the 80% interval in SI units.
    """

    name: str
    value: float | None
    number: str = ""
    unit: str = ""
    low: str = ""
    high: str = ""
    lowest: str = ""
    highest: str = ""
    reason: str = ""
    ends: tuple[float, float] | None = None

    @property
    def said(self) -> str:
        """The value with its intervals in words, or why there is none."""
        if self.value is None:
            return f"None: {self.reason}"
        unit = f" {self.unit}" if self.unit else ""
        if not self.low:
            return f"{self.number}{unit}; it has no interval"
        wide = f"; 95\u00a0% interval {self.lowest} to {self.highest}{unit}" if self.lowest else ""
        return f"{self.number}{unit}; 80\u00a0% interval {self.low} to {self.high}{unit}{wide}"


def metric_of(name: str) -> Metric:
    """The definition of a metric; one that is not documented speaks for itself."""
    if name in BY_NAME:
        return BY_NAME[name]
    fitting = [suffix for suffix in _SUFFIXES if name.endswith(suffix)]
    dimension = _SUFFIXES[max(fitting, key=len)] if fitting and not name.endswith("per_s") else ""
    return Metric(name, name.replace("_", " "), dimension, "", "")


def cell_of(result: Result, name: str, like: float | None = None) -> Cell:
    """What ``result`` says about the metric ``name``, in the unit that suits ``like``, else the value itself."""
    metric, value = metric_of(name), result.metrics.get(name)
    if value is None:
        why = "not a metric of this kind of result" if name not in result.metrics else "no reason was given"
        return Cell(name, None, reason=result.reasons.get(name, why))
    if not math.isfinite(value):
        return Cell(name, None, reason=result.reasons.get(name, f"the number is not finite ({value})"))
    scale, unit = unit_of(value if like is None else like, metric.dimension)
    write = whole if metric.dimension == "sequences" else number
    band = result.intervals.get(name)
    ends = (band.p10, band.p90, band.p2_5, band.p97_5) if band else ()
    if band is None or not all(map(math.isfinite, ends)):
        return Cell(name, value, write(value / scale), unit)
    low, high, lowest, highest = (write(end / scale) for end in ends)
    return Cell(name, value, write(value / scale), unit, low, high, lowest, highest, ends=(band.p10, band.p90))


def unit_of(value: float, dimension: str) -> tuple[float, str]:
    """The factor and name of the unit for a value of this size, metrics' own dimensions included."""
    if dimension in _PLAIN_UNITS:
        return _PLAIN_UNITS[dimension]
    if dimension == "g" and abs(value) >= 1e3:
        return 1e3, "kg"
    scale, unit = human_unit(value, dimension)
    return scale, unit or ("" if dimension == "number" else dimension)


def quantity(value: float, dimension: str) -> str:
    """``value`` with its unit: "12.3 ms", "45.1 %"; "not finite" for what is no number."""
    if not math.isfinite(value):
        return "not finite"
    if dimension == "fraction" and 0.0 < value < _NOTHING:
        return "< 0.001 %"
    scale, unit = unit_of(value, dimension)
    return f"{number(value / scale)} {unit}".rstrip()


def symbol(dimension: str) -> str:
    """The SI unit of a dimension: "w" -> "W", "bytes" -> "B"; a word that is no dimension, "requests/s", as it is."""
    return "USD" if dimension == "usd" else human_unit(1.0, dimension)[1] or dimension


def binary_size(value: float) -> str:
    """Bytes of a cache, which come in powers of two: "32 KiB"."""
    power = min(max(int(math.log2(value)) // 10, 0), 4) if value >= 1.0 and math.isfinite(value) else 0
    return f"{value / 1024.0**power:.4g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def number(value: float, digits: int = 3) -> str:
    """``value`` to ``digits`` significant digits, thousands apart: "12,300", "0.0123", "1.20e-09"."""
    if not math.isfinite(value):
        return "not finite"
    if value == 0.0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    magnitude = math.floor(math.log10(abs(rounded)))
    if magnitude < -4 or magnitude > 11:
        return f"{rounded:.{digits - 1}e}"
    return f"{rounded:,.{max(digits - 1 - magnitude, 0)}f}"


def whole(value: float) -> str:
    """A count: "1,234"."""
    return f"{value:,.0f}" if math.isfinite(value) else "not finite"


def chance_text(chance: float) -> str:
    """A chance in percent, which no prediction has wholly: "97 %", "> 99 %"."""
    if not 0.01 <= chance <= 0.99:
        return "> 99 %" if chance > 0.5 else "< 1 %"
    return f"{100.0 * chance:.0f} %"


def share(part: float) -> str:
    """A part of one in percent: "62 %", "0.4 %"; of what cannot be seen "< 0.1 %"."""
    if 0.0 < part < _UNSEEN:
        return "< 0.1 %"
    return f"{part * 100.0:.0f} %" if part >= 0.01 or part == 0.0 else f"{part * 100.0:.1g} %"


def exact_share(part: float) -> str:
    """A share near one keeps the digits that tell it from one: "99.95 %"."""
    digits = 0 if part in (0.0, 1.0) else 1 if part < 0.99 else 2
    text = f"{100.0 * part:.{digits}f}"
    if text.rstrip("0").rstrip(".") in ("100", "0") and 0.0 < part < 1.0:
        return "nearly 100 %" if part > 0.5 else "nearly 0 %"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"
