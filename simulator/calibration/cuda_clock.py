"""Clocks of a GPU: calls as a framework makes them, calls that lie ready in its queue, calls captured into a graph.

CUDA events lie in the stream of the calls and are stamped by the device itself, to about half a microsecond. Between
them is what takes longer: the host, which enqueues one call after the other, or the device. Kernels alone are timed
behind a kernel that spins until the host has enqueued them all; best of all as nodes of one graph, which the device
walks through without the host. Operands take turns inside a graph as they do outside.

Reference: NVIDIA, CUDA C++ Programming Guide, sections "Events" and "CUDA Graphs"; PyTorch 2.13, notes on CUDA
semantics ("CUDA Graphs": warm-up on a side stream, capture on it, replay anywhere).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from simulator.calibration.probes.registry import Call, Machine
from simulator.calibration.timing import Clock, HostClock, WallTime

_WARM_CALLS: Final = 3
"""Calls before a capture: libraries choose kernels and set up workspaces in the first."""
_MOST_NODES: Final = 64
"""Most calls in a graph: as many as operands take turns at most, so that a replay touches all of them."""
_GRAPH_S: Final = 0.02
"""Longest graph of several calls: what moves memory for longer than a 64th of it fits in no cache."""
_QUEUED: Final = 32
"""Calls that lie ready at once: a few hundred kernels, of the thousand that a queue holds."""
_LEAST_LEAD_S: Final = 2e-5
_MOST_LEAD_S: Final = 0.05
"""Shortest and longest spin in front of calls."""
_SPIN_CYCLES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Uncapturable:
    """A call that no graph can hold, and why: it is timed lying ready in the queue instead."""

    call: Call
    reason: str

    def __call__(self) -> object:
        """Call it."""
        return self.call()


class CudaClock(WallTime):
    """The time of calls as a framework makes them one by one: the host's dispatch or the device's work.

    Args:
        torch: the module, or what behaves like it.
    """

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self.reason = ""

    def round_s(self, call: Call, calls: int) -> float:
        """See ``Clock``."""
        cuda = self._torch.cuda
        start, end = _events(cuda)
        cuda.synchronize()
        start.record()
        for _ in range(calls):
            call()
        end.record()
        return _between_s(start, end)


class QueuedClock(WallTime):
    """The time of the device for calls that all lie in its queue before it begins.

    A kernel spins in front of them. Whether it spun long enough is seen after the last call: the event in front of the
    calls must not have happened yet; if it has, the calls are timed again behind a spin of twice the length.

    Attributes:
        reason: why the time holds waiting for the host nevertheless; "" where it holds none.
    """

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._lead_s = _LEAST_LEAD_S
        self.reason = ""

    def round_s(self, call: Call, calls: int) -> float:
        """See ``Clock``."""
        whole, rest = divmod(calls, _QUEUED)
        pieces = [_QUEUED] * whole + [rest] * (rest > 0)
        return sum(self.behind_spin_s(call, piece, piece) for piece in pieces)

    def behind_spin_s(self, call: Call, calls: int, ready: int) -> float:
        """Seconds of ``calls`` calls, of which the first ``ready`` are enqueued before the device begins."""
        while True:
            seconds, late = self._timed(call, calls, ready)
            if not late:
                return seconds
            if self._lead_s >= _MOST_LEAD_S:
                self.reason = f"the host needs more than {_MOST_LEAD_S:g} s to enqueue {ready} calls, or waits for them"
                return seconds
            self._lead_s *= 2.0

    def _timed(self, call: Call, calls: int, ready: int) -> tuple[float, bool]:
        """Seconds, and whether the device began before ``ready`` calls were enqueued."""
        cuda = self._torch.cuda
        cycles = int(self._lead_s / _spin_cycle_s(self._torch))
        start, end = _events(cuda)
        late = False
        cuda.synchronize()
        cuda._sleep(cycles)
        start.record()
        for number in range(1, calls + 1):
            call()
            if number == ready:
                late = start.query()
        end.record()
        return _between_s(start, end), late


class GraphClock(WallTime):
    """The time of calls inside a graph that is replayed: kernels and the gaps between nodes, no launches.

    A call is captured when it is first timed, and kept, with all that it holds, until another one comes. What cannot be
    captured is timed by ``QueuedClock``.

    Attributes:
        reason: why the call was not captured, or what is wrong with its time; "" where nothing is.
    """

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._queued = QueuedClock(torch)
        self._call: Call | None = None
        self._graph: Any = None
        self._nodes = 0
        self._failure = ""

    @property
    def reason(self) -> str:
        """See the class."""
        return "; ".join(filter(None, (self._failure, self._queued.reason)))

    def round_s(self, call: Call, calls: int) -> float:
        """See ``Clock``; whole graphs are replayed, and their share of the time is given back."""
        if call is not self._call:
            self._take(call)
        if self._graph is None:
            return self._queued.round_s(call, calls)
        replays = -(-calls // self._nodes)
        return self._queued.behind_spin_s(self._graph.replay, replays, 1) * calls / (replays * self._nodes)

    def _take(self, call: Call) -> None:
        """Forget the call before and capture ``call``, if that is possible."""
        if self._graph is not None:
            self._graph.reset()
        self._queued = QueuedClock(self._torch)
        self._call, self._graph, self._failure = call, None, ""
        if isinstance(call, Uncapturable):
            self._failure = call.reason
        else:
            self._capture(call)

    def _capture(self, call: Call) -> None:
        cuda = self._torch.cuda
        side, before = _side_stream(self._torch), cuda.current_stream()
        side.wait_stream(before)
        with cuda.stream(side):
            for _ in range(_WARM_CALLS):
                call()
            each_s = CudaClock(self._torch).round_s(call, _WARM_CALLS) / _WARM_CALLS
        before.wait_stream(side)
        nodes = max(1, min(_MOST_NODES, int(_GRAPH_S / max(each_s, 1e-9))))
        graph = cuda.CUDAGraph()
        try:
            with cuda.graph(graph, stream=side):
                for _ in range(nodes):
                    call()
        except RuntimeError as error:
            self._failure = f"cannot be captured: {(str(error).splitlines() or [type(error).__name__])[0]}"
            return
        finally:
            # A capture that ends with an error leaves its stream the current one.
            cuda.set_stream(before)
        self._graph, self._nodes = graph, nodes


def clock_for(machine: Machine, graph: bool = False) -> Clock:
    """The clock of a case on ``machine``; ``graph``: of a captured one, which on a CPU is the same.

    A clock of graphs holds on to the call that it timed last: one for each case lets go of its memory.
    """
    if machine.torch_device == "cpu":
        return HostClock()
    import torch

    return GraphClock(torch) if graph else CudaClock(torch)


def _events(cuda: Any) -> tuple[Any, Any]:
    return cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)


def _between_s(start: Any, end: Any) -> float:
    """Seconds between two events that were recorded, after the second has happened; torch counts milliseconds."""
    end.synchronize()
    return float(start.elapsed_time(end)) * 1e-3


@cache
def _spin_cycle_s(torch: Any) -> float:
    """Seconds of one cycle of the kernel that spins, measured behind a first one that wakes the clocks."""
    cuda = torch.cuda
    start, end = _events(cuda)
    cuda._sleep(_SPIN_CYCLES)
    start.record()
    cuda._sleep(_SPIN_CYCLES)
    end.record()
    return _between_s(start, end) / _SPIN_CYCLES


@cache
def _side_stream(torch: Any) -> Any:
    """One stream for all captures: libraries keep a workspace for each stream that they have seen."""
    return torch.cuda.Stream()
