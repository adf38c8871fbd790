"""Traffic drawn from laws."""

from __future__ import annotations

import numpy as np

from workloads.traffic.arrivals import Arrivals, ClosedLoop
from workloads.traffic.lengths import Lengths
from workloads.traffic.record import Traffic
from workloads.traffic.streams import counted


def draw_traffic(arrivals: Arrivals | ClosedLoop, lengths: Lengths, count: int, seed: int = 0) -> Traffic:
    """``count`` independent requests.

    A longer run with the same seed has the shorter one as its beginning; the times, the prompts and the answers have
    streams of their own, so that one may change without the others.

    Raises:
        InputError: a count or a seed that cannot be.
    """
    prompts, answers = lengths.draw(counted(count), seed)
    if isinstance(arrivals, ClosedLoop):
        return Traffic(np.zeros(count), prompts, answers, arrivals.concurrency)
    return Traffic(arrivals.times(count, seed), prompts, answers)
