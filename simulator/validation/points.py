"""Points files: measured rows as CSV, gzipped CSV or Parquet, and which kind of measurement a file holds.

A pipe is a file without a name: its first bytes say its form. The published figures that ship are points files too.

The columns are described in ``docs/validation.md``. Everything is read as text, an empty cell is "", and columns that
nobody asked for are kept, so that a row can be written back as it was, but for what ``errata`` corrects.
"""

from __future__ import annotations

import gzip
import io
import stat
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from hardware_specs.errors import InputError, clipped, nearest
from hardware_specs.files import is_file, is_folder
from simulator.validation.errata import corrected
from simulator.validation.serving_runs import table_of_run

Floats = npt.NDArray[np.float64]

REQUIRED: Final = {
    "ops": ("op", "measured_s"),
    "training": ("global_batch", "metric", "measured"),
    "serving": ("arrival_s", "input_len", "output_len"),
    "inference": ("model", "metric", "measured"),
}
"""Columns that tell the kinds apart, in the order in which they are tried; a file without them is of another kind."""

KINDS: Final = tuple(sorted(REQUIRED))
ENDINGS: Final = (".csv", ".csv.gz", ".parquet")
PIPE: Final = "pipe"
"""The name of points that come through a pipe."""
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
"""First bytes of files of these forms."""


@dataclass(frozen=True, eq=False)
class Points:
    """The rows of one file: all cells text, the index 0 ... n - 1.

    ``name`` is the file without its ending (of a serving run the folder): the source of rows that name none, and what
    fits call the table.
    """

    kind: str
    name: str
    table: pd.DataFrame

    def text(self, column: str) -> list[str]:
        """The cells of ``column``, without surrounding blanks; "" for a column that is not there."""
        return _stripped(self.table, column) if column in self.table else [""] * len(self.table)

    def sources(self) -> list[str]:
        """Where each row comes from."""
        return [source or self.name for source in self.text("source")]

    def records(self) -> list[dict[str, str]]:
        """The rows as mappings from column to cell, blanks stripped."""
        return rows_of(self.table)

    def taken(self, kept: npt.NDArray[np.bool_]) -> Points:
        """The points of the rows where ``kept`` is true, shape [n]."""
        return Points(self.kind, self.name, self.table[kept].reset_index(drop=True))

    def chosen(self, rows: Sequence[int]) -> list[dict[str, str]]:
        """The rows with these numbers as such mappings."""
        return rows_of(self.table.iloc[list(rows)])


def rows_of(table: pd.DataFrame) -> list[dict[str, str]]:
    """A table of text as mappings from column to cell, blanks stripped."""
    columns = list(table.columns)
    cells = zip(*(_stripped(table, name) for name in columns), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in cells]


def _stripped(table: pd.DataFrame, column: str) -> list[str]:
    return [cell.strip() for cell in table[column].tolist()]


