"""The catalogue of devices."""

from __future__ import annotations

from pathlib import Path

from hardware_specs.calibrations import own_device, own_device_names
from hardware_specs.catalogue import Catalogue
from hardware_specs.errors import UnknownName
from hardware_specs.records import DeviceSpec

_CATALOGUE = Catalogue("device", DeviceSpec, Path(__file__).parent / "data" / "devices")


def device_names() -> tuple[str, ...]:
    """All device names, sorted; those of the user's own calibrations are among them."""
    return tuple(sorted({*_CATALOGUE.names(), *own_device_names()}))


def load_device(name: str | Path) -> DeviceSpec:
    """The device called ``name``, or described in a TOML file; one that the user calibrated goes before others.

    Raises:
        UnknownName: no such device.
        InputError: a broken file.
    """
    return own_device(str(name)) or _load(name)


def _load(name: str | Path) -> DeviceSpec:
    try:
        return _CATALOGUE.load(name)
    except UnknownName as unknown:
        raise UnknownName(unknown.what, unknown.name, device_names(), "silicost devices list") from None


def load_all_devices() -> tuple[DeviceSpec, ...]:
    """Every device, in the order of names."""
    return tuple(load_device(name) for name in device_names())
