"""A design space: axes, ranges and conditions; its points are numbered row by row, the first axis the slowest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hardware_specs.errors import InputError, clipped
from simulator.explore.points import Column, Points, Value, joined

__all__ = ["Axis", "Column", "Condition", "Kept", "Points", "Range", "Sampler", "Space", "Value", "joined"]

MOST_VALUES: Final = 10_000_000
"""Most choices of one axis."""
LARGEST_WHOLE: Final = 1 << 63
"""Whole numbers keep below it."""
_MOST_WHOLE: Final = 2.0**53
"""Whole numbers beyond this are not exact as floats."""
_MOST_SURVEYED: Final = 1_000_000
"""Up to so many combinations a survey of conditions looks at all, beyond at a sample."""
_SURVEYED: Final = 1 << 16
_SURVEY_SEED: Final = 0


class Condition(Protocol):
    """What points have to hold; ``conditions.parse_condition`` makes them of texts."""

    @property
    def text(self) -> str:
        """The condition as it was written."""

    def check(self, columns: Mapping[str, Column]) -> tuple[str, ...]:
        """The names that it speaks of, from columns with all values of each name; InputError where it makes no sense
        for them."""

    def holds(self, columns: Mapping[str, Column]) -> NDArray[np.bool_]:
        """Whether each of n points holds it, shape [n]."""


class Sampler(Protocol):
    """Numbered points of a space, any slice of which can be made alone."""

    @property
    def count(self) -> int:
        """How many point numbers there are; conditions drop some of the points."""

    def points(self, start: int, stop: int) -> Points:
        """The points ``start`` to ``stop - 1``, less those that the conditions drop."""


@dataclass(frozen=True)
class Axis:
    """A discrete axis; of several names, which then vary together.

    Args:
        names: what the axis sets.
        values: the choices: each a value per name.

    Raises:
        InputError: no name or choice, a choice of another length, a value that is no text, finite number or bool,
            a choice that stands twice.
    """

    names: tuple[str, ...]
    values: tuple[tuple[Value, ...], ...]

    def __post_init__(self) -> None:
        place = f"axis {', '.join(self.names)}"
        if not self.names or not all(self.names):
            raise InputError("an axis needs a name")
        if not self.values:
            raise InputError(f"{place}: no values; give at least one")
        if len(self.values) > MOST_VALUES:
            raise InputError(f"{place}: {len(self.values):,} values; at most {MOST_VALUES:,}")
        for choice in self.values:
            if len(choice) != len(self.names):
                raise InputError(f"{place}: {_shown(choice)} has {len(choice)} values for {len(self.names)} names")
            for value in choice:
                if not _is_value(value):
                    raise InputError(
                        f"{place}: {clipped(repr(value))} is no value; allowed: texts, true, false, finite numbers"
                    )
        if len(set(self.values)) < len(self.values):
            twice = next(choice for choice, times in Counter(self.values).items() if times > 1)
            raise InputError(f"{place}: {_shown(twice)} stands twice")

    @cached_property
    def columns(self) -> dict[str, Column]:
        """All choices in order: a column per name, one row per choice."""
        if len(self.names) == 1:
            values = tuple(value for (value,) in self.values)
            return {self.names[0]: Column(np.arange(len(values), dtype=np.int32), values)}
        return {name: Column.of_values(choice[j] for choice in self.values) for j, name in enumerate(self.names)}

    def chosen(self, choices: NDArray[np.int32]) -> dict[str, Column]:
        """The columns of points that take these choices [n]."""
        if len(self.names) == 1:
            return {name: Column(choices, column.values) for name, column in self.columns.items()}
        return {name: column.take(choices) for name, column in self.columns.items()}

    def of_unit(self, unit: NDArray[np.float64]) -> dict[str, Column]:
        """The columns of points in the unit interval [n], which is cut into one equal part per choice."""
        choices = np.minimum((unit * len(self.values)).astype(np.int32), len(self.values) - 1)
        return self.chosen(choices)


@dataclass(frozen=True)
class Range:
    """A continuous axis, or whole numbers, both ends included.

    Args:
        name: what it sets.
        low, high: its ends, in ``unit``.
        log: equal ratios are equally likely.
        whole: whole numbers alone.
        unit: of the numbers ("TB/s", "x"); "" for plain ones.

    Raises:
        InputError: ends that are not finite or not in order, no positive low end for ``log``, ends of ``whole`` that
            are not.
    """

    name: str
    low: float
    high: float
    log: bool = False
    whole: bool = False
    unit: str = ""

    def __post_init__(self) -> None:
        place = f"range {self.name}"
        if not self.name:
            raise InputError("a range needs a name")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"{place}: {self.low} to {self.high}; the ends must be finite, the low one below the high")
        if not math.isfinite(self.high - self.low):
            raise InputError(f"{place}: {self.low} to {self.high} is too wide")
        if self.log and self.low <= 0:
            raise InputError(f"{place}: low end {self.low}; equal ratios need one above zero")
        if self.whole and (self.low != int(self.low) or self.high != int(self.high)):
            raise InputError(f"{place}: {self.low} to {self.high}; the ends of whole numbers must be whole")
        if self.whole and max(abs(self.low), abs(self.high)) > _MOST_WHOLE:
            raise InputError(f"{place}: {self.low} to {self.high}; whole numbers reach up to 2**53")

    @property
    def names(self) -> tuple[str, ...]:
        """Its one name."""
        return (self.name,)

    @property
    def columns(self) -> dict[str, Column]:
        """Its two ends."""
        return self.chosen(np.array([self.low, self.high], dtype=np.float64))

    def chosen(self, numbers: NDArray[np.float64]) -> dict[str, Column]:
        """The column of points with these numbers [n]."""
        whole = numbers.astype(np.int64) if self.whole else numbers
        return {self.name: Column.of_numbers(whole, self.unit)}

    def of_unit(self, unit: NDArray[np.float64]) -> dict[str, Column]:
        """The column of points in the unit interval [n]; a whole number takes an equal part (``log``: in ratio)."""
        high = self.high + 1.0 if self.whole else self.high
        if self.log:
            numbers = self.low * np.exp(unit * math.log(high / self.low))
        else:
            numbers = self.low + unit * (high - self.low)
        return self.chosen(np.clip(np.floor(numbers) if self.whole else numbers, self.low, self.high))


@dataclass(frozen=True)
class Kept:
    """What share of a space's points its conditions keep; ``exact``, or from a sample."""

    share: Fraction
    exact: bool


