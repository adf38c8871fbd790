"""Devices that have the same chip, so that what was measured on one holds for the other."""

from __future__ import annotations

from functools import lru_cache

from hardware_specs.calibrations import calibration_names
from hardware_specs.devices import device_names, load_device
from hardware_specs.records import DeviceSpec


def twins_of(spec: DeviceSpec) -> tuple[str, ...]:
    """Calibrated devices that have the chip of ``spec``: of its maker, with as many units and the same dense peaks.

    A device of the catalogue is taken as it stands there: what changes of it are tried does not make it another chip.
    """
    chip = _chip_of(load_device(spec.id) if spec.id in device_names() else spec)
    return tuple(name for name in _calibrated() if name != spec.id and _chip_of(load_device(name)) == chip)


@lru_cache(maxsize=1)
def _calibrated() -> tuple[str, ...]:
    return tuple(name for name in calibration_names() if name in device_names())


def _chip_of(spec: DeviceSpec) -> tuple[object, ...]:
    units = spec.compute.units.value if spec.compute.units else spec.id
    peaks = [(dtype, fact.value) for dtype, fact in spec.compute.peaks.items() if dtype in ("bf16", "fp16", "fp8")]
    return spec.vendor, spec.device_class, units, *sorted(peaks)
