"""Max-min fair rates: what defines them, on random networks, and small cases by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.kernels.sharing import max_min_rates

Flow = dict[int, float]
"""Multiples by link."""


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[float], list[Flow]]:
    """Up to 5 links and 7 flows, each over some links."""
    links = draw(st.integers(1, 5))
    capacity = draw(st.lists(st.floats(0.5, 100.0), min_size=links, max_size=links))
    flow = st.dictionaries(st.integers(0, links - 1), st.floats(0.05, 8.0), min_size=1, max_size=links)
    return capacity, draw(st.lists(flow, min_size=1, max_size=7))


def rates_of(capacity: list[float], flows: list[Flow]) -> np.ndarray:
    starts = np.cumsum([0, *(len(flow) for flow in flows)])
    links = np.array([link for flow in flows for link in flow], np.int64)
    multiples = np.array([m for flow in flows for m in flow.values()], np.float64)
    rates: np.ndarray = max_min_rates(np.array(capacity), starts, links, multiples)
    return rates


rates_of([1.0], [{0: 1.0}])  # compile outside any deadline


@given(networks())
def test_no_link_carries_more_than_it_can(network: tuple[list[float], list[Flow]]) -> None:
    capacity, flows = network
    rates = rates_of(capacity, flows)
    assert (rates > 0.0).all()
    for link, most in enumerate(capacity):
        used = sum(rate * flow.get(link, 0.0) for rate, flow in zip(rates, flows, strict=True))
        assert used <= most * (1.0 + 1e-9)


@given(networks())
def test_every_flow_has_a_full_link_on_which_none_is_faster(network: tuple[list[float], list[Flow]]) -> None:
    """The bottleneck condition, which only the max-min allocation meets (Bertsekas and Gallager, 6.5.2)."""
    capacity, flows = network
    rates = rates_of(capacity, flows)
    for rate, flow in zip(rates, flows, strict=True):
        bottlenecks = []
        for link in flow:
            users = [(r, f[link]) for r, f in zip(rates, flows, strict=True) if link in f]
            full = sum(r * m for r, m in users) >= capacity[link] * (1.0 - 1e-9)
            bottlenecks.append(full and rate >= max(r for r, _ in users) * (1.0 - 1e-9))
        assert any(bottlenecks)


@given(networks(), st.floats(0.01, 100.0))
def test_rates_scale_with_the_capacities(network: tuple[list[float], list[Flow]], factor: float) -> None:
    capacity, flows = network
    scaled = rates_of([c * factor for c in capacity], flows)
    assert scaled == pytest.approx(rates_of(capacity, flows) * factor, rel=1e-9)


@given(networks(), st.randoms(use_true_random=False))
def test_order_of_flows_and_links_does_not_matter(network: tuple[list[float], list[Flow]], random: object) -> None:
    capacity, flows = network
    order, places = list(range(len(flows))), list(range(len(capacity)))
    random.shuffle(order)  # type: ignore[attr-defined]
    random.shuffle(places)  # type: ignore[attr-defined]
    moved = [{places[link]: m for link, m in flows[f].items()} for f in order]
    whole = [0.0] * len(capacity)
    for link, place in enumerate(places):
        whole[place] = capacity[link]
    assert rates_of(whole, moved) == pytest.approx(rates_of(capacity, flows)[order], rel=1e-9)


@settings(max_examples=30)
@given(st.integers(1, 20), st.floats(1.0, 1e12))
def test_equal_flows_share_a_link_equally(n: int, capacity: float) -> None:
    assert rates_of([capacity], [{0: 1.0}] * n) == pytest.approx([capacity / n] * n)


def test_small_cases_by_hand() -> None:
    # A long flow over both links, one short flow on each: the tight link halves, the wide one gives the rest.
    assert rates_of([10.0, 100.0], [{0: 1.0, 1: 1.0}, {0: 1.0}, {1: 1.0}]) == pytest.approx([5.0, 5.0, 95.0])
    # A flow that puts two bytes on the link for each of its own moves half as fast alone,
    assert rates_of([10.0], [{0: 2.0}]) == pytest.approx([5.0])
    # and beside a plain one both move at the same rate of their own bytes.
    assert rates_of([12.0], [{0: 2.0}, {0: 1.0}]) == pytest.approx([4.0, 4.0])


def test_no_flows_and_no_links() -> None:
    assert rates_of([1.0], []).shape == (0,)
    assert np.isinf(rates_of([1.0], [{}, {0: 1.0}])[0])


def test_tiny_multiples_beside_large_ones_come_to_an_end() -> None:
    rates = rates_of([1.0, 1.0], [{0: 1.0}, {0: 1e-20}, {0: 1e-20, 1: 1e-18}])
    assert rates[0] == pytest.approx(1.0)
    assert (rates > 0.0).all()
