"""Time one call until the median is known well enough.

A call is warmed up, then timed in rounds of as many calls as the clock needs to see them well. When it is known well
enough the 95% interval of the median says, from order statistics, which no outlier moves (David and Nagaraja, Order
Statistics, 3rd ed., 2003, section 7.1). Rounds of several times the median, where something else had the processor, are
counted and left out; the mean of the others is the time of a call, since a model's step is the sum of its calls, slow
ones and quick ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

Floats = npt.NDArray[np.float64]

SHORTEST_ROUND_S: Final = 200e-6
"""Shortest round that is timed: clock and scheduler are below 1% of it."""
FEWEST_ROUNDS: Final = 5
_MOST_ROUNDS: Final = 400
_MOST_AMID: Final = 8
_INTERRUPTED: Final = 3.0
"""Rounds that take so many times the median were interrupted."""


class Clock(Protocol):
    """Times rounds of calls on a device."""

    def round_s(self, call: Callable[[], object], calls: int) -> float:
        """Seconds that ``calls`` calls one after the other take."""

    def now_s(self) -> float:
        """The time of day by which warm-up and budget end [s]; processes that measure together must agree on it."""


class WallTime:
    """What ends warm-up and budget where one process measures: the clock of its host."""

    def now_s(self) -> float:
        """See ``Clock``."""
        return time.perf_counter()


class HostClock(WallTime):
    """The clock of the host, for calls that return when they are done."""

    def round_s(self, call: Callable[[], object], calls: int) -> float:
        """See ``Clock``."""
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return time.perf_counter() - start


class AmidOthers(WallTime):
    """The clock of the host for calls that another one goes before, untimed, as in a model.

    Alone in a loop a call finds its code, its threads and its small operands where it left them, which it never does
    between the other calls of a model.

    Args:
        other: what goes before each call.
    """

    def __init__(self, other: Callable[[], object]) -> None:
        self._other = other

    def round_s(self, call: Callable[[], object], calls: int) -> float:
        """See ``Clock``; at most ``_MOST_AMID`` calls are made, and the others are taken to last as long."""
        made, spent_s = min(calls, _MOST_AMID), 0.0
        for _ in range(made):
            self._other()
            start = time.perf_counter()
            call()
            spent_s += time.perf_counter() - start
        return spent_s * calls / made


class Timing(NamedTuple):
    """Mean and median seconds of a call, the ends of the median's 95% interval, rounds that count, and rounds left out.

    ``low_s`` and ``high_s`` hold the mean, too.
    """

    mean_s: float
    median_s: float
    low_s: float
    high_s: float
    rounds: int
    discarded: int

    @property
    def width(self) -> float:
        """Width of the interval relative to the median."""
        return (self.high_s - self.low_s) / self.median_s


def time_call(
    call: Callable[[], object], clock: Clock, *, width: float = 0.04, budget_s: float = 0.5, warm_s: float = 0.02
) -> Timing:
    """Time ``call`` until the 95% interval of the median is narrower than ``width``, or ``budget_s`` is over.

    At least ``FEWEST_ROUNDS`` rounds are timed, unless a single one takes longer than the budget.
    """
    start_s = clock.now_s()
    each_s = clock.round_s(call, 1)
    while clock.now_s() - start_s < warm_s:
        each_s = clock.round_s(call, 1)
    calls = _calls_of_round(each_s)
    times: list[float] = []
    while len(times) < _MOST_ROUNDS:
        round_s = clock.round_s(call, calls)
        spent_s = clock.now_s() - start_s
        if not times and round_s < 0.5 * SHORTEST_ROUND_S and calls < _calls_of_round(round_s / calls):
            calls = _calls_of_round(round_s / calls)  # a slow first call ended the warm-up
            continue
        times.append(round_s / calls)
        if spent_s > budget_s and (len(times) >= FEWEST_ROUNDS or spent_s > 3.0 * budget_s):
            break
        if len(times) >= FEWEST_ROUNDS and len(times) % 3 == 2 and summary(np.array(times)).width < width:
            break
    return summary(np.array(times))


def _calls_of_round(each_s: float) -> int:
    return max(1, int(np.ceil(SHORTEST_ROUND_S / max(each_s, 1e-9))))


def summary(times: Floats) -> Timing:
    """The mean and the median of ``times`` [s, shape n] and what is known of them; interrupted rounds are left out."""
    kept = np.sort(times[times <= _INTERRUPTED * float(np.median(times))])
    low, high = median_ranks(len(kept))
    mean = float(kept.mean())
    return Timing(
        mean, float(np.median(kept)), min(float(kept[low]), mean), max(float(kept[high]), mean), len(kept),
        len(times) - len(kept),
    )  # fmt: skip


def median_ranks(n: int) -> tuple[int, int]:
    """Ranks (from 0) of the order statistics between which the median lies with 95%; the extremes for few."""
    low = int(binom.ppf(0.025, n, 0.5)) - 1
    return max(low, 0), min(n - 1 - max(low, 0), n - 1)
