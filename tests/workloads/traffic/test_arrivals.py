"""When requests arrive. Statistics are held to five standard errors of the estimate, which are stated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hardware_specs.errors import InputError, UnknownName
from workloads.traffic.arrivals import ARRIVALS, Arrivals, ClosedLoop, arrivals_of
from workloads.traffic.patterns import Bursts, Diurnal, Pattern, Profile, Steady, time_of
from workloads.traffic.record import Floats

N = 200_000
SIGMAS = 5.0
WORDS = (
    "poisson", "gamma:burstiness=0.3", "gamma:burstiness=4", "constant", "diurnal:peak=2", "diurnal:peak=1.5,at=14 h",
    "diurnal:peak=1.8,start=20 h,burstiness=0.5", "profile:values=0 1 0 3 0,period=100 s,start=30 s",
    "bursts:factor=10,lasts=60 s,every=10 min", "bursts:factor=0.1,lasts=60 s,every=3 min,burstiness=2",
)  # fmt: skip
text = st.sampled_from(WORDS)
seeds = st.integers(0, 2**64 - 1)


def times(words: str, count: int, seed: int = 0, rate: float = 5.0) -> Floats:
    found = arrivals_of(words, rate)
    assert isinstance(found, Arrivals)
    return found.times(count, seed)


@settings(deadline=None, max_examples=80)
@given(words=text, seed=seeds, few=st.integers(0, 3000), more=st.integers(0, 3000), rate=st.floats(1e-3, 1e3))
def test_a_longer_run_begins_with_the_shorter(words: str, seed: int, few: int, more: int, rate: float) -> None:
    short, long = times(words, few, seed, rate), times(words, few + more, seed, rate)
    assert len(short) == few
    assert len(long) == few + more
    np.testing.assert_array_equal(long[:few], short)


@settings(deadline=None, max_examples=80)
@given(words=text, seed=seeds, count=st.integers(1, 2000), rate=st.floats(1e-3, 1e6))
def test_times_are_finite_and_never_fall(words: str, seed: int, count: int, rate: float) -> None:
    found = times(words, count, seed, rate)
    assert np.isfinite(found).all()
    assert found[0] >= 0.0
    assert (np.diff(found) >= 0.0).all()


@pytest.mark.parametrize("words", [words for words in WORDS if words != "constant"])
def test_the_seed_decides(words: str) -> None:
    np.testing.assert_array_equal(times(words, 500, 7), times(words, 500, 7))
    assert not np.array_equal(times(words, 500, 7), times(words, 500, 8))


def test_neighbouring_seeds_differ_whatever_their_size() -> None:
    seeds_ = (0, 1, 2**53, 2**53 + 1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1)
    assert len({times("poisson", 1, seed)[0] for seed in seeds_}) == len(seeds_)


@pytest.mark.parametrize("burstiness", [0.2, 0.5, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("rate", [0.01, 6.45, 1000.0])
def test_gaps_are_gamma_distributed(burstiness: float, rate: float) -> None:
    """Mean 1 / rate, variance mean^2 / burstiness; standard errors sd / sqrt(n) and, with the excess kurtosis
    6 / burstiness, var sqrt((2 + 6 / burstiness) / n)."""
    gaps = np.diff(Arrivals(rate, burstiness).times(N, 1), prepend=0.0)
    mean, variance = 1.0 / rate, 1.0 / rate**2 / burstiness
    assert abs(gaps.mean() - mean) < SIGMAS * math.sqrt(variance / N)
    assert abs(gaps.var() - variance) < SIGMAS * variance * math.sqrt((2.0 + 6.0 / burstiness) / N)
    law = stats.gamma(burstiness, scale=mean / burstiness)
    assert stats.kstest(gaps[:20_000], law.cdf).pvalue > 1e-4
    p99 = law.ppf(0.99)
    error = math.sqrt(0.99 * 0.01 / N) / law.pdf(p99)
    assert abs(np.quantile(gaps, 0.99) - p99) < SIGMAS * error


def test_gaps_of_a_poisson_process_are_independent() -> None:
    """The correlation of neighbours has the standard error 1 / sqrt(n)."""
    gaps = np.diff(times("poisson", N, 3))
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < SIGMAS / math.sqrt(N)


def test_constant_gaps_and_the_limit_of_no_bursts() -> None:
    np.testing.assert_allclose(times("constant", 5, rate=4.0), [0.25, 0.5, 0.75, 1.0, 1.25], rtol=1e-15)
    np.testing.assert_allclose(
        Arrivals(4.0, 1e12).times(1000, 0), Arrivals(4.0, math.inf).times(1000, 0), rtol=1e-4
    )  # fmt: skip
    assert Arrivals(math.inf).times(4, 0).tolist() == [0.0] * 4


def test_words_of_one_law_agree() -> None:
    np.testing.assert_array_equal(times("poisson", 100), times("gamma:burstiness=1", 100))
    beside = arrivals_of("diurnal:peak=1.5", 5.0, 0.3)
    assert beside == arrivals_of("diurnal:peak=1.5,burstiness=0.3", 5.0)
    assert beside == Arrivals(5.0, 0.3, Diurnal(1.5))
    assert arrivals_of("closed:concurrency=32", None) == ClosedLoop(32)


def test_a_flat_day_is_a_steady_rate() -> None:
    for words in ("diurnal:peak=1,start=7 h", "profile:values=3 3 3 3", "bursts:factor=1,lasts=5 s,every=9 s"):
        np.testing.assert_allclose(times(words, 2000), times("poisson", 2000), rtol=1e-9, atol=1e-9)


def test_a_faster_rate_shrinks_all_times() -> None:
    """The same draws at another rate: what a search over rates compares."""
    np.testing.assert_allclose(times("gamma:burstiness=0.5", 100, rate=8.0) * 4.0,
                               times("gamma:burstiness=0.5", 100, rate=2.0), rtol=1e-13)  # fmt: skip


def sinusoid(peak: float, at_s: float, start_s: float, period_s: float, t: Floats) -> Floats:
    """Integral of 1 + (peak - 1) cos from the start on."""

    def whole(x: Floats) -> Floats:
        return x + (peak - 1.0) * period_s / (2.0 * np.pi) * np.sin(2.0 * np.pi * (x - at_s) / period_s)

    return whole(t + start_s) - whole(np.array([start_s]))


@pytest.mark.parametrize("peak", [1.0, 1.3, 2.0])
@pytest.mark.parametrize("start_h", [0.0, 5.5, 23.9])
def test_a_sinusoid_has_its_integral(peak: float, start_h: float) -> None:
    """The steps are minutes of a day whose means are exact: the integral differs from the closed form by at most half
    a step times the change of the rate over one."""
    pattern = Diurnal(peak, 14.0 * 3600.0, start_h * 3600.0)
    t = time_of(pattern.steps(0.0, 0), np.linspace(0.0, 3.0 * 86400.0, 5000))
    area = sinusoid(peak, 14.0 * 3600.0, start_h * 3600.0, 86400.0, t)
    np.testing.assert_allclose(area, np.linspace(0.0, 3.0 * 86400.0, 5000), atol=60.0 * 2.0 * np.pi / 1440.0)


def thinned(rate: float, most: float, of: Pattern, span_s: float, rng: np.random.Generator) -> Floats:
    """Lewis and Shedler (1979): the same process, made the other way."""
    found = np.sort(rng.uniform(0.0, span_s, rng.poisson(rate * most * span_s)))
    assert isinstance(of, Diurnal)
    level = 1.0 + (of.peak_to_mean - 1.0) * np.cos(2.0 * np.pi * (found + of.start_s - of.peak_at_s) / of.period_s)
    return found[rng.random(len(found)) * most < level]


def test_a_day_agrees_with_thinning() -> None:
    """Two-sample Kolmogorov-Smirnov over two days, and counts within five standard errors of a Poisson count."""
    day, span_s = Diurnal(1.8, 14.0 * 3600.0, 3.0 * 3600.0), 2.0 * 86400.0
    own = Arrivals(1.0, 1.0, day).times(250_000, 5)
    own = own[own < span_s]
    other = thinned(1.0, 1.8, day, span_s, np.random.default_rng(5))
    assert abs(len(own) - span_s) < SIGMAS * math.sqrt(span_s)
    assert stats.ks_2samp(own, other).pvalue > 1e-4


def test_hours_of_a_profile_have_their_shares() -> None:
    """Counts of an hour within five standard errors of a Poisson count."""
    values = [1.0, 0.0, 4.0, 2.0, 0.0, 5.0] * 4
    found = Arrivals(2.0, 1.0, Profile(tuple(values))).times(400_000, 2)
    days = int(found[-1] // 86400.0)
    assert days == 2
    counts = np.histogram(found[found < days * 86400.0] % 86400.0, bins=24, range=(0.0, 86400.0))[0]
    expected = 2.0 * days * 3600.0 * np.array(values) / 2.0
    assert (np.abs(counts - expected) <= SIGMAS * np.sqrt(expected)).all()
    assert counts[1] == 0


def test_a_profile_begins_where_it_is_told() -> None:
    found = times("profile:values=0 1,period=100 s,start=25 s", 2000, rate=1.0)
    phase = (found + 25.0) % 100.0
    assert (phase >= 50.0 - 1e-6).all()
    assert found[0] >= 25.0


def test_bursts_have_their_share_and_mean() -> None:
    """Share of burst 1 - exp(-lasts / every) as in M/D/infinity; over 4,000 s / every bursts the standard error of the
    share is about the share / sqrt(bursts)."""
    law = Bursts(8.0, 30.0, 200.0)
    steps = law.steps(8e6, 11)
    span_s, inside = np.diff(steps.from_s), steps.level[:-1] == 8.0
    share = 1.0 - math.exp(-30.0 / 200.0)
    assert abs(span_s[inside].sum() / span_s.sum() - share) < SIGMAS * share / math.sqrt(8e6 / 200.0)
    assert law.mean == pytest.approx(1.0 + 7.0 * share)
    assert (span_s[inside] >= 30.0 - 1e-6).all()
    found = Arrivals(1.0, 1.0, law).times(1_000_000, 11)
    assert len(found) / found[-1] == pytest.approx(law.mean, rel=0.05)


def test_a_burst_multiplies_the_rate() -> None:
    law = Bursts(20.0, 50.0, 500.0)
    found = Arrivals(2.0, 1.0, law).times(100_000, 4)
    steps = law.steps(float(found[-1]), 4)
    level = steps.level[np.searchsorted(steps.from_s, found, side="right") - 1]
    inside = np.clip(np.diff(np.append(steps.from_s, found[-1])), 0.0, np.maximum(found[-1] - steps.from_s, 0.0))
    for value in (1.0, 20.0):
        expected = 2.0 * value * inside[steps.level == value].sum()
        assert abs(np.count_nonzero(level == value) - expected) < SIGMAS * math.sqrt(expected)


@given(st.integers(0, 2**64 - 1), st.floats(1.0, 2e5), st.sampled_from((0.2, 1.0, 9.0)))
def test_bursts_are_known_for_as_long_as_needed(seed: int, nominal_s: float, factor: float) -> None:
    """The last one begins after the integral of the rate has reached what is needed."""
    steps = Bursts(factor, 30.0, 300.0).steps(nominal_s, seed)
    assert steps.area[-2] >= nominal_s * (1.0 - 1e-12)
    longer = Bursts(factor, 30.0, 300.0).steps(3.0 * nominal_s, seed)
    np.testing.assert_array_equal(longer.from_s[: len(steps.from_s) - 1], steps.from_s[:-1])


def test_more_bursts_than_can_be_are_refused() -> None:
    with pytest.raises(InputError, match=r"bursts: one every 1e-06 s over .* are more than 10,000,000"):
        times("bursts:factor=2,lasts=1 us,every=1 us", 1000)


@pytest.mark.parametrize(
    ("words", "rate", "message"),
    [
        ("poison", 1.0, "did you mean 'poisson'"),
        ("", 1.0, "unknown arrivals ''"),
        ("poisson", None, "needs a rate"),
        ("poisson", 0.0, "rate 0.0 must be above 0"),
        ("poisson", math.nan, "rate nan must be above 0"),
        ("poisson", -3.0, "rate -3.0 must be above 0"),
        ("poisson:burstiness=2", 1.0, "poisson has no keys"),
        ("gamma", 1.0, "missing key burstiness"),
        ("gamma:burstiness=0", 1.0, "burstiness '0' must be from"),
        ("gamma:burstyness=2", 1.0, "unknown key 'burstyness'; did you mean 'burstiness'"),
        ("diurnal:peak=2.1", 1.0, "peak '2.1' must be from 1 to 2"),
        ("diurnal:peak=0.5", 1.0, "peak '0.5' must be from 1"),
        ("diurnal:peak=1.5,at=25 h", 1.0, "at '25 h' must be less than the period"),
        ("diurnal:peak=1.5,at=14", 1.0, "'14' has no unit"),
        ("diurnal:peak=1.5", math.inf, "an infinite rate does not change"),
        ("profile:values=1", 1.0, "two or more numbers"),
        ("profile:values=0 0", 1.0, "not all 0"),
        ("profile:values=1 -2", 1.0, "from 0 on"),
        ("profile:values=1 x", 1.0, "two or more numbers"),
        ("bursts:factor=2,lasts=1 s", 1.0, "missing key every"),
        ("bursts:factor=0,lasts=1 s,every=2 s", 1.0, "factor '0' must be"),
        ("closed:concurrency=0", None, "whole number from 1"),
        ("closed:concurrency=2.5", None, "whole number from 1"),
        ("closed:concurrency=4", 2.0, "a closed loop has no rate"),
    ],
)
def test_what_cannot_be_is_refused(words: str, rate: float | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        arrivals_of(words, rate, place="--arrivals")


def test_errors_say_their_place() -> None:
    with pytest.raises(UnknownName) as caught:
        arrivals_of("burst", 1.0, place="--arrivals")
    assert str(caught.value).startswith("--arrivals: unknown arrivals 'burst'; did you mean 'bursts'?")
    for name in ARRIVALS:
        assert name in str(caught.value)


def test_two_burstinesses_are_refused() -> None:
    with pytest.raises(InputError, match="burstiness is 1 in 'poisson' and 2 beside it"):
        arrivals_of("poisson", 1.0, 2.0)
    assert arrivals_of("gamma:burstiness=2", 1.0, 2.0) == Arrivals(1.0, 2.0, Steady())


@pytest.mark.parametrize("count", [-1, 2.0, True])
def test_counts_are_whole(count: int) -> None:
    with pytest.raises(InputError, match="a whole number from 0 on"):
        Arrivals(1.0).times(count, 0)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True])
def test_seeds_are_whole(seed: int) -> None:
    with pytest.raises(InputError, match=r"seed .* from 0 to 2"):
        Arrivals(1.0).times(3, seed)
