"""Tables of requests as people keep them: CSV (also gzipped) or Parquet, any usual names of columns, read in chunks.

Memory holds one chunk of cells at a time, whatever the size of the file.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

import numpy as np

from hardware_specs.errors import InputError, clipped, nearest
from hardware_specs.files import is_file, is_folder
from workloads.traffic.record import Ints

CHUNK: Final = 1 << 16
"""Rows that are read at a time."""
_FEW: Final = 6
"""Allowed names of columns that an error repeats."""
_LONGEST_HEADER: Final = 1 << 20
_GZIP: Final = b"\x1f\x8b"
_DELIMITERS: Final = (",", ";", "\t")

INPUT: Final = (
    "input", "input_len", "input_length", "input_tokens", "num_input_tokens", "prompt", "prompt_len", "prompt_length",
    "prompt_tokens", "num_prompt_tokens", "prompt_size", "contexttokens", "context_tokens", "request_tokens",
    "num_prefill_tokens", "prefill_tokens", "isl",
)  # fmt: skip
OUTPUT: Final = (
    "output", "output_len", "output_length", "output_tokens", "num_output_tokens", "generatedtokens",
    "generated_tokens", "completion_tokens", "response_tokens", "response_len", "response_length", "decode_tokens",
    "num_decode_tokens", "token_size", "answer_tokens", "osl",
)  # fmt: skip
"""Names of the columns of prompts and answers in tokens, in lower case with ``_`` between words; the first one counts
that a table has."""


class Table(NamedTuple):
    """A table that can be read: its place for errors, its columns (none named: ``header`` is ""), the line of its
    first row, counted from 1, and what sets cells apart ("": Parquet)."""

    path: Path
    place: str
    header: tuple[str, ...]
    named: bool
    first_line: int
    delimiter: str

    @property
    def row_word(self) -> str:
        """What a row is called in errors."""
        return "line" if self.delimiter else "row"


class Cells(NamedTuple):
    """Some rows: their lines [n], the cells of each wanted column [n], and whether a row has more cells than the
    header [n]."""

    lines: Ints
    columns: list[list[Any]]
    overlong: list[bool]


def open_table(path: Path) -> Table:
    """What the first line of a table says; a first line of numbers is a row.

    Raises:
        InputError: no such file, an empty one, or no text.
    """
    place = clipped(str(path))
    if not is_file(path):
        raise InputError(f"{place}: {'is a directory, not a file' if is_folder(path) else 'no such file'}")
    if path.suffix == ".parquet":
        return Table(path, place, _parquet_names(path, place), True, 1, "")
    with reading(path, place) as file:
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST_HEADER), ""), 1):
            if line.strip():
                return _table(path, place, line, number)
    raise InputError(f"{place}: the file is empty")


@contextmanager
def reading(path: Path, place: str) -> Iterator[TextIO]:
    """The open text of a file, gzipped or not.

    Raises:
        InputError: no such file, no UTF-8 text, or one that cannot be read to its end.
    """
    if not is_file(path):
        raise InputError(f"{place}: {'is a directory, not a file' if is_folder(path) else 'no such file'}")
    try:
        with path.open("rb") as file:
            start = file.read(4096)
        zipped = start.startswith(_GZIP)
        if b"\0" in start and not zipped:
            raise InputError(f"{place}: not UTF-8 text")
        with path.open("rb") as file:
            binary: Any = gzip.GzipFile(fileobj=file) if zipped else file
            yield io.TextIOWrapper(binary, encoding="utf-8-sig", errors="replace", newline="")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{place}: cannot be read, or cut off ({error})") from None


def _table(path: Path, place: str, line: str, number: int) -> Table:
    delimiter = max(_DELIMITERS, key=line.count)
    try:
        cells = tuple(cell.strip() for cell in next(csv.reader([line], delimiter=delimiter)))
    except csv.Error as error:
        raise InputError(f"{place}: line {number}: {error}") from None
    if all(_is_number(cell) for cell in cells):
        return Table(path, place, ("",) * len(cells), False, number, delimiter)
    return Table(path, place, cells, True, number + 1, delimiter)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _parquet_names(path: Path, place: str) -> tuple[str, ...]:
    import pyarrow.parquet

    try:
        return tuple(pyarrow.parquet.read_schema(path).names)
    except (OSError, ValueError) as error:
        raise InputError(f"{place}: not a Parquet file ({clipped(str(error))})") from None


def column_of(table: Table, names: Sequence[str]) -> int | None:
    """The number of the column that has the first possible one of ``names``; None for none."""
    there = [plain(name) for name in table.header]
    return next((there.index(name) for name in names if name in there), None)


def needed_column(table: Table, names: Sequence[str], what: str) -> int:
    """As ``column_of``.

    Raises:
        InputError: there is none; says what is nearest and what is there.
    """
    found = column_of(table, names)
    if found is not None:
        return found
    there = {plain(name): name for name in table.header if name}
    close = next((hit for name in names for hit in nearest(name, there, 1)), None)
    hint = f"; is it {there[close]!r}?" if close else ""
    raise InputError(
        f"{table.place}: no column of {what}{hint} (allowed: {few(names)}; there: {clipped(', '.join(there.values()))})"
    )


def few(names: Sequence[str]) -> str:
    """The first of the allowed ``names``, and where all of them stand."""
    return ", ".join(names) if len(names) <= _FEW else f"{', '.join(names[:_FEW])} ... see docs/traffic.md"


def plain(name: str) -> str:
    """A name of a column in lower case, with ``_`` for what is no letter or digit: "Request tokens" ->
    "request_tokens"."""
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")


def cells_of(table: Table, wanted: Sequence[int]) -> Iterator[Cells]:
    """The cells of the columns ``wanted``, ``CHUNK`` rows at a time; blank lines are passed over.

    Raises:
        InputError: a file that is cut off, or no CSV.
    """
    return _csv_cells(table, wanted) if table.delimiter else _parquet_cells(table, wanted)


def _csv_cells(table: Table, wanted: Sequence[int]) -> Iterator[Cells]:
    width = len(table.header)
    with reading(table.path, table.place) as file:
        reader = csv.reader(itertools.islice(file, table.first_line - 1, None), delimiter=table.delimiter)
        while True:
            begin = table.first_line + reader.line_num
            try:
                rows = list(itertools.islice(reader, CHUNK))
            except csv.Error as error:
                raise InputError(f"{table.place}: line {table.first_line + reader.line_num - 1}: {error}") from None
            if not rows:
                return
            lines = begin + np.arange(len(rows))
            if all(len(row) == width for row in rows):
                yield Cells(lines, [[row[at] for row in rows] for at in wanted], [False] * len(rows))
            else:
                yield _ragged(rows, lines, width, wanted)


def _ragged(rows: list[list[str]], lines: Ints, width: int, wanted: Sequence[int]) -> Cells:
    """Cells of rows of which some are blank, short (their last cells are "") or overlong."""
    full = [at for at, row in enumerate(rows) if any(cell.strip() for cell in row)]
    columns = [[rows[at][column] if column < len(rows[at]) else "" for at in full] for column in wanted]
    overlong = [any(cell.strip() for cell in rows[at][width:]) for at in full]
    return Cells(lines[full], columns, overlong)


def _parquet_cells(table: Table, wanted: Sequence[int]) -> Iterator[Cells]:
    import pyarrow
    import pyarrow.parquet

    names = [table.header[at] for at in wanted]
    begin = 1
    try:
        with pyarrow.parquet.ParquetFile(table.path) as file:
            for batch in file.iter_batches(CHUNK, columns=names):
                rows = batch.num_rows
                columns = [batch.column(batch.schema.get_field_index(name)).to_pylist() for name in names]
                yield Cells(begin + np.arange(rows), columns, [False] * rows)
                begin += rows
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{table.place}: cannot be read ({clipped(str(error))})") from None
