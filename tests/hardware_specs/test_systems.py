"""Systems: the shipped ones hang together, and every device has a usual system at any count."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.devices import load_all_devices, load_device
from hardware_specs.errors import InputError, UnknownName
from hardware_specs.facts import Mark
from hardware_specs.hosts import host_names, host_of, load_host
from hardware_specs.links import link_names, load_link
from hardware_specs.records import DEVICE_CLASSES, DeviceSpec, SharedLink, SystemSpec
from hardware_specs.systems import (
    check_system,
    group_of,
    links_of,
    load_system,
    system_for,
    system_names,
    torus_shape,
)

DEVICES = load_all_devices()
USED_BY_STUDIES = ("gpu-tpu-lab", "cpu-gpu-workstation", "gpu-tpu-pods", "fpga-gpu-server", "five-classes")


@pytest.mark.parametrize("name", system_names())
def test_shipped_systems_hang_together(name: str) -> None:
    system = load_system(name)
    assert set(links_of(system)) == {g.link for g in system.groups} | {system.host_link, system.network} - {""}
    assert system.host_power and system.host_power.value >= 0.0
    for group in system.groups:
        device, link = load_device(group.device), load_link(group.link)
        assert group.count == 1 or group.topology == link.topology
        assert link.max_domain is None or group.count <= link.max_domain.value
        assert group.link in (device.ports.scaleup, system.host_link, "on-chip") or link.category == "host"


@pytest.mark.parametrize("name", ["dgx-h100", "gb200-nvl72", "mi300x-node", "tpu-v5e-256", *USED_BY_STUDIES])
def test_promised_systems_exist(name: str) -> None:
    assert name in system_names()


def test_mixed_systems_mix_classes() -> None:
    classes = {load_device(g.device).device_class for g in load_system("five-classes").groups}
    assert classes == set(DEVICE_CLASSES)
    for name in USED_BY_STUDIES:
        assert len({load_device(g.device).device_class for g in load_system(name).groups}) >= 2


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: d.id)
def test_every_device_has_a_usual_system(device: DeviceSpec) -> None:
    assert system_for(device, 1).nodes == 1
    for count in (1, 2, 3, 8, 64, 300):
        system = system_for(device, count)
        check_system(system)
        group = system.groups[0]
        assert group.device == device.id
        assert system.nodes * group.count >= count > (system.nodes - 1) * group.count
        assert (group.topology == "none") == (group.count == 1)
        domain = device.ports.scaleup_domain
        assert group.link != device.ports.scaleup or domain is None or group.count <= domain.value
        assert system.host_power and system.host_power.mark is Mark.ASSUMED


@given(st.sampled_from(DEVICES), st.integers(1, 20000))
def test_usual_systems_hold_any_count(device: DeviceSpec, count: int) -> None:
    system = system_for(device, count)
    assert system.nodes * system.groups[0].count >= count
    assert system.nodes == math.ceil(count / system.groups[0].count)


@pytest.mark.parametrize(
    ("device", "count", "nodes", "per_node", "link", "topology", "host_link", "network"),
    [
        ("h100-sxm-80gb", 1, 1, 8, "nvlink4", "switch", "pcie5-x16", "ib-ndr"),
        ("h100-sxm-80gb", 16, 2, 8, "nvlink4", "switch", "pcie5-x16", "ib-ndr"),
        ("a100-sxm-80gb", 8, 1, 8, "nvlink3", "switch", "pcie4-x16", "ib-hdr"),
        ("gb200", 72, 1, 72, "nvlink5-nvl72", "switch", "nvlink-c2c", "ib-ndr"),
        ("mi300x", 8, 1, 8, "xgmi-mi300x", "full-mesh", "pcie5-x16", "roce-400g"),
        ("gaudi-2", 8, 1, 8, "gaudi2-roce", "full-mesh", "pcie4-x16", "roce-100g"),
        ("trainium1", 32, 2, 16, "neuronlink-v2", "torus-2d", "pcie4-x16", "efa-v1"),
        ("tpu-v5e", 8, 1, 8, "ici-v5e", "torus-2d", "pcie3-x16", "tpu-dcn"),
        ("tpu-v5e", 512, 2, 256, "ici-v5e", "torus-2d", "pcie3-x16", "tpu-dcn"),
        ("rtx-4090", 2, 1, 2, "pcie4-x16", "pcie-tree", "pcie4-x16", "ethernet-10g"),
        ("h100-nvl-94gb", 2, 1, 2, "nvlink4-bridge", "full-mesh", "pcie5-x16", "roce-100g"),
        ("h100-nvl-94gb", 4, 1, 4, "pcie5-x16", "pcie-tree", "pcie5-x16", "roce-100g"),
        ("epyc-9654", 2, 1, 2, "xgmi-socket-genoa", "full-mesh", "on-chip", "roce-100g"),
        ("alveo-u280", 1, 1, 1, "pcie4-x8", "none", "pcie4-x8", "roce-100g"),
        ("apple-m2-ultra", 2, 2, 1, "on-chip", "none", "on-chip", "ethernet-10g"),
    ],
)
def test_usual_systems_are_the_usual_ones(
    device: str, count: int, nodes: int, per_node: int, link: str, topology: str, host_link: str, network: str
) -> None:
    system = system_for(load_device(device), count)
    group = system.groups[0]
    assert (system.nodes, group.count, group.link, group.topology) == (nodes, per_node, link, topology)
    assert (system.host_link, system.network) == (host_link, network)


@pytest.mark.parametrize(
    ("count", "dimensions", "shape"),
    [
        (1, 2, (1, 1)),
        (8, 2, (2, 4)),
        (256, 2, (16, 16)),
        (4, 3, (1, 2, 2)),
        (16, 3, (2, 2, 4)),
        (7, 2, (1, 7)),
        (5, 0, ()),
    ],
)  # fmt: skip
def test_torus_shapes_are_those_of_slices(count: int, dimensions: int, shape: tuple[int, ...]) -> None:
    assert torus_shape(count, dimensions) == shape


@given(st.integers(1, 4096), st.sampled_from([2, 3]))
def test_torus_shapes_hold_all_chips(count: int, dimensions: int) -> None:
    shape = torus_shape(count, dimensions)
    assert math.prod(shape) == count and len(shape) == dimensions and list(shape) == sorted(shape)


def test_no_devices_make_no_system() -> None:
    with pytest.raises(InputError, match="0 devices: must be at least 1"):
        system_for(DEVICES[0], 0)


def test_hosts_name_links_that_exist() -> None:
    for host in map(load_host, host_names()):
        assert {host.network, host.host_link, *host.links} <= set(link_names()), host.id
        assert host.devices >= 1 and (host.power.value > 0.0 or host.power_per_device.value > 0.0)


def test_hosts_claim_a_scale_up_link_once() -> None:
    claimed = [link for host in map(load_host, host_names()) for link in host.links]
    assert len(claimed) == len(set(claimed))


def test_the_most_specific_claim_decides() -> None:
    assert host_of(load_device("rtx-4090")).id == "workstation"
    assert host_of(load_device("rtx-pro-6000-server")).id == "rtx-server"
    assert host_of(load_device("b300-sxm")).id == "hgx-b300"
    assert host_of(load_device("l40s")).id == "pcie-server"
    unknown = msgspec.structs.replace(load_device("tpu-v5e"), id="my-tpu", form_factor="")
    assert host_of(unknown).id == "tpu-slice"


def broken(**changes: object) -> SystemSpec:
    system = load_system("trn2.48xlarge")
    own = {key: value for key, value in changes.items() if key in SystemSpec.__struct_fields__}
    group = msgspec.structs.replace(system.groups[0], **{k: v for k, v in changes.items() if k not in own})
    return msgspec.structs.replace(system, **{"groups": (group,), **own})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, r"groups\[0\].count: must be at least 1, not 0"),
        ({"shape": (4, 5)}, r"groups\[0\].shape: must be 2 extents that multiply to 16 for 'torus-2d', not \[4, 5\]"),
        ({"shape": (16,)}, r"must be 2 extents"),
        ({"topology": "switch"}, r"must be 0 extents"),
        ({"nodes": 0}, "at least one group and one node"),
        ({"groups": ()}, "at least one group and one node"),
        ({"nodes": 2, "network": ""}, "network: must name a link"),
        ({"device": "trainum2"}, "unknown device .* 'trainum2'; did you mean 'trainium2'"),
        ({"link": "neuronlink-v9"}, "unknown link of system .*; did you mean 'neuronlink-v"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_system(broken(**changes))


def shared(**changes: object) -> SharedLink:
    fields: dict[str, object] = {"name": "nic", "over": "efa-v3", "bandwidth": load_link("efa-v3").bandwidth, **changes}
    return SharedLink(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ((shared(), shared()), "shared link 'nic': there are two of this name"),
        ((shared(over="nvlink4"),), "over 'nvlink4': must be the host link or the network: pcie5-x16, efa-v3"),
        ((shared(groups=("trainium",)),), "unknown group of .* 'trainium'; did you mean 'trainium2'"),
        (
            (shared(devices=(0, 16)),),
            r"devices \[0, 16\]: must be the first and last device of one group, from 0 to 15",
        ),
        ((shared(devices=(3, 2)),), r"devices \[3, 2\]: must be the first and last"),
        ((shared(each=-1),), "each -1: must be 0"),
    ],
)
def test_shared_links_that_mean_nothing(links: tuple[SharedLink, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_system(broken(shared_links=links))


def test_a_shared_link_for_every_few_devices() -> None:
    assert [shared(each=2).crossed_by("gpu", n) for n in range(4)] == [
        "nic gpu 0",
        "nic gpu 0",
        "nic gpu 1",
        "nic gpu 1",
    ]
    assert [shared(devices=(1, 2), groups=("gpu",)).crossed_by("gpu", n) for n in range(4)] == ["", "nic", "nic", ""]
    assert shared(groups=("tpu",)).crossed_by("gpu", 0) == ""


def test_groups_are_found_by_id_or_by_their_only_device() -> None:
    system = load_system("trn2.48xlarge")
    group = system.groups[0]
    assert (group.id, group_of(system, "trainium2")) == ("trainium2", group)
    twins = tuple(msgspec.structs.replace(group, id=name) for name in ("left", "right"))
    twice = msgspec.structs.replace(system, groups=twins)
    check_system(twice)
    assert group_of(twice, "trainium2", "right") == twins[1]
    for device, name, message in (
        ("trainium2", "", "several groups of trainium2: left, right; say which group"),
        ("trainium2", "lift", "unknown group .* 'lift'; did you mean 'left'"),
        ("l4", "left", "group 'left' of system .* has trainium2, not l4"),
        ("l4", "", "has no l4; it has trainium2"),
    ):
        with pytest.raises(InputError, match=message):
            group_of(twice, device, name)
    with pytest.raises(InputError, match="two groups are called 'trainium2'; give them different ids"):
        check_system(msgspec.structs.replace(system, groups=(group, group)))


def test_a_system_file_is_read_from_its_path(tmp_path: Path) -> None:
    (tmp_path / "pair.toml").write_text(
        'name = "Pair"\nhost_link = "pcie4-x16"\n[[groups]]\ndevice = "l4"\ncount = 2\nlink = "pcie4-x16"\n'
        'topology = "pcie-tree"\n'
    )
    assert load_system(tmp_path / "pair.toml").groups[0].count == 2
    with pytest.raises(UnknownName, match="unknown system 'dgx-h10'; did you mean 'dgx-h100'"):
        load_system("dgx-h10")


@pytest.mark.parametrize(
    "name", ["hgx-a100", "hgx-h100", "hgx-b200", "mi300-8", "gaudi-8", "gaudi3-8", "sxm2-8", "nvl72"]
)
def test_host_power_is_a_mean_and_not_the_maximum(name: str) -> None:
    host = load_host(name)
    assert "estimated" in host.power.origin
    assert "At most" in host.notes


@pytest.mark.parametrize("name", ["dgx-a100", "dgx-h100", "dgx-b200", "mi300x-node", "gaudi2-node", "gaudi3-node"])
def test_a_shipped_server_draws_what_its_host_class_draws(name: str) -> None:
    system = load_system(name)
    device = load_device(system.groups[0].device)
    usual = system_for(device, system.groups[0].count)
    assert system.host_power and usual.host_power and device.power.tdp
    assert system.host_power.value == usual.host_power.value
    assert 0.1 < system.host_power.value / (system.groups[0].count * device.power.tdp.value) < 0.5
