"""Cards on PCIe: a ring that leaves its socket crosses what joins sockets."""

from __future__ import annotations

import pytest

from hardware_specs.devices import load_device
from hardware_specs.systems import group_of, links_of, load_system, system_for
from simulator.network.topology import Network

SOCKETS_BYTES_PER_S = 16e9


def cards(device: str, count: int, system: str = "") -> Network:
    spec = load_device(device)
    whole = load_system(system) if system else system_for(spec, count)
    return Network(whole, links_of(whole), spec, group_of(whole, device), range(count))


@pytest.mark.parametrize("system", ["", "l40s-node"])
def test_a_ring_over_both_sockets_is_bound_by_their_link(system: str) -> None:
    network = cards("l40s", 8, system)
    assert network.communicator(4).inner.bandwidth == network.port_bytes_per_s > SOCKETS_BYTES_PER_S
    assert network.communicator(8).inner.bandwidth == SOCKETS_BYTES_PER_S


def test_groups_across_sockets_share_it() -> None:
    assert cards("l40s", 8).communicator(2, stride=4).inner.bandwidth == SOCKETS_BYTES_PER_S / 4
    assert cards("l40s", 8).communicator(2, stride=2).inner.bandwidth > SOCKETS_BYTES_PER_S


def test_a_switch_knows_no_sockets() -> None:
    network = cards("h100-sxm-80gb", 8)
    assert network.communicator(8).inner.bandwidth == network.port_bytes_per_s
