"""What a device costs over its life when it is bought, beside what renting it costs: arithmetic on prices and watts.

All of one device, its share of host and network included. With P the purchase, S what it is worth after n months, i the
discount rate of a month, the capital costs every month the same as the purchase less the discounted resale (annuity;
Park, Contemporary Engineering Economics, chapter 6, "capital recovery cost with return")::

    A = (P - S / (1 + i)^n) i / (1 - (1 + i)^-n)         (P - S) / n  where i = 0

A share u of the hours (utilisation) it works, else it idles; the facility draws PUE times what devices and hosts draw::

    own(u)  = A + upkeep + e PUE (u busy + (1 - u) idle + host)          per hour that it stands there
    rent(u) = u rent, or rent where every hour is paid (reserved)

Both meet at the break-even utilisation. The break-even month is the first at which owning, paid so far less the resale
at its book value (straight line from P to S), costs no more than renting until then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

HOUR_S: Final = 3600.0
MONTH_S: Final = 365.25 * 86400.0 / 12.0
_NO_RATE: Final = 1e-12
"""A rate of a month below this is none."""
HOST_SHARE: Final = 0.35
"""Purchase of a device's share of its server, over its own. Assumed: servers of eight accelerators cost a quarter to a
half more than the accelerators in them."""
SOCKET_SHARE: Final = 1.0
"""The same of a CPU. Assumed: boards, DRAM, disks and chassis cost about as much as the processors."""
NETWORK_SHARE: Final = 0.12
"""Purchase of switches, cables and adapters of a fleet of several nodes, over that of its devices. Assumed: 10 to 15%
of what clusters of accelerators cost."""


@dataclass(frozen=True)
class Asset:
    """What is bought, for one device.

    Args:
        device_usd, host_usd, network_usd: purchase, the device's share of host and network [USD].
        months: life.
        residual: share of the purchase that it is worth at the end of its life.
        discount: rate of a year.
        upkeep_usd_per_s: staff, space, maintenance [USD/s].
    """

    device_usd: float
    host_usd: float
    network_usd: float
    months: float
    residual: float = 0.0
    discount: float = 0.0
    upkeep_usd_per_s: float = 0.0

    @property
    def purchase_usd(self) -> float:
        """All that is paid at once [USD]."""
        return self.device_usd + self.host_usd + self.network_usd

    @property
    def monthly_rate(self) -> float:
        """Discount rate of a month."""
        return math.expm1(math.log1p(self.discount) / 12.0)


@dataclass(frozen=True)
class Draw:
    """What one device and its share of a host draw [W], and what that costs.

    Args:
        busy_w, idle_w: of the device at work, and at rest.
        host_w: of its share of the host, always.
        pue: facility over IT power.
        usd_per_j, g_per_j: electricity [USD/J] and carbon [g/J].
    """

    busy_w: float
    idle_w: float
    host_w: float
    pue: float
    usd_per_j: float
    g_per_j: float = 0.0

    def facility_w(self, utilisation: float) -> float:
        """Mean draw at the facility's meter [W]."""
        return self.pue * (utilisation * self.busy_w + (1.0 - utilisation) * self.idle_w + self.host_w)

    def usd_per_s(self, utilisation: float) -> float:
        """Electricity of every second that the device stands there [USD/s]."""
        return self.facility_w(utilisation) * self.usd_per_j


class Owned(NamedTuple):
    """What owning costs every second that the device stands there, by part [USD/s]."""

    capital: float
    upkeep: float
    electricity: float

    @property
    def total(self) -> float:
        """All parts [USD/s]."""
        return self.capital + self.upkeep + self.electricity


def capital_usd_per_s(asset: Asset) -> float:
    """Capital cost of every second of the life [USD/s]."""
    end_usd = asset.residual * asset.purchase_usd * _left(asset, asset.months)
    return (asset.purchase_usd - end_usd) / (_annuity(asset, asset.months) * MONTH_S)


def owned(asset: Asset, draw: Draw, utilisation: float) -> Owned:
    """What owning costs at a utilisation."""
    return Owned(capital_usd_per_s(asset), asset.upkeep_usd_per_s, draw.usd_per_s(utilisation))


def break_even_utilisation(asset: Asset, draw: Draw, rent_usd_per_s: float, reserved: bool = False) -> float | None:
    """The share of hours at work above which owning is cheaper; None where it is at no utilisation.

    Args:
        reserved: rent is paid for every hour, at work or not. Owning is then cheaper *below* what is given, for an idle
            device draws less.
    """
    idle, busy = owned(asset, draw, 0.0).total, owned(asset, draw, 1.0).total
    if reserved:
        if idle > rent_usd_per_s:
            return None
        return 1.0 if busy <= rent_usd_per_s else (rent_usd_per_s - idle) / (busy - idle)
    least = rent_usd_per_s - (busy - idle)
    return idle / least if least > 0.0 and idle <= least else None


def book_usd(asset: Asset, months: float) -> float:
    """What the purchase is worth after some months, depreciated in a straight line [USD]."""
    worn = min(months / asset.months, 1.0)
    return asset.purchase_usd * (1.0 - (1.0 - asset.residual) * worn)


def spent_usd(asset: Asset, draw: Draw, utilisation: float, months: float, resale: bool = True) -> float:
    """Present value of owning for some months [USD], less the resale at its book value where it is sold then."""
    running = (asset.upkeep_usd_per_s + draw.usd_per_s(utilisation)) * MONTH_S
    sold = book_usd(asset, months) * _left(asset, months) if resale else 0.0
    return asset.purchase_usd + running * _annuity(asset, months) - sold


def rented_usd(asset: Asset, rent_usd_per_s: float, paid: float, months: float) -> float:
    """Present value of renting for some months [USD]; ``paid``: share of the hours that are paid."""
    return rent_usd_per_s * paid * MONTH_S * _annuity(asset, months)


def break_even_month(
    asset: Asset, draw: Draw, utilisation: float, rent_usd_per_s: float, paid: float, resale: bool = True
) -> float | None:
    """The month from which owning has cost no more than renting; None where it has not within the life.

    Args:
        paid: share of the hours whose rent is paid: the utilisation, or 1 where all are.
        resale: the device is sold at its book value then; else nothing is got for it.
    """

    def gain(months: float) -> float:
        spent = spent_usd(asset, draw, utilisation, months, resale)
        return rented_usd(asset, rent_usd_per_s, paid, months) - spent

    grid = [asset.months * step / 600.0 for step in range(1, 601)]
    after = next((months for months in grid if gain(months) >= 0.0), None)
    if after is None:
        return None
    before = after - asset.months / 600.0
    for _ in range(60):
        middle = 0.5 * (before + after)
        before, after = (before, middle) if gain(middle) >= 0.0 else (middle, after)
    return after


def _left(asset: Asset, months: float) -> float:
    """Present value of 1 after some months."""
    return math.exp(-months * math.log1p(asset.discount) / 12.0)


def _annuity(asset: Asset, months: float) -> float:
    """Present value of 1 a month for some months."""
    rate = asset.monthly_rate
    return -math.expm1(-months * math.log1p(rate)) / rate if rate > _NO_RATE else months
