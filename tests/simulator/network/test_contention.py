"""Exchanges at the same time: closed forms against the event-driven Fabric, and against bandwidth that is conserved."""

from __future__ import annotations

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.devices import load_device
from hardware_specs.systems import group_of, links_of, load_system
from simulator.engine.fabric import Fabric
from simulator.engine.tasks import Crossing, Flow
from simulator.network.communicator import collective_cost
from simulator.network.contention import (
    ALONE,
    EXCHANGES,
    KINDS,
    NODE,
    PORT,
    SHOWN,
    SIZE,
    SPINE,
    STARTUP,
    STREAM,
    Floats,
    exchanges_of,
    exposed_s,
    in_turn,
    pace,
    stream_of,
    together_s,
)
from simulator.network.topology import Network
from workloads.operators import OpKind, collective

TIERS = ("node", "port", "spine")


def made(size: float, busy: tuple[float, float, float], slack: float = 1.0, startup: float = 0.0) -> Floats:
    """A stream that takes ``slack`` times as long as its slowest tier."""
    return np.array([size, *busy, startup + slack * max(*busy, 1e-3), startup])


@st.composite
def streams(draw: st.DrawFn, startup: bool = True) -> Floats:
    busy = tuple(draw(st.sampled_from([0.0, 0.3, 1.0, 2.5])) for _ in TIERS)
    start = draw(st.sampled_from([0.0, 0.1, 1.0])) if startup else 0.0
    return made(draw(st.floats(0.5, 20.0)), busy, draw(st.sampled_from([1.0, 1.0, 1.4])), start)  # type: ignore[arg-type]


def flow_of(stream: Floats, name: str, part: float = 1.0) -> Flow:
    """``part`` of a stream on links that carry one second in a second, and on a link of its own for its pace."""
    size = float(stream[SIZE])
    crossings = [Crossing(tier, float(stream[NODE + i]) / size) for i, tier in enumerate(TIERS) if stream[NODE + i]]
    crossings.append(Crossing(name, float(stream[ALONE] - stream[STARTUP]) / size))
    return Flow(size * part, tuple(crossings), float(stream[STARTUP]) * part)


def fabric(env: simpy.Environment, own: list[str]) -> Fabric:
    return Fabric(env, dict.fromkeys([*TIERS, *own], 1.0))


@given(st.lists(streams(), min_size=1, max_size=5))
@settings(deadline=None)
def test_streams_that_start_together_end_as_on_the_fabric(cases: list[Floats]) -> None:
    env = simpy.Environment()
    links = fabric(env, [f"own{i}" for i in range(len(cases))])
    ends = [0.0] * len(cases)

    def send(index: int) -> simpy.events.ProcessGenerator:
        yield links.move(flow_of(cases[index], f"own{index}"))
        ends[index] = env.now

    for index in range(len(cases)):
        env.process(send(index))
    env.run()
    assert together_s(np.stack(cases)[None])[0] == pytest.approx(ends, rel=1e-9)


@given(streams(startup=False), streams(startup=False))
@settings(deadline=None)
def test_two_streams_share_as_on_the_fabric(one: Floats, other: Floats) -> None:
    env, seen = simpy.Environment(), list[list[float]]()
    links = Fabric(env, dict.fromkeys([*TIERS, "a", "b"], 1.0), lambda _, rates: seen.append(list(rates)))
    links.move(flow_of(one, "a"))
    links.move(flow_of(other, "b"))
    env.run()
    both = seen[1]
    ours = pace(one, other)
    for share, rate, stream in zip(ours, both, (one, other), strict=True):
        assert float(share) == pytest.approx(rate * stream[ALONE] / stream[SIZE], rel=1e-9)


PIECES = 400


def with_fabric(hidden: Floats, window: float, exchanges: Floats) -> float:
    """The stream beside a window that is cut into many pieces: math, one exchange of each kind, math of hidden ones."""
    env = simpy.Environment()
    links = fabric(env, ["hidden", *KINDS])
    shown = exchanges[:, SHOWN]
    beside = exchanges[:, ALONE] - shown
    math = max(window - float(shown[:-1].sum()), 0.0)

    def front() -> simpy.events.ProcessGenerator:
        for _ in range(PIECES):
            if not beside.sum():
                yield env.timeout(math / PIECES)
            for row, kind in enumerate(KINDS):
                alone = exchanges[row, ALONE]
                if alone and shown[row]:
                    yield links.move(flow_of(exchanges[row], kind, float(shown[row] / alone) / PIECES))
                if beside[row]:
                    moved = links.move(flow_of(exchanges[row], kind, float(beside[row] / alone) / PIECES))
                    yield moved & env.timeout(math * float(beside[row] / beside.sum()) / PIECES)

    def back() -> simpy.events.ProcessGenerator:
        yield links.move(flow_of(hidden, "hidden"))

    env.process(front())
    env.process(back())
    env.run()
    return float(env.now) - window - float(shown[-1])


@st.composite
def windows(draw: st.DrawFn) -> tuple[float, Floats]:
    """Window and exchanges in it; what is hidden has at least as much math beside it."""
    exchanges = np.zeros(EXCHANGES)
    for row in draw(st.lists(st.integers(0, 3), max_size=3, unique=True)):
        exchanges[row, :STREAM] = draw(streams(startup=False))
        part = 1.0 if row == 3 else draw(st.sampled_from([1.0, 1.0, 0.5, 0.0]))
        exchanges[row, SHOWN] = part * exchanges[row, ALONE]
    least = float(exchanges[:-1, ALONE].sum())
    return least + draw(st.floats(0.1, 6.0)), exchanges


