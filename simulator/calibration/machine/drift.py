"""Whether a calibration still holds: what differs between the environment it was made in and another one."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from hardware_specs.errors import InputError, clipped
from hardware_specs.units import format_quantity
from simulator.calibration.machine.accelerators import Accelerator
from simulator.calibration.machine.environment import Environment
from simulator.calibration.probes.registry import Target

Kind = Literal["machine", "software", "settings"]

OLD_DAYS: Final = 180
"""Age from which on a calibration is doubted unless the user says otherwise [days]; assumed: drivers and libraries have
moved on by two or three releases."""
SAME: Final = 0.02
"""Relative difference up to which two sizes or rates are the same; assumed: what a kernel keeps of the memory for
itself and what clocks are rounded to is less."""
_MOST_NAMED: Final = 4


class Difference(NamedTuple):
    """A fact that was another when a calibration was made; a value as people read it."""

    kind: Kind
    name: str
    then: str
    now: str

    def __str__(self) -> str:
        return f"{self.name} was {self.then}, is {self.now}"


class _Fact(NamedTuple):
    """A value that can be compared; "" and None: not known.

    Args:
        dimension: of a number, as in ``hardware_specs.units``.
        unset: what it means that software which is known lacks the fact ("not set"); "" where that means nothing.
    """

    kind: Kind
    name: str
    value: str | float | bool | None
    dimension: str = ""
    unset: str = ""


def differences(then: Environment, now: Environment, target: Target = "cpu") -> tuple[Difference, ...]:
    """Facts that both environments know and that differ so that a calibration of ``then`` is in doubt for ``now``.

    A GPU calibration also rests on the CPU and software that launch its kernels; a CPU calibration on no GPU. Software
    that ``then`` did not have is no difference.
    """
    before, after = ({(f.kind, f.name): f for f in _facts(each, target)} for each in (then, now))
    both_known = bool(then.software.python and now.software.python)
    found = []
    for key in {**before, **after}:
        known = before.get(key) or after[key]
        absent = known._replace(value=known.unset if both_known else None)
        was, is_ = before.get(key, absent), after.get(key, absent)
        if not _same(was, is_) and (key in before or known.kind == "settings"):
            found.append(Difference(*key, _text(was), _text(is_)))
    kinds = ("machine", "software", "settings")
    return tuple(sorted(found, key=lambda each: kinds.index(each.kind)))


def age_days(environment: Environment, today: datetime.date) -> int | None:
    """Days from the date of ``environment`` to ``today``; None where it has no date.

    Raises:
        InputError: its date is no ISO 8601 date.
    """
    if not environment.date:
        return None
    try:
        return (today - datetime.date.fromisoformat(environment.date)).days
    except ValueError:
        raise InputError(f"environment: date {clipped(environment.date)!r} is none (allowed: 2026-11-25)") from None


def doubts(
    then: Environment, now: Environment, today: datetime.date, target: Target = "cpu", old_days: int = OLD_DAYS
) -> tuple[str, ...]:
    """Sentences that say why a calibration of ``then`` may not hold ``now``; none where nothing speaks against it.

    Raises:
        InputError: the date of ``then`` is no date.
    """
    starts = {
        "machine": "calibrated on another machine",
        "software": "calibrated with other software",
        "settings": "calibrated under other settings",
    }
    found = differences(then, now, target)
    sentences = []
    for kind, start in starts.items():
        of_kind = [each for each in found if each.kind == kind]
        if of_kind:
            sentences.append(f"{start}: {_listed(of_kind)}")
    age = age_days(then, today)
    if age is not None and age > old_days:
        sentences.append(f"calibrated {age} days ago, on {then.date}")
    return tuple(sentences)


def _listed(found: Sequence[Difference]) -> str:
    named = "; ".join(map(str, found[:_MOST_NAMED]))
    return named if len(found) <= _MOST_NAMED else f"{named}; and {len(found) - _MOST_NAMED} more"


def _same(then: _Fact, now: _Fact) -> bool:
    """Whether two values are the same, or one is not known."""
    if then.value in ("", None) or now.value in ("", None):
        return True
    if isinstance(then.value, float) and isinstance(now.value, float):
        return abs(then.value - now.value) <= SAME * max(abs(then.value), abs(now.value))
    return then.value == now.value


def _text(fact: _Fact) -> str:
    if isinstance(fact.value, bool):
        return "on" if fact.value else "off"
    if isinstance(fact.value, float):
        return format_quantity(fact.value, fact.dimension)
    return str(fact.value)


def _facts(environment: Environment, target: Target) -> Iterator[_Fact]:
    yield from _machine(environment)
    yield from _software(environment)
    yield from _settings(environment)
    if target == "gpu":
        yield _Fact("machine", "GPUs", float(len(environment.accelerators)) or None, "number")
        for place, gpu in enumerate(environment.accelerators):
            yield from _of_gpu(gpu, f"GPU {place}")


def _machine(environment: Environment) -> Iterator[_Fact]:
    cpu, allowance = environment.processor, environment.allowance
    numbers = [cpu.family, cpu.model_number, cpu.stepping]
    yield _Fact("machine", "CPU", cpu.model)
    yield _Fact("machine", "architecture", cpu.architecture)
    yield _Fact("machine", "CPU family, model and stepping", " ".join(map(str, numbers)) if cpu.stepping else "")
    yield _Fact("machine", "sockets in use", _float(allowance.sockets), "number")
    yield _Fact("machine", "cores in use", _float(allowance.physical_cores), "number")
    yield _Fact("machine", "CPUs in use", _float(allowance.logical_cores), "number")
    yield _Fact("machine", "last-level cache", _float(environment.cache_bytes), "bytes")
    yield _Fact("machine", "memory", _float(environment.memory.total_bytes), "bytes")
    yield _Fact("machine", "hypervisor", environment.hypervisor)


def _software(environment: Environment) -> Iterator[_Fact]:
    software = environment.software
    yield _Fact("software", "silicost", software.silicost)
    yield _Fact("software", "kernel", _release(environment.kernel))
    yield _Fact("software", "Python", _release(software.python))
    yield _Fact("software", "microcode", environment.processor.microcode)
    for name, version in software.libraries.items():
        yield _Fact("software", name, version, unset="not installed")
    for blas in software.blas:
        of = f"BLAS of {blas.owner or 'the system'}"
        yield _Fact("software", of, f"{blas.library} {blas.version}".strip())
        yield _Fact("software", f"kernels of the {of}", blas.architecture)
        yield _Fact("software", f"threading of the {of}", blas.threading)
        yield _Fact("settings", f"threads of the {of}", _float(blas.threads), "number")
    for name, text in software.torch.items():
        kind: Kind = "settings" if name in ("threads", "interop_threads", "float32_matmul_precision") else "software"
        yield _Fact(kind, f"torch {name.replace('_', ' ')}", text)


def _settings(environment: Environment) -> Iterator[_Fact]:
    clocks, allowance, software = environment.clocks, environment.allowance, environment.software
    yield _Fact("settings", "governor", clocks.governor)
    yield _Fact("settings", "energy preference", clocks.preference)
    yield _Fact("settings", "highest clock", clocks.max_hz, "hz")
    yield _Fact("settings", "boost", clocks.boost)
    yield _Fact("settings", "SMT", environment.processor.smt)
    yield _Fact("settings", "transparent huge pages", environment.memory.huge_pages)
    yield _Fact("settings", "allocator", software.malloc)
    if allowance.logical_cores is not None:
        quota = f"{allowance.quota_cores:g} cores" if allowance.quota_cores else "none"
        limit = (
            format_quantity(float(allowance.memory_limit_bytes), "bytes") if allowance.memory_limit_bytes else "none"
        )
        yield _Fact("settings", "CPU quota", quota)
        yield _Fact("settings", "memory limit", limit)
    for name, text in software.variables.items():
        yield _Fact("settings", name, text or "empty", unset="not set")


def _of_gpu(gpu: Accelerator, name: str) -> Iterator[_Fact]:
    yield _Fact("machine", name, gpu.name)
    yield _Fact("machine", f"memory of {name}", _float(gpu.memory_bytes), "bytes")
    yield _Fact("machine", f"highest clock of {name}", gpu.max_clock_hz, "hz")
    yield _Fact("machine", f"PCIe of {name}", f"{gpu.pcie_generation} x{gpu.pcie_lanes}" if gpu.pcie_lanes else "")
    yield _Fact("software", "NVIDIA driver", gpu.driver)
    yield _Fact("settings", f"power limit of {name}", gpu.power_limit_w, "w")
    yield _Fact("settings", f"ECC of {name}", gpu.ecc)
    yield _Fact("settings", f"MIG of {name}", gpu.mig)
    yield _Fact("settings", f"persistence of {name}", gpu.persistence)


def _release(text: str) -> str:
    """``text`` up to the second number of a version: patches bear on no time."""
    found = re.match(r"(\D*\d+\.\d+)", text)
    return found[1] if found else text


def _float(number: int | None) -> float | None:
    return float(number) if number else None
