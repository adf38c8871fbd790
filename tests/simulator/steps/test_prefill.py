"""Prefill steps: every token once, no step above the chunk, as few steps as can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.steps.prefill import CHUNK_POINTS, PrefillStep, chunk_tokens, prefill_steps


@given(st.integers(1, 300), st.integers(1, 20_000), st.integers(1, 9000))
def test_steps_hold_all_tokens_and_none_more_than_a_chunk(batch: int, isl: int, chunk: int) -> None:
    steps = prefill_steps(batch, isl, chunk)
    assert sum(step.tokens for step in steps) == pytest.approx(batch * isl)
    assert sum(step.repeats for step in steps) == pytest.approx(-(-batch * isl // chunk))
    assert len(steps) <= CHUNK_POINTS + 2
    assert all(step.batch * step.q_len <= chunk * (1 + 1e-12) for step in steps)
    assert all(step.q_len <= step.kv_len <= isl for step in steps)


@given(st.integers(1, 50), st.integers(1, 4000), st.integers(600, 9000))
def test_chunks_see_every_pair_of_tokens_once(batch: int, isl: int, chunk: int) -> None:
    """Causal pairs of all steps are those of the whole prompts (few chunks: each is priced)."""
    pairs = sum(
        s.repeats * s.batch * s.q_len * (2 * s.kv_len - s.q_len + 1) / 2 for s in prefill_steps(batch, isl, chunk)
    )
    assert pairs == pytest.approx(batch * isl * (isl + 1) / 2)


def test_long_prompts_are_cut_and_short_ones_packed() -> None:
    assert prefill_steps(2, 1200, 512) == [
        PrefillStep(1.0, 512, 512, 2.0), PrefillStep(1.0, 512, 1024, 2.0), PrefillStep(2.0, 176, 1200, 1.0),
    ]  # fmt: skip
    assert prefill_steps(10, 100, 512) == [PrefillStep(5.12, 100, 100, 1.0), PrefillStep(4.88, 100, 100, 1.0)]
    assert prefill_steps(8, 512, 4096) == [PrefillStep(8.0, 512, 512, 1.0)]


def test_stages_get_a_micro_batch_each_and_encoders_whole_sequences() -> None:
    assert chunk_tokens(8, 1000, 0, 1, False) == 8000
    assert chunk_tokens(8, 1000, 0, 4, False) == 2000
    assert chunk_tokens(8, 1000, 512, 4, False) == 512
    assert chunk_tokens(1, 1000, 0, 4, False) == 1000
    assert chunk_tokens(8, 300, 1000, 1, True) == 900
    assert chunk_tokens(8, 1300, 1000, 1, True) == 1300
