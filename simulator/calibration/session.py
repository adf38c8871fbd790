"""A calibration run: probes take turns until their cases are done or the time is up; what was measured is kept.

The samples are written every few seconds, so that a run that is killed goes on where it was: cases whose measurements
are in the file already are not measured again.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from simulator.calibration.probes.registry import Case, Machine, Probe
from simulator.calibration.samples import Measurement, Samples, write_samples
from simulator.calibration.timing import Clock, HostClock, Timing, time_call

_SAVE_EVERY_S: Final = 5.0
_CASE_S: Final = {False: 0.13, True: 0.06}
"""Most seconds of one visit of a case by ``Machine.quick``; long calls take a few times that."""
_VISITS: Final = 2
_AGREE: Final = 0.05
"""Visits whose medians differ by more than this were disturbed: another one decides."""
_WIDTH: Final = 0.03
"""Width of the 95% interval of a median, relative to it, at which a case is done."""

Tell = Callable[[str, int, int], None]
"""Told the name of a case, how many are done and how many there are."""


@dataclass
class Session:
    """Measurements of one machine as they come.

    Args:
        machine: what probes must know.
        environment: description of the machine, kept with the samples.
        path: file of the samples; None: they are not kept.
        measurements: what is there already.
        deadline: when to stop, on the clock of ``time.perf_counter``.
        tell: told of progress.
        failures: why cases could not be measured, by probe.
    """

    machine: Machine
    environment: dict[str, str]
    path: Path | None
    deadline: float
    measurements: list[Measurement] = field(default_factory=list)
    tell: Tell = lambda name, done, of: None
    failures: dict[str, str] = field(default_factory=dict)
    clock: Clock = field(default_factory=HostClock)
    _saved: float = 0.0
    _medians: dict[str, list[float]] = field(default_factory=dict)
    _places: dict[str, int] = field(default_factory=dict)
    _failed: set[str] = field(default_factory=set)

    @property
    def left_s(self) -> float:
        """Seconds until the time is up."""
        return self.deadline - time.perf_counter()

    def run(self, work: Sequence[tuple[Probe, Case]]) -> None:
        """Measure cases in order; what is known already, and what does not fit into memory, is passed over.

        All cases are visited twice, some time apart, and once more where the two differ: whatever else runs on the
        machine can only slow a call down, so the fastest visit counts.
        """
        known = {each.key for each in self.measurements}
        todo = [pair for pair in work if pair[1].bytes <= self.machine.memory_bytes and self._key(*pair) not in known]
        for visit in range(_VISITS + 1):
            for number, (probe, case) in enumerate(todo):
                if self.left_s <= 0.0:
                    break
                self.tell(f"{probe.name} {case.operator.name} {case.operator.dtype}", visit * len(todo) + number,
                          (_VISITS + 1) * len(todo))  # fmt: skip
                if visit < _VISITS or self._disturbed(probe, case):
                    self._visit(probe, case)
                if time.perf_counter() - self._saved > _SAVE_EVERY_S:
                    self.save(done=False)
        self.tell("", len(todo), len(todo))

    def _key(self, probe: Probe, case: Case) -> str:
        runtime = probe.runtime.get(self.machine.target, "")
        return Measurement(probe.name, case.operator, 1.0, 1.0, 1.0, 1, runtime, case.variant, case.threads).key

    def _visit(self, probe: Probe, case: Case) -> None:
        """Time a case once more; the fastest visit is kept as its measurement."""
        key = self._key(probe, case)
        if key in self._failed:
            return
        measured = self._measured(probe, case, probe.runtime.get(self.machine.target, ""))
        if measured is None:
            self._failed.add(key)
            return
        self._medians.setdefault(key, []).append(measured.time_s)
        place = self._places.get(key)
        if place is None:
            self._places[key] = len(self.measurements)
            self.measurements.append(measured)
        elif measured.time_s < self.measurements[place].time_s:
            self.measurements[place] = measured

    def _disturbed(self, probe: Probe, case: Case) -> bool:
        """Whether the visits of a case differ by more than noise."""
        medians = self._medians.get(self._key(probe, case), [])
        return len(medians) > 1 and max(medians) > (1.0 + _AGREE) * min(medians)

    @property
    def disturbed_share(self) -> float:
        """Part of the cases visited more than once whose visits differ by more than noise."""
        often = [medians for medians in self._medians.values() if len(medians) > 1]
        return sum(max(m) > (1.0 + _AGREE) * min(m) for m in often) / max(len(often), 1)

    def _measured(self, probe: Probe, case: Case, runtime: str) -> Measurement | None:
        """The measurement of a case; None where it cannot run, for which the first reason is kept."""
        budget_s = min(_CASE_S[self.machine.quick], max(self.left_s, 0.0))
        try:
            call = case.prepare()
            try:
                timing = time_call(call, self.clock, width=_WIDTH, budget_s=budget_s)
            finally:
                del call
        except (RuntimeError, NotImplementedError, TypeError, MemoryError, OSError) as error:
            self.failures.setdefault(probe.name, f"{case.operator.name} {case.operator.dtype}: {_first_line(error)}")
            return None
        return measurement(probe.name, case, runtime, timing)

    def save(self, done: bool) -> None:
        """Write the samples; ``done`` says that nothing is left to measure."""
        if self.path is not None:
            about = {**self.environment, "complete": "yes" if done else "no"}
            write_samples(self.path, Samples(tuple(self.measurements), about))
        self._saved = time.perf_counter()
        gc.collect()


def measurement(probe: str, case: Case, runtime: str, timing: Timing) -> Measurement:
    """A timed case as a row."""
    return Measurement(
        probe, case.operator, timing.median_s, timing.low_s, timing.high_s, timing.rounds, runtime, case.variant,
        case.threads, math.nan, math.nan, datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


def in_turns(probes: Iterable[Probe], cases: Callable[[Probe], Iterable[Case]]) -> list[tuple[Probe, Case]]:
    """All cases, probes taking turns by how many each has, and each probe's cases spread over its whole list.

    Wherever the time ends, each probe has measured some of every part of its design: cases go by the van der Corput
    sequence (their place, its binary digits reversed).
    """
    ranked = []
    for order, probe in enumerate(probes):
        listed = sorted(enumerate(cases(probe)), key=lambda each: _reversed_bits(each[0]))
        for place, (_, case) in enumerate(listed):
            ranked.append(((place + 0.5) / len(listed), order, probe, case))
    return [(probe, case) for _, _, probe, case in sorted(ranked, key=lambda each: each[:2])]


def _reversed_bits(number: int) -> str:
    return f"{number:016b}"[::-1]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
