"""Collectives: closed forms, monotony, and the two levels of a group."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.devices import load_device
from hardware_specs.systems import group_of, links_of, load_system, system_for
from simulator.kernels.collectives import Level, passes
from simulator.network.communicator import Communicator, collective_cost
from simulator.network.libraries import library_on
from simulator.network.topology import ALONE, Network
from workloads.operators import COLLECTIVES, OpKind

NCCL = library_on("nccl")
RING_KINDS = sorted(COLLECTIVES - {OpKind.SEND_RECV})


def net(system: str = "h100-superpod-32", device: str = "h100-sxm-80gb") -> Network:
    spec = load_system(system)
    group = group_of(spec, device)
    return Network(spec, links_of(spec), load_device(device), group, range(group.count * spec.nodes))


collective_cost(OpKind.ALL_REDUCE, 1.0, net().communicator(2))  # compile outside any deadline


def line(n: int) -> Communicator:
    """``n`` devices on a network of 1 GB/s without latency: the ring is all that is left."""
    return Communicator(n, 1, ALONE, Level(float(n), n - 1.0, 1.0, 1.0, 1e9, 1e9, 0.0, 0.0, 0.0), NCCL)


@pytest.mark.parametrize("n", [2, 3, 8, 64])
def test_large_all_reduce_takes_the_ring_formula(n: int) -> None:
    """2 (n - 1) / n x message / bandwidth, at the efficiency of Simple."""
    message = 1e12
    cost = collective_cost(OpKind.ALL_REDUCE, message, line(n))
    assert cost.outer_bytes == pytest.approx(2.0 * (n - 1) / n * message / NCCL.network_simple_efficiency)
    assert cost.seconds == pytest.approx(cost.outer_bytes / 1e9, rel=1e-3)
    assert cost.algorithm == "ring"


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        (OpKind.ALL_REDUCE, 1.5), (OpKind.ALL_GATHER, 0.75), (OpKind.REDUCE_SCATTER, 0.75), (OpKind.ALL_TO_ALL, 0.75),
        (OpKind.SEND_RECV, 1.0),
    ],
)  # fmt: skip
def test_share_of_the_message_that_a_rank_sends(kind: OpKind, share: float) -> None:
    assert passes(int(kind), 4.0) == share
    assert passes(int(kind), 1.0) == 0.0


@given(st.sampled_from(sorted(COLLECTIVES)), st.floats(1.0, 1e10), st.floats(1.0, 4.0), st.sampled_from([2, 4, 8, 16]))
def test_larger_messages_never_take_less(kind: OpKind, message: float, factor: float, size: int) -> None:
    group = net().communicator(size)
    assert collective_cost(kind, message * factor, group).seconds >= collective_cost(kind, message, group).seconds


@given(st.sampled_from(RING_KINDS), st.floats(1.0, 1e10))
def test_two_nodes_take_at_least_as_long_as_what_stays_inside_one(kind: OpKind, message: float) -> None:
    inside = message / 2.0 if kind == OpKind.ALL_TO_ALL else message
    one = collective_cost(kind, inside, net().communicator(8))
    assert collective_cost(kind, message, net().communicator(16)).seconds >= one.seconds * (1.0 - 1e-12)


@given(st.sampled_from(sorted(COLLECTIVES)), st.floats(1.0, 1e10), st.sampled_from([2, 8, 16, 32]))
def test_never_faster_than_the_bytes_allow(kind: OpKind, message: float, size: int) -> None:
    group = net().communicator(size)
    cost = collective_cost(kind, message, group)
    assert cost.seconds >= max(cost.inner_bytes / group.inner.bandwidth, cost.outer_bytes / group.outer.bandwidth)
    assert cost.seconds == pytest.approx(
        cost.startup_s + max(cost.inner_bytes / group.inner.bandwidth, cost.outer_bytes / group.outer.bandwidth)
    )


@given(st.sampled_from(RING_KINDS), st.floats(1e3, 1e10), st.floats(1.0, 8.0))
def test_more_bandwidth_is_never_slower(kind: OpKind, message: float, factor: float) -> None:
    group = net().communicator(16)
    wider = group.outer._replace(
        bandwidth=group.outer.bandwidth * factor, pair_bandwidth=group.outer.pair_bandwidth * factor
    )
    faster = collective_cost(kind, message, group._replace(outer=wider)).seconds
    assert faster <= collective_cost(kind, message, group).seconds


def test_a_group_of_one_costs_nothing() -> None:
    assert collective_cost(OpKind.ALL_REDUCE, 1e9, Communicator(1, 1, ALONE, ALONE, NCCL)) == (
        0.0,
        0.0,
        0.0,
        0.0,
        "none",
    )


@pytest.mark.parametrize(
    ("tokens", "devices", "dispatch_s", "combine_s", "within"),
    [
        (128, 16, 118e-6, 195e-6, 0.1),
        (128, 64, 173e-6, 314e-6, 0.1),
        (128, 256, 194e-6, 360e-6, 0.1),
        (4096, 32, 1.55e-3, 3.15e-3, 0.25),
    ],
)
def test_experts_exchange_as_deepep_measured(
    tokens: int, devices: int, dispatch_s: float, combine_s: float, within: float
) -> None:
    """docs/legacy.md of DeepEP 1: H800 at 50 GB/s each, 7,168 values a token, 8 experts; its normal kernels move 58 and
    57 GB/s over 32 devices, to about three nodes a token."""
    spec = load_device("h800-sxm-80gb")
    system = system_for(spec, devices)
    network = Network(system, links_of(system), spec, group_of(system, spec.id), range(devices))
    group = network.communicator(devices, 1, "deepep")
    cost = collective_cost(OpKind.ALL_TO_ALL, tokens * 8 * 7168 * 2.0, group)
    assert cost.seconds == pytest.approx((dispatch_s + combine_s) / 2.0, rel=within)
