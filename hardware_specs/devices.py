"""The catalogue of devices; ``<device>:<profile>`` names a partition of one (``hardware_specs.partitions``), and of an
FPGA a design on it (``hardware_specs.designs``)."""

from __future__ import annotations

from pathlib import Path

from hardware_specs.calibrations import own_device, own_device_names
from hardware_specs.catalogue import Catalogue
from hardware_specs.designs import designed, takes_designs
from hardware_specs.errors import UnknownName
from hardware_specs.files import is_path
from hardware_specs.partitions import SEPARATOR, partitioned
from hardware_specs.records import DeviceSpec

_CATALOGUE = Catalogue("device", DeviceSpec, Path(__file__).parent / "data" / "devices")


def device_names() -> tuple[str, ...]:
    """All device names, sorted; those of the user's own calibrations are among them."""
    return tuple(sorted({*_CATALOGUE.names(), *own_device_names()}))


def load_device(name: str | Path) -> DeviceSpec:
    """The device called ``name``, or described in a TOML file; one that the user calibrated goes before others.

    A name such as ``a100-sxm-80gb:3g.40gb`` is one of the partitions of a device, ``alveo-u280:dfx`` a design on it.

    Raises:
        UnknownName: no such device or design.
        InputError: a broken file, no such partition, or a design that does not fit.
    """
    whole, profile = split_device(name)
    found = own_device(whole) or _load(whole)
    return _partition(found, profile) if profile else found


def split_device(name: str | Path) -> tuple[str, str]:
    """A device's name or path, and the profile of its partition or its design ("" for the whole device)."""
    text = str(name)
    whole, separator, profile = text.rpartition(SEPARATOR)
    if not separator or not profile or text in device_names() or (is_path(text) and not whole.endswith(".toml")):
        return text, ""
    return whole, profile


_PARTITIONS: dict[tuple[int, str], tuple[DeviceSpec, DeviceSpec]] = {}
"""Partitions by the identity of the whole, which they are kept with, so that the same name gives the same record."""


def _partition(whole: DeviceSpec, profile: str) -> DeviceSpec:
    key = id(whole), profile
    if key not in _PARTITIONS:
        made = designed if takes_designs(whole) else partitioned
        _PARTITIONS[key] = whole, made(whole, profile)
    return _PARTITIONS[key][1]


def _load(name: str | Path) -> DeviceSpec:
    try:
        return _CATALOGUE.load(name)
    except UnknownName as unknown:
        raise UnknownName(unknown.what, unknown.name, device_names(), "silicost devices list") from None


def load_all_devices() -> tuple[DeviceSpec, ...]:
    """Every device, in the order of names."""
    return tuple(load_device(name) for name in device_names())
