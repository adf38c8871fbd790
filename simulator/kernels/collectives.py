"""Closed forms of collectives: start-up time and bytes per link, the cheapest algorithm chosen per call.

A group has two levels: ``inner`` members reach each other over one link kind (NVLink in a node), ``outer`` joins
the inner groups (network rails, or the uplinks of PCIe switches). The chunks of a hierarchical collective are
pipelined over both levels, hence

    seconds = startup + max(inner_bytes / inner.bandwidth, outer_bytes / outer.bandwidth)

Byte counts are wire bytes: payload divided by the efficiency of the protocol that carries it. What a collective
library adds to the links (start-up times, efficiencies, the kernels that it has) is in ``Library``; the numbers are
data, see ``workloads.collectives``.

A protocol moves data with its own handshake: LL sends 8 bytes for 4 and needs no fence, LL128 sends 128 for 120,
Simple fills whole chunks of a buffer and then raises a flag. So a message starts on LL, where a hop costs least, and
ends on Simple, where a byte does. Every time is increasing and concave in the message, hence the cheapest one is,
and continuous where one protocol follows another.

Sources: R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of collective communication operations in MPICH",
IJHPCA 19(1), 2005 (ring, tree); E. Chan et al., "Collective communication: theory, practice, and experience",
Concurrency and Computation 19(13), 2007 (bucket algorithm on meshes); Z. Hu et al., "Demystifying NCCL", arXiv
2507.04786, 2025 (protocols, channels, steps of the ring); NCCL src/graph/tuning.cc, commit 5067397 (the model by
which NCCL chooses).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from workloads.operators import OpKind

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ALGORITHMS: Final = ("none", "ring", "tree", "one-shot", "two-shot", "in-switch", "direct")
"""Names of the algorithm codes that ``collective_cost`` returns."""
NONE, RING, TREE, ONE_SHOT, TWO_SHOT, IN_SWITCH, DIRECT = range(7)

ALL_REDUCE: Final = int(OpKind.ALL_REDUCE)
ALL_GATHER: Final = int(OpKind.ALL_GATHER)
REDUCE_SCATTER: Final = int(OpKind.REDUCE_SCATTER)
ALL_TO_ALL: Final = int(OpKind.ALL_TO_ALL)
SEND_RECV: Final = int(OpKind.SEND_RECV)

CHAIN: Final = 8.0
"""Devices that a tree visits one after the other (one host) before it branches."""


class Level(NamedTuple):
    """How the members of a group reach each other at one level.

    ``steps``: hops of one trip round (ring: size - 1; torus: sum of extents less one each). ``diameter``: hops
    between the farthest members. ``spread``: bytes an all-to-all puts on the links for each byte it delivers
    (1 where every pair has its own path). ``bandwidth``: all links of one device that the group can use, per
    direction [B/s]; ``pair_bandwidth``: between two members [B/s]; ``latency`` of one hop [s]. ``connected``
    and ``in_network`` are 1.0 for: every pair one hop apart; switches that reduce.
    """

    size: float
    steps: float
    diameter: float
    spread: float
    bandwidth: float
    pair_bandwidth: float
    latency: float
    connected: float
    in_network: float


class Library(NamedTuple):
    """What a collective library adds to the links between the devices.

    Fields as ``workloads.collectives.record.VALUES`` says: times in seconds, rates in B/s, sizes in bytes;
    efficiencies relative to the rate of a plain copy, hops to the latency of the link. ``flat_ring`` is 1.0 for: one
    ring runs through all ranks of all nodes.
    """

    setup: float
    ll128_start: float
    simple_start: float
    ll128_hop: float
    simple_hop: float
    ll_efficiency: float
    ll128_efficiency: float
    simple_efficiency: float
    fill: float
    own_share: float
    network_ll128_hop: float
    network_simple_hop: float
    network_ll_efficiency: float
    network_ll128_efficiency: float
    network_simple_efficiency: float
    in_switch_start: float
    in_switch_efficiency: float
    pair_start: float
    pair_peer: float
    pair_ll_rate: float
    pair_simple_start: float
    pair_efficiency: float
    pair_own_share: float
    pair_ll_crossing: float
    pair_crossing: float
    pair_across_start: float
    send_simple_start: float
    send_efficiency: float
    one_shot_start: float
    one_shot_peer: float
    one_shot_efficiency: float
    one_shot_most: float
    two_shot_start: float
    two_shot_peer: float
    two_shot_efficiency: float
    two_shot_most: float
    arrival: float
    flat_ring: float


Cost = tuple[float, float, float, float, int]
"""Seconds, start-up, wire bytes of one device on the inner and the outer level, algorithm."""


@njit(cache=True)
def passes(kind: int, n: float) -> float:
    """Share of the message that every one of ``n`` ranks sends in the ring (bucket) algorithm.

    All-reduce 2 (n - 1) / n, all-gather, reduce-scatter and all-to-all (n - 1) / n, send/recv 1.
    """
    if n <= 1.0:
        return 0.0
    if kind == SEND_RECV:
        return 1.0
    return (2.0 if kind == ALL_REDUCE else 1.0) * (n - 1.0) / n


@njit(cache=True)
def in_pieces(payload: float, fill: float) -> float:
    """Bytes that take as long as ``payload`` sent in pieces of the best size, shape as given [B].

    Pieces of c bytes, each with an overhead of o bytes, through k stages: (W / c + k) (c + o) is least for
    c = sqrt(W o / k): W + 2 sqrt(k o W) + k o. ``fill`` is k o; the last term belongs to the start.
    """
    return payload + 2.0 * math.sqrt(fill * payload)


@njit(cache=True)
def _cheaper(
    best: Cost, startup: float, inner_bytes: float, outer_bytes: float, algorithm: int, inner: Level, outer: Level
) -> Cost:
    seconds = startup + max(inner_bytes / inner.bandwidth, outer_bytes / outer.bandwidth)
    return (seconds, startup, inner_bytes, outer_bytes, algorithm) if seconds < best[0] else best


@njit(cache=True)
def _tree_steps(size: float) -> float:
    if size <= CHAIN:
        return size - 1.0
    return CHAIN - 1.0 + math.ceil(math.log2(size / CHAIN))


@njit(cache=True)
def _reducing(kind: int, message: float, inner: Level, outer: Level, library: Library) -> Cost:
    """Ring and, for all-reduce, tree: each of the three protocols on both levels."""
    best = (math.inf, 0.0, 0.0, 0.0, NONE)
    trips = 2.0 if kind == ALL_REDUCE else 1.0
    nodes, total = outer.size, inner.size * outer.size
    own = library.own_share / inner.size if inner.size > 1.0 else 0.0
    inside = (passes(kind, inner.size) + own) * message
    a_ring, b_ring, around = inside, passes(kind, nodes) * message / inner.size, inner.steps
    if library.flat_ring > 0.0 and nodes > 1.0:
        # One ring through all ranks: of the hops in each node one leaves it.
        a_ring = (passes(kind, total) * (inner.size - 1.0) / inner.size + own) * message
        b_ring, around = passes(kind, total) * message / inner.size, inner.steps * nodes
    starts = (0.0, library.ll128_start, library.simple_start)
    hops = (1.0, library.ll128_hop, library.simple_hop)
    network_hops = (1.0, library.network_ll128_hop, library.network_simple_hop)
    efficiency = (library.ll_efficiency, library.ll128_efficiency, library.simple_efficiency)
    network = (library.network_ll_efficiency, library.network_ll128_efficiency, library.network_simple_efficiency)
    for p in range(3):
        start = library.setup + starts[p]
        rounds = around * inner.latency * hops[p] + outer.steps * outer.latency * network_hops[p]
        fill = library.fill if p == 2 else 0.0
        a, b = in_pieces(a_ring, fill) / efficiency[p], b_ring / network[p]
        best = _cheaper(best, start + trips * rounds, a, b, RING, inner, outer)
        if kind == ALL_REDUCE and (nodes > 2.0 or inner.size > CHAIN):
            inner_steps = _tree_steps(inner.size) if inner.connected > 0.0 else inner.steps
            outer_steps = math.ceil(math.log2(nodes)) if outer.connected > 0.0 else outer.steps
            depth = inner_steps * inner.latency * hops[p] + outer_steps * outer.latency * network_hops[p]
            # A rank of the double binary tree sends every byte up once and down once.
            a = in_pieces(2.0 * message if inner.size > CHAIN else inside, fill) / efficiency[p]
            b = 2.0 * message / inner.size / network[p] if nodes > 2.0 else b
            best = _cheaper(best, start + 2.0 * depth, a, b, TREE, inner, outer)
    return best


@njit(cache=True)
def _in_switch(best: Cost, message: float, inner: Level, outer: Level, library: Library) -> Cost:
    """All-reduce by the switch of each node, and a tree over the nodes with a share of the message on each rail.

    Every rank sends its tensor to the switch once and the sum of its share back: S (1 + 1/n).
    """
    wire = message * (1.0 + 1.0 / inner.size) / library.in_switch_efficiency
    start, between = library.setup + library.in_switch_start + inner.latency, 0.0
    if outer.size > 1.0:
        start += 2.0 * math.ceil(math.log2(outer.size)) * outer.latency * library.network_simple_hop
        # Of two nodes each sends its share once; in a larger tree it goes up and down.
        between = message / inner.size * (1.0 if outer.size <= 2.0 else 2.0) / library.network_simple_efficiency
    return _cheaper(best, start, wire, between, IN_SWITCH, inner, outer)


@njit(cache=True)
def _over_peer_memory(best: Cost, message: float, inner: Level, outer: Level, library: Library) -> Cost:
    """All-reduce by kernels that read and write the memory of their peers."""
    n = inner.size
    if message <= library.one_shot_most:
        start = library.one_shot_start + (n - 1.0) * library.one_shot_peer
        wire = (n - 1.0) * message / library.one_shot_efficiency
        best = _cheaper(best, start, wire, 0.0, ONE_SHOT, inner, outer)
    if message <= library.two_shot_most:
        start = library.two_shot_start + (n - 1.0) * library.two_shot_peer
        wire = passes(ALL_REDUCE, n) * message / library.two_shot_efficiency
        best = _cheaper(best, start, wire, 0.0, TWO_SHOT, inner, outer)
    return best


@njit(cache=True)
def _pairwise(kind: int, message: float, inner: Level, outer: Level, library: Library) -> Cost:
    """All-to-all and send/recv: straight to the receivers. A send of a group over several nodes crosses them."""
    best = (math.inf, 0.0, 0.0, 0.0, NONE)
    total = inner.size * outer.size
    a, b, own, to_one, peers, ll_crossing, crossing = 0.0, 0.0, 0.0, message, 1.0, 1.0, 1.0
    hop, efficiency, simple_start = outer.latency, library.send_efficiency, library.send_simple_start
    if kind == ALL_TO_ALL:
        to_one, peers = message / total, total - 1.0
        hop = max(inner.diameter * inner.latency, outer.diameter * outer.latency)
        efficiency, simple_start = library.pair_efficiency, library.pair_simple_start
        ll_crossing, crossing = library.pair_ll_crossing, library.pair_crossing
        simple_start += library.pair_across_start if outer.size > 1.0 else 0.0
        a = to_one * (inner.size - 1.0) * inner.spread
        b = to_one * (total - inner.size) * outer.spread
        own = to_one * library.pair_own_share if inner.size > 1.0 else 0.0
    elif outer.size > 1.0:
        b = message * outer.bandwidth / outer.pair_bandwidth
    else:
        a, hop = message * inner.bandwidth / inner.pair_bandwidth, inner.latency
    start = library.setup + library.pair_start + (peers - 1.0) * library.pair_peer + hop
    # LL sends 8 bytes for 4, and has one channel for each peer.
    ll = max(2.0 * a, to_one * inner.bandwidth / library.pair_ll_rate) if a > 0.0 else 0.0
    best = _cheaper(best, start, ll, b * ll_crossing / library.network_ll_efficiency, DIRECT, inner, outer)
    a, b = in_pieces(a + own, library.fill) / efficiency, b * crossing / library.network_simple_efficiency
    return _cheaper(best, start + simple_start, a, b, DIRECT, inner, outer)


@njit(cache=True)
def collective_cost(kind: int, message_bytes: float, inner: Level, outer: Level, library: Library) -> Cost:
    """The cheapest way to run one collective over ``inner.size`` x ``outer.size`` devices.

    Args:
        kind: an ``OpKind`` code of a collective.
        message_bytes: as ``Operator.message_bytes`` defines it for the kind [B].

    Returns:
        ``(seconds, startup_s, inner_bytes, outer_bytes, algorithm)``: wire bytes of one device per direction
        on either level [B], and the code of the algorithm. All 0 for a group of one.
    """
    if inner.size * outer.size <= 1.0:
        return (0.0, 0.0, 0.0, 0.0, NONE)
    if kind == SEND_RECV:
        return _pairwise(kind, message_bytes, inner, outer, library)
    if kind == ALL_TO_ALL:
        best = _pairwise(kind, message_bytes, inner, outer, library)
    else:
        best = _reducing(kind, message_bytes, inner, outer, library)
        if kind == ALL_REDUCE and inner.in_network > 0.0 and inner.size > 2.0:
            best = _in_switch(best, message_bytes, inner, outer, library)
        if kind == ALL_REDUCE and inner.connected > 0.0 and outer.size <= 1.0:
            best = _over_peer_memory(best, message_bytes, inner, outer, library)
    waits = max(0.0, library.arrival - best[0])
    return (best[0] + waits, best[1] + waits, best[2], best[3], best[4])


@njit(cache=True)
def collective_seconds(kind: Ints, message_bytes: Floats, inner: Level, outer: Level, library: Library) -> Floats:
    """``collective_cost`` of many calls over one communicator: seconds, shape as ``kind`` [s]."""
    seconds = np.empty(len(kind))
    for i in range(len(kind)):
        seconds[i] = collective_cost(kind[i], message_bytes[i], inner, outer, library)[0]
    return seconds
