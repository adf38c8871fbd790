"""Points of a space as rows of numbers, which is how search methods see them.

A *code* has one number per axis: the place of the choice on a discrete axis, the number itself on a range.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from simulator.explore.points import Column, Points, Value
from simulator.explore.space import Axis, Range, Space

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_QUANTITY: Final = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)$")
_WIDE: Final = 4.0
"""A positive axis whose ends are further apart than this ratio is seen by its logarithm."""
_TRIES: Final = 50


@dataclass(frozen=True)
class Coding:
    """The codes [n, axes] of the points of a space."""

    space: Space

    @cached_property
    def counts(self) -> tuple[int | None, ...]:
        """Choices of each axis; None for a continuous one."""
        return tuple(_count(axis) for axis in self.space.axes)

    @property
    def size(self) -> int | None:
        """Points before conditions; None where an axis is continuous."""
        return None if None in self.counts else math.prod(count for count in self.counts if count is not None)

    def points(self, codes: Floats) -> Points:
        """The points with these codes."""
        columns: dict[str, Column] = {}
        for place, axis in enumerate(self.space.axes):
            numbers = codes[:, place]
            columns.update(axis.chosen(numbers.astype(np.int32)) if isinstance(axis, Axis) else axis.chosen(numbers))
        return Points(columns)

    def keeps(self, codes: Floats) -> Bools:
        """Whether the conditions of the space keep each code, shape [n]."""
        if not self.space.conditions:
            return np.ones(len(codes), dtype=np.bool_)
        return self.space.keeps(self.points(codes))

    def codes(self, points: Points) -> tuple[Floats, Bools]:
        """The codes of ``points``, and which of them lie in the space, shape [n]; other rows mean nothing."""
        codes = np.zeros((len(points), len(self.space.axes)))
        inside = np.ones(len(points), dtype=np.bool_)
        for place, axis in enumerate(self.space.axes):
            if any(name not in points.columns for name in axis.names):
                return codes, np.zeros(len(points), dtype=np.bool_)
            columns = [points.columns[name] for name in axis.names]
            found = _numbers_of(axis, columns[0]) if isinstance(axis, Range) else _choices_of(axis, columns)
            inside &= ~np.isnan(found)
            codes[:, place] = np.nan_to_num(found)
        return codes, inside & self.keeps(codes)

    def grid(self, start: int, stop: int) -> Floats:
        """The codes ``start`` to ``stop - 1`` of a space without continuous axes, conditions unseen; the first axis is
        the slowest."""
        numbers = np.arange(start, stop, dtype=np.int64)
        codes = np.empty((len(numbers), len(self.counts)))
        for place in range(len(self.counts) - 1, -1, -1):
            count = self.counts[place]
            assert count is not None
            axis = self.space.axes[place]
            codes[:, place] = numbers % count + (axis.low if isinstance(axis, Range) else 0.0)
            numbers = numbers // count
        return codes

    def random(self, count: int, rng: np.random.Generator) -> Floats:
        """``count`` codes that the conditions keep, at random; fewer where they keep next to nothing."""
        found: list[Floats] = []
        left = count
        for _ in range(_TRIES):
            codes = self.of_unit(rng.random((max(2 * left, 64), len(self.counts))))
            found.append(codes[self.keeps(codes)][:left])
            left -= len(found[-1])
            if not left:
                break
        return np.concatenate(found)

    def of_unit(self, unit: Floats) -> Floats:
        """The codes at places in the unit cube [n, axes]."""
        columns = [
            _of_unit(axis, unit[:, place], self.counts[place]) for place, axis in enumerate(self.space.axes)
        ]  # fmt: skip
        return np.stack(columns, axis=1)

    @cached_property
    def orders(self) -> tuple[Floats | None, ...]:
        """What the choices of each axis measure, shape [choices], where all of them are numbers (or quantities of one
        unit); None for ranges and for axes of other texts."""
        return tuple(_measures(axis) if isinstance(axis, Axis) else None for axis in self.space.axes)

    def features(self, codes: Floats) -> tuple[Floats, Ints]:
        """What a model learns from, scaled to the unit interval, and the axis of each feature.

        A number is one feature (its logarithm where the axis is wide); an axis of texts has one feature per choice,
        1 where a point takes it (one hot).

        Returns:
            Features [n, f] and axes [f].
        """
        parts, axes = [], []
        for place, axis in enumerate(self.space.axes):
            numbers = codes[:, place]
            order = self.orders[place]
            if isinstance(axis, Range):
                parts.append(_scaled(numbers, axis.low, axis.high, axis.log)[:, None])
            elif order is not None:
                choice = _scaled(order, float(order.min()), float(order.max()))
                parts.append(choice[numbers.astype(np.int64)][:, None])
            else:
                parts.append(np.eye(len(axis.values))[numbers.astype(np.int64)])
            axes += [place] * parts[-1].shape[1]
        return np.concatenate(parts, axis=1), np.array(axes, dtype=np.int64)


def keys(codes: Floats) -> list[bytes]:
    """A key per code [n, axes]: equal codes, equal keys."""
    return [row.tobytes() for row in np.ascontiguousarray(codes + 0.0)]


def _count(axis: Axis | Range) -> int | None:
    if isinstance(axis, Axis):
        return len(axis.values)
    return int(axis.high) - int(axis.low) + 1 if axis.whole else None


def _of_unit(axis: Axis | Range, unit: Floats, count: int | None) -> Floats:
    if isinstance(axis, Range):
        numbers = axis.of_unit(unit)[axis.name].numbers
        assert numbers is not None
        return numbers.astype(np.float64)
    assert count is not None
    return np.minimum(np.floor(unit * count), count - 1.0)


def _scaled(numbers: Floats, low: float, high: float, log: bool = False) -> Floats:
    """Numbers between two ends as shares of the way between them."""
    if high == low:
        return np.zeros(len(numbers))
    if low > 0.0 and (log or high > _WIDE * low):
        return np.asarray(np.log(numbers / low) / math.log(high / low))
    return (numbers - low) / (high - low)


def _measures(axis: Axis) -> Floats | None:
    """The numbers that the choices of an axis are, None where they are not."""
    if len(axis.names) > 1 or len(axis.values) < 2:
        return None
    found, units = [], set()
    for (value,) in axis.values:
        match = _QUANTITY.match(value.strip()) if isinstance(value, str) else None
        if isinstance(value, str) and match is None:
            return None
        found.append(float(match[1]) if match else float(value))
        units.add(match[2] if match else "")
    return np.array(found) if len(units) == 1 else None


def _numbers_of(axis: Range, column: Column) -> Floats:
    """The numbers of a column on a range, NaN outside of it."""
    if column.numbers is not None:
        numbers = column.numbers.astype(np.float64) if column.unit == axis.unit else np.full(len(column), np.nan)
    else:
        known = [_as_number(value) for value in column.values]
        numbers = np.array(known, dtype=np.float64)[column.codes] if known else np.zeros(0)
    fits = (numbers >= axis.low) & (numbers <= axis.high)
    if axis.whole:
        fits &= numbers == np.floor(numbers)
    return np.where(fits, numbers, np.nan)


def _as_number(value: Value) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def _choices_of(axis: Axis, columns: Sequence[Column]) -> Floats:
    """The choices on an axis that rows of its columns are, NaN for those that are none."""
    places: dict[tuple[Any, ...], int] = {choice: place for place, choice in enumerate(axis.values)}
    if len(columns) == 1 and columns[0].numbers is None:
        table = np.array([places.get((value,), math.nan) for value in columns[0].values], dtype=np.float64)
        return table[columns[0].codes] if len(table) else np.zeros(0)
    rows = range(len(columns[0]))
    return np.array([places.get(tuple(c.value(row) for c in columns), math.nan) for row in rows], dtype=np.float64)
