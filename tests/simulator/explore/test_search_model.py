"""Gaussian processes: gradients, interpolation, and how sure they are."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.explore.search_model import GaussianProcess

NAMED = np.array([False, True, False])


def points(count: int, seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    rng = np.random.default_rng(seed)
    return np.stack([rng.random(count), rng.integers(0, 4, count).astype(np.float64), rng.random(count)], axis=1)


def law(at: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.asarray(np.sin(3.0 * at[:, 0]) + np.array([0.0, 1.0, -2.0, 0.5])[at[:, 1].astype(int)] + at[:, 2] ** 2)


def learnt(count: int) -> GaussianProcess:
    at = points(count)
    return GaussianProcess(NAMED).learn(at, law(at), np.random.default_rng(0), True)


def test_the_gradient_is_that_of_the_loss() -> None:
    process, at = GaussianProcess(NAMED), points(25)
    values = law(at) - law(at).mean()
    distances = [np.abs(column[:, None] - column[None, :]) for column in at.T]
    logs = process.logs + np.random.default_rng(1).normal(0.0, 0.3, len(process.logs))
    gradient = process._loss(logs, distances, values)[1]
    for place in range(len(logs)):
        step = np.zeros_like(logs)
        step[place] = 1e-5
        rise = process._loss(logs + step, distances, values)[0] - process._loss(logs - step, distances, values)[0]
        assert gradient[place] == pytest.approx(rise / 2e-5, rel=1e-3, abs=1e-4)


def test_predicts_what_it_has_not_seen() -> None:
    process, unseen = learnt(80), points(200, 5)
    mean, bound = process.guess(unseen)
    error = np.abs(mean - law(unseen))
    assert np.median(error) < 0.02
    seen, sure = process.guess(points(80))
    np.testing.assert_allclose(seen, law(points(80)), atol=0.02)
    assert sure.max() < bound.max() / 10.0


def test_joint_beliefs() -> None:
    process, unseen = learnt(40), points(30, 7)
    mean, bound = process.guess(unseen)
    joint, root = process.joint(unseen)
    spread = np.sqrt((root**2).sum(axis=1))
    np.testing.assert_allclose(joint, mean)
    assert (spread <= bound + 0.01 * process.scale).all()
    assert (np.abs(joint - law(unseen)) < 4.0 * spread + 0.02).mean() > 0.95


def test_the_kernel_is_a_product_over_axes() -> None:
    process, at = learnt(30), points(12, 3)
    weights, lengths, _ = process.parameters
    wanted = np.ones((12, 12))
    for place in range(3):
        way = np.sqrt(5.0) * np.abs(at[:, None, place] - at[None, :, place]) / lengths[place]
        alike = (1.0 + way + way**2 / 3.0) * np.exp(-way)
        if NAMED[place]:
            alike = np.where(way == 0.0, 1.0, np.exp(-1.0 / lengths[place]))
        wanted *= (1.0 + weights[place] * alike) / (1.0 + weights[place])
    np.testing.assert_allclose(process.covariance(at, at), wanted)


def test_degenerate_data() -> None:
    flat = GaussianProcess(NAMED).learn(points(10), np.full(10, 3.0), np.random.default_rng(0), True)
    mean, _ = flat.guess(points(5, 2))
    np.testing.assert_allclose(mean, 3.0)
    assert np.isfinite(flat.joint(np.repeat(points(1), 5, axis=0))[1]).all()
    none = GaussianProcess(np.zeros(0, dtype=np.bool_)).learn(
        np.zeros((3, 0)), np.array([1.0, 2.0, 3.0]), np.random.default_rng(0), True
    )
    np.testing.assert_allclose(none.guess(np.zeros((2, 0)))[0], 2.0, atol=0.1)
