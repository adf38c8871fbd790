"""A calibration from start to end: what is measured on which machine, for how long, and what comes of it."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Final, NamedTuple

from hardware_specs.calibrations import Calibrations
from hardware_specs.devices import device_names, load_device
from hardware_specs.errors import InputError, clipped, nearest
from hardware_specs.records import DeviceSpec
from simulator.calibration.design import different, most_unsure
from simulator.calibration.machine.busy import busy_between, read_counters
from simulator.calibration.machine.drift import differences
from simulator.calibration.machine.environment import Environment
from simulator.calibration.machine_device import Hardware, cpu_device
from simulator.calibration.machine_fit import fit_machine, parts_of
from simulator.calibration.power.energy import Meter
from simulator.calibration.power.power_meters import meter_for
from simulator.calibration.probes.registry import PROBES, Machine, Probe, Target
from simulator.calibration.probes.torch_calls import cannot_load
from simulator.calibration.samples import Measurement, Samples, read_samples
from simulator.calibration.session import Session, in_turns

PROBE_FILES: Final = (
    "stream", "torch_products", "torch_attention", "torch_vector", "numpy_products", "numpy_vector", "dispatch",
    "thread_scaling", "host_copies", "torch_launch", "torch_copies", "torch_fp8",
)  # fmt: skip
"""Files of ``simulator.calibration.probes`` that register probes, the most needed first."""
_FIRST_SHARE: Final = 0.72
"""Part of the budget of the first design; what is left goes to the shapes that predictions are least sure of."""
_ROUND: Final = 10
"""Shapes of one round of the design, per kind and dtype at most."""
_TARGET_SD: Final = 0.02
"""Standard deviation of log predictions below which nothing more is measured."""
_MEMORY_SHARE: Final = 0.35
_MOST_BYTES: Final = 0.9e9
_CACHES: Final = 25.0
"""Memory of probes over the last-level cache: operands that take turns must outgrow it many times."""
_RESUME_WITHIN: Final = timedelta(days=1)

_GPU_CACHE: Final = 64e6
"""Cache of a GPU whose datasheet gives none [B]; assumed: no smaller than what operands must outgrow."""
_GPU_MEMORY_SHARE: Final = 0.5
_MUCH_DISTURBED: Final = 0.2

Tell = Callable[[str, int, int], None]
Make = Callable[[Sequence[Measurement]], DeviceSpec]
"""The device that measurements give."""


@dataclass(frozen=True)
class Asked:
    """What the user asked for.

    Args:
        target: what is calibrated.
        device: id of the device to make.
        budget_s: seconds of measuring.
        quick: few shapes.
        only: names of probes, or their beginnings; none: all.
        samples: file that keeps the samples.
        fresh: forget samples of a run that was interrupted.
    """

    target: Target
    device: str
    budget_s: float
    quick: bool
    only: tuple[str, ...]
    samples: Path
    fresh: bool = False


class Calibrated(NamedTuple):
    """A calibration and what came up on the way.

    ``measurements`` are what it was fitted to, ``resumed`` of them were there already; ``missing`` says why probes
    could not run, ``remarks`` what makes the figures doubtful.
    """

    found: Calibrations
    measurements: tuple[Measurement, ...]
    resumed: int
    missing: dict[str, str]
    remarks: tuple[str, ...] = ()


def probes_for(machine: Machine, only: Sequence[str] = ()) -> tuple[list[Probe], dict[str, str]]:
    """Probes that can run on a machine, and why others cannot.

    Raises:
        InputError: a name that no probe begins with.
    """
    for name in PROBE_FILES:
        import_module(f"simulator.calibration.probes.{name}")
    of_target = [probe for probe in PROBES.values() if machine.target in probe.targets]
    for name in only:
        if not any(probe.name.startswith(name) for probe in of_target):
            known = [probe.name for probe in of_target]
            close = nearest(name, known)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"--only {name!r}: no probe of that name{hint} (allowed: {', '.join(known)})")
    asked = [probe for probe in of_target if not only or any(probe.name.startswith(name) for name in only)]
    missing = {probe.name: reason for probe in asked if (reason := probe.missing(machine))}
    return [probe for probe in asked if probe.name not in missing], missing


def cpu_machine(environment: Environment, quick: bool) -> Machine:
    """This machine for probes of its CPU."""
    sets = set(environment.processor.isa)
    dtypes = ["fp32"]
    if sets & {"avx512_bf16", "amx_bf16", "bf16", "avx512_vnni", "avx2"}:
        dtypes.append("bf16")
    if sets & {"avx512_vnni", "avx_vnni", "amx_int8", "i8mm"} and not quick:
        dtypes.append("int8")
    free = environment.free_bytes or 2e9
    memory = min(_MEMORY_SHARE * free, max(_MOST_BYTES, _CACHES * environment.cache_bytes))
    return Machine("cpu", environment.threads, float(environment.cache_bytes), memory, tuple(dtypes), quick)


def gpu_machine(environment: Environment, spec: DeviceSpec, quick: bool) -> Machine:
    """The first GPU of this machine for probes.

    Args:
        spec: what the catalogue says of it.
    """
    import torch

    free, _ = torch.cuda.mem_get_info()
    dtypes = tuple(dtype for dtype in ("bf16", "fp16", "fp32") if dtype in spec.compute.peaks)
    cache = spec.cache.capacity.value if spec.cache else _GPU_CACHE
    return Machine("gpu", environment.threads, cache, _GPU_MEMORY_SHARE * free, dtypes, quick)


def gpu_spec(environment: Environment, device: str) -> DeviceSpec:
    """The catalogue's entry of the first GPU of this machine: the one called ``device``, or the one nearest its name.

    Raises:
        InputError: no GPU, or none in the catalogue that is called alike.
    """
    if device:
        spec = load_device(device)
        if spec.device_class != "gpu":
            raise InputError(f"--device {device}: is a {spec.device_class}; name a GPU (silicost devices list)")
        return spec
    if not environment.accelerators:
        reason = environment.accelerators_missing or "none is listed"
        raise InputError(f"no GPU can be seen ({reason}); name it where torch sees one: --device h100-sxm-80gb")
    name = environment.accelerators[0].name
    found = catalogue_name(name, [each for each in device_names() if load_device(each).device_class == "gpu"])
    if not found:
        raise InputError(
            f"{name}: no device of the catalogue is called so; name it with --device (silicost devices list)"
        )
    return load_device(found)


def catalogue_name(name: str, known: Iterable[str]) -> str:
    """The id among ``known`` of the GPU that its driver calls ``name``; "" where none has its model in it.

    The model is the word with letters and digits ("h100", "a100"), or the number of a GeForce; form and memory decide
    between ids that share it.
    """
    said = name.lower().replace("hbm3", "sxm").replace("hbm2e", "").replace("-", " ").split()
    models = {
        word for word in said if re.fullmatch(r"[a-z]{1,3}\d{1,4}[a-z]{0,2}|\d{4}", word) and not word.endswith("gb")
    }
    scored = [
        (len(set(said) & set(each.split("-"))), -len(each), each) for each in known if models & set(each.split("-"))
    ]
    return max(scored)[2] if scored else ""


def calibrate_cpu(asked: Asked, environment: Environment, tell: Tell) -> Calibrated:
    """Measure this CPU and fit its calibration.

    Raises:
        InputError: nothing could be measured, or the samples of an interrupted run are broken.
    """
    machine = cpu_machine(environment, asked.quick)
    chosen, missing = probes_for(machine, asked.only)
    if not any(probe.name.endswith(".products") for probe in chosen):
        why = [f"{name}: {reason}" for name, reason in missing.items() if name.endswith(".products")]
        hint = "; ".join(why) or "add torch.products or numpy.products"
        raise InputError(f"--only: a calibration needs matrix products; {hint}")
    keep_freed_memory()
    set_threads(machine.cores)
    make: Make = lambda rows: device_of(asked.device, environment, rows, environment.date)  # noqa: E731
    return _calibrated(asked, machine, environment, make, tell)


def calibrate_gpu(asked: Asked, environment: Environment, spec: DeviceSpec, tell: Tell) -> Calibrated:
    """Measure the first GPU and fit calibrations of ``spec``, which stays what its datasheet says.

    Raises:
        InputError: torch sees no GPU, or as for a CPU.
    """
    _, missing = probes_for(Machine("gpu", 1, 0.0, 0.0, (), asked.quick), asked.only)
    if "torch.products" in missing:
        raise InputError(f"this GPU cannot be measured: {missing['torch.products']}")
    set_threads(environment.threads)
    return _calibrated(asked, gpu_machine(environment, spec, asked.quick), environment, lambda rows: spec, tell)


def _calibrated(
    asked: Asked, machine: Machine, environment: Environment, make: Make, tell: Tell
) -> Calibrated:  # fmt: skip
    """Measure by a first design, then where predictions are unsure, then power; and fit."""
    start, counters = time.perf_counter(), read_counters()
    probes, missing = probes_for(machine, asked.only)
    before = resumable(asked, environment)
    meter = meter_for(asked.target)
    about = {**environment.as_texts(), "device": asked.device, "target": asked.target, **_idle(meter, asked.quick)}
    session = Session(
        machine, about, asked.samples, start + _FIRST_SHARE * asked.budget_s, list(before), tell,
    )  # fmt: skip
    session.run(in_turns(probes, lambda probe: probe.cases(machine)))
    session.save(done=False)
    session.deadline = start + asked.budget_s
    if not asked.quick:
        _refine(session, probes, make)
    session.measure_power(meter, in_turns(probes, lambda probe: probe.cases(machine)))
    remarks = _remarks(session, busy_between(counters, read_counters()).says)
    session.environment.update({f"remark.{number}": text for number, text in enumerate(remarks)})
    session.save(done=True)
    found = fit_machine(make(session.measurements), session.measurements, session.environment, environment.date, tell)
    return Calibrated(found, tuple(session.measurements), len(before), {**missing, **session.failures}, remarks)


def _remarks(session: Session, busy: str) -> tuple[str, ...]:
    """What makes the measurements doubtful."""
    found = [busy] if busy else []
    if session.disturbed_share > _MUCH_DISTURBED:
        share = f"{session.disturbed_share:.0%}"
        found.append(f"{share} of the calls took more than 1.25 times as long at one visit as at another")
    return tuple(found)


def _idle(meter: Meter, quick: bool) -> dict[str, str]:
    """Power at rest, or why nothing reads it."""
    if meter.missing:
        return {"power.missing": meter.missing}
    meter.start()
    time.sleep(0.5 if quick else 1.0)
    return {"power.idle_w": f"{meter.stop().mean_w:.1f}"}


def fit_samples(samples: Samples, tell: Tell) -> Calibrations:
    """The calibration that samples of a machine give.

    Raises:
        InputError: the samples do not say which machine they are of.
    """
    if "device" not in samples.environment:
        raise InputError("these samples do not say of which machine they are (no 'device' in their description)")
    environment = Environment.from_texts(samples.environment)
    date, name = environment.date or str(datetime.now(UTC).date()), samples.environment["device"]
    check_id(name, "the device of these samples")
    on_gpu = samples.environment.get("target") == "gpu"
    spec = load_device(name) if on_gpu else device_of(name, environment, samples.measurements, date)
    return fit_machine(spec, samples.measurements, samples.environment, date, tell)


def check_id(name: str, what: str) -> None:
    """Refuse a name that is no id: it becomes the name of a file.

    Raises:
        InputError: characters that no id has.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise InputError(f"{what} {clipped(name)!r}: must be small letters, digits, '-', '.' and '_', a letter first")


