"""Calibrations out of the files of other benchmarks: bandwidths of STREAM and MLC, whole models of llama-bench."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from hardware_specs.calibrations import Calibration, Calibrations
from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Fit, Mark
from hardware_specs.records import DeviceSpec
from hardware_specs.units import format_quantity
from simulator.calibration.foreign.model_shares import shares_of
from simulator.calibration.foreign.record import Foreign
from simulator.calibration.foreign.registry import read_foreign
from workloads.operators import OpKind


def calibration_from_files(files: Sequence[Path], device: str, name: str) -> tuple[Calibrations, list[str]]:
    """A calibration of ``device`` from what other benchmarks measured, and what must be known of it.

    Args:
        files: outputs of STREAM, BabelStream, MLC or llama-bench.
        device: id of the device that they were run on.
        name: id of the calibrated device; "": as ``device``.

    Raises:
        InputError: no device, unknown or broken files, or nothing in them that a calibration can take.
    """
    if not device:
        raise InputError("--from needs --device: the device that the files are of, for example epyc-9654")
    spec = load_device(device)
    if spec.device_class != "cpu":
        raise InputError(f"--device {spec.id}: is a {spec.device_class}; --from takes files of CPUs here")
    spec = msgspec.structs.replace(spec, id=name or spec.id)
    read = [read_foreign(file) for file in files]
    date = str(datetime.now(UTC).date())
    remarks = [reason for each in read for reason in each.skipped]
    spec, about = _with_bandwidth(spec, read, date)
    entries: tuple[Calibration, ...] = ()
    rows = [row for each in read for row in each.model_rows]
    if rows:
        shares = shares_of(rows, spec, date=date)
        entries = shares.entries
        remarks += [*shares.skipped, *(f"{model}: taken for {what}" for model, what in shares.models.items())]
    if not about and not entries:
        raise InputError("there is neither a bandwidth of memory nor a run of a model in these files")
    return (
        Calibrations(
            spec.id, entries, f"From the files of other benchmarks: {', '.join(file.name for file in files)}.", spec
        ),
        [*about, *remarks],
    )


def _with_bandwidth(spec: DeviceSpec, read: Sequence[Foreign], date: str) -> tuple[DeviceSpec, list[str]]:
    """``spec`` with the best bandwidth of memory in the files and a word on it; as it is where there is none."""
    streams = [
        (each.operator.moved_bytes / each.operator.batch / each.time_s, each)
        for foreign in read
        for each in foreign.measurements
        if each.operator.kind == OpKind.STREAM_COPY
    ]
    if not streams:
        return spec, []
    rate, best = max(streams, key=lambda pair: pair[0])
    rule = f"highest rate among {len(streams)} rows: {best.variant}"
    fit = Fit(f"{spec.id}-bandwidth", (best.source,), rule, date, (spec.id,), len(streams))
    text = format_quantity(rate, "bytes_per_s")
    fact = Fact(rate, "bytes_per_s", text, Mark.CALIBRATED, rule, date, fit)
    memory = msgspec.structs.replace(spec.memory, bandwidth=fact)
    before = spec.memory.bandwidth.text
    return msgspec.structs.replace(spec, memory=memory), [
        f"memory bandwidth {text} ({best.variant}) instead of {before}"
    ]
