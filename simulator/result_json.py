"""From the documented JSON form of a result back to the result, as far as the form goes: it has no operators and no
timeline, and the numbers that it has as null are not known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hardware_specs.errors import InputError, clipped
from simulator.result import SCHEMA, Energy, Interval, MemoryUse, PoolUse, Provenance, Result

_KEYS: Final = (
    "schema", "kind", "title", "memory_bytes", "memory_capacity_bytes", "fits", "energy_j", "pools", "bound",
    "breakdown", "intervals", "reasons", "warnings", "configuration", "provenance", "scenario_hash", "seed",
    "laws_hash", "silicost_version",
)  # fmt: skip
_FLOATS: Final = (int, float, type(None))


def is_result(table: object) -> bool:
    """Whether ``table``, decoded JSON, has the keys of a result."""
    return isinstance(table, Mapping) and all(key in table for key in _KEYS)


def result_from(table: Mapping[str, Any], place: str) -> Result:
    """The result whose ``as_json`` is ``table``; keys that other commands add, which hold no number, are left out.

    Args:
        table: for which ``is_result`` holds.
        place: its file, for errors.

    Raises:
        InputError: of another version, or with a value of another kind.
    """
    if table["schema"] != SCHEMA:
        raise InputError(
            f"{place}: schema {clipped(repr(table['schema']))}: this version of silicost reads schema {SCHEMA}"
        )
    metrics = {
        name: None if value is None else float(value)
        for name, value in table.items()
        if name not in _KEYS and isinstance(value, _FLOATS) and not isinstance(value, bool)
    }
    try:
        return Result(
            **{name: table[name] for name in ("kind", "title", "scenario_hash", "laws_hash", "silicost_version")},
            seed=msgspec.convert(table["seed"], int),
            configuration=msgspec.convert(table["configuration"], dict[str, Any]),
            metrics=metrics, memory=_memory(table["memory_bytes"]),
            memory_capacity_bytes=_known(table["memory_capacity_bytes"]), fits=msgspec.convert(table["fits"], bool),
            energy=Energy(**{name: _known(value) for name, value in table["energy_j"].items()}),
            bound=msgspec.convert(table["bound"], dict[str, str]),
            breakdown={name: _known(value) for name, value in table["breakdown"].items()},
            intervals={
                name: Interval(**{end: _known(value) for end, value in ends.items()})
                for name, ends in table["intervals"].items()
            },
            provenance=msgspec.convert(table["provenance"], tuple[Provenance, ...]),
            pools=tuple(map(_pool, table["pools"])),
            reasons=msgspec.convert(table["reasons"], dict[str, str]),
            warnings=msgspec.convert(table["warnings"], tuple[str, ...]),
        )  # fmt: skip
    except (msgspec.ValidationError, TypeError, KeyError, AttributeError, ValueError) as error:
        raise InputError(f"{place}: no result of silicost: {clipped(str(error))}") from None


def _known(value: float | None) -> float:
    return math.nan if value is None else msgspec.convert(value, float)


def _memory(table: Mapping[str, float | None]) -> MemoryUse:
    return MemoryUse(**{name: _known(value) for name, value in table.items() if name != "total"})


def _pool(table: Mapping[str, Any]) -> PoolUse:
    words = {name: msgspec.convert(table[name], str) for name in ("name", "device", "device_class", "runtime")}
    return PoolUse(
        **words, count=msgspec.convert(table["count"], int), memory=_memory(table["memory_bytes"]),
        capacity_bytes=_known(table["memory_capacity_bytes"]), energy_j=_known(table["energy_device_j"]),
        busy_s=_known(table["busy_s"]),
    )  # fmt: skip
