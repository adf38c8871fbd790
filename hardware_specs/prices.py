"""Prices of device-hours by provider, and the one rule that picks a price when the user gives none."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hardware_specs.catalogue import Catalogue
from hardware_specs.designs import takes_designs
from hardware_specs.devices import device_names, load_device, split_device
from hardware_specs.errors import InputError, UnknownName
from hardware_specs.facts import Fact, Mark
from hardware_specs.partitions import profile_of
from hardware_specs.records import PriceKind, PriceList, PriceSpec

_CATALOGUE = Catalogue("price", PriceList, Path(__file__).parent / "data" / "prices")
PRICE_KINDS: tuple[PriceKind, ...] = ("on-demand", "spot", "reserved", "marketplace")


def load_prices() -> tuple[PriceSpec, ...]:
    """Every price of every file, in the order of file names and rows.

    Raises:
        InputError: a broken file.
    """
    return tuple(price for name in _CATALOGUE.names() for price in _CATALOGUE.load(name).prices)


def price_of(device_id: str, provider: str = "", kind: PriceKind = "on-demand") -> PriceSpec | None:
    """The price of one device-hour.

    Each provider counts once, with its newest price (of equally new ones the cheapest). Without ``provider`` it is
    the median provider's: a price that someone asks, neither the dearest list price nor the cheapest offer (of an
    even number the lower middle one). Where no list has an on-demand price, the figure in the device's own file.

    Returns:
        None where no price is known (also for a device that no catalogue holds): costs are then unknown, never 0.

    Raises:
        InputError: an unknown kind.
        UnknownName: an unknown provider.
    """
    if kind not in PRICE_KINDS:
        raise InputError(f"price kind {kind!r}: must be one of {', '.join(PRICE_KINDS)}")
    whole, profile = split_device(device_id)
    if profile and whole in device_names():
        price = price_of(whole, provider, kind)
        if takes_designs(load_device(whole)):
            return price
        table, chosen = profile_of(whole, profile)
        return price and _share_of(price, device_id, table.price_share(chosen))
    prices = load_prices()
    providers = {p.provider for p in prices}
    if provider and provider not in providers:
        raise UnknownName("provider", provider, providers)
    by_provider: dict[str, PriceSpec] = {}
    for price in sorted(prices, key=_oldest_and_dearest_first):
        if price.device == device_id and price.kind == kind and provider in ("", price.provider):
            by_provider[price.provider] = price
    if by_provider:
        ranked = sorted(by_provider.values(), key=lambda p: (p.usd_per_s.value, p.provider))
        return ranked[(len(ranked) - 1) // 2]
    if provider or kind != "on-demand" or device_id not in device_names():
        return None
    own = load_device(device_id).price.cloud
    return _own_price(device_id, own) if own else None


def _oldest_and_dearest_first(price: PriceSpec) -> tuple[str, float]:
    return price.usd_per_s.date, -price.usd_per_s.value


def _share_of(price: PriceSpec, device_id: str, share: float) -> PriceSpec:
    """What a partition bears of its device's price."""
    whole = price.usd_per_s
    fact = Fact(
        whole.value * share, whole.dimension, f"{share:.4g} of {whole.text}", Mark.ASSUMED,
        f"the larger share of slices of {device_id} in what its device costs ({whole.origin})", whole.date,
    )  # fmt: skip
    return msgspec.structs.replace(price, device=device_id, usd_per_s=fact)


def _own_price(device_id: str, usd_per_s: Fact) -> PriceSpec:
    """The price in a device's own file, whose provider is only named in the citation."""
    return PriceSpec(device=device_id, provider="", region="", usd_per_s=usd_per_s, kind="on-demand")
