"""Estimates: what adds up, what grows with what, and arithmetic that can be done by hand."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.accelerators.area import area_parts
from hardware_specs.accelerators.coefficients import coefficients
from hardware_specs.accelerators.cost import dies_per_wafer, yield_of
from hardware_specs.accelerators.estimates import as_row, band, estimate
from hardware_specs.accelerators.power import power_parts, sram_bytes_per_s
from hardware_specs.accelerators.records import Design
from hardware_specs.errors import InputError

KNOWN = coefficients()
replace = msgspec.structs.replace


def test_parts_add_up(design: Design) -> None:
    found = estimate(design)
    assert sum(found.area_mm2.values()) == pytest.approx(found.die_area_mm2)
    assert sum(found.power_w.values()) == pytest.approx(found.tdp_w)
    assert sum(found.cost_usd.values()) == pytest.approx(found.unit_cost_usd)
    assert min(*found.area_mm2.values(), *found.power_w.values(), *found.cost_usd.values()) > 0.0
    assert found.feasible


def test_the_rest_takes_its_share_of_the_die(design: Design) -> None:
    found = estimate(design)
    assert found.area_mm2["rest"] / found.die_area_mm2 == pytest.approx(KNOWN.die.rest_share.value)


def test_cells_take_the_area_of_their_dearest_dtype(design: Design) -> None:
    products, cells = KNOWN.products, 4 * 128 * 128
    bf16, int8 = products["bf16"].area.value * 1e6, products["int8"].area.value * 1e6
    assert area_parts(design, KNOWN)["arrays"] == pytest.approx(cells * bf16)
    four = replace(design, rates={"bf16": 1.0, "int8": 4.0})
    assert area_parts(four, KNOWN)["arrays"] == pytest.approx(cells * 4.0 * int8)


def test_sram_is_bitcells_over_their_share(design: Design, resident: Design) -> None:
    shared = area_parts(design, KNOWN)["sram"]
    assert shared == pytest.approx(2**27 * 8 * 0.027e-6 / KNOWN.die.shared_share.value)
    own = area_parts(replace(resident, sram_bytes=2.0**27), KNOWN)["sram"]
    assert own == pytest.approx(2**27 * 8 * 0.027e-6 / KNOWN.die.resident_share.value)
    assert own < shared


def test_interfaces_by_hand(design: Design) -> None:
    parts = area_parts(design, KNOWN)
    logic = 96.3
    assert parts["memory"] == pytest.approx(2 * (10.45 + 552.743 / logic))
    assert parts["links"] == pytest.approx(4 * 50 / 25 * (1.888 + 74.632 / logic))
    assert parts["host"] == pytest.approx(16 * (0.64 + 5.3721 / logic))
    near = replace(design, link_reach="package")
    assert area_parts(near, KNOWN)["links"] == pytest.approx(4 * 50 / 14.1 * 0.22)


def test_power_by_hand(design: Design) -> None:
    parts, switching = power_parts(design, KNOWN, 400.0), KNOWN.switching
    products = 4 * 128 * 128 * 1e9
    assert parts["arrays"] == pytest.approx(products * 0.59e-12 * switching.datapath.value)
    assert parts["vector"] == pytest.approx(1024 * 1e9 * 1.69e-12 * switching.datapath.value)
    assert parts["memory"] == pytest.approx(2 * 460e9 * 8 * 6.6e-12)
    assert parts["links"] == pytest.approx(4 * 50e9 * 8 * 6e-12)
    assert parts["static"] == pytest.approx(400.0 * switching.static_w_per_mm2.value)
    moved = sram_bytes_per_s(design) * switching.sram_busy.value
    assert parts["sram"] == pytest.approx(moved * 8 * 0.219e-12)


def test_on_chip_bandwidth_is_what_units_take_in(design: Design) -> None:
    each_cycle = 1024 * 12 + 4 * (128 * 2 + 128 * 4)
    assert sram_bytes_per_s(design) == pytest.approx(each_cycle * 1e9)
    assert sram_bytes_per_s(replace(design, sram_bytes_per_s=5e12)) == 5e12


def test_tpu_v5e_has_the_on_chip_bandwidth_of_its_documents() -> None:
    v5e = Design(
        device_class="tpu", node="5nm", clock_hz=1.5e9, arrays=4, array_rows=128, array_cols=128, sram_bytes=2.0**27,
        memory="HBM2", rates={"bf16": 1.0, "int8": 2.0}, vector_lanes=1024, stacks=2,
    )  # fmt: skip
    assert sram_bytes_per_s(v5e) - 1.5e9 * 4 * 128 * 6 == pytest.approx(18e12, rel=0.03)


def test_dies_and_yield_by_hand() -> None:
    assert dies_per_wafer(100.0, 300.0) == math.floor(math.pi * 150**2 / 100 - math.pi * 300 / math.sqrt(200))
    assert dies_per_wafer(80_000.0, 300.0) == 0
    assert yield_of(600.0, 0.1, 3.0) == pytest.approx((1 + 0.6 / 3) ** -3)
    assert yield_of(1e-9, 0.1, 3.0) == pytest.approx(1.0)


def test_cost_by_hand(resident: Design) -> None:
    found = estimate(resident)
    good = dies_per_wafer(found.die_area_mm2, 300.0) * yield_of(found.die_area_mm2, 0.09, 3.0)
    assert found.cost_usd["die"] == pytest.approx(9346 / good * 1.01)
    assert found.cost_usd["memory"] == 0.0
    assert found.cost_usd["package"] == pytest.approx(found.die_area_mm2 * 4 * 0.005)


def test_memory_is_paid_by_the_gigabyte(design: Design) -> None:
    assert estimate(design).cost_usd["memory"] == pytest.approx(2 * 16 * 2**30 / 1e9 * 7.0)
    assert estimate(replace(design, stack_bytes=8e9)).cost_usd["memory"] == pytest.approx(2 * 8 * 7.0)
    on_board = replace(design, memory="GDDR6", stacks=8)
    found = estimate(on_board)
    assert found.package_area_mm2 == found.die_area_mm2
    assert found.cost_usd["package"] == pytest.approx(found.die_area_mm2 * 4 * 0.005)


def test_a_die_that_fits_no_wafer_costs_without_end(design: Design) -> None:
    found = estimate(replace(design, array_rows=4096, array_cols=4096))
    assert found.dies_per_wafer == 0
    assert found.unit_cost_usd == math.inf
    assert "reticle" in {reason.code for reason in found.reasons}


def test_bands_hold_the_estimate_and_are_even_in_logarithms() -> None:
    low, high = band(100.0, 0.5)
    assert low * high == pytest.approx(100.0**2)
    assert math.log(high / 100.0) == pytest.approx(1.2816 * 0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"array_rows": 1024, "array_cols": 512}, "reticle"),
        ({"stacks": 12}, "memory-sites"),
        ({"memory": "GDDR6", "stacks": 40}, "memory-sites"),
        ({"clock_hz": 2.2e9}, "clock"),
        ({"max_power_w": 50.0}, "power-budget"),
        ({"max_area_mm2": 100.0}, "area-budget"),
        ({"max_cost_usd": 10.0}, "cost-budget"),
    ],
)
def test_what_cannot_be_made_has_a_reason(design: Design, change: dict[str, object], code: str) -> None:
    found = estimate(replace(design, **change))
    assert code in {reason.code for reason in found.reasons}
    assert not found.feasible
    assert all(reason.text for reason in found.reasons)
    assert as_row(found)["reason"] == found.reasons[0].code


def test_too_much_for_an_interposer(design: Design) -> None:
    many = replace(design, memory="HBM3", stacks=20)
    assert {"memory-sites", "interposer"} <= {reason.code for reason in estimate(many).reasons}


def test_the_reticle_is_the_line(design: Design) -> None:
    small, large = 2.0**27, 2.0**31
    for _ in range(60):
        middle = (small + large) / 2.0
        fits = estimate(replace(design, sram_bytes=middle)).die_area_mm2 <= 26.0 * 33.0
        small, large = (middle, large) if fits else (small, middle)
    below, above = (estimate(replace(design, sram_bytes=size)) for size in (small * 0.999, large * 1.001))
    assert below.die_area_mm2 == pytest.approx(858.0, rel=0.002)
    assert below.feasible
    assert [reason.code for reason in above.reasons] == ["reticle"]


def test_limits_are_met_at_the_edge(design: Design) -> None:
    found = estimate(design)
    exact = replace(
        design, max_power_w=found.tdp_w, max_area_mm2=found.die_area_mm2, max_cost_usd=found.unit_cost_usd,
        clock_hz=1e9, stacks=2,
    )  # fmt: skip
    assert estimate(exact).feasible


def test_a_die_like_that_of_an_h100_has_places_for_six_stacks(design: Design) -> None:
    from hardware_specs.accelerators.limits import stack_sites

    hbm3 = replace(design, memory="HBM3")
    assert stack_sites(hbm3, KNOWN, 814.0) == 6
    assert stack_sites(hbm3, KNOWN, 400.0) == 4
    assert stack_sites(replace(hbm3, memory="none", stacks=0), KNOWN, 814.0) == 0


GROWING: dict[str, st.SearchStrategy[Any]] = {
    "arrays": st.integers(1, 64), "array_rows": st.integers(1, 512), "array_cols": st.integers(1, 512),
    "vector_lanes": st.integers(1, 10_000), "sram_bytes": st.floats(1e6, 1e9), "stacks": st.integers(1, 8),
    "links": st.integers(1, 16), "link_bytes_per_s": st.floats(1e9, 1e11),
}  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(sorted(GROWING)))
def test_more_of_anything_takes_more_area_and_power(data: st.DataObject, key: str) -> None:
    base = Design(
        device_class="tpu", node="7nm", clock_hz=1e9, memory="HBM2E", rates={"bf16": 1.0},
        **{name: data.draw(values) for name, values in GROWING.items()},
    )  # fmt: skip
    more = replace(base, **{key: getattr(base, key) * 2})
    small, large = estimate(base), estimate(more)
    assert large.die_area_mm2 > small.die_area_mm2
    assert large.tdp_w > small.tdp_w
    assert large.cost_usd["die"] >= small.cost_usd["die"]


@pytest.mark.parametrize(("old", "new"), [("28nm", "16nm"), ("16nm", "7nm"), ("7nm", "5nm"), ("5nm", "3nm")])
def test_a_newer_node_shrinks_and_saves(design: Design, old: str, new: str) -> None:
    before, after = estimate(replace(design, node=old)), estimate(replace(design, node=new))
    assert after.die_area_mm2 < before.die_area_mm2
    assert after.tdp_w < before.tdp_w


def test_estimates_are_pure(design: Design) -> None:
    assert estimate(design) == estimate(replace(design))


def test_other_coefficients_may_be_given(design: Design) -> None:
    dearer = replace(KNOWN, die=replace(KNOWN.die, rest_share=replace(KNOWN.die.rest_share, value=0.5)))
    assert estimate(design, dearer).die_area_mm2 > estimate(design).die_area_mm2


def test_a_row_is_flat_and_whole(design: Design) -> None:
    found = estimate(design)
    row = as_row(found)
    assert row["die_area_mm2"] == found.die_area_mm2
    assert row["power_memory_w"] == found.power_w["memory"]
    assert (row["feasible"], row["reason"]) == (True, "")
    assert all(isinstance(value, (float, int, str)) for value in row.values())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"node": "8nm"}, "node: '8nm' is not allowed"),
        ({"memory": "HBM5"}, "memory: 'HBM5' is not allowed"),
        ({"device_class": "gpu"}, "device_class: 'gpu' is not allowed"),
        ({"link_reach": "moon"}, "link_reach"),
        ({"rates": {"bf17": 1.0}}, "did you mean 'bf16'?"),
        ({"rates": {}}, "rates: needs at least one dtype"),
        ({"rates": {"bf16": 0.0}}, "rates.bf16: must be above 0"),
        ({"arrays": 0}, "arrays: must be a whole number from 1"),
        ({"array_rows": 2.5}, "array_rows: must be a whole number"),
        ({"vector_lanes": -1}, "vector_lanes: must be a whole number from 0"),
        ({"arrays": 100_000, "array_rows": 10_000}, "cells in all"),
        ({"clock_hz": 0.0}, "clock: must be positive"),
        ({"clock_hz": math.nan}, "clock: must be positive"),
        ({"sram_bytes": math.inf}, "sram: must be positive"),
        ({"max_power_w": 0.0}, "max_power: must be positive"),
        ({"gross_margin": 1.0}, "gross_margin: must be from 0%"),
        ({"memory": "none", "stacks": 0}, "'none' is for the class asic"),
        ({"device_class": "asic", "memory": "none"}, "stacks: must be 0 without memory"),
        ({"stacks": 0}, "stacks: must be at least 1 with HBM2E"),
        ({"link": "ici-v9"}, "unknown link 'ici-v9'"),
        ({"links": 0, "link": "ici-v4"}, "links: must be at least 1 port"),
        ({"link_bytes_per_s": 0.0}, "link_bandwidth: must be positive"),
        ({"pcie_generation": 9}, "pcie_generation: '9' is not allowed"),
    ],
)
def test_designs_that_mean_nothing_are_refused(design: Design, change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as caught:
        estimate(replace(design, **change))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
