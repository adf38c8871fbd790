from __future__ import annotations

import math
import re

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from reports.calibration import MachineCard
from reports.comparing import MOST, Value, chance_of, compare, entries_of, entry_of_result
from reports.figures.differences import FIGURE
from reports.headline import best_of
from reports.page_data import Page
from reports.serving import Measured, ServedCard, ValueCard
from reports.text import labels_of
from simulator.metrics import BY_NAME
from simulator.result import Result


def test_ratios_are_over_the_first(seven: list[Result]) -> None:
    shown = compare([entry_of_result(f"r{i}", result) for i, result in enumerate(seven[:5])])
    for row in shown.metrics:
        first = row.cells[0]
        assert math.isnan(first.ratio)
        for cell in row.cells[1:]:
            if math.isfinite(cell.value) and math.isfinite(first.value):
                assert cell.ratio == pytest.approx(cell.value / first.value)
            if cell.overlaps:
                assert (cell.overlaps == "yes") == (max(cell.low, first.low) <= min(cell.high, first.high))


def test_the_best_is_the_best(seven: list[Result]) -> None:
    """Of those that fit; the table of all results marks the same."""
    results = seven[:5]
    assert len({result.fits for result in results}) == 2
    shown = compare([entry_of_result(f"r{i}", result) for i, result in enumerate(results)])
    ranked = [row for row in shown.metrics if row.best >= 0]
    assert ranked
    for row in ranked:
        known = [
            cell.value
            for cell, result in zip(row.cells, results, strict=True)
            if math.isfinite(cell.value) and result.fits
        ]
        assert row.cells[row.best].value == (min if row.better == "lower" else max)(known)
    for row in shown.metrics:
        if row.name in BY_NAME:
            assert row.best == (-1 if (best := best_of(results, row.name)) is None else best), row.name


def test_what_does_not_fit_is_the_best_at_nothing(seven: list[Result]) -> None:
    unfit = [msgspec.structs.replace(result, fits=False) for result in seven[:3]]
    shown = compare([entry_of_result(f"r{i}", result) for i, result in enumerate(unfit)])
    assert {row.best for row in shown.metrics} == {-1}


def test_what_differs_is_listed_and_what_does_not_is_not(one: Result) -> None:
    asked = {**one.configuration, "batch": 9}
    shown = compare(
        [entry_of_result("a", one), entry_of_result("b", msgspec.structs.replace(one, configuration=asked))]
    )
    assert [each.name for each in shown.differences] == ["batch"]
    assert shown.differences[0].values[1] == "9"


def test_inputs_of_the_same_device_that_differ_are_listed(one: Result) -> None:
    row = one.provenance[0]
    changed = (msgspec.structs.replace(row, value="another"), *one.provenance[1:])
    other = msgspec.structs.replace(one, provenance=changed, scenario_hash="x")
    shown = compare([entry_of_result("a", one), entry_of_result("b", other)])
    assert [each.values[1] for each in shown.differences] == ["another"]


def test_a_scenario_has_no_chance_against_itself(one: Result) -> None:
    shown = compare([entry_of_result("a", one), entry_of_result("b", one)])
    assert all(math.isnan(row.cells[1].chance) for row in shown.metrics)
    assert any("differ in nothing" in note for note in shown.notes)


positive = st.floats(1e-6, 1e6)
widths = st.floats(1.01, 5.0)


@given(positive, widths, positive, widths, st.sampled_from(["lower", "higher"]))
def test_chances_of_both_sum_to_one(a: float, a_width: float, b: float, b_width: float, better: str) -> None:
    one = Value("", "s", better, a, a / a_width, a * a_width)
    other = Value("", "s", better, b, b / b_width, b * b_width)
    chance = chance_of(one, other)
    assert 0.0 <= chance <= 1.0
    assert chance + chance_of(other, one) == pytest.approx(1.0)
    assume(not math.isclose(a, b))
    if abs(chance - 0.5) > 1e-9:
        assert (chance > 0.5) == ((a < b) == (better == "lower"))


@given(positive, widths, st.floats(1.1, 3.0))
def test_wider_intervals_are_less_sure(value: float, width: float, more: float) -> None:
    first = Value("", "s", "lower", 2.0 * value, 1.9 * value, 2.1 * value)
    narrow, wide = (Value("", "s", "lower", value, value / w, value * w) for w in (width, width * more))
    assert chance_of(narrow, first) >= chance_of(wide, first)


def test_the_80_percent_end_has_a_chance_of_nine_tenths() -> None:
    sure = Value("", "s", "lower", 1.1, 1.1 * (1 - 1e-12), 1.1 * (1 + 1e-12))
    assert chance_of(Value("", "s", "lower", 1.0, 0.9, 1.1), sure) == pytest.approx(0.9)


def test_served_runs_are_compared_by_their_numbers() -> None:
    def card(tpot: float) -> ServedCard:
        value = Measured("tpot_s.p99", "TPOT p99", "s", tpot, 0.9 * tpot, 1.1 * tpot)
        return ServedCard("t", "", "a", "traffic", cards=(ValueCard("Latency", value, ()),))

    shown = compare(entries_of([("a", Page("served", card(0.1))), ("b", Page("served", card(0.05)))]))
    assert shown.metrics[0].best == 1
    assert shown.metrics[0].cells[1].ratio == pytest.approx(0.5)


def test_names_are_told_apart(one: Result) -> None:
    names = [entry.name for entry in entries_of([("a", Page("results", (one,)))] * 3)]
    assert names == ["a", "a (2)", "a (3)"]


def test_what_cannot_be_compared_is_refused(one: Result) -> None:
    with pytest.raises(InputError, match="1 to compare: must be from 2 to 20"):
        compare([entry_of_result("a", one)])
    with pytest.raises(InputError, match=f"{MOST + 1} to compare"):
        compare([entry_of_result("a", one)] * (MOST + 1))
    with pytest.raises(InputError, match="no metric in common"):
        compare([entry_of_result("a", one), entry_of_result("b", one)._replace(values={})])
    with pytest.raises(InputError, match="see silicost calibrate compare"):
        entries_of([("c", Page("calibration", MachineCard("t", "d", "", "")))])


def test_the_figure_is_of_two_to_twenty(one: Result) -> None:
    assert [FIGURE.applies([one] * count) for count in (1, 2, 20, 21)] == [False, True, True, False]


def test_values_beside_the_first_lead_to_what_they_mean_and_rest_on(seven: list[Result]) -> None:
    """Copied as CSV they are SI numbers with their intervals, under the name that programs use."""
    results = seven[:2]
    drawn = FIGURE.draw(results)
    assert 'href="#def-tpot_s"' in drawn
    assert '<th scope="row" data-value="tpot_s">' in drawn
    for place, (result, label) in enumerate(zip(results, labels_of(results), strict=True)):
        assert f'data-name="{label}"' in drawn
        band = result.intervals["tpot_s"]
        cell = re.search(rf'<td [^>]*data-value="{result.metrics["tpot_s"]}"[^>]*>', drawn)
        assert cell
        assert f'data-low="{band.p10}" data-high="{band.p90}"' in cell[0]
        assert "95\u00a0% interval" in cell[0]
        assert f'data-rests="rests-{place + 1}-time"' in cell[0]
