"""Distinct pairs are found by sorting or by hashing, whichever is faster: the answer is the same."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.bulk import static_batches


@pytest.mark.parametrize("count", [1, 2, 50, 1000])
def test_sorting_is_hashing(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(count)
    one, other = rng.integers(0, 9, count), rng.integers(0, 7, count) * 0.5
    places, back = static_batches._unique(one, other)
    monkeypatch.setattr(static_batches, "_SORTED", 0)
    for found, hashed in zip((places, back), static_batches._unique(one, other), strict=True):
        assert found.tolist() == hashed.tolist()
    pairs = list(zip(one.tolist(), other.tolist(), strict=True))
    distinct = list(dict.fromkeys(pairs))
    assert [pairs[place] for place in places] == distinct
    assert [distinct[number] for number in back] == pairs
