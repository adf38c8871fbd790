"""Structs of facts as plain texts by name, and back without loss.

Names of nested structs and tables are joined with a dot; text stays as it is, everything else is JSON; facts with their
default value are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_origin

import msgspec

from hardware_specs.errors import InputError, clipped

Record = TypeVar("Record", bound=msgspec.Struct)


def texts_of(record: msgspec.Struct, prefix: str = "") -> dict[str, str]:
    """The facts of ``record`` by name."""
    found: dict[str, str] = {}
    for field in msgspec.structs.fields(record):
        value, name = getattr(record, field.name), f"{prefix}{field.name}"
        if isinstance(value, msgspec.Struct):
            found |= texts_of(value, f"{name}.")
        elif isinstance(value, dict):
            found |= {f"{name}.{key}": text for key, text in value.items()}
        elif value != field.default:
            found[name] = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return found


def record_from(record: type[Record], texts: Mapping[str, str], place: str, prefix: str = "") -> Record:
    """The record whose ``texts_of`` are ``texts``; names that it does not have are passed over.

    Raises:
        InputError: a text that its fact cannot have; ``place`` and the name are named.
    """
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(record):
        name, kind = f"{prefix}{field.name}", field.type
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            found[field.name] = record_from(kind, texts, place, f"{name}.")
        elif get_origin(kind) is dict:
            below = f"{name}."
            found[field.name] = {key.removeprefix(below): text for key, text in texts.items() if key.startswith(below)}
        elif name in texts:
            found[field.name] = texts[name] if kind is str else _decoded(texts[name], kind, f"{place}: {name}")
    return record(**found)


def _decoded(text: str, kind: Any, place: str) -> Any:
    try:
        return msgspec.json.decode(text.encode(), type=kind)
    except msgspec.MsgspecError as error:
        raise InputError(f"{place}: {clipped(text)!r} cannot be ({error})") from None
