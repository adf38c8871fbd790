"""Predictions of points files, grouped scores, and the rows with their predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from hardware_specs.errors import InputError, clipped, nearest
from simulator.validation.inference import predict_inference
from simulator.validation.one_pool import Models
from simulator.validation.ops import predict_ops
from simulator.validation.outcome import Outcome, Words, joined
from simulator.validation.points import Points, conditions_in
from simulator.validation.ranking import rankings_of
from simulator.validation.scoring import figures_of, mean_of, reasons_of
from simulator.validation.serving import predict_serving
from simulator.validation.training import MEMORY, METRIC, predict_memory, predict_training

SCHEMA: Final = 1
"""Version of the JSON form: it grows by one when a key goes away or changes its meaning."""

GROUP_BY: Final = ("source", "device", "op")
WHAT: Final = {"ops": "op", "inference": "metric", "training": "metric", "serving": "metric"}
"""What "op" stands for in the groups of each kind."""
OF_INTERVALS: Final = (
    "coverage_80", "coverage_95", "interval_score", "constant_band_score", "coverage_80_p", "coverage_95_p",
)  # fmt: skip
"""Figures of intervals, which memory has none of."""
COMPUTED: Final = ("runtime", "device_class", "regime", "fitted", "assumed")
"""Labels that come with a prediction."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Scored:
    """A points file with the outcome of each of its rows."""

    points: Points
    outcome: Outcome
    memory: Outcome | None = None
    """Of training: predictions of the rows that report memory, the others left out."""

    def label(self, name: str) -> list[str]:
        """The value of the label ``name`` in each row; "" where rows have none."""
        if name == "source":
            return self.points.sources()
        if name in ("op", "metric") and name == WHAT[self.points.kind]:
            return [METRIC] * len(self.outcome) if self.points.kind == "training" else self.points.text(name)
        if name == "device_class":
            computed = self.outcome.device_class.tolist()
            return [own or given for own, given in zip(computed, self.points.text(name), strict=True)]
        if name in COMPUTED:
            return [str(value) for value in getattr(self.outcome, name).tolist()]
        return self.points.text(name)

    def origins(self) -> Words:
        """Source and device of each row in a word, shape [n]."""
        pairs = zip(self.label("source"), self.label("device"), strict=True)
        return np.array([f"{source}\n{device}" for source, device in pairs], object)


def predict(
    found: Sequence[Points], models: Models, exclude_fitted: bool = False, progress: Progress | None = None
) -> list[Scored]:
    """Predictions of points of any kind.

    Args:
        models: architectures by name, for models that the catalogue lacks.
        exclude_fitted: leave the rows out of the scores that a fit of their runtime or device has seen.
        progress: is told a file's name, how many of its rows are done, and how many there are.
    """
    scored = []
    for points in found:
        outcome = _predict(points, models, progress)
        if exclude_fitted:
            outcome.left_out[outcome.fitted & (outcome.left_out == "")] = "seen by a fit"
        scored.append(Scored(points, outcome, _memory_of(points, models)))
    return scored


def narrowed(scored: Sequence[Scored], where: str) -> list[Scored]:
    """The rows whose computed labels have the values of ``where`` that ``select`` left for later.

    Raises:
        InputError: no row is left.
    """
    columns = {name for each in scored for name in each.points.table.columns}
    for condition in conditions_in(where):
        if condition.column not in columns:
            kept = [condition.holds(each.label(condition.column)) for each in scored]
            pairs = zip(scored, kept, strict=True)
            scored = [_taken(each, rows) for each, rows in pairs]
    if not any(len(each.outcome) for each in scored):
        raise InputError(f"--where {clipped(where)}: no row is left")
    return list(scored)


def _taken(scored: Scored, rows: Any) -> Scored:
    """Some of the rows."""
    memory = None if scored.memory is None else scored.memory.take(rows)
    return Scored(scored.points.taken(rows), scored.outcome.take(rows), memory)


def _memory_of(points: Points, models: Models) -> Outcome | None:
    """Predictions of memory; None where no row reports any."""
    if points.kind != "training" or MEMORY not in points.text("metric"):
        return None
    return predict_memory(points, models)


def _predict(points: Points, models: Models, progress: Progress | None) -> Outcome:
    def tell(done: int) -> None:
        if progress is not None:
            progress(points.name, done, len(points.table))

    if points.kind == "ops":
        return predict_ops(points, tell)
    if points.kind == "inference":
        return predict_inference(points, models, tell)
    if points.kind == "training":
        return predict_training(points, models, tell)
    return predict_serving(points, models, tell)


