"""Who did what when: one lane per engine of a device and per link, from the spans of a timeline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.live import Live
from reports.live_figures.timeline import Bar as LiveBar
from reports.live_figures.timeline import Lane as LiveLane
from reports.live_figures.timeline import live_timeline
from reports.numbers import cell_of, quantity, share, unit_of
from reports.palette import in_words, role
from reports.parts import legend_of
from reports.svg import colour, drawing, inline
from reports.templating import render
from reports.text import labels_of, short
from simulator.result import Result
from simulator.timeline import Span

MOST_LANES: Final = 40
_WIDTH_IN: Final = 13.0
_LEFT_IN: Final = 2.5
_RIGHT_IN: Final = 1.0
_LANE_IN: Final = 0.27
_PIXELS: Final = 2000
_MOST_EXACT: Final = 400
_MOST_LIVE: Final = 4_000
"""Bars of a live picture; of more spans, the shortest neighbours are joined until they are so many."""


class Bar(NamedTuple):
    """A piece of a lane: ``spans`` of them drawn as one; ``family`` is the one that takes most of it."""

    start_s: float
    end_s: float
    family: str
    spans: int
    what: str
    hint: str


class Lane(NamedTuple):
    """One engine of a device, or one link."""

    name: str
    bars: list[Bar]
    busy_s: float


class Chart(NamedTuple):
    """The timeline of one result, which takes ``whole_s``; ``pixel_s`` is 0 where every span is drawn by itself."""

    label: str
    lanes: list[Lane]
    hidden: int
    spans: int
    length_s: float
    whole_s: float
    pixel_s: float
    svg: Markup
    live: Live | None = None
    live_bars: int = 0
    live_pixel_s: float = 0.0

    @property
    def partial(self) -> bool:
        """Whether the timeline shows only some steps of the whole."""
        return self.length_s < 0.98 * self.whole_s

    @property
    def bars(self) -> int:
        """Bars that are drawn."""
        return sum(len(lane.bars) for lane in self.lanes)


def applies(results: Sequence[Result]) -> bool:
    """Whether some result has a timeline with time in it."""
    return any(_usable(result) for result in results)


def draw(results: Sequence[Result]) -> Markup:
    """One live chart per result that has a timeline."""
    return _page(results, live=True)


def draw_static(results: Sequence[Result]) -> Markup:
    """The same as still pictures."""
    return _page(results, live=False)


def _page(results: Sequence[Result], live: bool) -> Markup:
    charts = [
        _chart(label, _usable(result), whole_s(result), f"timeline-{place}", live)
        for place, (label, result) in enumerate(zip(labels_of(results), results, strict=True))
        if _usable(result)
    ]
    families = (bar.family for chart in charts for lane in chart.lanes for bar in lane.bars)
    return render("timeline.html", charts=charts, legend_keys=legend_of(families, "family"), live=live)


def _usable(result: Result) -> list[Span]:
    """Spans that have a place and a length."""
    return [
        span for span in result.timeline.spans if math.isfinite(span.start_s) and span.start_s < span.end_s < math.inf
    ]


def whole_s(result: Result) -> float:
    """How long everything takes that the result is about [s]; 0 if it does not say."""
    durations = (cell_of(result, name).value for name in ("makespan_s", "e2e_s", "step_time_s"))
    return next((duration for duration in durations if duration is not None), 0.0)


def _chart(label: str, spans: list[Span], whole_s: float, key: str, live: bool) -> Chart:
    end = max(span.end_s for span in spans)
    start = min(min(span.start_s for span in spans), 0.0)
    pixel = (end - start) / _PIXELS if len(spans) > _MOST_EXACT else 0.0
    grouped: dict[tuple[str, str], list[Span]] = {}
    for span in spans:
        grouped.setdefault((span.resource, span.lane), []).append(span)
    order = {resource: place for place, resource in enumerate(dict.fromkeys(span.resource for span in spans))}
    names = sorted(grouped, key=lambda name: (order[name[0]], name[1]))
    lanes = [_lane(name, grouped[name], pixel) for name in names[:MOST_LANES]]
    svg = _draw_lanes(label, lanes, (start, end), key)
    chart = Chart(label, lanes, len(names) - len(lanes), len(spans), end - start, whole_s, pixel, svg)
    if not live:
        return chart
    finest = (end - start) / (8 * _PIXELS) if len(spans) > _MOST_LIVE else 0.0
    shown = [grouped[name] for name in names[:MOST_LANES]]
    bars, finest = _few(shown, finest)
    rows = [LiveLane(lane.name, share(lane.busy_s / (end - start)), own) for lane, own in zip(lanes, bars, strict=True)]
    made = live_timeline(f"{key}-live", rows, (start, end))
    return chart._replace(live=made, live_bars=sum(map(len, bars)), live_pixel_s=finest)


def _few(lanes: Sequence[Sequence[Span]], pixel_s: float) -> tuple[list[list[LiveBar]], float]:
    """Bars of lanes, joined over ever longer pixels until they are few enough, and the pixel [s]."""
    while True:
        bars = [
            [LiveBar(b.what, b.family, b.start_s, b.end_s, b.spans) for b in merged(lane, pixel_s)] for lane in lanes
        ]
        if pixel_s == 0.0 or sum(map(len, bars)) <= _MOST_LIVE:
            return bars, pixel_s
        pixel_s *= 2.0


def _lane(name: tuple[str, str], spans: Sequence[Span], pixel_s: float) -> Lane:
    return Lane(f"{short(name[0], 22)} {short(name[1], 14)}", merged(spans, pixel_s), _busy(spans))


def merged(spans: Iterable[Span], pixel_s: float) -> list[Bar]:
    """Bars of one lane. Spans shorter than two pixels that lie less than a pixel apart are drawn as one bar of at
    most about two pixels, in the colour of the family that takes most of it; longer spans stay by themselves."""
    bars: list[Bar] = []
    group: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start_s, span.end_s, span.name)):
        small = span.end_s - span.start_s < 2.0 * pixel_s
        joins = bool(group) and small and span.start_s - group[-1].end_s < pixel_s
        if group and not (joins and span.end_s - group[0].start_s < 3.0 * pixel_s):
            bars.append(_bar(group))
            group = []
        group.append(span)
        if not small:
            bars.append(_bar(group))
            group = []
    return bars + ([_bar(group)] if group else [])


def _bar(group: Sequence[Span]) -> Bar:
    seconds: dict[str, float] = {}
    for span in group:
        seconds[span.family] = seconds.get(span.family, 0.0) + span.end_s - span.start_s
    family = max(seconds, key=lambda name: (seconds[name], name))
    start, end = group[0].start_s, max(span.end_s for span in group)
    what = short(group[0].name, 80) if len(group) == 1 else f"{len(group)} spans, mostly {in_words('family', family)}"
    return Bar(start, end, family, len(group), what, f"{what}: {quantity(start, 's')} to {quantity(end, 's')}")


def _busy(spans: Sequence[Span]) -> float:
    """Seconds in which a lane did something; overlapping spans count once [s]."""
    total, reached = 0.0, -math.inf
    for start, end in sorted((span.start_s, span.end_s) for span in spans):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total


def _draw_lanes(label: str, lanes: Sequence[Lane], window: tuple[float, float], key: str) -> Markup:
    height = len(lanes) * _LANE_IN + 0.55
    scale, unit = unit_of(window[1], "s")
    hints = {}
    with drawing(_WIDTH_IN, height) as figure:
        axes = figure.add_axes(
            (_LEFT_IN / _WIDTH_IN, 0.5 / height, 1.0 - (_LEFT_IN + _RIGHT_IN) / _WIDTH_IN, 1.0 - 0.55 / height)
        )
        for row, lane in enumerate(lanes):
            hints[f"lane-{row}"] = [bar.hint for bar in lane.bars]
            axes.broken_barh(
                [(bar.start_s / scale, (bar.end_s - bar.start_s) / scale) for bar in lane.bars], (row - 0.36, 0.72),
                facecolors=[colour(role("family", bar.family)) for bar in lane.bars], linewidth=0.0, zorder=2,
                gid=f"lane-{row}",
            )  # fmt: skip
            busy = share(lane.busy_s / (window[1] - window[0]))
            axes.annotate(f"{busy} busy", (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=8.5,
                          color=colour("muted"), annotation_clip=False)  # fmt: skip
        axes.set(xlim=(window[0] / scale, window[1] / scale), ylim=(len(lanes) - 0.4, -0.6), xlabel=f"time [{unit}]")
        axes.set_yticks(range(len(lanes)), [lane.name for lane in lanes])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=colour("line"), linewidth=0.6)
        axes.set_axisbelow(True)
        text = f"Timeline of {label}: {len(lanes)} lanes over {quantity(window[1] - window[0], 's')}"
        return inline(figure, key, text, hints)


FIGURE = Figure(
    "timeline",
    "Who did what when",
    50,
    "One lane per engine of a device and per link, time to the right; the share beside a lane is how long it was busy.",
    applies,
    draw,
    draw_static,
)
