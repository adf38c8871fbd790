"""Device files of designs: the device as every command reads it, and the design in comments at the end."""

from __future__ import annotations

from typing import Any

import msgspec

from hardware_specs.accelerators.files import KEPT
from hardware_specs.accelerators.keys import QUANTITIES, WRITTEN
from hardware_specs.accelerators.records import Design
from hardware_specs.facts import Fact
from hardware_specs.records import DeviceSpec
from hardware_specs.units import format_quantity, parse_quantity

_UNITS = {"hz": "Hz", "bytes": "B", "bytes_per_s": "B/s", "m2": "mm2", "w": "W", "usd": "USD", "number": ""}
_HUMAN = ("hz", "bytes", "bytes_per_s", "w")
"""Dimensions that are written in the unit of their size."""
_DIGITS = 15


def device_text(design: Design, device: DeviceSpec) -> str:
    """The device file of ``design``: every command takes it by its path, and ``load_design`` reads the design again."""
    head = (f"# {device.name}", "# Designed, not made: every number follows from the design in the last lines.")
    keep = ("", "# The design, from which `silicost design` makes this file again:")
    kept = (KEPT + line for line in design_lines(design))
    return "\n".join([*head, *_table(device, ""), *keep, *kept]) + "\n"


def design_lines(design: Design) -> list[str]:
    """The design as lines of TOML; what is as by default is left out."""
    lines = []
    for field in msgspec.structs.fields(Design):
        value = getattr(design, field.name)
        if field.required or value != field.default:
            key = WRITTEN.get(field.name, field.name)
            lines.append(f"{key} = {_quantity(value, key) if key in QUANTITIES else _toml(value)}")
    return lines


def _table(record: Any, path: str) -> list[str]:
    """A record as a TOML table at ``path``, then its tables; what is empty is left out, and a file's own id."""
    if isinstance(record, dict):
        fields = record
    else:
        fields = {name: getattr(record, name) for name in record.__struct_fields__ if path or name != "id"}
    plain, tables = [], []
    for name, value in fields.items():
        if value is None or value == "" or value == {}:
            continue
        if isinstance(value, Fact):
            plain.append(f"{name} = {{ value = {_toml(value.text)}, {value.mark} = {_toml(value.origin)} }}")
        elif isinstance(value, (dict, msgspec.Struct)):
            tables += _table(value, f"{path}.{name}" if path else name)
        else:
            plain.append(f"{name} = {_toml(value)}")
    return [*(["", f"[{path}]"] if path and plain else []), *plain, *tables]


def _quantity(value: float, key: str) -> str:
    """Text that reads back as ``value``: in the unit of its size where that loses nothing, else in SI."""
    _, dimension, factor = QUANTITIES[key]
    shown = format_quantity(value, dimension, _DIGITS)
    if dimension not in _HUMAN or parse_quantity(shown, dimension) * factor != value:
        shown = f"{float(value)!r} {_UNITS[dimension]}".rstrip()
    return _toml(shown)


def _toml(value: Any) -> str:
    """A TOML value: JSON text is TOML text; a table of numbers stands on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {float(number):.17g}" for name, number in value.items()) + " }"
    return msgspec.json.encode(value).decode()
