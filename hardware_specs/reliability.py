"""How often hardware fails and how long a job needs to come back: facts by device, else by device class."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from hardware_specs.catalogue import Catalogue
from hardware_specs.devices import split_device
from hardware_specs.errors import InputError, UnknownName
from hardware_specs.facts import Number, Seconds
from hardware_specs.records import DeviceSpec


class PublishedRun(msgspec.Struct, frozen=True):
    """A run or a fleet that was reported: what predictions are compared with.

    ``devices`` and ``time`` say over what; ``interruptions`` how many; ``mtbf`` the job's mean time between them, where
    that was reported instead; ``effective`` is the share of time that was training, a lower bound where ``at_least``.
    """

    name: str
    devices: int
    time: Seconds | None = None
    interruptions: Number | None = None
    mtbf: Seconds | None = None
    effective: Number | None = None
    at_least: bool = False
    notes: str = ""


class ReliabilitySpec(msgspec.Struct, frozen=True):
    """Mean times between interruptions of training, and times of recovery.

    ``device_mtbf`` is of one device; ``host_mtbf``, ``network_mtbf`` and ``software_mtbf`` are of a node of ``devices``
    devices. A part that is missing is counted in another. ``detect`` runs until a failure is known, ``restart`` until
    all processes talk to each other again, ``warmup`` until steps have their usual speed; reading the checkpoint is not
    in them. ``repair`` is the mean time until a broken node is back.
    """

    id: str
    name: str
    devices: int
    detect: Seconds
    restart: Seconds
    warmup: Seconds
    repair: Seconds
    device_mtbf: Seconds | None = None
    host_mtbf: Seconds | None = None
    network_mtbf: Seconds | None = None
    software_mtbf: Seconds | None = None
    device_ids: tuple[str, ...] = ()
    device_classes: tuple[str, ...] = ()
    runs: tuple[PublishedRun, ...] = ()
    notes: str = ""


_CATALOGUE = Catalogue("failure-rate", ReliabilitySpec, Path(__file__).parent / "data" / "reliability")


def reliability_names() -> tuple[str, ...]:
    """All names, sorted."""
    return _CATALOGUE.names()


def load_reliability(name: str | Path) -> ReliabilitySpec:
    """The facts called ``name`` ("h100", or a device class: "gpu"), or in a TOML file.

    Raises:
        UnknownName: no such facts.
        InputError: a broken file, or one without any MTBF.
    """
    try:
        found = _CATALOGUE.load(name)
    except UnknownName:
        names = reliability_names()
        raise UnknownName("reliability", str(name), names, f"allowed: {', '.join(names)}") from None
    if not any((found.device_mtbf, found.host_mtbf, found.network_mtbf, found.software_mtbf)):
        raise InputError(f"{found.id}: no MTBF; give device_mtbf, host_mtbf, network_mtbf or software_mtbf")
    return found


def reliability_of(device: DeviceSpec) -> ReliabilitySpec:
    """The facts that name the device's id, else its class.

    Raises:
        InputError: none claims the device's class.
    """
    whole, _ = split_device(device.id)
    specs = [load_reliability(name) for name in reliability_names()]
    matching = [(len(p), s.id, s) for s in specs for p in s.device_ids if fnmatchcase(whole, p)]
    if matching:
        return max(matching, key=lambda m: m[:2])[2]
    for spec in specs:
        if device.device_class in spec.device_classes:
            return spec
    raise InputError(f"{device.id}: no reliability is known for the class {device.device_class!r}")
