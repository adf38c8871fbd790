"""Clocks of a GPU against a model of one: a host that enqueues, streams that work, events that are stamped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from simulator.calibration.cuda_clock import CudaClock, GraphClock, QueuedClock, Uncapturable, clock_for
from simulator.calibration.probes.registry import Machine
from simulator.calibration.timing import HostClock, time_call

US = 1e-6
GAP = 1 * US
"""Between the nodes of a graph."""
LATENCY = 4 * US
"""From a launch to the start of its kernel on an idle device."""
CYCLE = 1e-9


class Stream:
    def __init__(self, name: str) -> None:
        self.name, self.free = name, 0.0

    def wait_stream(self, other: Stream) -> None:
        self.free = max(self.free, other.free)


class FakeTorch:
    """The part of torch that clocks use, with a time of its own and a log of what was done in which order."""

    def __init__(self) -> None:
        self.host = 0.0
        self.log: list[str] = []
        self.main, self.side = Stream("main"), Stream("side")
        self.current = self.main
        self.capturing: Graph | None = None
        self.broken = ""
        self.cuda = SimpleNamespace(
            Event=lambda enable_timing=False: Event(self, enable_timing),
            Stream=lambda: self.side,
            CUDAGraph=lambda: Graph(self),
            synchronize=self.synchronize,
            current_stream=lambda: self.current,
            set_stream=self.set_stream,
            stream=self.stream,
            graph=self.graph,
            _sleep=lambda cycles: self.kernel(cycles * CYCLE, 1 * US, "spin"),
        )

    def kernel(self, seconds: float, dispatch: float, name: str) -> None:
        """Enqueue a kernel of ``seconds``, for which the host needs ``dispatch``."""
        self.log.append(f"{name}@{self.current.name}")
        self.host += dispatch
        if self.capturing is not None:
            if self.broken:
                raise RuntimeError(self.broken)
            self.capturing.seconds += seconds + GAP
            return
        if self.current.free <= self.host:
            self.current.free = self.host + LATENCY
        self.current.free += seconds

    def synchronize(self) -> None:
        self.log.append("synchronize")
        self.host = max(self.host, self.main.free, self.side.free)

    def set_stream(self, stream: Stream) -> None:
        self.current = stream

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph: Graph, stream: Stream) -> Iterator[None]:
        """As torch's: when the capture ends in an error, the stream stays the current one."""
        self.synchronize()
        before, self.current = self.current, stream
        self.log.append(f"begin capture@{self.current.name}")
        self.capturing = graph
        try:
            yield
        finally:
            self.capturing = None
            self.log.append("end capture")
        self.current = before


class Event:
    def __init__(self, torch: FakeTorch, timing: bool) -> None:
        self.torch, self.timing, self.at = torch, timing, -1.0

    def record(self) -> None:
        assert self.torch.capturing is None, "an event of a clock inside a capture"
        self.torch.log.append(f"event@{self.torch.current.name}")
        self.at = max(self.torch.current.free, self.torch.host)

    def query(self) -> bool:
        return self.at <= self.torch.host

    def synchronize(self) -> None:
        self.torch.log.append("wait")
        self.torch.host = max(self.torch.host, self.at)

    def elapsed_time(self, end: Event) -> float:
        assert self.timing and end.timing, "events without timing"
        assert end.query(), "elapsed_time before the end has happened"
        return (end.at - self.at) * 1e3


class Graph:
    def __init__(self, torch: FakeTorch) -> None:
        self.torch, self.seconds = torch, 0.0

    def replay(self) -> None:
        self.torch.kernel(self.seconds, 10 * US, "replay")

    def reset(self) -> None:
        self.torch.log.append("reset")


def calling(torch: FakeTorch, seconds: float, dispatch: float = 8 * US, name: str = "call") -> Callable[[], None]:
    return lambda: torch.kernel(seconds, dispatch, name)


def test_events_stand_around_the_calls_and_the_end_is_waited_for() -> None:
    torch = FakeTorch()
    CudaClock(torch).round_s(calling(torch, 1e-3), 2)
    assert torch.log == ["synchronize", "event@main", "call@main", "call@main", "event@main", "wait"]


@pytest.mark.parametrize(("kernel", "expected"), [(2 * US, 8 * US), (900 * US, 900 * US)])
def test_eager_time_is_the_longer_of_host_and_device(kernel: float, expected: float) -> None:
    torch = FakeTorch()
    assert CudaClock(torch).round_s(calling(torch, kernel), 100) / 100 == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("calls", [1, 32, 77])
def test_queued_calls_wait_for_no_host(calls: int) -> None:
    torch = FakeTorch()
    clock = QueuedClock(torch)
    assert clock.round_s(calling(torch, 2 * US), calls) == pytest.approx(2 * US * calls)
    assert clock.reason == ""


def test_the_spin_grows_until_all_calls_lie_ready() -> None:
    torch = FakeTorch()
    clock = QueuedClock(torch)
    assert clock.round_s(calling(torch, 2 * US, dispatch=300 * US), 32) == pytest.approx(64 * US)
    before = torch.log.count("spin@main")
    clock.round_s(calling(torch, 2 * US, dispatch=300 * US), 32)
    assert before > 5
    assert torch.log.count("spin@main") == before + 1, "what was long enough is kept"


