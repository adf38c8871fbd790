"""Designs from files: a short TOML of one's own, or the device file made from it, which keeps the design at its end."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from hardware_specs.accelerators.checks import check_design
from hardware_specs.accelerators.coefficients import coefficients
from hardware_specs.accelerators.keys import KEYS, QUANTITIES, WRITTEN
from hardware_specs.accelerators.records import Design
from hardware_specs.errors import InputError, clipped, nearest
from hardware_specs.reader import convert, read_toml
from hardware_specs.units import parse_quantity

KEPT: Final = "#: "
"""Before each line of the design that a device file keeps."""


def load_design(path: Path) -> Design:
    """The design in a TOML file: a design file, or a device file that was made from one.

    Raises:
        InputError: the file cannot be read, holds no design, or a wrong one.
    """
    table = read_toml(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line.removeprefix(KEPT) for line in lines if line.startswith(KEPT)]
    if kept:
        try:
            table = tomllib.loads("\n".join(kept))
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{path}: the design in its last lines is not valid TOML: {error}") from None
    elif "compute" in table:
        raise InputError(f"{path}: holds a device but no design; files that 'silicost design' makes hold both")
    return read_design({"id": path.stem, **table}, f"{path.name}: ")


def read_design(table: Mapping[str, Any], place: str = "") -> Design:
    """A design from a table as ``tomllib`` reads it.

    Args:
        place: what stands before the key in errors ("my-chip.toml: ").

    Raises:
        InputError: an unknown key (with the nearest), a missing one, a wrong value.
    """
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in KEYS:
            close = nearest(key, KEYS, most=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{place}{clipped(key)}: unknown key{hint} (allowed: {', '.join(KEYS)})")
        if key in QUANTITIES:
            field, dimension, factor = QUANTITIES[key]
            values[field] = parse_quantity(value, dimension, f"{place}{key}") * factor
        else:
            values[key] = value
    missing = [
        WRITTEN.get(f.name, f.name) for f in msgspec.structs.fields(Design) if f.required and f.name not in values
    ]
    if missing:
        raise InputError(f"{place}missing key{'s' if len(missing) > 1 else ''} {', '.join(map(repr, missing))}")
    design = convert(values, Design, place.removesuffix(": ") or "design", {})
    check_design(design, coefficients(), place)
    return design


def rates_of(text: str, place: str = "") -> dict[str, float]:
    """Products that a cell makes in a cycle, by dtype, from "bf16=1,int8=2".

    Raises:
        InputError: no such list.
    """
    rates: dict[str, float] = {}
    for part in text.split(","):
        dtype, equals, rate = (piece.strip() for piece in part.partition("="))
        if not (dtype and equals and rate) or dtype in rates:
            raise InputError(f"{place}: {clipped(text)!r} must list each dtype once, for example bf16=1,int8=2")
        rates[dtype] = parse_quantity(rate, "number", place)
    return rates
