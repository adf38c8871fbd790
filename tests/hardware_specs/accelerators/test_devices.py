"""Devices of designs: peaks by arithmetic, marks everywhere, and files that read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from hardware_specs.accelerators.changes import changed
from hardware_specs.accelerators.devices import device_of
from hardware_specs.accelerators.estimates import estimate
from hardware_specs.accelerators.files import load_design, rates_of, read_design
from hardware_specs.accelerators.published import published_chips
from hardware_specs.accelerators.records import Design
from hardware_specs.accelerators.writing import design_lines, device_text
from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Mark

replace = msgspec.structs.replace


def facts(record: Any) -> list[Fact]:
    if isinstance(record, Fact):
        return [record]
    if isinstance(record, dict):
        return [fact for part in record.values() for fact in facts(part)]
    if isinstance(record, msgspec.Struct):
        return [fact for name in record.__struct_fields__ for fact in facts(getattr(record, name))]
    return []


def test_peaks_and_bandwidths_follow_by_arithmetic(design: Design) -> None:
    device = device_of(design)
    assert device.compute.peaks["bf16"].value == 2 * 4 * 128 * 128 * 1e9
    assert device.compute.peaks["int8"].value == 2 * device.compute.peaks["bf16"].value
    assert device.parameters["vector_peak"].value == 2 * 1024 * 1e9
    assert device.memory.capacity.value == 2 * 16 * 2**30
    assert device.memory.bandwidth.value == 2 * 460e9
    assert device.cache is not None
    assert device.cache.capacity.value == 2**27
    assert device.ports.scaleup == "ici-v5p"
    assert device.ports.scaleup_bandwidth is not None
    assert device.ports.scaleup_bandwidth.value == 200e9
    assert device.power.tdp is not None
    assert device.power.tdp.value == estimate(design).tdp_w


@pytest.mark.parametrize(
    ("chip", "peaks", "bandwidth"),
    [
        ("tpu-v1", {"int8": 92e12}, 34e9),
        ("tpu-v4", {"bf16": 275e12}, 1.2e12),
        ("ipu-mk2", {"fp16": 250e12, "fp32": 62.5e12}, 47.5e12),
        ("mtia-v2", {"int8": 354e12, "bf16": 177e12}, 204.8e9),
        ("maia-100", {"bf16": 800e12}, 1.8e12),
        ("hanguang-800", {"int8": 825e12}, None),
        ("dojo-d1", {"bf16": 362e12}, None),
    ],
)
def test_designs_of_real_chips_have_their_published_peaks(
    chip: str, peaks: dict[str, float], bandwidth: float | None
) -> None:
    device = device_of(next(each.design for each in published_chips() if each.id == chip))
    for dtype, peak in peaks.items():
        assert device.compute.peaks[dtype].value == pytest.approx(peak, rel=0.01)
    if bandwidth:
        assert device.memory.bandwidth.value == pytest.approx(bandwidth, rel=0.01)


def test_every_fact_says_that_it_is_assumed_and_why(design: Design) -> None:
    for fact in facts(device_of(replace(design, gross_margin=0.5))):
        assert fact.mark is Mark.ASSUMED
        assert fact.origin.startswith(("by design", "estimate"))


def test_sram_alone_is_the_memory(resident: Design) -> None:
    device = device_of(resident)
    assert "SRAM" in device.memory.kind
    assert device.cache is None
    assert device.memory.capacity.value == 200e6
    assert device.memory.bandwidth.value == 1e9 * (1024 * 12 + 16 * (64 * 2 + 64 * 4))
    assert device.ports.scaleup == ""
    assert device.ports.pcie_lanes is None
    assert device.default_runtime == "vendor-asic-2024"


def test_a_price_only_with_a_margin(design: Design) -> None:
    assert device_of(design).price.purchase is None
    sold = device_of(replace(design, gross_margin=0.6)).price.purchase
    assert sold is not None
    assert sold.value == pytest.approx(estimate(design).unit_cost_usd / 0.4)


def test_what_cannot_be_made_is_said_in_the_notes(design: Design) -> None:
    assert "above the budget of 50 W" in device_of(replace(design, max_power_w=50.0)).notes


@pytest.mark.parametrize("margin", [None, 0.6])
def test_a_device_file_reads_back(design: Design, tmp_path: Path, margin: float | None) -> None:
    made = replace(design, id="my-chip", name='"My" chip', gross_margin=margin, clock_hz=1.234567890123e9)
    path = tmp_path / "my-chip.toml"
    path.write_text(device_text(made, device_of(made)), encoding="utf-8")
    read, meant = load_device(path), device_of(made)
    assert read.id == "my-chip"
    assert read.name == '"My" chip'
    for ours, theirs in zip(facts(read), facts(meant), strict=True):
        assert ours.value == pytest.approx(theirs.value, rel=1e-11)
        assert (ours.dimension, ours.mark, ours.origin) == (theirs.dimension, theirs.mark, theirs.origin)
    assert load_design(path) == made
    assert device_of(load_design(path)) == meant


def test_every_published_design_reads_back_from_its_lines() -> None:
    import tomllib

    for chip in published_chips():
        assert read_design(tomllib.loads("\n".join(design_lines(chip.design)))) == chip.design


def test_a_short_file(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(
        'device_class = "asic"\nnode = "5nm"\nclock = "1.5 GHz"\narrays = 2\narray_rows = 64\narray_cols = 32\n'
        'rates = { fp8 = 2 }\nsram = "16 MiB"\nmemory = "LPDDR5X"\nstacks = 4\nmax_area = "90 mm2"\n'
    )
    design = load_design(path)
    assert (design.id, design.clock_hz, design.sram_bytes) == ("tiny", 1.5e9, 2.0**24)
    assert design.max_area_mm2 == pytest.approx(90.0)
    assert design.lanes == 2 * 64 * 32 // 64


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('nodes = "5nm"', "nodes: unknown key; did you mean 'node'?"),
        ('node = "5nm"', "missing keys 'device_class', 'clock', 'arrays'"),
        ("clock = 1.5", "clock: 1.5 has no unit"),
        ('clock = "1.5 GB"', "is a size, not a frequency"),
        ("[compute]\nunits = 3", "holds a device but no design"),
        ("#: node = ", "the design in its last lines is not valid TOML"),
        ("x = [", "not valid TOML"),
    ],
)
def test_broken_files_say_where(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_design(path)
    assert said in str(caught.value)
    assert "broken.toml" in str(caught.value)


def test_counts_must_be_whole(tmp_path: Path, design: Design) -> None:
    lines = [line.replace("arrays = 4", "arrays = 4.0") for line in design_lines(design)]
    path = tmp_path / "part.toml"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match="arrays: must be a whole number"):
        load_design(path)


def test_changes(design: Design) -> None:
    after = changed(
        design,
        {"array_rows": "2x", "clock": "150%", "rates.fp8": "2", "stacks": "4", "name": "Other", "sram": "1 MiB"},
    )
    assert (after.array_rows, after.stacks, after.name, after.sram_bytes) == (256, 4, "Other", 2.0**20)
    assert after.clock_hz == pytest.approx(1.5e9)
    assert after.rates == {"bf16": 1.0, "int8": 2.0, "fp8": 2.0}
    assert changed(design, {"rates": "fp16=1, fp8=2"}).rates == {"fp16": 1.0, "fp8": 2.0}
    assert changed(design, {"gross_margin": "60%"}).gross_margin == pytest.approx(0.6)
    assert changed(design, {"max_area": "500 mm2"}).max_area_mm2 == pytest.approx(500.0)
    assert changed(design, {}) == design


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("array_row", "2x", "did you mean 'array_rows'?"),
        ("arrays", "1.1x", "4.4 is no whole number"),
        ("arrays", "many", "is no quantity"),
        ("sram_bandwidth", "2x", "no value is there that could be scaled"),
        ("rates.fp8", "2x", "no value is there that could be scaled"),
        ("rates", "bf16", "must list each dtype once"),
        ("clock.x", "1 GHz", "no key 'clock.x'"),
        ("node", "9nm", "node: '9nm' is not allowed"),
    ],
)
def test_changes_that_cannot_be(design: Design, key: str, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        changed(design, {key: text}, "--set device.design.")
    assert said in str(caught.value)
    assert str(caught.value).startswith("--set device.design.")


def test_rates_from_text() -> None:
    assert rates_of("bf16=1,int8=2") == {"bf16": 1.0, "int8": 2.0}
    for text in ("", "bf16", "bf16=1,bf16=2", "=1"):
        with pytest.raises(InputError, match="must list each dtype once"):
            rates_of(text)
