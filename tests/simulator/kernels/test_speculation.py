"""Tokens of an iteration: a capped geometric number, drawn by inversion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.kernels.jit import law_kernel
from simulator.kernels.speculation import emitted, expected_tokens

CASES = [(1, 0.5), (4, 0.8), (7, 0.75), (3, 0.0), (5, 1.0), (0, 0.7), (64, 0.99)]


@law_kernel
def _sum(depth: int, acceptance: float, count: int) -> int:
    total = 0
    for i in range(count):
        total += emitted(depth, acceptance, (i + 0.5) / count)
    return total


@pytest.mark.parametrize(("depth", "acceptance"), CASES)
def test_the_mean_of_what_is_emitted_is_expected(depth: int, acceptance: float) -> None:
    """Over evenly spread draws, from inside another kernel."""
    count = 100_000
    assert _sum(depth, acceptance, count) / count == pytest.approx(expected_tokens(depth, acceptance), abs=1e-3)


@pytest.mark.parametrize(("depth", "acceptance"), CASES)
def test_each_number_of_tokens_has_its_probability(depth: int, acceptance: float) -> None:
    """P(N > i) = a^i: the draw at which a further token is no longer emitted."""
    for accepted in range(1, depth + 1):
        bar = float(np.prod(np.full(accepted, acceptance)))
        if bar > 0.0:
            assert emitted(depth, acceptance, np.nextafter(bar, 0.0)) == 1 + accepted or bar == 1.0
        if 0.0 < bar < 1.0:
            assert emitted(depth, acceptance, bar) == accepted


def test_the_mean_is_that_of_the_paper() -> None:
    assert expected_tokens(7, 0.75) == pytest.approx(3.5995, abs=1e-4)
    assert expected_tokens(4, 1.0) == 5.0 and expected_tokens(4, 0.0) == 1.0 and expected_tokens(0, 0.3) == 1.0


@given(st.integers(0, 64), st.floats(0.0, 1.0), st.floats(0.0, 1.0, exclude_max=True))
def test_an_iteration_emits_one_token_at_least_and_never_more_than_were_checked(
    depth: int, acceptance: float, draw: float
) -> None:
    found = emitted(depth, acceptance, draw)
    assert 1 <= found <= depth + 1
    assert found <= emitted(depth, acceptance, draw / 2.0)
    assert found <= emitted(depth, min(1.0, acceptance * 1.5), draw)
