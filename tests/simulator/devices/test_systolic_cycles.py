"""Cycles of products on one systolic array: closed forms, and what loading weights ahead hides of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.devices import load_device
from hardware_specs.dtypes import CODE, COMPUTE_DTYPES
from hardware_specs.errors import InputError
from simulator.devices.systolic import gemm_share
from simulator.devices.systolic_cycles import DATAFLOWS, array_cycles, streamed_cycles

WS, OS, IS = "weight-stationary", "output-stationary", "input-stationary"
SIZES = st.integers(1, 4096)
SIDES = st.sampled_from((8, 16, 128, 256))


@pytest.mark.parametrize(
    ("shape", "cycles"),
    [
        ((512, 512, 512), {WS: 14303, OS: 12255, IS: 14303}),
        ((1000, 300, 777), {WS: 29021, OS: 24743, IS: 38191}),
        ((1, 1, 1), {WS: 382, OS: 254, IS: 382}),
    ],
)
def test_closed_forms_of_the_reference_simulator(shape: tuple[int, int, int], cycles: dict[str, int]) -> None:
    """SCALE-Sim's compute cycles of [m, n, k] on an array of 128 x 128."""
    assert {name: array_cycles(name, *shape, 128, 128) for name in DATAFLOWS} == cycles


@given(m=SIZES, n=SIZES, k=SIZES, rows=SIDES, columns=SIDES)
def test_input_stationary_is_weight_stationary_of_the_transposed_product(
    m: int, n: int, k: int, rows: int, columns: int
) -> None:
    assert array_cycles(IS, m, n, k, rows, columns) == array_cycles(WS, n, m, k, rows, columns)


@settings(deadline=None)
@given(m=SIZES, n=SIZES, k=SIZES, rows=SIDES, columns=SIDES)
def test_loading_ahead_hides_loads_and_all_fills_but_one(m: int, n: int, k: int, rows: int, columns: int) -> None:
    """Between the multiply-adds that fill the array and the plain array; the difference to that is what it hides."""
    plain, ahead = array_cycles(WS, m, n, k, rows, columns), streamed_cycles(m, n, k, rows, columns)
    tiles = -(-k // rows) * -(-n // columns)
    hidden = tiles * min(m, rows) + (tiles - 1) * (rows + columns - 2) - 1
    assert plain - ahead == hidden
    assert ahead >= m * n * k / (rows * columns)


@settings(deadline=None)
@given(m=SIZES, n=SIZES, k=SIZES)
def test_the_law_counts_the_cycles_of_loading_ahead(m: int, n: int, k: int) -> None:
    """On one array of which memory delivers a row a cycle, rows that need no padding, a whole peak sustained."""
    names = ("depth_tile", "column_tile", "units", "row_tile", "gemm_share", "bandwidth")
    record = np.zeros(1, [("peaks", "f8", (len(COMPUTE_DTYPES),)), *((name, "f8") for name in names)])[0]
    for name, value in zip(names, (128.0, 128.0, 1.0, 1.0, 1.0, 1.0), strict=True):
        record[name] = value
    record["peaks"] = 1e12
    share = gemm_share(record, CODE["bf16"], float(m), float(n), float(k), 1.0)
    ideal = m * n * k / 128**2
    assert ideal / share == pytest.approx(streamed_cycles(m, n, k, 128, 128))


def test_whole_tiles_of_a_tpu_reach_its_share() -> None:
    """The TPU law on a large product: its share of the peak, less one fill and drain."""
    v6e = load_device("tpu-v6e")
    rows, columns = v6e.compute.array_rows, v6e.compute.array_cols
    assert rows and columns
    size = 8192
    ideal = size**3 / (rows.value * columns.value)
    assert streamed_cycles(size, size, size, int(rows.value), int(columns.value)) / ideal < 1.001


@pytest.mark.parametrize("name", ["weight_stationary", "", "row-stationary"])
def test_unknown_dataflows_are_named(name: str) -> None:
    with pytest.raises(InputError, match="weight-stationary"):
        array_cycles(name, 1, 1, 1, 8, 8)


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(InputError, match=r"columns .* not 0"):
        array_cycles(WS, 1, 1, 1, 8, 0)
