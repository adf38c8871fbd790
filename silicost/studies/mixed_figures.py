"""What one alternative of a mixed study comes to at one point: seconds, dollars, joules, and what waits or travels.

A scenario of one batch and a fleet hold all their devices until the end, and pay for those that wait. Training behind
which a model is served holds each pool for its own part alone, with the usual hosts of its devices: both are held while
the weights travel between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from hardware_specs.systems import group_of, system_for
from silicost.scenarios import changed_links
from silicost.serving.answer import serve
from silicost.studies.cells import Value
from silicost.studies.mixed import BATCHES, Alternative
from simulator.devices.priors import idle_w
from simulator.placement.rules import placer_of
from simulator.result import Result
from simulator.scenario import Pool, Scenario, TrainThenInfer, Workload
from simulator.serving.fleet_outcome import PoolFigures
from simulator.simulate import simulate

BESIDE: Final = ("usd", "facility_j_per_output_token", "waiting_share", "transfer_share")
"""Figures of a mixed study that are no metrics of one run."""
_TIMES: Final = ("ttft_s", "tpot_s", "e2e_s", "queue_s")


class Figures(NamedTuple):
    """Values by metric, None where one is not known, and whether it fits the memory."""

    values: Mapping[str, float | None]
    fits: bool


def figures_of(alternative: Alternative, question: Mapping[str, Value]) -> Figures:
    """Simulate one point.

    Raises:
        InputError: the alternative cannot be run at this point.
    """
    if alternative.kind == "fleet":
        return _of_fleet(alternative, question)
    scenario = alternative.scenario(question)
    if isinstance(scenario.workload, TrainThenInfer):
        return _of_lifecycle(scenario, scenario.workload, int(question.get(BATCHES, 1)))
    return _of_run(scenario)


def _of_run(scenario: Scenario) -> Figures:
    result = simulate(scenario)
    duration_s = result.metrics.get("e2e_s") or result.metrics.get("step_time_s") or result.metrics.get("makespan_s")
    assert duration_s is not None
    values = dict(result.metrics)
    tokens = _tokens(values)
    held = {pool.name: (_paid(scenario, pool.name, pool.count), pool.busy_s) for pool in result.pools}
    usd_m = values.get("usd_per_million_output_tokens")
    values |= {
        "facility_j": result.energy.facility, "device_j": result.energy.device, "memory_bytes": result.memory.total,
        "facility_j_per_output_token": result.energy.facility / tokens if tokens else None,
        "usd": usd_m * tokens / 1e6 if usd_m is not None and tokens else values.get("usd_per_step"),
        "waiting_share": waiting_share(held, duration_s),
        "transfer_share": result.breakdown.get("transfer", 0.0) / duration_s,
    }  # fmt: skip
    return Figures(values, result.fits)


def waiting_share(held: Mapping[str, tuple[float, float]], duration_s: float) -> float:
    """Share of what is paid for devices in which they have nothing to do.

    Args:
        held: by pool what a second of it costs in any unit, and how long it is busy [s].
    """
    paid = sum(price for price, _ in held.values()) * duration_s
    used = sum(price * min(busy_s, duration_s) for price, busy_s in held.values())
    return max(0.0, 1.0 - used / paid)


def _tokens(values: Mapping[str, float | None]) -> float:
    """Output tokens of a batch; 0 of what gives none."""
    rate, whole_s = values.get("output_tokens_per_s"), values.get("e2e_s")
    return rate * whole_s if rate and whole_s else 0.0


def _paid(scenario: Scenario, name: str, count: int) -> float:
    """What a second of a pool costs [USD]; its devices where a price is not known."""
    prices = {pool.name: pool.usd_per_device_s for pool in scenario.pools}
    known = all(price is not None for price in prices.values())
    price = prices[name]
    return count * price.value if known and price is not None else float(count)


def _of_fleet(alternative: Alternative, question: Mapping[str, Value]) -> Figures:
    fleet = alternative.fleet(question)
    found = serve(fleet, intervals=False).found
    outcome, values = found.outcome, dict(found.outcome.values)
    tokens = (values["output_tokens_per_s"] or 0.0) * (values["duration_s"] or 0.0)
    values |= {name: outcome.latencies[name].p50 for name in _TIMES if name in outcome.latencies}
    values |= {
        "facility_j_per_output_token": values["facility_j"] / tokens if tokens and values["facility_j"] else None,
        "waiting_share": fleet_waits([pool.shares for pool in fleet.table.pool], found.pools),
        "transfer_share": max((link.port_busy_share or 0.0 for link in found.links), default=0.0),
    }  # fmt: skip
    return Figures(values, True)


def fleet_waits(shares: Sequence[str], pools: Sequence[PoolFigures]) -> float:
    """Share of what is paid for replicas without an iteration.

    Args:
        shares: what each pool calls the devices that it shares with others, "" where they are its own.
    """
    known = all(pool.usd is not None for pool in pools)
    paid: dict[str, float] = {}
    busy: dict[str, float] = {}
    for place, (own, pool) in enumerate(zip(shares, pools, strict=True)):
        name = own or f"pool {place}"
        paid[name] = paid.get(name, 0.0) + (pool.usd if known and pool.usd is not None else float(pool.devices))
        busy[name] = busy.get(name, 0.0) + pool.busy_s / pool.active_s
    used = sum(price * min(1.0, busy[name]) for name, price in paid.items())
    return max(0.0, 1.0 - used / sum(paid.values()))


def _of_lifecycle(scenario: Scenario, work: TrainThenInfer, batches: int) -> Figures:
    """``work.steps`` steps on the pool that trains, the hand-over, ``batches`` on the pool that serves."""
    placer = placer_of(scenario)
    trainer, server = (
        next(pool for pool in scenario.pools if pool.name == placer.pool("", phase)) for phase in ("forward", "decode")
    )
    trained, served = _leg(scenario, work.train, trainer), _leg(scenario, work.infer, server)
    between_s = between_j = between_usd = 0.0
    if not takes_turns(scenario, trainer, server):
        between_s, node_w, pue = _handed(msgspec.structs.replace(scenario, workload=_once(work)))
        idle = sum(idle_w(pool.device) * pool.count for pool in (trainer, server))
        between_j = between_s * (idle + node_w) * pue
        prices = [pool.usd_per_device_s for pool in (trainer, server)]
        between_usd = between_s * sum(p.value * q.count for p, q in zip(prices, (trainer, server), strict=True) if p)
    step_s, batch_s = trained.metrics["step_time_s"] or 0.0, served.metrics["e2e_s"] or 0.0
    tokens = float(work.infer.batch * work.infer.osl * batches)
    step_usd, token_usd = trained.metrics["usd_per_step"], served.metrics["usd_per_million_output_tokens"]
    makespan_s = work.steps * step_s + between_s + batches * batch_s
    usd = None
    if step_usd is not None and token_usd is not None:
        usd = work.steps * step_usd + between_usd + token_usd * tokens / 1e6
    joules = work.steps * trained.energy.facility + between_j + batches * served.energy.facility
    values: dict[str, float | None] = {
        **trained.metrics, **served.metrics, "handover_s": between_s, "makespan_s": makespan_s, "usd": usd,
        "facility_j": joules, "facility_j_per_output_token": joules / tokens,
        "usd_per_million_output_tokens": None if usd is None else usd / tokens * 1e6,
        "transfer_share": between_s / makespan_s, "waiting_share": between_s / makespan_s,
    }  # fmt: skip
    return Figures(values, trained.fits and served.fits)


def takes_turns(scenario: Scenario, trainer: Pool, server: Pool) -> bool:
    """Whether both pools are the same devices: of one group, which does not have enough for both. Their weights are cut
    anew where they lie, in no time."""
    group = scenario.group_of(trainer)
    return trainer.group == server.group and trainer.count + server.count > group.count * scenario.system.nodes


def _once(work: TrainThenInfer) -> TrainThenInfer:
    """The same with one step, whose hand-over is that of any number."""
    return msgspec.structs.replace(work, steps=1)


def _leg(scenario: Scenario, work: Workload, pool: Pool) -> Result:
    """One part of a life on the pool that does it, in the usual host, links and network of so many of its devices."""
    system = system_for(pool.device, pool.count)
    pool = msgspec.structs.replace(pool, group=group_of(system, pool.device.id).id)
    own = msgspec.structs.replace(scenario, workload=work, pools=(pool,), rules=(), title="", system=system,
                                  links={**changed_links(system, {}), **scenario.links})  # fmt: skip
    return simulate(own)


def _handed(scenario: Scenario) -> tuple[float, float, float]:
    """Seconds of the hand-over, draw of the hosts of both pools [W], PUE."""
    result = simulate(scenario)
    seconds, whole_s = result.metrics["handover_s"], result.metrics["makespan_s"]
    assert seconds is not None and whole_s is not None
    energy = result.energy
    return seconds, (energy.node - energy.device) / whole_s, energy.facility / energy.node
