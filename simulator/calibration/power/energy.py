"""What a meter of energy gives, and what every meter can do."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import NamedTuple, Protocol


class Energy(NamedTuple):
    """Energy between the start and the stop of a meter; NaN: not known.

    Args:
        joules: all of it, idle power included [J].
        seconds: time between the two readings [s].
        clock_hz: mean clock meanwhile [Hz].
        throttled: what held the clocks down meanwhile; "" for nothing, or where nothing says it.
        source: where the energy comes from ("RAPL").
        parts: joules by domain, where several were read.
    """

    joules: float
    seconds: float
    clock_hz: float = math.nan
    throttled: str = ""
    source: str = ""
    parts: tuple[tuple[str, float], ...] = ()

    @property
    def mean_w(self) -> float:
        """Mean power [W]."""
        return self.joules / self.seconds if self.seconds > 0.0 else math.nan


class Meter(Protocol):
    """Reads the energy of a device. One that cannot still starts and stops: it gives NaN."""

    @property
    def missing(self) -> str:
        """Why nothing can be read; "" where it can."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> Energy:
        """What was used since ``start``.

        Raises:
            ValueError: it was not started.
        """


class Ticker:
    """Calls ``tick`` every ``period_s`` on a thread of its own, between ``start`` and ``stop``."""

    def __init__(self, period_s: float, tick: Callable[[], None]) -> None:
        self._period_s, self._tick = period_s, tick
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; the first call comes a period later."""
        self.stop()
        self._ended.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, after a call that is under way."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._ended.wait(self._period_s):
            self._tick()
