"""Cells of a table as the numbers of requests, and what becomes of rows that cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from hardware_specs.errors import InputError, clipped
from workloads.traffic.record import MOST_TOKENS, Bools, Floats
from workloads.traffic.tables import Cells, Table, cells_of

TOKENS_FROM_0: Final = f"a whole number of tokens, from 0 to {MOST_TOKENS}"


def numbers(cells: Sequence[Any]) -> Floats:
    """Cells as numbers, shape [n]; NaN where one is none, or not finite."""
    try:
        values = np.fromiter(map(float, cells), np.float64, len(cells))
    except (TypeError, ValueError, OverflowError):
        values = np.array([_number(cell) for cell in cells], np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError, OverflowError):
        return np.nan


def tokens(cells: Sequence[Any]) -> Floats:
    """Cells as whole numbers from 0 to ``MOST_TOKENS``, shape [n]; NaN where one is none."""
    values = numbers(cells)
    good = (values >= 0.0) & (values <= MOST_TOKENS) & (values == np.floor(values))
    return np.where(good, values, np.nan)


class LeftOut:
    """Rows that are not used: refused at once, or counted.

    Args:
        place: the file, for errors.
        word: what a row is called ("line").
        skip: count what cannot be read instead of refusing it.
    """

    def __init__(self, place: str, word: str, skip: bool = False) -> None:
        self.place, self.word, self.skip = place, word, skip
        self._counts = {"without a prompt or an answer": _Count(), "that cannot be read": _Count()}

    def of_no_tokens(self, line: int, what: str, rows: int = 1) -> None:
        """Note ``rows`` requests without a prompt or without an answer, the first of which is at ``line``."""
        self._counts["without a prompt or an answer"].add(rows, f"{self.word} {line}: {what}")

    def unreadable(self, line: int, what: str, rows: int = 1) -> None:
        """Note rows that say nothing that can be used.

        Raises:
            InputError: they are not to be skipped.
        """
        if not self.skip:
            raise InputError(f"{self.place}: {self.word} {line}: {what}")
        self._counts["that cannot be read"].add(rows, f"{self.word} {line}: {what}")

    def notes(self) -> tuple[str, ...]:
        """What was left out, in words."""
        return tuple(
            f"{self.place}: {count.rows} {self.word}{'s' if count.rows > 1 else ''} {kind} left out ({count.first})"
            for kind, count in self._counts.items()
            if count.rows
        )

    def all_of_them(self) -> InputError:
        """The error that nothing is left."""
        found = "; ".join(note.removeprefix(f"{self.place}: ") for note in self.notes())
        return InputError(f"{self.place}: no request in it{f' ({found})' if found else ''}")


class _Count:
    """How many rows, and what the first of them is."""

    def __init__(self) -> None:
        self.rows, self.first = 0, ""

    def add(self, rows: int, what: str) -> None:
        self.first = self.first or what
        self.rows += rows


class Wanted(NamedTuple):
    """A column to read: its name, its number, what makes values of its cells (NaN: none), what it allows in words.

    ``of_tokens``: a row where it is 0 is no request.
    """

    name: str
    number: int
    convert: Callable[[Sequence[Any]], Floats]
    allowed: str
    of_tokens: bool = False


def values_of(
    table: Table, columns: Sequence[Wanted], left: LeftOut, most: int | None = None
) -> Iterator[list[Floats]]:  # fmt: skip
    """The values of some columns, a chunk of rows at a time, of at most ``most`` rows that can be used.

    Args:
        left: notes rows that are not used, up to the last one that is.

    Raises:
        InputError: a cell that cannot be used, unless such rows are skipped.
    """
    wanting = most
    for cells in cells_of(table, [column.number for column in columns]):
        found = [column.convert(given) for column, given in zip(columns, cells.columns, strict=True)]
        broken = np.array(cells.overlong, bool)
        for values in found:
            broken |= np.isnan(values)
        empty = np.zeros(len(broken), bool)
        for column, values in zip(columns, found, strict=True):
            empty |= column.of_tokens & (values == 0.0)
        kept = np.flatnonzero(~(broken | empty))[:wanting]
        done = wanting is not None and len(kept) == wanting
        seen = slice(0, kept[-1] + 1 if done else len(broken))
        _note(columns, found, cells, broken[seen], (empty & ~broken)[seen], left)
        yield [values[kept] for values in found]
        if done:
            return
        wanting = None if wanting is None else wanting - len(kept)


def _note(
    columns: Sequence[Wanted], found: Sequence[Floats], cells: Cells, broken: Bools, empty: Bools, left: LeftOut
) -> None:  # fmt: skip
    if broken.any():
        at = int(np.argmax(broken))
        left.unreadable(int(cells.lines[at]), _why(columns, found, cells, at), int(broken.sum()))
    if empty.any():
        at = int(np.argmax(empty))
        zero = next(c.name for c, values in zip(columns, found, strict=True) if c.of_tokens and values[at] == 0.0)
        left.of_no_tokens(int(cells.lines[at]), f"{zero} is 0", int(empty.sum()))


def _why(columns: Sequence[Wanted], found: Sequence[Floats], cells: Cells, at: int) -> str:
    """What is wrong with row ``at``."""
    if cells.overlong[at]:
        return "has more cells than the header"
    place = next(place for place, values in enumerate(found) if np.isnan(values[at]))
    cell = cells.columns[place][at]
    shown = "" if cell is None else clipped(str(cell))
    return f"{columns[place].name} {shown!r} must be {columns[place].allowed}"
