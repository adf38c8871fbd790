"""Inverse questions: closed forms, the answer checked from both sides, what cannot be reached, what turns back."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.errors import InputError, UnitError
from simulator.decisions.inverse import HOLDS, NO_MEMORY, Bound, Reversal, Seen, parse_bound, solve
from simulator.decisions.knobs import knob_of, result_at
from simulator.scenario import Scenario, StaticBatch
from workloads.models.catalogue import load_model

MakeScenario = Callable[..., Scenario]
TPOT = Bound("tpot_s", "<=", 0.03)


def curve(function: Callable[[float], float], most: float = math.inf) -> Callable[[float], Seen]:
    return lambda x: Seen((function(x),), x <= most)


@given(st.floats(0.1, 0.9), st.floats(0.05, 20.0))
def test_the_least_value(floor: float, rate: float) -> None:
    """T = floor bound + 1 / (rate x) meets the bound at x = 1 / (rate (1 - floor) bound)."""
    bound = TPOT.value
    found = solve(curve(lambda x: floor * bound + 1.0 / (rate * x)), [TPOT], 1e-3, 1e6)
    assert (found.kind, found.binding) == ("least", "tpot_s")
    assert found.value == pytest.approx(1.0 / (rate * (1.0 - floor) * bound), rel=1e-8)
    assert found.reversals == ()
    assert not found.exact


def test_the_largest_value() -> None:
    rate = Bound("output_tokens_per_s", ">=", 100.0)
    found = solve(curve(lambda x: 1000.0 / x), [rate], 1.0, 1000.0, 1.0)
    assert (found.kind, found.value) == ("largest", 10.0)
    limited = solve(curve(lambda x: 1000.0 / x, most=7.0), [rate], 1.0, 1000.0, 1.0)
    assert (limited.kind, limited.value, limited.binding) == ("largest", 7.0, NO_MEMORY)


def test_several_bounds() -> None:
    bounds = [TPOT, Bound("ttft_s", "<=", 1.0)]
    found = solve(lambda x: Seen((0.002 * x, 4.0 / x), True), bounds, 1.0, 60.0, 1.0)
    assert (found.kind, found.value) == ("between", 4.0)
    assert [(s.low, s.high, s.state) for s in found.stretches] == [
        (1.0, 3.0, "ttft_s"), (4.0, 15.0, HOLDS), (16.0, 60.0, "tpot_s"),
    ]  # fmt: skip
    assert found.binding == "ttft_s"


def test_everywhere_and_nowhere() -> None:
    assert solve(curve(lambda x: 0.01), [TPOT], 1.0, 100.0)[:3] == ("everywhere", 1.0, "")
    found = solve(curve(lambda x: 0.04 + 1.0 / x), [TPOT], 1.0, 100.0)
    assert (found.kind, found.value, found.binding, found.nearest) == ("nowhere", None, "tpot_s", 100.0)
    full = solve(curve(lambda x: 0.01, most=0.5), [TPOT], 1.0, 100.0)
    assert (full.kind, full.binding) == ("nowhere", NO_MEMORY)


def test_what_turns_back_is_said() -> None:
    saw = {1: 0.05, 2: 0.02, 3: 0.06, 4: 0.01, 5: 0.009}
    found = solve(curve(lambda x: saw[round(x)]), [TPOT], 1.0, 5.0, 1.0)
    assert found.reversals == (Reversal("tpot_s", 2.0, 3.0),)
    assert (found.kind, found.value) == ("between", 2.0)
    assert [s.state for s in found.stretches] == ["tpot_s", HOLDS, "tpot_s", HOLDS]
    assert found.exact


def test_what_cannot_be_asked() -> None:
    partly = solve(
        lambda x: Seen((0.01,), True) if x < 4.0 else Seen((None,), True, "too large"), [TPOT], 1.0, 9.0, 1.0
    )
    assert (partly.kind, partly.value, partly.binding) == ("largest", 3.0, "refused")
    with pytest.raises(InputError, match="never"):
        solve(lambda x: Seen((None,), True, "never"), [TPOT], 1.0, 9.0, 1.0)
    assert solve(lambda x: Seen((None,), True), [TPOT], 1.0, 9.0, 1.0).kind == "nowhere"


def test_the_least_bandwidth_of_a_device(one_pool: MakeScenario) -> None:
    scenario = one_pool(StaticBatch(load_model("llama-3.1-8b"), 4, 512, 32), "h100-sxm-80gb")
    knob = knob_of(scenario, "device.memory.bandwidth")

    def ask(x: float) -> Seen:
        result = result_at(scenario, ((knob, x),))
        return Seen((result.metrics["tpot_s"],), result.fits)

    bound = Bound("tpot_s", "<=", 0.010)
    found = solve(ask, [bound], knob.value / 100.0, knob.value * 100.0)
    assert found.kind == "least"
    assert found.value is not None
    assert bound.kept_by(ask(found.value).values[0])
    assert not bound.kept_by(ask(found.value * (1.0 - 1e-7)).values[0])
    hopeless = solve(ask, [Bound("tpot_s", "<=", 1e-5)], knob.value / 100.0, knob.value * 100.0)
    assert (hopeless.kind, hopeless.nearest) == ("nowhere", knob.value * 100.0)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("tpot_s <= 30 ms", TPOT),
        ("tpot_s<0.03 s", TPOT),
        ("output_tokens_per_s>=1_000", Bound("output_tokens_per_s", ">=", 1000.0)),
        ("output_tokens_per_s > 1e3 tokens/s", Bound("output_tokens_per_s", ">=", 1000.0)),
        ("mfu_prefill >= 40%", Bound("mfu_prefill", ">=", 0.4)),
        ("max_batch>=8", Bound("max_batch", ">=", 8.0)),
        ("usd_per_million_output_tokens <= 1.5 USD", Bound("usd_per_million_output_tokens", "<=", 1.5)),
        ("carbon_g <= 3 g", Bound("carbon_g", "<=", 3.0)),
    ],
)
def test_bounds(text: str, bound: Bound) -> None:
    found = parse_bound(text)
    assert found[:2] == bound[:2]
    assert found.value == pytest.approx(bound.value)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("tpot_s = 3", InputError, "must be METRIC <= VALUE"),
        ("tpot <= 3 ms", InputError, "unknown metric 'tpot'; did you mean 'tpot_s'"),
        ("tpot_s <= 3 GB/s", UnitError, "is a bandwidth, not a time"),
        ("tpot_s <= 3", UnitError, "has no unit"),
        ("output_tokens_per_s >= 3 ms", UnitError, "is no value of output_tokens_per_s, which is in tokens/s"),
        ("mfu_prefill >= much", UnitError, "write for example 0.4 or 40%"),
    ],
)
def test_bad_bounds(text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        parse_bound(text, "--hold")
