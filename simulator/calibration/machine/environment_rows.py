"""An environment as people read it: rows of name and value."""

from __future__ import annotations

from collections.abc import Iterator

from hardware_specs.units import format_quantity
from simulator.calibration.machine.accelerators import Accelerator
from simulator.calibration.machine.environment import Environment
from simulator.calibration.machine.processor import Cache


def environment_rows(environment: Environment) -> tuple[tuple[str, str], ...]:
    """What is known of ``environment``, one row each; facts that are not known have none."""
    rows = [*_of_machine(environment), *_of_software(environment), *_of_gpus(environment)]
    return tuple((name, value) for name, value in rows if value)


def _of_machine(environment: Environment) -> Iterator[tuple[str, str]]:
    cpu, allowance, memory = environment.processor, environment.allowance, environment.memory
    clocks = environment.clocks
    numbers = f"family {cpu.family}, model {cpu.model_number}, stepping {cpu.stepping}" if cpu.stepping else ""
    yield "date", environment.date
    yield "system", _joined(environment.os, f"kernel {environment.kernel}" if environment.kernel else "")
    yield "hypervisor", environment.hypervisor
    yield "container", environment.container
    yield "CPU", _joined(cpu.model, cpu.microarchitecture, cpu.architecture)
    yield "CPU id", _joined(numbers, f"microcode {cpu.microcode}" if cpu.microcode else "")
    yield "CPU cores", _joined(
        _count(cpu.sockets, "socket"), _count(cpu.physical_cores, "core"), _count(cpu.logical_cores, "thread"),
        _count(cpu.numa_nodes, "NUMA node"), "" if cpu.smt is None else f"SMT {_on(cpu.smt)}",
    )  # fmt: skip
    yield "usable", _joined(
        _count(allowance.physical_cores, "core"), _count(allowance.logical_cores, "thread"),
        f"CPUs {allowance.cpus}" if allowance.cpus else "",
        f"quota {allowance.quota_cores:g} cores" if allowance.quota_cores else "",
    )  # fmt: skip
    yield "instruction sets", " ".join(cpu.isa)
    yield "caches", "; ".join(map(_cache, cpu.caches))
    yield "memory", _joined(
        _binary(memory.total_bytes), _binary(memory.available_bytes, "{} available"),
        _binary(allowance.memory_limit_bytes, "limit {}"),
        f"huge pages {memory.huge_pages}" if memory.huge_pages else "",
    )  # fmt: skip
    yield "clocks", _joined(
        _quantity(clocks.current_hz, "hz", "{} now"), _quantity(clocks.base_hz, "hz", "base {}"),
        _quantity(clocks.min_hz, "hz", "at least {}"), _quantity(clocks.max_hz, "hz", "at most {}"),
        f"governor {clocks.governor}" if clocks.governor else "", clocks.driver, clocks.preference,
        "" if clocks.boost is None else f"boost {_on(clocks.boost)}",
    )  # fmt: skip


def _of_software(environment: Environment) -> Iterator[tuple[str, str]]:
    software = environment.software
    yield "Python", software.python
    yield "silicost", software.silicost
    yield "libraries", ", ".join(f"{name} {version}" for name, version in software.libraries.items())
    for blas in software.blas:
        kernels = f"kernels for {blas.architecture}" if blas.architecture else ""
        what = _joined(f"{blas.library} {blas.version}", kernels, blas.threading, _count(blas.threads, "thread"))
        yield f"BLAS of {blas.owner or 'the system'}", what
    yield "BLAS kernels", software.blas_missing
    yield "torch", ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in software.torch.items())
    yield "variables", " ".join(f"{name}={text}" for name, text in software.variables.items())
    yield "allocator", software.malloc


def _of_gpus(environment: Environment) -> Iterator[tuple[str, str]]:
    for place, gpu in enumerate(environment.accelerators):
        yield f"GPU {place}", _joined(
            gpu.name, _binary(gpu.memory_bytes), f"driver {gpu.driver}" if gpu.driver else "",
            f"CUDA {gpu.cuda}" if gpu.cuda else "",
            f"PCIe {gpu.pcie_generation} x{gpu.pcie_lanes}" if gpu.pcie_lanes else "",
        )  # fmt: skip
        yield f"settings of GPU {place}", _settings(gpu)
    if not environment.accelerators:
        yield "GPU", environment.accelerators_missing and f"none ({environment.accelerators_missing})"


def _settings(gpu: Accelerator) -> str:
    modes = {"ECC": gpu.ecc, "MIG": gpu.mig, "persistence": gpu.persistence}
    return _joined(
        _quantity(gpu.power_limit_w, "w", "limit {}"), _quantity(gpu.power_default_w, "w", "{} by default"),
        _quantity(gpu.clock_hz, "hz", "{} now"), _quantity(gpu.max_clock_hz, "hz", "at most {}"),
        _quantity(gpu.memory_clock_hz, "hz", "memory {}"),
        *(f"{name} {_on(mode)}" for name, mode in modes.items() if mode is not None),
        f"held down by {gpu.throttled}" if gpu.throttled else "",
    )  # fmt: skip


def _cache(cache: Cache) -> str:
    shared = f"per {cache.cores} cores" if cache.cores > 1 else "per core"
    return f"L{cache.level} {cache.kind} {cache.count} x {_binary(cache.bytes)} {shared}"


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _quantity(value: float | None, dimension: str, text: str = "{}") -> str:
    return text.format(format_quantity(float(value), dimension)) if value else ""


def _binary(size_bytes: int | None, text: str = "{}") -> str:
    """A size of memory, whose chips come in powers of two."""
    if not size_bytes:
        return ""
    power = min((size_bytes.bit_length() - 1) // 10, 3)
    return text.format(f"{size_bytes / 1024**power:.4g} {('B', 'KiB', 'MiB', 'GiB')[power]}")


def _count(number: int | None, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}" if number else ""


def _on(mode: bool) -> str:
    return "on" if mode else "off"
