"""Transfers over message size: ping-pong for the latency, streams each way for the bandwidth.

A ping-pong row is half a round trip. A row of a stream is the time of one message among many that follow each other,
with one answer at the end. Times are medians with their 95% intervals (``simulator.calibration.timing``); they include
what Python's calls take, some microseconds.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from hardware_specs.errors import InputError, UnknownName
from simulator.calibration.network_probe.channels import Channel
from simulator.calibration.network_probe.local import TRANSPORTS, missing, second_process
from simulator.calibration.network_probe.protocol import (
    MOST_BYTES,
    MOST_MESSAGES,
    Word,
    greet,
    ping_pong,
    pull,
    push,
    send_header,
)
from simulator.calibration.network_probe.remote import connected_to
from simulator.calibration.samples import Measurement
from simulator.calibration.timing import FEWEST_ROUNDS, Timing, summary
from workloads.operators import transfer

SIZES: Final = tuple(4**k for k in range(14))
"""Message sizes, 1 B to 64 MiB [B]."""
WIDTH: Final = 0.05
"""Relative width of the interval at which a size is known well enough."""
_FEWEST_OF_LONG: Final = 3
"""Rounds of sizes for which ``FEWEST_ROUNDS`` are more than the budget holds."""
_WARM_ROUNDS: Final = 2
_STREAM_S: Final = 0.01
"""Shortest stream that is timed [s]: its answer must be small beside it."""
_GUESSES: Final = 4
"""Attempts at the length of a stream: a buffer swallows a short one, which then seems too fast."""
_MOST_ROUNDS: Final = 500
_PATIENCE: Final = 4.0
_GRACE_S: Final = 0.25
"""The fewest rounds of a size may take so many times its share of the budget, and so many seconds more; larger sizes
are left out."""
_LARGE: Final = 1 << 20
"""Message from which on the bandwidth decides its time, whatever the latency is [B]."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class NetworkReport:
    """What was measured, what was left out and why, and between which ends."""

    measurements: tuple[Measurement, ...]
    skipped: tuple[str, ...]
    about: Mapping[str, str]


def measure_network(
    connect: str = "",
    *,
    transports: Sequence[str] = TRANSPORTS,
    sizes: Sequence[int] = SIZES,
    budget_s: float = 20.0,
    progress: Progress = lambda what, done, of: None,
) -> NetworkReport:
    """Latency and bandwidth between two processes of this host, or to the host that listens at ``connect``.

    Args:
        connect: "HOST:PORT" of ``silicost calibrate network --listen``; "": two processes of this host.
        transports: ways between two processes of this host; no say where ``connect`` is given (TCP).
        sizes: of messages [B].
        budget_s: seconds that all of it may take, about.
        progress: told what is measured, how much is done and of how much.

    Raises:
        InputError: unknown transports, sizes or a budget that make no sense, or a broken connection.
    """
    for name in transports:
        if name not in TRANSPORTS:
            raise UnknownName("transport", name, TRANSPORTS, f"there are {', '.join(TRANSPORTS)}")
    if not sizes or any(not 1 <= size <= MOST_BYTES for size in sizes):
        raise InputError(f"message sizes {list(sizes)!r}: must be whole numbers from 1 to {MOST_BYTES} bytes")
    if not 0.0 < budget_s < math.inf:
        raise InputError(f"budget {budget_s!r} s: must be above zero")
    ordered = sorted(set(sizes))
    found, skipped = list[Measurement](), list[str]()
    about = {"host": platform.node(), "system": platform.platform(), "python": platform.python_version()}
    if connect:
        with connected_to(connect) as (channel, peer):
            about["peer"] = peer
            probe = _Probe(channel, peer, "tcp", budget_s / (3 * len(ordered)), skipped, progress)
            found += probe.over(ordered)
        return NetworkReport(tuple(found), tuple(skipped), about)
    usable = [name for name in transports if not missing(name)]
    skipped += [f"{name}: {missing(name)}" for name in transports if missing(name)]
    share_s = budget_s / (3 * len(ordered) * max(len(usable), 1))
    for name in usable:
        with second_process(name, 10.0 * budget_s + 600.0) as channel:
            found += _Probe(channel, name, name, share_s, skipped, progress).over(ordered)
    return NetworkReport(tuple(found), tuple(skipped), about)


