"""Training: every device under its best plan of a step, as far as its datasheet leaves it a chance.

A step takes at least its model FLOPs at the peak of its compute dtype, costs at least that time at the price, and draws
at least static power for so long. Devices are searched in the order of this bound, until the bound of the next one is
worse than the candidate that stands last among those that are compared: whoever comes after cannot be among them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from hardware_specs.dtypes import COMPUTE_DTYPES
from hardware_specs.errors import DoesNotFit, InputError
from hardware_specs.records import DeviceSpec
from reports.numbers import quantity
from silicost.plan_search import Found, search_plans
from silicost.recommend.batches import nearest_miss
from silicost.recommend.candidates import (
    Candidate,
    Loser,
    broken,
    loss,
    over_budget,
    over_hourly,
    rated_w,
)
from silicost.recommend.pricing import Rate, is_priced, no_price, rate_of
from silicost.recommend.question import TRAINERS, Question
from silicost.scenarios import training_scenario
from silicost.studies.cells import Value, reason_of
from simulator.bulk.plans import Bounds, plan_of
from simulator.prepared import Prepared, prepare
from simulator.result import Result
from simulator.scenario import Scenario, TrainStep
from simulator.simulate import simulate
from workloads.models.parameters import count_parameters

BOUNDS: Final = Bounds(
    tp=8, pp=16, cp=1, ep=8, vpp=1, micro_batch=4, recompute=("none", "selective", "full"), zero=(0, 1, 3),
    schedules=("1f1b",),
)  # fmt: skip
"""Plans that are tried: fewer than ``silicost train --search``, which goes on from there."""
_KEYS: Final = (
    "tp", "pp", "dp", "cp", "ep", "vpp", "micro_batch", "recompute", "seq_parallel", "zero", "schedule", "overlap",
    "offload",
)  # fmt: skip


class Start(NamedTuple):
    """A device on so many chips before its plans are searched: the log of the least that its step can come to."""

    spec: DeviceSpec
    devices: int
    scenario: Scenario
    prepared: Prepared
    rate: Rate | None
    bound: float


def best_plans(
    asked: Question, devices: Sequence[DeviceSpec]
) -> tuple[list[Candidate], list[Loser], int]:  # fmt: skip
    """Candidates, losers, and how many plans were priced."""
    starts: list[Start] = []
    losers: list[Loser] = []
    for spec in devices:
        found = _start(asked, spec, (asked.counts or TRAINERS)[0])
        losers.append(found) if isinstance(found, Loser) else starts.append(found)
    starts.sort(key=lambda start: (start.bound, start.spec.id))
    candidates: list[Candidate] = []
    priced = 0
    for start in starts:
        known = sorted(loss(asked, each) for each in candidates)
        if len(known) >= asked.top and start.bound > known[asked.top - 1]:
            losers.append(_outbid(asked, start, math.exp(known[asked.top - 1])))
            continue
        answer, many = _best(asked, start)
        priced += many
        losers.append(answer) if isinstance(answer, Loser) else candidates.append(answer)
    return candidates, losers, priced


def _start(asked: Question, spec: DeviceSpec, count: int) -> Start | Loser:
    if asked.objective == "usd" and not is_priced(asked, spec):
        return Loser(spec.id, spec.device_class, "price", no_price(asked, spec), 0.0)
    try:
        scenario = _scenario(asked, spec, count)
        prepared = prepare(scenario)
    except InputError as error:
        code = reason_of(error)
        return Loser(spec.id, spec.device_class, code if code != "input" else "plan", str(error))
    rate = rate_of(asked, prepared)
    return Start(spec, count, scenario, prepared, rate, math.log(_least(asked, prepared, rate)))


def _scenario(asked: Question, spec: DeviceSpec, count: int, **plan: Any) -> Scenario:
    named = {"runtime": asked.runtime} if asked.runtime else {}
    ways = plan or {"dp": count, "tp": 1}
    return training_scenario(
        asked.model, spec.id, global_batch=asked.global_batch, seq_len=asked.seq_len, lora_rank=asked.lora_rank,
        dtype=asked.dtype.split(",")[0].strip(), site=asked.site, count=count, **ways, **named,
    )  # fmt: skip


def _least(asked: Question, prepared: Prepared, rate: Rate | None) -> float:
    """The least that a step can come to by the objective's metric: the products of layers at the peak."""
    work = prepared.scenario.workload
    assert isinstance(work, TrainStep)
    passes = 4.0 if asked.lora_rank else 6.0
    flops = passes * (count_parameters(work.model).active - _embedding(work)) * work.global_batch * work.seq_len
    peaks = prepared.model.record["peaks"]
    device_s = flops / float(peaks[COMPUTE_DTYPES.index(prepared.precision.compute)])
    if asked.objective == "energy":
        return device_s * float(prepared.model.record["static_w"])
    if asked.objective == "usd" and rate is not None:
        return device_s * float(rate.at(np.array([float(prepared.model.record["static_w"])]))[0])
    return device_s / prepared.pool.count


def _embedding(work: TrainStep) -> int:
    """Parameters that are looked up, not multiplied (the whole table, whether it is the head as well or not)."""
    return work.model.vocab * work.model.hidden


def _outbid(asked: Question, start: Start, last: float) -> Loser:
    times = math.exp(start.bound) / last
    what = {"usd": "dearer", "energy": "more energy"}.get(asked.objective, "slower")
    why = f"at its peak rate a step is {times:.3g}x of the last one that is compared: {what} (bound by compute)"
    return Loser(start.spec.id, start.spec.device_class, "bound", why, math.log(times))


