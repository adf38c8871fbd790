"""The slowest of n ranks: exact cases, all ranks drawn, and the limits of extreme-value theory."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from simulator.goodput.maxima import expected_maximum, maximum_quantile
from simulator.goodput.slowdowns import ExponentialTail, Floats, LogNormal, Measured, Slowdown, SlowShare

LAWS = (
    LogNormal(0.03),
    LogNormal(0.3),
    ExponentialTail(0.02),
    SlowShare(0.001, 1.3),
    SlowShare(0.001, 1.3, 0.02),
    Measured((0.0, 0.5, 0.99, 1.0), (0.97, 1.0, 1.1, 1.4)),
)


def draw(law: Slowdown, random: np.random.Generator, ranks: int) -> Floats:
    """Factors of ranks by numpy's own distributions, where it has them."""
    if isinstance(law, LogNormal):
        return random.lognormal(0.0, law.sigma, ranks)
    if isinstance(law, ExponentialTail):
        return 1.0 + random.exponential(law.mean, ranks)
    if isinstance(law, SlowShare):
        return np.where(random.random(ranks) < law.share, law.factor, 1.0) * random.lognormal(0.0, law.sigma, ranks)
    return law.quantile(random.random(ranks))


@given(ranks=st.integers(1, 1_000_000), mean=st.floats(1e-4, 10.0))
@settings(max_examples=40)
def test_of_exponential_tails_it_is_the_harmonic_number(ranks: int, mean: float) -> None:
    harmonic = float(np.sum(1.0 / np.arange(1, ranks + 1)))
    assert expected_maximum(ExponentialTail(mean), ranks) == pytest.approx(1.0 + mean * harmonic, rel=1e-6)


@given(ranks=st.integers(1, 100_000), share=st.floats(1e-6, 0.5), factor=st.floats(1.0, 5.0))
@settings(max_examples=40)
def test_of_a_slow_share_it_is_the_chance_that_one_is_there(ranks: int, share: float, factor: float) -> None:
    there = -math.expm1(ranks * math.log1p(-share))
    assert expected_maximum(SlowShare(share, factor), ranks) == pytest.approx(1.0 + (factor - 1.0) * there, rel=1e-9)


@given(ranks=st.integers(1, 10_000))
@settings(max_examples=20)
def test_of_uniform_factors_it_is_n_over_n_plus_1(ranks: int) -> None:
    law = Measured((0.0, 1.0), (1.0, 2.0))
    assert expected_maximum(law, ranks) == pytest.approx(1.0 + ranks / (ranks + 1), rel=1e-7)


def test_one_log_normal_rank_has_the_log_normal_mean() -> None:
    assert expected_maximum(LogNormal(0.3), 1) == pytest.approx(math.exp(0.045), rel=1e-6)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("ranks", "trials"), [(8, 40_000), (1024, 4_000), (16_384, 400)])
def test_as_all_ranks_drawn(law: Slowdown, ranks: int, trials: int) -> None:
    random = np.random.default_rng(7)
    slowest = np.array([draw(law, random, ranks).max() for _ in range(trials)])
    spread = max(float(np.std(slowest)) / math.sqrt(trials), 1e-12)
    assert abs(expected_maximum(law, ranks) - float(np.mean(slowest))) < 4.0 * spread + 1e-7
    for probability in (0.25, 0.5, 0.75):
        factor = float(maximum_quantile(law, ranks, probability))
        chance = 3.5 * math.sqrt(0.25 / trials)
        assert np.mean(slowest < factor - 1e-9) <= probability + chance
        assert np.mean(slowest <= factor + 1e-9) >= probability - chance


@pytest.mark.parametrize("ranks", [1_000, 16_384, 1_000_000])
def test_log_normal_maxima_tend_to_gumbel(ranks: int) -> None:
    """E = b + gamma a, b the (1 - 1/n) quantile, a the mean excess there (Embrechts et al. 1997, section 3.3)."""
    law = LogNormal(0.03)
    b = float(law.quantile(np.array([1.0 / ranks]))[0])
    a = float(law.quantile(np.array([1.0 / (math.e * ranks)]))[0]) - b
    assert expected_maximum(law, ranks) - 1.0 == pytest.approx(b - 1.0 + 0.5772156649 * a, rel=0.01)


@pytest.mark.parametrize("law", LAWS)
def test_more_ranks_are_never_faster(law: Slowdown) -> None:
    found = [expected_maximum(law, 2**k) for k in range(20)]
    assert all(after >= before - 1e-9 for before, after in pairwise(found))


def test_no_ranks() -> None:
    with pytest.raises(InputError, match="ranks 0; allowed: a whole number from 1 on"):
        expected_maximum(LogNormal(0.1), 0)
