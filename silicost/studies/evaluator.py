"""From points of a study to a table: closed form by whole cells, or one simulation after the other.

Every point is a row: its metrics, whether it fits the memory, whether it is feasible (it can be run, fits, and keeps
the constraints), and if not a reason code with a message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError
from silicost.studies.cells import TRAFFIC, Cell, Value, cell_of, reason_of, scenario_of, trains
from simulator.bulk.metrics import batch_columns, model_of
from simulator.bulk.static_batches import Batches
from simulator.checks import LARGEST, MOST_TOKENS
from simulator.explore.columns import Table
from simulator.explore.objectives import Constraint
from simulator.explore.points import Column, Points
from simulator.metrics import BY_NAME
from simulator.simulate import simulate

Ints = npt.NDArray[np.int64]

MEMORY: Final = "memory"
"""Reason of a point that the memory is too small for."""
ENDS: Final = ("p10", "p90")
"""Ends of the interval that a table holds."""
_CELLS: Final = 4096
"""Cells that are kept ready."""


class Reasons:
    """Codes and messages of points without an answer, each distinct one once."""

    def __init__(self, count: int) -> None:
        self.codes = np.zeros(count, np.int32)
        self._texts: dict[tuple[str, str], int] = {("", ""): 0}

    def put(self, rows: Any, code: str, detail: str) -> None:
        """Give ``rows`` a reason."""
        where = np.atleast_1d(np.asarray(rows))
        if where.any() if where.dtype == np.bool_ else where.size:
            self.codes[where] = self._texts.setdefault((code, detail), len(self._texts))

    def columns(self) -> tuple[Column, Column]:
        """Codes and messages as columns."""
        codes, details = zip(*self._texts, strict=True)
        return Column(self.codes, tuple(codes)), Column(self.codes, tuple(details))


class StudyEvaluator:
    """Answers the points of one study.

    Args:
        fixed: keys that all points share.
        metrics: columns of the table, of ``simulator.bulk.metrics.METRICS`` or of training results.
        constraints: what a feasible point must keep beside the memory.
        engine: simulate each point on its own.
        intervals: with the ends of the 80% interval of each metric, NAME.p10 and NAME.p90.
    """

    def __init__(
        self, fixed: Mapping[str, Value], metrics: Sequence[str], constraints: Sequence[Constraint] = (),
        engine: bool = False, intervals: bool = False, fingerprint: str = "",
    ) -> None:  # fmt: skip
        self.fixed, self.metrics, self.constraints = dict(fixed), tuple(metrics), tuple(constraints)
        self.engine, self.intervals, self.fingerprint = engine, intervals, fingerprint
        self._cell = lru_cache(maxsize=_CELLS)(self._made)

    def __call__(self, points: Points) -> Table:
        """Answer all ``points``."""
        count = len(points)
        wanted = tuple(dict.fromkeys((*self.metrics, *(c.metric for c in self.constraints))))
        sure = [name for name in self.metrics if self.intervals and name in BY_NAME and name != "max_batch"]
        ends = [f"{name}.{end}" for name in sure for end in ENDS]
        values = {name: np.full(count, np.nan) for name in (*wanted, *ends)}
        fits, reasons = np.zeros(count, np.bool_), Reasons(count)
        if self.engine or trains({**self.fixed, **points.columns}):
            self._one_by_one(points, wanted, values, fits, reasons)
        else:
            self._by_cells(points, wanted, values, fits, reasons)
        feasible = fits & (reasons.codes == 0)
        for each in self.constraints:
            broken = feasible & ~(each.margins(values[each.metric]) <= 0.0)
            reasons.put(broken, each.metric, f"not {each.metric} {each.op} {each.bound:g}")
            feasible &= ~broken
        reason, detail = reasons.columns()
        kept = {name: values[name] for name in (*self.metrics, *ends)}
        return {**kept, "fits": fits, "feasible": feasible, "reason": reason, "detail": detail}

    def _by_cells(
        self, points: Points, wanted: tuple[str, ...], values: Mapping[str, npt.NDArray[np.float64]],
        fits: npt.NDArray[np.bool_], reasons: Reasons,
    ) -> None:  # fmt: skip
        traffic = np.stack([self._numbers(points, key) for key in TRAFFIC])
        names = [name for name in points.columns if name not in TRAFFIC]
        for rows, own in _groups(points, names):
            cell = self._cell(tuple(own.items()))
            if cell.prepared is None:
                reasons.put(rows, cell.reason, cell.detail)
                continue
            rows = _possible(cell, traffic, rows, reasons)
            if not len(rows):
                continue
            work = Batches(*(column[rows].astype(np.int64) for column in traffic))
            try:
                found, fit = batch_columns(cell.prepared, work, wanted, self.intervals)
            except InputError as error:
                reasons.put(rows, reason_of(error), str(error))
                continue
            for name, column in found.items():
                if name in values:
                    values[name][rows] = column
            fits[rows] = fit
            reasons.put(rows[~fit], MEMORY, "does not fit the memory")

    def _one_by_one(
        self, points: Points, wanted: tuple[str, ...], values: Mapping[str, npt.NDArray[np.float64]],
        fits: npt.NDArray[np.bool_], reasons: Reasons,
    ) -> None:  # fmt: skip
        for row in range(len(points)):
            try:
                result = simulate(scenario_of({**self.fixed, **points.row(row)}))
            except InputError as error:
                reasons.put(row, reason_of(error), str(error))
                continue
            own = {
                **result.metrics, "memory_bytes": result.memory.total, "device_j": result.energy.device,
                "facility_j": result.energy.facility,
            }  # fmt: skip
            for name in wanted:
                value = own.get(name)
                values[name][row] = np.nan if value is None else value
                for end in ENDS:
                    if f"{name}.{end}" in values and name in result.intervals:
                        values[f"{name}.{end}"][row] = getattr(result.intervals[name], end)
            fits[row] = result.fits
            if not result.fits:
                reasons.put(row, MEMORY, "does not fit the memory")

    def _made(self, own: tuple[tuple[str, Value], ...]) -> Cell:
        fixed = {key: value for key, value in self.fixed.items() if key not in TRAFFIC}
        return cell_of({**fixed, **dict(own)})

    def _numbers(self, points: Points, key: str) -> npt.NDArray[np.float64]:
        """A key of the traffic as numbers, shape [n]; NaN where a value is none."""
        if key in points.columns:
            return _numbers_of(points.columns[key])
        value = self.fixed.get(key, np.nan)
        return np.full(len(points), value if isinstance(value, (int, float)) else np.nan)


def _groups(points: Points, names: Sequence[str]) -> list[tuple[Ints, dict[str, Value]]]:
    """Rows that agree in all of ``names``, and their values of these."""
    count = len(points)
    key = np.zeros(count, np.int64)
    for name in names:
        codes, many = _codes_of(points.columns[name])
        if key.max(initial=0) > (1 << 62) // many:
            key = np.unique(key, return_inverse=True)[1]
        key = key * many + codes
    rising = bool((key[1:] >= key[:-1]).all())
    order = np.arange(count) if rising else np.argsort(key, kind="stable")
    edges = np.flatnonzero(np.diff(key[order], prepend=-1)) if count else np.empty(0, np.int64)
    return [
        (rows, {name: points.columns[name].value(int(rows[0])) for name in names})
        for rows in np.split(order, edges[1:])
        if len(rows)
    ]


def _codes_of(column: Column) -> tuple[Ints, int]:
    """Equal numbers for equal values, shape [n], and how many they are below."""
    if column.numbers is None:
        return column.codes.astype(np.int64), len(column.values)
    distinct, codes = np.unique(column.numbers, return_inverse=True)
    return codes, len(distinct)


def _numbers_of(column: Column) -> npt.NDArray[np.float64]:
    """A column as numbers, shape [n]; NaN where a value is none."""
    if column.numbers is not None:
        return column.numbers.astype(np.float64)
    table = [value if isinstance(value, (int, float)) else np.nan for value in column.values]
    return np.array(table, np.float64)[column.codes]


def _possible(cell: Cell, traffic: npt.NDArray[np.float64], rows: Ints, reasons: Reasons) -> Ints:
    """Those of ``rows`` whose traffic ``checks.check_workload`` takes."""
    batch, isl, osl = traffic[:, rows]
    whole = np.ones(len(rows), np.bool_)
    for name, column in zip(TRAFFIC, (batch, isl, osl), strict=True):
        own = (column >= 1.0) & (column <= LARGEST) & (column == np.floor(column))
        reasons.put(rows[~own], "traffic", f"{name} must be a whole number from 1 to {LARGEST}")
        whole &= own
    few = batch * (isl + osl) <= MOST_TOKENS
    reasons.put(rows[whole & ~few], "traffic", f"more than {MOST_TOKENS:.0e} tokens in one batch")
    whole &= few
    if cell.prepared is not None and model_of(cell.prepared).is_encoder:
        reasons.put(rows[whole & (osl != 1.0)], "traffic", "an encoder generates no tokens: osl must be 1")
        whole &= osl == 1.0
    return rows[whole]
