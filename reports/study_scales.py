"""Scales of the drawings of a study: a metric on a logarithmic axis, the levels of a factor on the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from reports.axis import Axis, round_text, round_values
from reports.numbers import unit_of
from reports.study import Factor, Measure
from reports.svg import colour
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEW_DECADES: Final = 0.75
"""Below it 1, 2 and 5 are too few ticks."""
_MANY_TIMES: Final = 8.0
"""Levels that reach over such a factor stand on a logarithmic axis."""
_MOST_TICKS: Final = 7
_MOST_LETTERS: Final = 34
"""Letters of all ticks below a panel."""


class Scale(NamedTuple):
    """Ticks of a metric: where, and what stands there; ``unit`` is in none of them."""

    values: list[float]
    texts: list[str]
    unit: str


def scale_of(axis: Axis, measure: Measure) -> Scale:
    """Round values on an axis, with the unit of their size where that is a short one."""
    values = round_values(axis) if axis.high - axis.low >= _FEW_DECADES else _even(axis)
    unit = unit_of(10.0**axis.high, measure.dimension)[1]
    if measure.dimension in ("s", "j", "bytes"):
        return Scale(values, [round_text(value, measure.dimension) for value in values], "")
    scale = unit_of(10.0**axis.high, measure.dimension)[0]
    return Scale(values, [f"{value / scale:,.6g}" for value in values], unit)


def _even(axis: Axis) -> list[float]:
    """Round values of equal steps."""
    from matplotlib.ticker import MaxNLocator

    low, high = 10.0**axis.low, 10.0**axis.high
    ticks = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in ticks if low <= tick <= high]


def label_of(measure: Measure, unit: str) -> str:
    """What stands beside the axis of a metric."""
    return f"{short(measure.title, 40)}{f' [{unit}]' if unit and unit not in measure.title else ''}"


def is_log(factor: Factor) -> bool:
    """Whether the levels of a factor of numbers stand on a logarithmic axis."""
    return min(factor.places) > 0.0 and max(factor.places) / min(factor.places) >= _MANY_TIMES


def set_levels(axes: Axes, factor: Factor) -> None:
    """Give ``axes`` the levels of a factor of numbers, as many as there is room for."""
    log = is_log(factor)
    shown = _spread_out(factor, log)
    low, high = min(factor.places), max(factor.places)
    room = (math.log10(high / low) if log else high - low) * 0.04
    ends = (low / 10.0**room, high * 10.0**room) if log else (low - room, high + room)
    axes.set(xscale="log" if log else "linear", xlim=ends)
    axes.set_xticks([factor.places[k] for k in shown], [short(factor.levels[k], 18) for k in shown])


def _spread_out(factor: Factor, log: bool) -> list[int]:
    """Levels that are named: ends, and those between that stand far enough apart."""
    at = [math.log10(place) if log else place for place in factor.places]
    order = sorted(range(len(at)), key=lambda k: at[k])
    letters = sum(len(short(level, 18)) for level in factor.levels) / len(at)
    most = max(2, min(_MOST_TICKS, int(_MOST_LETTERS / max(letters, 1.0))))
    least = (at[order[-1]] - at[order[0]]) / most
    shown = [order[0]]
    for k in order[1:-1]:
        if at[k] - at[shown[-1]] >= 0.999 * least and at[order[-1]] - at[k] >= 0.999 * least:
            shown.append(k)
    return [*shown, order[-1]]


def set_metric(axes: Axes, axis: Axis, measure: Measure, upright: bool = True) -> Scale:
    """Give ``axes`` a logarithmic axis of a metric."""
    scale = scale_of(axis, measure)
    ends = (10.0**axis.low, 10.0**axis.high)
    if upright:
        axes.set(yscale="log", ylim=ends)
        axes.set_yticks(scale.values, scale.texts)
    else:
        axes.set(xscale="log", xlim=ends)
        axes.set_xticks(scale.values, scale.texts)
    axes.minorticks_off()
    return scale


def quiet(axes: Axes) -> None:
    """A grid that stays in the back."""
    axes.minorticks_off()
    axes.tick_params(length=3)
    axes.grid(color=colour("line"), linewidth=0.6, alpha=0.6)
    axes.set_axisbelow(True)


def band_text(measure: Measure, values: Sequence[float]) -> str:
    """10%, median and 90% in words."""
    low, median, high = (measure.text(value) for value in values)
    return median if low == high else f"{median} [{low} – {high}]"
