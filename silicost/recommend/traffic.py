"""Traffic at a rate: a closed form screens all devices, the cheapest of them are served request by request.

The screen takes a replica to hold a batch all the time: it ends a request every e2e / batch seconds, at most ``BUSY``
of which may be asked of it; a prompt alone must keep the bound of the first token, the batch that of the others. What
is said of finalists comes from ``silicost capacity``: the highest rate that holds the objectives, and the replicas that
the rate needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from hardware_specs.errors import InputError
from hardware_specs.records import DeviceSpec
from reports.numbers import quantity
from silicost.recommend.batches import (
    bound_of,
    fitting,
    nearest_miss,
    plans_of,
    questions_of,
    worse,
)
from silicost.recommend.candidates import (
    Candidate,
    Loser,
    loss,
    over_budget,
    over_hourly,
    rated_w,
)
from silicost.recommend.pricing import is_priced, no_price, rate_of
from silicost.recommend.question import Question
from silicost.studies.cells import Value

BUSY: Final = 0.8
"""Share of a replica's rate that the screen asks of it. Assumed: queues grow beyond."""
FINALISTS: Final = 3
"""Devices that are served request by request."""
_KEYS: Final = ("count", "tp", "pp", "runtime", "dtype", "weight_dtype", "kv_dtype", "price")


def screened(asked: Question, spec: DeviceSpec) -> tuple[Candidate | Loser, int]:
    """A device under the plan that the closed form likes best, or why it has none; and how many designs were priced."""
    if asked.objective == "usd" and not is_priced(asked, spec):
        return Loser(spec.id, spec.device_class, "price", no_price(asked, spec), 0.0), 0
    losers: list[Loser] = []
    best: Candidate | None = None
    priced = 0
    for tp, pp in plans_of(asked):
        if best is not None and not asked.counts and (pp > 1 or worse(best, tp)):
            break
        for question in questions_of(asked, spec, tp, pp):
            found, many = _of_cell(asked, spec, question)
            priced += many
            if isinstance(found, Loser):
                losers.append(found)
            elif best is None or loss(asked, found) < loss(asked, best):
                best = found
    return (best or nearest_miss(losers)), priced


def _of_cell(asked: Question, spec: DeviceSpec, question: dict[str, Value]) -> tuple[Candidate | Loser, int]:
    answered, many = fitting(asked, spec, question)
    if isinstance(answered, Loser):
        return answered, many
    prepared, work, found, fits = answered
    count = prepared.pool.count

    def lost(code: str, why: str, off: float) -> tuple[Loser, int]:
        return Loser(spec.id, spec.device_class, code, why, off), many

    first_s, each_s, whole_s = found["ttft_s"][0], found["tpot_s"], found["e2e_s"]
    holds, margins = fits.copy(), np.zeros(many)
    for limit in asked.limits:
        kind, bound = limit.constraint.metric, limit.constraint.bound
        values = {"ttft_s": np.full(many, first_s), "tpot_s": each_s, "e2e_s": whole_s}.get(kind)
        if values is not None:
            known = np.where(np.isfinite(values), values, 0.0)
            margins = np.maximum(margins, np.log(np.maximum(known / bound, 1e-12)))
            holds &= known <= bound
    if not holds.any():
        closest = int(np.where(fits, margins, np.inf).argmin())
        why = ", ".join(
            f"{limit.constraint.metric} is {quantity(float(value), 's')}, above {quantity(limit.constraint.bound, 's')}"
            for limit in asked.limits
            for value in [_at(limit.constraint.metric, first_s, each_s[closest], whole_s[closest])]
            if value > limit.constraint.bound
        )
        return lost("slo", f"{why} for one request alone on {count}", float(margins[closest]))
    replicas = np.ceil(asked.rate / (BUSY * work.batch / whole_s))
    rate = rate_of(asked, prepared)
    usd_per_s = np.full(many, np.nan)
    if rate is not None:
        usd_per_s = rate.at(found["device_j"] / whole_s / count) * count
    usd = usd_per_s * replicas / (asked.rate * asked.osl) * 1e6
    values = {"usd": usd, "energy": found["j_per_output_token"], "latency": whole_s}[asked.objective]
    costs = np.where(holds & np.isfinite(values), values, np.inf)
    row = int(costs.argmin())
    if not math.isfinite(costs[row]):
        return lost("price", no_price(asked, spec), 0.0)
    devices = int(replicas[row]) * count
    over, off = over_budget(asked, spec, devices)
    if over:
        return lost("budget", f"{over} ({devices} devices)", off)
    hourly = float(usd_per_s[row]) * 3600.0 * int(replicas[row]) if rate is not None else None
    if hourly is not None and hourly > asked.usd_per_h:
        return lost("budget", over_hourly(hourly, asked.usd_per_h), math.log(hourly / asked.usd_per_h))
    metrics: dict[str, float | None] = {
        name: float(column[row]) if np.isfinite(column[row]) else None for name, column in found.items()
    }
    metrics |= {"usd_per_million_output_tokens": float(usd[row]) if rate is not None else None}
    own: dict[str, Value] = {"batch": int(work.batch[row]), "isl": asked.isl, "osl": asked.osl}
    if rate is not None:
        own["price"] = f"{float(usd_per_s[row]) / count * 3600.0:.12g} USD/h"
    return Candidate(
        spec, question | own, metrics, devices, float(found["memory_bytes"][row]), prepared.usable_bytes, hourly,
        "" if rate is None else rate.origin, rated_w(spec, devices), bound_of(metrics),
        more={"replicas": int(replicas[row]), "devices_per_replica": count, "screened": True},
    ), many  # fmt: skip


