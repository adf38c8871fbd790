"""What to know of the user's own calibrations that a result rests on: where they were made, and what has changed.

To predict on one machine what another does is normal use: of another machine a note only says so, and nothing is
compared further. On the same machine other versions, other settings and age are doubts. This machine is read only where
a calibration says on which one it was made.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from hardware_specs.calibrations import Calibrations
from simulator.calibration.machine.drift import OLD_DAYS, Difference, age_days, differences
from simulator.calibration.machine.environment import Environment, read_environment
from simulator.calibration.machine.nvml import Nvml
from simulator.calibration.probes.registry import Target
from simulator.calibration.use import device_class_of, missing_parameters, own_calibration
from simulator.result import Provenance, Result
from simulator.scenario import Scenario

_IDENTITY: Final[Mapping[Target, str]] = {
    "cpu": r"CPU|architecture|CPU family, model and stepping",
    "gpu": r"GPU \d+",
}
"""Names of facts that make another machine; other facts of it say how much of it is used."""
_OF_GPU: Final = r"(.* of )?GPUs?( \d+)?|CPU"
"""Names of facts of the machine that bear on what a GPU does; the CPU launches its kernels."""
_GPU_SETTINGS: Final = r".* of GPU \d+|(CUDA|CUBLAS|NVIDIA|PYTORCH).*"
_BUILT_ON: Final[Mapping[str, tuple[str, ...]]] = {
    "torch": ("torch", "triton"),
    "numpy": ("numpy", "BLAS of numpy"),
    "vllm": ("vllm", "torch"),
    "ipex": ("intel-extension-for-pytorch", "torch"),
}
"""Libraries whose versions bear on a runtime, by the first word of its id."""
_MOST_NAMED: Final = 4
_ABSENT: Final = "not installed"


class Note(NamedTuple):
    """Something to know about the calibration of the device or class called ``calibration``.

    ``doubt``: it speaks against the numbers; otherwise it says where they hold.
    """

    calibration: str
    text: str
    doubt: bool

    def __str__(self) -> str:
        return f"calibration {self.calibration}: {self.text}"


def with_notes(
    result: Result, scenario: Scenario, now: Environment | None = None, today: datetime.date | None = None
) -> tuple[Result, tuple[Note, ...]]:
    """``result`` with a row of provenance for each of the user's own calibrations behind it, and the notes on them.

    Doubts are among the warnings of the result. Without such a calibration nothing is read and nothing changes.

    Args:
        now, today: where and when the question is asked; None: here and today.
    """
    runtimes: dict[str, set[str]] = {}
    for pool in scenario.pools:
        for name in (pool.device.id, pool.device.device_class):
            runtimes.setdefault(name, set()).add(pool.runtime.id)
    found = notes_on(runtimes, now, today)
    notes = tuple(note for own in found.values() for note in own)
    if not found:
        return result, ()
    rows = tuple(_row(name, own) for name, own in found.items())
    warnings = tuple(dict.fromkeys((*result.warnings, *(str(note) for note in notes if note.doubt))))
    return msgspec.structs.replace(result, provenance=(*result.provenance, *rows), warnings=warnings), notes


def notes_on(
    runtimes: Mapping[str, Iterable[str]], now: Environment | None = None, today: datetime.date | None = None
) -> dict[str, tuple[Note, ...]]:
    """The notes on the user's own calibrations among devices and classes; no key for others.

    Args:
        runtimes: by the device or class that is asked about, the runtimes that it is used with.
        now, today: see ``with_notes``.

    Raises:
        InputError: a calibration whose environment is broken.
    """
    own = {name: found for name in runtimes if (found := own_calibration(name)) is not None}
    today = today or datetime.datetime.now(datetime.UTC).date()
    notes = {}
    for name, found in own.items():
        target: Target = "gpu" if device_class_of(found) == "gpu" else "cpu"
        then = Environment.from_texts(found.environment, f"calibration {name}: environment")
        about = [*_of_law(found, then), *_of_age(found, then, today)]
        if found.environment:
            here = now or environment_here(target)
            about = [*_of_place(then, here, target, runtimes[name]), *about]
        notes[name] = tuple(Note(name, text, doubt) for text, doubt in about)
    return notes


def environment_here(target: Target) -> Environment:
    """This machine as far as it can be compared; torch is not loaded, and only for GPUs NVML is asked."""
    return read_environment(nvml=None if target == "gpu" else _Unasked())


def made_on(environment: Environment, target: Target) -> str:
    """What was calibrated, in words: "AMD EPYC, 2 cores, on 2026-11-25"; "" where nothing is known."""
    cpu = environment.processor
    names = [gpu.name for gpu in environment.accelerators]
    what = [names[0] if target == "gpu" and names else cpu.model or cpu.architecture]
    if target == "gpu" and len(names) > 1:
        what[0] = f"{len(names)} x {names[0]}"
    if target == "cpu" and environment.allowance.logical_cores:
        what.append(f"{environment.cores:.3g} core{'s' if environment.cores > 1 else ''}")
    return ", ".join(filter(None, [*what, f"on {environment.date}" if environment.date else ""]))


class _Unasked(Nvml):
    """NVML that nobody asks."""

    def __init__(self) -> None:
        self.missing = "not asked"


def _row(name: str, notes: Sequence[Note]) -> Provenance:
    found = own_calibration(name)
    assert found is not None
    target: Target = "gpu" if device_class_of(found) == "gpu" else "cpu"
    then = Environment.from_texts(found.environment)
    value = made_on(then, target) if found.environment else _last_date(found)
    same = "this machine, as it is now" if found.environment else "its file does not say on which machine"
    return Provenance(f"calibration {name}", value, "calibrated", "; ".join(note.text for note in notes) or same)


def _of_place(then: Environment, now: Environment, target: Target, runtimes: Iterable[str]) -> list[tuple[str, bool]]:
    """What differs between where a calibration was made and here."""
    found = differences(then, now, target)
    where = f"made on {made_on(then, target)}"
    if any(_is(each, _IDENTITY[target]) for each in found) or (target == "gpu" and not now.accelerators):
        return [(f"{where}; this machine is another one", False)]
    machine = [each for each in found if each.kind == "machine" and (target == "cpu" or _is(each, _OF_GPU))]
    libraries = {name for runtime in runtimes for name in _libraries_of(runtime)}
    software = [each for each in found if each.kind == "software" and each.name in libraries and each.now != _ABSENT]
    settings = [each for each in found if each.kind == "settings" and (target == "gpu" or not _is(each, _GPU_SETTINGS))]
    notes = [(f"{where}; differs here: {_listed(machine)}", False)] if machine else []
    for what, those in (("with other software", software), ("under other settings", settings)):
        notes += [(f"made {what}: {_listed(those)}", True)] if those else []
    return notes


def _of_age(found: Calibrations, then: Environment, today: datetime.date) -> list[tuple[str, bool]]:
    dated = then if then.date else msgspec.structs.replace(then, date=_last_date(found))
    days = age_days(dated, today)
    return [(f"made {days} days ago, on {dated.date}", True)] if days is not None and days > OLD_DAYS else []


def _of_law(found: Calibrations, then: Environment) -> list[tuple[str, bool]]:
    """Parameters that the law of this version has and the entries do not know: an older law was fitted."""
    device_class = device_class_of(found)
    lacking = dict.fromkeys(
        name for entry in found.calibrations for name in missing_parameters(entry, device_class)
    )  # fmt: skip
    if not lacking:
        return []
    version = f" of silicost {then.software.silicost}" if then.software.silicost else ""
    text = (
        f"made for another {device_class} law{version}, without {', '.join(lacking)}: class priors stand in for them; "
        "fit the samples again (silicost calibrate fit)"
    )
    return [(text, True)]


def _last_date(found: Calibrations) -> str:
    return max((entry.fit.date for entry in found.calibrations), default="")


def _libraries_of(runtime: str) -> tuple[str, ...]:
    word = re.split(r"[-_.]", Path(runtime).stem)[0]
    return (*_BUILT_ON.get(word, (word,)), "NVIDIA driver")


def _is(difference: Difference, pattern: str) -> bool:
    return re.fullmatch(pattern, difference.name) is not None


def _listed(found: Sequence[Difference]) -> str:
    named = ", ".join(f"{each.name} ({each.then} then, {each.now} now)" for each in found[:_MOST_NAMED])
    return named if len(found) <= _MOST_NAMED else f"{named}, and {len(found) - _MOST_NAMED} more"
