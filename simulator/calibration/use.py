"""Calibrations of the user's own: checked against the laws of this silicost, and put before all others.

A file that this version cannot price is refused before anything is read from it, so that what was in use stays.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from hardware_specs.calibrations import (
    Calibration,
    Calibrations,
    calibration_names,
    load_calibration,
    own_device,
)
from hardware_specs.calibrations import use_calibration as put_first
from hardware_specs.devices import device_names, load_device
from hardware_specs.dtypes import COMPUTE_DTYPES
from hardware_specs.errors import InputError, UnitError, UnknownName, clipped, nearest
from hardware_specs.facts import Fact
from hardware_specs.files import is_file
from hardware_specs.reader import read_record, read_toml
from hardware_specs.records import DEVICE_CLASSES
from hardware_specs.units import parse_quantity
from hardware_specs.version import package_version
from simulator.devices.calibrated import KINDS
from simulator.devices.registry import Parameter, law_of
from workloads.operators import FAMILY, OpKind
from workloads.runtimes.catalogue import runtime_names

_OTHER_FILES: Mapping[str, str] = {
    ".parquet": "; samples of a machine become one with 'silicost calibrate fit', points go to 'silicost validate'",
    ".csv": "; measured points go to 'silicost validate'",
}
"""What a file of another kind is for."""


def use_calibration(path: str | Path) -> str:
    """Let the calibration in a file hold before all others in this process, in place of what held before.

    Results of scenarios that are made from now on rest on it: a file that brings a [device] defines the device of its
    id; one without replaces the entries of a device, or of a class, that silicost knows. Scenarios hold the device that
    they were made with, so those that were made before keep its facts.

    Args:
        path: a TOML file that ``silicost calibrate`` wrote.

    Returns:
        The id of the device (or the class) that it is of.

    Raises:
        InputError: no such file, a file of another kind, or one that the laws of this version cannot price.
    """
    found = read_calibration(path)
    put_first(Path(path))
    return found.id


def read_calibration(path: str | Path) -> Calibrations:
    """The calibration in a file, checked.

    Raises:
        InputError: as ``use_calibration``.
    """
    text = str(path)
    if not text.endswith(".toml"):
        hint = _OTHER_FILES.get(Path(text).suffix, "")
        raise InputError(f"calibration {clipped(text)!r}: must be a .toml file as 'silicost calibrate' writes it{hint}")
    if not is_file(Path(path)):
        raise InputError(f"{clipped(text)}: no such calibration file")
    if "device_class" in read_toml(Path(path)):
        raise InputError(f"{clipped(text)}: describes a device, not a calibration of one; --device takes it")
    found = read_record(Path(path), Calibrations)
    check_calibration(found, Path(path).name)
    return found


def own_calibration(name: str) -> Calibrations | None:
    """The calibration of a device or class that was made on a machine by its user; None where there is none.

    Raises:
        InputError: a broken file.
    """
    if name not in calibration_names():
        return None
    found = load_calibration(name)
    return found if found.environment or own_device(name) is not None else None


def device_class_of(found: Calibrations, place: str = "") -> str:
    """The class whose law the entries are parameters of.

    Raises:
        UnknownName: it brings no device, and is of none that there is; ``place`` is named.
    """
    if found.device is not None:
        return found.device.device_class
    if found.id in DEVICE_CLASSES:
        return found.id
    if found.id not in device_names():
        hint = f"it brings no [device], so its id must be that of one, or one of {', '.join(DEVICE_CLASSES)}"
        raise UnknownName("device", found.id, device_names(), hint, place)
    return load_device(found.id).device_class


def check_calibration(found: Calibrations, place: str) -> None:
    """Refuse what the laws of this version cannot price.

    Args:
        place: the file, for errors.

    Raises:
        InputError: an unknown device, operator, dtype, runtime or parameter, or a value that a parameter or a fact of
            the environment cannot have.
    """
    if found.environment:
        from simulator.calibration.machine.environment import Environment

        Environment.from_texts(found.environment, f"{place}: environment")
    device_class = device_class_of(found, place)
    if found.device is not None and found.device.id != found.id:
        raise InputError(
            f"{place}: device.id is {found.device.id!r}, the id of the file {found.id!r}; must be the same"
        )
    known = {parameter.name: parameter for parameter in law_of(device_class).parameters}
    for entry in found.calibrations:
        where = f"{place}: calibration {entry.fit.id}"
        for field, allowed in (("operators", KINDS), ("dtypes", COMPUTE_DTYPES), ("runtimes", runtime_names())):
            for name in getattr(entry, field):
                _check_known(name, allowed, f"{where}: {field}")
        _check_numbers(entry, known, device_class, place)


def missing_parameters(entry: Calibration, device_class: str) -> tuple[str, ...]:
    """Parameters that fits of the operators of ``entry`` move, and that it does not name."""
    families = {FAMILY[OpKind(KINDS[name])] for name in entry.operators}
    free = (each for each in law_of(device_class).parameters if each.free and not families.isdisjoint(each.families))
    return tuple(each.name for each in free if each.name not in entry.parameters)


def _check_numbers(entry: Calibration, known: Mapping[str, Parameter], device_class: str, place: str) -> None:
    """Parameters and the ends of their intervals."""
    where = f"{place}: calibration {entry.fit.id}"
    try:
        facts = entry.facts
    except UnitError as error:
        raise InputError(f"{place}: {error}") from None
    for name, fact in facts.items():
        if name not in known:
            close = nearest(name, known)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(
                f"{where}: the {device_class} law of silicost {package_version()} has no parameter {name!r}{hint}; "
                f"of a file that another version made: fit its samples again (allowed: {', '.join(known)})"
            )
        _check_value(fact, known[name], f"{where}: {name}")
    for name, ends in entry.intervals.items():
        _check_known(name, entry.parameters, f"{where}: intervals")
        dimension = facts[name].dimension
        values = [parse_quantity(end, dimension, f"{where}: intervals.{name}") for end in ends]
        if len(values) != 2 or values != sorted(values):
            raise InputError(f"{where}: intervals.{name} {list(ends)!r}: must be two rising quantities")


def _check_value(fact: Fact, parameter: Parameter, place: str) -> None:
    if fact.dimension != parameter.dimension:
        raise InputError(f"{place}: {fact.text!r} must be a {parameter.dimension}")
    if parameter.free and not 0.999 * parameter.low <= fact.value <= 1.001 * parameter.high:
        limits = f"from {parameter.low:g} to {parameter.high:g} (SI units)"
        raise InputError(f"{place}: {fact.text!r} must be {limits}")


def _check_known(name: str, allowed: Collection[str], place: str) -> None:
    if name not in allowed:
        close = nearest(name, allowed)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{place}: no such name {clipped(name)!r}{hint} (allowed: {', '.join(allowed)})")
