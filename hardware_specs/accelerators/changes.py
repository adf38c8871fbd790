"""What-if changes of a design: "array_rows" = "2x", "clock" = "1.7 GHz", "rates.fp8" = "2"."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from hardware_specs.accelerators.checks import check_design
from hardware_specs.accelerators.coefficients import coefficients
from hardware_specs.accelerators.files import rates_of
from hardware_specs.accelerators.keys import KEYS, QUANTITIES
from hardware_specs.accelerators.records import Design
from hardware_specs.errors import InputError, nearest
from hardware_specs.units import parse_quantity

_RELATIVE = re.compile(r"^\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(x|%)\s*$")


def changed(design: Design, changes: Mapping[str, str], place: str = "--set ") -> Design:
    """``design`` with values replaced.

    Args:
        changes: keys of a design file, or "rates.<dtype>", to a value as the file has it, or to a factor ("2x", "150%")
            of what it is; ``rates`` as a whole is "bf16=1,int8=2".
        place: what stands before the key in errors ("--set device.design.").

    Raises:
        InputError: no such key (with the nearest), a wrong unit, a part of a whole.
    """
    for key, text in changes.items():
        design = _changed(design, key, text, f"{place}{key}={text}")
    check_design(design, coefficients(), place)
    return design


def _changed(design: Design, path: str, text: str, place: str) -> Design:
    key, _, dtype = path.partition(".")
    if key not in KEYS or (dtype and key != "rates"):
        close = nearest(path, KEYS, most=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{place}: no key {path!r} of a design{hint} (allowed: {', '.join(KEYS)})")
    if key == "rates":
        own = {dtype: _number(text, design.rates.get(dtype), place)} if dtype else rates_of(text, place)
        return msgspec.structs.replace(design, rates={**design.rates, **own} if dtype else own)
    if key in QUANTITIES:
        field, dimension, factor = QUANTITIES[key]
        scaled = None if dimension == "number" else _scaled(text, getattr(design, field), place)
        value = parse_quantity(text, dimension, place) * factor if scaled is None else scaled
        return msgspec.structs.replace(design, **{field: value})
    current = getattr(design, key)
    if isinstance(current, str):
        return msgspec.structs.replace(design, **{key: text.strip()})
    number = _number(text, current, place)
    if not number.is_integer():
        raise InputError(f"{place}: {number:g} is no whole number")
    return msgspec.structs.replace(design, **{key: int(number)})


def _number(text: str, current: float | None, place: str) -> float:
    scaled = _scaled(text, current, place)
    return parse_quantity(text, "number", place) if scaled is None else scaled


def _scaled(text: str, current: float | None, place: str) -> float | None:
    """``current`` times what "2x" or "150%" says; None where ``text`` is no factor."""
    match = _RELATIVE.match(text)
    if match is None:
        return None
    if current is None:
        raise InputError(f"{place}: no value is there that could be scaled; give an absolute one")
    return float(current) * float(match[1]) * (0.01 if match[2] == "%" else 1.0)
