"""Measured calls and the Parquet file that keeps them.

A row is one measurement: the operator (its fields as columns), under which runtime and how it was called, the time of a
call and its 95% interval. The description of the machine lies in the file's metadata.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hardware_specs.dtypes import BITS
from hardware_specs.errors import InputError, clipped
from hardware_specs.files import write_bytes
from workloads.operators import Operator, OpKind

_ENVIRONMENT: Final = b"silicost.environment"
_OPERATOR: Final = tuple(field.name for field in dataclasses.fields(Operator))


@dataclass(frozen=True, slots=True)
class Measurement:
    """One call that was measured.

    Args:
        probe: what measured it ("products"), or the kind of file it was read from ("nccl-tests").
        operator: what one call does.
        time_s: mean time of a call, stalls left out [s]; between ``low_s`` and ``high_s``, which hold its 95% interval.
        repeats: timed repetitions behind the median.
        runtime: id of the runtime whose kernels ran; "" where no runtime takes part (a link, a disk).
        variant: what the operator does not say ("triad", "pinned", "graph").
        threads: CPU threads; 0 where they have no say.
        power_w: mean power of the device during the calls [W]; NaN where nothing read it.
        clock_hz: mean clock during the calls [Hz]; NaN where nothing read it.
        at: when, ISO 8601 in UTC.
        source: name of the file that it was read from; "" for what was measured here.
    """

    probe: str
    operator: Operator
    time_s: float
    low_s: float
    high_s: float
    repeats: int = 1
    runtime: str = ""
    variant: str = ""
    threads: int = 0
    power_w: float = math.nan
    clock_hz: float = math.nan
    at: str = ""
    source: str = ""

    @property
    def key(self) -> str:
        """What was measured: the same for a repetition of it."""
        o = self.operator
        sizes = (o.m, o.n, o.k, o.batch, o.heads, o.kv_heads, o.value_dim, o.message_bytes, o.weight_bits, o.group)
        words = (self.probe, self.runtime, o.kind.name.lower(), o.dtype, o.name, self.variant, str(self.threads))
        return " ".join((*words, *(f"{size:g}" for size in sizes)))

    @property
    def shape(self) -> str:
        """The group of measurements that a fit leaves out together: all calls with the same weights or heads."""
        o = self.operator
        if o.family in ("attention_prefill", "attention_decode"):
            return f"{o.heads:g} {o.kv_heads:g} {o.k:g} {o.batch:g}"
        return f"{o.n:g} {o.k:g}" if o.family in ("gemm", "moe") else f"{o.m:g} {o.n:g}"


@dataclass(frozen=True, slots=True)
class Samples:
    """Measurements of one machine, and what that machine is: plain texts by name."""

    measurements: tuple[Measurement, ...]
    environment: Mapping[str, str]


_PLAIN: Final = tuple(field for field in dataclasses.fields(Measurement) if field.name != "operator")


def write_samples(path: Path, samples: Samples) -> None:
    """Write a Parquet file, whole or not at all.

    Raises:
        InputError: the place cannot be written.
    """
    rows = [_row(each) for each in samples.measurements]
    table = pa.table({name: [row[name] for row in rows] for name in _types()}, pa.schema(_types()))
    table = table.replace_schema_metadata({_ENVIRONMENT: json.dumps(dict(samples.environment)).encode()})
    text = io.BytesIO()
    pq.write_table(table, text)
    write_bytes(path, text.getvalue())


def read_samples(path: Path) -> Samples:
    """The measurements in a Parquet file that ``write_samples`` wrote.

    Raises:
        InputError: no such file, another kind of file, or values that no measurement has (row and column are named).
    """
    place = clipped(str(path))
    if not path.is_file():
        raise InputError(f"{place}: no such file of samples")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{place}: not a Parquet file of samples ({str(error).splitlines()[0]})") from None
    missing = [name for name in _types() if name not in table.column_names]
    if missing:
        raise InputError(f"{place}: not a file of samples; it lacks the columns {', '.join(missing)}")
    rows = pa.table([_column(table, name, kind, place) for name, kind in _types().items()], list(_types())).to_pylist()
    found = tuple(_measurement(row, f"{place}: row {number}") for number, row in enumerate(rows, start=1))
    return Samples(found, _environment(table.schema.metadata, place))


def _column(table: pa.Table, name: str, kind: pa.DataType, place: str) -> pa.ChunkedArray:
    """A column in the type that it must have, its texts checked."""
    try:
        column = table[name].cast(kind)
        column.validate(full=True)
    except pa.ArrowException as error:
        raise InputError(f"{place}: column {name} must be {kind} ({str(error).splitlines()[0]})") from None
    return column


def _environment(metadata: Mapping[bytes, bytes] | None, place: str) -> dict[str, str]:
    try:
        found = json.loads((metadata or {}).get(_ENVIRONMENT, b"{}"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{place}: the description of the machine in it cannot be read")
    return {str(key): str(value) for key, value in found.items()}


def _types() -> dict[str, pa.DataType]:
    """Arrow type of each column."""
    arrow = {"str": pa.string(), "float": pa.float64(), "int": pa.int64(), "bool": pa.bool_(), "OpKind": pa.string()}
    fields = [*dataclasses.fields(Operator), *_PLAIN]
    return {field.name: arrow[str(field.type)] for field in fields}


def _row(each: Measurement) -> dict[str, Any]:
    row = {name: getattr(each.operator, name) for name in _OPERATOR}
    row["kind"] = each.operator.kind.name.lower()
    return row | {field.name: getattr(each, field.name) for field in _PLAIN}


def _measurement(row: Mapping[str, Any], place: str) -> Measurement:
    kinds = {kind.name.lower(): kind for kind in OpKind}
    for name, value in row.items():
        if value is None:
            raise InputError(f"{place}: {name} is empty")
    if row["kind"] not in kinds:
        raise InputError(f"{place}: kind {row['kind']!r} is none (allowed: {', '.join(kinds)})")
    if row["dtype"] not in BITS:
        raise InputError(f"{place}: dtype {row['dtype']!r} is none (allowed: {', '.join(BITS)})")
    if not (0.0 < row["low_s"] <= row["time_s"] <= row["high_s"] < math.inf):
        raise InputError(
            f"{place}: times {row['low_s']!r}, {row['time_s']!r}, {row['high_s']!r} s must rise and be positive"
        )
    sizes = [row[name] for name in ("m", "n", "k", "batch", "flops", "read_bytes", "write_bytes", "weight_bytes")]
    if not np.all(np.isfinite(sizes)) or min(sizes) < 0.0:
        raise InputError(f"{place}: sizes must be finite and not negative, not {sizes!r}")
    operator = Operator(**{name: row[name] for name in _OPERATOR} | {"kind": kinds[row["kind"]]})
    return Measurement(operator=operator, **{field.name: row[field.name] for field in _PLAIN})
