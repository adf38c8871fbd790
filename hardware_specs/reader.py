"""From TOML to frozen records: one strict converter that names the place, the value and what is allowed.

A record's fields say what they hold: text, whole numbers, other records, lists (tuples), tables (dict), or a fact
whose dimension is part of its type (``Bytes``, ``Watts`` ...). A ``[sources]`` table gives the citations, a ``[fits]``
table the fits that facts refer to.
"""

from __future__ import annotations

import math
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from hardware_specs.errors import InputError, nearest
from hardware_specs.facts import Dimension, Fact, Fit, Mark, Source
from hardware_specs.units import dimension_of, parse_quantity

Record = TypeVar("Record", bound=msgspec.Struct)
Origins = Mapping[str, Source | Fit]
_FACT_KEYS = ("value", "source", "assumed", "calibrated", "date")


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        InputError: the file cannot be read, or is not TOML (with line and column).
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; TOML files are") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not valid TOML: {error}") from None


def read_record(path: Path, record: type[Record]) -> Record:
    """The record in a TOML file; its ``id``, where it has one, defaults to the file's stem."""
    table = read_toml(path)
    sources, fits = table.pop("sources", {}), table.pop("fits", {})
    origins = read_origins(sources, fits, path.name)
    if "id" in record.__struct_fields__:
        table.setdefault("id", path.stem)
    return convert(table, record, path.name, origins)


def read_origins(sources: Any, fits: Any, place: str) -> dict[str, Source | Fit]:
    """The citations and the fits of a file by key."""
    for name, table in (("sources", sources), ("fits", fits)):
        if not isinstance(table, dict):
            raise InputError(f"{place}: {name}: must be a table of {name}, not {table!r}")
    if twice := sorted(sources.keys() & fits.keys()):
        raise InputError(f"{place}: {twice[0]!r} is a key of [sources] and of [fits]; a key must be in one of them")
    found: dict[str, Source | Fit] = {
        key: convert(value, Source, f"{place}: sources.{key}", {}) for key, value in sources.items()
    }
    for key, value in fits.items():
        named = {"id": key, **value} if isinstance(value, dict) else value
        found[key] = convert(named, Fit, f"{place}: fits.{key}", {})
    return found


def convert(table: Any, record: type[Record], place: str, origins: Origins) -> Record:
    """Build ``record`` from a TOML table.

    Args:
        place: where the table stands, for errors ("h100.toml").
        origins: citations and fits that facts may name.

    Raises:
        InputError: missing, unknown or wrong keys, with the place, the value, what is allowed and what is nearest.
    """
    if not isinstance(table, dict):
        raise InputError(f"{place}: must be a table, not {table!r}")
    hints = _hints(record)
    for key in table:
        if key not in hints:
            close = nearest(key, hints)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{_join(place, key)}: unknown key{hint} (allowed: {', '.join(hints)})")
    values = {key: _value(value, hints[key], _join(place, key), origins) for key, value in table.items()}
    required = {f.encode_name for f in msgspec.structs.fields(record) if f.required}
    missing = sorted(required - values.keys())
    if missing:
        raise InputError(f"{place}: missing key{'s' if len(missing) > 1 else ''} {', '.join(map(repr, missing))}")
    return record(**values)


_HINTS: dict[type, dict[str, Any]] = {}


def _hints(record: type[msgspec.Struct]) -> dict[str, Any]:
    """Field types of a record with their annotations."""
    if record not in _HINTS:
        _HINTS[record] = get_type_hints(record, include_extras=True)
    return _HINTS[record]


def _join(place: str, key: str) -> str:
    """ "h100.toml" + "memory" -> "h100.toml: memory"; then dots."""
    return f"{place}.{key}" if ": " in place else f"{place}: {key}"


def _value(value: Any, kind: Any, place: str, origins: Origins) -> Any:
    """Convert ``value`` to the type ``kind``."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _fact(value, arguments[1], place, origins)
    if origin in (Union, types.UnionType):
        return _union(value, [a for a in arguments if a is not type(None)], place, origins)
    if origin is Literal:
        if value not in arguments:
            close = nearest(str(value), map(str, arguments))
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{place}: {value!r} is not allowed{hint} (allowed: {', '.join(map(str, arguments))})")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise InputError(f"{place}: must be a list, not {value!r}")
        return tuple(_value(v, arguments[0], f"{place}[{i}]", origins) for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise InputError(f"{place}: must be a table, not {value!r}")
        return {k: _value(v, arguments[1], _join(place, k), origins) for k, v in value.items()}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return convert(value, kind, place, origins)
    return _plain(value, kind, place)


def _union(value: Any, kinds: list[Any], place: str, origins: Origins) -> Any:
    """One of several records: the first whose required keys are all there; the first of all explains a failure."""
    if len(kinds) > 1 and isinstance(value, dict):
        for kind in kinds:
            required = {f.encode_name for f in msgspec.structs.fields(kind) if f.required}
            if required <= value.keys() <= set(_hints(kind)):
                return convert(value, kind, place, origins)
    return _value(value, kinds[0], place, origins)


def _plain(value: Any, kind: Any, place: str) -> Any:
    """Text, whole number, number or truth value."""
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise InputError(f"{place}: must be {words[kind]}, not {value!r}")
    return value


def _fact(value: Any, dimension: Dimension, place: str, origins: Origins) -> Fact:
    """A fact from its inline table."""
    if not isinstance(value, dict):
        raise InputError(f'{place}: must be {{ value = "...", source = "..." }} (or assumed = "why"), not {value!r}')
    for key in value:
        if key not in _FACT_KEYS:
            close = nearest(key, _FACT_KEYS)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{place}.{key}: unknown key{hint} (allowed: {', '.join(_FACT_KEYS)})")
    marks = [key for key in ("source", "assumed", "calibrated") if key in value]
    if len(marks) != 1:
        found = " and ".join(marks) if marks else "none"
        raise InputError(f"{place}: needs exactly one of source, assumed, calibrated; it has {found}")
    if "value" not in value:
        raise InputError(f"{place}: missing key 'value'")
    name = dimension_of(value["value"]) if dimension.name == "any" else dimension.name
    number = parse_quantity(value["value"], name, place)
    if number < 0.0 or (number == 0.0 and not dimension.zero_allowed):
        raise InputError(
            f"{place}: {value['value']!r} must be {'zero or more' if dimension.zero_allowed else 'positive'}"
        )
    text, origin = str(value["value"]), value[marks[0]]
    if not isinstance(origin, str) or not origin.strip():
        raise InputError(f"{place}.{marks[0]}: must say where the number comes from, not {origin!r}")
    date = str(value.get("date", ""))
    if marks[0] == "assumed":
        return Fact(number, name, text, Mark.ASSUMED, origin, date)
    kind = Source if marks[0] == "source" else Fit
    known = {key: cited for key, cited in origins.items() if isinstance(cited, kind)}
    if origin not in known:
        close = nearest(origin, known)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        table = "[sources]" if kind is Source else "[fits]"
        raise InputError(f"{place}.{marks[0]}: {origin!r} is no key of {table}{hint} (there: {', '.join(known)})")
    cited = known[origin]
    if isinstance(cited, Fit):
        return Fact(number, name, text, Mark.CALIBRATED, cited.rule, date or cited.date, cited)
    return Fact(number, name, text, Mark.SOURCED, cited.cite, date or cited.date)
