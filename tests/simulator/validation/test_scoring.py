"""Figures of merit on rows made by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.validation.outcome import Prediction, outcome_of
from simulator.validation.scoring import (
    constant_band_score,
    coverage_p,
    figures_of,
    interval_scores,
    kendall_tau,
    mean_of,
    reasons_of,
)

ROWS = [
    Prediction(1.0, 1.1, 0.8, 1.4, 0.5, 2.0, fitted=True),
    Prediction(2.0, 1.0, 0.7, 1.5, 0.5, 2.5),
    Prediction(4.0, 6.0, 5.0, 8.0, 4.5, 9.0),
    Prediction(8.0, 8.0, 7.0, 9.0, 6.0, 10.0),
    Prediction(5.0, skip_reason="unknown device 'x'"),
]


def figures(rows: Sequence[Prediction], origin: str = "lab\nh100") -> dict[str, Any]:
    return figures_of(outcome_of(rows), np.full(len(rows), origin, object))


def test_errors_of_rows_made_by_hand() -> None:
    found = figures(ROWS)
    assert (found["n"], found["skipped"]) == (4, 1)
    assert found["skip_reasons"] == {"unknown device 'x'": 1}
    assert found["mape"] == pytest.approx((0.1 + 0.5 + 0.5 + 0.0) / 4)
    assert found["mape_with_skipped"] == pytest.approx((0.1 + 0.5 + 0.5 + 0.0 + 1.0) / 5)
    assert found["median_ape"] == pytest.approx(0.3)
    assert found["p90_ape"] == pytest.approx(0.5)
    assert found["bias"] == pytest.approx(1.05)
    assert found["median_abs_log_ratio"] == pytest.approx((math.log(1.1) + math.log(1.5)) / 2)
    assert found["fitted_rows"] == 1


def test_coverage_counts_measurements_inside_their_intervals() -> None:
    found = figures(ROWS)
    assert found["coverage_80"] == pytest.approx(2 / 4)
    assert found["coverage_95"] == pytest.approx(3 / 4)


def test_interval_score_is_the_width_plus_ten_times_the_miss() -> None:
    low, high = np.array([1.0, 1.0, 1.0]), np.array([math.e, math.e, math.e])
    observed = np.array([2.0, math.e**1.1, math.e**-0.2])
    assert interval_scores(observed, low, high) == pytest.approx([1.0, 1.0 + 10 * 0.1, 1.0 + 10 * 0.2])


def test_the_p_value_is_the_exact_one() -> None:
    # 8 of 10 is the most likely outcome; 10 of 10 has 0.8^10 = 0.107, and below it lie 0 ... 5 of 10.
    assert coverage_p(8, 10, "80") == pytest.approx(1.0)
    below = sum(math.comb(10, k) * 0.8**k * 0.2 ** (10 - k) for k in range(6))
    assert coverage_p(5, 10, "80") == pytest.approx(below)
    assert coverage_p(10, 10, "80") == pytest.approx(0.8**10 + below + math.comb(10, 6) * 0.8**6 * 0.2**4)
    assert coverage_p(0, 100, "95") < 1e-100
    assert figures(ROWS)["coverage_80_p"] == pytest.approx(coverage_p(2, 4, "80"))


def test_pairs_of_source_and_device_are_counted_once_where_predicted() -> None:
    origins = np.array(["a\nx", "a\nx", "a\ny", "b\nx", "c\nz"], object)
    assert figures_of(outcome_of(ROWS), origins)["source_devices"] == 3


def test_the_constant_band_holds_as_many_rows() -> None:
    observed, predicted = np.array([1.0, 1.0, 1.0, 1.0]), np.exp([0.1, -0.2, 0.4, 0.8])
    assert constant_band_score(observed, predicted, 2) == pytest.approx(2 * 0.2 + 10 * (0.2 + 0.6) / 4)
    assert constant_band_score(observed, predicted, 4) == pytest.approx(2 * 0.8)
    assert constant_band_score(observed, predicted, 0) == pytest.approx(10 * 1.5 / 4)


ratios = st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(0.1, 10.0)), min_size=1, max_size=30)


@given(ratios, st.data())
def test_the_constant_band_scores_as_its_own_intervals_do(
    pairs: list[tuple[float, float]], data: st.DataObject
) -> None:
    observed, predicted = np.array([y for y, _ in pairs]), np.array([y * r for y, r in pairs])
    inside = data.draw(st.integers(1, len(pairs)))
    c = np.sort(np.exp(np.abs(np.log(observed / predicted))))[inside - 1]
    as_intervals = interval_scores(observed, predicted / c, predicted * c).mean()
    assert constant_band_score(observed, predicted, inside) == pytest.approx(as_intervals, rel=1e-9, abs=1e-9)


def test_intervals_that_know_more_than_one_width_beat_the_constant_band() -> None:
    rows = [Prediction(1.0, 1.01, 0.98, 1.04), Prediction(1.0, 0.99, 0.97, 1.03), Prediction(1.0, 2.0, 0.9, 4.0)]
    found = figures(rows)
    assert found["coverage_80"] == 1.0
    assert found["interval_score"] < found["constant_band_score"]


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
    one, other = figures(rows), figures(scaled)
    for name in ("mape", "bias", "median_abs_log_ratio", "interval_score"):
        assert one[name] == pytest.approx(other[name], rel=1e-6, abs=1e-9)


def test_nothing_predicted_has_no_figures_but_counts() -> None:
    found = figures(ROWS[-1:])
    assert found["mape"] is None
    assert found["mape_with_skipped"] == 1.0
    assert figures([])["mape_with_skipped"] is None


def test_groups_count_once_each() -> None:
    parts = [figures(ROWS[:1]), figures(ROWS[1:4]), figures(ROWS[-1:])]
    means = mean_of(parts)
    assert (means["groups"], means["without_prediction"]) == (3, 1)
    assert means["mape"] == pytest.approx((0.1 + 1.0 / 3) / 2)
    assert means["mape_with_skipped"] == pytest.approx((0.1 + 1.0 / 3 + 1.0) / 3)


def test_rare_reasons_are_counted_together() -> None:
    reasons = np.array(["often"] * 3 + [f"reason {i:02}" for i in range(30)], object)
    counted = reasons_of(reasons)
    assert next(iter(counted)) == "often"
    assert sum(counted.values()) == 33
    assert counted["other reasons"] == 11
