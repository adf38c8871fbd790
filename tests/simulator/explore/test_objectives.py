"""From tables to costs, margins and verdicts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from hardware_specs.errors import InputError, UnknownName
from simulator.explore.objectives import Constraint, Objective, parse_constraint, score
from simulator.explore.points import Column

NAN = math.nan


def test_constraints_are_read() -> None:
    assert parse_constraint("tpot_s<=0.03") == Constraint("tpot_s", "<=", 0.03)
    assert parse_constraint(" rate >=  1e6 ") == Constraint("rate", ">=", 1e6)


@pytest.mark.parametrize("text", ["tpot_s", "tpot_s < 1", "tpot_s = 1", "<= 3", "a <= b", "a <= inf", "a <= 1 s", ""])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="constraint"):
        parse_constraint(text)


def test_words_that_mean_nothing_are_refused() -> None:
    bad: Any = "smaller"
    with pytest.raises(InputError, match="allowed: lower, higher"):
        Objective("x", bad)
    with pytest.raises(InputError, match="allowed: log, linear"):
        Objective("x", "lower", bad)
    with pytest.raises(InputError, match="<= and >="):
        Constraint("x", bad, 1.0)


def test_less_cost_is_better() -> None:
    values = np.array([1.0, 10.0, np.nan, np.inf])
    np.testing.assert_allclose(Objective("x").costs(values), [0.0, math.log(10.0), NAN, NAN])
    np.testing.assert_allclose(Objective("x", "higher", "linear").costs(values), [-1.0, -10.0, NAN, NAN])


def test_what_has_no_logarithm_is_refused() -> None:
    with pytest.raises(InputError, match=r"objective x: value -2 has no logarithm.*linear"):
        Objective("x").costs(np.array([1.0, -2.0]))
    assert Objective("x", scale="linear").costs(np.array([0.0, -2.0])).tolist() == [0.0, -2.0]


def test_margins_say_how_far_off() -> None:
    at_most, at_least = Constraint("x", "<=", 2.0), Constraint("x", ">=", 2.0)
    values = np.array([1.0, 2.0, 4.0, -1.0, np.nan])
    margins = at_most.margins(values)
    assert margins[0] == pytest.approx(-math.log(2.0))
    assert margins[1] == 0.0
    assert margins[2] == pytest.approx(math.log(2.0))
    assert margins[3] < -20.0
    assert np.isnan(margins[4])
    np.testing.assert_array_equal(at_least.margins(values)[:4], -margins[:4])
    np.testing.assert_array_equal(Constraint("x", "<=", 0.0).margins(np.array([-1.0, 0.0, 3.0])), [-1.0, 0.0, 3.0])
    np.testing.assert_array_equal(Constraint("x", ">=", -2.0).margins(np.array([-1.0, -3.0])), [-0.5, 0.5])


def test_verdicts() -> None:
    table = {
        "cost": np.array([1.0, 1.0, 1.0, np.nan, 1.0, 1.0]),
        "load": np.array([1.0, 4.0, 1.0, 1.0, np.nan, 4.0]),
        "fits": np.array([True, True, False, True, True, True]),
        "feasible": np.array([True, True, True, True, True, False]),
    }
    scores = score(table, [Objective("cost")], [Constraint("load", "<=", 2.0)])
    half = math.log(2.0)
    np.testing.assert_allclose(scores.violations, [0.0, half, np.inf, np.inf, np.inf, half])
    assert scores.feasible.tolist() == [True, False, False, False, False, False]
    assert np.isnan(scores.sought[1:]).all()
    assert scores.sought[0, 0] == 0.0
    assert scores.take(np.array([0, 1, 0, 0, 0, 0], dtype=bool)).violations.tolist() == pytest.approx([half])


def test_columns_of_all_kinds() -> None:
    table = {
        "a": Column.of_values([2, 1, 2]),
        "b": Column.of_numbers(np.array([1.0, 2.0, 3.0])),
        "c": np.array([1, 2, 3]),
    }
    found = score(table, [Objective(name, scale="linear") for name in "abc"])
    assert found.costs.tolist() == [[2.0, 1.0, 1.0], [1.0, 2.0, 2.0], [2.0, 3.0, 3.0]]
    assert found.feasible.all()


def test_what_cannot_be_scored() -> None:
    with pytest.raises(InputError, match="at least one objective"):
        score({"a": np.zeros(1)}, [])
    with pytest.raises(UnknownName, match="unknown metric 'tpot'; did you mean 'tpot_s'"):
        score({"tpot_s": np.zeros(1)}, [Objective("tpot")])
    with pytest.raises(InputError, match="no numbers"):
        score({"a": Column.of_values(["x"])}, [Objective("a")])
