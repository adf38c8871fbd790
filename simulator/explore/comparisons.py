"""Comparisons of terms, whole columns at a time, and whether they make sense for the values that the axes have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardware_specs.errors import InputError, UnitError, UnknownName, clipped
from hardware_specs.units import DIMENSIONS, dimension_of, parse_quantity
from simulator.explore.points import Column, Value

_ORDERS: Final = ("<=", "<", ">=", ">")
OPERATORS: Final = ("==", "!=", *_ORDERS)
_KINDS: Final = ("text", "switch", *DIMENSIONS)
_TEXT, _SWITCH, _PLAIN = 0, 1, _KINDS.index("number")
_SAME: Final = 1e-12
"""Numbers that differ by less are equal [share]: 3 * 0.1 is 0.3."""
_HUGE: Final = 1e300
"""Products end here, so that they stay finite."""
_IN_WORDS: Final = {"text": "a text", "switch": "true or false", "number": "a number"}


@dataclass(frozen=True)
class Factor:
    """A name, number or text of a term; ``bare`` where it stands without quotes and may be a name."""

    value: Value
    bare: bool = False


@dataclass(frozen=True)
class Comparison:
    """Two products and what stands between them; with "in" the right side holds alternatives."""

    left: tuple[Factor, ...]
    operator: str
    right: tuple[Factor, ...]


@dataclass(frozen=True)
class _Measured:
    """Values as numbers [n]: SI values, 0 and 1, or numbers of texts; and the place in ``_KINDS`` of each [n]."""

    kinds: NDArray[np.int8]
    numbers: NDArray[np.float64]


def names_in(comparison: Comparison, columns: Mapping[str, Column]) -> tuple[str, ...]:
    """The names of axes in a comparison, of which "in" has them on its left side alone."""
    factors = comparison.left if comparison.operator == "in" else (*comparison.left, *comparison.right)
    return tuple(dict.fromkeys(str(f.value) for f in factors if f.bare and f.value in columns))


def all_hold(comparisons: Iterable[Comparison], columns: Mapping[str, Column], count: int) -> NDArray[np.bool_]:
    """Whether each of ``count`` points holds all comparisons, shape [count]."""
    mask = np.ones(count, dtype=np.bool_)
    for comparison in comparisons:
        mask &= _holds(comparison, columns)
    return mask


def _holds(comparison: Comparison, columns: Mapping[str, Column]) -> NDArray[np.bool_]:
    """Whether each of n points holds the comparison; of one name, looked up by its distinct values."""
    names = names_in(comparison, columns)
    if len(names) == 1:
        column, rows = columns[names[0]].distinct()
        return _compared(comparison, {names[0]: column})[rows]
    return _compared(comparison, columns)


def _compared(comparison: Comparison, columns: Mapping[str, Column]) -> NDArray[np.bool_]:
    texts: dict[str, int] = {}
    left = _product(comparison.left, columns, texts)
    if comparison.operator == "in":
        options = [_measured_one(option.value, texts) for option in comparison.right]
        return np.asarray(np.logical_or.reduce([_equal(left, option) for option in options]))
    right = _product(comparison.right, columns, texts)
    equal = _equal(left, right)
    if comparison.operator in ("==", "!="):
        return equal if comparison.operator == "==" else ~equal
    less = (left.numbers < right.numbers) if comparison.operator[0] == "<" else (left.numbers > right.numbers)
    return np.asarray((less | equal) if comparison.operator[1:] else (less & ~equal))


def _equal(left: _Measured, right: _Measured) -> NDArray[np.bool_]:
    least = _SAME * np.maximum(np.abs(left.numbers), np.abs(right.numbers))
    close = np.abs(left.numbers - right.numbers) <= least
    return np.asarray(close & (left.kinds == right.kinds))


def _product(factors: Sequence[Factor], columns: Mapping[str, Column], texts: dict[str, int]) -> _Measured:
    """A term [n], or [1] where it names no axis; its kind is that of the factor that is no plain number."""
    parts = [
        _measured(columns[str(factor.value)], texts)
        if factor.bare and factor.value in columns
        else _measured_one(factor.value, texts)
        for factor in factors
    ]
    product = parts[0]
    with np.errstate(over="ignore"):
        for part in parts[1:]:
            kinds = np.where(product.kinds == _PLAIN, part.kinds, product.kinds)
            product = _Measured(kinds, np.clip(product.numbers * part.numbers, -_HUGE, _HUGE))
    return product


def _measured(column: Column, texts: dict[str, int]) -> _Measured:
    if column.numbers is None and len(column.values) > len(column):
        distinct, rows = column.distinct()
        sizes = _measured(distinct, texts)
        return _Measured(sizes.kinds[rows], sizes.numbers[rows])
    if column.numbers is not None:
        unit = _measured_one(f"1 {column.unit}" if column.unit else 1, texts)
        return _Measured(np.broadcast_to(unit.kinds, len(column)), column.numbers * unit.numbers)
    if set(map(type, column.values)) <= {int, float}:
        kinds, numbers = np.array([_PLAIN], dtype=np.int8), np.array(column.values, dtype=np.float64)
        return _Measured(np.broadcast_to(kinds, len(column)), numbers[column.codes])
    table = np.array([_size(value, texts) for value in column.values], dtype=np.float64).reshape(-1, 2)
    return _Measured(table[:, 0].astype(np.int8)[column.codes], table[:, 1][column.codes])


def _measured_one(value: Value, texts: dict[str, int]) -> _Measured:
    kind, number = _size(value, texts)
    return _Measured(np.array([kind], dtype=np.int8), np.array([number], dtype=np.float64))


def _size(value: Value, texts: dict[str, int]) -> tuple[int, float]:
    """The kind of a value and its number."""
    if isinstance(value, bool):
        return _SWITCH, float(value)
    if not isinstance(value, str):
        return _PLAIN, float(value)
    dimension = dimension_of(value)
    try:
        return _KINDS.index(dimension), parse_quantity(value, dimension)
    except UnitError:
        return _TEXT, float(texts.setdefault(value, len(texts)))


def check(comparison: Comparison, columns: Mapping[str, Column], label: str) -> None:
    """Refuse a comparison that makes no sense for the values that the axes have.

    Args:
        columns: a column with all values of every name; of a continuous one, its ends.
        label: what stands before the error.

    Raises:
        UnknownName: a word that is no name, and no value of the name that it is compared with.
        UnitError: a text compared with a number, a time with a size.
    """
    _Check(comparison, columns, label).run()


class _Check:
    """Whether a comparison makes sense for the values that the axes have."""

    def __init__(self, comparison: Comparison, columns: Mapping[str, Column], label: str) -> None:
        self.comparison, self.columns, self.label = comparison, columns, label

    def run(self) -> None:
        comparison = self.comparison
        if comparison.operator == "in":
            if len(comparison.left) != 1 or not names_in(comparison, self.columns):
                raise InputError(f"{self.label}: the left side of 'in' is no single axis; write 'dtype in bf16|fp8'")
            for option in comparison.right:
                self.known((option,), comparison.left)
                self.match(self.kinds(comparison.left), {_size(option.value, {})[0]}, (option,))
        else:
            self.known(comparison.left, comparison.right)
            self.known(comparison.right, comparison.left)
            self.match(self.kinds(comparison.left), self.kinds(comparison.right), comparison.right)

    def match(self, left: set[int], right: set[int], factors: Sequence[Factor]) -> None:
        """Refuse sides that can never be equal, and an order of what has none."""
        orders = self.comparison.operator in _ORDERS
        if left & right and not (orders and (len(left | right) > 1 or left & {_TEXT, _SWITCH})):
            return
        why = "only numbers of one kind have an order" if orders else "they are never equal"
        sides = f"{self.said(left, self.comparison.left)}, {self.said(right, factors)}"
        raise UnitError(f"{self.label}: unit clash: {sides}; {why}")

    def known(self, factors: Sequence[Factor], others: Sequence[Factor]) -> None:
        """Refuse words that are neither names nor values of the one name on the other side."""
        values: set[str] = set()
        if len(factors) == len(others) == 1 and others[0].bare and others[0].value in self.columns:
            values = {value for value in self.columns[str(others[0].value)].values if isinstance(value, str)}
        for factor in factors:
            if factor.bare and factor.value not in self.columns and factor.value not in values:
                if _size(factor.value, {})[0] != _TEXT:
                    continue
                what = f"axis or value of {others[0].value}" if values else "axis"
                hint = f"in quotes it is a text; the axes are {clipped(', '.join(self.columns))}"
                raise UnknownName(what, str(factor.value), {*self.columns, *values}, hint, self.label)

    def kinds(self, factors: Sequence[Factor]) -> set[int]:
        """The kinds that the values of a term have."""
        each = [self.kinds_of(factor) for factor in factors]
        if len(each) == 1:
            return each[0]
        special = [kinds for kinds in each if kinds != {_PLAIN}]
        if len(special) > 1 or any(len(kinds) > 1 or kinds & {_TEXT, _SWITCH} for kinds in special):
            said = ", ".join(self.said(kinds, (factor,)) for kinds, factor in zip(each, factors, strict=True))
            raise UnitError(f"{self.label}: unit clash: a product takes numbers, and one quantity at most; {said}")
        return special[0] if special else {_PLAIN}

    def kinds_of(self, factor: Factor) -> set[int]:
        if not factor.bare or factor.value not in self.columns:
            return {_size(factor.value, {})[0]}
        column, _ = self.columns[str(factor.value)].distinct()
        return set(map(int, np.unique(_measured(column, {}).kinds)))

    @staticmethod
    def said(kinds: Iterable[int], factors: Sequence[Factor]) -> str:
        term = clipped(" * ".join(_shown(factor.value) for factor in factors))
        return f"{term!r} is {' or '.join(_IN_WORDS.get(_KINDS[kind], f'in {_KINDS[kind]}') for kind in sorted(kinds))}"


def _shown(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
