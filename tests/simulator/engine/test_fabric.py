"""The Fabric: conservation of bytes, fair shares over time, agreement with a reference that takes small steps."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.fabric import Fabric
from simulator.engine.tasks import Crossing, Flow

Start = tuple[float, Flow]


def run(
    links: dict[str, float], starts: Sequence[Start]
) -> tuple[list[float], dict[str, float], list[tuple[float, list[float]]]]:
    """When each flow ends [s], what every link carried [B], and all changes of rates."""
    env = simpy.Environment()
    seen: list[tuple[float, list[float]]] = []
    fabric = Fabric(env, links, lambda now, rates: seen.append((now, list(rates))))
    ends = [0.0] * len(starts)

    def send(index: int, at: float, flow: Flow) -> simpy.events.ProcessGenerator:
        yield env.timeout(at)
        yield fabric.move(flow)
        ends[index] = env.now

    for index, (at, flow) in enumerate(starts):
        env.process(send(index, at, flow))
    env.run()
    return ends, fabric.carried_bytes(), seen


def over(size: float, *links: str, startup: float = 0.0) -> Flow:
    return Flow(size, tuple(Crossing(link) for link in links), startup)


@st.composite
def traffic(draw: st.DrawFn) -> tuple[dict[str, float], list[Start]]:
    names = ["a", "b", "c"]
    links = {name: draw(st.floats(1.0, 20.0)) for name in names}
    flows = []
    for _ in range(draw(st.integers(1, 6))):
        used = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
        crossings = tuple(Crossing(name, draw(st.sampled_from([0.5, 1.0, 2.0]))) for name in used)
        flow = Flow(draw(st.floats(0.0, 50.0)), crossings, draw(st.floats(0.0, 2.0)))
        flows.append((draw(st.floats(0.0, 5.0)), flow))
    return links, flows


def stepped(links: dict[str, float], starts: Sequence[Start], step: float) -> list[float]:
    """Ends of all flows by filling all links slowly, step by step: an independent reference."""
    rest = [flow.size_bytes for _, flow in starts]
    ends: list[float | None] = [None] * len(starts)
    now = 0.0
    while any(end is None for end in ends):
        active = []
        for i, (at, flow) in enumerate(starts):
            if ends[i] is None and now >= at + flow.startup_s - 1e-12:
                if rest[i] <= 1e-9:
                    ends[i] = now
                else:
                    active.append(i)
        rates, left, growing = dict.fromkeys(active, 0.0), dict(links), set(active)
        while growing:
            load = dict.fromkeys(links, 0.0)
            for i in growing:
                for name, multiple in starts[i][1].crossings:
                    load[name] += multiple
            rise = min(left[name] / load[name] for name in links if load[name] > 0.0)
            for i in growing:
                rates[i] += rise
            left = {name: left[name] - rise * load[name] for name in links}
            full = {name for name in links if load[name] > 0.0 and left[name] <= 1e-9 * links[name]}
            growing = {i for i in growing if not full.intersection(c.link for c in starts[i][1].crossings)}
        for i in active:
            rest[i] -= rates[i] * step
        now += step
    return [end or 0.0 for end in ends]


@given(traffic())
def test_links_carry_exactly_what_flows_put_there(case: tuple[dict[str, float], list[Start]]) -> None:
    links, starts = case
    _, carried, _ = run(links, starts)
    for name in links:
        sent = sum(f.size_bytes * c.multiple for _, f in starts for c in f.crossings if c.link == name)
        assert carried[name] == pytest.approx(sent, rel=1e-9, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(traffic())
def test_agrees_with_small_time_steps(case: tuple[dict[str, float], list[Start]]) -> None:
    links, starts = case
    step = 0.01
    # In the reference every start and end comes up to one step late, and so do the ends that depend on them.
    slack = step * (2 * len(starts) + 1)
    assert run(links, starts)[0] == pytest.approx(stepped(links, starts, step), abs=slack)


@given(traffic())
def test_no_flow_ends_before_it_could_alone(case: tuple[dict[str, float], list[Start]]) -> None:
    links, starts = case
    ends, _, _ = run(links, starts)
    for end, (at, flow) in zip(ends, starts, strict=True):
        alone = max(flow.size_bytes * c.multiple / links[c.link] for c in flow.crossings)
        assert end >= at + flow.startup_s + alone * (1.0 - 1e-9)


@given(st.lists(st.floats(0.1, 50.0), min_size=1, max_size=6), st.floats(1.0, 10.0))
def test_a_busy_link_is_never_idle(sizes: list[float], capacity: float) -> None:
    """Work conservation: one link with all flows from the start is busy until the sum of all is through."""
    ends, _, seen = run({"a": capacity}, [(0.0, over(size, "a")) for size in sizes])
    assert max(ends) == pytest.approx(sum(sizes) / capacity)
    for _, rates in seen:
        assert sum(rates) == pytest.approx(capacity)


@given(st.integers(1, 8))
def test_equal_flows_end_together_after_n_times_their_time_alone(n: int) -> None:
    ends, _, _ = run({"a": 10.0}, [(0.0, over(30.0, "a"))] * n)
    assert ends == pytest.approx([3.0 * n] * n)


def test_a_late_arrival_halves_the_rate() -> None:
    # 10 B/s: 40 B are through at 4 s; from then both at 5 B/s, until the first has 60 B at 8 s, the second at 10 s.
    ends, _, seen = run({"a": 10.0}, [(0.0, over(60.0, "a")), (4.0, over(40.0, "a"))])
    assert ends == pytest.approx([8.0, 10.0])
    assert [rates for _, rates in seen] == [[10.0], [5.0, 5.0], [10.0]]


def test_flows_on_different_links_do_not_meet() -> None:
    ends, _, _ = run({"a": 10.0, "b": 1.0}, [(0.0, over(50.0, "a")), (0.0, over(3.0, "b"))])
    assert ends == pytest.approx([5.0, 3.0])


def test_latency_comes_first_and_takes_no_bandwidth() -> None:
    ends, _, _ = run({"a": 10.0}, [(0.0, over(20.0, "a")), (0.0, over(20.0, "a", startup=2.0))])
    assert ends == pytest.approx([2.0, 4.0])


def test_nothing_to_move_takes_the_latency_alone() -> None:
    ends, carried, _ = run({"a": 10.0}, [(1.0, over(0.0, "a", startup=0.5)), (1.0, Flow(7.0, (), 0.25))])
    assert ends == pytest.approx([1.5, 1.25])
    assert carried == {"a": 0.0}


@given(traffic())
def test_the_same_traffic_ends_the_same_to_the_bit(case: tuple[dict[str, float], list[Start]]) -> None:
    assert run(*case) == run(*case)


def test_refuses_what_means_nothing() -> None:
    fabric = Fabric(simpy.Environment(), {"a": 1.0})
    with pytest.raises(ValueError, match="no link 'b' in the fabric; there are a"):
        fabric.move(over(1.0, "b"))
    with pytest.raises(ValueError, match=r"flow of -1\.0 B"):
        fabric.move(over(-1.0, "a"))
    with pytest.raises(ValueError, match="link 'a' carries 0"):
        Fabric(simpy.Environment(), {"a": 0.0})
