"""A device under a runtime, ready to price graphs: facts and priors become one record of law parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_specs.calibrations import calibrations_digest
from hardware_specs.dtypes import BITS, COMPUTE_DTYPES, FALLBACKS, PASSES
from hardware_specs.errors import InputError, nearest
from hardware_specs.facts import Fact, Mark
from hardware_specs.overrides import SET_BY_USER
from hardware_specs.records import DeviceSpec
from simulator.devices.calibrated import PLAIN, UNCALIBRATED, Choice, Chosen, choice_of, weights_of
from simulator.devices.priors import fma_sustained
from simulator.devices.reach import Reach, reach_of, sizes_of
from simulator.devices.registry import Parameter, law_of
from simulator.kernels.roofline import LAW_DTYPE, RUNTIME_FAMILIES
from simulator.result import Provenance
from simulator.uncertainty.intervals import Error, prior_error
from workloads.graph import OpColumns
from workloads.operators import FAMILIES, FAMILY
from workloads.runtimes.catalogue import load_runtime
from workloads.runtimes.record import PACKED_KERNELS, Runtime

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DeviceModel:
    """One device under one runtime.

    ``records`` has shape [1 + entries] and dtype LAW_DTYPE: the class priors first, then each calibration of
    ``choice``; ``errors`` [1 + entries, families, 2] are the standard deviations of log errors, shared and own, of what
    they price; ``provenance`` lists what its numbers rest on.
    """

    spec: DeviceSpec
    runtime: Runtime
    records: npt.NDArray[np.void]
    choice: Choice = field(repr=False)
    errors: Floats = field(repr=False)
    provenance: tuple[Provenance, ...] = field(repr=False)

    @property
    def record(self) -> Any:
        """The record of facts and class priors."""
        return self.records[0]

    def which(self, columns: OpColumns) -> Ints:
        """The number of the record that each operator is priced with, shape [n]."""
        return self.choice.table[columns.kind, columns.dtype, weights_of(columns)]

    def reach(self, columns: OpColumns) -> Reach:
        """Which operators lie between measured calls of this device, and which beyond them."""
        return reach_of(self._sizes, self.which(columns), columns)

    @cached_property
    def _sizes(self) -> Floats:
        return sizes_of(self.choice, self.spec.id)

    def error(self, family: str, dtype: str) -> Error:
        """The error of a family of which only the dtype is known: the mean over its kinds."""
        kinds = [int(kind) for kind, other in FAMILY.items() if other == family]
        records = self.choice.table[kinds, COMPUTE_DTYPES.index(dtype), PLAIN]
        return Error(*self.errors[records, FAMILIES.index(family)].mean(axis=0).tolist())

    def cost(self, columns: OpColumns) -> Floats:
        """Price every operator: rows TIME, COMPUTE, MEMORY, OVERHEAD [s], ENERGY [J]; shape [5, n]."""
        priced: Floats = cost_on_devices((self,), columns)[0]
        return priced

    def peak_flops(self, dtype: str) -> float:
        """Dense peak of ``dtype`` by the datasheet [FLOP/s], emulation included, gains of the runtime not.

        Raises:
            InputError: the device cannot compute in ``dtype``.
        """
        return _peak(self.spec, dtype, native_dtype(self.spec, dtype))


def cost_on_devices(models: Sequence[DeviceModel], columns: OpColumns) -> Floats:
    """Price one set of operators on many devices of one class in one call; shape [devices, 5, n].

    Raises:
        ValueError: the devices are of different classes.
        InputError: an operator computes in a dtype that a device has no rate for, or a time is no number.
    """
    classes = {model.spec.device_class for model in models}
    if len(classes) != 1:
        raise ValueError(f"devices of one call must be of one class, not {sorted(classes)}")
    used = columns.dtype[columns.flops > 0.0]
    for model in models:
        missing = used[model.record["peaks"][used] <= 0.0]
        if missing.size:
            native_dtype(model.spec, COMPUTE_DTYPES[int(missing[0])])
    records = models[0].records if len(models) == 1 else np.concatenate([model.records for model in models])
    which = np.empty((len(models), columns.kind.shape[0]), np.int64)
    before = 0
    for row, model in zip(which, models, strict=True):
        np.add(model.which(columns), before, out=row)
        before += len(model.records)
    out = np.empty((len(models), 5, columns.kind.shape[0]))
    law_of(classes.pop()).cost(columns, which, records, out)
    if not math.isfinite(out.sum()):
        names = ", ".join(model.spec.id for model in models)
        raise InputError(
            f"times on {names} cannot be computed with these inputs; a size or a number of a spec is absurdly "
            "large or small"
        )
    return out


def native_dtype(spec: DeviceSpec, dtype: str) -> str:
    """The dtype at whose rate ``spec`` runs math in ``dtype``: itself or what emulates it.

    16-bit math runs in fp32 where 16-bit units are slower (GeForce of the Pascal generation: a 64th).

    Raises:
        InputError: none exists on this device.
    """
    native = _fastest(spec, dtype)
    if native:
        return native
    has = ", ".join(spec.compute.peaks)
    raise InputError(f"{spec.id} cannot compute in {dtype}; it has {has} (use --dtype with one of these)", "dtype")


def _fastest(spec: DeviceSpec, dtype: str) -> str:
    """As ``native_dtype``, but "" where there is none."""
    peaks = spec.compute.peaks
    usable = [candidate for candidate in FALLBACKS[dtype] if candidate in peaks]
    if BITS[dtype] == 16 and "fp32" in usable and peaks["fp32"].value > peaks[usable[0]].value:
        return "fp32"
    return usable[0] if usable else ""


_COMPILED: dict[tuple[int, int, bool, bool, str], DeviceModel] = {}
"""Models by the identity of spec and runtime, which they hold, so that no identity is used twice, and by the digests of
the calibration files."""
_MOST_COMPILED = 256


def compile_device(
    spec: DeviceSpec, runtime: Runtime, calibrated: bool = True, timed_alone: bool = False
) -> DeviceModel:
    """Turn facts, class priors, calibrations, the device's own parameters and the runtime into records for kernels.

    A parameter that the device itself names (a spec file, ``--set``) holds before a calibration, this before a prior.
    ``calibrated`` off: class priors alone, where fits begin. ``timed_alone``: each call is timed by itself, host
    included, as benchmarks of eager frameworks do. The same spec and runtime give the same model again.
    """
    fitted = calibrations_digest(spec.id) + calibrations_digest(spec.device_class)
    key = (id(spec), id(runtime), calibrated, timed_alone, fitted)
    if key not in _COMPILED:
        if len(_COMPILED) >= _MOST_COMPILED:
            _COMPILED.clear()
        _COMPILED[key] = _compiled(spec, runtime, calibrated, timed_alone)
    return _COMPILED[key]


def _compiled(spec: DeviceSpec, runtime: Runtime, calibrated: bool, timed_alone: bool) -> DeviceModel:
    law = law_of(spec.device_class)
    choice = choice_of(spec, runtime) if calibrated else UNCALIBRATED
    records = np.zeros(1 + len(choice.entries), LAW_DTYPE)
    row: Any = records[0]
    provenance = [_fact_note(f"{spec.id} memory bandwidth", spec.memory.bandwidth, "device.memory.bandwidth")]
    row["bandwidth"] = spec.memory.bandwidth.value
    known = {parameter.name: parameter for parameter in law.parameters}
    _check_parameters(spec.parameters, known, spec.id)
    for parameter in law.parameters:
        fitted = spec.parameters.get(parameter.name)
        value = fitted.value if fitted else parameter.prior(spec)
        row[parameter.name] = value
        origin = fitted.origin if fitted else f"class prior: {parameter.meaning}"
        mark = fitted.mark.value if fitted else "assumed"
        path = f"device.parameters.{parameter.name}"
        provenance.append(Provenance(f"{spec.id} {parameter.name}", f"{value:.4g}", mark, origin, path))
    _fill_peaks(spec, row)
    if runtime.half_accumulate and spec.compute.half_accumulate_gain:
        for dtype in ("bf16", "fp16"):
            row["peaks"][COMPUTE_DTYPES.index(dtype)] *= spec.compute.half_accumulate_gain.value
        gain = spec.compute.half_accumulate_gain
        provenance.append(
            _fact_note(f"{spec.id} gain of fp16 accumulation", gain, "device.compute.half_accumulate_gain")
        )
    provenance += [
        _fact_note(f"{spec.id} peak {dtype}", fact, f"device.compute.peaks.{dtype}")
        for dtype, fact in spec.compute.peaks.items()
    ]
    provenance += _fill_runtime(runtime, row)
    row["timed_alone"] = float(timed_alone)
    if not row["cap_w"] > row["static_w"]:
        raise InputError(
            f"{spec.id}: a power limit of {row['cap_w']:.4g} W leaves nothing above the static power of "
            f"{row['static_w']:.4g} W (device.parameters.cap_w, device.parameters.static_w)"
        )
    records[1:] = row
    for record, chosen in zip(records[1:], choice.entries, strict=True):
        provenance += _fill_calibration(chosen, spec, runtime, known, record)
    if "quantize" in runtime.fusions and not timed_alone:
        records["gemm_prepare_bytes"] = 0.0
    return DeviceModel(spec, runtime, records, choice, _errors(spec.device_class, choice), tuple(provenance))


def _errors(device_class: str, choice: Choice) -> Floats:
    """Errors by record and family: of class priors by the table of the class, of calibrations by their residuals."""
    errors = np.empty((1 + len(choice.entries), len(FAMILIES), 2))
    errors[0] = [prior_error(device_class, family) for family in FAMILIES]
    for row, chosen in zip(errors[1:], choice.entries, strict=True):
        row[:] = (math.hypot(chosen.entry.residuals.shared, chosen.doubt), chosen.entry.residuals.own)
    return errors


def _check_parameters(given: Mapping[str, Fact], known: Mapping[str, Parameter], place: str) -> None:
    """Refuse parameters that the law does not have, and values of another dimension."""
    for name, fact in given.items():
        if name not in known:
            close = nearest(name, known)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{place}: no law parameter {name!r}{hint} (allowed: {', '.join(known)})")
        if fact.dimension != known[name].dimension:
            raise InputError(f"{place}: parameter {name} = {fact.text!r} must be a {known[name].dimension}")


def _fill_calibration(
    chosen: Chosen, spec: DeviceSpec, runtime: Runtime, known: Mapping[str, Parameter], row: Any
) -> list[Provenance]:
    """Parameters of an entry, and the runtime's factors relative to those of the runtime that it was measured under."""
    entry = chosen.entry
    place = f"calibration {entry.fit.id}"
    _check_parameters(entry.facts, known, place)
    for name, fact in entry.facts.items():
        low, high = (known[name].low, known[name].high) if known[name].free else (0.0, math.inf)
        if not 0.999 * low <= fact.value <= 1.001 * high:
            raise InputError(f"{place}: {name} = {fact.text!r} must be from {low:g} to {high:g} (SI units)")
        if name not in spec.parameters:
            row[name] = min(fact.value, _power_share(chosen, spec, name))
    if entry.runtimes:
        measured = load_runtime(runtime.id if chosen.own_runtime else entry.runtimes[0]).factors
        own = runtime.factors
        for family in RUNTIME_FAMILIES:
            if not chosen.own_runtime or getattr(own, family).origin == SET_BY_USER:
                row["factors"][FAMILIES.index(family)] /= getattr(measured, family).value
            else:
                row["factors"][FAMILIES.index(family)] = 1.0
        changed = SET_BY_USER in (own.gemm.origin, (own.gemv or own.gemm).origin)
        row["weight_factor"] = own.weight_stream / measured.weight_stream if changed or not chosen.own_runtime else 1.0
    what = f"{spec.id} {', '.join(entry.operators)}" + (f" in {', '.join(entry.dtypes)}" if entry.dtypes else "")
    values = ", ".join(f"{name} {text}" for name, text in entry.parameters.items())
    return [Provenance(what, values, Mark.CALIBRATED.value, f"fit {entry.fit.id}: {entry.fit.rule}", "")]


