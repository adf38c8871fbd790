"""What a second of some devices costs: rented, or owned with hosts, electricity and idle hours."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.prices import price_of
from hardware_specs.records import DeviceSpec
from silicost.ownership import USUAL, usual_asset
from silicost.recommend.question import Question
from simulator.assemble import host_w
from simulator.devices.priors import idle_w
from simulator.ownership import Asset, Draw, owned
from simulator.prepared import Prepared

Floats = npt.NDArray[np.float64]


class Rate(NamedTuple):
    """What one device costs a second at work: ``usd_per_s`` rented; of owned ones what depends on its draw as well.

    ``asset`` is None of rented devices.
    """

    usd_per_s: float
    origin: str
    asset: Asset | None = None
    draw: Draw | None = None
    utilisation: float = 1.0

    def at(self, busy_w: Floats) -> Floats:
        """Dollars of a device-second where a device draws so much at work [USD/s], shape [n]."""
        if self.asset is None or self.draw is None:
            return np.full_like(busy_w, self.usd_per_s)
        return np.array([
            owned(self.asset, replace(self.draw, busy_w=float(w), idle_w=min(self.draw.idle_w, float(w))),
                  self.utilisation).total / self.utilisation
            for w in busy_w
        ])  # fmt: skip


def is_priced(asked: Question, spec: DeviceSpec) -> bool:
    """Whether a price of the kind that is asked for is known."""
    rented, bought = price_of(spec.id) is not None, spec.price.purchase is not None
    return {"rent": rented, "own": bought}.get(asked.prices, rented or bought)


def rate_of(asked: Question, prepared: Prepared) -> Rate | None:
    """What a device of a pool costs; None where that is not known."""
    pool, site = prepared.pool, prepared.scenario.site
    rented = price_of(pool.device.id) if asked.prices != "own" else None
    if rented is not None:
        return Rate(rented.usd_per_s.value, f"{rented.provider} {rented.kind}".strip())
    asset = usual_asset(pool.device, USUAL, prepared.nodes > 1.0) if asked.prices != "rent" else None
    if asset is None:
        return None
    hosts_w = sum(host_w((prepared,)).values()) / pool.count
    draw = Draw(0.0, idle_w(pool.device), hosts_w, site.pue.value, site.electricity.value)
    years = USUAL.months / 12.0
    origin = f"bought, at work {asked.utilisation:.0%} of {years:g} years"
    return Rate(0.0, origin, asset, draw, asked.utilisation)


def no_price(asked: Question, spec: DeviceSpec) -> str:
    """Why a device has no price."""
    kind = {"rent": "rental ", "own": "purchase "}.get(asked.prices, "")
    return f"no {kind}price of {spec.id} is known"
