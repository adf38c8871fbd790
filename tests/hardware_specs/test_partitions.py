"""Partitions: never more than the device in sum, named as devices are, refused with what is nearest."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from hardware_specs.calibrations import calibrations_digest, calibrations_of
from hardware_specs.devices import device_names, load_device, split_device
from hardware_specs.errors import InputError, UnknownName
from hardware_specs.facts import Fact, Mark
from hardware_specs.partitions import (
    SEPARATOR,
    PartitionTable,
    Profile,
    partition_tables,
    partitioned,
    partitions_that_fit,
    profile_names,
    profile_of,
)
from hardware_specs.prices import price_of
from hardware_specs.records import SystemNode, SystemSpec
from hardware_specs.systems import check_system, system_for

ALL = [(device, profile) for table in partition_tables() for device in table.devices for profile in table.profiles]
IDS = [f"{device}{SEPARATOR}{profile.name}" for device, profile in ALL]


@pytest.mark.parametrize(("device", "profile"), ALL, ids=IDS)
def test_equal_partitions_are_no_more_than_the_device(device: str, profile: Profile) -> None:
    whole, one = load_device(device), load_device(f"{device}:{profile.name}")
    count = partitions_that_fit(whole, profile.name)
    assert count == profile.instances.value >= 1
    pairs = [(one.compute.peaks[dtype], peak) for dtype, peak in whole.compute.peaks.items()]
    pairs += [(one.memory.bandwidth, whole.memory.bandwidth), (one.memory.capacity, whole.memory.capacity)]
    optional = [
        (one.compute.units, whole.compute.units), (one.power.tdp, whole.power.tdp), (one.power.idle, whole.power.idle),
        (one.price.cloud, whole.price.cloud), (one.price.purchase, whole.price.purchase),
    ]  # fmt: skip
    if one.cache and whole.cache:
        optional += [(one.cache.capacity, whole.cache.capacity), (one.cache.bandwidth, whole.cache.bandwidth)]
    assert all((part is None) == (all_ is None) for part, all_ in optional)
    pairs += [(part, all_) for part, all_ in optional if part and all_]
    for part, all_ in pairs:
        assert 0.0 < part.value * count <= all_.value * (1.0 + 1e-12), part.text
    assert one.usable_bytes * count <= whole.usable_bytes
    assert one.usable_bytes <= one.memory.capacity.value * (1.0 + 1e-12)


@pytest.mark.parametrize("table", partition_tables(), ids=lambda table: table.id)
def test_tables_are_whole(table: PartitionTable) -> None:
    """Known devices, each in one table; slices of as many instances as fit; larger instances have no fewer units."""
    assert set(table.devices) <= set(device_names())
    others = [device for other in partition_tables() if other is not table for device in other.devices]
    assert not set(table.devices) & set(others)
    assert len({profile.name for profile in table.profiles}) == len(table.profiles)
    by_slices = sorted(table.profiles, key=lambda p: (p.compute_slices.value, p.memory_slices.value))
    assert [p.units.value for p in by_slices] == sorted(p.units.value for p in by_slices)
    for p in table.profiles:
        compute = table.compute_slices.value // p.compute_slices.value
        memory = table.memory_slices.value // p.memory_slices.value
        assert p.instances.value == min(compute, memory)
        assert p.name.startswith(f"{p.compute_slices.value:g}g.")
        gib = load_device(f"{table.devices[0]}:{p.name}").memory.capacity.value / 2**30
        assert float(p.name.split(".")[1].removesuffix("gb")) == pytest.approx(gib, rel=0.03)


def test_a_partition_is_a_share_of_its_device() -> None:
    whole, one = load_device("a100-sxm-80gb"), load_device("a100-sxm-80gb:3g.40gb")
    assert one.id == "a100-sxm-80gb:3g.40gb" and one.device_class == "gpu"
    assert one.compute.units is not None and one.compute.units.value == 42.0
    assert one.compute.peaks["bf16"].value == pytest.approx(312e12 * 42 / 108)
    assert one.memory.bandwidth.value == pytest.approx(2.039e12 / 2)
    assert one.memory.capacity.value == 40 * 2**30
    assert one.usable_bytes == pytest.approx(39.5 * 2**30)
    assert one.cache is not None and one.cache.capacity.value == 20 * 2**20
    assert one.power.tdp is not None and one.power.tdp.value == pytest.approx(400.0 * 3 / 7)
    assert one.price.cloud is not None and whole.price.cloud is not None
    assert one.price.cloud.value == pytest.approx(whole.price.cloud.value / 2), "half of the memory is the larger share"
    assert one.power.tdp.mark is Mark.ASSUMED and one.memory.bandwidth.mark is Mark.SOURCED
    assert one.ports.scaleup == "" and one.ports.pcie_lanes == whole.ports.pcie_lanes
    assert load_device("a100-sxm-80gb:3g.40gb") is one, "models are compiled once for each record"


def test_a_small_instance_with_more_memory_leaves_room_for_fewer() -> None:
    spec = load_device("h100-sxm-80gb")
    assert partitions_that_fit(spec, "1g.10gb") == 7 and partitions_that_fit(spec, "1g.20gb") == 4
    wide = partitioned(spec, "1g.20gb")
    assert wide.cache is not None and spec.cache is not None
    assert wide.cache.capacity.value == spec.cache.capacity.value / 8
    assert wide.memory.bandwidth.value == spec.memory.bandwidth.value / 4


def test_whole_devices_keep_their_names_and_paths(tmp_path: Path) -> None:
    assert split_device("a100-sxm-80gb") == ("a100-sxm-80gb", "")
    assert split_device("a100-sxm-80gb:1g.10gb") == ("a100-sxm-80gb", "1g.10gb")
    assert split_device("/odd:place/mine.toml") == ("/odd:place/mine.toml", "")
    assert split_device("/odd:place/mine.toml:1g.10gb") == ("/odd:place/mine.toml", "1g.10gb")
    assert not [name for name in device_names() if SEPARATOR in name], "catalogues list whole devices"
    shipped = Path(load_device.__code__.co_filename).parent / "data" / "devices" / "gpu" / "a30.toml"
    copy = tmp_path / "a30.toml"
    copy.write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
    assert load_device(f"{copy}:2g.12gb").memory.capacity.value == 12 * 2**30


def test_parameters_that_are_amounts_shrink() -> None:
    spec = load_device("h100-sxm-80gb")
    set_to = {
        "units": Fact(132.0, "number", "132", Mark.ASSUMED, "test"),
        "vector_peak": Fact(6e13, "flops", "60 TFLOP/s", Mark.ASSUMED, "test"),
        "cap_w": Fact(500.0, "w", "500 W", Mark.ASSUMED, "test"),
        "gemm_sustained": Fact(0.8, "number", "0.8", Mark.ASSUMED, "test"),
    }
    one = partitioned(msgspec.structs.replace(spec, parameters=set_to), "3g.40gb")
    found = {name: fact.value for name, fact in one.parameters.items()}
    assert found == {
        "units": 60.0, "vector_peak": pytest.approx(6e13 * 60 / 132), "cap_w": pytest.approx(500.0 * 3 / 7),
        "gemm_sustained": 0.8,
    }  # fmt: skip


def test_other_partitions_are_refused_with_what_is_nearest() -> None:
    with pytest.raises(InputError, match=r"no partition '3g.20gb'; did you mean 'a100-sxm-80gb:3g.40gb'") as error:
        load_device("a100-sxm-80gb:3g.20gb")
    assert all(name in str(error.value) for name in profile_names("a100-sxm-80gb"))
    with pytest.raises(InputError, match=r"rtx-4090 has no partitions .*a100-sxm-80gb"):
        load_device("rtx-4090:1g.5gb")
    with pytest.raises(UnknownName, match="unknown device 'a100-sxm-80'; did you mean"):
        load_device("a100-sxm-80:1g.10gb")
    with pytest.raises(UnknownName, match="unknown device 'a30:'; did you mean 'a30'"):
        load_device("a30:")
    with pytest.raises(InputError, match="no partition ''"):
        profile_of("a30", "")
    assert profile_names("rtx-4090") == ()


def test_a_device_with_too_few_multiprocessors_is_refused() -> None:
    spec = load_device("a100-sxm-80gb")
    few = msgspec.structs.replace(spec.compute, units=Fact(40.0, "number", "40", Mark.ASSUMED, "test"))
    with pytest.raises(InputError, match=r"a100-sxm-80gb:3g.40gb: needs 42 multiprocessors; .* is 40"):
        partitioned(msgspec.structs.replace(spec, compute=few), "3g.40gb")


def test_a_partition_bears_a_share_of_the_price() -> None:
    whole, one = price_of("a100-sxm-80gb"), price_of("a100-sxm-80gb:3g.40gb")
    assert whole is not None and one is not None
    assert one.usd_per_s.value == pytest.approx(whole.usd_per_s.value / 2) and one.usd_per_s.mark is Mark.ASSUMED
    assert price_of("a100-sxm-80gb:3g.40gb", kind="spot") is None or price_of("a100-sxm-80gb", kind="spot") is not None


def test_a_partition_stands_in_the_host_of_its_device() -> None:
    whole = system_for(load_device("a100-sxm-80gb"), 1)
    one = system_for(load_device("a100-sxm-80gb:1g.10gb"), 1)
    assert whole.host_power is not None and one.host_power is not None
    assert one.host_power.value == pytest.approx(whole.host_power.value)
    assert one.groups[0].count == 7 * whole.groups[0].count and one.nodes == 1


def test_a_partition_is_priced_with_what_was_measured_of_its_device() -> None:
    assert calibrations_of("a100-sxm-80gb:3g.40gb") == calibrations_of("a100-sxm-80gb") != ()
    assert calibrations_digest("a100-sxm-80gb:3g.40gb") == calibrations_digest("a100-sxm-80gb")


def test_systems_may_name_partitions() -> None:
    shape = SystemNode(device="a30:2g.12gb", count=2, link="pcie4-x16", topology="pcie-tree")
    check_system(SystemSpec(id="x", name="x", groups=(shape,), host_link="pcie4-x16"))
    with pytest.raises(UnknownName, match="a31"):
        unknown = msgspec.structs.replace(shape, device="a31:2g.12gb")
        check_system(SystemSpec(id="x", name="x", groups=(unknown,), host_link="pcie4-x16"))
