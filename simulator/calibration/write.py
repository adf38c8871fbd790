"""Calibrations as the TOML text that ``hardware_specs.calibrations`` reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from hardware_specs.calibrations import Calibration


def calibrations_text(entries: Iterable[Calibration], notes: str) -> str:
    """A calibration file: ``notes``, then one table for each entry."""
    lines = [f"notes = {_text(notes)}", ""]
    for entry in entries:
        table = msgspec.to_builtins(entry)
        tables = {name: table.pop(name) for name in ("parameters", "fit", "residuals", "held_out")}
        lines += ["[[calibrations]]", *_fields(table)]
        for name, fields in tables.items():
            if fields is not None:
                lines += [f"[calibrations.{name}]", *_fields(fields)]
        lines.append("")
    return "\n".join(lines)


def _fields(table: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {_text(value)}" for name, value in table.items() if value not in (None, (), [], "")]


def _text(value: Any) -> str:
    """A TOML value; JSON text is TOML text, and so are lists of it."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_text, value)) + "]"
    return msgspec.json.encode(value).decode()
