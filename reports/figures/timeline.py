"""Who did what when: one lane per engine of a device and per link, from the spans of a timeline."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.lanes import Row, busy_of, draw_rows
from reports.live import Live
from reports.live_figures.timeline import Bar as LiveBar
from reports.live_figures.timeline import Lane as LiveLane
from reports.live_figures.timeline import live_timeline
from reports.numbers import cell_of, quantity, share
from reports.palette import in_words, role
from reports.parts import legend_of
from reports.svg import colour
from reports.templating import render
from reports.text import labels_of, short
from simulator.result import Result
from simulator.timeline import Span

MOST_LANES: Final = 40
_LEFT_IN: Final = 2.5
_RIGHT_IN: Final = 1.0
_PIXELS: Final = 2000
_MOST_EXACT: Final = 400
_UNIT: Final = re.compile(r"\S+:\d[\d-]*(?!\S)")
"""A device with its number or numbers, "h100:0-1"."""
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
    lanes = [
        Lane(
            short(name, 37), merged(grouped[lane], pixel), busy_of((span.start_s, span.end_s) for span in grouped[lane])
        )
        for lane, name in zip(names[:MOST_LANES], lane_names(names), strict=False)
    ]
    words = f"Timeline of {label}: {len(lanes)} lanes"
    svg = draw_rows(key, words, _rows(lanes), (start, end), (_LEFT_IN, _RIGHT_IN), 0.0)
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


def lane_names(lanes: Sequence[tuple[str, str]]) -> list[str]:
    """Names of lanes by resource and engine. Where several units are all of one device, its name says nothing and is
    left out, so that their numbers are seen; a path from one to another says itself that it is a transfer.

    >>> lane_names([("h100:0-1", "compute"), ("h100:2-3 nvlink4", "in"), ("nvlink4 h100:0-1 > h100:2-3", "transfer")])
    ['0-1 compute', '2-3 nvlink4 in', 'nvlink4 0-1 > 2-3']
    """
    units = {unit for resource, _ in lanes for unit in _UNIT.findall(resource)}
    devices = {unit.rpartition(":")[0] for unit in units}
    alike = f"{devices.pop()}:" if len(devices) == 1 and len(units) > 1 else ""
    named = [resource.replace(alike, "") if alike else resource for resource, _ in lanes]
    paths = ["" if lane == "transfer" and " > " in resource else f" {lane}" for resource, lane in lanes]
    return [f"{name}{path}" for name, path in zip(named, paths, strict=True)]


def _rows(lanes: Sequence[Lane]) -> list[Row]:
    return [
        Row(
            lane.name, [(bar.start_s, bar.end_s) for bar in lane.bars],
            [colour(role("family", bar.family)) for bar in lane.bars], lane.busy_s, [bar.hint for bar in lane.bars],
        )
        for lane in lanes
    ]  # fmt: skip


FIGURE = Figure(
    "timeline",
    "Who did what when",
    50,
    "One lane per engine of a device and per link, time to the right; the share beside a lane is how long it was busy.",
    applies,
    draw,
    draw_static,
)
