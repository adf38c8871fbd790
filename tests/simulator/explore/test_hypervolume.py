"""Hypervolumes against a count of unit cells."""

from __future__ import annotations

import importlib.util
import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hardware_specs.errors import InputError
from simulator.explore import hypervolume as module
from simulator.explore.hypervolume import hypervolume, improvements, reference_of

SIDE = 5
NUMBERS = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, np.nan])
Table = npt.NDArray[np.float64]
needs_moocore = pytest.mark.skipif(not importlib.util.find_spec("moocore"), reason="needs moocore")


def tables(columns: int) -> st.SearchStrategy[Table]:
    return st.integers(0, 10).flatmap(lambda rows: arrays(np.float64, (rows, columns), elements=NUMBERS))


def cells(costs: Table) -> float:
    """Unit cells below ``SIDE`` that a row dominates."""
    corners = np.array(list(itertools.product(range(SIDE), repeat=costs.shape[1])), dtype=np.float64)
    return float((costs[:, None, :] <= corners[None]).all(axis=2).any(axis=0).sum())


@given(st.integers(1, 3).flatmap(tables))
@settings(max_examples=200, deadline=None)
def test_counts_cells(costs: Table) -> None:
    assert hypervolume(costs, np.full(costs.shape[1], SIDE)) == pytest.approx(cells(costs))


@given(st.integers(1, 3).flatmap(lambda columns: st.tuples(tables(columns), tables(columns))))
@settings(max_examples=100, deadline=None)
def test_improvements_are_differences(both: tuple[Table, Table]) -> None:
    costs, candidates = both
    reference = np.full(costs.shape[1], float(SIDE))
    wanted = [cells(np.vstack([costs, row])) - cells(costs) for row in candidates]
    np.testing.assert_allclose(improvements(costs, candidates, reference), wanted, atol=1e-12)


@needs_moocore
@given(tables(4), tables(4))
@settings(max_examples=30, deadline=None)
def test_a_library_does_more_columns(costs: Table, candidates: Table) -> None:
    reference = np.full(4, float(SIDE))
    assert hypervolume(costs, reference) == pytest.approx(cells(costs))
    wanted = [cells(np.vstack([costs, row])) - cells(costs) for row in candidates]
    np.testing.assert_allclose(improvements(costs, candidates, reference), wanted, atol=1e-12)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(module, "import_module", missing)
    with pytest.raises(InputError, match=r"moocore .*silicost\[search\]"):
        hypervolume(np.zeros((1, 4)), np.ones(4))


@given(
    st.integers(2, 3).flatmap(lambda d: arrays(np.float64, (12, d), elements=st.floats(0.0, 1.0))), st.floats(0.1, 9.0)
)
@settings(max_examples=50, deadline=None)
def test_scales_shifts_and_order(costs: Table, factor: float) -> None:
    one = np.ones(costs.shape[1])
    volume = hypervolume(costs, one)
    assert hypervolume(costs[::-1, ::-1], one) == pytest.approx(volume)
    assert hypervolume(costs * factor - 3.0, one * factor - 3.0) == pytest.approx(volume * factor ** len(one))
    assert hypervolume(costs[:6], one) <= volume + 1e-12


def test_reference_lies_a_tenth_beyond_the_front() -> None:
    costs = np.array([[0.0, 4.0, 1.0], [10.0, 0.0, 1.0], [20.0, 9.0, 9.0], [np.nan, -9.0, 0.0]])
    np.testing.assert_allclose(reference_of(costs), [11.0, 4.4, 1.1])
    with pytest.raises(ValueError, match="reference"):
        reference_of(np.full((2, 2), np.nan))


def test_shapes() -> None:
    with pytest.raises(ValueError, match="together"):
        hypervolume(np.zeros((2, 2)), np.ones(3))
    with pytest.raises(ValueError, match="finite"):
        hypervolume(np.zeros((2, 2)), np.array([1.0, np.inf]))
    assert hypervolume(np.zeros((0, 2)), np.ones(2)) == 0.0
