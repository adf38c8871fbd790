"""Recorded traffic: traces of requests that are replayed as they came.

Times count from the earliest request; requests that stand out of order are sorted, and it is said. Rows of one instant
and equal rows are all kept. A request without a prompt or an answer is left out and counted; what cannot be read is
refused with its line, or counted as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from hardware_specs.errors import InputError, UnknownName, clipped
from workloads.traffic.block_traces import BLOCK_TOKENS, read_blocks
from workloads.traffic.record import Blocks, Floats, Traffic, in_time_order
from workloads.traffic.rows import TOKENS_FROM_0, LeftOut, Wanted, numbers, tokens, values_of
from workloads.traffic.streams import counted
from workloads.traffic.tables import INPUT, OUTPUT, Table, needed_column, open_table, plain

TIME: Final = (
    "arrival_s", "arrival", "arrival_time", "arrival_time_s", "arrived_at", "arrived_at_s", "arrival_timestamp",
    "timestamp", "timestamp_s", "time", "time_s", "t", "arrival_ms", "arrival_time_ms", "arrived_at_ms", "timestamp_ms",
    "time_ms", "arrival_us", "timestamp_us", "arrival_ns", "timestamp_ns", "request_time", "start_time",
)  # fmt: skip
"""Names of the column of times, as in ``tables.INPUT``. Numbers are seconds, unless the name ends in another unit; else
they are dates (ISO 8601)."""
MOST_S: Final = 1e9
"""Longest trace [s], thirty years."""
_UNITS_S: Final = {"ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class _Columns(NamedTuple):
    """Names that a format gives its columns of times, prompts and answers."""

    time: Sequence[str]
    input: Sequence[str]
    output: Sequence[str]


_TABLES: Final = {
    "azure": _Columns(("timestamp",), ("contexttokens",), ("generatedtokens",)),
    "splitwise": _Columns(("arrival_timestamp",), ("prompt_size",), ("token_size",)),
    "csv": _Columns(TIME, INPUT, OUTPUT),
}
_BLOCKS: Final = "mooncake"
FORMATS: Final = ("auto", *_TABLES, _BLOCKS)
"""Formats of traces; mooncake: lines of JSON with the blocks that prompts share."""


def read_trace(
    path: Path, form: str = "auto", *, speedup: float = 1.0, most: int | None = None, skip: bool = False,
    block_tokens: int = BLOCK_TOKENS,
) -> Traffic:  # fmt: skip
    """The requests of a trace.

    Args:
        form: one of ``FORMATS``; "auto": by the ending of the file (.jsonl: mooncake) and its columns.
        speedup: how many times as fast as it was recorded.
        most: how many requests to take at most, from the beginning of the file.
        skip: leave out what cannot be read, and count it.
        block_tokens: tokens of the blocks that prompts of "mooncake" share.

    Raises:
        UnknownName: an unknown format.
        InputError: a file that cannot be read, lacks a column, or holds no request; a row that cannot be used, unless
            ``skip``; a speedup or a count that cannot be.
    """
    if form not in FORMATS:
        raise UnknownName("format of traces", form, FORMATS, f"allowed: {', '.join(FORMATS)}")
    if not 0.0 < speedup < math.inf:
        raise InputError(f"speedup {speedup!r}; allowed: a finite number above 0")
    if most is not None:
        counted(most, "requests of a trace", 1)
    if form == "auto":
        form = _BLOCKS if path.name.endswith((".jsonl", ".jsonl.gz", ".ndjson")) else "csv"
    if form == _BLOCKS:
        left = LeftOut(clipped(str(path)), "line", skip)
        found = read_blocks(path, left, most, counted(block_tokens, "tokens of a block", 1))
        return _replayed(found.time_s, found.input, found.output, found.blocks, speedup, left)
    table = open_table(path)
    left = LeftOut(table.place, table.row_word, skip)
    return _replayed(*_columns(table, _TABLES[form], left, most), None, speedup, left)


def _columns(table: Table, names: _Columns, left: LeftOut, most: int | None) -> tuple[Floats, Floats, Floats]:
    """Times, prompts and answers, of at most ``most`` rows, shape [n] each."""
    if not table.named:
        raise InputError(f"{table.place}: the first line names no columns; a trace needs times, prompts and answers")
    at = [
        needed_column(table, wanted, what)
        for wanted, what in zip(names, ("arrival times", "prompt tokens", "output tokens"), strict=True)
    ]
    clock, prompt, answer = (table.header[column] for column in at)
    wanted = [
        Wanted(clock, at[0], _Clock(clock).seconds, "a finite number or a date (ISO 8601)"),
        Wanted(prompt, at[1], tokens, TOKENS_FROM_0, of_tokens=True),
        Wanted(answer, at[2], tokens, TOKENS_FROM_0, of_tokens=True),
    ]
    chunks = list(values_of(table, wanted, left, most))
    if not any(len(chunk[0]) for chunk in chunks):
        raise left.all_of_them()
    times, prompts, answers = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    return times, prompts, answers


class _Clock:
    """Cells of a column of times as seconds since its first one; whether they are dates is decided on the first
    cells."""

    def __init__(self, name: str) -> None:
        self.scale_s = _UNITS_S.get(plain(name).rpartition("_")[2], 1.0)
        self.dates: bool | None = None
        self.origin: Any = None

    def seconds(self, cells: Sequence[Any]) -> Floats:
        """Shape [n]; NaN where a cell is no time."""
        values = np.full(len(cells), np.nan) if self.dates else numbers(cells)
        if self.dates is None and len(cells):
            self.dates = bool(np.isnan(values).mean() > 0.5)
        if self.dates:
            return self._of_dates(cells)
        known = values[~np.isnan(values)]
        if self.origin is None and len(known):
            self.origin = known[0]
        return values if self.origin is None else (values - self.origin) * self.scale_s

    def _of_dates(self, cells: Sequence[Any]) -> Floats:
        import pandas as pd

        texts = [text if text[:1].isdigit() else "" for text in (str(cell).strip() for cell in cells)]
        dates = pd.to_datetime(pd.Series(texts, dtype=object), utc=True, format="ISO8601", errors="coerce")
        ticks = dates.astype("datetime64[ns, UTC]").astype("int64").to_numpy()
        good = dates.notna().to_numpy()
        if self.origin is None and good.any():
            self.origin = ticks[np.argmax(good)]
        origin = ticks[0] if self.origin is None else self.origin
        return np.where(good, (ticks - origin) / 1e9, np.nan)


def _replayed(
    time_s: Floats, prompts: Floats, answers: Floats, blocks: Blocks | None, speedup: float, left: LeftOut
) -> Traffic:  # fmt: skip
    """Requests in the order of their times, which count from the earliest one."""
    notes = list(left.notes())
    late = int(np.count_nonzero(np.maximum.accumulate(time_s) > time_s))
    if late:
        notes.append(f"{left.place}: {late} of {len(time_s)} requests stand after later ones and were sorted by time")
    arrival_s = (time_s - time_s.min()) / speedup
    if arrival_s.max() > MOST_S:
        raise InputError(f"{left.place}: lasts {arrival_s.max():.3g} s; must be at most {MOST_S:g} s")
    found = Traffic(arrival_s, prompts.astype(np.int64), answers.astype(np.int64), blocks=blocks, notes=tuple(notes))
    return in_time_order(found) if late else found
