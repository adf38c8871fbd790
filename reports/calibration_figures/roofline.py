"""The measured roofline: every call that was measured, under the roofs of the calibrated device; one panel per dtype.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model", CACM 2009.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from markupsafe import Markup

from reports.axis import Axis, axis_of
from reports.calibration import MachineCard, Point, Roof
from reports.figure import Figure
from reports.log_axes import MOST_DOTS, bare_dots, dots, draw_cells, frame, parts_of
from reports.numbers import quantity
from reports.palette import DTYPES, family_rank, role
from reports.parts import legend_of
from reports.svg import colour, drawing, inline
from reports.templating import render
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_HINTS: Final = 800
"""Calls above which dots say no word here: those of the residuals do, on the same page."""
MOST_PANELS: Final = 6
MARKERS: Final = ("o", "D", "s", "^", "v", "P")
_SIZE_IN: Final = (5.8, 4.5)
_BOX: Final = (0.13, 0.115, 0.83, 0.87)
SEEN: Final = 1.12
"""Intervals whose ends lie further apart than this factor are longer than a dot."""
_APART: Final = 0.055
"""Distance of two labels, in parts of the height of the picture, below which they do not stand side by side."""
_PLACES: Final = (0.88, 0.44)
"""Where along a slope its label may end: few calls lie above the upper half."""
_ROOM: Final = 0.14
"""Length of a label along a slope, in parts of the width of the picture."""


class Panel(NamedTuple):
    """The calls in one dtype, with the roofs that hold for it."""

    dtype: str
    points: list[Point]
    roofs: list[Roof]
    svg: Markup = Markup()
    words: str = ""


def placed(point: Point) -> bool:
    """Whether a call has a place under a roof."""
    return all(0.0 < value < math.inf for value in (point.flops, point.moved_bytes, point.time_s))


def panels_of(card: MachineCard) -> list[Panel]:
    """One panel per dtype with placed calls."""
    dtypes = {point.dtype for point in card.points if placed(point)}
    ordered = sorted(dtypes, key=lambda dtype: (DTYPES.index(dtype) if dtype in DTYPES else len(DTYPES), dtype))
    roofs = [roof for roof in card.roofs if 0.0 < roof.value < math.inf]
    return [
        Panel(
            dtype,
            [point for point in card.points if point.dtype == dtype and placed(point)],
            [roof for roof in roofs if roof.dtype in ("", dtype)],
        )
        for dtype in ordered
    ]


def axes_of(panels: Sequence[Panel]) -> tuple[Axis, Axis]:
    """Intensity [FLOP/B] and rate [FLOP/s] that hold every point and every peak of all panels."""
    points = [point for panel in panels for point in panel.points]
    peaks = [roof.value for panel in panels for roof in panel.roofs if roof.kind in ("peak", "vector")]
    across = axis_of([point.flops / point.moved_bytes for point in points])
    up = axis_of([*(point.flops / point.time_s for point in points), *(1.6 * peak for peak in peaks)])
    return across, up


def applies(card: MachineCard) -> bool:
    """Whether any call has a place, and the device has roofs."""
    return bool(card.roofs) and bool(panels_of(card))


def draw(card: MachineCard) -> Markup:
    """Panels on the same axes, with legends of families and runtimes and the roofs in words."""
    panels = panels_of(card)
    shown = panels[:MOST_PANELS]
    across, up = axes_of(shown)
    named = dict.fromkeys(point.runtime for panel in shown for point in panel.points)
    runtimes = sorted(named, key=lambda name: not name)
    marks = {name: MARKERS[place % len(MARKERS)] for place, name in enumerate(runtimes)}
    hinted, counted = len(card.points) <= MOST_HINTS, len(card.points) > MOST_DOTS
    drawn = [
        panel._replace(svg=_drawn(panel, across, up, marks, f"measured-{place}", hinted, counted), words=_words(panel))
        for place, panel in enumerate(shown)
    ]
    return render(
        "calibration_roofline.html",
        panels=drawn,
        legend_keys=legend_of((point.family for panel in shown for point in panel.points), "family"),
        counted=counted,
        runtimes=[(name, "●◆■▲▼✚"[place % len(MARKERS)]) for place, name in enumerate(runtimes) if hinted],
        left_out=sum(not placed(point) for point in card.points),
        hidden=len(panels) - len(shown),
    )


def _words(panel: Panel) -> str:
    """The roofs of a panel, the fitted ones first."""
    ordered = sorted(panel.roofs, key=lambda roof: not roof.fitted)
    return ", ".join(
        f"{'' if roof.fitted else 'streams in ' if roof.kind == 'cache' else ''}{short(roof.label, 40)} "
        f"{quantity(roof.value, rate_dimension(roof))}"
        for roof in ordered
    )


def rate_dimension(roof: Roof) -> str:
    """The dimension of a roof's value."""
    return "flops" if roof.kind in ("peak", "vector") else "bytes_per_s"


def _drawn(
    panel: Panel, across: Axis, up: Axis, marks: dict[str, str], key: str, hinted: bool, counted: bool
) -> Markup:
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        frame(axes, across, up, ("", "flops"), ("arithmetic intensity [FLOP/B]", "attained [FLOP/s]"))
        _draw_roofs(axes, panel, across, up)
        hints: dict[str, Sequence[str]] = {}
        families = sorted({point.family for point in panel.points}, key=family_rank, reverse=True)
        if counted:
            _draw_cells(axes, panel.points, across, up, families)
        for order, family in enumerate(() if counted else families):
            for runtime, marker in marks.items():
                same = [p for p in panel.points if p.family == family and p.runtime == runtime]
                gid = f"calls-{order}-{marker}" if hinted else ""
                if same:
                    _draw_points(axes, same, marker, 3 + order, gid)
                    hints[gid] = [hint_of(point) for point in same] if hinted else ()
        label = f"Roofline in {panel.dtype}: {len(panel.points)} measured calls under {_words(panel)}"
        return inline(figure, key, label, hints)


