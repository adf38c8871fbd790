"""What a study found, read from its folder part by part: counts, the best point of each metric, the Pareto front."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from reports.numbers import quantity
from silicost.studies.study import MIXED, better_of, dimension_of
from simulator.explore import reading
from simulator.explore.objectives import Objective
from simulator.explore.pareto import non_dominated
from simulator.metrics import BY_NAME

VERDICTS = ("fits", "feasible", "reason", "detail")
"""Columns of every table behind axes and metrics."""

Row = dict[str, Any]


@dataclass
class Summary:
    """What a study found.

    ``best`` holds a row by metric, ``front`` the rows that no other is better than in every objective, in the order of
    the first one; ``reasons`` counts points without an answer by code, ``details`` has a message of each.
    """

    axes: tuple[str, ...]
    metrics: tuple[str, ...]
    objectives: tuple[Objective, ...]
    rows: int = 0
    feasible: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    details: dict[str, str] = field(default_factory=dict)
    best: dict[str, Row] = field(default_factory=dict)
    front: list[Row] = field(default_factory=list)


def summarise(study: reading.Study, metrics: Sequence[str], objectives: Sequence[Objective]) -> Summary:
    """Read a study through once, a batch at a time.

    Raises:
        InputError: a part is missing or damaged.
    """
    axes = tuple(info.name for info in study.manifest.columns if info.axis)
    known = {info.name for info in study.manifest.columns}
    metrics = tuple(name for name in metrics if name in known)
    objectives = tuple(each for each in objectives if each.metric in known)
    found = Summary(axes, metrics, objectives)
    front = pd.DataFrame()
    for batch in study.batches([*axes, *dict.fromkeys((*metrics, *(o.metric for o in objectives))), *VERDICTS]):
        frame = batch.to_pandas()
        found.rows += len(frame)
        _count(found, frame)
        good = frame[frame["feasible"].to_numpy(bool)]
        found.feasible += len(good)
        for metric in metrics:
            _better(found, metric, good)
        if objectives and len(good):
            front = _front(pd.concat([front, _front(good, objectives)], ignore_index=True), objectives)
    if len(front):
        ordered = front.sort_values(objectives[0].metric, kind="stable")
        found.front = [_row(row) for row in ordered.to_dict("records")]
    return found


def costs_of(frame: pd.DataFrame, objectives: Sequence[Objective]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Costs of rows, shape [n, objectives]; less is better."""
    signs = [1.0 if each.better == "lower" else -1.0 for each in objectives]
    return np.stack([s * frame[o.metric].to_numpy(float) for s, o in zip(signs, objectives, strict=True)], axis=1)


def _front(frame: pd.DataFrame, objectives: Sequence[Objective]) -> pd.DataFrame:
    return frame[non_dominated(costs_of(frame, objectives))]


def _count(found: Summary, frame: pd.DataFrame) -> None:
    wrong = frame[~frame["feasible"].to_numpy(bool)]
    for row in wrong.groupby(["reason", "detail"], observed=True).size().reset_index(name="points").to_dict("records"):
        code = str(row["reason"])
        found.reasons[code] += int(row["points"])
        found.details.setdefault(code, str(row["detail"]))


def _better(found: Summary, metric: str, frame: pd.DataFrame) -> None:
    values = frame[metric].to_numpy(float)
    if not np.isfinite(values).any():
        return
    sign = 1.0 if better_of(metric) == "lower" else -1.0
    place = int(np.nanargmin(sign * values))
    before = found.best.get(metric)
    if before is None or sign * values[place] < sign * before[metric]:
        found.best[metric] = _row(frame.iloc[place].to_dict())


def _row(row: dict[Any, Any]) -> Row:
    """Plain values; None for what is not known."""
    plain = {str(key): value.item() if isinstance(value, np.generic) else value for key, value in row.items()}
    return {
        key: None if isinstance(value, float) and np.isnan(value) else value
        for key, value in plain.items()
        if key not in VERDICTS
    }


def shown(name: str, value: Any) -> Any:
    """A value as people read it: metrics with their unit."""
    if value is None or not isinstance(value, float):
        return value
    dimension = dimension_of(name) if name in (*BY_NAME, *MIXED) else ""
    return quantity(value, dimension) if dimension else value
