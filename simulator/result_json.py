"""From the documented JSON form of a result back to the result, as far as the form goes: it has no operators and no
timeline, and the numbers that it has as null are not known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import NoneType
from typing import Any, Final, TypeVar

import msgspec

from hardware_specs.errors import InputError, clipped
from simulator.metrics import BY_NAME
from simulator.result import SCHEMA, Energy, Interval, MemoryUse, PoolUse, Provenance, Result

_KEYS: Final = (
    "schema", "kind", "title", "memory_bytes", "memory_capacity_bytes", "fits", "energy_j", "pools", "bound",
    "breakdown", "intervals", "reasons", "warnings", "configuration", "provenance", "scenario_hash", "seed",
    "laws_hash", "silicost_version",
)  # fmt: skip
_FLOATS: Final = (int, float, NoneType)
T = TypeVar("T")


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
    metrics = {name: _metric(name, value, place) for name, value in table.items() if _is_metric(name, value)}
    try:
        return Result(
            kind=_of(table, "kind", str), title=_of(table, "title", str),
            scenario_hash=_of(table, "scenario_hash", str), laws_hash=_of(table, "laws_hash", str),
            silicost_version=_of(table, "silicost_version", str),
            metrics=metrics, seed=_of(table, "seed", int), configuration=_of(table, "configuration", dict[str, Any]),
            memory=_of(table, "memory_bytes", MemoryUse),
            memory_capacity_bytes=_of(table, "memory_capacity_bytes", float), fits=_of(table, "fits", bool),
            energy=_of(table, "energy_j", Energy), bound=_of(table, "bound", dict[str, str]),
            breakdown=_of(table, "breakdown", dict[str, float]),
            intervals=_of(table, "intervals", dict[str, Interval]),
            provenance=_of(table, "provenance", tuple[Provenance, ...]),
            pools=tuple(map(_pool, _of(table, "pools", tuple[dict[str, Any], ...]))),
            reasons=_of(table, "reasons", dict[str, str]), warnings=_of(table, "warnings", tuple[str, ...]),
            run=numbers_of(table.get("run")),
        )  # fmt: skip
    except ValueError as error:
        raise InputError(f"{place}: no result of silicost: {clipped(str(error))}") from None


def numbers_of(run: object) -> dict[str, float]:
    """The numbers of the figures of a long run, where there is one; what is not known or no number is left out."""
    table = run if isinstance(run, Mapping) else {}
    return {
        str(name): float(value) for name, value in table.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }  # fmt: skip


def _is_metric(name: str, value: object) -> bool:
    """Keys that other commands add hold no number, or are none of the metrics."""
    return name not in _KEYS and (name in BY_NAME or (isinstance(value, _FLOATS) and not isinstance(value, bool)))


def _metric(name: str, value: object, place: str) -> float | None:
    if not isinstance(value, _FLOATS) or isinstance(value, bool):
        raise InputError(f"{place}: {name} is {clipped(repr(value))}; allowed: a number or null")
    return None if value is None else float(value)


def _of(table: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """The value of a key as a ``kind``, nulls as NaN where a number belongs; a ValueError names the key."""
    if name not in table:
        raise ValueError(f"{name} is missing")
    value = table[name]
    numbers = kind in (float, MemoryUse, Energy, dict[str, float], dict[str, Interval])
    try:
        return msgspec.convert(_nan_for_null(value) if numbers else value, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"{name}: {error}") from None


def _nan_for_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _nan_for_null(each) for name, each in value.items()}
    return math.nan if value is None else value


def _pool(table: Mapping[str, Any]) -> PoolUse:
    words = {name: _of(table, name, str) for name in ("name", "device", "device_class", "runtime")}
    return PoolUse(
        **words, count=_of(table, "count", int), memory=_of(table, "memory_bytes", MemoryUse),
        capacity_bytes=_of(table, "memory_capacity_bytes", float), energy_j=_of(table, "energy_device_j", float),
        busy_s=_of(table, "busy_s", float),
    )  # fmt: skip
