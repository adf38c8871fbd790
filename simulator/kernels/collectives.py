"""Closed forms of collectives: start-up time and bytes per link, the cheapest algorithm chosen per call.

A group has two levels: ``inner`` members reach each other over one link kind (NVLink in a node), ``outer`` joins
the inner groups (network rails, or the uplinks of PCIe switches). The chunks of a hierarchical collective are
pipelined over both levels, hence

    seconds = startup + max(inner_bytes / inner.bandwidth, outer_bytes / outer.bandwidth)

Byte counts are wire bytes: payload divided by the efficiency of the protocol that carries it.

Sources: R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of collective communication operations in MPICH",
IJHPCA 19(1), 2005 (ring, tree); E. Chan et al., "Collective communication: theory, practice, and experience",
Concurrency and Computation 19(13), 2007 (bucket algorithm on meshes); NCCL src/graph/tuning.cc, commit 5067397
(base latencies, protocol ratios, in-switch latency). Efficiencies are relative to the rate of a plain copy
between two devices (p2pBandwidthLatencyTest) and were set from NCCL 2.26-2.29 nccl-tests curves of A100, H100,
H200 and B200 at 2, 4 and 8 devices.
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

BASE_S: Final = 6.6e-6
"""Launch and protocol set-up of one collective [s]: NCCL baseLatencies Ring/LL."""

# Protocols LL, LL128, Simple: time beyond BASE_S [s] (NCCL 14.0 - 6.6 us; the fill of the first chunk of Simple
# from the curves), latency of a hop relative to LL, and efficiency on device links and on network links
# (LL sends 8 bytes for 4; LL128 sends 128 for 120; NCCL llMaxBws caps LL near 0.37 of a link's copy rate).
PROTOCOL_BASE_S: Final = (0.0, 7.4e-6, 10.0e-6)
PROTOCOL_HOP: Final = (1.0, 2.0, 3.4)
DEVICE_EFFICIENCY: Final = (0.37, 0.76, 0.84)
NETWORK_EFFICIENCY: Final = (0.5, 0.92, 1.0)

IN_SWITCH_S: Final = 25e-6
"""Latency of an in-switch reduction beyond BASE_S [s]: NCCL hwLatencies NVLS/Simple."""
IN_SWITCH_EFFICIENCY: Final = 0.70
"""Of the copy rate; from 512 MiB all-reduce curves of H100, H200 and B200 with 8 devices."""

DIRECT_BASE_S: Final = 2.5e-6
"""One barrier and launch of a one-shot all-reduce kernel [s]: TensorRT-LLM custom all-reduce, H100, 256 B."""
DIRECT_EFFICIENCY: Final = 0.80
DIRECT_MOST_BYTES: Final = 8.0 * 2**20
"""Largest message that serving stacks give to their own all-reduce kernels [B]."""
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
def _cheaper(
    best: tuple[float, float, float, float, int],
    startup: float,
    inner_bytes: float,
    outer_bytes: float,
    algorithm: int,
    inner: Level,
    outer: Level,
) -> tuple[float, float, float, float, int]:
    seconds = startup + max(inner_bytes / inner.bandwidth, outer_bytes / outer.bandwidth)
    return (seconds, startup, inner_bytes, outer_bytes, algorithm) if seconds < best[0] else best


@njit(cache=True)
def _tree_steps(size: float) -> float:
    if size <= CHAIN:
        return size - 1.0
    return CHAIN - 1.0 + math.ceil(math.log2(size / CHAIN))


@njit(cache=True)
def _reducing(
    kind: int, message: float, inner: Level, outer: Level, base_s: float
) -> tuple[float, float, float, float, int]:
    """Ring and, for all-reduce, tree: each of the three protocols on both levels."""
    best = (math.inf, 0.0, 0.0, 0.0, NONE)
    trips = 2.0 if kind == ALL_REDUCE else 1.0
    inner_payload = passes(kind, inner.size) * message
    outer_payload = passes(kind, outer.size) * message / inner.size
    for p in range(3):
        start = base_s + PROTOCOL_BASE_S[p]
        rounds = inner.steps * inner.latency + outer.steps * outer.latency
        a, b = inner_payload / DEVICE_EFFICIENCY[p], outer_payload / NETWORK_EFFICIENCY[p]
        best = _cheaper(best, start + trips * rounds * PROTOCOL_HOP[p], a, b, RING, inner, outer)
        if kind == ALL_REDUCE and (outer.size > 2.0 or inner.size > CHAIN):
            inner_steps = _tree_steps(inner.size) if inner.connected > 0.0 else inner.steps
            outer_steps = math.ceil(math.log2(outer.size)) if outer.connected > 0.0 else outer.steps
            depth = inner_steps * inner.latency + outer_steps * outer.latency
            # A rank of the double binary tree sends every byte up once and down once.
            a_tree = 2.0 * message / DEVICE_EFFICIENCY[p] if inner.size > CHAIN else a
            b_tree = 2.0 * message / inner.size / NETWORK_EFFICIENCY[p] if outer.size > 2.0 else b
            best = _cheaper(best, start + 2.0 * depth * PROTOCOL_HOP[p], a_tree, b_tree, TREE, inner, outer)
    return best


@njit(cache=True)
def _in_place(
    best: tuple[float, float, float, float, int],
    message: float,
    inner: Level,
    outer: Level,
    base_s: float,
    direct: bool,
) -> tuple[float, float, float, float, int]:
    """All-reduce inside one connected domain: by the switch, or by kernels that read their peers' memory."""
    n = inner.size
    if inner.in_network > 0.0 and n > 2.0:
        # Every rank sends its tensor to the switch once and the sum of its share back: S (1 + 1/n).
        wire = message * (1.0 + 1.0 / n) / IN_SWITCH_EFFICIENCY
        best = _cheaper(best, base_s + IN_SWITCH_S + inner.latency, wire, 0.0, IN_SWITCH, inner, outer)
    if direct and inner.connected > 0.0 and message <= DIRECT_MOST_BYTES:
        one, two = (n - 1.0) * message, 2.0 * (n - 1.0) / n * message
        wire_one, wire_two = one / DIRECT_EFFICIENCY, two / DIRECT_EFFICIENCY
        best = _cheaper(best, DIRECT_BASE_S + inner.latency, wire_one, 0.0, ONE_SHOT, inner, outer)
        best = _cheaper(best, 2.0 * (DIRECT_BASE_S + inner.latency), wire_two, 0.0, TWO_SHOT, inner, outer)
    return best


