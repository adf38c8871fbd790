"""The box of the objectives in a drawing of two metrics: what bounds allow is shaded, each bound a dashed line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from reports.axis import Axis
from reports.study import Bound, Measure
from reports.svg import colour

if TYPE_CHECKING:
    from bokeh import plotting
    from matplotlib.axes import Axes

SHADE: Final = "class-gpu"
STRENGTH: Final = 0.09
_DASHES: Final = (0, (4, 3))
_NEAR: Final = 0.6
"""Decades beyond the points up to which an axis reaches out for a bound."""


def bound_of(measure: Measure, bounds: Sequence[Bound]) -> Bound | None:
    """The bound of a metric; None where it has none."""
    return next((bound for bound in bounds if bound.measure.name == measure.name), None)


def with_bound(axis: Axis, bound: Bound | None) -> Axis:
    """``axis`` with its bound on it, where that is near."""
    if bound is None or bound.value <= 0.0:
        return axis
    at = math.log10(bound.value)
    if axis.high < at <= axis.high + _NEAR:
        return Axis(axis.low, at + 0.05)
    return Axis(at - 0.05, axis.high) if axis.low - _NEAR <= at < axis.low else axis


def draw_box(axes: Axes, across: Bound | None, up: Bound | None) -> None:
    """Shade what the bounds of both axes allow; ``axes`` has its ends already."""
    ends = _ends(across, axes.get_xlim()), _ends(up, axes.get_ylim())
    if across is None and up is None:
        return
    (left, right), (low, high) = ends
    if left < right and low < high:
        axes.fill_between([left, right], low, high, color=colour(SHADE), alpha=STRENGTH, linewidth=0.0, zorder=1)
    for bound, line in ((across, axes.axvline), (up, axes.axhline)):
        if bound is not None:
            line(bound.value, color=colour("ink"), linewidth=1.0, linestyle=_DASHES, zorder=2)


def _ends(bound: Bound | None, ends: tuple[float, float]) -> tuple[float, float]:
    """What a bound leaves of an axis."""
    if bound is None:
        return ends
    return (ends[0], min(bound.value, ends[1])) if bound.most else (max(bound.value, ends[0]), ends[1])


def add_box(made: plotting.figure, across: Bound | None, up: Bound | None) -> None:
    """The same in a live plot."""
    from bokeh.models.annotations import BoxAnnotation, Span

    if across is None and up is None:
        return
    box = BoxAnnotation(fill_color=colour(SHADE), fill_alpha=STRENGTH, line_color=None)
    for bound, low, high in ((across, "left", "right"), (up, "bottom", "top")):
        if bound is not None:
            setattr(box, high if bound.most else low, bound.value)
            line = Span(location=bound.value, line_color=colour("ink"), line_dash=[5, 4])
            line.dimension = "height" if bound is across else "width"
            made.add_layout(line)
    made.add_layout(box)
