"""Steps through pipeline stages whose launches a full queue holds up, for whole arrays.

One host launches step after step, stage after stage, ahead of the devices, and blocks while the queue of a device is
full. With room for the launches of q steps on each stage, that of step k (from 0) is done when the stage has worked off
k + 1 - q steps; the host begins no later stage, and no later step, before. Room for many steps lets the stages work
side by side, room for less than one lets hardly two of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy")
def all_queued(
    first: Any, servers: Any, repeats: Any, room: Any, in_flight: int, followed: int, out: Any
) -> None:  # fmt: skip
    """When the last step of each batch has passed all servers, into ``out`` [n].

    Steps are followed one by one, of each kind up to ``followed`` rounds; any more take as long as the last of these.

    Args:
        first: where the steps of each batch begin, shape [n + 1].
        servers: seconds of each step on its host, then stages and sends in turn, shape [steps, 2 x stages].
        repeats: of each step.
        room: steps whose launches the queue of a stage holds, shape [steps].
        in_flight: steps at once; 0: no limit.
        followed: rounds that are followed one by one.
    """
    count = servers.shape[1]
    stages = count // 2
    width = in_flight if in_flight > 0 else stages
    free, left = np.zeros(count), np.zeros(width)
    for i in range(first.shape[0] - 1):
        free[:] = 0.0
        left[:] = 0.0
        kept = math.ceil(room[first[i] : first[i + 1]].max()) + 2
        begins, ends = np.zeros((kept, stages)), np.zeros((kept, stages))
        launched_s = rest_s = 0.0
        number = 0
        for s in range(first[i], first[i + 1]):
            jobs = max(1, int(np.rint(min(repeats[s], float(followed * width)))))
            half_s = free[-1]
            for job in range(jobs):
                if job == jobs // 2:
                    half_s = free[-1]
                before_s = max(launched_s, left[0]) if in_flight > 0 else launched_s
                launched_s = _launched(servers[s], room[s], number, before_s, free, begins, ends)
                left[:-1] = left[1:].copy()
                left[-1] = free[-1]
                number += 1
            rest_s += (repeats[s] - jobs) * (free[-1] - half_s) / (jobs - jobs // 2)
        out[i] = free[-1] + rest_s


@njit(cache=True, error_model="numpy")
def _launched(
    seconds: Any, room: float, number: int, before_s: float, free: Any, begins: Any, ends: Any
) -> float:  # fmt: skip
    """Launch step ``number`` on every stage, once it is ``before_s``; when its last launch is in a queue [s].

    Args:
        seconds, free: of the step on each server, and when each is free (changed), shape [2 x stages].
        begins, ends: of the last steps on each stage, a ring (changed), shape [kept, stages].
    """
    kept, stages = begins.shape
    ready_s = launched_s = max(free[0], before_s) + seconds[0]
    free[0] = ready_s
    worked_off = number + 1.0 - room
    for stage in range(stages):
        server = 1 + 2 * stage
        begin_s = max(ready_s, free[server], launched_s)
        ready_s = free[server] = begin_s + seconds[server]
        begins[number % kept, stage], ends[number % kept, stage] = begin_s, ready_s
        if worked_off > 0.0:
            place = math.ceil(worked_off) - 1
            begin_s, end_s = begins[place % kept, stage], ends[place % kept, stage]
            launched_s = max(launched_s, begin_s + (worked_off - place) * (end_s - begin_s))
        if stage < stages - 1:
            ready_s = free[server + 1] = max(ready_s, free[server + 1]) + seconds[server + 1]
    return float(launched_s)
