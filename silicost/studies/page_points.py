"""The points of a study as its page takes them: rows read part by part, their levels on each factor, their metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from hardware_specs.errors import InputError
from hardware_specs.units import dimension_of, parse_quantity
from reports.numbers import number, whole
from reports.study import Best, Bin, Configuration, Factor
from silicost.studies.study import Study
from simulator.explore import reading
from simulator.explore.columns import arrow_schema, text_of
from simulator.explore.points import Value
from simulator.explore.space import Axis, Range

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MOST_KEPT: Final = 200_000
"""Rows that are held in memory; of more a random part, which the page says."""
MOST_DRAWN: Final = 20_000
"""Feasible points that are drawn one by one; more are counted in cells, all of them."""
MOST_LEVELS: Final = 256
"""Values of an axis of numbers that are levels of their own."""
_RANGES: Final = 16
"""Ranges of an axis with more."""
_FINE: Final = 64
"""Cells of a decade while they are counted."""
_ROOM: Final = 400 * _FINE
"""Cells between 1 and the largest and smallest floats."""
_CELLS: Final = 60
"""Cells of an axis when they are shown."""
_SEED: Final = 0


@dataclass(frozen=True, eq=False)
class Kept:
    """Rows of a study.

    Args:
        frame: axes, metrics and ``feasible`` of the rows that are held.
        rows: of the whole study.
        bins: cells of all feasible points; () where there are few enough to be drawn.
        off: feasible points without a place in ``bins``.
    """

    frame: pd.DataFrame
    rows: int
    bins: tuple[Bin, ...] = ()
    off: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether every row is held."""
        return len(self.frame) == self.rows

    @property
    def sample(self) -> str:
        """In words which rows figures are of; "" for all."""
        if self.is_whole:
            return ""
        return f"From {whole(len(self.frame))} of the {whole(self.rows)} points, drawn at random (seed {_SEED})."


@dataclass(frozen=True, eq=False)
class Axes:
    """Factors with two levels or more, the level of each row on each, and the exact value of each row as a number."""

    factors: tuple[Factor, ...]
    codes: tuple[Ints, ...]
    exact: tuple[Ints, ...]

    @property
    def levels(self) -> list[int]:
        """How many levels each factor has."""
        return [len(factor.levels) for factor in self.factors]


