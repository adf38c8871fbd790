"""A calibration run: probes take turns until their cases are done or the time is up; what was measured is kept.

The samples are written every few seconds, so that a run that is killed goes on where it was: cases whose measurements
are in the file already are not measured again.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from simulator.calibration.cuda_clock import clock_for
from simulator.calibration.power.energy import Meter
from simulator.calibration.power.operator_power import power_during
from simulator.calibration.probes.other_calls import other_call
from simulator.calibration.probes.registry import Call, Case, Machine, Probe
from simulator.calibration.samples import Measurement, Samples, write_samples
from simulator.calibration.timing import AmidOthers, Clock, Timing, time_call

_SAVE_EVERY_S: Final = 5.0
_CASE_S: Final = {False: 0.07, True: 0.03}
"""Most seconds of one visit of a case by ``Machine.quick``; long calls take a few times that."""
VISITS: Final = 3
"""Times that a case is measured."""
_DISTURBED: Final = 0.25
"""Visits that differ by more than this share: something else had the machine."""
_LEAST_BUSY: Final = 0.9
"""Part of the meter's time that calls must take: power between them would be counted as theirs."""
_ALONE: Final = ("dispatch", "scaling")
"""Variants that are timed in a loop of their own."""
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
    _saved: float = 0.0
    _visits: dict[str, list[Measurement]] = field(default_factory=dict)
    _places: dict[str, int] = field(default_factory=dict)
    _others: dict[str, Call] = field(default_factory=dict)
    _failed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._places.update({each.key: place for place, each in enumerate(self.measurements)})

    @property
    def left_s(self) -> float:
        """Seconds until the time is up."""
        return self.deadline - time.perf_counter()

    def run(self, work: Sequence[tuple[Probe, Case]]) -> None:
        """Measure cases in order; what is known already, and what does not fit into memory, is passed over.

        All cases are visited several times, some time apart, and the middle visit counts: clocks and neighbours of a
        shared machine come and go over seconds, which no repetition on the spot shows.
        """
        known = {each.key for each in self.measurements}
        todo = [pair for pair in work if pair[1].bytes <= self.machine.memory_bytes and self._key(*pair) not in known]
        for visit in range(VISITS):
            for number, (probe, case) in enumerate(todo):
                if self.left_s <= 0.0:
                    break
                self.tell(f"{probe.name} {case.operator.name} {case.operator.dtype}", visit * len(todo) + number,
                          VISITS * len(todo))  # fmt: skip
                self._visit(probe, case)
                if time.perf_counter() - self._saved > _SAVE_EVERY_S:
                    self.save(done=False)
        self.tell("", len(todo), len(todo))

    def _key(self, probe: Probe, case: Case) -> str:
        runtime = probe.runtime.get(self.machine.target, "")
        return Measurement(probe.name, case.operator, 1.0, 1.0, 1.0, 1, runtime, case.variant, case.threads).key

    def _visit(self, probe: Probe, case: Case) -> None:
        """Time a case once more; the middle of its visits is kept as its measurement."""
        key = self._key(probe, case)
        if key in self._failed:
            return
        measured = self._measured(probe, case, probe.runtime.get(self.machine.target, ""))
        if measured is None:
            self._failed.add(key)
            return
        visits = self._visits.setdefault(key, [])
        visits.append(measured)
        place = self._places.setdefault(key, len(self.measurements))
        self.measurements[place : place + 1] = [middle_of(visits)]

    @property
    def disturbed_share(self) -> float:
        """Part of the cases visited more than once of which one visit took much longer than another."""
        spreads = [
            max(each.time_s for each in visits) / min(each.time_s for each in visits)
            for visits in self._visits.values()
            if len(visits) > 1
        ]
        return sum(spread > 1.0 + _DISTURBED for spread in spreads) / max(len(spreads), 1)

    def _measured(self, probe: Probe, case: Case, runtime: str) -> Measurement | None:
        """The measurement of a case; None where it cannot run, for which the first reason is kept."""
        budget_s = min(_CASE_S[self.machine.quick], max(self.left_s, 0.0))
        try:
            call = case.prepare()
            clock = self._clock(probe, case)
            try:
                timing = time_call(call, clock, width=_WIDTH, budget_s=budget_s)
            finally:
                del call
        except (RuntimeError, NotImplementedError, TypeError, MemoryError, OSError) as error:
            self.failures.setdefault(probe.name, f"{case.operator.name} {case.operator.dtype}: {_first_line(error)}")
            return None
        return measurement(probe.name, case, runtime, timing)

    def _clock(self, probe: Probe, case: Case) -> Clock:
        """The clock of a case: on a CPU, calls of a runtime come between others, as in a model."""
        library = probe.name.partition(".")[0]
        if self.machine.target == "cpu" and probe.runtime and case.variant not in _ALONE:
            if library not in self._others:
                self._others[library] = other_call(library, self.machine)
            return AmidOthers(self._others[library])
        return clock_for(self.machine, case.graph)

    def measure_power(self, meter: Meter, work: Sequence[tuple[Probe, Case]]) -> None:
        """Read the power of the device under the longest case of each probe and dtype that was measured."""
        if meter.missing:
            return
        longest: dict[tuple[str, str], tuple[Probe, Case, int]] = {}
        for probe, case in work:
            place = self._places.get(self._key(probe, case))
            if place is None:
                continue
            key = (probe.name, case.operator.dtype)
            known = longest.get(key)
            if known is None or self.measurements[place].time_s > self.measurements[known[2]].time_s:
                longest[key] = (probe, case, place)
        for number, (probe, case, place) in enumerate(longest.values()):
            self.tell(f"power {probe.name} {case.operator.dtype}", number, len(longest))
            try:
                reading = power_during(meter, case.prepare(), clock_for(self.machine, case.graph))
            except (RuntimeError, NotImplementedError, TypeError, MemoryError, OSError) as error:
                self.failures.setdefault("power", _first_line(error))
                continue
            if reading.busy > _LEAST_BUSY:
                self.measurements[place] = replace(
                    self.measurements[place], power_w=reading.mean_w, clock_hz=reading.clock_hz
                )

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
        probe, case.operator, timing.mean_s, timing.low_s, timing.high_s, timing.rounds, runtime, case.variant,
        case.threads, math.nan, math.nan, datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


def middle_of(visits: Sequence[Measurement]) -> Measurement:
    """The visit with the middle time (of two the faster one); its interval covers the times of all visits."""
    ordered = sorted(visits, key=lambda each: each.time_s)
    middle = ordered[(len(ordered) - 1) // 2]
    return replace(
        middle, low_s=min(middle.low_s, ordered[0].time_s), high_s=max(middle.high_s, ordered[-1].time_s),
        repeats=sum(each.repeats for each in visits),
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
