"""Points as rows of numbers, and back."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.explore.conditions import parse_condition
from simulator.explore.points import Column, Points
from simulator.explore.search_codes import Coding, keys
from simulator.explore.space import Axis, Range, Space, Value


def one(name: str, *values: Value) -> Axis:
    return Axis((name,), tuple((value,) for value in values))


PAIR = Axis(("dtype", "weights"), (("bf16", "int4"), ("fp8", "fp8")))
SPACE = Space((one("batch", 1, 2, 4), PAIR, one("bandwidth", "1x", "2x", "8x")))
MIXED = Space((one("device", "a", "b"), Range("steps", 3, 7, whole=True), Range("rate", 1.0, 100.0, log=True)))


def test_the_grid_is_that_of_the_space() -> None:
    coding = Coding(SPACE)
    codes = coding.grid(0, SPACE.size)
    assert coding.size == SPACE.size == 18
    assert coding.points(codes).digest() == SPACE.points(0, SPACE.size).digest()
    assert coding.grid(7, 9).tolist() == codes[7:9].tolist()
    whole = Coding(Space(MIXED.axes[:2]))
    assert whole.size == 10
    assert sorted({row["steps"] for row in map(whole.points(whole.grid(0, 10)).row, range(10))}) == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("space", [SPACE, MIXED])
def test_codes_come_back(space: Space) -> None:
    coding = Coding(space)
    codes = coding.random(200, np.random.default_rng(1))
    back, inside = coding.codes(coding.points(codes))
    assert inside.all()
    np.testing.assert_array_equal(back, codes)
    rows = [coding.points(codes).row(place) for place in range(20)]
    back, inside = coding.codes(Points.of_rows(rows))
    assert inside.all()
    np.testing.assert_array_equal(back, codes[:20])


def test_what_is_not_in_the_space() -> None:
    coding = Coding(MIXED)
    rows = [
        {"device": "a", "steps": 3, "rate": 1.0},
        {"device": "c", "steps": 3, "rate": 1.0},
        {"device": "a", "steps": 8, "rate": 1.0},
        {"device": "a", "steps": 3.5, "rate": 1.0},
        {"device": "a", "steps": 3, "rate": 0.5},
        {"device": "a", "steps": "3", "rate": 1.0},
    ]
    assert coding.codes(Points.of_rows(rows))[1].tolist() == [True, False, False, False, False, False]
    assert not coding.codes(Points.of_rows([{"device": "a"}]))[1].any()
    in_tb = Points({"rate": Column.of_numbers(np.array([2.0]), "TB/s")})
    assert not Coding(Space((MIXED.axes[2],))).codes(in_tb)[1].any()
    linked = Points.of_rows([{"batch": 1, "dtype": "bf16", "weights": "fp8", "bandwidth": "1x"}])
    assert not Coding(SPACE).codes(linked)[1].any()


def test_conditions() -> None:
    coding = Coding(Space(SPACE.axes, (parse_condition("batch > 1"),)))
    codes = coding.random(50, np.random.default_rng(0))
    assert len(codes) == 50
    assert codes[:, 0].min() == 1.0
    assert coding.codes(coding.points(coding.grid(0, 18)))[1].tolist() == [False] * 6 + [True] * 12


def test_features() -> None:
    coding = Coding(SPACE)
    features, axes = coding.features(coding.grid(0, 18))
    assert axes.tolist() == [0, 1, 1, 2]
    np.testing.assert_allclose(features[[0, 6, 12], 0], [0.0, 1.0 / 3.0, 1.0])
    np.testing.assert_allclose(features[:3, 3], [0.0, 1.0 / 3.0, 1.0])
    assert features[[0, 3], 1:3].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    features, axes = Coding(MIXED).features(np.array([[0.0, 3.0, 10.0], [1.0, 7.0, 100.0]]))
    assert axes.tolist() == [0, 0, 1, 2]
    np.testing.assert_allclose(features, [[1.0, 0.0, 0.0, 0.5], [0.0, 1.0, 1.0, 1.0]])


def test_texts_of_different_units_have_no_order() -> None:
    orders = Coding(Space((one("a", "1 GB", "2 MB"), one("b", "x", "1"), one("c", "1 GB", "3 GB"), one("d", 5)))).orders
    assert [order is None for order in orders] == [True, True, False, True]


def test_equal_codes_have_equal_keys() -> None:
    assert keys(np.array([[0.0, 1.0]])) == keys(np.array([[-0.0, 1.0]]))
    assert len(set(keys(np.eye(3)))) == 3
