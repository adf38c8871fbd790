"""The law of collectives: limits, monotony, continuity, and which algorithm may run where."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.kernels.collectives import ALGORITHMS, Level, Library, collective_cost, collective_seconds, passes
from simulator.network.libraries import library_on
from simulator.network.topology import ALONE
from workloads.collectives.catalogue import library_names
from workloads.operators import COLLECTIVES, OpKind

BANDWIDTH, LATENCY = 373.5e9, 0.8e-6
NVLINK4 = library_on("nccl", "scale-up", "nvlink4")
RINGS = (OpKind.ALL_REDUCE, OpKind.ALL_GATHER, OpKind.REDUCE_SCATTER)


def switch(n: int, reduces: bool = False) -> Level:
    return Level(float(n), n - 1.0, 1.0, 1.0, BANDWIDTH, BANDWIDTH, LATENCY, 1.0, float(reduces))


def seconds(kind: OpKind, message: float, level: Level, library: Library = NVLINK4, outer: Level = ALONE) -> float:
    return float(collective_cost(int(kind), message, level, outer, library)[0])


seconds(OpKind.ALL_REDUCE, 1.0, switch(2))  # compile outside any deadline


@pytest.mark.parametrize("n", [2, 4, 8])
@pytest.mark.parametrize("kind", RINGS)
def test_a_tiny_ring_takes_setup_and_its_hops(kind: OpKind, n: int) -> None:
    trips = 2.0 if kind == OpKind.ALL_REDUCE else 1.0
    assert seconds(kind, 1e-3, switch(n)) == pytest.approx(NVLINK4.setup + trips * (n - 1) * LATENCY, rel=1e-6)


@pytest.mark.parametrize("n", [2, 4, 8])
@pytest.mark.parametrize("kind", RINGS)
def test_a_huge_ring_runs_at_the_bus_bandwidth(kind: OpKind, n: int) -> None:
    message = 1e14
    share = passes(int(kind), float(n)) + NVLINK4.own_share / n
    rate = message * share / seconds(kind, message, switch(n))
    assert rate == pytest.approx(NVLINK4.simple_efficiency * BANDWIDTH, rel=1e-3)


def test_half_of_the_bandwidth_is_reached_where_start_and_bytes_take_as_long() -> None:
    """n_1/2 of a line: half the rate of endless messages at start x rate bytes."""
    line = NVLINK4._replace(fill=0.0, ll_efficiency=1e-6, ll128_efficiency=1e-6, pair_ll_rate=1.0)
    start = line.setup + line.pair_start + LATENCY + line.send_simple_start
    half = start * line.send_efficiency * BANDWIDTH
    assert half / seconds(OpKind.SEND_RECV, half, switch(2), line) == pytest.approx(
        0.5 * line.send_efficiency * BANDWIDTH
    )


@given(
    st.sampled_from(library_names()), st.sampled_from(sorted(COLLECTIVES)), st.integers(2, 8), st.booleans(),
    st.floats(1.0, 1e10), st.floats(1.0, 4.0),
)  # fmt: skip
def test_larger_messages_never_take_less(
    name: str, kind: OpKind, n: int, reduces: bool, message: float, factor: float
) -> None:
    library = library_on(name)
    less, more = (seconds(kind, size, switch(n, reduces), library) for size in (message, message * factor))
    assert more >= less * (1.0 - 1e-12)


@given(st.sampled_from(sorted(COLLECTIVES)), st.integers(2, 63), st.floats(1.0, 1e10))
def test_more_devices_never_take_less_by_the_same_algorithm(kind: OpKind, n: int, message: float) -> None:
    """In the switch more devices do take less: each sends a smaller share of the sum back."""
    few, more = (
        collective_cost(int(kind), message, switch(size), ALONE, NVLINK4) for size in (n, n + 1)
    )  # fmt: skip
    if few[4] == more[4]:
        assert more[0] >= few[0] * (1.0 - 1e-12)


@given(st.sampled_from(sorted(COLLECTIVES)), st.integers(2, 8), st.floats(1.0, 1e10))
def test_protocols_follow_each_other_without_a_jump(kind: OpKind, n: int, message: float) -> None:
    before, after = (seconds(kind, message * factor, switch(n, True)) for factor in (1.0 - 1e-9, 1.0 + 1e-9))
    assert after == pytest.approx(before, rel=1e-8)


def test_each_protocol_has_its_sizes() -> None:
    """LL, LL128 and Simple in turn: the slope over the message falls twice by more than half."""
    sizes = np.array([2.0**10, 2.0**18, 2.0**30])
    kinds = np.full(6, int(OpKind.ALL_REDUCE))
    times = collective_seconds(kinds, np.repeat(sizes, 2) * np.tile([1.0, 1.01], 3), switch(4), ALONE, NVLINK4)
    slopes = np.diff(times)[::2] / (0.01 * sizes)
    assert slopes[1] < 0.5 * slopes[0]
    assert slopes[2] < 0.5 * slopes[1]


def algorithm(message: float, level: Level, library: Library = NVLINK4, outer: Level = ALONE) -> str:
    return ALGORITHMS[collective_cost(int(OpKind.ALL_REDUCE), message, level, outer, library)[4]]


def test_only_switches_that_reduce_do_so_and_only_from_the_size_and_count_where_it_pays() -> None:
    assert algorithm(1e9, switch(8, True)) == "in-switch"
    assert algorithm(1e9, switch(8, False)) == "ring"
    assert algorithm(1e5, switch(8, True)) == "ring"
    assert algorithm(1e9, switch(2, True)) == "ring"


def test_a_tree_of_switches_reduces_over_nodes() -> None:
    """Two nodes: each rail carries its share of the message once, half of what a ring through all ranks puts there."""
    rails = Level(2.0, 1.0, 1.0, 1.0, 46e9, 46e9, 2.7e-6, 1.0, 0.0)
    kind, message = int(OpKind.ALL_REDUCE), 1e10
    reduced = collective_cost(kind, message, switch(8, True), rails, NVLINK4)
    ring = collective_cost(kind, message, switch(8, False), rails, NVLINK4)
    assert (ALGORITHMS[reduced[4]], ALGORITHMS[ring[4]]) == ("in-switch", "ring")
    assert reduced[3] == pytest.approx(message / 8.0)
    assert ring[3] == pytest.approx(2.0 * 15.0 / 16.0 * message / 8.0)


def test_kernels_over_peer_memory_take_small_messages_of_connected_devices() -> None:
    custom = library_on("custom-all-reduce", "scale-up", "nvlink4")
    assert algorithm(1e4, switch(8), custom) == "one-shot"
    assert algorithm(1e4, switch(8)) == "ring"
    assert algorithm(1e4, switch(8)._replace(connected=0.0), custom) == "ring"
    assert algorithm(custom.one_shot_most + 1.0, switch(2), custom) == "ring"


def test_pieces_of_the_best_size_cost_the_square_root() -> None:
    """Least over the piece size of (W / c + k)(c + o), less the start k o."""
    w, stages, overhead = 1e8, 6.0, 2e4
    pieces = np.geomspace(1e3, 1e8, 20_000)
    best = ((w / pieces + stages) * (pieces + overhead)).min() - stages * overhead
    library = NVLINK4._replace(fill=stages * overhead, pair_ll_rate=1.0, send_efficiency=1.0)
    start = library.setup + library.pair_start + LATENCY + library.send_simple_start
    assert (seconds(OpKind.SEND_RECV, w, switch(2), library) - start) * BANDWIDTH == pytest.approx(best, rel=1e-6)


def test_a_collective_waits_for_its_last_rank_but_a_send_does_not() -> None:
    late = NVLINK4._replace(arrival=50e-6)
    assert seconds(OpKind.ALL_REDUCE, 1e3, switch(4), late) == pytest.approx(50e-6)
    assert seconds(OpKind.ALL_REDUCE, 1e9, switch(4), late) == seconds(OpKind.ALL_REDUCE, 1e9, switch(4))
    assert seconds(OpKind.SEND_RECV, 1e3, switch(2), late) < 50e-6


def test_an_all_to_all_over_ll_is_bound_by_its_channel_to_each_peer() -> None:
    message = 64e3
    slope = (seconds(OpKind.ALL_TO_ALL, message, switch(8)) - seconds(OpKind.ALL_TO_ALL, 1e-3, switch(8))) / message
    assert slope == pytest.approx(1.0 / 8.0 / NVLINK4.pair_ll_rate, rel=1e-6)
    assert math.isfinite(slope)