@njit(cache=True)
def _pairwise(
    kind: int, message: float, inner: Level, outer: Level, base_s: float
) -> tuple[float, float, float, float, int]:
    """All-to-all and send/recv: straight to the receivers. A send of a group over several nodes crosses them."""
    best = (math.inf, 0.0, 0.0, 0.0, NONE)
    total = inner.size * outer.size
    latency = max(inner.diameter * inner.latency, outer.diameter * outer.latency)
    a, b = 0.0, 0.0
    if kind == ALL_TO_ALL:
        a = message * (inner.size - 1.0) / total * inner.spread
        b = message * (total - inner.size) / total * outer.spread
    elif outer.size > 1.0:
        b, latency = message * outer.bandwidth / outer.pair_bandwidth, outer.latency
    else:
        a, latency = message * inner.bandwidth / inner.pair_bandwidth, inner.latency
    for p in range(3):
        start = base_s + PROTOCOL_BASE_S[p] + latency * PROTOCOL_HOP[p]
        best = _cheaper(best, start, a / DEVICE_EFFICIENCY[p], b / NETWORK_EFFICIENCY[p], DIRECT, inner, outer)
    return best


@njit(cache=True)
def collective_cost(
    kind: int, message_bytes: float, inner: Level, outer: Level, base_s: float, direct: bool
) -> tuple[float, float, float, float, int]:
    """The cheapest way to run one collective over ``inner.size`` x ``outer.size`` devices.

    Args:
        kind: an ``OpKind`` code of a collective.
        message_bytes: as ``Operator.message_bytes`` defines it for the kind [B].
        base_s: launch and set-up of one collective [s].
        direct: the software has one- and two-shot all-reduce kernels for small messages.

    Returns:
        ``(seconds, startup_s, inner_bytes, outer_bytes, algorithm)``: wire bytes of one device per direction
        on either level [B], and the code of the algorithm. All 0 for a group of one.
    """
    if inner.size * outer.size <= 1.0:
        return (0.0, 0.0, 0.0, 0.0, NONE)
    if kind in (ALL_TO_ALL, SEND_RECV):
        return _pairwise(kind, message_bytes, inner, outer, base_s)
    best = _reducing(kind, message_bytes, inner, outer, base_s)
    if kind == ALL_REDUCE and outer.size <= 1.0:
        best = _in_place(best, message_bytes, inner, outer, base_s, direct)
    return best


@njit(cache=True)
def collective_seconds(
    kind: Ints, message_bytes: Floats, inner: Level, outer: Level, base_s: float, direct: bool
) -> Floats:
    """``collective_cost`` of many calls over one communicator: seconds, shape as ``kind`` [s]."""
    seconds = np.empty(len(kind))
    for i in range(len(kind)):
        seconds[i] = collective_cost(kind[i], message_bytes[i], inner, outer, base_s, direct)[0]
    return seconds
