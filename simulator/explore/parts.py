"""Parts of a study: points and what an evaluator found for them, a Parquet file each, named by what went into it.

A part has the name of its key, the hash of its points and of the evaluator: whoever wants the same finds it, and what
lies under a name is never changed. Between the pages and the footer, where no reader of Parquet looks, lies a seal: the
SHA-256 of all the rest, so that a part is whole or known to be damaged.

Compression by measurement: to encode 10 million rows of 20 columns (7 axes, 10 metrics, 3 verdicts) takes one core
1.5 s with LZ4 (metrics that are products of the axes; 22 MB) to 2.2 s (random metrics; 743 MB), with none 1.8 to 2.2 s,
Snappy 1.5 to 2.2 s, Zstandard 2.0 to 3.0 s; dictionaries for random metrics would double it. With nulls, seal, copy and
flush it is 3 to 5 s of a core that other programs share.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from hardware_specs.errors import InputError
from simulator.explore.columns import ColumnInfo, Table, arrow_table
from simulator.explore.durable import write_durably
from simulator.explore.points import Points

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT: Final = 1
"""Version of the layout of part files; another one means other keys."""
BATCH_ROWS: Final = 65_536
_DAMAGED: Final = ".damaged"
_META: Final = b"silicost.part"
_MAGIC: Final = b"PAR1"
_ENDING_BYTES: Final = 8
"""A Parquet file ends with the length of its footer and its magic word."""
_SEAL_BYTES: Final = 32


class Evaluator(Protocol):
    """What turns points into numbers."""

    @property
    def fingerprint(self) -> str:
        """Hash of all that the numbers depend on besides the points."""

    def __call__(self, points: Points) -> Table:
        """A column [n] by name for n points."""


class Damaged(Exception):
    """A part that cannot be read, with the reason."""


class Written(msgspec.Struct, frozen=True):
    """What a part file holds; it is also noted in the file itself."""

    key: str
    rows: int
    columns: tuple[ColumnInfo, ...]


def part_key(points: Points, fingerprint: str) -> str:
    """The name of the part with these points under an evaluator: 32 hexadecimal digits (BLAKE2b)."""
    return hashlib.blake2b(f"{FORMAT} {points.digest()} {fingerprint}".encode(), digest_size=16).hexdigest()


def part_path(folder: Path, key: str) -> Path:
    """Where the part ``key`` of the study in ``folder`` lies."""
    return folder / "parts" / f"{key}.parquet"


def write_part(path: Path, key: str, points: Points, found: Table) -> Written:
    """Write a part of n points.

    Raises:
        InputError: it cannot be written.
        ValueError: ``found`` does not go with the points.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table, infos = arrow_table(points, found)
    written = Written(key, len(points), infos)
    table = table.replace_schema_metadata({_META: msgspec.json.encode(written)})
    sink = pa.BufferOutputStream()
    repeated = [info.name for info in infos if info.axis or info.kind != "float"]
    pq.write_table(
        table, sink, compression="lz4", row_group_size=max(len(points), 1),
        use_dictionary=[name for name in repeated if table.schema.field(name).type != pa.bool_()],
    )  # fmt: skip
    write_durably(path, *_sealed(memoryview(sink.getvalue())))
    return written


def check_part(path: Path, key: str) -> Written:
    """Read a part through, and say what it holds.

    Raises:
        Damaged: it cannot be read, or is not the part ``key``.
        FileNotFoundError: there is none.
        InputError: no permission to read it.
    """
    import pyarrow as pa

    with _parquet(pa.BufferReader(_unsealed(path))) as file:
        written = _note(file)
        if written.key != key:
            raise Damaged("holds another part than its name says")
        return written


def part_batches(
    path: Path, names: Sequence[str] | None = None, rows: int = BATCH_ROWS
) -> Iterator[tuple[Written, pa.RecordBatch]]:
    """What a part that was checked holds, batch by batch.

    Args:
        names: columns to read; of a part that has none of them, the first column.
        rows: most of a batch.

    Raises:
        Damaged: it cannot be read.
        FileNotFoundError: there is none.
        InputError: no permission to read it.
    """
    with _parquet(path) as file:
        written = _note(file)
        known = [info.name for info in written.columns]
        wanted = None if names is None else [name for name in names if name in known] or known[:1]
        for batch in file.iter_batches(rows, columns=wanted, use_threads=False):
            yield written, batch


def set_aside(path: Path) -> Path | None:
    """Rename a damaged part, so that it can be made anew; its new place, None where it cannot be renamed."""
    for number in range(100):
        place = path.with_name(f"{path.name}{f'.{number}' if number else ''}{_DAMAGED}")
        if not place.exists():
            with suppress(OSError):
                return path.rename(place)
    return None


def _note(file: Any) -> Written:
    """What a file says that it holds."""
    text = (file.schema_arrow.metadata or {}).get(_META)
    if text is None:
        raise Damaged("is not a part of a study")
    return msgspec.json.decode(text, type=Written)


def _sealed(data: memoryview) -> tuple[memoryview, bytes, memoryview]:
    """A Parquet file in memory as its pages, the seal, its footer."""
    place = _footer_place(data)
    return data[:place], hashlib.sha256(data).digest(), data[place:]


def _unsealed(path: Path) -> bytes:
    """The bytes of a file whose seal is whole."""
    with _reading(path):
        data = path.read_bytes()
    place = _footer_place(memoryview(data)) - _SEAL_BYTES
    if place < len(_MAGIC):
        raise Damaged("is cut off, or no part of a study")
    seal = hashlib.sha256(memoryview(data)[:place])
    seal.update(memoryview(data)[place + _SEAL_BYTES :])
    if seal.digest() != data[place : place + _SEAL_BYTES]:
        raise Damaged("its bytes are not those that were written")
    return data


def _footer_place(data: memoryview) -> int:
    """Where the footer of a Parquet file begins; negative where there is none."""
    if len(data) < _ENDING_BYTES or bytes(data[-len(_MAGIC) :]) != _MAGIC:
        return -1
    return len(data) - _ENDING_BYTES - int.from_bytes(data[-_ENDING_BYTES : -len(_MAGIC)], "little")


@contextmanager
def _parquet(source: Any) -> Iterator[Any]:
    """An open Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _reading(source):
        try:
            with pq.ParquetFile(source) as file:
                yield file
        except pa.ArrowException as error:
            raise Damaged(" ".join(str(error).split())[:200]) from None


@contextmanager
def _reading(source: Any) -> Iterator[None]:
    """Errors of the system that do not mean damage are those of whoever asks."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (None, errno.EIO):
            raise Damaged(error.strerror or " ".join(str(error).split())[:200]) from None
        raise InputError(f"{source}: cannot be read ({error.strerror})") from None
