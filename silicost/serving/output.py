"""What a served fleet came to, as programs and people read it, and as files."""

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
from simulator.serving.outcome import LATENCIES, as_json

if TYPE_CHECKING:
    from silicost.serving.answer import Answer

RESULT, REPORT = "result.json", "report.html"
"""Names of the files in a folder of a run."""
TABLES: Final = (".parquet", ".csv")
"""How names of files of requests and of the run over time end."""
SHOWN: Final = (
    "requests", "completed", "rejected", "lost", "retries", "duration_s", "requests_per_s", "output_tokens_per_s",
    "steady_requests_per_s", "steady_output_tokens_per_s", "goodput_requests_per_s", "slo_attainment", "utilisation",
    "mfu", "mbu", "running_mean", "waiting_mean", "kv_mean_fraction", "kv_peak_fraction", "prefix_hit_rate",
    "preemptions", "j_per_output_token", "j_per_request", "usd_per_million_output_tokens", "usd_per_thousand_requests",
    "steady_j_per_output_token", "steady_usd_per_million_output_tokens", "carbon_g", "iterations",
)  # fmt: skip
DIMENSIONS: Final = {
    "duration_s": "s", "j_per_output_token": "j", "j_per_request": "j", "usd_per_million_output_tokens": "usd",
    "usd_per_thousand_requests": "usd", "steady_output_tokens_per_s": "tokens/s", "steady_j_per_output_token": "j",
    "steady_usd_per_million_output_tokens": "usd", "carbon_g": "g", "output_tokens_per_s": "tokens/s",
    **dict.fromkeys(
        ("slo_attainment", "utilisation", "mfu", "mbu", "kv_mean_fraction", "kv_peak_fraction", "prefix_hit_rate"),
        "fraction",
    ),
}  # fmt: skip


def json_of(answer: Answer) -> dict[str, Any]:
    """The keys that programs read."""
    ends = {name: {"p10": low, "p90": high} for name, (low, high) in answer.intervals.items()}
    found = answer.found
    pools = [pool._asdict() for pool in found.pools]
    links = [{**link._asdict(), "between": list(link.between)} for link in found.links]
    tenants = {name: dict(values) for name, values in found.tenants.items() if name}
    notes = list(answer.notes)
    return {
        **as_json(found.outcome), "pools": pools, "links": links, "tenants": tenants, "notes": notes, "intervals": ends,
    }  # fmt: skip


def latency_rows(answer: Answer) -> list[dict[str, str]]:
    """Latencies by kind."""
    found = answer.found.outcome.latencies
    return [
        {"latency": name, **{field: shown(value, "s") for field, value in found[name]._asdict().items()}}
        for name in LATENCIES
    ]


def value_rows(answer: Answer) -> list[dict[str, str]]:
    """All other numbers with their intervals."""
    values = answer.found.outcome.values
    rows = []
    for name in SHOWN:
        value = values[name]
        if value is None or (name in ("lost", "retries") and not value):
            continue
        low, high = answer.intervals.get(name, (None, None))
        dimension = DIMENSIONS.get(name, "")
        span = "" if low is None or high is None else f"{shown(low, dimension)} to {shown(high, dimension)}"
        rows.append({"what": name, "value": shown(value, dimension), "80% interval": span})
    return rows


def pool_rows(answer: Answer) -> list[dict[str, str]]:
    """The pools of a fleet of several."""
    return [
        {
            "pool": pool.name, "device": f"{pool.replicas} x {pool.devices} {pool.device}",
            "runs": pool.model or "search", "jobs": str(pool.jobs), "utilisation": shown(pool.utilisation, "fraction"),
            "running": shown(pool.running_mean, ""), "waiting": shown(pool.waiting_mean, ""),
            "energy": shown(pool.device_j, "j"), "usd": shown(pool.usd, "usd"),
        }
        for pool in answer.found.pools
    ]  # fmt: skip


def shown(value: float | None, dimension: str) -> str:
    """A number for people."""
    from reports.numbers import number, quantity, whole

    if value is None:
        return "-"
    if dimension:
        return quantity(value, dimension)
    return whole(value) if float(value).is_integer() else number(value)


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
        from silicost.serving.page import texts_of

        texts |= texts_of(Path(places.out), answer)
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