@dataclass
class _Cells:
    """Counts of points in fine cells of two metrics."""

    names: tuple[str, str]
    counts: dict[tuple[int, int], int] = field(default_factory=dict)
    off: int = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the feasible points of a batch."""
        good = batch.column("feasible").to_numpy(zero_copy_only=False).astype(bool)
        x, y = (batch.column(name).to_numpy(zero_copy_only=False).astype(float)[good] for name in self.names)
        with np.errstate(invalid="ignore"):
            placed = (x > 0.0) & (y > 0.0) & np.isfinite(x) & np.isfinite(y)
        self.off += int((~placed).sum())
        across, up = (np.floor(np.log10(values[placed]) * _FINE).astype(np.int64) + _ROOM for values in (x, y))
        found, counts = np.unique(across * (2 * _ROOM) + up, return_counts=True)
        for cell, count in zip(found.tolist(), counts.tolist(), strict=True):
            place = (cell // (2 * _ROOM) - _ROOM, cell % (2 * _ROOM) - _ROOM)
            self.counts[place] = self.counts.get(place, 0) + count

    def bins(self) -> tuple[Bin, ...]:
        """Cells wide enough that no more than ``_CELLS`` lie side by side."""
        if not self.counts:
            return ()
        ends = [(min(place[k] for place in self.counts), max(place[k] for place in self.counts)) for k in (0, 1)]
        wide = [max(1, math.ceil((high - low + 1) / _CELLS)) for low, high in ends]
        merged: dict[tuple[int, int], int] = {}
        for (x, y), count in self.counts.items():
            key = (x // wide[0], y // wide[1])
            merged[key] = merged.get(key, 0) + count
        return tuple(
            Bin(_value(x * wide[0]), _value((x + 1) * wide[0]), _value(y * wide[1]), _value((y + 1) * wide[1]), count)
            for (x, y), count in sorted(merged.items())
        )


def _value(place: int) -> float:
    return float(10.0 ** (place / _FINE))


def read_rows(stored: reading.Study, names: Sequence[str], counted: Sequence[str] = ()) -> Kept:
    """Read a study through once.

    Args:
        names: axes and metrics that are kept.
        counted: two metrics over which all feasible points are counted in cells; () to count nothing.

    Raises:
        InputError: a part is missing or damaged.
    """
    import pyarrow as pa

    wanted = [*dict.fromkeys((*names, *counted, "feasible"))]
    rows = stored.manifest.rows
    part = min(1.0, MOST_KEPT / max(rows, 1))
    draw, batches = np.random.default_rng(_SEED), []
    cells = _Cells((counted[0], counted[1])) if counted else None
    for batch in stored.batches(wanted):
        if cells is not None:
            cells.add(batch)
        batches.append(batch if part == 1.0 else batch.filter(pa.array(draw.random(batch.num_rows) < part)))
    table = pa.Table.from_batches(batches, schema=arrow_schema(stored.columns(wanted))).unify_dictionaries()
    return Kept(table.to_pandas(), rows, cells.bins() if cells else (), cells.off if cells else 0)


def axes_of(asked: Study, kept: Kept) -> Axes:
    """The factors of a study, and where its rows lie on them."""
    several = []
    for axis in asked.space.axes:
        factor, codes = levels_of(axis, kept.frame)
        exact = codes
        if factor.binned:
            exact = np.unique(kept.frame[axis.names[0]].to_numpy(float), return_inverse=True)[1]
        if len(factor.levels) > 1:
            several.append((factor, codes, exact))
    factors, codes_of, values = zip(*several, strict=True) if several else ((), (), ())
    return Axes(factors, codes_of, values)


def levels_of(axis: Axis | Range, frame: pd.DataFrame) -> tuple[Factor, Ints]:
    """An axis as a factor, and the level of each row of ``frame``, shape [n]; levels without a row are left out."""
    if isinstance(axis, Range):
        return _in_ranges(axis.name, frame[axis.name].to_numpy(float), axis.unit)
    codes = _choices(axis, frame)
    present = np.unique(codes)
    places = numbers_of(axis)
    if places and len(present) > MOST_LEVELS:
        return _in_ranges(", ".join(axis.names), np.array(places)[codes], "")
    labels = tuple(", ".join(text_of(value) for value in axis.values[k]) for k in present.tolist())
    kept = tuple(places[k] for k in present.tolist()) if places else ()
    return Factor(", ".join(axis.names), labels, kept), np.searchsorted(present, codes)


def numbers_of(axis: Axis) -> tuple[float, ...]:
    """Where the choices of an axis lie on an axis of numbers: () where they are names, mixed, or not all different.

    Quantities count if they have one dimension, in SI units; of linked axes all have to be numbers, and the first one
    that tells the choices apart says where they lie.
    """
    columns = [_numbers([choice[j] for choice in axis.values]) for j in range(len(axis.names))]
    if not all(columns):
        return ()
    return next((column for column in columns if len(set(column)) == len(column)), ())


def _numbers(values: Sequence[Value]) -> tuple[float, ...]:
    if any(isinstance(value, bool) for value in values):
        return ()
    dimensions = {dimension_of(value) for value in values}
    factors = {isinstance(value, str) and value.strip()[-1:] in ("x", "%") for value in values}
    if len(dimensions) > 1 or len(factors) > 1:
        return ()
    try:
        return tuple(parse_quantity(value, dimensions.copy().pop()) for value in values)
    except InputError:
        return ()


def _choices(axis: Axis, frame: pd.DataFrame) -> Ints:
    """Which choice of an axis each row took, shape [n]."""
    combined = np.zeros(len(frame), np.int64)
    keys = np.zeros(len(axis.values), np.int64)
    for j, name in enumerate(axis.names):
        column = frame[name]
        texts = isinstance(column.dtype, pd.CategoricalDtype)
        said = [text_of(choice[j]) if texts else float(choice[j]) for choice in axis.values]
        order: dict[str | float, int] = {}
        own = np.array([order.setdefault(value, len(order)) for value in said])
        if texts:
            table = np.array([order[str(value)] for value in column.cat.categories if str(value) in order] or [0])
            known = [str(value) in order for value in column.cat.categories]
            places = np.zeros(max(len(known), 1), np.int64)
            places[np.flatnonzero(known)] = table[: sum(known)]
            rows = places[column.cat.codes.to_numpy()]
        else:
            distinct = np.array(sorted(order), dtype=np.float64)
            by_value = np.array([order[value] for value in sorted(order)])
            rows = by_value[np.searchsorted(distinct, column.to_numpy(float))]
        combined, keys = combined * len(order) + rows, keys * len(order) + own
    sorter = np.argsort(keys)
    return np.asarray(sorter[np.searchsorted(keys, combined, sorter=sorter)], np.int64)


def _in_ranges(name: str, values: Floats, unit: str) -> tuple[Factor, Ints]:
    """Numbers as levels: each of a few values, or ranges that hold equally many rows."""
    distinct = np.unique(values)
    if len(distinct) <= _RANGES:
        labels = tuple(words_of(value, unit) for value in distinct.tolist())
        return Factor(name, labels, tuple(distinct.tolist())), np.searchsorted(distinct, values)
    edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, _RANGES + 1)))
    codes = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    present, codes = np.unique(codes, return_inverse=True)
    groups = [values[codes == k] for k in range(len(present))]
    labels = tuple(_between(float(own.min()), float(own.max()), unit) for own in groups)
    return Factor(name, labels, tuple(float(np.median(own)) for own in groups), binned=True), codes


def _between(low: float, high: float, unit: str) -> str:
    """A range in words: whole numbers as they are, others to three digits."""
    ends = [str(int(end)) if end.is_integer() and abs(end) < 1e6 else number(end) for end in (low, high)]
    return _with_unit(ends[0] if low == high else " – ".join(ends), unit)


def configuration_of(row: Mapping[Any, Any], axes: Sequence[str], units: Mapping[str, str]) -> Configuration:
    """What a row of a table has on each axis, in words."""
    return tuple((name, words_of(row[name], units.get(name, ""))) for name in axes)


def best_of(row: Mapping[Any, Any], metric: str, axes: Sequence[str], units: Mapping[str, str]) -> Best:
    """A row of a table as the best by a metric."""
    return Best(float(row[metric]), configuration_of(row, axes, units))


def words_of(value: Any, unit: str = "") -> str:
    """A value of an axis for people: numbers that are not whole to four digits."""
    if isinstance(value, float):
        value = int(value) if value.is_integer() and abs(value) < 1e15 else f"{float(f'{value:.4g}'):,.15g}"
    return _with_unit(text_of(value), unit)


def value_of(value: Any, unit: str = "") -> Value:
    """A value of an axis as a scenario takes it: what has a unit is a text."""
    plain: Value = value.item() if isinstance(value, np.generic) else value
    return _with_unit(repr(plain), unit) if unit else plain


def _with_unit(text: str, unit: str) -> str:
    return f"{text}{unit}" if unit in ("x", "%") else f"{text} {unit}".rstrip()
