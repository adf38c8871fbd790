"""Designs of FPGAs: what they make of a board, which rows name them, and what does not fit by how much."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from hardware_specs.designs import design_for, design_names, designed, load_design, uses_of
from hardware_specs.devices import load_device
from hardware_specs.errors import InputError, UnknownName
from hardware_specs.fpga_resources import Resources, needs_of, resources_of, slices_of
from hardware_specs.hosts import host_of
from hardware_specs.prices import price_of

U280 = load_device("alveo-u280")


@pytest.mark.parametrize("name", design_names())
def test_designs_fit_the_boards_that_they_were_built_for(name: str) -> None:
    design = load_design(name)
    for board in design.boards:
        spec = load_device(f"{board}:{name}")
        assert all(use.fits for use in uses_of(design, load_device(board)))
        assert spec.id == f"{board}:{name}"
        for dtype, lanes in design.lanes.items():
            assert spec.compute.peaks[dtype].value == pytest.approx(2.0 * lanes.value * design.clock.value)
        assert host_of(spec) == host_of(load_device(board))


def test_a_design_reads_no_faster_than_its_channels_nor_than_the_board() -> None:
    assert load_device("alveo-u280:dfx").memory.bandwidth.value == pytest.approx(32 * 12.8e9)
    # An embedded board with a memory of its own beside that of the file.
    assert load_device("zcu104:hummingbird").memory.bandwidth.value == pytest.approx(38.4e9)
    assert load_device("alveo-u250:dfx").memory.bandwidth == load_device("alveo-u250").memory.bandwidth


def test_a_design_costs_what_its_board_costs() -> None:
    assert price_of("vu47p-aws-f2:dfx") == price_of("vu47p-aws-f2")


def test_what_does_not_fit_is_named_with_its_amount() -> None:
    with pytest.raises(InputError, match=r"zcu104:dfx: does not fit: DSP 3,533 of 1,728, 2\.04 times"):
        load_device("zcu104:dfx")


def test_every_resource_is_checked() -> None:
    text = {"dsp": "100", "lut": "2e6", "bram": "2017", "uram": "960", "slr": "4"}
    lanes = load_design("dfx").clock
    needs = Resources(**{name: replace(lanes, value=float(value)) for name, value in text.items()})
    short = {use.resource for use in uses_of(replace(load_design("dfx"), resources=needs), U280) if not use.fits}
    assert short == {"LUT", "BRAM", "SLR"}


def test_slices_pack_narrow_products() -> None:
    count = load_design("dfx").lanes["fp16"]
    assert [slices_of({dtype: count}) / count.value for dtype in ("fp32", "fp16", "int8", "int4")] == [5, 2, 0.5, 0.25]


def test_lanes_on_one_die_have_its_slices_alone() -> None:
    one = replace(load_design("dfx").clock, value=1.0)
    needs = needs_of(load_design("flightllm").lanes, Resources(slr=one))
    found = resources_of(U280)
    assert needs["DSP per SLR"] == needs["DSP"] == 12690 / 2
    assert found["DSP per SLR"] == found["DSP"] / 3 < needs["DSP per SLR"]


def test_rows_name_designs_by_their_engine() -> None:
    assert design_for("alveo-u280", "Allo (Chen et al. 2312.15159)") == "alveo-u280:allo"
    assert design_for("alveo-u280", "llama.cpp") == "alveo-u280"
    assert design_for("h100-sxm-80gb", "DFX") == "h100-sxm-80gb"


def test_only_fpgas_have_designs() -> None:
    with pytest.raises(InputError, match="no FPGA"):
        designed(load_device("l4"), "dfx")
    with pytest.raises(UnknownName, match="did you mean 'flexllm'"):
        load_device("alveo-u280:flexlm")
