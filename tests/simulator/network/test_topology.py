"""Topologies: the two levels of communicators of known systems, worked out by hand."""

from __future__ import annotations

import pytest

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.links import load_link
from hardware_specs.systems import group_of, links_of, load_system, system_for
from simulator.network.topology import ALONE, Network, sub_torus


def network(system: str, device: str) -> Network:
    spec = load_system(system)
    group = group_of(spec, device)
    return Network(spec, links_of(spec), load_device(device), group, range(group.count * spec.nodes))


def usable(link: str) -> float:
    spec = load_link(link)
    return spec.bandwidth.value * spec.achieved_fraction.value


def test_eight_h100_on_one_switch() -> None:
    group = network("h100-superpod-32", "h100-sxm-80gb").communicator(8)
    assert group.outer == ALONE
    assert (group.inner.size, group.inner.steps, group.inner.connected, group.inner.in_network) == (8.0, 7.0, 1.0, 1.0)
    assert group.inner.bandwidth == group.inner.pair_bandwidth == pytest.approx(450e9 * 0.83)


def test_sixteen_h100_on_two_nodes() -> None:
    group = network("h100-superpod-32", "h100-sxm-80gb").communicator(16)
    assert (group.inner.size, group.outer.size) == (8.0, 2.0)
    assert group.outer.bandwidth == pytest.approx(50e9 * load_link("ib-ndr").achieved_fraction.value)


def test_ranks_a_node_apart_meet_over_the_network_alone() -> None:
    """Data parallel replicas of tp 8 on four nodes of eight."""
    group = network("h100-superpod-32", "h100-sxm-80gb").communicator(4, stride=8)
    assert group.inner == ALONE
    assert group.outer.size == 4.0


def test_ranks_four_apart_have_two_members_in_a_node() -> None:
    group = network("h100-superpod-32", "h100-sxm-80gb").communicator(8, stride=4)
    assert (group.inner.size, group.outer.size) == (2.0, 4.0)


def test_full_mesh_has_a_seventh_of_the_port_for_each_pair() -> None:
    eight, four = (network("mi300x-node", "mi300x").communicator(n).inner for n in (8, 4))
    port = usable("xgmi-mi300x")
    assert eight.pair_bandwidth == four.pair_bandwidth == pytest.approx(port / 7.0)
    assert eight.bandwidth == pytest.approx(port)
    assert four.bandwidth == pytest.approx(port * 3.0 / 7.0)


def test_pcie_is_a_ring_through_the_host_without_peer_access() -> None:
    level = network("l40s-node", "l40s").communicator(4).inner
    assert (level.steps, level.connected, level.in_network) == (3.0, 0.0, 0.0)
    assert level.bandwidth == pytest.approx(usable("pcie4-x16"))


@pytest.mark.parametrize(
    ("system", "device", "size", "links"),
    [
        ("tpu-v5e-4", "tpu-v5e", 4, 2),  # 2x2: no axis of 16, one link each way along each axis
        ("tpu-v5e-16", "tpu-v5e", 16, 2),  # 4x4: the corner has two links
        ("tpu-v5e-8", "tpu-v5e", 8, 2),
        ("tpu-v5e-8", "tpu-v5e", 4, 1),  # a line along the longer axis
        ("tpu-v5e-256", "tpu-v5e", 256, 4),  # 16x16 closes along both axes
        ("tpu-v5e-256", "tpu-v5e", 16, 2),  # one closed axis
        ("tpu-v5e-256", "tpu-v5e", 8, 1),  # half of it is a line
        ("tpu-v5p-64", "tpu-v5p", 64, 6),  # a whole cube of 4x4x4 closes
        ("tpu-v5p-128", "tpu-v5p", 128, 6),
        ("tpu-v5p-8", "tpu-v5p", 8, 3),  # 2x2x2 does not
        ("tpu-v4-32", "tpu-v4", 32, 3),  # 2x4x4 is less than a cube
        ("trn1.32xlarge", "trainium1", 16, 4),  # the torus of a node is wired closed
    ],
)
def test_links_of_torus_slices(system: str, device: str, size: int, links: int) -> None:
    """Links that a slice can use at its corner; each is the port over twice the dimensions."""
    net = network(system, device)
    each = net.port_bytes_per_s / (2 * len(net.group.shape))
    level = net.communicator(size).inner
    assert level.bandwidth == pytest.approx(links * each)
    assert level.pair_bandwidth == pytest.approx(each)