def device_of(name: str, environment: Environment, measurements: Sequence[Measurement], date: str) -> DeviceSpec:
    """The measured CPU as a device; its usual runtime is that with the most samples."""
    runtimes = [each.runtime for each in measurements if each.runtime]
    usual = max(sorted(set(runtimes)), key=runtimes.count, default="ideal")
    return cpu_device(hardware_of(environment, name), measurements, usual, date)


def hardware_of(environment: Environment, name: str) -> Hardware:
    """What the operating system says of this machine's CPU."""
    cpu = environment.processor
    memory = environment.allowance.memory_limit_bytes or environment.memory.total_bytes or 0
    return Hardware(
        name, cpu.model or name, cpu.vendor or "unknown", environment.threads,
        float(min(memory, environment.memory.total_bytes or memory)), float(environment.cache_bytes),
    )  # fmt: skip


def resumable(asked: Asked, environment: Environment) -> tuple[Measurement, ...]:
    """Samples of a run of today on this very machine that was interrupted; none otherwise."""
    if asked.fresh or not asked.samples.is_file():
        return ()
    samples = read_samples(asked.samples)
    if samples.environment.get("complete") != "no" or samples.environment.get("device") != asked.device:
        return ()
    then = Environment.from_texts(samples.environment)
    if differences(then, environment) or any(_is_old(each.at) for each in samples.measurements):
        return ()
    return samples.measurements


