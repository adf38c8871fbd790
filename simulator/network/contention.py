"""Exchanges that are under way at the same time: what they take when they share the links of a device.

All devices of a job do the same at the same time, so that the links of one stand for those of all: its share of the
links inside a node (``NODE``), its port to the network (``PORT``) and its part of the way up from the leaf switches
(``SPINE``). A *stream* is one exchange, or several in turn: its wire bytes, the seconds that it keeps each of these
busy when alone, and what it takes alone at least. On every tier streams share the bandwidth max-min fairly, as on the
Fabric of ``simulator.engine``: equal bytes per second, until one of them cannot use more.

Two questions, both for whole arrays of cases:

- ``together_s``: streams that start together, each in one piece. Rates change only where one starts to move or ends,
  so the ends are exact.
- ``exposed_s``: one stream beside a window of math that is interrupted by exchanges of its own, or has some beside it
  (gradients that are reduced during a backward with exchanges of tensor, context and expert parallel ranks and sends to
  the next stage; weights that FSDP gathers during all of them). Kinds of exchanges are mixed evenly through the window,
  which is exact as their pieces become many. Every part slows the other where both are on a link: what is hidden is
  not for free.

Left out: several streams beside one window at once (they count as one after the other, see ``in_turn``), and sends of
other stages, which are on other devices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from simulator.kernels.sharing import max_min_rates
from simulator.network.communicator import Communicator, collective_cost
from workloads.operators import COLLECTIVES, Operator, OpKind

Floats = npt.NDArray[np.float64]

SIZE, NODE, PORT, SPINE, ALONE, STARTUP = range(6)
"""Columns of a stream: wire bytes of a device [B]; seconds on each tier alone; time alone, and its start-up [s]."""
STREAM: Final = 6
SHOWN: Final = 6
"""Column of a kind of exchange behind those of its stream: seconds of it that no math hides [s]."""
KINDS: Final = ("tp", "cp", "ep", "pp")
"""Kinds of exchanges of a window, by the axis of the devices; those of "pp" are of one send."""
EXCHANGES: Final = (len(KINDS), STREAM + 1)
"""Shape of the exchanges of a window."""


def stream_of(
    kind: OpKind, message_bytes: float, group: Communicator, factor: float = 1.0, gap_s: float = 0.0
) -> Floats:  # fmt: skip
    """One collective as a stream, shape [6].

    Args:
        factor: of the runtime's kernels: what its collectives leave of a link is counted as used.
        gap_s: before it starts [s].
    """
    cost = collective_cost(kind, message_bytes, group)
    if cost.seconds == 0.0:
        return np.zeros(STREAM)
    inner_s = cost.inner_bytes / group.inner.bandwidth
    outer_s = cost.outer_bytes / group.outer.bandwidth
    if kind == OpKind.SEND_RECV:
        upward = group.upward.send
    else:
        upward = group.upward.pairs if kind == OpKind.ALL_TO_ALL else group.upward.ring
    longer = max(1.0, upward)
    size = max(cost.inner_bytes, cost.outer_bytes)
    on_links = (float(group.meets_inside) * inner_s, outer_s / longer, outer_s * upward / longer)
    alone = [size, *on_links, cost.seconds, cost.startup_s]
    found = np.array(alone) / factor
    found[[ALONE, STARTUP]] += gap_s
    return found


def in_turn(streams: Sequence[Floats]) -> Floats:
    """Streams one after the other as one, shape [..., 6]: every tier is as busy, spread over all of the time."""
    total: Floats = np.sum(np.stack(streams), axis=0) if streams else np.zeros(STREAM)
    return total


def exchanges_of(
    operators: Sequence[Operator], repeats: Floats, shown_s: Floats, groups: Mapping[str, Communicator],
    factor: float = 1.0, gap_s: float = 0.0, send_bytes: float = 0.0,
) -> Floats:  # fmt: skip
    """Exchanges of a micro-batch by kind, shape ``EXCHANGES``.

    Args:
        operators: of the graph; others than collectives are passed over.
        repeats: of each operator.
        shown_s: what of each operator shows once [s], shape as ``operators``; the rest of an exchange is beside math.
        groups: communicator of each axis.
        send_bytes: of a send to the next stage [B].
    """
    found = np.zeros(EXCHANGES)
    # Expert tensor parallel ranks exchange what tensor parallel ones do.
    rows = {axis: row for row, axis in enumerate(KINDS)} | {"etp": KINDS.index("tp")}
    for operator, times, shown in zip(operators, repeats.tolist(), shown_s.tolist(), strict=True):
        row = rows.get(operator.axis)
        if operator.kind not in COLLECTIVES or row is None or operator.axis not in groups:
            continue
        own = stream_of(operator.kind, operator.message_bytes, groups[operator.axis], factor, gap_s)
        found[row, :STREAM] += own * times
        found[row, SHOWN] += min(shown, float(own[ALONE])) * times
    if "pp" in groups and send_bytes > 0.0:
        row = KINDS.index("pp")
        found[row, :STREAM] = stream_of(OpKind.SEND_RECV, send_bytes, groups["pp"], factor, gap_s)
        found[row, SHOWN] = found[row, ALONE]
    return found


def together_s(streams: Floats) -> Floats:
    """When each of some streams that start together ends [s].

    Args:
        streams: shape [n, k, 6], k of them in each of n cases.

    Returns:
        Seconds, shape [n, k].
    """
    found = np.zeros(streams.shape[:2])
    if streams.size:
        _run_together(np.ascontiguousarray(streams, np.float64), found)
    return found


@njit(cache=True)
def _run_together(streams: Any, ends: Any) -> None:
    """Ends of the streams of every case, into ``ends`` [n, k]: from one start or end of a stream to the next."""
    cases, most = ends.shape
    tiers = 4
    for case in range(cases):
        rest = np.ones(most)
        now = 0.0
        started = streams[case, :, STARTUP]
        while True:
            moving = np.zeros(most, np.int64)
            count, nearest = 0, np.inf
            for k in range(most):
                if rest[k] <= 0.0:
                    continue
                if started[k] > now:
                    nearest = min(nearest, started[k])
                elif _whole(streams[case, k]) <= 0.0:
                    rest[k], ends[case, k] = 0.0, now
                else:
                    moving[count] = k
                    count += 1
            if count == 0:
                if nearest == np.inf:
                    break
                now = nearest
                continue
            starts = np.arange(count + 1) * tiers
            links, multiples = np.empty(count * tiers, np.int64), np.empty(count * tiers)
            used = 0
            for j in range(count):
                own = streams[case, moving[j]]
                starts[j] = used
                for tier in range(3):
                    if own[NODE + tier] > 0.0:
                        links[used], multiples[used] = tier, own[NODE + tier] / own[SIZE]
                        used += 1
                # A stream has no more than its own pace, whoever shares its links.
                links[used], multiples[used] = 3 + j, _whole(own) / own[SIZE]
                used += 1
            starts[count] = used
            rates = max_min_rates(np.ones(3 + count), starts, links[:used], multiples[:used])
            span = nearest - now
            for j in range(count):
                k = moving[j]
                span = min(span, rest[k] * streams[case, k, SIZE] / rates[j])
            for j in range(count):
                k = moving[j]
                left = rest[k] - span * rates[j] / streams[case, k, SIZE]
                rest[k] = left if left > 1e-12 else 0.0
                if rest[k] == 0.0:
                    ends[case, k] = now + span
            now += span


@njit(cache=True)
def _whole(stream: Any) -> float:
    """Seconds that a stream moves bytes alone."""
    moved: float = max(stream[ALONE] - stream[STARTUP], stream[NODE], stream[PORT], stream[SPINE])
    return moved if stream[SIZE] > 0.0 else 0.0


def pace(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """How fast each of two streams moves beside the other, as a share of its own pace alone; shapes [..., 6] -> [...].

    Max-min fair: both at the same bytes per second up to the first tier that is full; there its users stay, and who
    does not use it goes on.
    """
    one, other = np.broadcast_arrays(one, other)
    own, their = _each_byte_s(one), _each_byte_s(other)
    shared = own[..., :3] + their[..., :3]
    both = np.max(shared, axis=-1, where=(own[..., :3] > 0.0) & (their[..., :3] > 0.0), initial=0.0)
    first, second = own.max(axis=-1), their.max(axis=-1)
    slowest = np.maximum(np.maximum(first, second), both)
    ours = np.where((second >= both) & (second > first), _beside(own, their, slowest), slowest)
    theirs = np.where((first >= both) & (first > second), _beside(their, own, slowest), slowest)
    return _share(first, ours), _share(second, theirs)


def _beside(own: Floats, other: Floats, held: Floats) -> Floats:
    """Seconds for each byte of a stream beside another one that its own slower tier holds at ``held``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        left = 1.0 - other[..., :3] / held[..., None]
        wanted = np.where(own[..., :3] > 0.0, own[..., :3] / left, 0.0)
    found: Floats = np.minimum(np.maximum(wanted.max(axis=-1), own.max(axis=-1)), held)
    return found


