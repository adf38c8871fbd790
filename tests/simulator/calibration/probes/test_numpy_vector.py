"""The numpy expressions compute what they are called."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulator.calibration.probes import numpy_vector as nv

X = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
W, B = np.arange(1.0, 9.0, dtype=np.float32), np.ones(8, np.float32)


def test_norms() -> None:
    rms = nv.rms_norm(X, W) / W
    np.testing.assert_allclose((rms**2).mean(-1), 1.0, rtol=1e-3)
    layer = nv.layer_norm(X, W, B)
    np.testing.assert_allclose(((layer - B) / W).mean(-1), 0.0, atol=1e-6)
    np.testing.assert_allclose(((layer - B) / W).var(-1), 1.0, rtol=1e-3)


def test_activations() -> None:
    wanted = [[v / (1 + math.exp(-v)) * 2.0 for v in row] for row in X.tolist()]
    np.testing.assert_allclose(nv.silu(X, np.full_like(X, 2.0)), wanted, rtol=1e-5)
    exact = [[0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in row] for row in X.tolist()]
    np.testing.assert_allclose(nv.gelu(X), exact, atol=1e-3)


def test_softmax_is_a_distribution_and_does_not_overflow() -> None:
    p = nv.softmax(X * 1000)
    np.testing.assert_allclose(p.sum(-1), 1.0, rtol=1e-6)
    assert (p.argmax(-1) == X.argmax(-1)).all()


def test_rotation_keeps_lengths() -> None:
    x = np.random.default_rng(2).normal(size=(5, 2, 8)).astype(np.float32)
    angles = np.tile(np.random.default_rng(3).normal(size=(5, 1, 4)), 2).astype(np.float32)
    turned = nv.rotate(x, np.cos(angles), np.sin(angles))
    assert turned.shape == x.shape
    pairs, before = turned[..., :4] ** 2 + turned[..., 4:] ** 2, x[..., :4] ** 2 + x[..., 4:] ** 2
    np.testing.assert_allclose(pairs, before, rtol=1e-4)
    assert not np.allclose(turned, x)


def test_look_up_and_argmax() -> None:
    table = np.arange(12.0).reshape(6, 2)
    assert nv.look_up(np.array([5, 0]), table).tolist() == [[10.0, 11.0], [0.0, 1.0]]
    assert nv.most_likely(np.array([[1.0, 3.0, 2.0]])).tolist() == [1]


@pytest.mark.parametrize("variant", sorted(set(nv.EXPRESSIONS) - {"argmax"}))
def test_results_stay_single_precision(variant: str) -> None:
    case = next(case for case in nv.cases(nv.Machine("cpu", 1, 0, 1e9, ("fp32",))) if case.variant == variant)
    result = case.prepare()()
    assert isinstance(result, np.ndarray)
    assert result.dtype == np.float32
