"""The highest rate that holds objectives: bracket it, then bisect.

Every trial has the same requests (common random numbers: lengths as drawn, gaps between arrivals scaled), so that two
rates differ by nothing but the rate. What is found is a pair of rates a tolerance apart, the lower of which held and
the upper of which broke something. More requests a second need not make all of them later (a fuller batch may order
them better), so that the pair bounds the first break above a rate that held; rates below are looked at afterwards.

A run is judged without its beginning, when the queue fills, and its end, when it empties; both halves of the rest must
hold. An overload is told apart from a slow server by length: a queue that grows by a share ``x`` of the time is ``x T``
long after ``T``, so that over ``RUN_BOUNDS`` times the bound an overload of one in ``RUN_BOUNDS`` breaks it. Where no
bound sees the queue, its growth is looked at directly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.serving.slo import Bound, Slo

Floats = npt.NDArray[np.float64]
Rows = Mapping[str, npt.NDArray[Any]]

TOLERANCE: Final = 0.01
"""The rate that held and the one that broke differ by at most this share."""
LEAST_REQUESTS: Final = 2000
"""Requests of a run at least: 20 are above a p99."""
RUN_BOUNDS: Final = 100.0
"""A run lasts so many times the longest bound that sees the queue."""
RUN_ANSWERS: Final = 20.0
"""A run lasts so many times an answer, at least."""
BEGINS: Final = 0.1
ENDS: Final = 0.05
"""Shares of the requests at both ends of a run that are not judged."""
DRIFT: Final = 0.02
"""Growth of a latency that no bound sees, in seconds a second, from which on a run is overloaded."""
_SURE: Final = 3.0
"""Standard errors that a growth must be apart from none."""
_UP: Final = 1.25
_DOWN: Final = 0.8
_FAR: Final = 10.0
"""Steps of the bracket: the first ones up and down, and the largest; each is the square of the one before."""
_LEAST: Final = 1e-4
"""Rates below this share of the first guess are none."""
_MOST_UP: Final = 100.0
"""Rates above so many times the first guess are not tried."""
BELOW: Final = (0.5, 0.8)
"""Shares of the rate found at which is looked whether rates below hold as well."""
OVERLOAD: Final = "overload"
REJECTED: Final = "rejected"
QUEUED: Final = ("ttft", "queue", "e2e")
"""Latencies that a queue before the first token is part of."""
_WHOLE: Final = ("e2e", "tpot")

Judge = Callable[[float], tuple[str, ...]]
"""What a rate [1/s] breaks; nothing where it holds."""


class Trial(NamedTuple):
    """A rate [1/s] that was tried and what it broke."""

    rate_per_s: float
    broken: tuple[str, ...]


class Highest(NamedTuple):
    """The highest rate found that holds [1/s] (0: none does), the lowest above it that was tried and broke (inf: none
    did), what that one broke, the trials in their order, and rates below that broke all the same."""

    rate_per_s: float
    above_per_s: float
    binds: tuple[str, ...]
    trials: tuple[Trial, ...]
    reversals: tuple[Trial, ...] = ()


def highest_rate(
    judge: Judge, guess_per_s: float, *, tolerance: float = TOLERANCE, below: Sequence[float] = BELOW
) -> Highest:  # fmt: skip
    """The highest rate that breaks nothing.

    Args:
        guess_per_s: where to begin, for example the rate of a saturated server [1/s].
        tolerance: the rate that broke is at most this share above the one that held.
        below: shares of the rate found that are looked at as well.
    """
    tried: dict[float, tuple[str, ...]] = {}

    def holds(rate: float) -> bool:
        tried[rate] = judge(rate)
        return not tried[rate]

    low, high = _bracket(holds, guess_per_s)
    while low > 0.0 and high < math.inf and high > low * (1.0 + tolerance):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    found = tuple(Trial(rate, broken) for rate, broken in tried.items())
    looked = tuple(Trial(low * share, judge(low * share)) for share in below) if low > 0.0 else ()
    reversals = [trial for trial in (*found, *looked) if trial.broken and trial.rate_per_s < low]
    return Highest(low, high, tried.get(high, ()), (*found, *looked), tuple(reversals))


def _bracket(holds: Callable[[float], bool], guess: float) -> tuple[float, float]:
    """A rate that holds below one that does not; 0 and inf where there is none."""
    if holds(guess):
        low, step = guess, _UP
        while low < guess * _MOST_UP:
            high = low * step
            if not holds(high):
                return low, high
            low, step = high, min(step * step, _FAR)
        return low, math.inf
    high, step = guess, _DOWN
    while high > guess * _LEAST:
        low = high * step
        if holds(low):
            return low, high
        high, step = low, max(step * step, 1.0 / _FAR)
    return 0.0, high


def fewest(holds: Callable[[int], bool], guess: int, most: int) -> int | None:
    """A number from 1 to ``most`` that holds while the one below it does not, in steps from ``guess`` that double,
    then by bisection; None: not even ``most`` holds."""
    number, step = max(1, min(guess, most)), 1
    fails, good = 0, number
    if holds(number):
        while good > 1 and holds(max(good - step, 1)):
            good, step = max(good - step, 1), 2 * step
        fails = max(good - step, 1) if good > 1 else 0
    else:
        while True:
            if number == most:
                return None
            fails, number = number, min(number + step, most)
            if holds(number):
                break
            step *= 2
        good = number
    while good - fails > 1:
        middle = (good + fails) // 2
        if holds(middle):
            good = middle
        else:
            fails = middle
    return good


def saturated_rate(last_s: Floats) -> float:
    """Requests a second that a saturated server completes, from when requests that were all there at once were done
    [s, NaN for those that never were]: the middle three fifths of them; 0 where too few were."""
    done = np.sort(last_s[np.isfinite(last_s)])
    if not len(done):
        return 0.0
    early, late = int(0.2 * len(done)), int(0.8 * len(done))
    span_s = float(done[late] - done[early]) if late < len(done) else 0.0
    return (late - early) / span_s if span_s > 0.0 else len(done) / float(done[-1])


def run_s(slos: Mapping[str, Slo | None], answer_s: float) -> float:
    """How long a run must last for an overload to show [s].

    Args:
        answer_s: from the arrival of a request to the end of its answer on a busy server.
    """
    needed = RUN_ANSWERS * answer_s
    for slo in slos.values():
        bounds = slo.bounds if slo else ()
        kinds = {bound.kind for bound in bounds}
        if not (kinds & set(QUEUED) and kinds & set(_WHOLE)):
            needed = max(needed, RUN_BOUNDS * answer_s)
        needed = max(needed, *(RUN_BOUNDS * b.seconds for b in bounds if b.kind in QUEUED), 0.0)
    return needed


def judged(rows: Rows) -> dict[str, npt.NDArray[Any]]:
    """The requests that count, in the order of their arrival: without those of the beginning and the end of a run."""
    order = np.argsort(rows["arrival_s"], kind="stable")
    count = len(order)
    kept = order[int(BEGINS * count) : max(count - int(ENDS * count), 1)]
    return {name: values[kept] for name, values in rows.items()}


def broken(rows: Rows, slos: Mapping[str, Slo | None], *, halves: bool = True) -> tuple[str, ...]:
    """What requests break: bounds ("ttft@p99", of a tenant "chat: ttft@p99"), "rejected", "overload".

    Args:
        rows: columns of the requests in the order of their arrival, [n]; those without an answer break every bound.
        slos: objectives by tenant, in the order of their numbers in ``rows["tenant"]``.
        halves: each half of the requests must hold, and no latency without a bound may grow; else all are judged
            together, as where the rate changes with time.
    """
    found: dict[str, None] = {}
    for number, (tenant, slo) in enumerate(slos.items()):
        mine = rows
        if len(slos) > 1 and "tenant" in rows:
            of_tenant = rows["tenant"] == number
            mine = {name: values[of_tenant] for name, values in rows.items()}
        begins = f"{tenant}: " if tenant else ""
        found |= dict.fromkeys(each if each == OVERLOAD else begins + each for each in _of_tenant(mine, slo, halves))
    return tuple(found)


def _of_tenant(rows: Rows, slo: Slo | None, halves: bool) -> list[str]:
    bounds = slo.bounds if slo else ()
    count = len(rows["completed"])
    if not count:
        return []
    least = max((bound.share for bound in bounds), default=0.99)
    if float(np.mean(rows["completed"])) < least:
        return [REJECTED]
    pieces = [rows]
    if halves and count > 1:
        cuts = slice(None, count // 2), slice(count // 2, None)
        pieces = [{name: values[cut] for name, values in rows.items()} for cut in cuts]
    found = [
        name_of(bound) for bound in bounds if any(kept_share(piece, bound) < bound.share for piece in pieces)
    ]  # fmt: skip
    if halves and _grows(rows, {bound.kind for bound in bounds}):
        found.append(OVERLOAD)
    return found


def name_of(bound: Bound) -> str:
    """A bound without its time: "ttft@p99"."""
    return f"{bound.kind}@p{100.0 * bound.share:g}"


def kept_share(rows: Rows, bound: Bound) -> float:
    """Share of the requests that keep a bound; one without such a latency keeps it, one without an answer does not."""
    values = rows[f"{bound.kind}_s"]
    return float(np.mean(((values <= bound.seconds) | ~np.isfinite(values)) & rows["completed"]))


def _grows(rows: Rows, kinds: set[str]) -> bool:
    """Whether a latency that no bound sees grows from the third to the last quarter."""
    unseen = [name for name, seen in (("queue_s", QUEUED), ("e2e_s", _WHOLE)) if not kinds & set(seen)]
    return any(_growth(rows["arrival_s"], rows[name]) for name in unseen)


def _growth(arrival_s: Floats, values: Floats) -> bool:
    known = np.isfinite(values) & np.isfinite(arrival_s)
    at, values = arrival_s[known], values[known]
    half, three = len(at) // 2, 3 * len(at) // 4
    if three - half < 2:
        return False
    before, after = values[half:three], values[three:]
    grown = float(after.mean() - before.mean())
    span_s = float(at[three:].mean() - at[half:three].mean())
    error = math.sqrt(float(before.var()) / len(before) + float(after.var()) / len(after))
    return grown > DRIFT * span_s and grown > _SURE * error
