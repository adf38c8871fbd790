"""The metric that ranks over each bounded one: all designs of a device as a line, and the box of the objectives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from markupsafe import Markup

from reports.axis import Axis, axis_of
from reports.figure import Figure
from reports.palette import SERIES, role
from reports.parts import Key
from reports.recommendation import Answered, Line, Recommendation
from reports.slo_box import bounds_of, draw_box
from reports.study import Bound, Measure
from reports.study_scales import label_of, quiet, set_metric
from reports.svg import colour, drawing, inline
from reports.templating import render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LINES: Final = 16
"""Devices that are drawn; beyond the first few without a colour of their own."""
_SIZE_IN: Final = (5.0, 3.9)
_BOX: Final = (0.17, 0.13, 0.805, 0.83)


class Panel(NamedTuple):
    """A drawing, and what stands above it."""

    title: str
    svg: Markup


class Part(NamedTuple):
    """One question; ``left_out`` lines are too many to be drawn."""

    answer: Answered
    panels: list[Panel]
    keys: list[Key]
    left_out: int
    batches: bool


def applies(card: Recommendation) -> bool:
    """Whether any question has designs with two metrics."""
    return any(_axes(each) for each in card.answers)


def draw(card: Recommendation) -> Markup:
    """Panels for each question."""
    parts = [_part(each, place) for place, each in enumerate(card.answers) if _axes(each)]
    return render("recommendation_frontier.html", parts=parts, several=len(card.answers) > 1)


def _axes(each: Answered) -> list[int]:
    """Places of the axes that something can be drawn over."""
    return [
        k
        for k in range(1, len(each.axes))
        if any(x > 0.0 and y > 0.0 for line in each.lines for x, y in _places(line, k))
    ]


def _places(line: Line, k: int) -> list[tuple[float, float]]:
    """Where the designs of a device lie: the axis ``k`` across, the metric that ranks up; finite numbers alone."""
    pairs = zip(line.values[k], line.values[0], strict=True)
    return [(x, y) for x, y in pairs if math.isfinite(x) and math.isfinite(y)]


def _part(each: Answered, place: int) -> Part:
    lines = each.lines[:MOST_LINES]
    panels = [
        Panel(f"{each.measure.title} over {_low(each.axes[k].title)}", _drawn(each, lines, k, f"frontier-{place}-{k}"))
        for k in _axes(each)
    ]
    batches = _batches(lines)
    named = lines if not batches else lines[: len(SERIES)]
    keys = [Key(line.name if batches else f"{k + 1}. {line.name}", _shade(k)) for k, line in enumerate(named)]
    if len(lines) > len(named):
        keys.append(Key("others", role("series", "other")))
    return Part(each, panels, keys, len(each.lines) - len(lines), batches)


def _batches(lines: Sequence[Line]) -> bool:
    """Whether lines have designs at several batches; else each is one dot, with its number beside it."""
    return any(len(line.labels) > 1 for line in lines)


def _shade(place: int) -> str:
    return role("series", SERIES[place] if place < len(SERIES) else "other")


def _low(title: str) -> str:
    """A title within a sentence; short forms stay as they are."""
    return title if title[:2].isupper() else f"{title[:1].lower()}{title[1:]}"


def _drawn(each: Answered, lines: Sequence[Line], k: int, key: str) -> Markup:
    x, y = each.axes[k], each.axes[0]
    bounds = bounds_of(x, each.bounds), bounds_of(y, each.bounds)
    across = _axis([px for line in lines for px, _ in _places(line, k)], bounds[0])
    up = _axis([py for line in lines for _, py in _places(line, k)], bounds[1])
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        scales = set_metric(axes, across, x, upright=False), set_metric(axes, up, y)
        quiet(axes)
        axes.set_xlabel(label_of(x, scales[0].unit))
        axes.set_ylabel(label_of(y, scales[1].unit))
        draw_box(axes, *bounds)
        hints: dict[str, Sequence[str]] = {}
        for place in reversed(range(len(lines))):
            hints |= _draw_line(axes, lines[place], place, k, (x, y))
            if not _batches(lines):
                _number(axes, lines[place], place, k)
        label = f"{y.title} over {x.title} of {len(lines)} devices"
        return inline(figure, key, label, hints)


def _axis(values: Sequence[float], bounds: Sequence[Bound]) -> Axis:
    """An axis that holds all values and bounds."""
    return axis_of([*values, *(bound.value for bound in bounds)])


def _draw_line(axes: Axes, line: Line, place: int, k: int, pair: tuple[Measure, Measure]) -> dict[str, Sequence[str]]:
    shade = colour(_shade(place))
    front = 6 - min(place, len(SERIES)) * 0.4
    rows = [
        (px, py, line.labels[i], line.holds[i], i == line.chosen)
        for i, (px, py) in enumerate(zip(line.values[k], line.values[0], strict=True))
        if px > 0.0 and py > 0.0 and math.isfinite(px) and math.isfinite(py)
    ]
    if not rows:
        return {}
    axes.plot([row[0] for row in rows], [row[1] for row in rows], color=shade, linewidth=1.1, alpha=0.7, zorder=front)
    hints: dict[str, Sequence[str]] = {}
    for kind, size, face in (("missed", 12.0, colour("paper")), ("kept", 14.0, shade), ("chosen", 46.0, shade)):
        own = [row for row in rows if ("chosen" if row[4] else "kept" if row[3] else "missed") == kind]
        if own:
            gid = f"{kind}-{place}"
            axes.scatter(
                [row[0] for row in own], [row[1] for row in own], s=size, c=face, linewidths=1.0, zorder=front + 0.2,
                edgecolors=colour("ink") if kind == "chosen" else shade, gid=gid,
            )  # fmt: skip
            hints[gid] = [
                f"{line.name}, {row[2]}: {pair[1].text(row[1])} at {pair[0].title} {pair[0].text(row[0])}"
                f"{'' if row[3] else '; breaks a bound or budget'}{'; ranked' if row[4] else ''}"
                for row in own
            ]
    return hints


def _number(axes: Axes, line: Line, place: int, k: int) -> None:
    """The number of a device beside its dot."""
    for x, y in _places(line, k):
        if x > 0.0 and y > 0.0:
            axes.annotate(
                str(place + 1), (x, y), xytext=(6.0, 5.0), textcoords="offset points", fontsize=9.0,
                color=colour("muted"), zorder=8,
            )  # fmt: skip


FIGURE: Final = Figure(
    "frontier",
    "Designs, and the box of the objectives",
    30,
    "The metric that ranks over each bounded one (without bounds, over the one that usually matters beside it), on "
    "logarithmic axes. What a bound allows is shaded. Filled designs keep every bound and budget, hollow ones break "
    "one; the large dot is the design that is ranked.",
    applies,
    draw,
)