def _at(kind: str, first_s: float, each_s: float, whole_s: float) -> float:
    value = {"ttft_s": first_s, "tpot_s": each_s, "e2e_s": whole_s}.get(kind, 0.0)
    return float(value) if math.isfinite(value) else 0.0


def finalists(asked: Question, candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Loser]]:
    """The best of the screen served request by request; those that fail there and those that were not served lose."""
    ranked = sorted(candidates, key=lambda each: (loss(asked, each), each.device.id))
    served: list[Candidate] = []
    losers: list[Loser] = []
    for each in ranked:
        if len(served) == FINALISTS or len(served) + len(losers) == 2 * FINALISTS:
            losers.append(_not_served(asked, ranked[0], each))
            continue
        found = _served(asked, each)
        losers.append(found) if isinstance(found, Loser) else served.append(found)
    return served, losers


def _not_served(asked: Question, first: Candidate, each: Candidate) -> Loser:
    times = math.exp(loss(asked, each) - loss(asked, first))
    what = {"usd": "dearer", "energy": "more energy"}.get(asked.objective, "slower")
    why = f"{times:.3g}x of the best in the closed form: {what}; bound by {each.bound}"
    return Loser(each.device.id, each.device.device_class, "screened", why, math.log(max(times, 1.0)))


def _served(asked: Question, each: Candidate) -> Candidate | Loser:
    from silicost.serving.capacity import capacity_of, latencies_of, replicas_for

    spec = each.device

    def lost(code: str, why: str) -> Loser:
        return Loser(spec.id, spec.device_class, code, why)

    try:
        found = capacity_of(_fleet(asked, each), "traffic", intervals=True)
    except InputError as error:
        return lost("memory" if getattr(error, "code", "") == "memory" else "plan", str(error))
    if found.why[0]:
        return lost("slo" if found.why[0] == "slo" else "plan", found.why[1])
    needed = replicas_for(found, asked.rate)
    if needed is None:
        return lost("plan", f"no number of replicas up to 10,000 serves {asked.rate:g} requests/s")
    devices = needed.replicas * int(each.more["devices_per_replica"])
    over, _ = over_budget(asked, spec, devices)
    if over:
        return lost("budget", f"{over} ({devices} devices)")
    values, latencies = needed.answer.found.outcome.values, latencies_of(needed.answer.requests)
    usd, seconds = values["usd"], values["duration_s"]
    hourly = usd / seconds * 3600.0 if usd is not None and seconds else None
    if hourly is not None and hourly > asked.usd_per_h:
        return lost("budget", over_hourly(hourly, asked.usd_per_h))
    metrics: dict[str, float | None] = {
        "usd_per_million_output_tokens": values["usd_per_million_output_tokens"],
        "j_per_output_token": values["j_per_output_token"], "e2e_s": latencies["e2e_s"].mean,
        **{name: _quantile(asked, name, latencies) for name in ("ttft_s", "tpot_s", "queue_s")},
        "output_tokens_per_s": values["output_tokens_per_s"], "utilisation": values["utilisation"],
        "running_mean": values["running_mean"],
    }  # fmt: skip
    best, interval = metrics[asked.metric], None
    if best is not None and found.interval is not None and asked.objective != "latency":
        low, high = found.interval
        interval = (best * found.rate_per_s / high, best * found.rate_per_s / low)
    running = values["running_mean"]
    return replace(
        each, metrics=metrics, interval=interval, count=devices, usd_per_hour=hourly, rated_w=rated_w(spec, devices),
        more={
            "replicas": needed.replicas, "devices_per_replica": each.more["devices_per_replica"], "screened": False,
            "rate_per_s_per_replica": found.rate_per_s, "rate_interval": found.interval,
            "running_mean": running, "notes": list(found.notes),
        },
    )  # fmt: skip


def _quantile(asked: Question, name: str, latencies: Any) -> float | None:
    """The quantile of a latency that its bound is of (p50, p90, p99), or the 99th without a bound."""
    share = next((limit.share for limit in asked.limits if limit.constraint.metric == name), 0.99)
    latency = latencies[name]
    known = {0.5: "p50", 0.9: "p90", 0.95: "p95", 0.99: "p99"}.get(share, "p99")
    return getattr(latency, known, None)


def _fleet(asked: Question, each: Candidate) -> Any:
    from silicost.serving.tables import FleetTable, PoolTable, TrafficTable

    own: dict[str, Any] = {key: each.question[key] for key in _KEYS if key in each.question}
    slo = ",".join(
        f"{limit.constraint.metric.removesuffix('_s')}={limit.constraint.bound:.12g}s@p{100.0 * limit.share:.6g}"
        for limit in asked.limits
    )
    pool = PoolTable(each.device.id, model=asked.model, **own)
    return FleetTable(TrafficTable(isl=str(asked.isl), osl=str(asked.osl)), (pool,), slo=slo, site=asked.site)
