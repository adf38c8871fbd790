"""Reading a study: batches in the order of its points, a data frame, SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware_specs.errors import InputError, UnknownName, clipped
from simulator.display import html_of
from simulator.explore.columns import ColumnInfo, arrow_schema, fitted
from simulator.explore.manifest import Manifest, PartRecord, read_manifest
from simulator.explore.parts import BATCH_ROWS, Damaged, Written, check_part, part_batches, part_path

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class Study:
    """A study on the disk as its manifest had it when it was opened; others may add parts meanwhile."""

    folder: Path
    manifest: Manifest
    _checked: dict[str, Written] = field(default_factory=dict, repr=False, compare=False)

    def columns(self, names: Sequence[str] | None = None) -> tuple[ColumnInfo, ...]:
        """The columns ``names``, or all: axes first.

        Raises:
            UnknownName: there is none of that name.
        """
        known = {info.name: info for info in self.manifest.columns}
        for name in names or ():
            if name not in known:
                raise UnknownName("column", name, known, f"silicost study show {self.folder}", str(self.folder))
        return self.manifest.columns if names is None else tuple(known[name] for name in names)

    def batches(self, names: Sequence[str] | None = None, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """The rows in the order of the points, at most ``rows`` at a time, one part in memory at a time.

        Raises:
            UnknownName: there is no such column.
            InputError: a part is missing, damaged or cannot be read.
        """
        return self.batches_as(self.columns(names), rows)

    def batches_as(self, wanted: Sequence[ColumnInfo], rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """As ``batches``, with columns as ``wanted`` says; those that the study lacks are null."""
        for part in self._files():
            for written, batch in self._part(part, [info.name for info in wanted], rows):
                yield fitted(batch, {info.name: info for info in written.columns}, wanted)

    def to_arrow(self, names: Sequence[str] | None = None) -> pa.Table:
        """All rows in memory, as an Arrow table. Raises as ``batches``."""
        import pyarrow as pa

        table = pa.Table.from_batches(self.batches(names, rows=1 << 20), schema=arrow_schema(self.columns(names)))
        return table.unify_dictionaries()

    def to_pandas(self, names: Sequence[str] | None = None) -> pd.DataFrame:
        """All rows in memory, as a data frame: texts as categories, NaN for nothing known. Raises as ``batches``."""
        frame: pd.DataFrame = self.to_arrow(names).to_pandas(split_blocks=True, self_destruct=True)
        return frame

    def _repr_html_(self) -> str | None:
        """What a notebook shows; None (text) where no room above has said how."""
        return html_of(self)

    def sql(self, query: str) -> pa.Table:
        """The answer to an SQL query over the table ``study``, streamed from the parts by DuckDB.

        Raises:
            InputError: DuckDB is missing or does not like the query, or a part cannot be read.
        """
        duckdb = _duckdb()
        with duckdb.connect(":memory:") as connection:
            connection.execute("SET enable_external_access = false")
            connection.execute("SET python_enable_replacements = false")
            connection.register("study", self._source())
            try:
                answer = connection.sql(query)
                if answer is None:
                    raise InputError("sql: the query has no answer; it should begin with 'select'")
                return answer.to_arrow_table()
            except (duckdb.Error, OSError) as error:
                missing = isinstance(error, duckdb.CatalogException)
                hint = "; the table of the rows is called 'study'" if missing else ""
                raise InputError(f"sql: {' '.join(str(error).split())}{hint}") from None

    def _files(self) -> list[PartRecord]:
        return [part for part in self.manifest.parts if part.rows]

    def _part(self, part: PartRecord, names: Sequence[str], rows: int) -> Iterator[tuple[Written, pa.RecordBatch]]:
        """The batches of one part."""
        path = part_path(self.folder, part.key)
        self._check(path, part.key)
        with _explained(path):
            yield from part_batches(path, names, rows)

    def _check(self, path: Path, key: str) -> Written:
        """What a part holds; it is read through when it is met for the first time."""
        if key not in self._checked:
            with _explained(path):
                self._checked[key] = check_part(path, key)
        return self._checked[key]

    def _source(self) -> Any:
        """What DuckDB scans: the files, or where parts differ in what their columns hold, all rows in memory."""
        import pyarrow.dataset as ds

        wanted = set(self.manifest.columns)
        paths = []
        for part in self._files():
            path = part_path(self.folder, part.key)
            if not set(self._check(path, part.key).columns) <= wanted:
                return self.to_arrow()
            paths.append(str(path))
        if not paths:
            return self.to_arrow()
        return ds.dataset(paths, schema=arrow_schema(self.manifest.columns), format="parquet")


def open_study(folder: Path) -> Study:
    """The study in a folder, for reading.

    Raises:
        InputError: there is none, or its manifest cannot be used.
    """
    return Study(folder, read_manifest(folder))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say what to do about a part that cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: is gone; run the study again, which computes just this part") from None
    except Damaged as error:
        raise InputError(f"{path}: damaged ({error}); run the study again, which computes just this part") from None


def _duckdb() -> Any:
    try:
        return import_module("duckdb")
    except ImportError as error:
        why = clipped(str(error))
        raise InputError(f"SQL over a study needs DuckDB ({why}): pip install 'silicost[sql]'") from None
