"""Stretches along a number: brute force for whole numbers, exact ends for real ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.decisions.scan import TOLERANCE, Stretch, grid, scan


@given(st.integers(1, 60), st.integers(0, 60), st.sets(st.integers(1, 121)), st.sampled_from([1.0, 8.0]))
def test_whole_numbers_as_by_brute_force(low: int, more: int, ends: set[int], step: float) -> None:
    def state(x: float) -> str:
        assert x % step == 0.0
        return str(sum(x >= end * step for end in ends) % 3)

    found = scan(state, low * step, (low + more) * step, step)
    assert found.exact
    states = [state(step * n) for n in range(low, low + more + 1)]
    spread = [each.state for each in found.stretches for _ in range(round((each.high - each.low) / step) + 1)]
    assert spread == states
    assert all(a.state != b.state and b.low - a.high == step for a, b in found.changes)


@given(st.floats(1.001, 999.0))
def test_the_end_of_a_real_stretch(end: float) -> None:
    found = scan(lambda x: "above" if x >= end else "below", 1.0, 1000.0)
    (below, above) = found.stretches
    assert (below.low, above.high) == (1.0, 1000.0)
    assert below.high < end <= above.low <= below.high * (1.0 + 2.0 * TOLERANCE)
    assert not found.exact


def test_three_states_between_two_points() -> None:
    found = scan(lambda x: "a" if x < 10.0 else "b" if x < 11.0 else "c", 1.0, 100.0, points=2)
    assert [each.state for each in found.stretches] == ["a", "b", "c"]
    assert found.stretches[1].low == pytest.approx(10.0)
    assert found.stretches[2].low == pytest.approx(11.0)


def test_large_whole_ranges_are_bisected_to_neighbours() -> None:
    asked: list[float] = []

    def state(x: float) -> str:
        asked.append(x)
        return "large" if x >= 123_457 else "small"

    found = scan(state, 1.0, 1e6, 1.0)
    assert found.stretches == (Stretch(1.0, 123_456.0, "small"), Stretch(123_457.0, 1e6, "large"))
    assert not found.exact
    assert len(asked) == len(set(asked)) < 100


def test_grids() -> None:
    assert grid(3.0, 6.0, 1.0) == [3.0, 4.0, 5.0, 6.0]
    assert grid(3.0, 20.0, 8.0) == [8.0, 16.0]
    assert grid(2.0, 2.0) == [2.0]
    assert grid(1.0, 100.0, points=3) == pytest.approx([1.0, 10.0, 100.0])
    wide = grid(1.0, 1e6, 1.0, 9)
    assert wide[0] == 1.0
    assert wide[-1] == 1e6
    assert all(value.is_integer() for value in wide)
    for low, high in ((0.0, 1.0), (2.0, 1.0), (1.0, float("inf"))):
        with pytest.raises(ValueError, match="no range"):
            grid(low, high)
