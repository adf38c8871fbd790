"""Prices: one row for each device, provider and kind, and the rule that picks one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import median_low

import pytest

from hardware_specs import prices
from hardware_specs.catalogue import Catalogue
from hardware_specs.devices import device_names, load_all_devices
from hardware_specs.errors import InputError, UnknownName
from hardware_specs.facts import Mark
from hardware_specs.prices import PRICE_KINDS, load_prices, price_of
from hardware_specs.records import PriceList

PRICES = load_prices()


def test_rows_are_unique_dated_and_of_known_devices() -> None:
    assert max(Counter((p.device, p.provider, p.kind) for p in PRICES).values()) == 1
    assert {p.device for p in PRICES} <= set(device_names())
    assert {p.kind for p in PRICES} <= set(PRICE_KINDS)
    for price in PRICES:
        assert price.usd_per_s.mark is Mark.SOURCED and price.usd_per_s.date
        assert 0.1 <= price.usd_per_s.value * 3600 <= 50.0


def test_spot_and_reserved_are_below_on_demand() -> None:
    for price in PRICES:
        if price.kind in ("spot", "reserved") and (own := price_of(price.device, price.provider)):
            assert price.usd_per_s.value < own.usd_per_s.value, (price.device, price.provider, price.kind)


def test_without_provider_it_is_the_lower_median() -> None:
    for device in sorted({p.device for p in PRICES if p.kind == "on-demand"}):
        asked = [p.usd_per_s.value for p in PRICES if p.device == device and p.kind == "on-demand"]
        price = price_of(device)
        assert price and price.usd_per_s.value == median_low(asked)


def test_a_named_provider_is_taken() -> None:
    azure, spot = price_of("h100-sxm-80gb", "azure"), price_of("tpu-v6e", "gcp", "spot")
    assert azure and azure.usd_per_s.text == "12.29 USD/h"
    assert spot and spot.kind == "spot" and spot.usd_per_s.text == "1.89 USD/h"


def test_the_devices_own_file_is_the_fallback_for_on_demand_only() -> None:
    price = price_of("rtx-4090")
    assert price and price.provider == "" and price.usd_per_s.text == "0.35 USD/h"
    assert price_of("rtx-4090", kind="spot") is None
    assert price_of("rtx-4090", "aws") is None


def test_unknown_prices_are_none_never_zero() -> None:
    known = {p.device for p in PRICES if p.kind == "on-demand"}
    for device in load_all_devices():
        price = price_of(device.id)
        assert (price is not None) == (device.id in known or device.price.cloud is not None)
        assert price is None or price.usd_per_s.value > 0.0
    assert price_of("a-device-of-mine") is None


def test_errors() -> None:
    with pytest.raises(UnknownName, match="unknown provider 'azur'; did you mean 'azure'"):
        price_of("h100-sxm-80gb", "azur")
    with pytest.raises(InputError, match="price kind 'free': must be one of on-demand, spot"):
        price_of("h100-sxm-80gb", kind="free")  # type: ignore[arg-type]


LISTS = """
[sources]
old = { cite = "old list", date = "2025-01-01" }
new = { cite = "new list", date = "2026-01-01" }
"""


def row(usd_per_h: int, source: str) -> str:
    price = f'{{ value = "{usd_per_h} USD/h", source = "{source}" }}'
    return f'[[prices]]\ndevice = "l4"\nprovider = "p"\nregion = ""\nkind = "on-demand"\nusd_per_s = {price}\n'


def test_the_newest_price_of_a_provider_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text(row(3, "new") + row(1, "old") + row(2, "new") + LISTS)
    monkeypatch.setattr(prices, "_CATALOGUE", Catalogue("price", PriceList, tmp_path))
    price = price_of("l4")
    assert price and price.usd_per_s.text == "2 USD/h"