def _is_old(at: str) -> bool:
    try:
        return datetime.now(UTC) - datetime.fromisoformat(at) > _RESUME_WITHIN
    except (ValueError, TypeError):
        return True


def _refine(session: Session, probes: Iterable[Probe], make: Make) -> None:
    """Measure the shapes that predictions are least sure of until all are sure or the time is up."""
    candidates = [(probe, case) for probe in probes for case in probe.more(session.machine)]
    while session.left_s > 0.0 and candidates:
        unsure = most_unsure(
            make(session.measurements), parts_of(session.measurements, session.machine.cores), candidates,
            session.machine.target,
        )  # fmt: skip
        chosen = different([each for each in unsure if each.log_sd > _TARGET_SD], _ROUND)
        before = len(session.measurements)
        session.run([(each.probe, each.case) for each in chosen])
        taken = {id(each.case) for each in chosen}
        candidates = [pair for pair in candidates if id(pair[1]) not in taken]
        if not chosen or (len(session.measurements) == before and not candidates):
            return


def set_threads(cores: int) -> None:
    """Let torch and the BLAS library of numpy use ``cores`` threads, where they are there."""
    if not cannot_load():
        import torch

        torch.set_num_threads(cores)
        torch.set_grad_enabled(False)
    if importlib.util.find_spec("threadpoolctl") is not None:
        from threadpoolctl import threadpool_limits

        threadpool_limits(limits=cores, user_api="blas")


def keep_freed_memory() -> None:
    """Let glibc keep what is freed, as serving stacks let their allocators: pages made anew cost more than copies."""
    trim, mmap = -1, -3
    if os.name == "posix":
        try:
            libc = ctypes.CDLL("libc.so.6")
        except OSError:
            return
        libc.mallopt(mmap, 1 << 25)
        libc.mallopt(trim, (1 << 31) - 1)
