"""What-if changes of a record: "memory.bandwidth" = "6 TB/s" (absolute) or "2x" (relative)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from hardware_specs.errors import InputError, nearest
from hardware_specs.facts import Fact, Mark
from hardware_specs.units import dimension_of, parse_quantity

Record = TypeVar("Record", bound=msgspec.Struct)
_RELATIVE = re.compile(r"^\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(x|%)\s*$")
SET_BY_USER = "set by the user"
"""Origin of a fact that an override changed."""

_MOST = 1e6
"""A what-if further off than this factor is a slip of the unit."""


def apply_overrides(record: Record, changes: Mapping[str, str], place: str = "--set ") -> Record:
    """``record`` with facts replaced.

    Args:
        changes: dotted path of a fact to a quantity with its unit, or to a factor ("2x", "150%") of what it is.
        place: what stands before the path in errors ("--set device.").

    Raises:
        InputError: no such field (with the nearest), a wrong unit, a factor of a fact that is not there.
    """
    before = record
    for path, text in changes.items():
        record = _changed(record, path.split("."), text, f"{place}{path}={text}")
    if "memory.capacity" in changes and "memory.usable" not in changes:
        record = _usable_too(before, record)
    return record


def _usable_too(before: Record, record: Record) -> Record:
    """Where the usable bytes are a fact of their own they change as the capacity does."""
    memory, was = getattr(record, "memory", None), getattr(before, "memory", None)
    if memory is None or was is None or memory.usable is None:
        return record
    share = was.usable.value / was.capacity.value
    value = memory.capacity.value * share
    usable = msgspec.structs.replace(
        was.usable, value=value, text=f"{value / 1e9:.6g} GB", mark=memory.capacity.mark, origin=memory.capacity.origin
    )
    whole: Any = record
    return msgspec.structs.replace(whole, memory=msgspec.structs.replace(memory, usable=usable))  # type: ignore[no-any-return]


def _changed(record: Any, path: list[str], text: str, place: str) -> Any:
    """``record`` with the fact at ``path`` replaced; walks records and tables of facts."""
    key, rest = path[0], path[1:]
    hints = get_type_hints(type(record), include_extras=True)
    if key not in hints:
        raise InputError(f"{place}: {_unknown(key, hints)}")
    kind, current = _inner(hints[key]), getattr(record, key)
    if get_origin(kind) is dict:
        if len(rest) != 1:
            raise InputError(f"{place}: needs one more name after {key!r} (there: {', '.join(current)})")
        fact_type = get_args(kind)[1]
        if rest[0] not in current and key != "parameters":
            raise InputError(f"{place}: {_unknown(rest[0], current)}")
        return msgspec.structs.replace(
            record, **{key: {**current, rest[0]: _fact(text, current.get(rest[0]), fact_type, place)}}
        )
    if get_origin(kind) is Annotated:
        if rest:
            raise InputError(f"{place}: {key!r} is a number, it has no field {rest[0]!r}")
        return msgspec.structs.replace(record, **{key: _fact(text, current, kind, place)})
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if not rest:
            raise InputError(f"{place}: needs a field after {key!r} (there: {', '.join(get_type_hints(kind))})")
        if current is None:
            raise InputError(f"{place}: this record has no {key!r} to change")
        return msgspec.structs.replace(record, **{key: _changed(current, rest, text, place)})
    raise InputError(f"{place}: {key!r} is {current!r}, no number to change")


def _inner(kind: Any) -> Any:
    """The type of an optional field without None."""
    if get_origin(kind) in (None, dict, tuple, Annotated):
        return kind
    parts = [a for a in get_args(kind) if a is not type(None)]
    return parts[0] if parts else kind


def _unknown(key: str, known: Any) -> str:
    close = nearest(key, known)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"no field {key!r}{hint} (allowed: {', '.join(known)})"


def _fact(text: str, current: Fact | None, kind: Any, place: str) -> Fact:
    """The new fact, marked as assumed by the user; law parameters take the dimension of what they replace."""
    dimension = get_args(kind)[1].name
    if dimension == "any":
        dimension = current.dimension if current else dimension_of(text)
    match = _RELATIVE.match(text)
    if match and not (dimension == "number" and current is None):
        if current is None:
            raise InputError(f"{place}: no value is known that could be scaled; give an absolute one")
        value = current.value * float(match[1]) * (0.01 if match[2] == "%" else 1.0)
        shown = f"{match[1]}{match[2]} of {current.text}"
    else:
        value, shown = parse_quantity(text, dimension, place), text
    if not value > 0.0:
        raise InputError(f"{place}: must be positive")
    if current is not None and current.value > 0.0 and not 1.0 / _MOST <= value / current.value <= _MOST:
        raise InputError(f"{place}: must be within a factor of {_MOST:g} of what it is, {current.text}")
    return Fact(value, dimension, shown, Mark.ASSUMED, SET_BY_USER)
