"""The table of a study as one file: CSV, JSON lines, Parquet or Arrow, a batch at a time."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hardware_specs.errors import InputError, nearest
from simulator.explore.durable import make_folder, replacing

if TYPE_CHECKING:
    import pyarrow as pa

_FORMULA: Final = r"^([=+\-@\t\r])"
"""``hardware_specs.spreadsheets.FORMULAS``, as Arrow matches it."""
FORMATS: Final = (".csv", ".jsonl", ".parquet", ".arrow")


def write_file(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write batches to a file of the kind that its ending says; how many rows there are.

    Raises:
        InputError: an unknown ending, a place that cannot be written.
    """
    check_format(path)
    make_folder(path.parent)
    rows = 0
    with replacing(path) as temporary, _writer(temporary, path.suffix, schema) as write:
        for batch in batches:
            write(batch)
            rows += batch.num_rows
    return rows


def check_format(path: Path) -> None:
    """Refuse a file whose ending says no format.

    Raises:
        InputError: it does not.
    """
    if path.suffix not in FORMATS:
        close = nearest(path.suffix, FORMATS, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{path}: unknown ending {path.suffix!r}{hint} (allowed: {', '.join(FORMATS)})")


def csv_batches(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[str]:
    """The texts of a CSV file: the header and then each batch; nothing known is an empty field."""
    yield _csv(_plain(schema.empty_table()), True)
    for batch in batches:
        yield _csv(_plain(_table(batch)), False)


def jsonl_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[str]:
    """Each batch as lines, an object of JSON each; nothing known is null."""
    for batch in batches:
        yield "".join(msgspec.json.encode(row).decode() + "\n" for row in batch.to_pylist())


@contextmanager
def _writer(path: Path, ending: str, schema: pa.Schema) -> Iterator[Any]:
    """A function that adds a batch to a new file."""
    if ending in (".csv", ".jsonl"):
        with path.open("x", encoding="utf-8", newline="") as file:
            if ending == ".csv":
                file.writelines(csv_batches(schema, ()))
                yield lambda batch: file.write(_csv(_plain(_table(batch)), False))
            else:
                yield lambda batch: file.writelines(jsonl_batches([batch]))
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    if ending == ".parquet":
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            yield writer.write_batch
    else:  # dictionaries differ from part to part, which Arrow files do not allow
        plain = _plain(schema.empty_table()).schema
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, plain) as arrow:
            yield lambda batch: arrow.write_table(_plain(_table(batch)))


def _table(batch: pa.RecordBatch) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_batches([batch])


def _plain(table: pa.Table) -> pa.Table:
    """A table with texts instead of dictionaries."""
    import pyarrow as pa

    fields = [
        pa.field(field.name, pa.string()) if pa.types.is_dictionary(field.type) else field for field in table.schema
    ]
    return table.cast(pa.schema(fields))


def _csv(table: pa.Table, header: bool) -> str:
    """Rows as CSV; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as csv

    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            safe = pc.replace_substring_regex(table.column(place), pattern=_FORMULA, replacement=r"'\1")
            table = table.set_column(place, field, safe)
    sink = io.BytesIO()
    csv.write_csv(table, sink, csv.WriteOptions(include_header=header))
    return sink.getvalue().decode()
