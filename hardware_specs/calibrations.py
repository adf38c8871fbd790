"""Calibrations: law parameters fitted to measured operators of one device, or of a whole class, under a runtime.

A file (``data/calibrations/<device>.toml``, or ``<class>.toml`` for a class) lists entries. Each says for which
operators, number formats and runtimes its parameters hold, by which fit they were found, and how far predictions were
off on rows that this fit had not seen. Entries of the user's own directory replace those of the same file name.
"""

from __future__ import annotations

import contextlib
import hashlib
from functools import cache, cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from hardware_specs.catalogue import Catalogue
from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Fit, Mark
from hardware_specs.partitions import SEPARATOR
from hardware_specs.records import DeviceSpec
from hardware_specs.units import dimension_of, parse_quantity


class Residuals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far predictions were off on ``rows`` rows in ``groups`` groups that the fit had not seen.

    With r = ln(measured / predicted): ``mape`` and ``median`` are the mean and median of |exp(-r) - 1|; ``shared`` is
    the standard deviation of the error that all rows of one operator family have in common, ``own`` that of what is
    left; ``quantiles`` are r at 2.5, 10, 90 and 97.5%, widened for the size of the sample (split conformal).
    """

    rows: int
    groups: int
    mape: float
    median: float
    shared: float
    own: float
    quantiles: tuple[float, ...]


class SizeRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The smallest and the largest of the measured calls of one kind of operator, rounded outward to four digits.

    Args:
        flops: floating-point operations of a call, with unit ("2.147e+09 FLOP").
        moved_bytes: bytes of a call that cross the memory interface at least once, with unit ("1.049e+06 B").
    """

    flops: tuple[str, str]
    moved_bytes: tuple[str, str]


class Sizes(NamedTuple):
    """The four ends of a ``SizeRange`` as numbers: FLOPs [FLOP], moved bytes [B]."""

    least_flops: float
    most_flops: float
    least_bytes: float
    most_bytes: float


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """Fitted parameters of a law, for some operators.

    Args:
        operators: operator kinds, lower case ("gemm", "attention_decode").
        parameters: value with unit by the name of the law parameter.
        fit: rows used, split rule, digests, date.
        residuals: of fits that left out other groups of the rows used, in turn: intervals are cut from them.
        held_out: of these very parameters on the groups that no fit saw; None where too few groups were measured.
        intervals: ends of the 95% interval of parameters.
        held_out_error_shape: mean relative error of fits on shapes that they left out, in turn.
        held_out_error_family: the same on these operators where none of their kind was seen.
        dtypes: compute dtypes; empty: all.
        runtimes: runtimes whose kernels were measured; empty: the kernels of any, under the runtime's own factors.
        weights: "packed": weights that are unpacked before the product; "scaled": weights in the dtype of the math with
            a scale for each block of them; "plain": any other.
        measured: sizes of the calls that the parameters were fitted to, by operator kind: a kind without one was not
            measured. Empty: not recorded.
    """

    operators: tuple[str, ...]
    parameters: dict[str, str]
    fit: Fit
    residuals: Residuals
    dtypes: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    weights: Literal["plain", "packed", "scaled"] = "plain"
    held_out: Residuals | None = None
    intervals: dict[str, tuple[str, ...]] = {}
    held_out_error_shape: float | None = None
    held_out_error_family: float | None = None
    measured: dict[str, SizeRange] = {}

    @cached_property
    def sizes(self) -> dict[str, Sizes]:
        """``measured`` as numbers.

        Raises:
            UnitError: a value that is no quantity, or one of another dimension.
        """
        return {
            kind: _sizes(each, f"calibration {self.fit.id}: measured.{kind}") for kind, each in self.measured.items()
        }

    @cached_property
    def facts(self) -> dict[str, Fact]:
        """The parameters as facts.

        Raises:
            UnitError: a value that is no quantity.
        """
        place = f"calibration {self.fit.id}"
        return {
            name: Fact(
                parse_quantity(text, dimension_of(text), f"{place}: {name}"), dimension_of(text), text,
                Mark.CALIBRATED, self.fit.rule, self.fit.date, self.fit,
            )
            for name, text in self.parameters.items()
        }  # fmt: skip


def _sizes(measured: SizeRange, place: str) -> Sizes:
    flops = (parse_quantity(end, "flop", f"{place}.flops") for end in measured.flops)
    moved = (parse_quantity(end, "bytes", f"{place}.moved_bytes") for end in measured.moved_bytes)
    return Sizes(*flops, *moved)


