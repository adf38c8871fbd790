"""Values of axes from texts: lists, ranges, quantities, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from hardware_specs.units import parse_quantity
from simulator.explore.ranges import range_of, values_of
from simulator.explore.space import Range, Value

DECIMALS = st.decimals(min_value="0.001", max_value="1000", places=3, allow_nan=False)


def typed(values: tuple[Value, ...]) -> list[tuple[type, Value]]:
    return [(type(value), value) for value in values]


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        ("a,b, c ", ("a", "b", "c")),
        ("8", (8,)),
        ("8,1.5,1e3,-2,+3,.5,1_000", (8, 1.5, 1000.0, -2, 3, 0.5, 1000)),
        ("true,False", (True, False)),
        ("int4,bf16,4090d", ("int4", "bf16", "4090d")),
        ("'a,b',\"8\",c, 'true' ,''", ("a,b", "8", "c", "true", "")),
        ('"it\'s"', ("it's",)),
        ("'1:2'", ("1:2",)),
        ("ollama/model:tag", ("ollama/model:tag",)),
        ("1x,2x,150%", ("1x", "2x", "150%")),
        ("3 TB/s, 6 TB/s", ("3 TB/s", "6 TB/s")),
        ("1:512:*2", (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)),
        ("1:500:*2", (1, 2, 4, 8, 16, 32, 64, 128, 256)),
        ("128:512:+128", (128, 256, 384, 512)),
        (" 128 : 300 : + 128 ", (128, 256)),
        ("-2:2:+2", (-2, 0, 2)),
        ("5:5:+1", (5,)),
        ("0.1:0.5:+0.1", (0.1, 0.2, 0.3, 0.4, 0.5)),
        ("1:2:+0.5", (1.0, 1.5, 2.0)),
        ("1:1.331:*1.1", (1.0, 1.1, 1.21, 1.331)),
        ("1:4:*2,10", (1, 2, 4, 10)),
        ("1x:4x:*2", ("1x", "2x", "4x")),
        ("1x:200%:+50%", ("1x", "1.5x", "2x")),
        ("3 TB/s:6 TB/s:+1 TB/s", ("3 TB/s", "4 TB/s", "5 TB/s", "6 TB/s")),
        ("3 TB/s:4 TB/s:+500 GB/s", ("3 TB/s", "3.5 TB/s", "4 TB/s")),
        ("1 GiB:2 GiB:+512 MiB", ("1 GiB", "1.5 GiB", "2 GiB")),
        ("1us:1ms:*10", ("1us", "10us", "100us", "1000us")),
        (7, (7,)),
        (2.5, (2.5,)),
        (True, (True,)),
        ([1, 2.5, "4:8:*2", True, "a,b", ""], (1, 2.5, 4, 8, True, "a,b", "")),
        (["3 TB/s:4 TB/s:+1 TB/s"], ("3 TB/s", "4 TB/s")),
    ],
)
def test_values(given_: object, wanted: tuple[Value, ...]) -> None:
    assert typed(values_of(given_)) == typed(wanted)


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        ("", "'': an item is empty"),
        ("a,,b", "'a,,b': an item is empty"),
        ("a,", "an item is empty"),
        ("'a", "the quote ' is not closed"),
        ("1:512", r"no \+step or \*factor; write start:stop:\+step"),
        ("1:512:2", r"no \+step or \*factor"),
        ("512:1:-1", r"no \+step or \*factor"),
        ("1:2:+1:3", r"no \+step or \*factor"),
        ("512:1:+1", "the stop lies below the start"),
        ("8:1:*2", "the stop lies below the start"),
        ("1:5:+0", "the step must be above 0"),
        ("1:5:+-1", "the step must be above 0"),
        ("1:5:*1", "the factor must be above 1"),
        ("8:1:*0.5", "the factor must be above 1"),
        ("0:8:*2", "a start above zero"),
        ("-4:8:*2", "a start above zero"),
        ("a:5:+1", "'a' is no number"),
        ("1:b:+1", "'b' is no number"),
        ("1:5:+c", "'c' is no number"),
        ("1:5:*2x", "'2x' is no plain number"),
        ("1:nan:+1", "'nan' is no number"),
        ("nan:2:+1", "not a finite number"),
        ("nan", "'nan': not a finite number"),
        ("1,-inf", "'-inf': not a finite number"),
        (float("nan"), "not a finite number"),
        ([1.0, float("inf")], "not a finite number"),
        ("1:10_000_001:+1", "about 10,000,001 values, more than 10,000,000"),
        ("1:1e12:+1", "about 1,000,000,000,000 values"),
        ("1:1e300:*1.0000001", "values, more than 10,000,000; take a larger step"),
        ("1:1e19:*10", "more than 64 bits"),
        (2**64, "more than 64 bits"),
        ("1e-1000000000:1:+1", "out of range"),
        ("1e999999999", "out of range"),
        ("9" * 5000, "a number of 5000 characters"),
        ("3 TB/s:6 W:+1 TB/s", "'6 W' is a power, not a bandwidth"),
        ("3 TB/s:6:+1 TB/s", "'6' has no unit"),
        ("3 TB/s:6 TB/s:+1", "'1' has no unit"),
        ("3:6 TB/s:+1", "'6 TB/s' is a bandwidth"),
        ("1:4x:+1", "'4x' has the unit 'x', the start ''"),
        ("3 TBB/s:4 TBB/s:+1 TBB/s", "unknown unit 'TBB/s'"),
        ([[1]], "no value; allowed"),
        ([], "no value; allowed"),
        (None, "no value; allowed"),
        ({"a": 1}, "no value; allowed"),
    ],
)
def test_errors_say_the_place_and_what_is_wrong(given_: object, wanted: str) -> None:
    with pytest.raises(InputError, match=f"(?s)^--batch: .*{wanted}") as error:
        values_of(given_, "--batch")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_ten_million_values_in_one_list_are_the_most() -> None:
    with pytest.raises(InputError, match="more than 10,000,000 values"):
        values_of("1:9_999_999:+1,a,b")


@settings(deadline=None)
@given(DECIMALS, DECIMALS, st.integers(1, 200))
def test_sums_do_not_drift(start: Decimal, step: Decimal, count: int) -> None:
    values = values_of(f"{start}:{start + count * step}:+{step}")
    assert values == tuple(float(start + i * step) for i in range(count + 1))


@settings(deadline=None)
@given(st.integers(1, 10**6), st.integers(1, 10**4), st.integers(0, 10**6))
def test_whole_sums_are_those_of_range(start: int, step: int, width: int) -> None:
    assert values_of(f"{start}:{start + width}:+{step}") == tuple(range(start, start + width + 1, step))


@settings(deadline=None)
@given(st.integers(1, 1000), st.integers(2, 9), st.integers(0, 12))
def test_whole_products_are_powers(start: int, factor: int, most: int) -> None:
    wanted = tuple(start * factor**i for i in range(most + 1))
    assert typed(values_of(f"{start}:{wanted[-1]}:*{factor}")) == typed(wanted)
    assert values_of(f"{start}:{wanted[-1] * factor - 1}:*{factor}") == wanted


@settings(deadline=None)
@given(st.decimals("0.01", "10", places=2), st.decimals("1.05", "3", places=2), st.integers(0, 12))
def test_products_do_not_drift(start: object, factor: object, most: int) -> None:
    exact = [Fraction(str(start)) * Fraction(str(factor)) ** i for i in range(most + 1)]
    stop = f"{exact[-1].numerator * (10**26 // exact[-1].denominator)}e-26"
    values = values_of(f"{start}:{stop}:*{factor}")
    assert values == tuple(map(float, exact))


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(1, 5000))
def test_quantities_are_what_their_units_say(start: int, step: int) -> None:
    values = values_of(f"{start} TB/s:{start + 5} TB/s:+{step} GB/s")
    sizes = [parse_quantity(value, "bytes_per_s") for value in values if isinstance(value, str)]
    assert sizes == pytest.approx([start * 1e12 + i * step * 1e9 for i in range(5000 // step + 1)], rel=1e-15)


def test_continuous_ranges_keep_the_unit_of_their_low_end() -> None:
    assert range_of("bw", "3 TB/s", "6500 GB/s", log=True) == Range("bw", 3.0, 6.5, log=True, unit="TB/s")
    assert range_of("n", 1, 64, whole=True) == Range("n", 1.0, 64.0, whole=True)
    assert range_of("bw", "1x", "4x").unit == "x"


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        ("3 TB/s", "6 W", "is a power"),
        ("3 TB/s", 6, "has no unit"),
        (4, 3, "the low one below the high"),
        ("a", 3, "'a' is no number"),
        (float("nan"), 3, "'nan' is no number"),
    ],
)
def test_continuous_ranges_that_are_refused(low: object, high: object, wanted: str) -> None:
    with pytest.raises(InputError, match=f"^lab.toml: .*{wanted}"):
        range_of("bw", low, high, place="lab.toml")
