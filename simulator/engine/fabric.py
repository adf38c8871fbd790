"""The Fabric: every transfer and collective of a run, on links that they share max-min fairly.

A flow starts with a latency and then moves bytes at a rate that changes whenever another flow comes or goes on one
of its links. The next completion is one pending SimPy event; a change of rates makes it stale and posts another, so
the cost is one event per change and not one per packet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import simpy

from simulator.engine.tasks import Flow
from simulator.kernels.sharing import max_min_rates

RELATIVE_REST = 1e-12
"""Share of a flow that counts as nothing left: rounding of rate x time."""


class _Moving:
    """A flow whose bytes are under way."""

    __slots__ = ("done", "links", "multiples", "rate", "rest_bytes", "size_bytes")

    def __init__(self, flow: Flow, links: list[int], multiples: list[float], done: simpy.Event) -> None:
        self.size_bytes = self.rest_bytes = flow.size_bytes
        self.links, self.multiples, self.done = links, multiples, done
        self.rate = 0.0


class Fabric:
    """Shared links in a SimPy environment.

    Args:
        env: the environment whose clock is used.
        links: bytes per second of each link by name; positive.
        observe: called with (time [s], flow rates in order of arrival [B/s]) after every change, for tests and plots.

    Raises:
        ValueError: a link without capacity.
    """

    def __init__(
        self,
        env: simpy.Environment,
        links: dict[str, float],
        observe: Callable[[float, Sequence[float]], None] | None = None,
    ) -> None:
        for name, capacity in links.items():
            if not capacity > 0.0:
                raise ValueError(f"link {name!r} carries {capacity} B/s; it must be positive")
        self.env = env
        self._index = {name: i for i, name in enumerate(links)}
        self._capacity = np.array(list(links.values()), np.float64)
        self._carried = np.zeros(len(links))
        self._flows: list[_Moving] = []
        self._since_s = env.now
        self._version = 0
        self._observe = observe

    def carried_bytes(self) -> dict[str, float]:
        """Bytes that each link has carried until now [B]."""
        self._advance()
        return {name: float(self._carried[i]) for name, i in self._index.items()}

    def move(self, flow: Flow) -> simpy.Event:
        """Start ``flow``; the event fires when its last byte has arrived.

        Raises:
            ValueError: negative size or start-up, or a link that does not exist.
        """
        if flow.size_bytes < 0.0 or flow.startup_s < 0.0:
            raise ValueError(f"flow of {flow.size_bytes} B after {flow.startup_s} s; both must be 0 or more")
        for crossing in flow.crossings:
            if crossing.link not in self._index:
                raise ValueError(f"no link {crossing.link!r} in the fabric; there are {', '.join(self._index)}")
        done = self.env.event()
        start = self.env.timeout(flow.startup_s)
        assert start.callbacks is not None
        start.callbacks.append(lambda _: self._join(flow, done))
        return done

    def _join(self, flow: Flow, done: simpy.Event) -> None:
        used = [c for c in flow.crossings if c.multiple > 0.0]
        if flow.size_bytes == 0.0 or not used:
            done.succeed()
            return
        self._advance()
        self._flows.append(_Moving(flow, [self._index[c.link] for c in used], [c.multiple for c in used], done))
        self._share()

    def _advance(self) -> None:
        """Move every flow on to the present time at its rate."""
        span = self.env.now - self._since_s
        self._since_s = self.env.now
        if span <= 0.0:
            return
        for flow in self._flows:
            moved = min(flow.rate * span, flow.rest_bytes)
            flow.rest_bytes -= moved
            for link, multiple in zip(flow.links, flow.multiples, strict=True):
                self._carried[link] += moved * multiple

    def _share(self) -> None:
        """Give every flow its fair rate and post the next completion."""
        self._version += 1
        if not self._flows:
            return
        starts = np.cumsum([0, *(len(flow.links) for flow in self._flows)])
        links = np.array([link for flow in self._flows for link in flow.links], np.int64)
        multiples = np.array([m for flow in self._flows for m in flow.multiples], np.float64)
        rates = max_min_rates(self._capacity, starts, links, multiples)
        next_s = math.inf
        for flow, rate in zip(self._flows, rates, strict=True):
            flow.rate = float(rate)
            next_s = min(next_s, flow.rest_bytes / flow.rate)
        if self._observe is not None:
            self._observe(self.env.now, [flow.rate for flow in self._flows])
        version = self._version
        wake = self.env.timeout(next_s)
        assert wake.callbacks is not None
        wake.callbacks.append(lambda _: self._complete(version, next_s))

    def _complete(self, version: int, span_s: float) -> None:
        """Finish what is finished, unless rates have changed since this was posted."""
        if version != self._version:
            return
        due = [flow.rest_bytes / flow.rate <= span_s * (1.0 + RELATIVE_REST) for flow in self._flows]
        self._advance()
        for flow in self._split(due):
            flow.done.succeed()
        self._share()

    def _split(self, due: list[bool]) -> Iterator[_Moving]:
        """Take the flows that are due out of the moving ones, their last rounding included."""
        finished = [flow for flow, is_due in zip(self._flows, due, strict=True) if is_due]
        self._flows = [flow for flow, is_due in zip(self._flows, due, strict=True) if not is_due]
        for flow in finished:
            for link, multiple in zip(flow.links, flow.multiples, strict=True):
                self._carried[link] += flow.rest_bytes * multiple
            flow.rest_bytes = 0.0
        yield from finished
