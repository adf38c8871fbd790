"""From the seconds and joules of a step to a ``Result``: energy, intervals, roofs, provenance."""

from __future__ import annotations

from dataclasses import dataclass

from hardware_specs.dtypes import COMPUTE_DTYPES
from simulator import costs
from simulator.prepared import Prepared
from simulator.result import Energy, Interval, MemoryUse, PhaseCost, Provenance, Result, Roof
from simulator.scenario import Scenario, StaticBatch, TrainStep, laws_version
from simulator.uncertainty.intervals import interval, log_sd


@dataclass(frozen=True)
class Answer:
    """What the two kinds of steps hand over to become a ``Result``."""

    kind: str
    title: str
    configuration: dict[str, str]
    metrics: dict[str, float | None]
    memory: MemoryUse
    duration_s: float
    device_j: float
    bound: dict[str, str]
    breakdown: dict[str, float]
    operators: dict[str, float]
    phases: tuple[PhaseCost, ...]
    powers: dict[str, float]
    reasons: dict[str, str]


def assemble(prepared: Prepared, answer: Answer) -> Result:
    """Add energy, intervals, roofs and provenance to an answer."""
    scenario = prepared.scenario
    spec = scenario.hardware.device
    energy = energy_of(prepared, answer.device_j, answer.duration_s)
    metrics = {**answer.metrics, "carbon_g": costs.carbon_g(energy.facility, scenario.site.carbon.value)}
    sd = log_sd(answer.breakdown, answer.operators, spec.device_class)
    intervals: dict[str, Interval] = {
        name: interval(value, sd, answer.powers[name])
        for name, value in metrics.items()
        if value is not None and name in answer.powers
    }
    return Result(
        kind=answer.kind, title=answer.title, scenario_hash=scenario.hash, seed=scenario.seed, version=laws_version(),
        configuration=answer.configuration, metrics=metrics, memory=answer.memory,
        memory_capacity_bytes=prepared.usable_bytes, fits=answer.memory.total <= prepared.usable_bytes,
        energy=energy, bound=answer.bound, breakdown=answer.breakdown, intervals=intervals,
        provenance=provenance_of(prepared), phases=answer.phases, roofs=roofs_of(prepared), reasons=answer.reasons,
    )  # fmt: skip


def energy_of(prepared: Prepared, device_j: float, duration_s: float) -> Energy:
    """Device, node and facility energy; the hosts are charged by the share of their devices that the run holds."""
    hardware, site = prepared.scenario.hardware, prepared.scenario.site
    system = hardware.system
    per_node = max(sum(g.count for g in system.groups if g.device == hardware.device.id), 1)
    host_w = system.host_power.value * hardware.count / per_node if system.host_power else 0.0
    return costs.energy_of(device_j, duration_s, host_w, site.pue.value)


def roofs_of(prepared: Prepared) -> tuple[Roof, ...]:
    """Peaks per dtype, memory and cache bandwidth of the device."""
    spec = prepared.scenario.hardware.device
    roofs = [
        Roof(spec.id, f"{d} peak", "peak", spec.compute.peaks[d].value)
        for d in COMPUTE_DTYPES
        if d in spec.compute.peaks
    ]
    roofs.append(Roof(spec.id, spec.memory.kind or "memory", "memory", spec.memory.bandwidth.value))
    if spec.cache is not None:
        roofs.append(
            Roof(spec.id, spec.cache.kind or "cache", "cache", float(prepared.model.record[0]["cache_bandwidth"]))
        )
    return tuple(roofs)


def provenance_of(prepared: Prepared) -> tuple[Provenance, ...]:
    """What the result rests on: device facts and priors, runtime, memory, system, site and price."""
    scenario = prepared.scenario
    spec, runtime, site = scenario.hardware.device, scenario.runtime, scenario.site
    facts = [
        (f"{spec.id} memory capacity", spec.memory.usable or spec.memory.capacity),
        (f"{runtime.id} memory utilisation", runtime.memory_utilisation),
        (f"{runtime.id} context", runtime.context),
        (f"{site.id} electricity", site.electricity),
        (f"{site.id} PUE", site.pue),
        (f"{site.id} carbon intensity", site.carbon),
    ]
    if scenario.hardware.system.host_power is not None:
        facts.append((f"{scenario.hardware.system.id} host power", scenario.hardware.system.host_power))
    if scenario.usd_per_device_s is not None:
        facts.append((f"price of {spec.id} ({scenario.price_origin})", scenario.usd_per_device_s))
    rows = [Provenance(what, fact.text, fact.mark.value, fact.origin) for what, fact in facts]
    architecture = scenario.workload.model
    rows.insert(0, Provenance(f"model {architecture.id}", "architecture", "sourced", architecture.source or "given"))
    rows.append(
        Provenance(
            "intervals", "log-normal, shared bias per family", "assumed", "class-level error table, not yet fitted"
        )
    )
    return (*prepared.model.provenance, *rows)


def describe(scenario: Scenario) -> dict[str, str]:
    """The question in words, for tables."""
    work, plan, formats = scenario.workload, scenario.plan, scenario.formats
    words = {
        "model": work.model.id,
        "device": scenario.hardware.device.id,
        "device_class": scenario.hardware.device.device_class,
        "count": str(scenario.hardware.count),
        "system": scenario.hardware.system.id,
        "runtime": scenario.runtime.id,
        "parallelism": f"tp {plan.tp}, pp {plan.pp}, dp {plan.dp}, ep {plan.ep}",
        "dtype": formats.dtype,
        "weights": formats.weight or formats.dtype,
        "site": scenario.site.id,
    }
    if isinstance(work, StaticBatch):
        words |= {"batch": str(work.batch), "isl": str(work.isl), "osl": str(work.osl), "kv": formats.kv or "16 bit"}
    if isinstance(work, TrainStep):
        words |= {
            "global_batch": str(work.global_batch),
            "micro_batch": str(work.micro_batch),
            "seq_len": str(work.seq_len),
            "recompute": work.recompute,
        }
    return words
