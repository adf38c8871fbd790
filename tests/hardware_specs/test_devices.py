"""The shipped devices: enough of every class, plausible, and not missing what has been measured elsewhere."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from hardware_specs.devices import device_names, load_all_devices, load_device
from hardware_specs.dtypes import BITS, COMPUTE_DTYPES
from hardware_specs.links import link_names
from hardware_specs.records import DEVICE_CLASSES, DeviceSpec

DEVICES = load_all_devices()
MEASURED = Path(__file__).parents[3] / "shared" / "ground_truth" / "hardware"
SHIPPED = Path(load_device.__code__.co_filename).parent / "data" / "devices"
DRAM = ("HBM", "GDDR", "DDR", "LPDDR")


def test_at_least_150_devices_of_five_classes() -> None:
    assert len(DEVICES) >= 150
    counts = {c: sum(d.device_class == c for d in DEVICES) for c in DEVICE_CLASSES}
    assert all(count >= 8 for count in counts.values()), counts


def test_ids_are_file_names_and_folders_are_classes() -> None:
    paths = {path.stem: path for path in SHIPPED.rglob("*.toml")}
    assert {device.id: device.device_class for device in DEVICES} == {n: p.parent.name for n, p in paths.items()}


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: d.id)
def test_numbers_are_plausible(device: DeviceSpec) -> None:
    assert device.compute.peaks and set(device.compute.peaks) <= set(COMPUTE_DTYPES)
    assert all(1e9 <= peak.value <= 2e17 for peak in device.compute.peaks.values())
    assert 1e8 <= device.memory.capacity.value <= 16e12
    assert 1e8 <= device.memory.bandwidth.value <= 1e17
    assert device.memory.usable is None or device.memory.usable.value <= device.memory.capacity.value
    assert device.power.tdp is None or 1.0 <= device.power.tdp.value <= 3e4
    if device.power.idle and device.power.tdp:
        assert device.power.idle.value <= device.power.tdp.value
    if device.cache and device.cache.bandwidth:
        assert device.cache.bandwidth.value > device.memory.bandwidth.value
    assert device.year is None or 2008 <= device.year <= 2027


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: d.id)
def test_narrower_formats_are_never_slower(device: DeviceSpec) -> None:
    peaks = device.compute.peaks
    for wide, narrow in (("fp32", "tf32"), ("tf32", "bf16"), ("bf16", "fp8"), ("fp16", "fp8"), ("fp8", "fp4")):
        if wide in peaks and narrow in peaks:
            assert peaks[narrow].value >= peaks[wide].value * 0.99, f"{narrow} below {wide}"
            assert BITS[narrow] <= BITS[wide]


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: d.id)
def test_dram_is_counted_in_gib(device: DeviceSpec) -> None:
    if device.memory.kind.startswith(DRAM):
        assert device.memory.capacity.text.endswith(("GiB", "MiB", "TiB")), device.memory.capacity.text


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: d.id)
def test_a_page_is_cited_only_for_what_such_pages_print(device: DeviceSpec) -> None:
    """A card's page of TechPowerUp has vector rates, clocks, memory, power and cache sizes, and no more."""
    lacks = {dtype: device.compute.peaks.get(dtype) for dtype in ("tf32", "bf16", "fp8", "int8", "fp4", "int4")}
    lacks |= {"scaleup": device.ports.scaleup_bandwidth, "domain": device.ports.scaleup_domain}
    lacks["cache"] = device.cache.bandwidth if device.cache else None
    assert not [name for name, fact in lacks.items() if fact and "techpowerup.com/gpu-specs" in fact.origin]


SYSTOLIC = [device for device in DEVICES if device.compute.array_rows]


@pytest.mark.parametrize("device", SYSTOLIC, ids=lambda d: d.id)
def test_systolic_arrays_need_a_plausible_clock(device: DeviceSpec) -> None:
    """16-bit peak = 2 x rows x columns x arrays x clock; NeuronCores of 128 x 128 need most, 2.5 to
    2.9 GHz for the peaks that AWS gives."""
    c = device.compute
    assert c.arrays and c.array_rows and c.array_cols
    clock_hz = c.peaks["bf16"].value / (2.0 * c.arrays.value * c.array_rows.value * c.array_cols.value)
    assert 0.6e9 <= clock_hz <= 2.91e9
    assert c.clock_boost is None or clock_hz == pytest.approx(c.clock_boost.value, rel=0.02)


def test_a_die_is_half_of_its_card() -> None:
    card, die = load_device("mi250"), load_device("mi250-gcd")
    for dtype in ("bf16", "fp16", "int8"):
        assert 2.0 * die.compute.peaks[dtype].value == pytest.approx(card.compute.peaks[dtype].value, rel=0.01)
    assert 2.0 * die.memory.bandwidth.value == pytest.approx(card.memory.bandwidth.value, rel=0.01)
    assert 2.0 * die.memory.capacity.value == card.memory.capacity.value


def test_known_devices() -> None:
    h100 = load_device("h100-sxm-80gb")
    assert h100.memory.capacity.value == 80 * 2**30
    assert h100.usable_bytes == 81559 * 2**20
    assert h100.compute.peaks["bf16"].value == 989e12, "dense, not the sparse figure"
    assert load_device("tpu-v5e").compute.peaks["bf16"].value == 197e12


def test_scale_up_links_exist() -> None:
    assert {d.id: d.ports.scaleup for d in DEVICES if d.ports.scaleup and d.ports.scaleup not in link_names()} == {}


@pytest.mark.skipif(not MEASURED.is_dir(), reason="the measured data lies outside the repository")
@pytest.mark.parametrize("name", ["devices.csv", "devices_extra.csv"])
def test_every_device_with_peak_and_bandwidth_is_here(name: str) -> None:
    with (MEASURED / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    peaks = [column for column in rows[0] if column.endswith(("_tflops", "_tops"))]
    usable = {row["id"] for row in rows if row["memory_bw_gbps"] and any(row[column] for column in peaks)}
    assert len(usable) > 80
    assert sorted(usable - set(device_names())) == []
