"""Agreement of calibrations: standard deviations on the sides that face each other, and ratios of predictions."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.calibration.agreement import Estimate, Ratio, agreement_of, compared, deviations, spread_of
from simulator.calibration.use import read_calibration
from simulator.uncertainty.intervals import Z95

MakeFile = Callable[..., Path]


def estimate(value: float, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(f"{value:g}", value, low, high)


def test_equal_values_agree_whatever_their_intervals() -> None:
    assert deviations(estimate(2.0, 2.0, 2.0), estimate(2.0, 1.0, 3.0)) == 0.0


def test_without_an_interval_nothing_is_said() -> None:
    assert deviations(estimate(2.0), estimate(3.0, 2.0, 4.0)) is None


def test_the_log_of_equal_intervals() -> None:
    """Both are known to a factor of e within 95%: a factor of e^2 apart is 2 / sqrt(2) times 1.96 deviations."""
    e = math.e
    a, b = estimate(1.0, 1.0 / e, e), estimate(e * e, e, e**3)
    assert deviations(a, b) == pytest.approx(math.sqrt(2.0) * Z95)
    assert deviations(a, b) == deviations(b, a)


def test_only_the_sides_that_face_each_other_count() -> None:
    a, b = estimate(1.0, 0.999, 1.5), estimate(1.5, 1.2, 9.0)
    wide = deviations(a, b)
    assert deviations(estimate(1.0, 1e-9, 1.5), estimate(1.5, 1.2, 1.51)) == wide
    assert deviations(estimate(1.0, 0.999, 1.01), b) > wide


def test_no_room_on_either_side() -> None:
    assert deviations(estimate(1.0, 1.0, 1.0), estimate(2.0, 2.0, 2.0)) == math.inf
    assert deviations(estimate(1.0, 0.5, 1.0), estimate(2.0, 2.0, 3.0)) == math.inf


def test_zero_is_compared_as_it_is() -> None:
    assert deviations(estimate(0.0, 0.0, 1.0), estimate(2.0, 1.0, 3.0)) == pytest.approx(math.sqrt(2.0) * Z95)


def test_repeats_of_one_fit_agree_in_95_of_100() -> None:
    """Estimates drawn with the spread that their intervals state: the share within 1.96 is 95%."""
    rng, within, pairs = random.Random(1), 0, 4000
    for _ in range(pairs):
        pair = []
        for sd in (rng.uniform(0.05, 0.5), rng.uniform(0.05, 0.5)):
            log = rng.gauss(0.0, sd)
            pair.append(estimate(*(math.exp(log + end * Z95 * sd) for end in (0.0, -1.0, 1.0))))
        within += (deviations(*pair) or 0.0) <= Z95
    assert within / pairs == pytest.approx(0.95, abs=0.012)


def test_parameters_side_by_side(calibration_file: MakeFile) -> None:
    one = read_calibration(calibration_file("1.toml"))
    two = read_calibration(calibration_file("2.toml", scale=1.1))
    far = read_calibration(calibration_file("3.toml", scale=0.5))
    rows = compared([one, two, far])
    rates = [row for row in rows if row.operators == ("device",)]
    assert {row.parameter for row in rates} == {"peak fp32", "peak bf16", "memory bandwidth"}
    fitted = [row for row in rows if row.operators != ("device",)]
    assert len(fitted) == sum(len(entry.parameters) for entry in one.calibrations)
    gemm = [row for row in fitted if "gemm" in row.operators and row.dtypes == ("fp32",)]
    moved = next(row for row in gemm if len({each.value for each in row.estimates if each}) == 3)
    agree = [(pair.first, pair.second, pair.agrees) for pair in moved.pairs]
    assert agree == [(0, 1, True), (0, 2, False), (1, 2, False)]
    assert moved.farthest is not None
    assert (moved.farthest.first, moved.farthest.second) == (1, 2)
    alike = agreement_of(compared([one, two]))
    assert alike.agree == alike.compared == alike.narrow == len(fitted)
    assert agreement_of(rows).agree < 0.5 * len(fitted)
    assert agreement_of(compared([one, one])).farthest == 0.0


def test_a_parameter_that_one_of_them_lacks(calibration_file: MakeFile) -> None:
    one = read_calibration(calibration_file("1.toml"))
    name = next(iter(one.calibrations[0].parameters))
    two = read_calibration(calibration_file("2.toml", without=name))
    (row, *_) = (row for row in compared([two, one]) if row.parameter == name)
    assert [each is None for each in row.estimates] == [True, False]
    assert row.pairs == ()
    assert row.farthest is None


def test_wide_intervals_are_counted_apart(calibration_file: MakeFile) -> None:
    files = [read_calibration(calibration_file(f"{scale}.toml", scale=scale, width=50.0)) for scale in (1.0, 0.9)]
    found = agreement_of(compared(files))
    assert found.agree == found.compared > 0
    assert found.narrow == found.narrow_agree == 0


def test_nothing_to_compare() -> None:
    assert agreement_of([]).compared == 0
    assert math.isnan(spread_of([Ratio("x", (1.0, None))])["typical"])


def test_ratios_of_predictions() -> None:
    rows = [Ratio("a", (1.0, 2.0, 1.0)), Ratio("b", (2.0, 1.0, None)), Ratio("c", (None, 1.0, 1.0))]
    assert rows[0].ratios == (1.0, 2.0, 1.0)
    assert rows[1].ratios == (1.0, 0.5, None)
    assert rows[2].ratios == (None, None, None)
    found = spread_of(rows)
    assert found["mean"] == pytest.approx(1.0)
    assert found["typical"] == pytest.approx(2.0 ** (2.0 / 3.0))
    assert found["largest"] == pytest.approx(2.0)
