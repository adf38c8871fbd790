"""The files of a served run: its page and result, every request, and the run over time; all of them or none."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from hardware_specs.errors import InputError, clipped
from hardware_specs.files import is_folder, write_texts

if TYPE_CHECKING:
    from silicost.serving.answer import Answer

RESULT, REPORT = "result.json", "report.html"
"""Names of the files in a folder of a run."""
TABLES: Final = (".parquet", ".csv")
"""How names of files of requests and of the run over time end."""


class Places(NamedTuple):
    """Where the files of a run go; "": nowhere."""

    out: str = ""
    requests_out: str = ""
    timeline: str = ""


def check_places(places: Places) -> None:
    """Refuse, before anything is run, places that its files cannot be written to.

    Raises:
        InputError: a table that is neither CSV nor Parquet, one place twice, a folder in the place of a file or the
            other way round, no leave to write.
    """
    asked: dict[str, Path] = {}
    if places.out:
        asked |= {f"--out {places.out}/{name}": Path(places.out) / name for name in (RESULT, REPORT)}
    for flag, text in (("--requests-out", places.requests_out), ("--timeline", places.timeline)):
        if text:
            if Path(text).suffix not in TABLES:
                raise InputError(f"{flag} {clipped(text)}: must end in {' or '.join(TABLES)}")
            asked[f"{flag} {text}"] = Path(text)
    known: dict[str, str] = {}
    for said, path in asked.items():
        real = os.path.realpath(path)
        if real in known:
            raise InputError(f"{said}: is the file of {known[real]} too; give each a place of its own")
        known[real] = said
        _check_place(said, Path(real))


def _check_place(said: str, path: Path) -> None:
    if is_folder(path):
        raise InputError(f"{said}: cannot be written (it is a directory)")
    there = path
    while not os.path.lexists(there):
        there = there.parent
    needed = os.W_OK if there == path else os.W_OK | os.X_OK
    if there != path and not is_folder(there):
        raise InputError(f"{said}: cannot be written ({there} is no directory)")
    if not os.access(there, needed):
        raise InputError(f"{said}: cannot be written (no leave to write to {there})")


def write_files(places: Places, answer: Answer) -> None:
    """All files of a run, or none of them.

    Raises:
        InputError: one cannot be written.
    """
    texts: dict[Path, str | bytes] = {}
    if places.requests_out:
        texts[Path(places.requests_out)] = _table(Path(places.requests_out), answer.requests)
    if places.timeline:
        texts[Path(places.timeline)] = _table(Path(places.timeline), _timeline(answer))
    if places.out:
        from silicost.serving.page import page_and_result

        texts |= page_and_result(Path(places.out) / REPORT, Path(places.out) / RESULT, answer)
    write_texts(texts)


def _timeline(answer: Answer) -> dict[str, Any]:
    """What each pool did over time, a row for each bin and pool."""
    columns: dict[str, Any] = {
        "pool": np.concatenate([np.full(len(series.end_s), series.pool) for series in answer.series]),
        "end_s": np.concatenate([series.end_s for series in answer.series]),
    }
    for name in dict.fromkeys(name for series in answer.series for name in series.columns):
        columns[name] = np.concatenate(
            [series.columns.get(name, np.full(len(series.end_s), np.nan)) for series in answer.series]
        )
    return columns


def _table(path: Path, columns: Mapping[str, Any]) -> str | bytes:
    """Columns as CSV or Parquet, by the name of the file."""
    if path.suffix == ".csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
        return text.getvalue()
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(dict(columns)), sink)
    found: bytes = sink.getvalue().to_pybytes()
    return found
