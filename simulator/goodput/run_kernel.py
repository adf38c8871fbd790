"""One run after the other, failure by failure: numbers in, numbers out.

Random numbers are SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195), one stream a run, so that a run
does not depend on how many others there are.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from simulator.kernels.jit import law_kernel, law_part

PARTS: Final = ("wall_s", "checkpoint_s", "rework_s", "restart_s", "waiting_s", "interruptions")
"""Columns of the result of ``simulate_runs``."""


@law_part
def _exponential(state: Any, run: int, mean: float) -> float:
    """The next exponential number of a run's stream; advances ``state[run]``."""
    state[run] += np.uint64(0x9E3779B97F4A7C15)
    z = state[run]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    drawn: float = -mean * np.log((np.float64(z >> np.uint64(11)) + 0.5) / 9007199254740992.0)
    return drawn


@law_part
def _wait(now: float, back: Any, repair: float) -> float:
    """How long a job waits for a node at ``now``; ``back``: when broken nodes return, one place more than spares."""
    out, first = 0, 0
    for k in range(back.shape[0]):
        if back[k] > now:
            out += 1
        if back[k] < back[first]:
            first = k
    if out < back.shape[0] - 1:
        back[first] = now + repair
        return 0.0
    for k in range(back.shape[0]):
        if back[k] <= now:
            back[k] = now + repair
            break
    for k in range(back.shape[0]):
        if back[k] < back[first]:
            first = k
    waited: float = max(0.0, back[first] - now)
    return waited


@law_part
def _recover(now: float, rate: float, hardware: float, detect: float, restart: float, repair: float, limited: bool,
             longest: float, state: Any, run: int, back: Any, parts: Any) -> float:  # fmt: skip
    """From a failure at ``now`` until steps run again: the time then; adds to the run's row of ``parts``."""
    while now <= longest:
        parts[run, 5] += 1.0
        now += detect
        parts[run, 3] += detect
        if limited and _exponential(state, run, 1.0) > -np.log(hardware):
            waited = _wait(now, back, _exponential(state, run, repair))
            now += waited
            parts[run, 4] += waited
        fails = _exponential(state, run, 1.0 / rate)
        if fails >= restart:
            parts[run, 3] += restart
            return now + restart
        parts[run, 3] += fails
        now += fails
    return now


@law_kernel
def simulate_runs(work: Any, interval: Any, stall: float, unsafe: float, rate: float, hardware: float, detect: float,
                  restart: float, repair: float, limited: bool, longest: float, state: Any, back: Any,
                  parts: Any) -> None:  # fmt: skip
    """Simulate runs, shape [n]; see ``simulator.goodput.expected`` for the process.

    Args:
        work, interval: seconds of steps of each run, and between its checkpoints.
        hardware: share of failures that take a node away.
        limited: whether spares are; then ``back`` has one place more than there are spares.
        longest: a run is given up at this time.
        state: seeds, uint64, shape [n]; consumed.
        back, parts: working space; result, shape [n, 6], columns ``PARTS``, zeros on entry.
    """
    for run in range(work.shape[0]):
        back[:] = 0.0
        now, done = 0.0, 0.0
        period = interval[run] + stall
        while True:
            left = max(1.0, np.ceil((work[run] - done) / interval[run] * (1.0 - 1e-12)))
            finish = work[run] - done + left * stall + unsafe
            fails = _exponential(state, run, 1.0 / rate) if rate > 0.0 else np.inf
            if fails >= finish:
                now += finish
                parts[run, 1] += left * stall + unsafe
                break
            safe = min(left - 1.0, max(0.0, np.floor((fails - unsafe) / period)))
            done += safe * interval[run]
            parts[run, 1] += safe * stall
            parts[run, 2] += fails - safe * period
            now = _recover(
                now + fails, rate, hardware, detect, restart, repair, limited, longest, state, run, back, parts
            )
            if now > longest:
                now = np.inf
                break
        parts[run, 0] = now
