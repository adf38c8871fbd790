"""The usual host of a device: which box it stands in when the user names no system."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from hardware_specs.catalogue import Catalogue
from hardware_specs.designs import takes_designs
from hardware_specs.devices import device_names, load_device, split_device
from hardware_specs.errors import InputError
from hardware_specs.facts import Fact
from hardware_specs.partitions import partitions_that_fit
from hardware_specs.records import DeviceSpec, HostSpec

_CATALOGUE = Catalogue("host", HostSpec, Path(__file__).parent / "data" / "hosts")


def host_names() -> tuple[str, ...]:
    """All host names, sorted."""
    return _CATALOGUE.names()


def load_host(name: str | Path) -> HostSpec:
    """The host called ``name``, or described in a TOML file.

    Raises:
        UnknownName: no such host.
        InputError: a broken file.
    """
    return _CATALOGUE.load(name)


def host_of(device: DeviceSpec) -> HostSpec:
    """The host that names the device's id, else its scale-up link, else its form factor, else its class.

    Of several patterns that match, the longest (most specific) decides. A partition stands in the host of its device,
    which then holds so many more of them; a design of an FPGA in that of the board.

    Raises:
        InputError: no host claims the device's class.
    """
    whole, profile = split_device(device.id)
    if profile and whole in device_names():
        cut = load_device(whole)
        return host_of(cut) if takes_designs(cut) else _shared(host_of(cut), partitions_that_fit(cut, profile))
    hosts = [load_host(name) for name in host_names()]
    claims: tuple[tuple[str, Callable[[HostSpec], Iterable[str]]], ...] = (
        (device.id, lambda h: h.device_ids),
        (device.ports.scaleup, lambda h: h.links),
        (device.form_factor, lambda h: h.form_factors),
        (device.device_class, lambda h: h.device_classes),
    )
    for value, patterns_of in claims:
        matching = [(len(p), h.id, h) for h in hosts for p in patterns_of(h) if value and fnmatchcase(value, p)]
        if matching:
            return max(matching, key=lambda m: m[:2])[2]
    raise InputError(f"{device.id}: no host is known for the class {device.device_class!r}; add a file to hosts/")


def _shared(host: HostSpec, ways: int) -> HostSpec:
    """``host`` with each of its devices cut into ``ways`` partitions."""
    bandwidth = host.network_bandwidth_per_device
    return msgspec.structs.replace(
        host,
        devices=host.devices * ways,
        power_per_device=_part(host.power_per_device, ways),
        network_bandwidth_per_device=bandwidth and _part(bandwidth, ways),
    )


def _part(whole: Fact, ways: int) -> Fact:
    return msgspec.structs.replace(whole, value=whole.value / ways, text=f"1/{ways} of {whole.text}")
