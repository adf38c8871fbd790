"""What a scenario's devices cost when they are bought, beside what renting them costs, over their life."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, NamedTuple

from hardware_specs.errors import DoesNotFit, InputError
from hardware_specs.hosts import host_of
from hardware_specs.prices import PRICE_KINDS, load_prices, price_of
from hardware_specs.records import DeviceSpec, PriceKind, SiteSpec
from hardware_specs.sites import load_site, site_names
from silicost.answer import why_not
from simulator.assemble import host_w
from simulator.decisions.knobs import knob_of, result_at
from simulator.devices.priors import idle_w
from simulator.ownership import (
    HOST_SHARE,
    HOUR_S,
    MONTH_S,
    NETWORK_SHARE,
    SOCKET_SHARE,
    Asset,
    Draw,
    break_even_month,
    break_even_utilisation,
    owned,
)
from simulator.prepared import prepare
from simulator.result import Result
from simulator.scenario import Scenario, StaticBatch, TrainStep

_WHOLE_MACHINES: Final = ("apple", "dgx-spark", "edge-board", "soc", "laptop-gpu", "wafer", "cpu-soc")
"""Hosts whose device is sold as a whole computer."""
_DURATIONS: Final = ("e2e_s", "step_time_s")
ENDS: Final = ("low", "middle", "high")


class Prices(NamedTuple):
    """A price by all who name one: the least, the middle and the most; how many there are, and whose."""

    low: float
    middle: float
    high: float
    sources: int
    origin: str


class Terms(NamedTuple):
    """How the fleet is owned, as the user says.

    Args:
        utilisation: share of the hours at work.
        months, residual, discount, upkeep_usd_per_s: as ``simulator.ownership.Asset`` has them.
        reserved: rent is paid for every hour.
    """

    utilisation: float
    months: float
    residual: float
    discount: float
    upkeep_usd_per_s: float
    reserved: bool = False


USUAL: Final = Terms(0.6, 48.0, 0.1, 0.08, 0.0)
"""How fleets are owned where nobody says otherwise. Assumed: at work 60% of four years, a tenth left, 8% a year."""


@dataclass(frozen=True)
class Life:
    """What is known of one device of a fleet: what it does, draws and costs.

    ``bought`` is None where no purchase price is known, ``rent`` where no rental price is; ``reasons`` say why.
    ``host_usd``, ``network_usd`` are by the middle price of a device.
    """

    scenario: Scenario
    result: Result
    draw: Draw
    duration_s: float
    bought: Prices | None
    host_share: float
    network_share: float
    rent: Prices | None
    terms: Terms
    assumed: tuple[str, ...]
    reasons: Mapping[str, str]

    def asset(self, device_usd: float) -> Asset:
        """What is bought at some price of the device."""
        terms = self.terms
        return Asset(
            device_usd, self.host_share * device_usd, self.network_share * device_usd, terms.months, terms.residual,
            terms.discount, terms.upkeep_usd_per_s,
        )  # fmt: skip

    def owned_usd_per_used_s(self, device_usd: float) -> float:
        """What a second at work costs [USD/s]."""
        return owned(self.asset(device_usd), self.draw, self.terms.utilisation).total / self.terms.utilisation

    def rented_usd_per_used_s(self, usd_per_s: float) -> float:
        """What a second at work costs rented [USD/s]."""
        return usd_per_s / self.terms.utilisation if self.terms.reserved else usd_per_s

    def usd_per_million_tokens(self, usd_per_used_s: float) -> float | None:
        """Dollars of a million tokens [USD], output tokens of inference; None without tokens."""
        rate = tokens_per_device_s(self.result, self.duration_s)
        return usd_per_used_s / rate * 1e6 if rate else None


def life_of(
    scenario: Scenario, terms: Terms, purchase: Sequence[float] = (), host_share: float | None = None,
    network_share: float | None = None, rent: Sequence[float] = (), kind: PriceKind = "on-demand",
) -> Life:  # fmt: skip
    """What is known of the fleet that runs a scenario.

    Args:
        purchase: prices of a device by several sources [USD]; none: that of its file.
        host_share, network_share: purchase of host and network over the device's; None: assumed.
        rent: prices of a device-second by several sources [USD/s]; none: the scenario's, or all of the catalogue.

    Raises:
        InputError: several pools, another workload, or terms that cannot be.
        DoesNotFit: the memory does not suffice.
    """
    if scenario.mixed or not isinstance(scenario.workload, (StaticBatch, TrainStep)):
        raise InputError("own: one pool of equal devices that infers or trains; ask about each pool by itself")
    _check(terms)
    result = result_at(scenario, ())
    if not result.fits:
        raise DoesNotFit(why_not(result))
    pool = scenario.pools[0]
    duration_s = next(value for name in _DURATIONS if (value := result.metrics.get(name)))
    prepared = prepare(scenario)
    draw = _draw(result, scenario.site, duration_s, pool.count, idle_w(pool.device), sum(host_w((prepared,)).values()))
    assumed: list[str] = []
    reasons: dict[str, str] = {}
    bought = _bought(pool.device, purchase)
    if bought is None:
        reasons["buy"] = f"no purchase price of {pool.device.id} is known; give one with --purchase"
    rented = _rented(scenario, rent, kind)
    if rented is None:
        reasons["rent"] = f"no {kind} price of {pool.device.id} is known; give one with --rent or --price"
    shares = (
        _host_share(pool.device, host_share, assumed), _network_share(scenario, prepared.nodes, network_share, assumed)
    )  # fmt: skip
    return Life(
        scenario, result, draw, duration_s, bought, *shares, rented, terms, tuple(assumed), reasons
    )  # fmt: skip


def tokens_per_device_s(result: Result, duration_s: float) -> float:
    """Tokens of a device in a second: those that inference puts out, or that training reads."""
    made = result.metrics.get("tokens_per_s_per_device")
    if made:
        return made
    asked = result.configuration
    if result.kind != "training":
        return 0.0
    return float(asked["global_batch"]) * float(asked["seq_len"]) / duration_s / float(asked["count"])


def comparison(life: Life) -> dict[str, Any]:
    """Buying beside renting, as plain data [USD, hours, months]; None where a price is missing."""
    terms, rent, bought = life.terms, life.rent, life.bought
    found: dict[str, Any] = {"buy": None, "rent": None, "break_even_utilisation": None, "break_even_month": None}
    if bought is not None:
        middle = life.asset(bought.middle)
        per_hour = owned(middle, life.draw, terms.utilisation)
        found["buy"] = {
            "purchase_usd": {
                "device": middle.device_usd, "host": middle.host_usd, "network": middle.network_usd,
                "total": middle.purchase_usd, "sources": bought.sources, "origin": bought.origin,
            },
            "usd_per_hour": {name: value * HOUR_S for name, value in per_hour._asdict().items()},
            **_costs(life, bought, life.owned_usd_per_used_s),
        }  # fmt: skip
    if rent is not None:
        found["rent"] = {
            "sources": rent.sources, "origin": rent.origin, **_costs(life, rent, life.rented_usd_per_used_s)
        }  # fmt: skip
    if bought is not None and rent is not None:
        found["break_even_utilisation"] = _ends(bought, rent, life, _utilisation)
        found["break_even_month"] = {
            name: _ends(bought, rent, life, partial(_month, sold=sold))
            for name, sold in (("kept", False), ("sold_at_book_value", True))
        }  # fmt: skip
    return found


def sites_of(life: Life, names: Sequence[str]) -> list[dict[str, Any]]:
    """What the fleet costs and emits where electricity is another, one row a site, the least carbon first."""
    rows = []
    rate = tokens_per_device_s(life.result, life.duration_s)
    for name in names or site_names():
        site = load_site(name)
        draw = replace(
            life.draw, pue=site.pue.value, usd_per_j=site.electricity.value, g_per_j=site.carbon.value
        )  # fmt: skip
        work_w = draw.facility_w(life.terms.utilisation) / life.terms.utilisation
        usd = None
        if life.bought is not None:
            usd = owned(life.asset(life.bought.middle), draw, life.terms.utilisation).total / life.terms.utilisation
        rows.append({
            "site": name, "usd_per_kwh": site.electricity.value * 3.6e6, "pue": site.pue.value,
            "g_per_kwh": site.carbon.value * 3.6e6, "kwh_per_device_hour": work_w * HOUR_S / 3.6e6,
            "g_per_device_hour": work_w * HOUR_S * site.carbon.value,
            "g_per_million_tokens": work_w * site.carbon.value / rate * 1e6 if rate else None,
            "own_usd_per_device_hour": None if usd is None else usd * HOUR_S,
        })  # fmt: skip
    return sorted(rows, key=lambda row: (row["g_per_device_hour"], row["site"]))


def caps_of(life: Life, caps_w: Sequence[float]) -> list[dict[str, Any]]:
    """What power limits cost in time and save in joules, the scenario's own limit first.

    Raises:
        InputError: a limit that leaves nothing above the static power, or one above what the part is built for.
    """
    knob = knob_of(life.scenario, "device.parameters.cap_w", "--power-cap")
    rows = [_cap_row(life, knob.value, life.result)]
    for cap in caps_w:
        if cap > knob.value * (1.0 + 1e-9):
            device = life.scenario.pools[0].device.id
            raise InputError(f"--power-cap {cap:g} W: {device} is limited to {knob.value:g} W already")
        rows.append(_cap_row(life, cap, result_at(life.scenario, [(knob, cap)])))
    return rows


def _cap_row(life: Life, cap_w: float, result: Result) -> dict[str, Any]:
    base, count = life.result, life.scenario.pools[0].count
    duration_s = next(value for name in _DURATIONS if (value := result.metrics.get(name)))
    draw = _draw(result, life.scenario.site, duration_s, count, life.draw.idle_w, life.draw.host_w * count)
    capped = replace(life, result=result, draw=draw, duration_s=duration_s)
    buy = life.bought and capped.usd_per_million_tokens(capped.owned_usd_per_used_s(life.bought.middle))
    rent = life.rent and capped.usd_per_million_tokens(capped.rented_usd_per_used_s(life.rent.middle))
    return {
        "cap_w": cap_w, "busy_w": draw.busy_w, "duration_s": duration_s,
        "times_as_long": duration_s / life.duration_s, "device_j": result.energy.device,
        "joules_saved": 1.0 - result.energy.device / base.energy.device,
        "facility_joules_saved": 1.0 - result.energy.facility / base.energy.facility,
        "buy_usd_per_million_tokens": buy, "rent_usd_per_million_tokens": rent,
    }  # fmt: skip


def _check(terms: Terms) -> None:
    """Refuse terms that cannot be.

    Raises:
        InputError: with the flag, its value and what is allowed.
    """
    if not 0.0 < terms.utilisation <= 1.0:
        raise InputError(f"--utilisation {terms.utilisation:g}: must be above 0 and at most 1")
    if not 1.0 <= terms.months <= 1200.0:
        raise InputError(f"--life {terms.months / 12.0:g}: must be from 1 month to 100 years")
    if not 0.0 <= terms.residual < 1.0:
        raise InputError(f"--residual {terms.residual:g}: must be from 0 to below 1, the share that is left in the end")
    if not 0.0 <= terms.discount <= 1.0:
        raise InputError(f"--discount {terms.discount:g}: must be from 0 to 1 a year, for example 0.08")
    if not 0.0 <= terms.upkeep_usd_per_s < math.inf:
        raise InputError("--upkeep: must not be below 0")


def _draw(result: Result, site: SiteSpec, duration_s: float, count: int, rest_w: float, hosts_w: float) -> Draw:
    busy_w = result.energy.device / duration_s / count
    return Draw(
        busy_w, min(rest_w, busy_w), hosts_w / count, site.pue.value, site.electricity.value, site.carbon.value
    )  # fmt: skip


def _bought(device: DeviceSpec, given: Sequence[float]) -> Prices | None:
    if given:
        return _prices(given, "set by the user")
    own = device.price.purchase
    return None if own is None else _prices([own.value], own.origin)


def _rented(scenario: Scenario, given: Sequence[float], kind: PriceKind) -> Prices | None:
    if kind not in PRICE_KINDS:
        raise InputError(f"--rent-kind {kind!r}: must be one of {', '.join(PRICE_KINDS)}")
    pool = scenario.pools[0]
    if given:
        return _prices(given, "set by the user")
    if pool.price_origin == "set by the user" and pool.usd_per_device_s is not None:
        return _prices([pool.usd_per_device_s.value], pool.price_origin)
    middle = price_of(pool.device.id, kind=kind)
    if middle is None:
        return None
    asked = {each.provider for each in load_prices() if each.device == pool.device.id and each.kind == kind}
    each_of = [price_of(pool.device.id, provider, kind) for provider in sorted(asked)]
    values = [price.usd_per_s.value for price in each_of if price is not None] or [middle.usd_per_s.value]
    origin = f"{kind}: {', '.join(sorted(asked))}" if asked else middle.usd_per_s.origin
    return Prices(min(values), middle.usd_per_s.value, max(values), len(values), origin)


def _prices(values: Sequence[float], origin: str) -> Prices:
    """Least, median (of an even number the lower middle one) and most.

    Raises:
        InputError: one is not above 0.
    """
    ranked = sorted(values)
    if not ranked[0] > 0.0:
        raise InputError("a price must be above 0")
    return Prices(ranked[0], ranked[(len(ranked) - 1) // 2], ranked[-1], len(ranked), origin)


def usual_asset(device: DeviceSpec, terms: Terms, several_nodes: bool) -> Asset | None:
    """What one device costs to own by its file's price and the usual shares; None where no purchase price is known."""
    bought = device.price.purchase
    if bought is None:
        return None
    host, network = _host_share(device, None, []), NETWORK_SHARE if several_nodes else 0.0
    return Asset(
        bought.value, host * bought.value, network * bought.value, terms.months, terms.residual, terms.discount,
        terms.upkeep_usd_per_s,
    )  # fmt: skip


