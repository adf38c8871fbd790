"""A timeline in the Trace Event Format that Perfetto and ``chrome://tracing`` open.

Reference: "Trace Event Format", Google, 2016 (complete events "X", counters "C", metadata "M"). A device, a link or a
pipeline rank is a process, an engine of it a thread. Times are microseconds, as the format has them; they are written
to a picosecond, so that short spans keep their length.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from reports.figures.timeline import whole_s
from reports.numbers import symbol
from reports.serving import OverTime, ServedCard
from reports.text import labels_of, plain
from simulator.result import Result
from simulator.timeline import RankSteps, Span, Timeline

US: Final = 1e6
"""Microseconds in a second."""
DIGITS: Final = 6
"""Decimals of a microsecond that are written."""
ACTIONS: Final = {"F": "forward", "B": "backward", "I": "backward, inputs", "W": "backward, weights"}
"""Categories of what pipeline ranks do."""
_MOVES: Final = ("collective", "transfer")
_LINK_LANES: Final = ("transfer", "in", "out", "link")
_LONGEST: Final = 200
"""Characters of a name."""
Event = dict[str, Any]


def trace_of(results: Sequence[Result]) -> Iterator[str]:
    """The timelines of ``results`` as the pieces of one JSON text, in an order that depends on nothing but them.

    A span that has no finite start, or ends before it starts, is left out and counted under "otherData", which says as
    well how much of the whole the spans show. Counters: memory of each pool, which does not move; memory of pipeline
    ranks, power of a device and what runs at once, which do.
    """
    labels = labels_of(results) if len(results) > 1 else [""]
    left_out = sum(len(result.timeline.spans) - len(_usable(result.timeline)) for result in results)
    about = {
        "made by": "silicost", "versions": sorted({result.silicost_version for result in results}),
        "laws": sorted({result.laws_hash for result in results}),
        "titles": [_text(result.title) for result in results],
        "scenarios": [result.scenario_hash for result in results],
        "shown [s]": [_known(result.timeline.end_s) for result in results],
        "whole [s]": [_known(whole_s(result)) for result in results], "spans left out": left_out,
    }  # fmt: skip
    return _written(_events(results, labels), about)


def served_trace_of(card: ServedCard) -> Iterator[str]:
    """What a served run kept over time, as counters: queue, batch, cache, power and so on by pool."""
    about = {"made by": "silicost", "versions": [card.silicost_version], "laws": [card.laws_hash],
             "titles": [_text(card.title)]}  # fmt: skip
    return _written(_counters(card.over_time) if card.over_time else iter(()), about)


def _written(events: Iterable[Event], about: dict[str, Any]) -> Iterator[str]:
    """The file, an event a line."""
    yield '{"displayTimeUnit":"ns","otherData":'
    yield json.dumps(about, ensure_ascii=True)
    yield ',"traceEvents":['
    between = "\n"
    for event in events:
        yield between + json.dumps(event, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
        between = ",\n"
    yield "\n]}\n"


def _events(results: Sequence[Result], labels: Sequence[str]) -> Iterator[Event]:
    pid = 0
    for label, result in zip(labels, results, strict=True):
        before = f"{label}: " if label else ""
        spans = _usable(result.timeline)
        tracks, places = _tracks(spans)
        # Devices stand above the links between them.
        links = {span.resource for span in spans if span.lane in _LINK_LANES}
        resources = sorted(dict.fromkeys(span.resource for span in spans), key=lambda resource: resource in links)
        pids = {resource: pid + place for place, resource in enumerate(resources, start=1)}
        for resource, own in pids.items():
            yield from _names(own, f"{before}{resource}", tracks[resource])
        yield from _memory(result, pid, label)
        for span, tid in zip(spans, places, strict=True):
            yield _complete(span, pids[span.resource], tid)
        yield from _busy(spans, pids)
        for resource, own in pids.items():
            yield from _power(result.timeline, resource, own)
        pid += len(pids) + 1
        for place, rank in enumerate(result.timeline.ranks):
            yield from _rank(rank, pid, f"{before}pipeline rank {place}")
            pid += 1


def _tracks(spans: Sequence[Span]) -> tuple[dict[str, list[str]], list[int]]:
    """Names of the threads of each resource, and the thread of each span: a lane, or further ones of its name where
    spans of a lane overlap, which a thread cannot show."""
    names: dict[str, list[str]] = {}
    ends: dict[tuple[str, str], dict[int, float]] = {}
    places = []
    for span in spans:
        own, threads = ends.setdefault((span.resource, span.lane), {}), names.setdefault(span.resource, [])
        free = next((tid for tid, end in own.items() if end <= span.start_s), len(threads))
        if free == len(threads):
            threads.append(f"{span.lane} ({len(own) + 1})" if own else span.lane)
        own[free] = span.end_s
        places.append(free)
    return names, places


def _usable(timeline: Timeline) -> list[Span]:
    """Spans with a finite start and a length that is not negative, by their start."""
    found = [span for span in timeline.spans if math.isfinite(span.start_s) and span.start_s <= span.end_s < math.inf]
    return sorted(found, key=lambda span: span.start_s)


def _names(pid: int, name: str, threads: Sequence[str]) -> Iterator[Event]:
    yield _metadata("process_name", pid, 0, {"name": _text(name)})
    yield _metadata("process_sort_index", pid, 0, {"sort_index": pid})
    for tid, thread in enumerate(threads):
        yield _metadata("thread_name", pid, tid, {"name": _text(thread)})
        yield _metadata("thread_sort_index", pid, tid, {"sort_index": tid})


def _metadata(name: str, pid: int, tid: int, args: dict[str, Any]) -> Event:
    return {"ph": "M", "name": name, "pid": pid, "tid": tid, "ts": 0, "args": args}


def _complete(span: Span, pid: int, tid: int) -> Event:
    """A span, with what is known of its work: FLOPs of what computes, bytes of what moves, joules of one device."""
    work = "bytes" if span.family in _MOVES else "FLOPs"
    args = {work: _known(span.amount), "dynamic J per device": _known(span.dynamic_j)}
    return _event(span.name, span.family, (pid, tid), (span.start_s, span.end_s), {k: v for k, v in args.items() if v})


def _event(name: str, family: str, place: tuple[int, int], ends_s: tuple[float, float], args: dict[str, Any]) -> Event:
    """A complete event that ends where the next one of its thread begins, to the last digit."""
    start = _us(ends_s[0])
    return {
        "ph": "X", "name": _text(name), "cat": _text(family) or "none", "pid": place[0], "tid": place[1],
        "ts": start, "dur": max(round(_us(ends_s[1]) - start, DIGITS), 0.0), "args": args,
    }  # fmt: skip


def _rank(rank: RankSteps, pid: int, name: str) -> Iterator[Event]:
    """A pipeline rank over the whole step: its schedule, and the memory that it holds."""
    rows = [Span(f"{each.kind}{each.micro_batch}", each.kind, "", "schedule", each.start_s, each.end_s, 0.0)
            for each in rank.actions]  # fmt: skip
    usable = [(row, each) for row, each in zip(rows, rank.actions, strict=True) if row in _usable(Timeline((row,)))]
    tracks, places = _tracks([row for row, _ in usable])
    yield from _names(pid, name, tracks.get("", ()))
    for (row, each), tid in zip(usable, places, strict=True):
        args = {"micro-batch": each.micro_batch, "stage": each.stage}
        yield _event(row.name, ACTIONS.get(each.kind, each.kind), (pid, tid), (row.start_s, row.end_s), args)
    for at, size in zip(rank.times_s, rank.sizes_bytes, strict=False):
        if math.isfinite(at) and math.isfinite(size):
            yield _counter("memory [B]", pid, at, {"bytes": size})


def _memory(result: Result, pid: int, label: str) -> Iterator[Event]:
    """Bytes by part on the fullest device of each pool, for the whole time."""
    named = False
    for pool in result.pools:
        parts = {part: getattr(pool.memory, part) for part in pool.memory.__struct_fields__}
        known = {part: value for part, value in parts.items() if math.isfinite(value) and value > 0.0}
        if known and not named:
            yield _metadata("process_name", pid, 0, {"name": _text(f"{label}: memory" if label else "memory")})
            named = True
        if known:
            yield _counter(f"memory of {pool.name} [B]", pid, 0.0, known)


def _busy(spans: Sequence[Span], places: dict[str, int]) -> Iterator[Event]:
    """How many spans run at once on each resource, wherever that changes."""
    changes: dict[str, dict[float, int]] = {resource: {} for resource in places}
    for span in spans:
        if span.end_s > span.start_s:
            own = changes[span.resource]
            own[span.start_s] = own.get(span.start_s, 0) + 1
            own[span.end_s] = own.get(span.end_s, 0) - 1
    for resource, own in changes.items():
        running = 0
        for at in sorted(own):
            if own[at]:
                running += own[at]
                yield _counter("running", places[resource], at, {"spans": running})


def _power(timeline: Timeline, resource: str, pid: int) -> Iterator[Event]:
    """What one device of a resource draws, wherever that changes."""
    last = math.nan
    for at, power in timeline.power_w(resource):
        drawn = round(power, 3)
        if math.isfinite(drawn) and drawn != last:
            yield _counter("power of a device [W]", pid, at, {"W": drawn})
        last = drawn


def _counters(over_time: OverTime) -> Iterator[Event]:
    for pid, group in enumerate(over_time.groups):
        yield _metadata("process_name", pid, 0, {"name": _text(group.name or "all pools")})
        for track in group.tracks:
            unit = "" if track.dimension in ("count", "number") else symbol(track.dimension)
            name = f"{track.title} [{unit}]" if unit else track.title
            for place, at in enumerate(over_time.at_s.tolist()):
                values = {_text(line.name) or "value": float(line.values[place]) for line in track.lines}
                known = {key: value for key, value in values.items() if math.isfinite(value)}
                if known and math.isfinite(at):
                    yield _counter(name, pid, at, known)


def _counter(name: str, pid: int, at_s: float, values: dict[str, float]) -> Event:
    return {"ph": "C", "name": _text(name), "pid": pid, "tid": 0, "ts": _us(at_s), "args": values}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _us(seconds: float) -> float:
    return round(seconds * US, DIGITS)


def _text(name: str) -> str:
    return plain(name)[:_LONGEST]
