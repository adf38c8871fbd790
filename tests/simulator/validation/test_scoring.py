"""Figures of merit on rows made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.validation.outcome import Prediction, outcome_of
from simulator.validation.scoring import figures_of, interval_scores, kendall_tau, mean_of, reasons_of

ROWS = [
    Prediction(1.0, 1.1, 0.8, 1.4, 0.5, 2.0, fitted=True),
    Prediction(2.0, 1.0, 0.7, 1.5, 0.5, 2.5),
    Prediction(4.0, 6.0, 5.0, 8.0, 4.5, 9.0),
    Prediction(8.0, 8.0, 7.0, 9.0, 6.0, 10.0),
    Prediction(5.0, skip_reason="unknown device 'x'"),
]


def test_errors_of_rows_made_by_hand() -> None:
    figures = figures_of(outcome_of(ROWS))
    assert (figures["n"], figures["skipped"]) == (4, 1)
    assert figures["skip_reasons"] == {"unknown device 'x'": 1}
    assert figures["mape"] == pytest.approx((0.1 + 0.5 + 0.5 + 0.0) / 4)
    assert figures["mape_with_skipped"] == pytest.approx((0.1 + 0.5 + 0.5 + 0.0 + 1.0) / 5)
    assert figures["median_ape"] == pytest.approx(0.3)
    assert figures["p90_ape"] == pytest.approx(0.5)
    assert figures["bias"] == pytest.approx(1.05)
    assert figures["median_abs_log_ratio"] == pytest.approx((math.log(1.1) + math.log(1.5)) / 2)
    assert figures["fitted_rows"] == 1


def test_coverage_counts_measurements_inside_their_intervals() -> None:
    figures = figures_of(outcome_of(ROWS))
    assert figures["coverage_80"] == pytest.approx(2 / 4)
    assert figures["coverage_95"] == pytest.approx(3 / 4)


def test_interval_score_is_the_width_plus_ten_times_the_miss() -> None:
    low, high = np.array([1.0, 1.0, 1.0]), np.array([math.e, math.e, math.e])
    observed = np.array([2.0, math.e**1.1, math.e**-0.2])
    assert interval_scores(observed, low, high) == pytest.approx([1.0, 1.0 + 10 * 0.1, 1.0 + 10 * 0.2])


def test_rank_correlation_is_kendalls() -> None:
    observed = np.array([1.0, 2.0, 3.0, 4.0])
    assert kendall_tau(observed, observed**2) == pytest.approx(1.0)
    assert kendall_tau(observed, -observed) == pytest.approx(-1.0)
    assert kendall_tau(observed, np.array([1.0, 3.0, 2.0, 4.0])) == pytest.approx(4 / 6)
    assert kendall_tau(observed[:1], observed[:1]) is None
    assert kendall_tau(observed, np.ones(4)) is None


@given(st.lists(st.tuples(st.floats(1e-6, 1e3), st.floats(0.1, 10.0)), min_size=1, max_size=20), st.floats(1e-3, 1e3))
def test_figures_do_not_depend_on_the_unit(pairs: list[tuple[float, float]], unit: float) -> None:
    rows = [Prediction(y, y * r, y * r / 2, y * r * 2, y * r / 3, y * r * 3) for y, r in pairs]
    scaled = [Prediction(*(value * unit for value in row[:6])) for row in rows]
    one, other = figures_of(outcome_of(rows)), figures_of(outcome_of(scaled))
    for name in ("mape", "bias", "median_abs_log_ratio", "interval_score"):
        assert one[name] == pytest.approx(other[name], rel=1e-6, abs=1e-9)


def test_nothing_predicted_has_no_figures_but_counts() -> None:
    figures = figures_of(outcome_of(ROWS[-1:]))
    assert figures["mape"] is None
    assert figures["mape_with_skipped"] == 1.0
    assert figures_of(outcome_of([]))["mape_with_skipped"] is None


def test_groups_count_once_each() -> None:
    groups = [figures_of(outcome_of(ROWS[:1])), figures_of(outcome_of(ROWS[1:4])), figures_of(outcome_of(ROWS[-1:]))]
    means = mean_of(groups)
    assert (means["groups"], means["without_prediction"]) == (3, 1)
    assert means["mape"] == pytest.approx((0.1 + 1.0 / 3) / 2)
    assert means["mape_with_skipped"] == pytest.approx((0.1 + 1.0 / 3 + 1.0) / 3)


def test_rare_reasons_are_counted_together() -> None:
    reasons = np.array(["often"] * 3 + [f"reason {i:02}" for i in range(30)], object)
    counted = reasons_of(reasons)
    assert next(iter(counted)) == "often"
    assert sum(counted.values()) == 33
    assert counted["other reasons"] == 11
