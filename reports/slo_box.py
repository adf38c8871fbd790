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


def bounds_of(measure: Measure, bounds: Sequence[Bound]) -> tuple[Bound, ...]:
    """The bounds of a metric that the others leave to say something: the highest floor and the lowest ceiling, in this
    order; () where it has none."""
    own = [bound for bound in bounds if bound.measure.name == measure.name]
    floors, ceilings = [bound for bound in own if not bound.most], [bound for bound in own if bound.most]
    floor = [max(floors, key=lambda bound: bound.value)] if floors else []
    return (*floor, *([min(ceilings, key=lambda bound: bound.value)] if ceilings else []))


def with_bounds(axis: Axis, bounds: Sequence[Bound]) -> Axis:
    """``axis`` with those of its bounds on it that are near."""
    low, high = axis.low, axis.high
    for at in (math.log10(bound.value) for bound in bounds if bound.value > 0.0):
        if axis.high < at <= axis.high + _NEAR:
            high = max(high, at + 0.05)
        elif axis.low - _NEAR <= at < axis.low:
            low = min(low, at - 0.05)
    return Axis(low, high)


def draw_box(axes: Axes, across: Sequence[Bound], up: Sequence[Bound]) -> None:
    """Shade what the bounds of both axes allow together; ``axes`` has its ends already."""
    if not across and not up:
        return
    (left, right), (low, high) = allowed(across, axes.get_xlim()), allowed(up, axes.get_ylim())
    if left < right and low < high:
        axes.fill_between([left, right], low, high, color=colour(SHADE), alpha=STRENGTH, linewidth=0.0, zorder=1)
    for bounds, line in ((across, axes.axvline), (up, axes.axhline)):
        for bound in bounds:
            line(bound.value, color=colour("ink"), linewidth=1.0, linestyle=_DASHES, zorder=2)


def allowed(bounds: Sequence[Bound], ends: tuple[float, float]) -> tuple[float, float]:
    """What all bounds together leave of an axis; the first end lies beyond the second where that is nothing."""
    low, high = ends
    for bound in bounds:
        low, high = (low, min(bound.value, high)) if bound.most else (max(bound.value, low), high)
    return low, high


def add_box(made: plotting.figure, across: Sequence[Bound], up: Sequence[Bound]) -> None:
    """The same in a live plot."""
    from bokeh.models.annotations import BoxAnnotation, Span

    if not across and not up:
        return
    for bound in (*across, *up):
        line = Span(location=bound.value, line_color=colour("ink"), line_dash=[5, 4])
        line.dimension = "height" if bound in across else "width"
        made.add_layout(line)
    (left, right), (low, high) = (allowed(bounds, (-math.inf, math.inf)) for bounds in (across, up))
    if left < right and low < high:
        box = BoxAnnotation(fill_color=colour(SHADE), fill_alpha=STRENGTH, line_color=None)
        for name, value in (("left", left), ("right", right), ("bottom", low), ("top", high)):
            if math.isfinite(value):
                setattr(box, name, value)
        made.add_layout(box)
