"""Tables of results: metrics, operators, phases, spans, as columns that CSV and Parquet have alike."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from reports.comparing import Entry, entry_of_result
from reports.text import labels_of, plain
from simulator.result import OperatorCost, PoolUse, Result

Rows = list[dict[str, Any]]


def metric_rows(entries: Iterable[Entry]) -> Rows:
    """A row for each number of each entry: SI unit, the ends of its 80% interval, why there is none."""
    return [
        {
            "of": entry.name, "metric": name, "unit": value.dimension, "value": _known(value.value),
            "p10": _known(value.low), "p90": _known(value.high), "reason": value.reason,
        }
        for entry in entries
        for name, value in entry.values.items()
    ]  # fmt: skip


def result_metrics(results: Sequence[Result]) -> Rows:
    """As ``metric_rows``, with the ends of the 95% interval as well."""
    rows = []
    for label, result in zip(labels_of(results), results, strict=True):
        for row in metric_rows([entry_of_result(label, result)]):
            band = result.intervals.get(row["metric"])
            ends = {end: _known(getattr(band, end)) if band else None for end in ("p2_5", "p97_5")}
            rows.append({**row, **ends})
    return rows


def operator_rows(results: Sequence[Result]) -> Rows:
    """A row for each operator of each phase, all its repeats together."""
    return [
        {"of": label, "phase": phase.name, **_fields(operator)}
        for label, result in zip(labels_of(results), results, strict=True)
        for phase in result.phases
        for operator in phase.operators
    ]


def phase_rows(results: Sequence[Result]) -> Rows:
    """A row for each phase: its time, what bounds it, how many operators it has."""
    return [
        {
            "of": label, "phase": phase.name, "time_s": _known(phase.time_s), "bound": result.bound.get(phase.name, ""),
            "operators": len(phase.operators),
        }
        for label, result in zip(labels_of(results), results, strict=True)
        for phase in result.phases
    ]  # fmt: skip


def pool_rows(results: Sequence[Result]) -> Rows:
    """A row for each pool: memory by part, energy, busy time."""
    return [
        {"of": label, **_pool(pool)}
        for label, result in zip(labels_of(results), results, strict=True)
        for pool in result.pools
    ]


def span_rows(results: Sequence[Result]) -> Rows:
    """A row for each span of the timelines."""
    return [
        {"of": label, **span._asdict()}
        for label, result in zip(labels_of(results), results, strict=True)
        for span in result.timeline.spans
    ]


TABLES: Final[Mapping[str, Callable[[Sequence[Result]], Rows]]] = {
    "metrics": result_metrics, "operators": operator_rows, "phases": phase_rows, "pools": pool_rows, "spans": span_rows,
}  # fmt: skip
"""Tables of results by name; what is no result has ``metrics`` alone."""


def csv_of(rows: Rows) -> str:
    """Rows as CSV; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def parquet_of(rows: Rows) -> bytes:
    """Rows as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    plainly = [{key: plain(value) if isinstance(value, str) else value for key, value in row.items()} for row in rows]
    pq.write_table(pa.Table.from_pylist(plainly), sink)
    return bytes(sink.getvalue().to_pybytes())


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _fields(operator: OperatorCost) -> dict[str, Any]:
    fields = msgspec.structs.asdict(operator)
    return {name: _known(value) if isinstance(value, float) else value for name, value in fields.items()}


def _pool(pool: PoolUse) -> dict[str, Any]:
    whole = msgspec.structs.asdict(pool)
    memory = msgspec.structs.asdict(whole.pop("memory"))
    parts = {f"memory_{part}_bytes": _known(value) for part, value in memory.items()}
    return {**whole, **parts, "fits": pool.fits}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
