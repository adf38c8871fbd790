"""How tokens spread over experts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from workloads import operators as op
from workloads.routing import active_experts, expert_load

ROUTINGS = ("uniform", "balanced", "power_law_1.2", "power_law_1.0", "power_law_0.6")


@given(
    tokens=st.integers(1, 20000),
    experts=st.integers(1, 512),
    top_k=st.integers(1, 8),
    routing=st.sampled_from(ROUTINGS),
)
def test_loads_are_possible(tokens: int, experts: int, top_k: int, routing: str) -> None:
    top_k = min(top_k, experts)
    load = expert_load(tokens, experts, top_k, routing)
    assert top_k * (1 - 1e-9) <= load.active <= min(experts, tokens * top_k) * (1 + 1e-9)
    assert load.imbalance >= 1.0
    hottest = load.imbalance * tokens * top_k / load.active
    assert hottest <= max(tokens, tokens * top_k / load.active) * (1 + 1e-9), "no expert has a token twice"


def test_uniform_loads_agree_with_a_draw() -> None:
    rng = np.random.default_rng(7)
    experts, top_k, tokens = 64, 6, 400
    hottest = [
        np.bincount(np.argsort(rng.random((tokens, experts)), axis=1)[:, :top_k].ravel(), minlength=experts).max()
        for _ in range(50)
    ]
    load = expert_load(tokens, experts, top_k)
    assert load.active == active_experts(tokens, experts, top_k)
    assert load.imbalance * tokens * top_k / load.active == pytest.approx(np.mean(hottest), rel=0.1)


def test_power_law_loads_agree_with_a_draw() -> None:
    """The median of draws: few of 256 experts are hot, and while tokens are few many are idle."""
    rng = np.random.default_rng(7)
    experts, top_k = 256, 8
    for tokens, power in ((64, -0.2), (2048, -0.2)):
        active, hottest = [], []
        for _ in range(200):
            u = rng.random(experts)
            loads = (((0.8 * tokens) ** power - 1.0) * u + 1.0) ** (1.0 / power)
            rows = np.round(loads / loads.sum() * tokens * top_k)
            active.append(np.count_nonzero(rows))
            hottest.append(rows.max() / (tokens * top_k / active[-1]))
        load = expert_load(tokens, experts, top_k, "power_law_1.2")
        assert load.active == pytest.approx(np.median(active), rel=0.05)
        assert load.imbalance == pytest.approx(np.median(hottest), rel=0.2)


def test_dealt_tokens_wake_more_experts_than_drawn_ones_and_these_more_than_a_power_law() -> None:
    dealt, drawn, hot = (expert_load(24, 128, 8, r) for r in ("balanced", "uniform", "power_law_1.2"))
    assert dealt.active == 128
    assert dealt.active > drawn.active > hot.active
    assert dealt.imbalance == 1.0
    assert dealt.imbalance < drawn.imbalance


@pytest.mark.parametrize("routing", ["even", "power_law_", "power_law_x", ""])
def test_unknown_routing_is_refused(routing: str) -> None:
    with pytest.raises(InputError, match="allowed are 'uniform', 'balanced' and 'power_law_<alpha>'"):
        op.moe_gemm("moe", 8, 64, 64, 8, 2, routing=routing)


def test_an_operator_carries_its_load() -> None:
    plain = op.moe_gemm("moe", 64, 128, 256, 32, 4, local_share=0.25)
    assert plain.experts == 8
    assert plain.batch == pytest.approx(active_experts(64, 32, 4) / 4)
    hot = op.moe_gemm("moe", 16, 128, 256, 128, 4, routing="power_law_1.2")
    assert (hot.batch, hot.imbalance) == expert_load(16, 128, 4, "power_law_1.2")
    assert hot.weight_bytes == hot.batch * 3 * 128 * 256 * 2