def _draw_cells(axes: Axes, points: Sequence[Point], across: Axis, up: Axis, families: Sequence[str]) -> None:
    x = parts_of(across, [point.flops / point.moved_bytes for point in points])
    y = parts_of(up, [point.flops / point.time_s for point in points])
    groups = [families.index(point.family) for point in points]
    draw_cells(axes, x, y, groups, [colour(role("family", family)) for family in families])


def hint_of(point: Point) -> str:
    """A call in words: where it lies and how long it takes."""
    return (
        f"{short(point.what, 90)}: {quantity(point.flops / point.time_s, 'flops')} at "
        f"{quantity(point.flops / point.moved_bytes, '')} FLOP/B, {quantity(point.time_s, 's')} "
        f"[{quantity(point.low_s, 's')}, {quantity(point.high_s, 's')}]"
    )


def _draw_points(axes: Axes, same: Sequence[Point], marker: str, order: int, gid: str) -> None:
    """Calls of one family and runtime, with their intervals; without a gid they carry no words."""
    shade: Any = colour(role("family", same[0].family))
    at = [point.flops / point.moved_bytes for point in same]
    rates = [point.flops / point.time_s for point in same]
    if not gid:
        bare_dots(axes, at, rates, shade, order)
        return
    wide = [(x, point) for x, point in zip(at, same, strict=True) if point.high_s > SEEN * point.low_s > 0.0]
    axes.vlines(
        [x for x, _ in wide], [p.flops / p.high_s for _, p in wide], [p.flops / p.low_s for _, p in wide],
        colors=shade, linewidth=1.0, alpha=0.5, zorder=order,
    )  # fmt: skip
    dots(axes, at, rates, shade, marker, order, gid)


def _draw_roofs(axes: Axes, panel: Panel, across: Axis, up: Axis) -> None:
    """Bandwidths as slopes up to the highest rate, rates as levels from the widest slope on."""
    levels = [roof for roof in panel.roofs if roof.kind in ("peak", "vector")]
    slopes = sorted((roof for roof in panel.roofs if roof.kind not in ("peak", "vector")), key=lambda roof: roof.value)
    top = max((roof.value for roof in levels), default=10.0**up.high)
    widest = max((roof.value for roof in slopes), default=math.inf)
    left, right = 10.0**across.low, 10.0**across.high
    written: list[float] = []
    for roof in sorted(levels, key=lambda roof: (not roof.fitted, -roof.value)):
        axes.plot([max(roof.value / widest, left), right], [roof.value] * 2, **_line(roof))
        if all(abs(math.log10(roof.value / other)) > 1.3 * _APART * (up.high - up.low) for other in written):
            written.append(roof.value)
            axes.text(right, roof.value * 1.05, _label(roof), ha="right", va="bottom", **_ink(roof))
    _draw_slopes(axes, slopes, (left, right), top, across, up)


def _draw_slopes(
    axes: Axes, slopes: Sequence[Roof], ends: tuple[float, float], top: float, across: Axis, up: Axis
) -> None:
    """Slopes with the bandwidth above each, the fitted ones first; where two lie close, further down; else without."""
    width, height = _SIZE_IN[0] * _BOX[2], _SIZE_IN[1] * _BOX[3]
    angle = math.degrees(math.atan2(height / (up.high - up.low), width / (across.high - across.low)))
    written: list[tuple[float, float]] = []
    for roof in sorted(slopes, key=lambda roof: not roof.fitted):
        end = min(top / roof.value, ends[1])
        axes.plot([ends[0], end], [ends[0] * roof.value, end * roof.value], **_line(roof))
        start = max(ends[0], 10.0**up.low / roof.value)
        decades = math.log10(end / start) if end > start else 0.0
        fitting = [part for part in _PLACES if decades * part > _ROOM * (across.high - across.low)]
        near = {part for value, part in written if abs(math.log10(roof.value / value)) < _APART * (up.high - up.low)}
        free = [part for part in fitting if part not in near]
        if not free:
            continue
        written.append((roof.value, free[0]))
        at = start * 10.0 ** (free[0] * decades)
        axes.text(
            at, at * roof.value * 1.07, _label(roof), rotation=angle, rotation_mode="anchor", ha="right", va="bottom",
            **_ink(roof),
        )  # fmt: skip


def _label(roof: Roof) -> str:
    return f"{short(roof.label, 26)}  {quantity(roof.value, rate_dimension(roof))}"


def _line(roof: Roof) -> dict[str, Any]:
    strong = roof.kind in ("peak", "memory")
    return {
        "color": colour("ink" if strong else "muted"), "linewidth": 1.4 if strong else 1.0, "zorder": 2,
        "linestyle": "-" if roof.fitted else (0, (4, 3)),
    }  # fmt: skip


def _ink(roof: Roof) -> dict[str, Any]:
    return {"fontsize": 8.5, "zorder": 9, "color": colour("ink" if roof.kind in ("peak", "memory") else "muted")}


FIGURE: Final = Figure(
    "roofline",
    "Measured roofline",
    10,
    "A dot is a measured call; its upright line is the 95\u00a0% interval of the median where that is longer than the "
    "dot. Solid lines are the roofs that predictions rest on: peaks, and the bandwidths of memory and cache. Dashed "
    "lines were seen by probes beside them. Of vector operators the FLOPs of the model count. All panels share their "
    "axes.",
    applies,
    draw,
)
