"""Columns of a study's table: what each holds, how it lies in Arrow, and how parts that differ in it go together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from simulator.explore.points import Column, Points, Value

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["text", "int", "float", "bool"]
Table = Mapping[str, NDArray[Any] | Column]
"""What an evaluator finds for n points: a column [n] by name; NaN where a number is not known."""

_KINDS: Final[dict[type, Kind]] = {str: "text", int: "int", float: "float", bool: "bool"}
_NUMPY_KINDS: Final[dict[str, Kind]] = {"b": "bool", "i": "int", "u": "int", "f": "float"}


class ColumnInfo(msgspec.Struct, frozen=True):
    """One column: its name, what its values are, the unit of continuous axes ("TB/s"), whether it is an axis."""

    name: str
    kind: Kind
    unit: str = ""
    axis: bool = False


def arrow_table(points: Points, found: Table) -> tuple[pa.Table, tuple[ColumnInfo, ...]]:
    """The axes and what was found as one Arrow table of n rows.

    Texts are dictionary-encoded, numbers int64 or float64; NaN becomes null.

    Raises:
        ValueError: a column of another length or of objects, or one that is called like an axis.
    """
    import pyarrow as pa

    arrays: list[pa.Array] = []
    infos: list[ColumnInfo] = []
    for name, column in [*points.columns.items(), *found.items()]:
        is_axis = len(arrays) < len(points.columns)
        if not is_axis and name in points.columns:
            raise ValueError(f"column {name!r} is called like an axis")
        if column.shape[0] != len(points) if isinstance(column, np.ndarray) else len(column) != len(points):
            raise ValueError(f"column {name!r} has not one value for each of {len(points)} points")
        array, kind = _array(column, name)
        unit = column.unit if isinstance(column, Column) else ""
        arrays.append(array)
        infos.append(ColumnInfo(name, kind, unit, is_axis))
    return pa.Table.from_arrays(arrays, names=[info.name for info in infos]), tuple(infos)


def unified(ours: Sequence[ColumnInfo], theirs: Sequence[ColumnInfo]) -> tuple[ColumnInfo, ...]:
    """Columns that can hold those of two parts: whole and other numbers are numbers, all else that differs is text."""
    known = {info.name: info for info in ours}
    for info in theirs:
        known[info.name] = _wider(known.get(info.name, info), info)
    return tuple(known.values())


def fitted(batch: pa.RecordBatch, here: Mapping[str, ColumnInfo], wanted: Iterable[ColumnInfo]) -> pa.RecordBatch:
    """A batch of a part with columns ``here`` as one with ``wanted``; what the part lacks is null."""
    import pyarrow as pa

    arrays = []
    for info in wanted:
        own = here.get(info.name)
        if own is None:
            arrays.append(pa.nulls(batch.num_rows, type=_arrow_type(info.kind)))
        else:
            arrays.append(_as_wanted(batch.column(info.name), own, info))
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(wanted))


def arrow_schema(infos: Iterable[ColumnInfo]) -> pa.Schema:
    """The Arrow schema of these columns."""
    import pyarrow as pa

    return pa.schema([pa.field(info.name, _arrow_type(info.kind)) for info in infos])


def _array(column: NDArray[Any] | Column, name: str) -> tuple[pa.Array, Kind]:
    """A column in Arrow and what it holds."""
    import pyarrow as pa

    numbers = column.numbers if isinstance(column, Column) else column
    if numbers is not None:
        kind = _NUMPY_KINDS.get(numbers.dtype.kind)
        if kind is None or numbers.ndim != 1:
            raise ValueError(
                f"column {name!r} is of {numbers.dtype} {numbers.shape}, not of numbers or truth values [n]"
            )
        return pa.array(numbers, type=_arrow_type(kind), from_pandas=True), kind
    assert isinstance(column, Column)
    kind = kind_of(column.values)
    if kind == "text":
        texts = pa.array([text_of(value) for value in column.values], type=pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(column.codes, type=pa.int32()), texts), kind
    dtype = {"int": np.int64, "float": np.float64, "bool": np.bool_}[kind]
    return pa.array(np.array(column.values, dtype=dtype)[column.codes], from_pandas=True), kind


def kind_of(values: Iterable[Value]) -> Kind:
    """What can hold all of these values; text for none."""
    kinds = {_KINDS[type(value)] for value in values}
    if len(kinds) == 1:
        return kinds.pop()
    return "float" if kinds == {"int", "float"} else "text"


def text_of(value: Value) -> str:
    """A value among texts: true and false as in TOML."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _wider(one: ColumnInfo, other: ColumnInfo) -> ColumnInfo:
    if (one.kind, one.unit) == (other.kind, other.unit):
        return one
    numbers = one.unit == other.unit and {one.kind, other.kind} == {"int", "float"}
    return ColumnInfo(one.name, "float" if numbers else "text", one.unit if numbers else "", one.axis)


def _as_wanted(array: pa.Array, own: ColumnInfo, wanted: ColumnInfo) -> pa.Array:
    """An array of a part's column as the study's kind."""
    import pyarrow as pa

    target = _arrow_type(wanted.kind)
    if array.type == target:
        return array
    if wanted.kind != "text":
        return array.cast(target, safe=False)
    ending = own.unit if own.unit in ("x", "%") else f" {own.unit}".rstrip()
    texts = [None if value is None else text_of(value) + ending for value in array.to_pylist()]
    return pa.array(texts, type=pa.string()).dictionary_encode()


def _arrow_type(kind: Kind) -> Any:
    import pyarrow as pa

    if kind == "text":
        return pa.dictionary(pa.int32(), pa.string())
    return {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}[kind]
