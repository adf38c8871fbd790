import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.numbers import cell_of, metric_of, number, quantity, share
from simulator.metrics import METRICS
from simulator.result import Interval, Result


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (12345.0, "12,300"), (999.7, "1,000"), (0.012345, "0.0123"), (3.35, "3.35"), (-2.5, "-2.50"),
        (1.2e-9, "1.20e-09"), (4.2e13, "4.20e+13"), (math.nan, "not finite"), (math.inf, "not finite"),
    ],
)  # fmt: skip
def test_number(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_a_shown_number_is_within_half_a_percent_of_itself(value: float) -> None:
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=5.01e-3)


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (0.00842, "s", "8.42 ms"), (3.35e12, "bytes_per_s", "3.35 TB/s"), (0.417, "fraction", "41.7 %"),
        (2.34, "usd", "2.34 USD"), (1500.0, "g", "1.50 kg"), (816.0, "tokens/s", "816 tokens/s"), (2.0, "", "2.00"),
        (math.nan, "s", "not finite"),
    ],
)  # fmt: skip
def test_quantity(value: float, dimension: str, text: str) -> None:
    assert quantity(value, dimension) == text


def test_share() -> None:
    assert [share(part) for part in (0.0, 0.004, 0.62, 1.0)] == ["0 %", "0.4 %", "62 %", "100 %"]


def test_the_interval_is_in_the_unit_of_the_value(one: Result) -> None:
    result = msgspec.structs.replace(one, metrics={"ttft_s": 0.9}, intervals={"ttft_s": Interval(0.4, 0.5, 1.7, 2.0)})
    cell = cell_of(result, "ttft_s")
    assert (cell.number, cell.unit) == ("900", "ms")
    assert (cell.low, cell.high, cell.lowest, cell.highest) == ("500", "1,700", "400", "2,000")
    assert cell_of(result, "ttft_s", like=12.0).unit == "s"


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_metric_without_a_number_has_a_reason(one: Result, value: float | None) -> None:
    cell = cell_of(msgspec.structs.replace(one, metrics={"ttft_s": value}, reasons={"ttft_s": "because"}), "ttft_s")
    assert cell.value is None
    assert cell.number == ""
    assert cell.reason == "because"
    assert cell_of(msgspec.structs.replace(one, metrics={"ttft_s": value}, reasons={}), "ttft_s").reason


def test_every_documented_metric_has_a_unit_that_can_be_shown() -> None:
    assert all(quantity(0.5, metric.dimension) for metric in METRICS)


def test_a_metric_without_definition_speaks_for_itself() -> None:
    assert metric_of("p99_queue_s") == ("p99_queue_s", "p99 queue s", "s", "", "")
    assert metric_of("requests_per_s").dimension == ""
    assert metric_of("read_bytes_per_s").dimension == ""
