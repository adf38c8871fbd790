"""Chances of being the best and what measurements are worth, against brute force and closed forms."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.decisions.chances import Outlook, chance_of_first, chances, outlook

Floats = npt.NDArray[np.float64]


def brute_force(mean: Floats, covariance: Floats, settled: Floats, draws: int = 600, inner: int = 4000) -> Outlook:
    """Draw what the measurement shows, then the truth; choose by counting who is the best most often."""
    rng = np.random.default_rng(7)
    flips, regrets = [], []
    for after in rng.multivariate_normal(mean, settled, draws, method="eigh"):
        losses = rng.multivariate_normal(after, covariance - settled, inner, method="eigh")
        best = losses.argmin(axis=1)
        chosen = np.bincount(best, minlength=len(mean)).argmax()
        flips.append(np.mean(best != chosen))
        regrets.append(np.mean(losses[:, chosen] - losses.min(axis=1)))
    return Outlook(float(np.mean(flips)), float(np.mean(regrets)))


def problem(seed: int, alternatives: int) -> tuple[Floats, Floats, Floats]:
    """Means, a covariance, and the part of it that observing one of its causes with noise settles."""
    rng = np.random.default_rng(seed)
    loads = rng.uniform(0.0, 0.4, (alternatives, alternatives + 2))
    covariance = loads @ loads.T
    cause = loads[:, 0]
    return rng.normal(0.0, 0.2, alternatives), covariance, 0.8 * np.outer(cause, cause)


@pytest.mark.parametrize(("seed", "alternatives"), [(1, 2), (2, 2), (3, 3), (4, 5)])
def test_brute_force_agrees(seed: int, alternatives: int) -> None:
    mean, covariance, settled = problem(seed, alternatives)
    found, drawn = outlook(mean, covariance, settled), brute_force(mean, covariance, settled)
    assert found.flip == pytest.approx(drawn.flip, abs=0.02)
    assert found.regret == pytest.approx(drawn.regret, abs=0.01)


@given(st.integers(0, 10_000), st.integers(2, 4), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
@settings(max_examples=40, deadline=None)
def test_to_know_more_never_makes_a_wrong_choice_likelier(seed: int, alternatives: int, one: float, two: float) -> None:
    mean, covariance, settled = problem(seed, alternatives)
    less, more = sorted((one, two))
    flips = [outlook(mean, covariance, share * settled).flip for share in (0.0, less, more)]
    noise = 0.0 if alternatives == 2 else 4e-3
    assert flips[0] + 1e-12 >= flips[1]
    assert flips[1] + noise + 1e-12 >= flips[2]
    assert -1e-12 <= flips[2] <= 1.0


def test_two_equal_alternatives_are_even() -> None:
    even = chances(np.zeros(2), np.diag([0.1, 0.1]))
    assert even.tolist() == [0.5, 0.5]
    assert outlook(np.zeros(2), np.diag([0.1, 0.1])).flip == pytest.approx(0.5)
    assert outlook(np.zeros(2), np.full((2, 2), 0.1)) == (0.5, 0.0), "one and the same"


def test_equal_ones_among_several_share() -> None:
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = 0.1
    covariance[2, 2] = 0.1
    shares = chances(np.zeros(3), covariance)
    assert shares[0] == pytest.approx(shares[1])
    assert shares == pytest.approx([0.25, 0.25, 0.5], abs=2e-3)
    assert chances(np.zeros(4), 0.2 * np.eye(4)) == pytest.approx([0.25] * 4, abs=3e-3)


@pytest.mark.parametrize("alternatives", [2, 3])
def test_what_settles_everything_leaves_no_doubt(alternatives: int) -> None:
    mean, covariance, _ = problem(5, alternatives)
    assert outlook(mean, covariance).flip > 0.1
    left = outlook(mean, covariance, covariance)
    assert left.flip == pytest.approx(0.0, abs=1e-9 if alternatives == 2 else 5e-3)
    assert left.regret == pytest.approx(0.0, abs=1e-9 if alternatives == 2 else 5e-3)


@pytest.mark.parametrize("alternatives", [2, 3])
def test_what_settles_nothing_changes_nothing(alternatives: int) -> None:
    mean, covariance, settled = problem(6, alternatives)
    assert outlook(mean, covariance, 0.0 * settled) == outlook(mean, covariance)
    both = np.ones((alternatives, alternatives)) * 0.01
    moved = outlook(mean, covariance + both, both)
    assert moved.flip == pytest.approx(outlook(mean, covariance).flip, abs=1e-9 if alternatives == 2 else 3e-3), (
        "an error that all alternatives share decides nothing"
    )


def test_closed_form_of_two() -> None:
    gap, sd = 0.3, 0.4
    mean, covariance = np.array([gap, 0.0]), np.diag([sd**2, 0.0])
    now = outlook(mean, covariance)
    below = 0.5 * math.erfc(gap / sd / math.sqrt(2.0))
    assert now.flip == pytest.approx(below, rel=1e-12)
    assert chances(mean, covariance).tolist() == pytest.approx([below, 1.0 - below], rel=1e-12)
    density = math.exp(-0.5 * (gap / sd) ** 2) / math.sqrt(2.0 * math.pi)
    assert now.regret == pytest.approx(sd * density - gap * below, rel=1e-12)


def test_points_agree_with_the_closed_form() -> None:
    mean, covariance, settled = problem(9, 2)
    hopeless = np.append(mean, 50.0)
    wide, part = np.zeros((3, 3)), np.zeros((3, 3))
    wide[:2, :2], part[:2, :2] = covariance, settled
    for known, known_wide in ((0.0 * settled, 0.0 * part), (settled, part)):
        two, three = outlook(mean, covariance, known), outlook(hopeless, wide, known_wide)
        assert three.flip == pytest.approx(two.flip, abs=3e-3)
        assert three.regret == pytest.approx(two.regret, abs=1e-3)


def test_an_alternative_alone_cannot_be_wrong() -> None:
    assert outlook(np.zeros(1), np.eye(1)) == (0.0, 0.0)
    assert chances(np.zeros(1), np.eye(1)).tolist() == [1.0]


def test_the_chance_of_the_first_of_two_in_any_shape() -> None:
    gaps, variances = np.array([[0.0, 0.3], [-0.3, 0.0]]), np.array([[0.0, 0.0], [0.0, 0.04]])
    assert chance_of_first(gaps, variances).tolist() == [[0.5, 1.0], [0.0, 0.5]]
    below = chance_of_first(np.array(0.3), np.array(0.16))
    assert float(below) == pytest.approx(0.5 * math.erfc(-0.3 / 0.4 / math.sqrt(2.0)), rel=1e-12)
