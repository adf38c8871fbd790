"""Who did what when, for print: the lanes of each result's timeline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from reports.figures.timeline import applies, lane_names, merged, whole_s
from reports.numbers import quantity, unit_of
from reports.palette import family_rank, in_words, role
from reports.print_figure import PrintFigure, ink, legend_below, letters_in, not_drawn, set_height
from reports.text import labels_of, short
from simulator.result import Result
from simulator.timeline import Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

MOST_LANES: Final = 24
"""Lanes of a result that are drawn, in the order of their first span."""
_PIXELS: Final = 1600
_MOST_EXACT: Final = 400


def draw(results: Sequence[Result], drawing: Drawing) -> None:
    """A panel per result with a timeline, each over its own time."""
    from matplotlib.patches import Patch

    room = letters_in(drawing, 0.48)
    shown = [
        (_title(label, result, room), _lanes(result)) for label, result in zip(labels_of(results), results, strict=True)
    ]
    shown = [(label, lanes) for label, lanes in shown if lanes]
    hidden = sum(len(lanes) - MOST_LANES for _, lanes in shown if len(lanes) > MOST_LANES)
    shown = [(label, dict(islice(lanes.items(), MOST_LANES))) for label, lanes in shown]
    heights = [0.6 + 0.22 * len(lanes) for _, lanes in shown]
    set_height(drawing, 0.6 + sum(heights))
    grid = drawing.subplots(len(shown), 1, squeeze=False, height_ratios=heights)
    families: set[str] = set()
    most = letters_in(drawing, 0.42)
    for axes, (label, lanes) in zip(grid[:, 0], shown, strict=True):
        families |= _panel(axes, label, lanes, most)
    keys = [Patch(color=ink(role("family", name)), label=in_words("family", name))
            for name in sorted(families, key=family_rank)]  # fmt: skip
    legend_below(drawing, keys, notes=[not_drawn(hidden, "lane")])


def _lanes(result: Result) -> dict[tuple[str, str], list[Span]]:
    grouped: dict[tuple[str, str], list[Span]] = {}
    for span in result.timeline.spans:
        if math.isfinite(span.start_s) and span.start_s < span.end_s < math.inf:
            grouped.setdefault((span.resource, span.lane), []).append(span)
    return grouped


def _title(label: str, result: Result, room: int) -> str:
    """The result, and how much of it the spans show where that is not all, in so many letters."""
    shown, whole = result.timeline.end_s, whole_s(result)
    part = f": {quantity(shown, 's')} of {quantity(whole, 's')}" if shown < 0.98 * whole else ""
    return f"{short(label, max(room - len(part), 8))}{part}"


def _panel(axes: Axes, label: str, lanes: dict[tuple[str, str], list[Span]], most: int) -> set[str]:
    """Draw the lanes and give back the families that occur."""
    spans = [span for own in lanes.values() for span in own]
    start, end = min(0.0, min(span.start_s for span in spans)), max(span.end_s for span in spans)
    pixel = (end - start) / _PIXELS if len(spans) > _MOST_EXACT else 0.0
    scale, unit = unit_of(end, "s")
    families: set[str] = set()
    for row, own in enumerate(lanes.values()):
        bars = merged(own, pixel)
        families |= {bar.family for bar in bars}
        colours = [ink(role("family", bar.family)) for bar in bars]
        # A bar has an edge, so that the shortest is seen.
        axes.broken_barh(
            [(bar.start_s / scale, (bar.end_s - bar.start_s) / scale) for bar in bars], (row - 0.36, 0.72),
            facecolors=colours, edgecolors=colours, linewidth=0.25,
        )  # fmt: skip
    axes.set(xlim=(start / scale, end / scale), ylim=(len(lanes) - 0.4, -0.6), xlabel=f"time [{unit}]", title=label)
    axes.set_yticks(range(len(lanes)), [short(name, most) for name in lane_names(list(lanes))])
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x")
    return families


FIGURE = PrintFigure("timeline", "Who did what when", ("results",), applies, draw)