def _host_share(device: DeviceSpec, given: float | None, assumed: list[str]) -> float:
    if given is not None:
        return _share("--host-share", given)
    if host_of(device).id in _WHOLE_MACHINES:
        assumed.append(f"{device.id} is sold as a whole computer: no host beside it")
        return 0.0
    share = SOCKET_SHARE if device.device_class == "cpu" else HOST_SHARE
    assumed.append(f"its share of a host costs {share:g} of a device (--host-share)")
    return share


def _network_share(scenario: Scenario, nodes: float, given: float | None, assumed: list[str]) -> float:
    if given is not None:
        return _share("--network-share", given)
    if nodes <= 1.0:
        return 0.0
    assumed.append(f"its share of the network costs {NETWORK_SHARE:g} of a device (--network-share)")
    return NETWORK_SHARE


def _share(flag: str, value: float) -> float:
    if not 0.0 <= value < 1e6:
        raise InputError(f"{flag} {value:g}: must not be below 0")
    return value


def _costs(life: Life, prices: Prices, per_used_s: Callable[[float], float]) -> dict[str, Any]:
    """Dollars of a device-hour at work and of a million tokens, by the least, middle and most that is asked."""
    values = {end: per_used_s(getattr(prices, end)) for end in ENDS}
    return {
        "usd_per_device_hour": {end: value * HOUR_S for end, value in values.items()},
        "usd_per_million_tokens": {end: life.usd_per_million_tokens(value) for end, value in values.items()},
    }  # fmt: skip


