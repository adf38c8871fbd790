"""Energy of CPU packages and memory from the RAPL counters of the Linux power capping framework.

Reference: the kernel's Documentation/power/powercap/powercap.rst. Counters hold microjoules, step about once in a
millisecond, and start again at 0 after ``max_energy_range_uj``. Intel and AMD CPUs are read through the same files. A
package holds its cores and caches; DRAM is a domain of its own inside it; ``psys`` holds packages and is left out.
Since Linux 5.10 only root may read them (CVE-2020-8694).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from simulator.calibration.machine.processor import current_clock_hz, times_throttled
from simulator.calibration.machine.system_files import SystemFiles, whole
from simulator.calibration.power.energy import Energy, Ticker

_FOLDER: Final = "sys/class/powercap"
_INTERFACES: Final = ("intel-rapl", "intel-rapl-mmio")
"""Ways to the same counters, the first that has packages is read."""
PERIOD_S: Final = 1.0
"""Time between readings while a meter runs: a counter of 65 kJ wraps after a minute at 1 kW."""


class Domain(NamedTuple):
    """A counter: its name, its folder, and the value after which it starts again [uJ] (0 where not known)."""

    name: str
    place: str
    range_uj: int


class RaplMeter:
    """Energy of all packages, and of their DRAM where it is counted; whoever used it.

    Args:
        clock: seconds.
        period_s: see ``PERIOD_S``.
    """

    def __init__(
        self,
        files: SystemFiles | None = None,
        clock: Callable[[], float] = time.perf_counter,
        period_s: float = PERIOD_S,
    ) -> None:
        self._files = SystemFiles() if files is None else files
        self._clock = clock
        self.domains = _domains(self._files)
        self.missing = _why_not(self._files, self.domains)
        self._ticker = Ticker(period_s, self.sample)
        self._started_s: float | None = None
        self._last: list[int | None] = []
        self._joules: list[float] = []
        self._clocks: list[float] = []
        self._heat = 0

    def start(self) -> None:
        """See ``Meter``."""
        self._ticker.stop()
        self._joules, self._clocks = [0.0 for _ in self.domains], []
        self._heat = times_throttled(self._files)
        self._started_s = self._clock()
        self._last = [self._read(domain) for domain in self.domains]
        self._ticker.start()

    def sample(self) -> None:
        """Add up what the counters went on by since they were last read, and note the clock."""
        self._add()
        self._note_clock()

    def _add(self) -> None:
        for place, domain in enumerate(self.domains):
            before, now = self._last[place], self._read(domain)
            self._joules[place] += _step_j(before, now, domain.range_uj)
            self._last[place] = now

    def _note_clock(self) -> None:
        clock_hz = current_clock_hz(self._files)
        if clock_hz:
            self._clocks.append(clock_hz)

    def stop(self) -> Energy:
        """See ``Meter``; joules are NaN where no counter moved: it stands still, or the time was too short for it."""
        if self._started_s is None:
            raise ValueError("the meter was not started")
        self._ticker.stop()
        self._add()
        seconds, self._started_s = self._clock() - self._started_s, None
        if not self._clocks:
            self._note_clock()
        joules = math.fsum(self._joules)
        return Energy(
            joules=joules if joules else math.nan,
            seconds=seconds,
            clock_hz=math.fsum(self._clocks) / len(self._clocks) if self._clocks else math.nan,
            throttled="heat" if times_throttled(self._files) > self._heat else "",
            source="RAPL",
            parts=tuple((domain.name, spent) for domain, spent in zip(self.domains, self._joules, strict=True)),
        )

    def _read(self, domain: Domain) -> int | None:
        return self._files.number(f"{domain.place}/energy_uj")


def _domains(files: SystemFiles) -> tuple[Domain, ...]:
    """Packages and their DRAM."""
    for interface in _INTERFACES:
        found: list[Domain] = []
        for place in files.names(_FOLDER, f"{interface}:*"):
            package = files.text(f"{place}/name")
            if not package.startswith("package"):
                continue
            found.append(Domain(package, place, files.number(f"{place}/max_energy_range_uj") or 0))
            for below in files.names(_FOLDER, f"{place.rpartition('/')[2]}:*"):
                if files.text(f"{below}/name") == "dram":
                    found.append(Domain(f"dram of {package}", below, files.number(f"{below}/max_energy_range_uj") or 0))
        if found:
            return tuple(found)
    return ()


def _why_not(files: SystemFiles, domains: tuple[Domain, ...]) -> str:
    """Why the counters cannot be read."""
    if not domains:
        return "no RAPL counters under /sys/class/powercap (virtual machines and containers hide them)"
    for domain in domains:
        try:
            text = (files.root / domain.place / "energy_uj").read_text()
        except PermissionError:
            return "permission denied reading energy_uj of RAPL (root only since Linux 5.10)"
        except OSError as error:
            return f"energy_uj of RAPL cannot be read ({error.strerror})"
        if whole(text.strip()) is None:
            return "energy_uj of RAPL holds no number"
    return ""


def _step_j(before: int | None, now: int | None, range_uj: int) -> float:
    """Joules between two readings, at most one turn of the counter apart; NaN where it cannot be told."""
    if before is None or now is None or (now < before and before > range_uj):
        return math.nan
    return (now - before if now >= before else now + range_uj - before) * 1e-6
