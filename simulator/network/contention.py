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
Ints = npt.NDArray[np.int64]

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
        shown_s: what of each operator shows once [s], shape as ``operators``; the rest of an exchange is beside math,
            but of expert parallel ranks it is not moved at all (see ``steps.overlap.once_to_each_node``).
        groups: communicator of each axis.
        send_bytes: of a send to the next stage [B].
    """
    found = np.zeros(EXCHANGES)
    # Expert tensor parallel ranks exchange what tensor parallel ones do.
    rows = {axis: row for row, axis in enumerate(KINDS)} | {"etp": KINDS.index("tp")}
    known: dict[tuple[OpKind, float, str], Floats] = {}
    for operator, times, shown in zip(operators, repeats.tolist(), shown_s.tolist(), strict=True):
        row = rows.get(operator.axis)
        if operator.kind not in COLLECTIVES or row is None or operator.axis not in groups:
            continue
        what = (operator.kind, operator.message_bytes, operator.axis)
        if what not in known:
            known[what] = stream_of(operator.kind, operator.message_bytes, groups[operator.axis], factor, gap_s)
        own, alone_s = known[what], float(known[what][ALONE])
        if operator.axis == "ep" and 0.0 < shown < alone_s:
            own, alone_s = own * (shown / alone_s), shown
        found[row, :STREAM] += own * times
        found[row, SHOWN] += min(shown, alone_s) * times
    if "pp" in groups and send_bytes > 0.0:
        found[KINDS.index("pp")] = sends_of(send_bytes, groups["pp"], factor, gap_s)
    return found


def sends_of(message_bytes: float, group: Communicator, factor: float = 1.0, gap_s: float = 0.0) -> Floats:
    """A send to the next stage as a kind of exchange, shape [7]."""
    own = stream_of(OpKind.SEND_RECV, message_bytes, group, factor, gap_s)
    return np.append(own, own[ALONE])


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
    shape = np.broadcast_shapes(one.shape, other.shape)
    first, second = (np.broadcast_to(each, shape).reshape(-1, STREAM) for each in (one, other))
    found = np.array([_paces(ours, theirs) for ours, theirs in zip(first, second, strict=True)]).reshape(-1, 2)
    return found[:, 0].reshape(shape[:-1]), found[:, 1].reshape(shape[:-1])


@njit(cache=True)
def _paces(one: Any, other: Any) -> tuple[float, float]:
    """``pace`` of two streams."""
    first, second, both = _each_byte_s(one), _each_byte_s(other), 0.0
    for tier in range(NODE, SPINE + 1):
        if one[tier] > 0.0 and other[tier] > 0.0 and first > 0.0 and second > 0.0:
            both = max(both, one[tier] / one[SIZE] + other[tier] / other[SIZE])
    slowest = max(first, second, both)
    ours = _beside(one, other, first, slowest) if second >= both and second > first else slowest
    theirs = _beside(other, one, second, slowest) if first >= both and first > second else slowest
    return (first / ours if first > 0.0 else 1.0), (second / theirs if second > 0.0 else 1.0)


@njit(cache=True)
def _each_byte_s(stream: Any) -> float:
    """Seconds for each byte of a stream alone; 0 if it moves none."""
    each: float = max(stream[ALONE], stream[NODE], stream[PORT], stream[SPINE])
    return each / stream[SIZE] if stream[SIZE] > 0.0 else 0.0


@njit(cache=True)
def _beside(own: Any, other: Any, alone: float, held: float) -> float:
    """Seconds for each byte of a stream beside another one that its own slower tier holds at ``held``."""
    wanted = alone
    for tier in range(NODE, SPINE + 1):
        if own[tier] > 0.0 and own[SIZE] > 0.0:
            used = other[tier] / other[SIZE] / held if other[SIZE] > 0.0 else 0.0
            wanted = max(wanted, own[tier] / own[SIZE] / (1.0 - used)) if used < 1.0 else held
    return min(wanted, held)


def exposed_s(
    hidden: Floats, window_s: Any, exchanges: Floats, part: Any, sends: Any = 0.0, behind_s: Any = 0.0
) -> Floats:  # fmt: skip
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
        behind_s: math behind which each send is hidden [s], shape [...].

    Returns:
        Seconds, shape [...]; without exchanges max(0, stream - window).
    """
    shape = np.broadcast_shapes(
        hidden.shape[:-1], exchanges.shape[:-2], *(np.shape(each) for each in (window_s, part, sends, behind_s))
    )
    table = np.broadcast_to(exchanges, (*shape, *EXCHANGES)).reshape(-1, *EXCHANGES)
    numbers = [np.broadcast_to(each, shape).ravel() for each in (window_s, part, sends, behind_s)]
    rows = np.broadcast_to(hidden, (*shape, STREAM)).reshape(-1, STREAM)
    window, parts, times, behind = numbers
    return exposed_rows_s(rows, window, table, np.arange(len(table)), parts, times, behind).reshape(shape)


def exposed_rows_s(
    hidden: Floats, window_s: Floats, table: Floats, places: Ints, part: Floats, sends: Floats, behind_s: Floats
) -> Floats:  # fmt: skip
    """``exposed_s`` of n cases that share windows' exchanges, shape [n].

    Args:
        table: exchanges, shape [m, kinds, 7].
        places: which of these each case has, shape [n].
    """
    found = np.zeros(len(hidden))
    rows, window, exchanges, parts, times, behind = (
        np.ascontiguousarray(each, np.float64) for each in (hidden, window_s, table, part, sends, behind_s)
    )
    _expose(rows, window, exchanges, np.ascontiguousarray(places, np.int64), parts, times, behind, found)
    return found


@njit(cache=True)
def _expose(
    hidden: Any, window: Any, table: Any, places: Any, part: Any, sends: Any, behind: Any, found: Any
) -> None:  # fmt: skip
    """``exposed_rows_s`` into ``found``."""
    kinds = table.shape[1]
    for i in range(len(found)):
        alone_s = hidden[i, ALONE]
        if alone_s <= 0.0:
            continue
        exchanges = table[places[i]]
        quiet, whole, beside_s = window[i], window[i], 0.0
        for k in range(kinds):
            alone, shown = _in_window(exchanges[k], k == kinds - 1, part[i], sends[i], behind[i])
            beside_s += max(alone - shown, 0.0)
            if k < kinds - 1:
                quiet -= shown
            else:
                whole += shown
        longer, lost = 0.0, 0.0
        for k in range(kinds):
            alone, shown = _in_window(exchanges[k], k == kinds - 1, part[i], sends[i], behind[i])
            if alone <= 0.0 and shown <= 0.0:
                continue
            slow, quick = _paces(exchanges[k], hidden[i])
            beside = max(alone - shown, 0.0)
            math = beside * max(quiet, 0.0) / beside_s if beside_s > 0.0 else 0.0
            longer += shown / slow - shown + max(beside / slow - max(math, beside), 0.0)
            lost += (shown / slow + beside / slow) * (1.0 - quick)
        through = whole + longer - lost
        share = min(alone_s / through, 1.0) if through > 0.0 else 1.0
        found[i] = share * longer + max(alone_s - through, 0.0)


@njit(cache=True)
def _in_window(exchange: Any, is_send: bool, part: float, sends: float, behind: float) -> tuple[float, float]:
    """Seconds of a kind of exchange in a window: alone, and what of them no math hides."""
    if is_send:
        return exchange[ALONE] * sends, max(exchange[SHOWN] - behind, 0.0) * sends
    return exchange[ALONE] * part, exchange[SHOWN] * part
