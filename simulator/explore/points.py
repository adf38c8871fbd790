"""Points of a design space: a column per name, dictionary-encoded, and a hash of what they say."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Value = str | int | float | bool
Rows = NDArray[Any] | slice
"""Which rows: their numbers, a mask, or a slice."""


@dataclass(frozen=True, eq=False)
class Column:
    """One name over n points: of a discrete axis codes and the values they stand for, of a continuous one numbers.

    Args:
        codes: place in ``values`` of each point, int32 [n]; [0] where ``numbers`` are given.
        values: what the codes stand for; not every one need occur.
        numbers: float64 or int64 [n]; None where ``codes`` and ``values`` say it.
        unit: unit of ``numbers`` ("TB/s", "x"); a value of the column is then a text with it ("3.5 TB/s").
    """

    codes: NDArray[np.int32]
    values: tuple[Value, ...]
    numbers: NDArray[np.float64] | NDArray[np.int64] | None = None
    unit: str = ""

    @staticmethod
    def of_numbers(numbers: NDArray[np.float64] | NDArray[np.int64], unit: str = "") -> Column:
        """The column of numbers [n]."""
        return Column(np.zeros(0, dtype=np.int32), (), numbers, unit)

    @staticmethod
    def of_values(values: Iterable[Value]) -> Column:
        """The column with these values, one a point; 1, 1.0 and True are three values."""
        places: dict[tuple[type, Value], int] = {}
        codes = [places.setdefault((type(value), value), len(places)) for value in values]
        return Column(np.array(codes, dtype=np.int32), tuple(value for _, value in places))

    def __len__(self) -> int:
        return len(self.codes if self.numbers is None else self.numbers)

    def take(self, rows: Rows) -> Column:
        """The column of some rows."""
        if self.numbers is None:
            return Column(self.codes[rows], self.values)
        return Column(self.codes, self.values, self.numbers[rows], self.unit)

    def value(self, row: int) -> Value:
        """The value of one point."""
        if self.numbers is None:
            return self.values[int(self.codes[row])]
        number = self.numbers[row]
        value = float(number) if isinstance(number, np.floating) else int(number)
        if not self.unit:
            return value
        return f"{value!r}{self.unit}" if self.unit in ("x", "%") else f"{value!r} {self.unit}"

    def distinct(self) -> tuple[Column, Rows]:
        """The values that occur, one row each, and the row [n] among them of each point; numbers as they are."""
        if self.numbers is not None:
            return self, slice(None)
        present = self._present()
        places = np.zeros(len(self.values), dtype=np.int32)
        places[present] = np.arange(len(present))
        values = tuple(self.values[code] for code in present.tolist())
        return Column(np.arange(len(values), dtype=np.int32), values), places[self.codes]

    def content(self) -> tuple[bytes, NDArray[Any]]:
        """What the column says, whatever the order of ``values``: the values that occur, sorted, and the place of each
        point's value among them [n]."""
        if self.numbers is not None:
            kind = self.numbers.dtype.newbyteorder("<")
            return f"{kind.str} {self.unit!r}".encode(), np.ascontiguousarray(self.numbers + 0, dtype=kind)
        present = self._present()
        said, places = _sorted([self.values[code] for code in present.tolist()])
        table = np.zeros(len(self.values), dtype=_narrowest(len(present)))
        table[present] = places
        return said, table[self.codes]

    def _present(self) -> NDArray[np.intp]:
        """The codes that occur, from low to high."""
        return np.flatnonzero(np.bincount(self.codes, minlength=len(self.values)))


@dataclass(frozen=True, eq=False)
class Points:
    """n points: a column per name.

    Raises:
        ValueError: columns of different lengths.
    """

    columns: dict[str, Column]

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of different lengths: {lengths}")

    @staticmethod
    def of_rows(rows: Sequence[Mapping[str, Value]]) -> Points:
        """The points with these values; each row has the names of the first."""
        return Points({name: Column.of_values(row[name] for row in rows) for name in (rows[0] if rows else ())})

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def take(self, rows: Rows) -> Points:
        """Some of the points, in the order of ``rows``: their numbers, a mask [n] or a slice."""
        if isinstance(rows, np.ndarray) and rows.dtype == np.bool_:
            if rows.all():
                return self
            rows = np.flatnonzero(rows)
        return Points({name: column.take(rows) for name, column in self.columns.items()})

    def row(self, number: int) -> dict[str, Value]:
        """The values of one point."""
        return {name: column.value(number) for name, column in self.columns.items()}

    def digest(self) -> str:
        """Hash of names and values, row by row: 32 hexadecimal digits (BLAKE2b, RFC 7693).

        The same points have the same digest whatever their codes and the order of names. 1, 1.0 and "1" are different
        values to it: what is the same may be computed twice, what is not is never taken for the same.
        """
        state = hashlib.blake2b(digest_size=16)
        for name in sorted(self.columns):
            said, places = self.columns[name].content()
            head = msgspec.json.encode([repr(name), len(said), str(places.dtype), len(places)])
            state.update(len(head).to_bytes(8, "little") + head + said)
            state.update(places.data)
        return state.hexdigest()


def joined(parts: Sequence[Points]) -> Points:
    """The points of all parts, which have the same names, one part after the other."""
    names = parts[0].columns if parts else {}
    return Points({name: _joined([part.columns[name] for part in parts]) for name in names})


def _joined(columns: Sequence[Column]) -> Column:
    numbers: list[NDArray[Any]] = [column.numbers for column in columns if column.numbers is not None]
    if len(numbers) == len(columns) and len({column.unit for column in columns}) == 1:
        return Column.of_numbers(np.concatenate(numbers), columns[0].unit)
    if numbers:
        return Column.of_values(column.value(row) for column in columns for row in range(len(column)))
    places: dict[tuple[type, Value], int] = {}
    codes = []
    for column in columns:
        table = [places.setdefault((type(value), value), len(places)) for value in column.values]
        codes.append(np.array(table, dtype=np.int32)[column.codes])
    return Column(np.concatenate(codes), tuple(value for _, value in places))


def _narrowest(count: int) -> np.dtype[Any]:
    """The smallest whole type that numbers ``count`` values, the same bytes on every machine."""
    return np.dtype("u1" if count <= 1 << 8 else "<u2" if count <= 1 << 16 else "<u4")


def _sorted(values: list[Value]) -> tuple[bytes, NDArray[Any]]:
    """Bytes that say which values there are, sorted and each once, and the place of each given value among them."""
    for kind, letter in ((int, "<i8"), (float, "<f8")):
        if set(map(type, values)) == {kind} and (kind is float or max(map(abs, values)) < 1 << 63):  # type: ignore[arg-type]
            numbers, places = np.unique(np.array(values, dtype=letter) + 0, return_inverse=True)
            return letter.encode() + numbers.tobytes(), places
    texts = [f"{type(value).__name__} {value + 0.0 if isinstance(value, float) else value!r}" for value in values]
    order = {text: place for place, text in enumerate(sorted(set(texts)))}
    return msgspec.json.encode(list(order)), np.array([order[text] for text in texts], dtype=np.int64)
