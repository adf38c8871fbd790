"""The rows whose predictions are furthest off, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.metrics import BY_NAME
from simulator.validation.cells import Row
from simulator.validation.operators import NEEDS
from simulator.validation.outcome import Outcome
from simulator.validation.reasons import reasons_of_row
from simulator.validation.training import METRIC
from simulator.validation.validate import Scored

_LOAD: Final = {
    "inference": {"batch": "batch", "input_len": "in", "output_len": "out"},
    "training": {"global_batch": "batch", "micro_batch": "micro", "seq_len": "seq"},
}
_WAYS: Final = ("tp", "pp", "dp", "ep")


class Outlier(NamedTuple):
    """A row, what it measured, and its prediction [unit of ``dimension``]; ``reason`` says what may be behind it."""

    kind: str
    source: str
    device: str
    device_class: str
    what: str
    dimension: str
    observed: float
    predicted: float
    low_80: float
    high_80: float
    regime: str
    runtime: str
    fitted: bool
    provenance: str
    reason: str


def outliers_of(scored: Sequence[Scored], most: int) -> list[Outlier]:
    """The ``most`` scored rows with the largest |ln(predicted / measured)|, the worst first."""
    ranked = [
        (-float(distance), place, int(i))
        for place, each in enumerate(scored)
        for distance, i in _worst(each.outcome, most)
    ]
    return [_outlier(scored[place], i) for _, place, i in sorted(ranked)[:most]]


def _worst(outcome: Outcome, most: int) -> list[tuple[float, int]]:
    """Distance and number of the worst rows of one file."""
    rows = predicted_rows(outcome)
    distance = np.abs(np.log(outcome.predicted[rows] / outcome.observed[rows]))
    first = np.argsort(-distance, kind="stable")[:most]
    return list(zip(distance[first].tolist(), rows[first].tolist(), strict=True))


def predicted_rows(outcome: Outcome) -> npt.NDArray[np.int64]:
    """The numbers of rows that are scored and have a prediction."""
    return np.flatnonzero((outcome.left_out == "") & (outcome.predicted > 0.0) & np.isfinite(outcome.predicted))


def _outlier(each: Scored, i: int) -> Outlier:
    kind, (row,), out = each.points.kind, each.points.chosen([i]), each.outcome.take([i])
    regime, runtime, provenance, fitted = (
        getattr(out, name).tolist()[0] for name in ("regime", "runtime", "provenance", "fitted")
    )
    observed, predicted, low, high = (
        getattr(out, name).tolist()[0] for name in ("observed", "predicted", "low_80", "high_80")
    )
    reasons = reasons_of_row(kind, row, runtime, regime, provenance, fitted)
    return Outlier(
        kind, row.get("source") or each.points.name, row["device"], out.device_class.tolist()[0], what_of(kind, row),
        dimension_of(kind, row), observed, predicted, low, high, regime, runtime, fitted, provenance,
        "; ".join(reasons) or "none known",
    )  # fmt: skip


def dimension_of(kind: str, row: Row) -> str:
    """The dimension of what a row was scored on."""
    metric = row.get("metric", "") if kind == "inference" else METRIC
    return BY_NAME[metric].dimension if metric in BY_NAME else ""


def what_of(kind: str, row: Row) -> str:
    """What was measured, in a line: the operator with its sizes, or the model with its load and layout."""
    if kind == "ops":
        op = row.get("op", "").lower()
        sizes = [f"{name} {row[name]}" for name in NEEDS.get(op, ()) if row.get(name)]
        return " ".join(filter(None, [op, row.get("dtype", ""), *sizes]))
    metric, column = (METRIC, "precision") if kind == "training" else (row.get("metric", ""), "weight_dtype")
    named = _LOAD[kind] | {way: way for way in _WAYS}
    sizes = [f"{name} {row[cell]}" for cell, name in named.items() if row.get(cell)]
    devices = f"on {row['n_devices']}" if row.get("n_devices", "1") not in ("", "1") else ""
    return " ".join(filter(None, [metric, row.get("model", ""), row.get(column, ""), devices, *sizes]))
