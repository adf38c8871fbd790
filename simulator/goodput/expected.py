"""Expected time of a run with failures and checkpoints, in closed form.

Failures are a Poisson process of rate l = 1 / MTBF while the job runs or restarts. A period L = t + c is t of work and
a checkpoint that stops it for c; a state is safe w after that. A failure costs a dead time D (detection, waiting), in
which nothing fails, and a restart R, in which something may. Counting the checkpoints that become safe between two
failures, of which there are E[n] = exp(-l w) / (exp(l L) - 1), a long run needs

    wall / work = exp(l w) (exp(l L) - 1) exp(l R) (1 / l + D) / t.

For w = 0 that is exact for every whole number of periods: Daly 2006 (doi:10.1016/j.future.2004.11.016), and with D M.
Bougeret et al. 2011 (doi:10.1145/2063384.2063428). For w > 0 it is the limit of long runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from simulator.goodput.checkpoints import CheckpointTimes

_LARGEST = 700.0


@dataclass(frozen=True)
class Interruptions:
    """What one interruption costs: rate [1/s], dead time before the restart, of which waiting, and the restart [s]."""

    per_s: float
    detect_s: float
    wait_s: float
    restart_s: float

    @property
    def dead_s(self) -> float:
        """Time after a failure in which nothing runs [s]."""
        return self.detect_s + self.wait_s


@dataclass(frozen=True)
class Expected:
    """Expected time of a run [s] and what it went to; the parts sum to ``wall_s``.

    ``restart_s`` holds detection; ``rework_s`` is work that was lost, with its checkpoints.
    """

    wall_s: float
    work_s: float
    checkpoint_s: float
    rework_s: float
    restart_s: float
    waiting_s: float
    interruptions: float


def expected_run(work_s: float, interval_s: float, times: CheckpointTimes, stops: Interruptions) -> Expected:
    """Expected time of ``work_s`` seconds of steps with a checkpoint after each ``interval_s`` of them and at the end.

    Infinite where failures come so often that the run never ends in practice (above exp(700)).
    """
    whole = math.floor(work_s / interval_s * (1.0 + 1e-12)) if interval_s < work_s else 0
    rest = max(0.0, work_s - whole * interval_s)
    rest = rest if rest > 1e-9 * work_s else 0.0
    saved = whole + (1 if rest else 0)
    checkpoint = saved * times.stall_s + times.unsafe_s
    rate = stops.per_s
    if not rate:
        return Expected(work_s + checkpoint, work_s, checkpoint, 0.0, 0.0, 0.0, 0.0)
    longest = rate * (min(interval_s, work_s) + times.stall_s + times.unsafe_s + stops.restart_s)
    if longest > _LARGEST:
        return Expected(math.inf, work_s, checkpoint, math.inf, math.inf, math.inf, math.inf)
    grown = whole * math.expm1(rate * (interval_s + times.stall_s))
    grown += math.expm1(rate * (rest + times.stall_s)) if rest else 0.0
    running = grown * math.exp(rate * times.unsafe_s) / rate + times.unsafe_s
    again = math.expm1(rate * stops.restart_s)
    failures = rate * running * (1.0 + again)
    restart, waiting = running * again + failures * stops.detect_s, failures * stops.wait_s
    rework = max(0.0, running - work_s - checkpoint)
    return Expected(work_s + checkpoint + rework + restart + waiting, work_s, checkpoint, rework, restart, waiting,
                    failures)  # fmt: skip