def _each_byte_s(stream: Floats) -> Floats:
    """Seconds for each byte on the three tiers, and of its own pace, shape [..., 4]."""
    own = np.maximum(stream[..., ALONE], stream[..., NODE : SPINE + 1].max(axis=-1))
    busy = np.concatenate([stream[..., NODE : SPINE + 1], own[..., None]], axis=-1)
    size = stream[..., SIZE, None]
    found: Floats = np.divide(busy, size, out=np.zeros_like(busy), where=size > 0.0)
    return found


def _share(alone: Floats, beside: Floats) -> Floats:
    """Pace beside another stream over that alone; 1 for a stream that moves nothing."""
    return np.divide(alone, beside, out=np.ones_like(beside), where=(alone > 0.0) & (beside > 0.0))


def exposed_s(hidden: Floats, window_s: Any, exchanges: Floats, part: Any, sends: Any = 0.0) -> Floats:
    """What of a stream shows behind a window of math and exchanges, and what it adds to these by slowing them [s].

    A kind of exchange that takes e alone, s times longer beside the stream, and has math of m seconds beside it takes
    max(m, e s) instead of max(m, e); the stream moves at its pace y meanwhile, and freely in the math. If the stream is
    through within a share of the window, only that share is longer; if it is not, its rest shows.

    Args:
        hidden: shape [..., 6].
        window_s: math and exchanges without sends, as long as without the stream [s], shape [...].
        exchanges: of a micro-batch, shape [..., kinds, 7].
        part: of these exchanges, without sends, in the window, shape [...].
        sends: in the window, shape [...].

    Returns:
        Seconds, shape [...]; without exchanges max(0, stream - window).
    """
    times = np.stack(np.broadcast_arrays(*[part] * (len(KINDS) - 1), sends), axis=-1)[..., None]
    scaled = exchanges * times
    alone, shown = scaled[..., ALONE], scaled[..., SHOWN]
    beside = np.maximum(alone - shown, 0.0)
    quiet = np.maximum(np.asarray(window_s) - shown[..., :-1].sum(axis=-1), 0.0)
    whole = np.asarray(window_s) + shown[..., -1]
    slow, quick = pace(exchanges[..., :STREAM], np.asarray(hidden)[..., None, :])
    hidden_s = beside.sum(axis=-1)
    math = np.divide(beside * quiet[..., None], hidden_s[..., None], out=np.zeros_like(beside),
                     where=hidden_s[..., None] > 0.0)  # fmt: skip
    moved = beside / slow
    longer = shown / slow - shown + np.maximum(moved - np.maximum(math, beside), 0.0)
    lost = (shown / slow + moved) * (1.0 - quick)
    stretched = whole + longer.sum(axis=-1)
    through = stretched - lost.sum(axis=-1)
    alone_s = np.asarray(hidden)[..., ALONE]
    done = np.divide(alone_s, through, out=np.ones_like(through * alone_s), where=through > 0.0)
    share = np.minimum(done, 1.0)
    found: Floats = share * (stretched - whole) + np.maximum(alone_s - through, 0.0)
    return found
