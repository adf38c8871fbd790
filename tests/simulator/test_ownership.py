"""Owning and renting: the parts agree with each other and with the textbook."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.ownership import (
    HOUR_S,
    MONTH_S,
    Asset,
    Draw,
    book_usd,
    break_even_month,
    break_even_utilisation,
    capital_usd_per_s,
    owned,
    rented_usd,
    spent_usd,
)

assets = st.builds(
    Asset, st.floats(100.0, 1e6), st.floats(0.0, 1e5), st.floats(0.0, 1e5), st.floats(6.0, 120.0), st.floats(0.0, 0.8),
    st.floats(0.0, 0.5), st.floats(0.0, 1e-4),
)  # fmt: skip
draws = st.builds(
    lambda busy, rest, host, pue, usd: Draw(busy, rest * busy, host, pue, usd),
    st.floats(10.0, 2000.0), st.floats(0.05, 1.0), st.floats(0.0, 500.0), st.floats(1.0, 2.0), st.floats(1e-9, 1e-7),
)  # fmt: skip


def test_a_straight_line_without_discount() -> None:
    asset = Asset(30_000.0, 8_000.0, 2_000.0, 48.0, 0.1)
    assert capital_usd_per_s(asset) * MONTH_S == pytest.approx(40_000.0 * 0.9 / 48.0)
    assert book_usd(asset, 24.0) == pytest.approx(40_000.0 * 0.55)
    assert book_usd(asset, 99.0) == pytest.approx(4_000.0)


def test_capital_recovery_is_the_textbook_annuity() -> None:
    """P = 10,000, 1% a month, 12 months, nothing left: 888.49 a month."""
    asset = Asset(10_000.0, 0.0, 0.0, 12.0, 0.0, 1.01**12 - 1.0)
    assert capital_usd_per_s(asset) * MONTH_S == pytest.approx(888.4879, rel=1e-6)


def test_electricity_by_hand() -> None:
    draw = Draw(700.0, 100.0, 200.0, 1.5, 0.1 / 3.6e6)
    assert draw.facility_w(0.5) == pytest.approx(1.5 * (400.0 + 200.0))
    assert draw.usd_per_s(0.5) * HOUR_S == pytest.approx(0.09)


@given(assets, draws, st.floats(1e-5, 1e-1))
def test_both_cost_the_same_at_break_even(asset: Asset, draw: Draw, rent: float) -> None:
    at = break_even_utilisation(asset, draw, rent)
    if at is None:
        assert owned(asset, draw, 1.0).total > rent * (1.0 - 1e-9)
    else:
        assert owned(asset, draw, at).total == pytest.approx(at * rent)


@given(assets, draws, st.floats(0.05, 1.0))
def test_at_break_even_the_purchase_is_earned_back_when_it_is_sold(asset: Asset, draw: Draw, used: float) -> None:
    """What is paid over the whole life agrees with what every second costs."""
    rent = owned(asset, draw, used).total / used
    spent = spent_usd(asset, draw, used, asset.months)
    assert spent == pytest.approx(rented_usd(asset, rent, used, asset.months), rel=1e-9)


@given(assets, draws, st.floats(0.05, 1.0), st.floats(1.01, 20.0))
def test_dearer_rent_is_earned_back_sooner(asset: Asset, draw: Draw, used: float, dearer: float) -> None:
    rent = 1.5 * owned(asset, draw, used).total / used
    first, second = (break_even_month(asset, draw, used, rent * way, used, resale=False) for way in (1.0, dearer))
    if first is not None:
        assert second is not None and second <= first + 1e-9
        spent = spent_usd(asset, draw, used, first, resale=False)
        assert spent == pytest.approx(rented_usd(asset, rent, used, first), rel=1e-6)


@given(assets, draws)
def test_reserved_rent_beats_owning_only_where_owning_is_dearer(asset: Asset, draw: Draw) -> None:
    idle, busy = owned(asset, draw, 0.0).total, owned(asset, draw, 1.0).total
    assert break_even_utilisation(asset, draw, 0.99 * idle, reserved=True) is None
    assert break_even_utilisation(asset, draw, 1.01 * busy, reserved=True) == 1.0
    middle = break_even_utilisation(asset, draw, 0.5 * (idle + busy), reserved=True)
    assert middle is not None and (idle == busy or middle == pytest.approx(0.5, rel=1e-3))


def test_rent_too_low_is_never_beaten() -> None:
    asset, draw = Asset(30_000.0, 0.0, 0.0, 48.0), Draw(700.0, 100.0, 0.0, 1.2, 1e-8)
    assert break_even_utilisation(asset, draw, 1e-6) is None
    assert break_even_month(asset, draw, 1.0, 1e-6, 1.0, resale=False) is None