def test_calls_that_wait_for_the_device_are_told_of() -> None:
    torch = FakeTorch()

    def waiting() -> None:
        torch.kernel(2 * US, 8 * US, "call")
        torch.synchronize()

    clock = QueuedClock(torch)
    assert clock.round_s(waiting, 4) > 4 * 2 * US
    assert "waits" in clock.reason


def test_a_graph_is_warmed_up_and_captured_on_the_side_and_replayed_where_the_caller_is() -> None:
    torch = FakeTorch()
    clock = GraphClock(torch)
    clock.round_s(calling(torch, 5 * US), 1)
    begin, end = torch.log.index("begin capture@side"), torch.log.index("end capture")
    warm = torch.log[:begin]
    assert warm.count("call@side") >= 3
    assert "call@main" not in torch.log
    assert torch.log[begin + 1 : end] == ["call@side"] * 64
    assert [word for word in torch.log[end:] if word.startswith("replay")] == ["replay@main"]
    assert torch.current is torch.main
    assert clock.reason == ""


def test_a_node_takes_kernel_and_gap_and_no_launch() -> None:
    torch = FakeTorch()
    timing = time_call(calling(torch, 5 * US, dispatch=40 * US), GraphClock(torch))
    assert timing.median_s == pytest.approx(5 * US + GAP)
    assert timing.rounds >= 5


def test_any_number_of_calls_is_a_share_of_whole_replays() -> None:
    torch = FakeTorch()
    clock, call = GraphClock(torch), calling(torch, 5 * US)
    assert clock.round_s(call, 100) == pytest.approx(100 * (5 * US + GAP))
    assert torch.log.count("replay@main") == 2
    assert clock.round_s(call, 1) == pytest.approx(5 * US + GAP)


def test_operands_take_turns_inside_the_graph() -> None:
    torch = FakeTorch()
    used: list[int] = []

    def call() -> None:
        used.append(len(used) % 8)
        torch.kernel(5 * US, 8 * US, "call")

    GraphClock(torch).round_s(call, 1)
    assert sorted(set(used[-64:])) == list(range(8))


def test_long_calls_make_short_graphs() -> None:
    torch = FakeTorch()
    GraphClock(torch).round_s(calling(torch, 4e-3), 1)
    captured = torch.log[torch.log.index("begin capture@side") : torch.log.index("end capture")]
    assert captured.count("call@side") == 4
    torch = FakeTorch()
    assert GraphClock(torch).round_s(calling(torch, 1.0), 1) == pytest.approx(1.0 + GAP)


def test_one_call_is_captured_once_and_forgotten_for_the_next() -> None:
    torch = FakeTorch()
    clock, one, other = GraphClock(torch), calling(torch, 5 * US), calling(torch, 9 * US)
    for _ in range(3):
        clock.round_s(one, 1)
    assert torch.log.count("begin capture@side") == 1
    assert clock.round_s(other, 1) == pytest.approx(9 * US + GAP)
    assert torch.log.count("begin capture@side") == 2
    assert torch.log.count("reset") == 1


def test_what_cannot_be_captured_is_not_tried() -> None:
    torch = FakeTorch()
    clock = GraphClock(torch)
    call = Uncapturable(calling(torch, 5 * US), "the host decides")
    assert clock.round_s(call, 40) == pytest.approx(40 * 5 * US)
    assert clock.reason == "the host decides"
    assert "begin capture@side" not in torch.log
    assert clock.round_s(calling(torch, 5 * US), 1) == pytest.approx(5 * US + GAP)
    assert clock.reason == ""


def test_a_failed_capture_says_why_and_leaves_the_stream_as_it_was() -> None:
    torch = FakeTorch()
    torch.broken = "CUDA error: operation not permitted when stream is capturing\nmore of it"
    clock = GraphClock(torch)
    call = calling(torch, 5 * US)
    assert clock.round_s(call, 40) == pytest.approx(40 * 5 * US)
    assert clock.reason == "cannot be captured: CUDA error: operation not permitted when stream is capturing"
    assert torch.current is torch.main
    assert "replay@main" not in torch.log
    clock.round_s(call, 1)
    assert torch.log.count("begin capture@side") == 1, "it is not tried again"


def test_a_call_that_fails_by_itself_fails() -> None:
    torch = FakeTorch()

    def call() -> None:
        raise RuntimeError("no such shape")

    with pytest.raises(RuntimeError, match="no such shape"):
        GraphClock(torch).round_s(call, 1)
    assert torch.current is torch.main


def test_the_machine_decides_on_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Any = FakeTorch()
    monkeypatch.setitem(sys.modules, "torch", fake)
    cpu = Machine("cpu", 2, 0.0, 1e9, ("fp32",))
    gpu = Machine("gpu", 2, 0.0, 1e9, ("fp32",))
    assert isinstance(clock_for(cpu), HostClock)
    assert isinstance(clock_for(cpu, graph=True), HostClock)
    assert isinstance(clock_for(gpu), CudaClock)
    assert isinstance(clock_for(gpu, graph=True), GraphClock)


def test_operands_are_made_before_the_side_stream_reads_them() -> None:
    torch = FakeTorch()
    torch.kernel(3e-3, 8 * US, "filling the operands")
    filled = torch.main.free
    begun: list[float] = []

    def call() -> None:
        begun.append(max(torch.current.free, torch.host))
        torch.kernel(5 * US, 8 * US, "call")

    GraphClock(torch).round_s(call, 1)
    assert min(begun) >= filled
