"""Residuals: what their numbers mean, and that few groups say less than many."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.calibration.residuals import residuals_of


def test_shared_and_own_parts_are_told_apart() -> None:
    rng = np.random.default_rng(3)
    blocks = [str(i) for i in range(40) for _ in range(400)]
    offsets = np.repeat(rng.normal(0.0, 0.2, 40), 400)
    left = residuals_of(offsets + rng.normal(0.0, 0.05, 16000), blocks, blocks)
    assert left.shared == pytest.approx(0.2, rel=0.25)
    assert left.own == pytest.approx(0.05, rel=0.1)


def test_quantiles_are_of_measured_over_predicted() -> None:
    """Predictions 10% too high: measured values lie below them."""
    left = residuals_of(np.log(np.full(1000, 1.1)), ["a"] * 1000, ["a"] * 1000)
    assert left.quantiles == pytest.approx([-np.log(1.1)] * 4, rel=1e-3)
    assert left.mape == pytest.approx(0.1, rel=1e-3)


def test_few_groups_widen_the_ends() -> None:
    r = np.random.default_rng(1).normal(0.0, 0.1, 3000)
    one = residuals_of(r, ["a"] * 3000, ["a"] * 3000).quantiles
    many = residuals_of(r, [str(i % 300) for i in range(3000)], ["a"] * 3000).quantiles
    assert one[0] < many[0] < many[1] < 0.0 < many[2] < many[3] < one[3]
    assert one[2] / many[2] == pytest.approx(2.0 / (1.0 + 1.0 / 300), rel=0.02)


def test_no_rows_no_residuals() -> None:
    with pytest.raises(ValueError, match="no row was left out"):
        residuals_of(np.array([]), [], [])