@given(windows(), streams(startup=False))
@settings(max_examples=60, deadline=None)
def test_a_stream_beside_a_window_is_as_on_the_fabric(case: tuple[float, Floats], hidden: Floats) -> None:
    window, exchanges = case
    ours = float(exposed_s(hidden, window, exchanges, 1.0, 1.0))
    whole = window + float(exchanges[:, ALONE].sum())
    assert ours == pytest.approx(with_fabric(hidden, window, exchanges), abs=4.0 * whole / PIECES)


@given(st.floats(0.1, 10.0), st.floats(0.1, 10.0), st.floats(0.0, 1.0))
@settings(deadline=None)
def test_one_tier_in_closed_form(moved: float, window: float, part: float) -> None:
    """Exchanges E of a window W on the tier of a stream B: B E / W longer, or all that the tier has to carry."""
    exchanges = np.zeros(EXCHANGES)
    exchange = part * window
    if exchange > 0.0:
        exchanges[0] = [*made(exchange, (exchange, 0.0, 0.0)), exchange]
        exchanges[0, ALONE] = exchange
    hidden = made(moved, (moved, 0.0, 0.0))
    found = float(exposed_s(hidden, window, exchanges, 1.0))
    assert found == pytest.approx(max(moved * exchange / window, exchange + moved - window), rel=1e-9, abs=1e-12)


@given(windows(), streams())
@settings(deadline=None)
def test_never_less_than_without_the_exchanges_links(case: tuple[float, Floats], hidden: Floats) -> None:
    window, exchanges = case
    found = float(exposed_s(hidden, window, exchanges, 1.0))
    assert found >= max(0.0, float(hidden[ALONE]) - window) - 1e-9
    assert float(exposed_s(hidden, window, np.zeros(EXCHANGES), 1.0)) == pytest.approx(
        max(0.0, float(hidden[ALONE]) - window)
    )


def test_streams_on_different_tiers_do_not_meet() -> None:
    exchanges = np.zeros(EXCHANGES)
    exchanges[0] = [*made(5.0, (1.0, 0.0, 0.0)), 1.0]
    assert float(exposed_s(made(9.0, (0.0, 3.0, 0.0)), 4.0, exchanges, 1.0)) == 0.0


def test_arrays_are_as_their_rows() -> None:
    random = np.random.default_rng(5)
    n = 50
    hidden = np.stack([made(float(random.random() + 0.1), tuple(random.random(3))) for _ in range(n)])
    exchanges = np.zeros((n, *EXCHANGES))
    for i in range(n):
        for row in range(4):
            exchanges[i, row, :STREAM] = made(float(random.random() + 0.1), tuple(random.random(3)))
            exchanges[i, row, SHOWN] = exchanges[i, row, ALONE] * (row != 1)
    window, part, sends = 3.0 + random.random(n), random.random(n), random.integers(0, 3, n).astype(float)
    whole = exposed_s(hidden, window, exchanges, part, sends)
    rows = [float(exposed_s(hidden[i], window[i], exchanges[i], part[i], sends[i])) for i in range(n)]
    assert whole == pytest.approx(rows)
    assert together_s(exchanges[..., :STREAM])[7] == pytest.approx(together_s(exchanges[7:8, :, :STREAM])[0])


def network() -> Network:
    system = load_system("h100-superpod-32")
    device, group = load_device("h100-sxm-80gb"), group_of(system, "h100-sxm-80gb")
    return Network(system, links_of(system), device, group, range(32))


def test_collectives_as_streams() -> None:
    inside, across = network().communicator(8), network().communicator(4, 8)
    one, other = stream_of(OpKind.ALL_REDUCE, 1e9, inside), stream_of(OpKind.ALL_REDUCE, 1e9, across, 0.5, 1e-5)
    cost = collective_cost(OpKind.ALL_REDUCE, 1e9, inside)
    assert one[ALONE] == cost.seconds
    assert one[PORT] == one[SPINE] == other[NODE] == other[SPINE] == 0.0
    assert other[ALONE] == pytest.approx(collective_cost(OpKind.ALL_REDUCE, 1e9, across).seconds / 0.5 + 1e-5)
    assert together_s(np.stack([one, other])[None])[0] == pytest.approx([one[ALONE], other[ALONE]])
    assert together_s(np.stack([one, one])[None])[0] == pytest.approx([2 * one[ALONE] - one[STARTUP]] * 2)
    assert stream_of(OpKind.ALL_REDUCE, 1e9, network().communicator(1)).tolist() == [0.0] * STREAM
    assert in_turn([one, other])[ALONE] == pytest.approx(one[ALONE] + other[ALONE])


def test_exchanges_of_a_graph() -> None:
    groups = {"tp": network().communicator(8), "pp": network().communicator(4, 8)}
    operators = [
        collective("attention.reduce", OpKind.ALL_REDUCE, 1e8, 8, "tp"),
        collective("elsewhere", OpKind.ALL_TO_ALL, 1e8, 8, "ep"),
    ]
    found = exchanges_of(operators, np.array([3.0, 1.0]), np.array([1e-5, 1.0]), groups, send_bytes=1e6)
    alone = stream_of(OpKind.ALL_REDUCE, 1e8, groups["tp"])
    assert found[0, :STREAM] == pytest.approx(3.0 * alone)
    assert found[0, SHOWN] == pytest.approx(3e-5)
    assert not found[1:3].any()
    assert found[3, SHOWN] == found[3, ALONE] == stream_of(OpKind.SEND_RECV, 1e6, groups["pp"])[ALONE]
