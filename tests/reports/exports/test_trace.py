from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reports.exports.trace import served_trace_of, trace_of
from reports.serving import Line, OverTime, ServedCard, Track, Tracks
from simulator.result import Result
from simulator.timeline import Action, RankSteps, Span, Timeline

SCHEMA = Draft202012Validator(json.loads((Path(__file__).parent / "trace_event_schema.json").read_text()))


def traced(*results: Result) -> Any:
    """The trace as programs read it; what is no standard JSON fails."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads("".join(trace_of(results)), parse_constant=refuse)


def with_spans(result: Result, *spans: Span) -> Result:
    return msgspec.structs.replace(result, timeline=Timeline(spans))


def of(trace: Any, phase: str) -> list[Any]:
    return [event for event in trace["traceEvents"] if event["ph"] == phase]


def test_the_schema_can_fail() -> None:
    event = {"ph": "X", "name": "a", "cat": "gemm", "pid": 1, "tid": 0, "ts": 0.0, "dur": -1.0, "args": {}}
    whole = {"displayTimeUnit": "ns", "otherData": {}, "traceEvents": [event]}
    assert not SCHEMA.is_valid(whole)
    assert SCHEMA.is_valid({**whole, "traceEvents": [{**event, "dur": 1.0}]})


def test_traces_keep_the_format(seven: list[Result]) -> None:
    SCHEMA.validate(traced(*seven))


def test_spans_keep_time_place_and_name(seven: list[Result]) -> None:
    result = seven[-1]
    trace = traced(result)
    names = {(e["name"], e["pid"], e["tid"]): e["args"].get("name") for e in of(trace, "M")}
    events = of(trace, "X")
    assert len(events) == len(result.timeline.spans) > 100
    for event, span in zip(events, sorted(result.timeline.spans, key=lambda span: span.start_s), strict=True):
        assert names["process_name", event["pid"], 0] == span.resource
        assert names["thread_name", event["pid"], event["tid"]].removesuffix(" (2)") == span.lane
        work = {"bytes" if span.family == "transfer" else "FLOPs": span.amount} if span.amount else {}
        assert (event["name"], event["cat"], event["args"]) == (span.name, span.family, work)
        assert event["ts"] == pytest.approx(1e6 * span.start_s, abs=1e-6)
        assert event["dur"] == pytest.approx(1e6 * (span.end_s - span.start_s), abs=1e-6)


def test_a_trace_says_what_it_is_of_and_how_much_of_it(one: Result) -> None:
    about = traced(one)["otherData"]
    assert about["titles"] == [one.title]
    assert about["shown [s]"] == [one.timeline.end_s]
    assert about["whole [s]"] == [one.metrics["e2e_s"]]


@given(st.lists(st.tuples(st.floats(0.0, 1e-3), st.floats(0.0, 1e-3)), max_size=30))
def test_spans_of_a_thread_never_overlap(rows: list[tuple[float, float]]) -> None:
    bare = Result("k", "t", "h", 0, "l", "v", {}, {}, msgspec.convert({"weights": 0.0}, type=_memory()), 0.0, True,
                  _energy(), {}, {}, {}, (), ())  # fmt: skip
    events = of(traced(with_spans(bare, *(Span("s", "gemm", "a", "in", at, at + long, 1.0) for at, long in rows))), "X")
    ends: dict[int, float] = {}
    for event in events:
        assert round(event["ts"], 6) >= ends.get(event["tid"], 0.0)
        ends[event["tid"]] = round(event["ts"] + event["dur"], 6)
    assert len(events) == len(rows)


def test_power_of_a_device_is_a_counter(one: Result) -> None:
    first = Span("a", "gemm", "gpu0", "compute", 0.25, 0.75, 1.0, dynamic_j=200.0)
    second = Span("b", "collective", "gpu0", "communication", 0.5, 1.0, 8.0, dynamic_j=50.0)
    timeline = Timeline((first, second), static_w={"gpu0": 90.0})
    trace = traced(msgspec.structs.replace(one, timeline=timeline))
    SCHEMA.validate(trace)
    powers = [(event["ts"], event["args"]["W"]) for event in of(trace, "C") if event["name"].startswith("power")]
    assert powers == [(0.0, 90.0), (2.5e5, 490.0), (5e5, 590.0), (7.5e5, 190.0), (1e6, 90.0)]
    assert [event["args"] for event in of(trace, "X")] == [
        {"FLOPs": 1.0, "dynamic J per device": 200.0}, {"bytes": 8.0, "dynamic J per device": 50.0},
    ]  # fmt: skip


@pytest.mark.parametrize("nothing_j", [0.0, -1e-18, 1e-18])
def test_a_span_that_spends_nothing_leaves_the_power_of_others(nothing_j: float) -> None:
    """Rounding may leave it just below zero."""
    product = Span("a", "gemm", "gpu0", "compute", 0.0, 3.0, 1.0, dynamic_j=900.0)
    exchange = Span("b", "collective", "gpu0", "communication", 1.0, 2.0, 8.0, dynamic_j=nothing_j)
    steps = Timeline((product, exchange), static_w={"gpu0": 100.0}).power_w("gpu0")
    assert steps == [(0.0, 400.0), (1.0, 400.0), (2.0, 400.0), (3.0, 100.0)]


def test_a_pipeline_rank_has_its_schedule_and_its_memory(one: Result) -> None:
    actions = (Action("F", 0, 0, 0.0, 0.1), Action("F", 0, 1, 0.1, 0.2), Action("B", 0, 0, 0.15, 0.4))
    rank = RankSteps(1.0, 1.0, 1.0, 1.0, 0.0, 0.0, actions, (0.0, 0.1), (3e9, 4e9))
    trace = traced(msgspec.structs.replace(one, timeline=Timeline((), (rank,))))
    SCHEMA.validate(trace)
    assert [(event["name"], event["cat"], event["tid"]) for event in of(trace, "X")] == [
        ("F0", "forward", 0), ("F1", "forward", 0), ("B0", "backward", 1),
    ]  # fmt: skip
    held = [event["args"]["bytes"] for event in of(trace, "C") if event["name"] == "memory [B]"]
    assert held == [3e9, 4e9]


def test_memory_is_a_counter_of_its_parts(one: Result) -> None:
    counters = [event for event in of(traced(one), "C") if event["name"].startswith("memory")]
    assert sum(counters[0]["args"].values()) == pytest.approx(one.pools[0].memory.total)


times = st.floats(0, 10)
spans = st.lists(st.builds(lambda start, length, lane: Span("s", "gemm", "gpu0", lane, start, start + length, 1.0),
                           times, times, st.sampled_from(["compute", "host"])), max_size=30)  # fmt: skip


@given(spans)
def test_what_runs_at_once_ends_at_none_and_fills_the_busy_time(many: list[Span]) -> None:
    bare = Result("k", "t", "h", 0, "l", "v", {}, {}, msgspec.convert({"weights": 0.0}, type=_memory()), 0.0, True,
                  _energy(), {}, {}, {}, (), ())  # fmt: skip
    events = [event for event in of(traced(with_spans(bare, *many)), "C") if event["name"] == "running"]
    running = [event["args"]["spans"] for event in events]
    assert all(count >= 0 for count in running)
    assert not running or running[-1] == 0
    at = [event["ts"] for event in events]
    assert at == sorted(at)
    whole = sum(count * (later - now) for count, now, later in zip(running, at, at[1:], strict=False))
    assert whole == pytest.approx(1e6 * sum(span.end_s - span.start_s for span in many), rel=1e-6, abs=1e-3)


def _memory() -> Any:
    from simulator.result import MemoryUse

    return MemoryUse


def _energy() -> Any:
    from simulator.result import Energy

    return Energy(0.0, 0.0, 0.0)


def test_spans_without_a_place_in_time_are_left_out_and_counted(one: Result) -> None:
    good = Span("good", "gemm", "gpu0", "compute", 0.0, 1.0, math.nan)
    bad = [good._replace(start_s=math.nan), good._replace(end_s=math.inf), good._replace(start_s=2.0)]
    trace = traced(with_spans(one, good, *bad))
    SCHEMA.validate(trace)
    assert [event["name"] for event in of(trace, "X")] == ["good"]
    assert of(trace, "X")[0]["args"] == {}
    assert trace["otherData"]["spans left out"] == 3


def test_an_empty_timeline_has_no_spans(one: Result) -> None:
    trace = traced(with_spans(one))
    SCHEMA.validate(trace)
    assert of(trace, "X") == []


def test_hostile_names_are_only_names(one: Result, hostile: str) -> None:
    trace = traced(with_spans(one, Span(hostile, hostile, hostile, hostile, 0.0, 1.0, 0.0)))
    SCHEMA.validate(trace)
    text = "".join(trace_of([with_spans(one, Span(hostile, hostile, hostile, hostile, 0.0, 1.0, 0.0))]))
    text.encode("ascii")
    assert len(of(trace, "X")[0]["name"]) <= 200


def test_a_hundred_thousand_spans_are_small_and_quick(one: Result) -> None:
    many = [Span(f"op {i}", "gemm", f"gpu{i % 8}", "compute", i * 1e-6, (i + 1) * 1e-6, 1e9) for i in range(100_000)]
    began = time.process_time()
    pieces = list(trace_of([with_spans(one, *many)]))
    assert time.process_time() - began < 20.0
    assert sum(map(len, pieces)) < 40e6
    assert "".join(pieces) == "".join(trace_of([with_spans(one, *many)]))


def test_a_served_run_is_counters_by_pool() -> None:
    at = np.array([0.5, 1.5])
    track = Track("Queue", "count", (Line("waiting", np.array([1.0, math.nan])), Line("running", np.array([2.0, 3.0]))))
    card = ServedCard("t", "", "", "", over_time=OverTime(at, 1.0, 2.0, (Tracks("a", (track,)), Tracks("b", (track,)))))
    trace = json.loads("".join(served_trace_of(card)))
    SCHEMA.validate(trace)
    seen: dict[int, list[Any]] = defaultdict(list)
    for event in of(trace, "C"):
        seen[event["pid"]].append((event["ts"], event["args"]))
    assert seen[0] == seen[1] == [(5e5, {"waiting": 1.0, "running": 2.0}), (1.5e6, {"running": 3.0})]
