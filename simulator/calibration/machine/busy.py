"""Whether something else keeps the machine busy: other processes, other guests of the host, a CPU quota, heat.

Two readings of the kernel's counters and what lies between them. /proc/stat counts ticks of all CPUs
(Documentation/filesystems/proc.rst, section 1.7: user and nice include guests); what this process itself used is taken
off. Where there is no /proc/stat only the load average says something.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from simulator.calibration.machine.allowance import throttled_s
from simulator.calibration.machine.processor import times_throttled
from simulator.calibration.machine.system_files import SystemFiles

NOISY_SHARE: Final = 0.05
"""Share of the cores above which others make times noisy; assumed: below it their work hides in repeat noise."""
NOISY_CORES: Final = 0.5
"""Cores above which they do however many there are; assumed: threads that wait for each other wait for the slowest."""
STEAL_SHARE: Final = 0.02
"""Share of the cores above which what the hypervisor takes makes times noisy; assumed, as above."""
LOADED_SHARE: Final = 0.5
"""Load average per core above which a machine is called busy where nothing else is known; assumed."""
WINDOW_S: Final = 0.5
"""Time over which a machine is looked at; ticks are 10 ms, so that a reading is good to 2% of a core."""
_TICKS_PER_S: Final = 100.0
_FIELDS: Final = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


class Reading(NamedTuple):
    """Counters at one time, in seconds of all CPUs together; None: not known.

    Args:
        at_s: the time [s].
        busy_s, steal_s: for how long CPUs worked, and were taken away by the hypervisor, since the machine started.
        own_s: what this process and the children it has waited for used.
        quota_s: for how long a CPU quota stopped this process.
        heat: times that CPUs were slowed down for heat.
        load: processes that ran or waited to run, on average over a minute.
        cores: logical CPUs.
    """

    at_s: float
    busy_s: float | None
    steal_s: float | None
    own_s: float
    quota_s: float | None
    heat: int
    load: float | None
    cores: int


class Busy(NamedTuple):
    """What was going on in a window of time; None: not known.

    Args:
        seconds: the window [s].
        cores: logical CPUs of the machine.
        others: cores' worth of time that other processes used.
        steal: cores' worth of time that the hypervisor gave to others.
        own: cores' worth of time that this process used.
        quota_share: share of the window in which a CPU quota stopped this process.
        heat: times that CPUs were slowed down for heat.
        load: load average over the minute before.
    """

    seconds: float
    cores: int
    others: float | None
    steal: float | None
    own: float
    quota_share: float | None
    heat: int
    load: float | None

    @property
    def share(self) -> float | None:
        """Share of the machine that other processes used."""
        return None if self.others is None else self.others / self.cores

    @property
    def says(self) -> str:
        """What makes times noisy, in one sentence; "" for a quiet machine."""
        found = []
        if self.others is None:
            if self.load is None:
                return "how busy the machine is cannot be read here"
            if self.load > LOADED_SHARE * self.cores:
                found.append(f"the load average is {self.load:.1f} on {_cores(self.cores)}")
        elif self.others > min(NOISY_SHARE * self.cores, NOISY_CORES):
            found.append(f"other processes use {self.others:.1f} of {_cores(self.cores)}")
        if (self.steal or 0.0) > STEAL_SHARE * self.cores:
            found.append(f"the hypervisor takes {self.steal:.1f} of {_cores(self.cores)} away")
        if (self.quota_share or 0.0) > STEAL_SHARE:
            found.append(f"a CPU quota stops this process {self.quota_share:.0%} of the time")
        if self.heat:
            found.append("CPUs are slowed down for heat")
        return f"{', '.join(found)}; times will be noisy" if found else ""


def own_cpu_s() -> float:
    """Processor time that this process and the children it has waited for used so far [s]."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def read_counters(
    files: SystemFiles | None = None,
    clock: Callable[[], float] = time.monotonic,
    own: Callable[[], float] = own_cpu_s,
    load: Callable[[], float | None] | None = None,
) -> Reading:
    """The counters now.

    Args:
        load: the load average where /proc/loadavg is missing; None: what the operating system says.
    """
    files = SystemFiles() if files is None else files
    busy_s, steal_s, cores = _of_stat(files.text("proc/stat"))
    average = files.text("proc/loadavg").split()
    return Reading(
        at_s=clock(),
        busy_s=busy_s,
        steal_s=steal_s,
        own_s=own(),
        quota_s=throttled_s(files),
        heat=times_throttled(files),
        load=float(average[0]) if average else (load or _load)(),
        cores=cores or os.cpu_count() or 1,
    )


def busy_between(before: Reading, after: Reading) -> Busy:
    """What was going on between two readings.

    Raises:
        ValueError: the second is not later than the first.
    """
    seconds = after.at_s - before.at_s
    if seconds <= 0.0:
        raise ValueError(f"a window needs two readings one after the other, not {seconds!r} s apart")

    def rate(name: str) -> float | None:
        first, last = getattr(before, name), getattr(after, name)
        return None if first is None or last is None else max(last - first, 0.0) / seconds

    own, busy, quota = rate("own_s") or 0.0, rate("busy_s"), rate("quota_s")
    return Busy(
        seconds=seconds,
        cores=after.cores,
        others=None if busy is None else max(busy - own, 0.0),
        steal=rate("steal_s"),
        own=own,
        quota_share=None if quota is None else min(quota, 1.0),
        heat=max(after.heat - before.heat, 0),
        load=before.load,
    )


def busy_over(
    seconds: float = WINDOW_S,
    files: SystemFiles | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    own: Callable[[], float] = own_cpu_s,
    load: Callable[[], float | None] | None = None,
) -> Busy:
    """What goes on while this process sleeps for ``seconds``."""
    before = read_counters(files, clock, own, load)
    sleep(seconds)
    return busy_between(before, read_counters(files, clock, own, load))


def _of_stat(text: str) -> tuple[float | None, float | None, int]:
    """Seconds that all CPUs were busy and stolen, and how many there are."""
    lines = [line.split() for line in text.splitlines()]
    cores = sum(words[0].startswith("cpu") and words[0] != "cpu" for words in lines if words)
    for words in lines:
        if words and words[0] == "cpu" and len(words) > len(_FIELDS):
            ticks = dict(zip(_FIELDS, map(float, words[1:]), strict=False))
            free = ticks["idle"] + ticks["iowait"] + ticks["steal"]
            return (sum(ticks.values()) - free) / _ticks_per_s(), ticks["steal"] / _ticks_per_s(), cores
    return None, None, cores


def _ticks_per_s() -> float:
    try:
        return float(os.sysconf("SC_CLK_TCK"))
    except (AttributeError, ValueError, OSError):
        return _TICKS_PER_S


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def _cores(number: int) -> str:
    return "1 core" if number == 1 else f"{number} cores"
