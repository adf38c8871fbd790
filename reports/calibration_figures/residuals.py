"""Predicted over measured time of every call that the calibration prices, by operator family.

The calls are those that the entries were fitted to. The band is what fits that left shapes out were off by, where it
lies for the entries of the calls around a time: the median of their 80% intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from reports.axis import Axis, axis_of
from reports.calibration import MachineCard, Point
from reports.figure import Figure
from reports.log_axes import MOST_DOTS, MOST_HINTS, bare_dots, draw_cells, frame, parts_of
from reports.numbers import number, quantity, share
from reports.palette import DTYPES, family_rank, in_words, role
from reports.parts import legend_of
from reports.svg import colour, drawing, inline
from reports.templating import render
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

MOST_FAR: Final = 12
FAR: Final = 2.0
_WIDEST: Final = 4.2
"""Ratios beyond it in either direction are drawn at the edge."""
_BIN, _MOST_STEPS = 9, 120
"""Calls of a step of the band, and the most steps."""
_SIZE_IN: Final = (5.8, 3.3)
_BOX: Final = (0.105, 0.145, 0.85, 0.83)


class Panel(NamedTuple):
    """One operator family."""

    title: str
    svg: Markup
    note: str


class Far(NamedTuple):
    """A call whose prediction is further off than a factor of two."""

    point: Point
    colour: str
    measured: str
    predicted: str
    off: str


def priced(card: MachineCard) -> list[Point]:
    """Calls with a prediction."""
    return [p for p in card.points if 0.0 < p.predicted_s < math.inf and 0.0 < p.time_s < math.inf]


def far_of(points: Sequence[Point]) -> list[Far]:
    """Calls that are off by more than a factor of two, the worst first."""
    out = [point for point in points if not 1.0 / FAR <= point.ratio <= FAR]
    out.sort(key=lambda point: (-abs(math.log(point.ratio)), point.what))
    return [
        Far(point, role("family", point.family), quantity(point.time_s, "s"), quantity(point.predicted_s, "s"),
            off_of(point.ratio))
        for point in out
    ]  # fmt: skip


def off_of(ratio: float) -> str:
    """How far off a prediction is, in words."""
    return f"{number(ratio)}\u00a0× too long" if ratio > 1.0 else f"{number(1.0 / ratio)}\u00a0× too short"


def band_of(points: Sequence[Point]) -> tuple[Floats, Floats, Floats]:
    """Times [s], and the lowest and highest predicted / measured whose usual 80% interval holds the measurement.

    Steps of some nine calls, of more where there are many; shape [2 steps] each.
    """
    known = sorted((point.time_s, point) for point in points if 0.0 < point.low_80_s < point.high_80_s < math.inf)
    steps = np.array_split(np.arange(len(known)), min(max(len(known) // _BIN, 1), _MOST_STEPS)) if known else []
    between = [math.sqrt(known[a[-1]][0] * known[b[0]][0]) for a, b in pairwise(steps)]
    edges = [known[0][0], *between, known[-1][0]] if known else []
    lows, highs = [], []
    for step in steps:
        own = [known[i][1] for i in step]
        lows.append(float(np.median([point.predicted_s / point.high_80_s for point in own])))
        highs.append(float(np.median([point.predicted_s / point.low_80_s for point in own])))
    at = [edge for pair in pairwise(edges) for edge in pair]
    return np.array(at), np.repeat(lows, 2), np.repeat(highs, 2)


def applies(card: MachineCard) -> bool:
    """Whether the calibration prices any call that was measured."""
    return bool(priced(card))


def draw(card: MachineCard) -> Markup:
    """One panel per family, then the calls furthest off by name."""
    points = priced(card)
    families = sorted({point.family for point in points}, key=family_rank)
    up = axis_up(points)
    hinted, counted = len(points) <= MOST_HINTS, len(points) > MOST_DOTS
    panels = [
        _panel(family, [p for p in points if p.family == family], up, f"residuals-{place}", hinted, counted)
        for place, family in enumerate(families)
    ]
    far = far_of(points)
    dtypes = sorted({point.dtype for point in points}, key=dtype_rank)
    return render(
        "residuals.html", panels=panels, far=far[:MOST_FAR], more=len(far) - MOST_FAR, in_all=len(points),
        all_far=len(far), legend_keys=legend_of(dtypes, "dtype"),
        hollow=hinted and any(not p.priced_by for p in points), counted=counted,
    )  # fmt: skip


def axis_up(points: Sequence[Point]) -> Axis:
    """An axis of predicted over measured that holds twice, half and all ratios but the furthest."""
    widest = max(FAR * 1.15, min(max(max(p.ratio, 1.0 / p.ratio) for p in points) * 1.1, _WIDEST))
    return Axis(-math.log10(widest), math.log10(widest))


def ratios_along(up: Axis) -> dict[float, str]:
    """Round ratios on an axis, and how they are written."""
    ratios = (ratio for ratio in (0.25, 0.5, 1.0, 2.0, 4.0) if up.low < math.log10(ratio) < up.high)
    return {ratio: f"{ratio:g}×" for ratio in ratios}


def kept_inside(up: Axis, points: Sequence[Point]) -> Floats:
    """Ratios of calls, those beyond an axis at its edge; shape [points]."""
    return np.clip([point.ratio for point in points], 1.01 * 10.0**up.low, 0.99 * 10.0**up.high)


def how_far_off(points: Sequence[Point]) -> str:
    """How far calls are off, and how many their intervals hold, in words."""
    off = np.abs(np.array([point.ratio for point in points]) - 1.0)
    inside = sum(point.low_80_s <= point.time_s <= point.high_80_s for point in points)
    return f"median {share(float(np.median(off)))} off, {share(inside / len(points))} inside their 80\u00a0% interval"


def dtype_rank(dtype: str) -> tuple[int, str]:
    """The place of a number format in legends."""
    return (DTYPES.index(dtype) if dtype in DTYPES else len(DTYPES), dtype)


def _panel(family: str, points: Sequence[Point], up: Axis, key: str, hinted: bool, counted: bool) -> Panel:
    title, note = in_words("family", family), how_far_off(points)
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        across = axis_of([point.time_s for point in points])
        frame(axes, across, up, ("s", ""), ("measured", ""))
        ratios = ratios_along(up)
        axes.set_yticks(list(ratios), list(ratios.values()))
        axes.minorticks_off()
        ends = [10.0**across.low, 10.0**across.high]
        axes.plot(ends, [1.0, 1.0], color=colour("ink"), linewidth=1.1, zorder=2)
        for factor in (1.0 / FAR, FAR):
            axes.plot(ends, [factor] * 2, color=colour("muted"), linewidth=0.7, linestyle=(0, (4, 3)), zorder=2)
        hints: dict[str, Sequence[str]] = {}
        dtypes = sorted({point.dtype for point in points}, key=dtype_rank)
        if counted:
            x, y = parts_of(across, [p.time_s for p in points]), parts_of(up, [p.ratio for p in points])
            groups = [dtypes.index(point.dtype) for point in points]
            draw_cells(axes, x, y, groups, [colour(role("dtype", dtype)) for dtype in dtypes])
        for place, dtype in enumerate(dtypes):
            own = [point for point in points if point.dtype == dtype]
            shade = colour(role("dtype", dtype))
            _draw_band(axes, own, shade)
            if not counted:
                hints |= _draw_dtype(axes, own, up, shade, f"ratios-{place}" if hinted else "")
        label = f"Predicted over measured time, {title}: {len(points)} calls, {note}"
        return Panel(title, inline(figure, key, label, hints), f"{len(points)} calls; {note}.")


def _draw_band(axes: Axes, own: Sequence[Point], shade: str) -> None:
    at, low, high = band_of(own)
    if len(at):
        axes.fill_between(at, low, high, color=shade, alpha=0.13, linewidth=0.0, zorder=1.5)


def _draw_dtype(axes: Axes, own: Sequence[Point], up: Axis, shade: str, key: str) -> dict[str, Sequence[str]]:
    """The calls in one dtype; those that the priors of the class price are hollow. No key: no words."""
    hints: dict[str, Sequence[str]] = {}
    for fitted in (True, False):
        same = [point for point in own if bool(point.priced_by) == fitted]
        if not same:
            continue
        gid = f"{key}-{fitted}"
        inside = kept_inside(up, same)
        if not key:
            bare_dots(axes, [point.time_s for point in same], inside.tolist(), shade, 3)
            continue
        axes.scatter(
            [point.time_s for point in same], inside, s=17.0, alpha=0.85, zorder=3, gid=gid,
            facecolors=shade if fitted else colour("paper"), edgecolors=colour("paper") if fitted else shade,
            linewidths=0.4 if fitted else 1.1,
        )  # fmt: skip
        hints[gid] = [_hint(point) for point in same]
    return hints


def _hint(point: Point) -> str:
    return (
        f"{short(point.what, 90)}: measured {quantity(point.time_s, 's')}, predicted "
        f"{quantity(point.predicted_s, 's')} [{quantity(point.low_80_s, 's')}, {quantity(point.high_80_s, 's')}], "
        f"{number(point.ratio)}×"
    )


FIGURE: Final = Figure(
    "residuals",
    "Predicted over measured",
    30,
    "A dot is a measured call that the fit has seen. Above 1\u00a0× the prediction is too long; the dashed lines are "
    "twice and half. In the band lie predictions whose 80\u00a0% interval, of the usual width for such calls, holds "
    "the measurement: it is cut from fits that left shapes out, so that new shapes may lie anywhere in it.",
    applies,
    draw,
)
