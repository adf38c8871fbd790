"""Tables of results: metrics, operators, phases, spans, as columns that CSV and Parquet have alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from hardware_specs import spreadsheets
from reports.comparing import Entry, entry_of_result
from reports.numbers import metric_of, symbol
from reports.recommendation import Answered, Option, Recommendation
from reports.text import labels_of, plain
from simulator.result import PoolUse, Result

Rows = list[dict[str, Any]]


def metric_rows(entries: Iterable[Entry]) -> Rows:
    """A row for each number of each entry: SI unit, the ends of its 80% interval, why there is none."""
    return [
        {
            "of": entry.name, "metric": name, "unit": symbol(value.dimension), "value": _known(value.value),
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
        {"of": label, "phase": phase.name, **_knowns(msgspec.structs.asdict(operator))}
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
        {"of": label, **_knowns(span._asdict())}
        for label, result in zip(labels_of(results), results, strict=True)
        for span in result.timeline.spans
    ]


def ranking_rows(card: Recommendation) -> Rows:
    """A row for each device of each question: the ranked ones, the best first, then those that were left out.

    ``value`` of ``metric`` is what ranks, with the ends of its 80% interval; every other metric has a column, whose
    name ends in its unit, and ``verdict`` says why a device is not the first, or has no answer.
    """
    names = dict.fromkeys(name for answer in card.answers for each in answer.options for name, _ in each.metrics)
    units = {name: symbol(metric_of(name).dimension) for name in names}
    columns = {name: f"{name} [{unit}]" if unit else name for name, unit in units.items()}
    return [row for answer in card.answers for row in _ranked(answer, columns)]


def _ranked(answer: Answered, columns: Mapping[str, str]) -> Rows:
    measure = answer.measure
    asked = {"question": answer.name, "metric": measure.name, "unit": symbol(measure.dimension)}
    rows = [{"rank": rank, **_option(each, asked, columns)} for rank, each in enumerate(answer.options, start=1)]
    blank = dict.fromkeys({"rank": 0, **_option(_NONE, asked, columns)})
    return rows + [
        {**blank, **asked, "device": lost.device, "device_class": lost.device_class, "reason": lost.code,
         "verdict": lost.why, "plan": "", "price": "", "bound": ""}
        for lost in answer.lost
    ]  # fmt: skip


def _option(each: Option, asked: Mapping[str, str], columns: Mapping[str, str]) -> dict[str, Any]:
    return {
        "device": each.device, "device_class": each.device_class, "devices": each.devices, "plan": each.plan, **asked,
        "value": _known(each.value), "p10": _known(each.low), "p90": _known(each.high),
        "chance_best": _known(each.chance_best), "usd_per_hour": _known(each.usd_per_hour), "price": each.price,
        "rated_w": _known(each.rated_w), "memory_bytes": _known(each.needed_bytes),
        "usable_bytes": _known(each.usable_bytes), "bound": each.bound, "reason": "",
        "verdict": each.why or "the first", **{title: _known(each.metric(name)) for name, title in columns.items()},
    }  # fmt: skip


_NONE: Final = Option("", "", 0, "", math.nan)


TABLES: Final[Mapping[str, Callable[[Sequence[Result]], Rows]]] = {
    "metrics": result_metrics, "operators": operator_rows, "phases": phase_rows, "pools": pool_rows, "spans": span_rows,
}  # fmt: skip
"""Tables of results by name; what is no result has ``metrics`` alone, recommendations ``ranking`` too."""


def csv_of(rows: Rows) -> str:
    """Rows as CSV; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    return spreadsheets.csv_of([{key: _plainly(value) for key, value in row.items()} for row in rows])


def parquet_of(rows: Rows) -> bytes:
    """Rows as Parquet. A column without any value is one of numbers, so that a file has the same types whatever is
    known."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist([{key: _plainly(value) for key, value in row.items()} for row in rows])
    fields = [field.with_type(pa.float64()) if pa.types.is_null(field.type) else field for field in table.schema]
    pq.write_table(table.cast(pa.schema(fields)), sink)
    return bytes(sink.getvalue().to_pybytes())


def _plainly(value: Any) -> Any:
    return plain(value) if isinstance(value, str) else value


def _knowns(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: _known(value) if isinstance(value, float) else value for name, value in fields.items()}


def _pool(pool: PoolUse) -> dict[str, Any]:
    whole = msgspec.structs.asdict(pool)
    memory = msgspec.structs.asdict(whole.pop("memory"))
    parts = {f"memory_{part}_bytes": _known(value) for part, value in memory.items()}
    return {**_knowns(whole), **parts, "fits": pool.fits}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