class Calibrations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The entries of one file; ``id`` is the device or the class that they are of.

    A calibration of a machine brings its ``device``, which then goes before a shipped one of that name, and its
    ``environment``: what the machine was when it was measured, as plain texts.
    """

    id: str
    calibrations: tuple[Calibration, ...]
    notes: str = ""
    device: DeviceSpec | None = None
    environment: dict[str, str] = {}


_CATALOGUE = Catalogue("calibration", Calibrations, Path(__file__).parent / "data" / "calibrations")


def calibration_names() -> tuple[str, ...]:
    """Devices and classes with calibrations, sorted."""
    return _CATALOGUE.names()


def load_calibration(name: str | Path) -> Calibrations:
    """All entries of a device or class, or of a file.

    Raises:
        UnknownName: nothing was measured there.
        InputError: a broken file.
    """
    return _CATALOGUE.load(name)


def calibrations_of(name: str) -> tuple[Calibration, ...]:
    """Entries of a device or class; none where nothing was measured.

    Raises:
        InputError: a broken file.
    """
    path = _file_of(name)
    if path is None:
        return ()
    entries = _CATALOGUE.load(path).calibrations
    for entry in entries:
        _check(entry, f"{path}: calibration {entry.fit.id}")
    return entries


def _file_of(name: str) -> Path | None:
    """The file of a device or class; a partition without one of its own has that of its device."""
    return _CATALOGUE.paths.get(name) or _CATALOGUE.paths.get(name.rpartition(SEPARATOR)[0])


def own_device(name: str) -> DeviceSpec | None:
    """The device that the user's own calibration ``name`` brings; None where there is none.

    Raises:
        InputError: a broken file.
    """
    path = _CATALOGUE.paths.get(name)
    if path is None or path.is_relative_to(_CATALOGUE.folder):
        return None
    found = _CATALOGUE.load(name)
    if found.device is not None and found.id != name:
        raise InputError(f"{path}: is of {found.id!r}; in the data directory the file must be called {found.id}.toml")
    return found.device


def own_device_names() -> tuple[str, ...]:
    """Devices that the user's own calibrations bring, sorted; a file that cannot be read brings none."""
    found = []
    for name in _CATALOGUE.names():
        with contextlib.suppress(InputError):
            if own_device(name) is not None:
                found.append(name)
    return tuple(found)


def use_calibration(path: str | Path) -> str:
    """Let the calibration in the file ``path`` hold before all others in this process; returns the id of its device.

    Models that were compiled before do not change.

    Raises:
        InputError: no such file, or a broken one.
    """
    place = Path(path)
    _CATALOGUE._loaded.pop(place, None)  # it may have been written anew since
    found = _CATALOGUE.load(place)
    for entry in found.calibrations:
        _check(entry, f"{place}: calibration {entry.fit.id}")
    _CATALOGUE.paths[found.id] = place
    calibrations_digest.cache_clear()
    return found.id


_MOST_SD = 5.0
"""Standard deviation of a log error beyond which nothing was measured."""


def _check(entry: Calibration, place: str) -> None:
    """Refuse what cannot be priced or cut an interval from.

    Raises:
        InputError: no operators, residuals that are none, or sizes of calls that are none.
    """
    if not entry.operators:
        raise InputError(f"{place}: operators is empty; name at least one kind, for example 'gemm'")
    left = entry.residuals
    for name in ("shared", "own"):
        if not 0.0 <= getattr(left, name) <= _MOST_SD:
            raise InputError(f"{place}: residuals.{name} {getattr(left, name)!r} must be from 0 to {_MOST_SD:g}")
    ends = left.quantiles
    if len(ends) != 4 or list(ends) != sorted(ends) or max(map(abs, ends)) > 4.0 * _MOST_SD:
        raise InputError(f"{place}: residuals.quantiles {list(ends)!r} must be four rising numbers: 2.5, 10, 90, 97.5%")
    for kind, sizes in entry.sizes.items():
        if kind not in entry.operators:
            raise InputError(
                f"{place}: measured.{kind}: must be of an operator of the entry: {', '.join(entry.operators)}"
            )
        for name, least, most in (("flops", *sizes[:2]), ("moved_bytes", *sizes[2:])):
            if not 0.0 <= least <= most:
                ends_of = list(getattr(entry.measured[kind], name))
                raise InputError(
                    f"{place}: measured.{kind}.{name} {ends_of!r} must be the smallest and the largest call"
                )


@cache
def calibrations_digest(name: str) -> str:
    """Hash of the file of a device or class; "" where there is none."""
    path = _file_of(name)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path else ""
