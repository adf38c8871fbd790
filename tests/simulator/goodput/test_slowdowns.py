"""Laws of slow ranks: shares and quantiles are each other's inverse, words are read as written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from simulator.goodput.slowdown_words import parse_slowdown
from simulator.goodput.slowdowns import ExponentialTail, LogNormal, Measured, Slowdown, SlowShare, Straggler

SMOOTH = (
    LogNormal(0.03),
    ExponentialTail(0.02),
    SlowShare(0.01, 1.3, 0.02),
    Measured((0.0, 0.5, 0.9, 1.0), (0.95, 1.0, 1.05, 1.4)),
)


@pytest.mark.parametrize("law", SMOOTH)
@given(share=st.floats(1e-9, 0.999))
def test_a_quantile_is_exceeded_by_its_share(law: Slowdown, share: float) -> None:
    factor = law.quantile(np.array([share]))
    assert float(law.exceeded(factor)[0]) == pytest.approx(share, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("law", [*SMOOTH, SlowShare(0.1, 1.5)])
def test_draws_have_the_shares_that_the_law_says(law: Slowdown) -> None:
    drawn = law.quantile(np.random.default_rng(1).random(200_000))
    for x in (0.97, 1.001, 1.04, 1.2, 1.35):
        assert np.mean(drawn > x) == pytest.approx(float(law.exceeded(np.array([x]))[0]), abs=0.005)


def test_the_median_device_is_the_one_that_a_step_was_predicted_for() -> None:
    assert LogNormal(0.1).quantile(np.array([0.5]))[0] == pytest.approx(1.0)
    assert SlowShare(0.001, 2.0).quantile(np.array([0.5]))[0] == 1.0


def test_no_spread_is_no_slowdown() -> None:
    for law in (LogNormal(0.0), ExponentialTail(0.0), SlowShare(0.0, 2.0)):
        assert law.quantile(np.array([1e-9, 0.5]))[0] == pytest.approx(1.0)
        assert law.exceeded(np.array([0.999, 1.001])).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("text", "straggler"),
    [
        ("lognormal:sigma=0.03", Straggler(LogNormal(0.03))),
        ("exponential:mean=2%, draw=step", Straggler(ExponentialTail(0.02), each_step=True)),
        ("slow:share=0.001,factor=1.3,group=8", Straggler(SlowShare(0.001, 1.3), group=8)),
        ("slow:share=0.1%,factor=1.3x,sigma=0.01", Straggler(SlowShare(0.001, 1.3, 0.01))),
        ("quantiles:p50=1,p99=1.1,max=1.4", Straggler(Measured((0.0, 0.5, 0.99, 1.0), (1.0, 1.0, 1.1, 1.4)))),
        ("quantiles:min=0.9,p50=1,max=1.4", Straggler(Measured((0.0, 0.5, 1.0), (0.9, 1.0, 1.4)))),
    ],
)
def test_words(text: str, straggler: Straggler) -> None:
    assert parse_slowdown(text) == straggler


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lognorm:sigma=0.03", "unknown law of slow-downs 'lognorm'; did you mean 'lognormal'"),
        ("lognormal", "missing key sigma"),
        ("lognormal:sigma=-1", "sigma '-1' must be from 0"),
        ("lognormal:sigma=9", "sigma '9' must be from 0 to 2"),
        ("lognormal:sgima=0.1", "unknown key 'sgima'; did you mean 'sigma'"),
        ("slow:share=2,factor=1.3", "share '2' must be from 0 to 1"),
        ("slow:share=0.1,factor=0.5", "factor '0.5' must be from 1"),
        ("slow:share=0.1,factor=2,group=0", "group '0' must be a whole number from 1"),
        ("slow:share=0.1,factor=2,draw=day", "draw 'day' must be run or step"),
        ("quantiles:p50=1.2,p90=1.1,max=2", "p90 1.1 is less than p50 1.2"),
    ],
)
def test_words_that_cannot_be(text: str, said: str) -> None:
    with pytest.raises(InputError, match="--straggler: ") as caught:
        parse_slowdown(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_group_is_drawn_once() -> None:
    assert [Straggler(LogNormal(0.1), 8).draws(n) for n in (1, 8, 9, 16384)] == [1, 1, 2, 2048]
