"""Numbering of points, what a space refuses, and what its conditions leave."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from simulator.explore.conditions import parse_condition
from simulator.explore.space import Axis, Points, Range, Space, Value, joined

LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=5)


def axis(name: str, *values: Value) -> Axis:
    return Axis((name,), tuple((value,) for value in values))


def space_of(lengths: list[int], *conditions: str) -> Space:
    axes = tuple(axis(f"a{place}", *range(length)) for place, length in enumerate(lengths))
    return Space(axes, tuple(map(parse_condition, conditions)))


def rows(points: Points) -> list[dict[str, Value]]:
    return [points.row(i) for i in range(len(points))]


LINKED = Axis(("device", "tp"), (("h100", 8), ("h100", 4), ("tpu-v5p", 4)))


@settings(deadline=None)
@given(LENGTHS)
def test_points_go_row_by_row(lengths: list[int]) -> None:
    space = space_of(lengths)
    product = [dict(zip(space.names, row, strict=True)) for row in itertools.product(*map(range, lengths))]
    assert space.size == len(product)
    assert rows(space.points(0, space.size)) == product


@settings(deadline=None)
@given(LENGTHS, st.data())
def test_slices_join_to_the_whole(lengths: list[int], data: st.DataObject) -> None:
    space = space_of(lengths, "a0 != 1 and a0 <= 3")
    cuts = sorted(data.draw(st.lists(st.integers(0, space.size), max_size=4)))
    parts = [space.points(*cut) for cut in itertools.pairwise([0, *cuts, space.size])]
    assert joined(parts).digest() == space.points(0, space.size).digest()
    assert all(row["a0"] in (0, 2, 3) for part in parts for row in rows(part))


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 3), st.data())
def test_numbers_stay_when_the_first_axis_grows(lengths: list[int], more: int, data: st.DataObject) -> None:
    small, large = space_of(lengths), space_of([lengths[0] + more, *lengths[1:]])
    start, stop = sorted(data.draw(st.tuples(st.integers(0, small.size), st.integers(0, small.size))))
    before, after = small.points(start, stop), large.points(start, stop)
    assert rows(before) == rows(after)
    assert before.digest() == after.digest()


def test_numbers_beyond_64_bits() -> None:
    space = space_of([10] * 30)
    assert space.size == 10**30
    start = 123_456_789_012_345_678_901_234_567_890
    for row, number in zip(rows(space.points(start, start + 25)), range(start, start + 25), strict=True):
        assert "".join(str(value) for value in row.values()) == f"{number:030d}"


def test_slices_end_with_the_space() -> None:
    space = space_of([3, 2])
    assert len(space.points(4, 100)) == 2
    assert len(space.points(100, 200)) == len(space.points(5, 2)) == len(space.points(6, 6)) == 0


def test_linked_axes_vary_together() -> None:
    space = Space((LINKED, axis("batch", 1, 2)))
    assert (space.names, space.size) == (("device", "tp", "batch"), 6)
    found = [tuple(row.values()) for row in rows(space.points(0, 6))]
    assert found == [(d, t, b) for d, t in (("h100", 8), ("h100", 4), ("tpu-v5p", 4)) for b in (1, 2)]
    assert space.points(0, 6).columns["device"].values == ("h100", "tpu-v5p")


def test_linked_values_keep_their_types() -> None:
    points = Space((Axis(("a", "b"), ((1, "x"), (True, "y"), (1.0, "z"))),)).points(0, 3)
    assert [type(row["a"]) for row in rows(points)] == [int, bool, float]


def test_unit_cube_is_cut_into_equal_parts() -> None:
    points = space_of([4]).of_unit(np.linspace(0.0, 1.0, 1001)[:, None])
    assert np.bincount(points.columns["a0"].codes).tolist() == [250, 250, 250, 251]


@pytest.mark.parametrize("log", [False, True])
def test_ranges_reach_both_ends(log: bool) -> None:
    unit = np.array([[0.0], [0.5], [np.nextafter(1.0, 0.0)], [1.0]])
    real = Space((Range("x", 1.0, 100.0, log=log),)).of_unit(unit).columns["x"].numbers
    assert real is not None
    assert real == pytest.approx([1.0, 10.0 if log else 50.5, 100.0, 100.0])
    assert real.min() >= 1.0 and real.max() <= 100.0
    whole = Space((Range("x", 1, 8, log=log, whole=True),)).of_unit(unit).columns["x"].numbers
    assert whole is not None
    assert (whole.dtype, whole.tolist()) == (np.int64, [1, 3 if log else 5, 8, 8])


def test_whole_numbers_of_a_range_are_equally_likely() -> None:
    unit = (np.arange(8000) + 0.5)[:, None] / 8000
    numbers = Space((Range("x", 1, 8, whole=True),)).of_unit(unit).columns["x"].numbers
    assert numbers is not None
    assert np.bincount(numbers).tolist() == [0, *[1000] * 8]


def test_points_of_a_range_have_its_unit() -> None:
    points = Space((Range("bw", 3.0, 6.0, unit="TB/s"),)).of_unit(np.array([[0.5]]))
    assert points.row(0) == {"bw": "4.5 TB/s"}


@pytest.mark.parametrize(
    ("names", "values", "wanted"),
    [
        ((), (), "needs a name"),
        (("",), ((1,),), "needs a name"),
        (("x",), (), "axis x: no values"),
        (("x",), ((1,), (2,), (1,)), "axis x: 1 stands twice"),
        (("x",), ((1,), (1.0,)), "stands twice"),
        (("x", "y"), ((1, 2), (1,)), "has 1 values for 2 names"),
        (("x",), ((float("nan"),),), "nan is no value; allowed"),
        (("x",), ((float("inf"),),), "inf is no value"),
        (("x",), ((2**63,),), "is no value"),
        (("x",), ((np.float64(1.0),),), "is no value"),
        (("x",), ((None,),), "None is no value"),
    ],
)
def test_axes_that_are_refused(names: tuple[str, ...], values: tuple[tuple[Value, ...], ...], wanted: str) -> None:
    with pytest.raises(InputError, match=wanted):
        Axis(names, values)


@pytest.mark.parametrize(
    ("low", "high", "log", "whole", "wanted"),
    [
        (2.0, 1.0, False, False, "the low one below the high"),
        (1.0, 1.0, False, False, "the low one below the high"),
        (float("nan"), 1.0, False, False, "must be finite"),
        (0.0, float("inf"), False, False, "must be finite"),
        (-1.5e308, 1.5e308, False, False, "too wide"),
        (0.0, 1.0, True, False, "above zero"),
        (0.5, 2.0, False, True, "must be whole"),
        (0.0, 1e17, False, True, r"2\*\*53"),
    ],
)
def test_ranges_that_are_refused(low: float, high: float, log: bool, whole: bool, wanted: str) -> None:
    with pytest.raises(InputError, match=f"range x: .*{wanted}"):
        Range("x", low, high, log=log, whole=whole)


def test_spaces_that_are_refused() -> None:
    with pytest.raises(InputError, match="needs an axis"):
        Space(())
    with pytest.raises(InputError, match="axis tp: the name stands on two axes"):
        Space((LINKED, axis("tp", 1)))
    with pytest.raises(InputError, match="unknown axis 'dp'"):
        Space((LINKED,), (parse_condition("dp == 1"),))
    with pytest.raises(InputError, match="range x: a continuous axis has no grid"):
        Space((LINKED, Range("x", 0.0, 1.0))).points(0, 1)


def test_what_conditions_keep_is_exact_where_the_axes_are_short() -> None:
    space = space_of([4, 5, 3, 1000, 1000], "a0 <= 1", "a1 * a2 <= 4", "if a2 == 0 then a1 == 0")
    kept = space.check()
    brute = [(b, c) for b in range(5) for c in range(3) if b * c <= 4 and (c != 0 or b == 0)]
    assert (kept.share, kept.exact) == (Fraction(2, 4) * Fraction(len(brute), 15), True)
    assert space_of([4, 5]).check().share == 1


def test_conditions_that_share_an_axis_count_together() -> None:
    kept = space_of([4, 4, 4, 4], "a0 == a1", "a2 == a3", "a1 == a2").check()
    assert (kept.share, kept.exact) == (Fraction(4, 4**4), True)


def test_what_conditions_keep_is_estimated_beyond() -> None:
    kept = space_of([2000, 2000], "a0 <= a1").check()
    assert not kept.exact
    assert float(kept.share) == pytest.approx(0.5, abs=0.02)
    with_range = Space((axis("n", 1, 2), Range("x", 0.0, 4.0)), (parse_condition("x <= n"),)).check()
    assert not with_range.exact
    assert float(with_range.share) == pytest.approx(0.375, abs=0.02)


@pytest.mark.parametrize(
    ("conditions", "guilty"),
    [
        (["a1 >= 0", "a0 > 8"], "condition 'a0 > 8' keeps no point"),
        (["a0 * a1 >= 0", "a0 < 2", "a0 > 1"], "conditions 'a0 < 2' and 'a0 > 1' contradict each other"),
        (["a0 * a1 == 8", "a1 < 4", "a2 == 0", "a0 < 4"], "conditions 'a0 . a1 == 8' and 'a1 < 4' and 'a0 < 4' contra"),
    ],
)
def test_contradictions_name_their_conditions(conditions: list[str], guilty: str) -> None:
    with pytest.raises(InputError, match=guilty):
        space_of([5, 5, 2], *conditions).check()


def test_one_impossible_condition_is_found_where_not_all_can_be_tried() -> None:
    with pytest.raises(InputError, match="condition 'a0 > 2000' keeps no point"):
        space_of([2000, 2000], "a0 <= a1", "a0 > 2000").check()
