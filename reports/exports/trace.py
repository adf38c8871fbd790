"""A timeline in the Trace Event Format that Perfetto and ``chrome://tracing`` open.

Reference: "Trace Event Format", Google, 2016 (complete events "X", counters "C", metadata "M"). A device or link is a
process, an engine of it a thread. Times are microseconds, as the format has them; they are written to a picosecond, so
that short spans keep their length.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from reports.serving import OverTime, ServedCard
from reports.text import labels_of, plain
from simulator.result import Result
from simulator.timeline import Span, Timeline

US: Final = 1e6
"""Microseconds in a second."""
DIGITS: Final = 6
"""Decimals of a microsecond that are written."""
_LONGEST: Final = 200
"""Characters of a name."""
Event = dict[str, Any]


def trace_of(results: Sequence[Result]) -> Iterator[str]:
    """The timelines of ``results`` as the pieces of one JSON text, in an order that depends on nothing but them.

    A span that has no finite start, or ends before it starts, is left out and counted under "otherData". Memory of
    each device stands as a counter that does not move; busy lanes as one that does.
    """
    labels = labels_of(results) if len(results) > 1 else [""]
    left_out = sum(len(result.timeline.spans) - len(_usable(result.timeline)) for result in results)
    about = {
        "made by": "silicost", "versions": sorted({result.silicost_version for result in results}),
        "laws": sorted({result.laws_hash for result in results}),
        "scenarios": [result.scenario_hash for result in results], "spans left out": left_out,
    }  # fmt: skip
    return _written(_events(results, labels), about)


def served_trace_of(card: ServedCard) -> Iterator[str]:
    """What a served run kept over time, as counters: queue, batch, cache, power and so on by pool."""
    about = {"made by": "silicost", "versions": [card.silicost_version], "laws": [card.laws_hash]}
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
        spans = _usable(result.timeline)
        lanes: dict[str, dict[str, int]] = {}
        for span in spans:
            own = lanes.setdefault(span.resource, {})
            own.setdefault(span.lane, len(own))
        places = {resource: pid + place for place, resource in enumerate(lanes, start=1)}
        for resource, own in lanes.items():
            name = f"{label}: {resource}" if label else resource
            yield from _names(places[resource], name, own)
        yield from _memory(result, pid, label)
        for span in spans:
            yield _complete(span, places[span.resource], lanes[span.resource][span.lane])
        yield from _busy(spans, places)
        pid += len(lanes) + 1


def _usable(timeline: Timeline) -> list[Span]:
    """Spans with a finite start and a length that is not negative, in their order."""
    return [span for span in timeline.spans if math.isfinite(span.start_s) and span.start_s <= span.end_s < math.inf]


def _names(pid: int, name: str, lanes: dict[str, int]) -> Iterator[Event]:
    yield _metadata("process_name", pid, 0, {"name": _text(name)})
    yield _metadata("process_sort_index", pid, 0, {"sort_index": pid})
    for lane, tid in lanes.items():
        yield _metadata("thread_name", pid, tid, {"name": _text(lane)})
        yield _metadata("thread_sort_index", pid, tid, {"sort_index": tid})


def _metadata(name: str, pid: int, tid: int, args: dict[str, Any]) -> Event:
    return {"ph": "M", "name": name, "pid": pid, "tid": tid, "ts": 0, "args": args}


def _complete(span: Span, pid: int, tid: int) -> Event:
    """A span; ``amount`` is FLOPs on devices and bytes on links."""
    args = {"amount": span.amount} if math.isfinite(span.amount) else {}
    return {
        "ph": "X", "name": _text(span.name), "cat": _text(span.family) or "none", "pid": pid, "tid": tid,
        "ts": _us(span.start_s), "dur": _us(span.end_s - span.start_s), "args": args,
    }  # fmt: skip


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


def _counters(over_time: OverTime) -> Iterator[Event]:
    for pid, group in enumerate(over_time.groups):
        yield _metadata("process_name", pid, 0, {"name": _text(group.name or "all pools")})
        for track in group.tracks:
            name = f"{track.title} [{track.dimension}]" if track.dimension else track.title
            for place, at in enumerate(over_time.at_s.tolist()):
                values = {_text(line.name) or "value": float(line.values[place]) for line in track.lines}
                known = {key: value for key, value in values.items() if math.isfinite(value)}
                if known and math.isfinite(at):
                    yield _counter(name, pid, at, known)


def _counter(name: str, pid: int, at_s: float, values: dict[str, float]) -> Event:
    return {"ph": "C", "name": _text(name), "pid": pid, "tid": 0, "ts": _us(at_s), "args": values}


def _us(seconds: float) -> float:
    return round(seconds * US, DIGITS)


def _text(name: str) -> str:
    return plain(name)[:_LONGEST]