def _expected_s(points: Sequence[tuple[int, float]], size: int) -> float:
    """Time of a larger message than those measured, by the last two of them; 0 where they do not say [s]."""
    if not points:
        return 0.0
    last, last_s = points[-1]
    if len(points) == 1:
        return last_s * size / last if last >= _LARGE else 0.0
    before, before_s = points[-2]
    return last_s + max(last_s - before_s, 0.0) / (last - before) * (size - last)


class _Probe:
    """Measures one channel; ``share_s`` is the budget of one size in one mode [s]."""

    def __init__(
        self, channel: Channel, peer: str, transport: str, share_s: float, skipped: list[str], progress: Progress
    ) -> None:
        self.channel, self.peer, self.transport = channel, peer, transport
        self.share_s, self.skipped, self.progress = share_s, skipped, progress

    def over(self, sizes: Sequence[int]) -> list[Measurement]:
        """All sizes, the smallest first; those that would take too long are left out."""
        greet(self.channel, self.peer)
        buffer = memoryview(bytearray(sizes[-1]))
        found: list[Measurement] = []
        points: list[tuple[int, float]] = []
        for number, size in enumerate(sizes):
            if _FEWEST_OF_LONG * 2.0 * _expected_s(points, size) > _PATIENCE * self.share_s + _GRACE_S:
                self.skipped.append(f"{self.transport}: {size} bytes and more would take longer than the budget")
                break
            self.progress(f"{self.transport} {size} bytes", number, len(sizes))
            message = buffer[:size]
            latency = self._ping_pong(message)
            points.append((size, latency.median_s))
            found.append(self._measurement("pingpong", size, latency))
            found.append(self._measurement("stream", size, self._stream(message, push, latency.median_s)))
            found.append(self._measurement("stream.back", size, self._stream(message, pull, latency.median_s)))
        send_header(self.channel, Word.BYE)
        return found

    def _ping_pong(self, message: memoryview) -> Timing:
        first = ping_pong(self.channel, self.peer, message, _WARM_ROUNDS)[-1]
        times: list[float] = []
        batch = max(1, min(50, int(0.2 * self.share_s / max(2.0 * first, 1e-7))))
        while not self._enough(times, 2.0 * sum(times)):
            times += ping_pong(self.channel, self.peer, message, batch)
        return summary(np.array(times))

    def _stream(
        self, message: memoryview, way: Callable[[Channel, str, memoryview, int], float], latency_s: float
    ) -> Timing:
        # The answer takes a latency; of the stream it must be a hundredth.
        wanted_s = min(max(_STREAM_S, 100.0 * latency_s), max(self.share_s / FEWEST_ROUNDS, _STREAM_S))
        count = min(max(math.ceil(wanted_s / latency_s / 4.0), 1), MOST_MESSAGES)
        for _ in range(_GUESSES):
            each = way(self.channel, self.peer, message, count)
            if count * each > 0.5 * wanted_s:
                break
            count = min(math.ceil(wanted_s / max(each, 1e-9)), MOST_MESSAGES)
        times: list[float] = []
        while not self._enough(times, count * sum(times)):
            times.append(way(self.channel, self.peer, message, count))
        return summary(np.array(times))

    def _enough(self, times: Sequence[float], spent_s: float) -> bool:
        if len(times) < FEWEST_ROUNDS:
            return len(times) >= _FEWEST_OF_LONG and spent_s > self.share_s
        if spent_s > self.share_s or len(times) >= _MOST_ROUNDS:
            return True
        return summary(np.array(times)).width < WIDTH

    def _measurement(self, mode: str, size: int, timing: Timing) -> Measurement:
        return Measurement(
            "network", transfer(self.transport, float(size)), timing.median_s, timing.low_s, timing.high_s,
            timing.rounds, variant=f"{self.transport}.{mode}", at=datetime.now(UTC).isoformat(timespec="seconds"),
        )  # fmt: skip
