"""Leaf switches: closed forms of what goes up, against every device and every message counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Mark
from hardware_specs.overrides import apply_overrides
from hardware_specs.records import SystemSpec
from hardware_specs.systems import group_of, links_of, load_system
from simulator.network.communicator import collective_cost
from simulator.network.leaves import Leaves, Upward, leaves_of
from simulator.network.topology import Network
from workloads.operators import OpKind


def fact(value: float) -> Fact:
    return Fact(float(value), "number", f"{value:g}", Mark.ASSUMED, "test")


def pod(rails: float = 0, nodes: float = 0, ratio: float = 4.0, system_nodes: int = 16) -> SystemSpec:
    """Nodes of eight H100, of which ``nodes`` hang on a leaf (0: not said)."""
    return msgspec.structs.replace(
        load_system("h100-superpod-32"),
        nodes=system_nodes,
        network_rails=fact(rails) if rails else None,
        network_leaf_nodes=fact(nodes) if nodes else None,
        network_oversubscription=fact(ratio),
    )


def network(system: SystemSpec) -> Network:
    group = group_of(system, "h100-sxm-80gb")
    device = load_device("h100-sxm-80gb")
    return Network(system, links_of(system), device, group, range(group.count * system.nodes))


def groups_of(devices: int, size: int, stride: int) -> Iterator[list[int]]:
    """Ranks of every communicator of an axis."""
    for block in range(0, devices, size * stride):
        for offset in range(stride):
            yield [block + offset + i * stride for i in range(size)]


def counted(leaves: Leaves, system_nodes: int, size: int, stride: int) -> Upward:
    """Busy time of the fullest way up, message by message, over that of a port."""
    run = leaves.devices // leaves.rails
    room = leaves.nodes * run / leaves.oversubscription

    def leaf(rank: int) -> tuple[int, int]:
        return rank // leaves.devices // leaves.nodes, rank % leaves.devices // run

    ring, pairs, send = Counter[tuple[int, int]](), Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    peers = 0
    for group in groups_of(system_nodes * leaves.devices, size, stride):
        by_node: dict[int, list[int]] = {}
        for rank in group:
            by_node.setdefault(rank // leaves.devices, []).append(rank)
        nodes = list(by_node.values())
        for i, members in enumerate(nodes):
            for mine, following in zip(members, nodes[(i + 1) % len(nodes)], strict=True):
                ring[leaf(mine)] += leaf(mine) != leaf(following)
        for mine in group:
            others = [rank for rank in group if rank // leaves.devices != mine // leaves.devices]
            peers = len(others)
            pairs[leaf(mine)] += sum(leaf(rank) != leaf(mine) for rank in others)
        for mine, following in pairwise(group):
            if mine // leaves.devices != following // leaves.devices:
                send[leaf(mine)] += leaf(mine) != leaf(following)
    most = [max(tally.values(), default=0) / room for tally in (ring, pairs, send)]
    return Upward(most[0], most[1] / max(peers, 1), most[2])


@given(
    rails=st.sampled_from([1, 2, 4]), nodes=st.sampled_from([1, 2, 4, 8]), size=st.sampled_from([2, 4, 8, 16, 32]),
    stride=st.sampled_from([1, 2, 4, 8, 16]), ratio=st.floats(1.0, 8.0),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_as_every_message_counted(rails: int, nodes: int, size: int, stride: int, ratio: float) -> None:
    devices, system_nodes = 4, 8
    if size * stride > devices * system_nodes:
        return
    leaves = Leaves(devices, rails, nodes, ratio)
    inner = max(1, min(size, devices // stride))
    ours, real = leaves.upward(size, stride, inner), counted(leaves, system_nodes, size, stride)
    assert ours.ring == pytest.approx(real.ring)
    assert ours.pairs == pytest.approx(real.pairs)
    if stride >= devices:
        assert ours.send == pytest.approx(real.send)
    else:
        assert ours.send >= real.send * (1.0 - 1e-12)


def test_an_all_reduce_over_one_rail_meets_no_oversubscription() -> None:
    wide, narrow = network(load_system("h100-superpod-32")), network(pod(rails=8, system_nodes=4))
    wide_group, group = wide.communicator(4, 8), narrow.communicator(4, 8)
    assert group.upward == Upward()
    assert group.outer == wide_group.outer
    # Without rails the same devices meet above their leaves.
    assert network(pod(system_nodes=4)).communicator(4, 8).outer.bandwidth == pytest.approx(
        wide_group.outer.bandwidth / 4.0
    )


def test_an_all_to_all_across_rails_goes_up() -> None:
    """Of 24 peers in other nodes 3 are on the same rail: 7/8 of the bytes find a quarter of the way up."""
    wide, narrow = network(load_system("h100-superpod-32")), network(pod(rails=8, system_nodes=4))
    size = 1e9
    alone, up = (collective_cost(OpKind.ALL_TO_ALL, size, each.communicator(32)) for each in (wide, narrow))
    assert narrow.communicator(32).upward.pairs == pytest.approx(4.0 * 7.0 / 8.0)
    assert (up.seconds - up.startup_s) == pytest.approx((alone.seconds - alone.startup_s) * 3.5, rel=1e-3)
    ring = [collective_cost(OpKind.ALL_REDUCE, size, each.communicator(32)).seconds for each in (wide, narrow)]
    assert ring[0] == ring[1]


def test_rings_over_several_leaves_enter_and_leave_each_once() -> None:
    """Sixteen nodes, four at a leaf, four times less up: a ring over all has as much as it needs; members a leaf apart
    do not."""
    system = network(pod(rails=8, nodes=4))
    assert system.communicator(16, 8).upward.ring == pytest.approx(1.0)
    assert system.communicator(16, 8).outer.bandwidth == pytest.approx(system.network_bytes_per_s)
    assert system.communicator(4, 32).outer.bandwidth == pytest.approx(system.network_bytes_per_s / 4.0)
    assert system.communicator(4, 8).upward == Upward()


def test_sends_to_a_stage_at_another_leaf() -> None:
    system = network(pod(rails=8, nodes=4))
    near, far = system.communicator(16, 8), system.communicator(4, 32)
    assert near.outer.pair_bandwidth == pytest.approx(system.network_bytes_per_s)
    assert far.outer.pair_bandwidth == pytest.approx(system.network_bytes_per_s / 4.0)


@given(st.floats(1.0, 16.0), st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4, 8, 16]))
def test_more_oversubscription_is_never_faster(ratio: float, rails: int, nodes: int) -> None:
    less, more = (network(pod(rails, nodes, by)) for by in (ratio, ratio * 1.5))
    for kind in (OpKind.ALL_REDUCE, OpKind.ALL_TO_ALL, OpKind.ALL_GATHER):
        for size, stride in ((128, 1), (16, 8), (8, 16)):
            costs = [collective_cost(kind, 1e8, each.communicator(size, stride)).seconds for each in (less, more)]
            assert costs[0] <= costs[1] * (1.0 + 1e-12)


def test_a_what_if_of_any_system() -> None:
    spec = apply_overrides(load_system("h100-superpod-32"), {"network_oversubscription": "4"}, "--set system.")
    assert leaves_of(spec, spec.groups[0]) == Leaves(8, 1, 1, 4.0)
    railed = apply_overrides(spec, {"network_rails": "8"}, "--set system.")
    assert leaves_of(railed, railed.groups[0]) == Leaves(8, 8, 4, 4.0)
    assert leaves_of(load_system("h100-superpod-32"), spec.groups[0]) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network_rails": fact(3.0)}, "network_rails 3: must divide the 8 devices"),
        ({"network_rails": fact(2.5)}, "network_rails 2.5: must be a whole number"),
        ({"network_leaf_nodes": fact(0.5)}, "network_leaf_nodes 0.5: must be a whole number"),
        ({"network_oversubscription": fact(0.5)}, "network_oversubscription 0.5: must be from 1"),
    ],
)
def test_refuses_leaves_that_cannot_be(changes: dict[str, Fact], said: str) -> None:
    with pytest.raises(InputError) as caught:
        network(msgspec.structs.replace(pod(), **changes)).communicator(16, 8)
    assert said in str(caught.value)


def test_a_system_file_says_it(tmp_path: Path) -> None:
    path = tmp_path / "railed.toml"
    path.write_text(
        'name = "x"\nhost_link = "pcie5-x16"\nnodes = 8\nnetwork = "ib-ndr"\n'
        'network_rails = { value = 8, assumed = "x" }\nnetwork_leaf_nodes = { value = 4, assumed = "x" }\n'
        'network_oversubscription = { value = 2, assumed = "x" }\n'
        '[[groups]]\ndevice = "h100-sxm-80gb"\ncount = 8\nlink = "nvlink4"\ntopology = "switch"\n'
    )
    spec = load_system(path)
    assert leaves_of(spec, spec.groups[0]) == Leaves(8, 8, 4, 2.0)
    broken = tmp_path / "broken.toml"
    broken.write_text(path.read_text().replace("value = 8", "value = 3"))
    with pytest.raises(InputError, match="network_rails 3: must divide"):
        load_system(broken)
