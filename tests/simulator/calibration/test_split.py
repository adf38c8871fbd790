"""Splits leave whole groups out, the same ones whatever the order of rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.calibration.split import FOLDS, HELD_OUT, folds_of, spread_over

keys = st.lists(st.sampled_from([f"n={n} k={k}" for n in range(5) for k in range(4)]), min_size=1, max_size=60)


@given(keys)
def test_a_group_is_never_split(rows: list[str]) -> None:
    folds = folds_of(rows)
    by_key = {key: {int(f) for k, f in zip(rows, folds, strict=True) if k == key} for key in rows}
    assert all(len(found) == 1 for found in by_key.values())
    assert set(folds.tolist()) <= set(range(FOLDS))


@given(keys, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[str], random: object) -> None:
    before = dict(zip(rows, folds_of(rows).tolist(), strict=True))
    random.shuffle(rows)  # type: ignore[attr-defined]
    assert dict(zip(rows, folds_of(rows).tolist(), strict=True)) == before


@given(keys)
def test_two_groups_are_enough_to_hold_one_out(rows: list[str]) -> None:
    held = folds_of(rows) == HELD_OUT
    assert held.any() == (len(set(rows)) > 1)
    assert not held.all()


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=200), st.integers(2, 50))
def test_a_sample_keeps_the_ends(values: list[float], most: int) -> None:
    chosen = spread_over(np.array(values), most)
    picked = np.array(values)[chosen]
    assert len(chosen) <= max(most, 0) and len(set(chosen.tolist())) == len(chosen)
    assert picked.min() == min(values) and picked.max() == max(values)