def test_all_to_all_on_a_torus_is_bound_by_the_middle_cut() -> None:
    """16x16 closed: of M bytes per chip, a ring of 16 puts M x 16 / 8 on each link of the cut; 4x4 open: M x 4 / 4."""
    for system, size, load in (("tpu-v5e-256", 256, 2.0), ("tpu-v5e-16", 16, 1.0)):
        net = network(system, "tpu-v5e")
        level = net.communicator(size).inner
        link = net.port_bytes_per_s / 4.0
        assert (size - 1.0) / size * level.spread / level.bandwidth == pytest.approx(load / link)


def test_members_apart_share_the_links_between_them() -> None:
    net = network("tpu-v5e-256", "tpu-v5e")
    side_by_side, apart = net.communicator(16, stride=16).inner, net.communicator(2, stride=8).inner
    assert side_by_side.bandwidth == pytest.approx(net.port_bytes_per_s / 2.0)
    # Two members eight apart on a ring of 16: both ways round, shared by eight such pairs.
    assert apart.bandwidth == pytest.approx(net.port_bytes_per_s / 2.0 / 8.0)
    assert apart.diameter == 8.0


@pytest.mark.parametrize(
    ("shape", "size", "stride", "expected"),
    [
        ((4, 4), 16, 1, [(4, 1), (4, 1)]),
        ((4, 4), 4, 1, [(1, 4), (4, 1)]),
        ((4, 4), 4, 4, [(4, 1), (1, 4)]),
        ((4, 4), 8, 2, [(4, 1), (2, 2)]),
        ((2, 4), 6, 1, [(2, 1), (3, 1)]),
        ((2, 4), 5, 1, [(1, 4), (5, 1)]),
        ((2, 2, 2), 8, 1, [(2, 1), (2, 1), (2, 1)]),
    ],
)
def test_members_along_each_axis(
    shape: tuple[int, ...], size: int, stride: int, expected: list[tuple[int, int]]
) -> None:
    found = sub_torus(shape, size, stride)
    assert [members for members, _ in found] == [members for members, _ in expected]
    assert [gap for members, gap in found if members > 1] == [gap for members, gap in expected if members > 1]


def test_refuses_more_devices_than_there_are() -> None:
    with pytest.raises(InputError, match="has 32 x h100-sxm-80gb; 64 are needed"):
        network("h100-superpod-32", "h100-sxm-80gb").communicator(8, stride=8)


def test_refuses_a_device_that_is_not_there() -> None:
    with pytest.raises(InputError, match="has no tpu-v5e; it has h100-sxm-80gb"):
        network("h100-superpod-32", "tpu-v5e")


def test_refuses_nodes_without_a_network() -> None:
    device = load_device("h100-sxm-80gb")
    spec = system_for(device, 8)
    alone = type(spec)(id="x", name="x", groups=spec.groups, host_link=spec.host_link, nodes=2)
    with pytest.raises(InputError, match="no network between nodes"):
        Network(alone, links_of(spec), device, spec.groups[0], range(16)).communicator(16)


def test_what_one_device_exchanges_with_others_of_its_node() -> None:
    """A mesh has one path for each pair, a torus one way out, a switch the whole port."""
    mesh, torus = network("mi300x-node", "mi300x"), network("tpu-v5e-8", "tpu-v5e")
    switch = network("dgx-h100", "h100-sxm-80gb")
    assert mesh.peer_bytes_per_s(4) == pytest.approx(mesh.port_bytes_per_s * 4 / 7)
    assert torus.peer_bytes_per_s(4) == pytest.approx(torus.port_bytes_per_s / 4)
    assert switch.peer_bytes_per_s(1) == switch.port_bytes_per_s
