"""The catalogue of devices."""

from __future__ import annotations

from pathlib import Path

from hardware_specs.catalogue import Catalogue
from hardware_specs.records import DeviceSpec

_CATALOGUE = Catalogue("device", DeviceSpec, Path(__file__).parent / "data" / "devices")


def device_names() -> tuple[str, ...]:
    """All device names, sorted."""
    return _CATALOGUE.names()


def load_device(name: str | Path) -> DeviceSpec:
    """The device called ``name``, or described in a TOML file.

    Raises:
        UnknownName: no such device.
        InputError: a broken file.
    """
    return _CATALOGUE.load(name)


def load_all_devices() -> tuple[DeviceSpec, ...]:
    """Every device, in the order of names."""
    return tuple(_CATALOGUE.load(name) for name in device_names())