@dataclass(frozen=True)
class Space:
    """The points to look at: every combination of the axes that the conditions keep.

    Raises:
        InputError: no axis, a name on two axes, a condition that makes no sense for the axes.
    """

    axes: tuple[Axis | Range, ...]
    conditions: tuple[Condition, ...] = ()
    _spoken: tuple[tuple[str, ...], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.axes:
            raise InputError("a space needs an axis")
        for place, name in enumerate(self.names):
            if name in self.names[:place]:
                raise InputError(f"axis {name}: the name stands on two axes")
        spoken: tuple[tuple[str, ...], ...] = ()
        if self.conditions:
            values = {name: column for axis in self.axes for name, column in axis.columns.items()}
            spoken = tuple(condition.check(values) for condition in self.conditions)
        object.__setattr__(self, "_spoken", spoken)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all axes, in order."""
        return tuple(name for axis in self.axes for name in axis.names)

    @cached_property
    def ranges(self) -> tuple[Range, ...]:
        """The continuous axes."""
        return tuple(axis for axis in self.axes if isinstance(axis, Range))

    @cached_property
    def size(self) -> int:
        """How many combinations of the discrete axes there are, before conditions."""
        return math.prod(len(axis.values) for axis in self.axes if isinstance(axis, Axis))

    def points(self, start: int, stop: int) -> Points:
        """The combinations ``start`` to ``stop - 1``, less those that the conditions drop.

        Numbers go row by row, the first axis the slowest: a value appended to it leaves earlier numbers as they are.

        Raises:
            InputError: the space has a continuous axis.
        """
        if self.ranges:
            raise InputError(f"range {self.ranges[0].name}: a continuous axis has no grid; give values, or a sampler")
        start, stop = max(start, 0), max(min(stop, self.size), start, 0)
        columns: dict[str, Column] = {}
        stride = self.size
        for axis in self.axes:
            assert isinstance(axis, Axis)
            stride //= len(axis.values)
            columns.update(axis.chosen(_choices(start, stop, stride, len(axis.values))))
        return self.kept(Points(columns))

    def of_unit(self, unit: NDArray[np.float64]) -> Points:
        """The points at places in the unit cube [n, axes], whatever the conditions say."""
        columns: dict[str, Column] = {}
        for place, axis in enumerate(self.axes):
            columns.update(axis.of_unit(unit[:, place]))
        return Points(columns)

    def keeps(self, points: Points) -> NDArray[np.bool_]:
        """Whether each point holds all conditions, shape [n]."""
        mask = np.ones(len(points), dtype=np.bool_)
        for condition in self.conditions:
            mask &= condition.holds(points.columns)
        return mask

    def kept(self, points: Points) -> Points:
        """The points that hold all conditions."""
        return points.take(self.keeps(points)) if self.conditions else points

    def check(self) -> Kept:
        """What the conditions keep, without a walk through the space.

        Conditions that share an axis are looked at together, over the axes that they speak of: all combinations up to
        a million of them (exact), a sample beyond and for continuous axes.

        Raises:
            InputError: nothing is kept for certain; says which conditions keep nothing together.
        """
        share, exact = Fraction(1), True
        for part in self._parts():
            whole = not part.ranges and part.size <= _MOST_SURVEYED
            points = Space(part.axes).points(0, part.size) if whole else part._sample()
            masks = [condition.holds(points.columns) for condition in part.conditions]
            left = int(np.logical_and.reduce(masks).sum())
            if whole and not left:
                raise InputError(_blame(part.conditions, masks))
            if not whole and len(part.conditions) > 1:
                part._check_each()
            share *= Fraction(left, len(points))
            exact &= whole
        return Kept(share, exact)

    def _check_each(self) -> None:
        """Look at each condition alone, over the axes that it speaks of."""
        for names, condition in zip(self._spoken, self.conditions, strict=True):
            Space(tuple(axis for axis in self.axes if set(axis.names) & set(names)), (condition,)).check()

    def _sample(self) -> Points:
        unit = np.random.default_rng(_SURVEY_SEED).random((_SURVEYED, len(self.axes)))
        return self.of_unit(unit)

    def _parts(self) -> Iterator[Space]:
        """The smallest spaces that together have all conditions, no two an axis in common."""
        left = [
            ({place for place, axis in enumerate(self.axes) if set(axis.names) & set(names)}, [condition])
            for names, condition in zip(self._spoken, self.conditions, strict=True)
        ]
        while left:
            places, conditions = left.pop(0)
            while near := next((other for other in left if other[0] & places), None):
                left.remove(near)
                places, conditions = places | near[0], conditions + near[1]
            yield Space(tuple(self.axes[place] for place in sorted(places)), tuple(conditions))


def _choices(start: int, stop: int, stride: int, size: int) -> NDArray[np.int32]:
    """The choice [stop - start] on an axis of ``size`` choices, each of which stays for ``stride`` points."""
    count = stop - start
    if not count:
        return np.zeros(0, dtype=np.int32)
    first, last = start // stride, (stop - 1) // stride
    cycle = ((first % size + np.arange(min(size, last - first + 1))) % size).astype(np.int32)
    turns = np.tile(cycle, -(-(last - first + 1) // len(cycle)))[: last - first + 1]
    if stride == 1:
        return turns
    if stride >= count:
        before = min((first + 1) * stride - start, count)
        return np.repeat(turns, (before, count - before)[: len(turns)])
    return np.repeat(turns, stride)[start - first * stride :][:count]


def _blame(conditions: Sequence[Condition], masks: Sequence[NDArray[np.bool_]]) -> str:
    """The message on conditions that keep nothing, cut down to those that already keep nothing together."""
    guilty: list[int] = list(range(len(masks)))
    for place in range(len(masks)):
        others = [other for other in guilty if other != place]
        if others and not np.logical_and.reduce([masks[other] for other in others]).any():
            guilty = others
    texts = [repr(clipped(conditions[place].text)) for place in guilty]
    if len(texts) == 1:
        return f"condition {texts[0]} keeps no point of the axes it speaks of; widen an axis or drop it"
    return f"conditions {' and '.join(texts)} contradict each other: together they keep no point; drop one"


def _is_value(value: Any) -> bool:
    if type(value) is int:
        return abs(value) < LARGEST_WHOLE
    return type(value) in (str, bool) or (type(value) is float and math.isfinite(value))


def _shown(choice: tuple[Any, ...]) -> str:
    return clipped(", ".join(map(repr, choice)))
