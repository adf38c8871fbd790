"""Errors of predictions against measurements: grouped tables, coverage of intervals, the worst rows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec

from hardware_specs.devices import load_device
from hardware_specs.facts import Fact, Fit
from simulator.result import Interval
from workloads.runtimes.catalogue import load_runtime


def fits_in(part: Any) -> Iterator[Fit]:
    """The fits that calibrated facts of a record rest on, at any depth."""
    if isinstance(part, Fact):
        if part.fit:
            yield part.fit
    elif isinstance(part, msgspec.Struct):
        for name in part.__struct_fields__:
            yield from fits_in(getattr(part, name))
    elif isinstance(part, dict):
        for value in part.values():
            yield from fits_in(value)
    elif isinstance(part, tuple):
        for value in part:
            yield from fits_in(value)


@cache
def is_fitted(runtime: str, device: str, source: str) -> bool:
    """Whether a number of the runtime or of the device was set from rows of ``device`` in the table ``source``."""
    fits = (*fits_in(load_runtime(runtime)), *fits_in(load_device(device)))
    return any(fit.covers(source, device) for fit in fits)


class Scored(NamedTuple):
    """One measured row and what was predicted for it; ``reason`` says why nothing was.

    ``labels`` holds what rows are grouped and described by (source, device, metric ...).
    """

    labels: dict[str, str]
    measured: float
    predicted: float | None = None
    interval: Interval | None = None
    reason: str = ""

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        assert self.predicted is not None
        return self.predicted / self.measured


def summary(rows: Sequence[Scored]) -> dict[str, Any]:
    """Figures of one group of rows; errors are null where no row was predicted.

    ``mean_error`` is the mean of |predicted / measured - 1|, ``mean_error_all`` the same with 1 for each row without
    a prediction; ``bias`` the median of predicted / measured; ``log_error`` the mean of |ln(predicted / measured)|;
    ``within_80`` and ``within_95`` the shares of measurements inside the predictive intervals.
    """
    known = [row for row in rows if row.predicted is not None]
    ratios = [row.ratio for row in known]
    errors = [abs(ratio - 1.0) for ratio in ratios]
    inside = [(row.interval, row.measured) for row in known if row.interval is not None]
    return {
        "n": len(known),
        "skipped": len(rows) - len(known),
        "mean_error": statistics.fmean(errors) if errors else None,
        "median_error": statistics.median(errors) if errors else None,
        "mean_error_all": (sum(errors) + len(rows) - len(known)) / len(rows) if rows else None,
        "bias": statistics.median(ratios) if ratios else None,
        "log_error": statistics.fmean(abs(math.log(ratio)) for ratio in ratios) if ratios else None,
        "within_80": share(i.p10 <= m <= i.p90 for i, m in inside) if inside else None,
        "within_95": share(i.p2_5 <= m <= i.p97_5 for i, m in inside) if inside else None,
    }


def share(truths: Iterable[bool]) -> float:
    """Share of true values."""
    return statistics.fmean(map(float, truths))


def grouped(rows: Sequence[Scored], keys: Sequence[str]) -> dict[tuple[str, ...], list[Scored]]:
    """Rows by the values of ``keys``, sorted."""
    groups: dict[tuple[str, ...], list[Scored]] = {}
    for row in rows:
        groups.setdefault(tuple(row.labels[key] for key in keys), []).append(row)
    return dict(sorted(groups.items()))


def table_of(rows: Sequence[Scored], keys: Sequence[str]) -> list[dict[str, Any]]:
    """One record per group of ``keys``."""
    return [dict(zip(keys, group, strict=True)) | summary(members) for group, members in grouped(rows, keys).items()]


def mean_of_groups(rows: Sequence[Scored], keys: Sequence[str]) -> dict[str, Any]:
    """Figures of ``summary`` averaged over groups, each group counting once."""
    parts = [summary(members) for members in grouped(rows, keys).values()]
    means = {
        name: statistics.fmean(values)
        for name in ("mean_error", "median_error", "mean_error_all", "log_error", "within_80", "within_95")
        if (values := [part[name] for part in parts if part[name] is not None])
    }
    return {"groups": len(parts), "without_prediction": sum(part["n"] == 0 for part in parts)} | means


def overall(rows: Sequence[Scored]) -> dict[str, dict[str, Any]]:
    """Figures of all rows, of those that fits have seen (label ``fitted``), of all others, and of groups."""
    return {
        "overall_rows": summary(rows),
        "overall_rows_fitted": summary([row for row in rows if row.labels["fitted"] == "yes"]),
        "overall_rows_held_out": summary([row for row in rows if row.labels["fitted"] == "no"]),
        "overall_source_device_groups": mean_of_groups(rows, ("source", "device")),
    }


def reasons_of(rows: Sequence[Scored]) -> dict[str, int]:
    """How often each reason kept a row from being predicted, most frequent first."""
    counts: dict[str, int] = {}
    for row in rows:
        if row.predicted is None:
            counts[row.reason] = counts.get(row.reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def worst(rows: Sequence[Scored], count: int) -> list[dict[str, Any]]:
    """The rows that are furthest off, as records."""
    known = sorted((row for row in rows if row.predicted is not None), key=lambda row: -abs(math.log(row.ratio)))
    return [record_of(row) for row in known[:count]]


def record_of(row: Scored) -> dict[str, Any]:
    """A row as a flat record."""
    ratio = row.ratio if row.predicted is not None else None
    return row.labels | {"measured": row.measured, "predicted": row.predicted, "ratio": ratio, "reason": row.reason}


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """A record with numbers of three digits."""
    return {name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in row.items()}