def _best(asked: Question, start: Start) -> tuple[Candidate | Loser, int]:
    """The best plan of a device, on the first number of devices that holds it or on the best of those asked for."""
    best: Candidate | None = None
    losers: list[Loser] = []
    priced = 0
    for count in asked.counts or TRAINERS:
        one: Start | Loser = start
        if count != start.devices:
            one = _start(asked, start.spec, count)
        answer, many = (one, 0) if isinstance(one, Loser) else _searched(asked, one)
        priced += many
        if isinstance(answer, Loser):
            losers.append(answer)
            continue
        if best is None or loss(asked, answer) < loss(asked, best):
            best = answer
        if not asked.counts:
            break
    return (best or nearest_miss(losers)), priced


def _searched(asked: Question, start: Start) -> tuple[Candidate | Loser, int]:
    spec, count = start.spec, start.devices

    def lost(code: str, why: str, off: float = math.inf) -> Loser:
        return Loser(spec.id, spec.device_class, code, f"{why} ({count} devices)", off)

    over, off = over_budget(asked, spec, count)
    if over:
        return lost("budget", over, off), 0
    try:
        found = search_plans(start.scenario, {}, BOUNDS)
    except DoesNotFit as error:
        return lost("memory", f"does not fit: {str(error).partition(';')[0]}", 0.0), 0
    except InputError as error:
        code = reason_of(error)
        return lost(code if code != "input" else "plan", str(error)), 0
    many = len(found.plans.tp)
    columns = found.costs
    usd = np.full(many, np.nan)
    if start.rate is not None:
        usd = start.rate.at(columns.device_j / columns.step_s / count) * count
    values = {
        "step_time_s": columns.step_s, "device_j": columns.device_j, "usd_per_step": usd * columns.step_s
    }[asked.metric]  # fmt: skip
    if not np.isfinite(values[columns.fits]).any():
        return lost("price", no_price(asked, spec), 0.0), many
    rows = np.flatnonzero(columns.fits & np.isfinite(values))
    rows = rows[np.argsort(values[rows], kind="stable")]
    row = int(rows[0])
    each = _candidate(asked, start, found, row, float(usd[row]))
    why, off = broken(asked.limits, each.metrics)
    if why:
        return lost("slo", why, off), many
    if each.usd_per_hour is not None and each.usd_per_hour > asked.usd_per_h:
        excess = math.log(each.usd_per_hour / asked.usd_per_h)
        return lost("budget", over_hourly(each.usd_per_hour, asked.usd_per_h), excess), many
    if each.usd_per_hour is None and math.isfinite(asked.usd_per_h):
        return lost("price", no_price(asked, spec), 0.0), many
    return each, many


def _candidate(asked: Question, start: Start, found: Found, row: int, usd_per_s: float) -> Candidate:
    plan, costs = plan_of(start.prepared.pool.plan, found.plans, row), found.costs
    step_s = float(costs.step_s[row])
    ways: dict[str, Any] = {key: getattr(plan, "sequence" if key == "seq_parallel" else key) for key in _KEYS}
    question: dict[str, Value] = {
        "model": asked.model, "device": start.spec.id, "global_batch": asked.global_batch, "seq_len": asked.seq_len,
        "site": asked.site, "count": start.devices, "dtype": asked.dtype.split(",")[0].strip(),
        **({"runtime": asked.runtime} if asked.runtime else {}),
        **({"lora_rank": asked.lora_rank} if asked.lora_rank else {}), **ways,
    }  # fmt: skip
    rate, known = start.rate, math.isfinite(usd_per_s)
    if known:
        question["price"] = f"{usd_per_s / start.devices * 3600.0:.12g} USD/h"
    metrics: dict[str, float | None] = {
        "step_time_s": step_s, "device_j": float(costs.device_j[row]),
        "usd_per_step": usd_per_s * step_s if known else None,
        "tokens_per_s": asked.global_batch * asked.seq_len / step_s,
    }  # fmt: skip
    return Candidate(
        start.spec, question, metrics, start.devices, float(costs.memory_bytes[row]), start.prepared.usable_bytes,
        usd_per_s * 3600.0 if known else None, rate.origin if rate is not None and known else "",
        rated_w(start.spec, start.devices), "",
    )  # fmt: skip


def refine_plan(asked: Question, each: Candidate) -> Candidate:
    """``each`` simulated: interval, bound, and the metrics that only a simulation has."""
    result = simulate(scenario_of_plan(each.question))
    ends = result.intervals.get("step_time_s")
    interval = None
    if ends is not None:
        value, step_s = each.metrics[asked.metric], each.metrics["step_time_s"]
        assert value is not None and step_s is not None
        interval = (value * ends.p10 / step_s, value * ends.p90 / step_s)
    own = {name: result.metrics.get(name) for name in ("mfu", "tokens_per_s_per_device")}
    carbon = result.metrics.get("carbon_g")
    return replace(
        each, result=result, interval=interval, bound=_bound(result),
        metrics={**each.metrics, **own, "carbon_g": carbon, "facility_j": result.energy.facility},
    )  # fmt: skip


def scenario_of_plan(question: Any) -> Scenario:
    """The scenario of a candidate's question, its whole plan included."""
    words = dict(question)
    model, device = str(words.pop("model")), str(words.pop("device"))
    return training_scenario(model, device, **words)


def _bound(result: Result) -> str:
    """What most of a step goes to."""
    if not result.breakdown:
        return ""
    whole = sum(result.breakdown.values())
    family, seconds = max(result.breakdown.items(), key=lambda item: item[1])
    bound = next(iter(dict.fromkeys(result.bound.values())), "")
    mfu = result.metrics.get("mfu")
    at = f", MFU {mfu:.0%}" if mfu else ""
    return f"{bound} ({family} {quantity(seconds, 's')} of {quantity(whole, 's')}{at})"