_Found = Callable[[Life, float, float], float | None]


def _ends(bought: Prices, rent: Prices, life: Life, find: _Found) -> dict[str, float | None]:
    """What ``find`` says where buying looks best (cheap, beside dear rent), in the middle, and where it looks worst."""
    pairs = {"low": (bought.low, rent.high), "middle": (bought.middle, rent.middle), "high": (bought.high, rent.low)}
    return {end: find(life, usd, per_s) for end, (usd, per_s) in pairs.items()}


def _utilisation(life: Life, device_usd: float, rent_usd_per_s: float) -> float | None:
    return break_even_utilisation(life.asset(device_usd), life.draw, rent_usd_per_s, life.terms.reserved)


def _month(life: Life, device_usd: float, rent_usd_per_s: float, sold: bool) -> float | None:
    terms = life.terms
    paid = 1.0 if terms.reserved else terms.utilisation
    return break_even_month(life.asset(device_usd), life.draw, terms.utilisation, rent_usd_per_s, paid, sold)


def run_cost(life: Life, tokens: float) -> dict[str, float | None]:
    """A run of so many tokens on the whole fleet: days, device-hours, dollars bought and rented, joules, carbon.

    Raises:
        InputError: tokens that are none.
    """
    rate = tokens_per_device_s(life.result, life.duration_s)
    if not tokens > 0.0 or not rate:
        raise InputError(f"--tokens {tokens:g}: must be above 0, of a workload that has tokens")
    device_s = tokens / rate
    count = life.scenario.pools[0].count
    facility_j = life.result.energy.facility / life.duration_s / count * device_s
    return {
        "tokens": tokens, "days": device_s / count / 86400.0, "device_hours": device_s / HOUR_S,
        "buy_usd": None if life.bought is None else life.owned_usd_per_used_s(life.bought.middle) * device_s,
        "rent_usd": None if life.rent is None else life.rented_usd_per_used_s(life.rent.middle) * device_s,
        "facility_kwh": facility_j / 3.6e6, "carbon_kg": facility_j * life.draw.g_per_j / 1e3,
        "months_of_life": device_s / count / MONTH_S,
    }  # fmt: skip
