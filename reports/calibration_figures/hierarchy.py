"""Bandwidth of streams by the size of the arrays they walk through: the memory hierarchy, cache by cache.

McCalpin, "Memory bandwidth and machine balance in current high performance computers", IEEE TCCA Newsletter, 1995.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from markupsafe import Markup

from reports.axis import Axis, axis_of
from reports.calibration import CacheMark, MachineCard, StreamPoint
from reports.figure import Figure
from reports.log_axes import frame
from reports.numbers import binary_size, number, quantity, unit_of
from reports.palette import role
from reports.parts import Key
from reports.svg import colour, drawing, inline
from reports.templating import render
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS: Final = 6
_FEWEST_SIZES: Final = 3
"""Sizes that make a line."""
_SIZE_IN: Final = (5.8, 3.7)
_BOX: Final = (0.145, 0.135, 0.81, 0.8)
_SAME_SIZE: Final = 0.8
"""Arrays of this part of the largest ones, or more, come from memory as those do."""


class Panel(NamedTuple):
    """One stream."""

    stream: str
    svg: Markup


class Cell(NamedTuple):
    """A bandwidth as text and as the number that sorts it; ``best`` of its row."""

    text: str
    value: float | None
    best: bool
    band: str


class Row(NamedTuple):
    """One stream from memory, by threads."""

    stream: str
    cells: list[Cell]


def known(card: MachineCard) -> list[StreamPoint]:
    """Streams with a place on logarithmic axes."""
    return [point for point in card.streams if 0.0 < point.set_bytes < math.inf and 0.0 < point.rate < math.inf]


def threads_of(points: Sequence[StreamPoint]) -> list[int]:
    """Numbers of threads, rising."""
    return sorted({point.threads for point in points})


def lines_of(points: Sequence[StreamPoint], stream: str) -> dict[int, list[StreamPoint]]:
    """The points of a stream by threads, by size; lines of fewer than ``_FEWEST_SIZES`` sizes are left out."""
    lines: dict[int, list[StreamPoint]] = {}
    for threads in threads_of(points):
        own = [point for point in points if point.stream == stream and point.threads == threads]
        if len({point.set_bytes for point in own}) >= _FEWEST_SIZES:
            lines[threads] = sorted(own, key=lambda point: point.set_bytes)
    return lines


def rows_of(points: Sequence[StreamPoint]) -> tuple[list[int], str, list[Row]]:
    """Threads, unit, and the rates of all streams over the largest arrays."""
    most = max(point.set_bytes for point in points)
    far = [point for point in points if point.set_bytes >= _SAME_SIZE * most]
    scale, unit = unit_of(max(point.rate for point in far), "bytes_per_s")
    threads = threads_of(far)
    rows = []
    for stream in dict.fromkeys(point.stream for point in far):
        own = {point.threads: point for point in far if point.stream == stream}
        best = max(point.rate for point in own.values())
        rows.append(Row(stream, [_cell(own.get(each), best, scale) for each in threads]))
    return threads, unit, rows


def _cell(point: StreamPoint | None, best: float, scale: float) -> Cell:
    if point is None:
        return Cell("", None, False, "")
    band = f"{number(point.low / scale)} – {number(point.high / scale)}"
    return Cell(number(point.rate / scale), point.rate, point.rate == best, band)


def thread_word(threads: int) -> str:
    """A number of threads in words."""
    return "whole device" if threads == 0 else f"{threads} thread{'s' if threads > 1 else ''}"


def applies(card: MachineCard) -> bool:
    """Whether streams were measured."""
    return bool(known(card))


def draw(card: MachineCard) -> Markup:
    """One panel per stream that was walked through at several sizes, then all streams from memory."""
    streams = known(card)
    threads = threads_of(streams)
    shades = {each: role("series", str(place + 1)) for place, each in enumerate(threads)}
    lines = {stream: lines_of(streams, stream) for stream in dict.fromkeys(point.stream for point in streams)}
    drawn = [(stream, found) for stream, found in lines.items() if found]
    on_lines = [point for _, found in drawn for line in found.values() for point in line]
    panels = []
    if on_lines:
        across, up = axis_of([p.set_bytes for p in on_lines]), axis_of([p.rate for p in on_lines])
        caches = [mark for mark in card.caches if 10.0**across.low < mark.all_bytes < 10.0**across.high]
        panels = [
            Panel(stream, _drawn(stream, found, shades, caches, (across, up), f"hierarchy-{place}"))
            for place, (stream, found) in enumerate(drawn[:MOST_PANELS])
        ]
    seen = sorted({each for _, found in drawn for each in found})
    columns, unit, rows = rows_of(streams)
    return render(
        "hierarchy.html", panels=panels, legend_keys=[Key(thread_word(each), shades[each]) for each in seen],
        caches=card.caches, columns=[thread_word(each) for each in columns], unit=unit, rows=rows,
        largest=binary_size(max(point.set_bytes for point in streams)), hidden=max(len(drawn) - MOST_PANELS, 0),
    )  # fmt: skip


def _drawn(
    stream: str, lines: dict[int, list[StreamPoint]], shades: dict[int, str], caches: Sequence[CacheMark],
    scales: tuple[Axis, Axis], key: str,
) -> Markup:  # fmt: skip
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        frame(axes, *scales, ("bytes", "bytes_per_s"), ("arrays together", ""))
        _draw_caches(axes, caches, scales)
        hints = {}
        for threads, line in lines.items():
            shade = colour(shades[threads])
            sizes, rates = [point.set_bytes for point in line], [point.rate for point in line]
            axes.plot(sizes, rates, color=shade, linewidth=1.5, zorder=3)
            axes.vlines(sizes, [p.low for p in line], [p.high for p in line], colors=shade, linewidth=1.1, zorder=3)
            axes.scatter(sizes, rates, s=20.0, c=shade, linewidths=0.5, edgecolors=colour("paper"), zorder=4,
                         gid=f"sizes-{threads}")  # fmt: skip
            hints[f"sizes-{threads}"] = [
                f"{short(stream, 40)} on {thread_word(threads)}, {binary_size(point.set_bytes)}: "
                f"{quantity(point.rate, 'bytes_per_s')}"
                for point in line
            ]
        best = max((point for line in lines.values() for point in line), key=lambda point: point.rate)
        label = f"Bandwidth of {stream} by size of the arrays; at most {quantity(best.rate, 'bytes_per_s')}"
        return inline(figure, key, label, hints)


def _draw_caches(axes: Axes, caches: Sequence[CacheMark], scales: tuple[Axis, Axis]) -> None:
    """Each cache as a band from the size of one to that of all that are used, named above the picture."""
    left, top = 10.0 ** scales[0].low, 10.0 ** scales[1].high
    for mark in caches:
        axes.axvspan(
            max(mark.one_bytes, left), mark.all_bytes, color=colour("muted"), alpha=0.14, linewidth=0.0, zorder=1
        )
        axes.axvline(mark.all_bytes, color=colour("muted"), linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
        axes.text(mark.all_bytes, top, f"{short(mark.label, 14)} ", ha="center", va="bottom", fontsize=9.0,
                  color=colour("muted"))  # fmt: skip


FIGURE: Final = Figure(
    "hierarchy",
    "Memory hierarchy",
    20,
    "Bandwidth over the bytes that the arrays of a stream take together; bytes are counted as STREAM does. A band "
    "reaches from the size of one cache to that of all caches of its kind that the cores use. The table is of the "
    "largest arrays, which no cache holds.",
    applies,
    draw,
)