def numbers(cells: Iterable[str]) -> Floats:
    """Cells as numbers; NaN where there is none, or none that is finite."""
    values = pd.to_numeric(pd.Series(list(cells), dtype=object), errors="coerce").to_numpy(np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def read_points(places: Sequence[Path], kind: str = "") -> list[Points]:
    """All points of files and of the files of folders; files of a folder that hold none are passed over.

    Raises:
        InputError: a file that cannot be read or is of another kind than ``kind``; no file, or no row.
    """
    found = [points for place in places for points in _in_place(place, kind)]
    if not any(len(points.table) for points in found):
        raise InputError(f"{', '.join(map(str, places)) or 'no file'}: no rows to validate")
    return found


def read_published(kind: str = "") -> list[Points]:
    """The published figures that ship with the package, of all kinds or of one.

    Raises:
        InputError: there are none of this kind.
    """
    with as_file(files("simulator.validation") / "published") as folder:
        return _in_place(folder, kind)


def _in_place(place: Path, kind: str) -> list[Points]:
    """The points of a file, of a folder of files, of a serving run, or of a folder of serving runs."""
    if not is_folder(place):
        return [read_file(place, kind)]
    runs = [run for run in (place, *sorted(place.iterdir())) if is_file(run / "requests.csv")]
    if runs:
        return [read_file(run / "requests.csv", kind) for run in runs]
    files = [file for file in sorted(place.iterdir()) if file.name.endswith(ENDINGS) and is_file(file)]
    found = []
    for file in files:
        table = read_table(file)
        its_kind = kind_of(table.columns)
        if its_kind and its_kind == (kind or its_kind):
            found.append(_points(file, its_kind, table))
    if not found:
        what = f"{kind} points" if kind else "points"
        raise InputError(f"{place}: no file with {what} ({', '.join(ENDINGS)}) in this folder")
    return found


def read_file(file: Path, kind: str = "") -> Points:
    """The points of one file.

    Raises:
        InputError: not readable, or without the columns of its kind.
    """
    table = read_table(file)
    its_kind = kind_of(table.columns)
    if kind and its_kind != kind and not set(REQUIRED[kind]) <= set(table.columns):
        lacks = ", ".join(name for name in REQUIRED[kind] if name not in table.columns)
        seems = f"; its columns are those of {its_kind} points" if its_kind else ""
        raise InputError(f"{file}: no {kind} points: it lacks {lacks}{seems}")
    if not kind and not its_kind:
        needs = "; ".join(f"{name}: {', '.join(columns)}" for name, columns in REQUIRED.items())
        raise InputError(f"{file}: columns of no kind of points (needed are, for {needs})")
    return _points(file, kind or its_kind, table)


def kind_of(columns: Iterable[str]) -> str:
    """The kind of points that has these columns; "" for none."""
    there = set(columns)
    return next((kind for kind, needed in REQUIRED.items() if there >= set(needed)), "")


def _points(file: Path, kind: str, table: pd.DataFrame) -> Points:
    if kind == "serving":
        return Points(kind, file.resolve().parent.name, table_of_run(file.parent, table))
    if kind == "inference":
        table = corrected(table)
    return Points(kind, PIPE if _is_pipe(file) else file.name.removesuffix(_ending(file.name)), table)


def _ending(name: str) -> str:
    """The one of ``ENDINGS`` that a file's name has, "" for none."""
    return next((end for end in reversed(ENDINGS) if name.endswith(end)), "")


def _is_pipe(file: Path) -> bool:
    """Whether ``file`` is a pipe or what a shell puts in its place, under a name that says nothing of its form."""
    try:
        mode = file.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or (stat.S_ISREG(mode) and file.parts[1:2] in (("dev",), ("proc",)))


def read_table(file: Path) -> pd.DataFrame:
    """A CSV or Parquet file, or what comes through a pipe, as a table of text.

    Raises:
        InputError: it is none, or broken, or has two columns of one name.
    """
    pipe = _is_pipe(file)
    if not pipe and not is_file(file):
        raise InputError(f"{clipped(str(file))}: no such file or folder")
    if not pipe and not _ending(file.name):
        raise InputError(f"{file}: must end in {', '.join(ENDINGS)}")
    try:
        data = file.read_bytes()
        form = _form_of(data) if pipe else _ending(file.name)
        if form == ".parquet":
            table = _as_text(pd.read_parquet(io.BytesIO(data)))
        else:
            table = _parsed(gzip.decompress(data) if form == ".csv.gz" else data)
    except (OSError, EOFError, zlib.error, ValueError, NotImplementedError) as error:
        reason = " ".join((str(getattr(error, "strerror", None) or error)).split())
        raise InputError(f"{file}: cannot be read ({clipped(reason)})") from None
    for name, times in Counter(table.columns).items():
        if times > 1:
            raise InputError(f"{file}: {times} columns are called {clipped(name)!r}; names must differ")
    return table


def _form_of(data: bytes) -> str:
    """The ending that a file with this content should have."""
    return ".csv.gz" if data.startswith(_GZIP) else ".parquet" if data.startswith(_PARQUET) else ".csv"


def _parsed(data: bytes) -> pd.DataFrame:
    """A CSV as a table of text; the header is read as a row, so that its names stay as they are."""
    rows = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False, header=None, encoding="utf-8-sig").fillna("")
    table = rows.iloc[1:].reset_index(drop=True)
    table.columns = pd.Index([name or f"Unnamed: {place}" for place, name in enumerate(rows.iloc[0].tolist())])
    return table


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Typed columns as text; nulls and NaN are empty cells."""
    texts: dict[int, list[str]] = {}
    for place in range(table.shape[1]):
        column = table.iloc[:, place]
        empty = column.isna().to_numpy()
        cells = column.astype(object).to_numpy()
        texts[place] = ["" if none else str(cell) for cell, none in zip(cells, empty, strict=True)]
    return pd.DataFrame(texts, dtype=str).set_axis(list(map(str, table.columns)), axis=1)


class Condition(NamedTuple):
    """A column of rows and the values of it that are wanted."""

    column: str
    values: tuple[str, ...]

    def holds(self, cells: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which cells have one of the values; numbers are compared as numbers, everything else as text."""
        wanted, as_numbers = set(self.values), set(numbers(self.values)) - {np.nan}
        pairs = zip(cells, numbers(cells).tolist(), strict=True)
        return np.array([cell in wanted or (bool(as_numbers) and number in as_numbers) for cell, number in pairs], bool)


def conditions_in(where: str) -> list[Condition]:
    """The conditions of "quality=A|B,batch_kind=exact".

    Raises:
        InputError: not of this form.
    """
    found = []
    for condition in filter(None, (part.strip() for part in where.split(","))):
        column, equals, values = (part.strip() for part in condition.partition("="))
        if not equals or not column:
            raise InputError(f"--where {clipped(condition)!r}: must be COLUMN=VALUE, for example quality=A|B")
        found.append(Condition(column, tuple(value.strip() for value in values.split("|"))))
    return found


def select(found: Sequence[Points], where: str, later: Collection[str] = ()) -> list[Points]:
    """The rows whose columns have the wanted values, "quality=A|B,batch_kind=exact": all conditions hold.

    Conditions on labels of ``later`` that no file has as a column wait for the predictions.

    Raises:
        InputError: not of this form, a column that no file has, or no row left.
    """
    known = {name for points in found for name in points.table.columns}
    for condition in conditions_in(where):
        if condition.column in known:
            found = [points.taken(condition.holds(points.text(condition.column))) for points in found]
        elif condition.column not in later:
            names = sorted({*known, *later})
            close = nearest(condition.column, names, 1)
            hint = f"; did you mean {close[0]!r}?" if close else f" (there are {clipped(', '.join(names))})"
            column, values = clipped(condition.column), clipped("|".join(condition.values))
            raise InputError(f"--where {column}={values}: no file has a column {column!r}{hint}")
    if not any(len(points.table) for points in found):
        raise InputError(f"--where {clipped(where)}: no row is left")
    return list(found)
