"""The catalogue of software runtimes, one TOML file each in ``data/``, and which runtime runs on which device."""

from __future__ import annotations

from pathlib import Path

from hardware_specs.catalogue import Catalogue
from hardware_specs.errors import InputError, nearest
from hardware_specs.facts import Fact
from hardware_specs.records import DEVICE_CLASSES, DeviceSpec
from workloads.collectives.catalogue import library_names
from workloads.runtimes.record import EXPERT_RUNS, FUSIONS, OVERLAPS, Runtime

HIGHEST_FACTOR = 1.5
"""A kernel factor above this is a mistake: the device law describes a well-tuned vendor library."""

USUAL_TRAINERS = {
    "cpu": ("torch-eager-2.4",),
    "gpu": ("megatron-core-2025", "torch-eager-2.4"),
    "tpu": ("maxtext-2024",),
    "fpga": ("fpga-overlay-2024",),
    "asic": ("neuronx-distributed-2.21", "vendor-npu-2025", "vendor-asic-2024"),
}
"""By device class the runtimes that people train with where a device's usual runtime only infers, best first."""

_CATALOGUE = Catalogue("runtime", Runtime, Path(__file__).parent / "data")


def runtime_names() -> tuple[str, ...]:
    """All runtime names, sorted."""
    return _CATALOGUE.names()


def load_runtime(name: str | Path) -> Runtime:
    """The runtime called ``name``, or described in a TOML file.

    Raises:
        UnknownName: no such runtime; carries the nearest names.
        InputError: a broken file, an unknown fusion, library or device class, a factor outside (0, 1.5].
    """
    runtime = _CATALOGUE.load(name)
    _check_words(runtime, "device_classes", runtime.device_classes, DEVICE_CLASSES)
    _check_words(runtime, "fusions", runtime.fusions, FUSIONS)
    _check_words(runtime, "experts", (runtime.experts,), tuple(EXPERT_RUNS))
    _check_words(runtime, "can_overlap", runtime.can_overlap, tuple(OVERLAPS))
    _check_words(runtime, "collectives", (runtime.collectives,), library_names())
    check_numbers(runtime)
    return runtime


def check_numbers(runtime: Runtime) -> None:
    """Refuse shares and factors that no software has; also after a what-if change.

    Raises:
        InputError: with the field, its value and what is allowed.
    """
    if runtime.memory_utilisation.value > 1.0:
        raise InputError(
            f"runtime {runtime.id}: memory_utilisation {runtime.memory_utilisation.text} must be in (0, 1]"
        )
    for name, zero in (("prefill_chunk", "whole prompts"), ("prefill_in_flight", "no limit")):
        if getattr(runtime, name) < 0:
            raise InputError(f"runtime {runtime.id}: {name} {getattr(runtime, name)} must be 0 ({zero}) or more")
    for family, factor in kernel_factors(runtime).items():
        if not 0.0 < factor.value <= HIGHEST_FACTOR:
            raise InputError(f"runtime {runtime.id}: factors.{family} {factor.text} must be in (0, {HIGHEST_FACTOR}]")


def load_all_runtimes() -> tuple[Runtime, ...]:
    """Every runtime, in the order of names."""
    return tuple(load_runtime(name) for name in runtime_names())


def kernel_factors(runtime: Runtime) -> dict[str, Fact]:
    """The kernel factors that the runtime gives, by family."""
    given = {family: getattr(runtime.factors, family) for family in runtime.factors.__struct_fields__}
    return {family: fact for family, fact in given.items() if fact is not None}


def default_runtime(device: DeviceSpec, training: bool = False) -> Runtime:
    """The runtime that people usually run on ``device``, as its spec names it; for training the usual trainer.

    Raises:
        UnknownName: the device names a runtime that the catalogue does not hold.
    """
    usual = load_runtime(device.default_runtime)
    if not training or usual.trains:
        return usual
    trainers = (load_runtime(name) for name in USUAL_TRAINERS[device.device_class])
    return next((runtime for runtime in trainers if runs_on(runtime, device)), usual)


def runs_on(runtime: Runtime, device: DeviceSpec) -> bool:
    """Whether ``runtime`` exists for the class and the vendor of ``device``."""
    return device.device_class in runtime.device_classes and (not runtime.vendors or device.vendor in runtime.vendors)


def check_runtime(runtime: Runtime, device: DeviceSpec, training: bool = False) -> None:
    """Refuse a runtime that does not exist for ``device``, or does not train where it should.

    Raises:
        InputError: with the runtimes that do run on it, its usual one first.
    """
    fits = runs_on(runtime, device)
    if fits and (runtime.trains or not training):
        return
    usable = [r.id for r in load_all_runtimes() if runs_on(r, device) and (r.trains or not training)]
    usable.sort(key=lambda name: (name != default_runtime(device, training).id, name))
    if fits:
        raise InputError(
            f"runtime {runtime.id!r} does not train; on {device.id!r} these do: {', '.join(usable)} "
            "(silicost runtimes list)"
        )
    kinds = f"{'/'.join(runtime.vendors) or 'any'} {'/'.join(runtime.device_classes)}"
    raise InputError(
        f"runtime {runtime.id!r} runs on {kinds} devices, not on {device.id!r} "
        f"({device.vendor} {device.device_class}); these do: {', '.join(usable)} (silicost runtimes list)"
    )


def _check_words(runtime: Runtime, field: str, words: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    """Refuse words that are not ``allowed``."""
    for word in words:
        if word not in allowed:
            close = nearest(word, allowed, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(
                f"runtime {runtime.id}: {field}: {word!r} is not allowed{hint} (allowed: {', '.join(allowed)})"
            )
