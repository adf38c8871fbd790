"""Fronts and ranks against their definition."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simulator.explore.pareto import UNKNOWN, non_dominated, ranks

NUMBERS = st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan, np.inf, -np.inf, -0.0])
TABLES = st.tuples(st.integers(0, 14), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=NUMBERS)
)
Table = npt.NDArray[np.float64]


def by_definition(costs: Table) -> npt.NDArray[np.bool_]:
    """No row is nowhere larger and somewhere smaller; rows with NaN are out."""
    known = ~np.isnan(costs).any(axis=1)
    with np.errstate(invalid="ignore"):
        no_larger = (costs[:, None, :] <= costs[None, :, :]).all(axis=2)
        smaller = (costs[:, None, :] < costs[None, :, :]).any(axis=2)
    return known & ~(no_larger & smaller & known[:, None]).any(axis=0)


@given(TABLES)
@settings(max_examples=200, deadline=None)
def test_front(costs: Table) -> None:
    np.testing.assert_array_equal(non_dominated(costs), by_definition(costs))


@given(TABLES, st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_ranks_peel_fronts(costs: Table, most: int) -> None:
    wanted = np.full(len(costs), UNKNOWN)
    left, rank = np.flatnonzero(~np.isnan(costs).any(axis=1)), 0
    while len(left):
        best = by_definition(costs[left])
        wanted[left[best]] = rank
        left, rank = left[~best], rank + 1
    np.testing.assert_array_equal(ranks(costs), wanted)
    np.testing.assert_array_equal(ranks(costs, most), np.minimum(wanted, most))


def test_equal_rows_stay_together() -> None:
    costs = np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0], [1.0, 3.0], [np.nan, 0.0], [2.0, 2.0]])
    assert non_dominated(costs).tolist() == [True, True, True, False, False, False]
    assert ranks(costs).tolist() == [0, 0, 0, 1, UNKNOWN, 1]


@pytest.mark.parametrize("columns", [2, 3, 4])
@pytest.mark.parametrize("shape", ["cube", "sphere", "grid"])
def test_many_rows(columns: int, shape: str) -> None:
    """Where a sample drops rows first: the front of the front and of any part are those of the whole."""
    rng = np.random.default_rng(columns)
    costs = rng.random((30_000, columns))
    if shape == "sphere":
        costs = -costs / np.linalg.norm(costs, axis=1)[:, None]
        costs[::2] += 0.5
    if shape == "grid":
        costs = np.floor(costs * 7.0)
    costs[::7, 0] = np.nan
    front = np.flatnonzero(non_dominated(costs))
    halves = [np.arange(start, len(costs), 2) for start in (0, 1)]
    parts = np.concatenate([half[non_dominated(costs[half])] for half in halves])
    np.testing.assert_array_equal(front, np.sort(parts[non_dominated(costs[parts])]))
    some = rng.choice(len(costs), 300)
    off = np.setdiff1d(some[~np.isnan(costs[some, 0])], front)
    beaten = (costs[front][:, None] <= costs[off]).all(axis=2) & (costs[front][:, None] < costs[off]).any(axis=2)
    assert beaten.any(axis=0).all()


def test_shapes() -> None:
    assert non_dominated(np.zeros((0, 3))).shape == (0,)
    assert ranks(np.zeros((0, 2))).shape == (0,)
    for bad in (np.zeros(3), np.zeros((3, 0)), np.zeros((1, 1, 1))):
        with pytest.raises(ValueError, match="shape"):
            non_dominated(bad)
