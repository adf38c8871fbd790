"""Points say the same whatever their codes, and hash by what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.explore.points import Column, Points, Value, joined

VALUES = st.one_of(
    st.integers(-(2**62), 2**62), st.booleans(), st.text(max_size=4), st.floats(allow_nan=False, allow_infinity=False)
)


def said(points: Points) -> list[dict[str, tuple[type, Value]]]:
    return [{name: (type(v), v) for name, v in points.row(i).items()} for i in range(len(points))]


@st.composite
def recoded(draw: Any) -> tuple[Points, Points]:
    """The same points twice: once with other codes, values that never occur, and names the other way round."""
    rows = draw(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=12))
    columns, again = {}, {}
    for place, name in enumerate(("first", "second")):
        column = Column.of_values(row[place] for row in rows)
        order = draw(st.permutations(range(len(column.values))))
        unused = draw(st.lists(VALUES, max_size=3))
        values = tuple(column.values[place] for place in order) + tuple(unused)
        codes = np.array([order.index(code) for code in column.codes.tolist()], dtype=np.int32)
        columns[name], again[name] = column, Column(codes, values)
    return Points(columns), Points(dict(reversed(again.items())))


@settings(deadline=None)
@given(recoded())
def test_digest_is_of_values_not_of_codes(pair: tuple[Points, Points]) -> None:
    points, again = pair
    assert [dict(sorted(row.items())) for row in said(again)] == said(points)
    assert points.digest() == again.digest()


@settings(deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=8), st.lists(VALUES, min_size=1, max_size=8))
def test_points_that_differ_have_other_digests(one: list[Value], other: list[Value]) -> None:
    first, second = Points({"x": Column.of_values(one)}), Points({"x": Column.of_values(other)})
    same = [(type(v), v) for v in one] == [(type(v), v) for v in other]
    assert (first.digest() == second.digest()) is same


@pytest.mark.parametrize("other", [1.0, True, "1", 2])
def test_type_is_part_of_a_value(other: Value) -> None:
    assert Points({"x": Column.of_values([1])}).digest() != Points({"x": Column.of_values([other])}).digest()


def test_digest_knows_names_order_of_rows_and_units() -> None:
    numbers = np.array([1.5, 2.0])
    column = Column.of_numbers(numbers, "TB/s")
    digests = {
        Points({"x": column}).digest(),
        Points({"y": column}).digest(),
        Points({"x": column.take(np.array([1, 0]))}).digest(),
        Points({"x": Column.of_numbers(numbers, "GB/s")}).digest(),
        Points({"x": Column.of_numbers(numbers)}).digest(),
        Points({"x": Column.of_numbers(np.array([1, 2]))}).digest(),
        Points({"x": Column.of_values([1.5, 2.0])}).digest(),
        Points({"x": column, "y": column}).digest(),
        Points({}).digest(),
    }
    assert len(digests) == 9
    assert all(len(digest) == 32 for digest in digests)


def test_zero_has_no_sign() -> None:
    for zero in (0.0, -0.0):
        mixed = Points({"x": Column.of_values([zero, "a"])}), Points({"x": Column.of_values([0.0, "a"])})
        plain = Points({"x": Column.of_values([zero])}), Points({"x": Column.of_values([0.0])})
        numbers = [Points({"x": Column.of_numbers(np.array([value]))}) for value in (zero, 0.0)]
        for one, other in (mixed, plain, numbers):
            assert one.digest() == other.digest()


@pytest.mark.parametrize("count", [257, 65_537])
def test_the_last_value_is_not_taken_for_the_first(count: int) -> None:
    codes = np.arange(count + 1, dtype=np.int32)
    digests = set()
    for last in (0, count - 1):
        codes[-1] = last
        digests.add(Points({"x": Column(codes.copy(), tuple(range(count)))}).digest())
    assert len(digests) == 2


def test_more_values_than_a_byte_counts() -> None:
    for count in (255, 256, 257, 65_536, 65_537):
        order = np.random.default_rng(count).permutation(count)
        plain = Column(np.arange(count, dtype=np.int32), tuple(range(count)))
        shuffled = Column(np.argsort(order).astype(np.int32), tuple(order.tolist()))
        assert [shuffled.value(i) for i in range(5)] == list(range(5))
        assert Points({"x": plain}).digest() == Points({"x": shuffled}).digest()
        assert Points({"x": plain}).digest() != Points({"x": plain.take(slice(None, None, -1))}).digest()


@settings(deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=12), st.data())
def test_take_gives_the_rows(values: list[Value], data: st.DataObject) -> None:
    points = Points({"x": Column.of_values(values), "n": Column.of_numbers(np.arange(len(values)))})
    rows = np.array(data.draw(st.lists(st.integers(0, len(values) - 1))), dtype=np.int64)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    assert said(points.take(rows)) == [said(points)[i] for i in rows]
    assert said(points.take(mask)) == [row for row, kept in zip(said(points), mask, strict=True) if kept]
    assert said(points.take(slice(1, 3))) == said(points)[1:3]


@settings(deadline=None)
@given(st.lists(st.lists(VALUES, min_size=1, max_size=6), min_size=1, max_size=4))
def test_joined_parts_are_one(parts: list[list[Value]]) -> None:
    whole = joined([Points({"x": Column.of_values(part)}) for part in parts])
    assert said(whole) == said(Points.of_rows([{"x": value} for part in parts for value in part]))


def test_numbers_join_numbers_and_values() -> None:
    numbers = Points({"x": Column.of_numbers(np.array([1.5, 2.5]), "x")})
    assert [row["x"] for row in map(joined([numbers, numbers]).row, range(4))] == ["1.5x", "2.5x", "1.5x", "2.5x"]
    both = joined([numbers, Points({"x": Column.of_values(["2x"])})])
    assert [both.row(i)["x"] for i in range(3)] == ["1.5x", "2.5x", "2x"]
    assert len(joined([])) == 0


def test_value_of_a_number_has_its_unit_and_type() -> None:
    column = Column.of_numbers(np.array([3.5]), "TB/s")
    assert column.value(0) == "3.5 TB/s"
    whole = Column.of_numbers(np.array([3])).value(0)
    assert (whole, type(whole)) == (3, int)
    real = Column.of_numbers(np.array([3.0])).value(0)
    assert (real, type(real)) == (3.0, float)


def test_distinct_values_stand_for_all_rows() -> None:
    column = Column(np.array([3, 1, 3], dtype=np.int32), ("a", "b", "c", "d"))
    distinct, rows = column.distinct()
    assert distinct.values == ("b", "d")
    assert [distinct.take(rows).value(i) for i in range(3)] == ["d", "b", "d"]


def test_columns_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="different lengths"):
        Points({"x": Column.of_values([1]), "y": Column.of_values([1, 2])})
