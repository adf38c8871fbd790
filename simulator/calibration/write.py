"""Calibrations as the TOML text that ``hardware_specs.calibrations`` reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from hardware_specs.calibrations import Calibration, Calibrations
from hardware_specs.facts import Fact, Fit, Mark, fits_in
from hardware_specs.records import DeviceSpec


def calibrations_text(entries: Iterable[Calibration], notes: str) -> str:
    """A calibration file: ``notes``, then one table for each entry."""
    return "\n".join([f"notes = {_text(notes)}", "", *_entries(entries)])


def machine_text(found: Calibrations) -> str:
    """The calibration file of a machine: what it was, its device, and one table for each entry."""
    lines = [f"id = {_text(found.id)}", f"notes = {_text(found.notes)}"]
    lines += ["", *([] if found.calibrations else ["calibrations = []", ""])]
    if found.environment:
        lines += ["[environment]", *(f"{_key(name)} = {_text(value)}" for name, value in found.environment.items()), ""]
    if found.device is not None:
        lines += _device(found.device)
    return "\n".join([*lines, *_entries(found.calibrations)])


def _entries(entries: Iterable[Calibration]) -> list[str]:
    lines: list[str] = []
    for entry in entries:
        table = msgspec.to_builtins(entry)
        tables = {name: table.pop(name) for name in ("parameters", "intervals", "fit", "residuals", "held_out")}
        tables |= {f"measured.{_key(kind)}": sizes for kind, sizes in table.pop("measured").items()}
        lines += ["[[calibrations]]", *_fields(table)]
        for name, fields in tables.items():
            if fields:
                lines += [f"[calibrations.{name}]", *_fields(fields)]
        lines.append("")
    return lines


def _device(spec: DeviceSpec) -> list[str]:
    """A device with its origins; sources are numbered as they come."""
    sources: dict[tuple[str, str], str] = {}
    body = _table("device", spec, sources)
    lines = []
    for (cite, date), key in sources.items():
        lines += [f"[sources.{key}]", *_fields({"cite": cite, "date": date}), ""]
    for fit in sorted(fits_in(spec), key=lambda each: each.id):
        fields = {name: value for name, value in msgspec.to_builtins(fit).items() if name != "id"}
        lines += [f"[fits.{_key(fit.id)}]", f"sources = {_text(fit.sources)}"]
        lines += [*_fields({name: value for name, value in fields.items() if name != "sources"}), ""]
    return [*lines, *body, ""]


def _table(path: str, record: msgspec.Struct, sources: dict[tuple[str, str], str]) -> list[str]:
    """A record as a table: plain fields and facts first, then the tables below it."""
    lines, below = [f"[{path}]"], []
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, Fact):
            lines.append(f"{name} = {_fact(value, sources)}")
        elif isinstance(value, msgspec.Struct):
            below += _table(f"{path}.{name}", value, sources)
        elif isinstance(value, dict):
            facts = [f"{_key(key)} = {_fact(fact, sources)}" for key, fact in value.items()]
            below += [f"[{path}.{name}]", *facts] if facts else []
        elif value not in (None, "", ()):
            lines.append(f"{name} = {_text(value)}")
    return [*(lines if len(lines) > 1 or path == "device" else []), *below]


def _fact(fact: Fact, sources: dict[tuple[str, str], str]) -> str:
    """A fact as an inline table."""
    if fact.mark is Mark.SOURCED:
        origin = sources.setdefault((fact.origin, fact.date), f"source{len(sources) + 1}")
    else:
        origin = fact.fit.id if isinstance(fact.fit, Fit) else fact.origin
    return f"{{ value = {_text(fact.text)}, {_MARKS[fact.mark]} = {_text(origin)} }}"


_MARKS = {Mark.SOURCED: "source", Mark.CALIBRATED: "calibrated", Mark.ASSUMED: "assumed"}


def _key(name: str) -> str:
    """A key as it is if TOML takes it bare, else in quotes."""
    return name if name and all(c.isascii() and (c.isalnum() or c in "-_") for c in name) else _text(name)


def _fields(table: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {_text(value)}" for name, value in table.items() if value not in (None, (), [], "", {})]


def _text(value: Any) -> str:
    """A TOML value; JSON text is TOML text but for the delete character, and so are lists of it."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_text, value)) + "]"
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