def report_of(scored: Sequence[Scored], group_by: Sequence[str] = GROUP_BY) -> dict[str, Any]:
    """Scores by group and over all: the documented JSON form (docs: validation).

    Raises:
        InputError: a label that no row has.
    """
    _check_labels(scored, group_by)
    groups = [
        {"kind": kind, **group.labels, **figures_of(group.rows, group.origins)}
        for kind, parts in kinds_of(scored)
        for group in groups_of(parts, group_by)
    ]
    pairs = [group for _, parts in kinds_of(scored) for group in groups_of(parts, ("source", "device"))]
    whole = joined([each.outcome for each in scored])
    kept = whole.left_out == ""
    rows, origins = whole.take(kept), np.concatenate([each.origins() for each in scored])[kept]
    seen = rows.fitted
    return {
        "schema": SCHEMA,
        "groups": groups,
        "overall": {
            **figures_of(rows, origins),
            "source_device_groups": mean_of([figures_of(pair.rows, pair.origins) for pair in pairs]),
            "fitted": figures_of(rows.take(seen), origins[seen]),
            "held_out": figures_of(rows.take(~seen), origins[~seen]),
        },
        "memory": _memory_figures(scored),
        "ranking": rankings_of([(each.points, each.outcome) for each in scored]),
        "left_out": reasons_of(whole.left_out[~kept]),
    }


def _memory_figures(scored: Sequence[Scored]) -> dict[str, Any] | None:
    """Figures of the memory that training runs report, which is no part of the other scores; None without any."""
    found = [(each.memory, each.origins()) for each in scored if each.memory is not None]
    if not found:
        return None
    rows, origins = joined([memory for memory, _ in found]), np.concatenate([own for _, own in found])
    kept = rows.left_out == ""
    return {**figures_of(rows.take(kept), origins[kept]), **dict.fromkeys(OF_INTERVALS)} if kept.any() else None


def kinds_of(scored: Sequence[Scored]) -> list[tuple[str, list[Scored]]]:
    """Points files by the kind of points that they hold, in the order in which kinds come."""
    kinds = dict.fromkeys(each.points.kind for each in scored)
    return [(kind, [each for each in scored if each.points.kind == kind]) for kind in kinds]


class Group(NamedTuple):
    """Rows that are scored together: the labels that they share, and where each comes from."""

    labels: dict[str, str]
    rows: Outcome
    origins: Words


def groups_of(scored: Sequence[Scored], group_by: Sequence[str]) -> list[Group]:
    """The rows of one kind that are scored, by their labels, sorted."""
    names = [WHAT[scored[0].points.kind] if name in ("op", "metric") else name for name in group_by]
    names = list(dict.fromkeys(names))
    outcome = joined([each.outcome for each in scored])
    origins = np.concatenate([each.origins() for each in scored])
    labels = pd.DataFrame(
        {name: [cell for each in scored for cell in each.label(name)] for name in names}, dtype=object
    )
    kept = np.flatnonzero(outcome.left_out == "")
    groups = labels.iloc[kept].groupby(names, sort=True).indices
    return [
        Group(
            dict(zip(names, key if isinstance(key, tuple) else (key,), strict=True)),
            outcome.take(kept[rows]), origins[kept[rows]],
        )
        for key, rows in groups.items()
    ]  # fmt: skip


def _check_labels(scored: Sequence[Scored], group_by: Sequence[str]) -> None:
    """Refuse labels that no row has.

    Raises:
        InputError: with the label and the nearest ones.
    """
    known = {name for each in scored for name in each.points.table.columns} | {*GROUP_BY, "metric", *COMPUTED}
    for name in group_by:
        if name not in known:
            close = nearest(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"--group-by {clipped(name)!r}: no file has this column{hint}")
    if not group_by:
        raise InputError("--group-by: must name at least one column, for example source,device,op")


def rows_of(scored: Sequence[Scored]) -> pd.DataFrame:
    """Every input row with its columns, and beside them the columns of ``Prediction``.

    A column of the input that is called like one of these is called ``input_...``, but its own ``device_class`` stays.
    Columns whose cells are all numbers become numbers, empty cells null.
    """
    parts = []
    for each in scored:
        added = each.outcome.frame()
        added.insert(0, "kind", each.points.kind)
        if "device_class" in each.points.table:
            added = added.drop(columns="device_class")
        own = each.points.table.rename(columns={name: f"input_{name}" for name in added.columns})
        parts.append(pd.concat([own, added], axis=1))
    whole = pd.concat(parts, ignore_index=True)
    for name in whole.columns:
        if whole[name].dtype.kind not in "fb":
            whole[name] = _typed(whole[name])
    return whole


def _typed(column: pd.Series[Any]) -> pd.Series[Any]:
    """Text as numbers where every cell is one or empty, with nulls for empty cells."""
    text = column.astype(object).where(column.notna() & (column != ""), None)
    there = text.notna()
    as_numbers = pd.to_numeric(text, errors="coerce")
    if there.any() and bool(as_numbers[there].notna().all()):
        return as_numbers.astype(np.float64)
    return text
