"""Quantities parse to SI, print back, and never pass for another dimension."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.errors import UnitError
from hardware_specs.units import DIMENSIONS, dimension_of, format_quantity, parse_quantity

SHOWN = ("bytes", "bytes_per_s", "flops", "flop", "hz", "s", "w", "j")


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("3.35 TB/s", "bytes_per_s", 3.35e12),
        ("400 Gbit/s", "bytes_per_s", 50e9),
        ("400Gbps", "bytes_per_s", 50e9),
        ("80 GiB", "bytes", 80 * 2**30),
        ("80 GB", "bytes", 80e9),
        ("1 KiB", "bytes", 1024.0),
        ("1 kB", "bytes", 1000.0),
        ("81_559 MiB", "bytes", 81559 * 2**20),
        ("989 TFLOP/s", "flops", 989e12),
        ("1979 TOP/s", "flops", 1979e12),
        ("2.5 us", "s", 2.5e-6),
        ("2.5 µs", "s", 2.5e-6),
        ("1.5e3 W", "w", 1500.0),
        ("1 kWh", "j", 3.6e6),
        ("3.6 USD/h", "usd_per_s", 0.001),
        ("30 kUSD", "usd", 30000.0),
        ("0.36 USD/kWh", "usd_per_j", 1e-7),
        ("360 g/kWh", "g_per_j", 1e-4),
        ("7 pJ/bit", "j_per_byte", 56e-12),
        ("70e-12 J/B", "j_per_byte", 70e-12),
        ("8e-12 J/bit", "j_per_byte", 64e-12),
        ("5e-13 J/FLOP", "j_per_flop", 5e-13),
        ("91%", "number", 0.91),
        (0.91, "number", 0.91),
        (8, "number", 8.0),
    ],
)
def test_known_values(text: str | float, dimension: str, value: float) -> None:
    assert parse_quantity(text, dimension) == pytest.approx(value, rel=1e-12)


def test_binary_and_decimal_sizes_differ() -> None:
    assert parse_quantity("80 GiB", "bytes") / parse_quantity("80 GB", "bytes") == pytest.approx(1.0737, rel=1e-4)


@pytest.mark.parametrize(
    "bad", [math.nan, math.inf, -math.inf, "nan", "inf W", "1e999 W", "", "W", True, None, "5 5 W"]
)
def test_what_is_no_finite_number_is_refused(bad: object) -> None:
    with pytest.raises(UnitError):
        parse_quantity(bad, "w")  # type: ignore[arg-type]
    with pytest.raises(UnitError):
        parse_quantity(bad, "number")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "dimension", "words"),
    [
        ("700 W", "bytes", ["'700 W'", "is a power, not a size", "80 GiB"]),
        ("3.35 TB", "bytes_per_s", ["is a size, not a bandwidth", "3.35 TB/s"]),
        ("10 GHz", "flops", ["is a frequency, not a rate of operations", "989 TFLOP/s"]),
        ("10 furlongs", "w", ["unknown unit 'furlongs'", "700 W"]),
        (700, "w", ["700 has no unit", "700 W"]),
        ("700", "w", ["has no unit"]),
    ],
)
def test_errors_name_value_and_example(text: str | float, dimension: str, words: list[str]) -> None:
    with pytest.raises(UnitError) as caught:
        parse_quantity(text, dimension, "h100.toml: power.tdp")
    assert str(caught.value).startswith("h100.toml: power.tdp: ")
    for word in words:
        assert word in str(caught.value)


@given(st.floats(1e-9, 1e20), st.sampled_from(SHOWN))
def test_printing_and_reading_is_the_identity(value: float, dimension: str) -> None:
    assert parse_quantity(format_quantity(value, dimension, digits=17), dimension) == pytest.approx(value, rel=1e-12)


@given(st.floats(1e-6, 1e15), st.sampled_from(["B/s", "W", "FLOP/s", "Hz"]), st.sampled_from(["k", "M", "G", "T", "P"]))
def test_prefixes_scale_by_their_power(number: float, base: str, prefix: str) -> None:
    dimension = dimension_of(f"1 {base}")
    factor = 1e3 ** (" kMGTP".index(prefix))
    plain = parse_quantity(f"{number!r} {base}", dimension)
    assert parse_quantity(f"{number!r} {prefix}{base}", dimension) == pytest.approx(plain * factor, rel=1e-12)


@given(st.text(max_size=12), st.sampled_from(DIMENSIONS))
def test_any_text_gives_a_finite_number_or_a_unit_error(text: str, dimension: str) -> None:
    try:
        value = parse_quantity(text, dimension)
    except UnitError:
        return
    assert math.isfinite(value)


def test_dimension_of_what_has_no_known_unit_is_a_number() -> None:
    assert [dimension_of(t) for t in ("3 GB/s", "3", 3, "3 furlongs")] == ["bytes_per_s", "number", "number", "number"]