def _power_share(chosen: Chosen, spec: DeviceSpec, name: str) -> float:
    """The most that a calibration of other devices may say of a parameter: what the power of this one sustains."""
    entry = chosen.entry
    others = spec.id not in entry.fit.devices and spec.device_class == "gpu"
    return fma_sustained(spec) if others and name == "gemm_sustained" and entry.dtypes == ("fp32",) else math.inf


def _peak(spec: DeviceSpec, dtype: str, native: str) -> float:
    """Rate of math in ``dtype`` that runs as ``native`` [FLOP/s]."""
    return spec.compute.peaks[native].value / PASSES.get((dtype, native), 1.0)


def _fill_peaks(spec: DeviceSpec, row: Any) -> None:
    """Peaks per dtype; 0 where impossible."""
    for code, dtype in enumerate(COMPUTE_DTYPES):
        native = _fastest(spec, dtype)
        row["peaks"][code] = _peak(spec, dtype, native) if native else 0.0


def _fill_runtime(runtime: Runtime, row: Any) -> list[Provenance]:
    """Launch, gap and family factors of the runtime."""
    row["launch_s"] = 0.0 if runtime.runs_ahead else runtime.launch.value
    row["gap_s"] = runtime.graph_launch.value
    row["graph_mode"] = float(runtime.graph_mode)
    row["factors"][:] = 1.0
    row["vector_decode"], row["grouped_heads"] = float(runtime.vector_decode), float(runtime.grouped_heads)
    row["unpack_rows"] = PACKED_KERNELS[runtime.packed_kernel]
    row["weight_factor"] = runtime.factors.weight_stream
    notes = [
        _fact_note(f"{runtime.id} {name}", getattr(runtime, name), f"runtime.{name}")
        for name in ("launch", "graph_launch", "host_step")
    ]
    for family in RUNTIME_FAMILIES:
        fact = getattr(runtime.factors, family)
        row["factors"][FAMILIES.index(family)] = fact.value
        notes.append(_fact_note(f"{runtime.id} {family} factor", fact, f"runtime.factors.{family}"))
    return notes


def _fact_note(what: str, fact: Any, path: str) -> Provenance:
    return Provenance(what, fact.text, fact.mark.value, fact.origin, path)
