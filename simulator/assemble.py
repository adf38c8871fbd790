"""From the seconds and joules of a run to a ``Result``: energy, intervals, roofs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from hardware_specs.dtypes import COMPUTE_DTYPES
from hardware_specs.errors import InputError
from hardware_specs.facts import fits_in
from hardware_specs.version import package_version
from simulator import costs
from simulator.checks import pool_warnings, warnings_of
from simulator.configuration import configuration_of, kind_of, weights_in_words
from simulator.identity import laws_hash
from simulator.metrics import BY_NAME
from simulator.prepared import Prepared
from simulator.provenance import provenance_of
from simulator.result import Energy, Interval, MemoryUse, PhaseCost, PoolUse, Result, Roof
from simulator.scenario import Scenario
from simulator.timeline import Timeline
from simulator.uncertainty.intervals import POWER, Error, Part, collective_error, interval, prior_error, run_sd, step_sd
from workloads.collectives.catalogue import load_library

ENERGY_METRICS = ("j_per_output_token", "carbon_g")


@dataclass(frozen=True)
class Answer:
    """What every kind of run hands over to become a ``Result``.

    ``parts`` say what the duration consists of, for its interval; ``powers`` how each metric depends on time, and
    ``own_parts`` what the time consists of that a metric depends on, where that is not all of the duration; a ``step``
    of training errs otherwise than other runs.
    """

    title: str
    metrics: dict[str, float | None]
    pools: tuple[PoolUse, ...]
    duration_s: float
    bound: dict[str, str]
    breakdown: dict[str, float]
    parts: tuple[Part, ...]
    phases: tuple[PhaseCost, ...]
    powers: dict[str, float]
    reasons: dict[str, str]
    timeline: Timeline = field(default_factory=lambda: Timeline(()))
    warnings: tuple[str, ...] = ()
    own_parts: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)
    step: bool = False


def assemble(prepared: Sequence[Prepared], answer: Answer) -> Result:
    """Add energy, intervals, roofs and provenance to an answer of these pools."""
    scenario = prepared[0].scenario
    energy = energy_of(prepared, sum(pool.energy_j for pool in answer.pools), answer.duration_s)
    powers = {**answer.powers, **_energy_powers(prepared, answer, energy)}
    metrics = {**answer.metrics, "carbon_g": costs.carbon_g(energy.facility, scenario.site.carbon.value)}
    quality = next((pool.formats.quality for pool in scenario.pools if pool.formats.quality), None)
    metrics |= {"model_quality": quality} if quality else {}
    _check_finite(metrics)
    several = {id(parts): parts for parts in (answer.parts, *answer.own_parts.values())}
    sd_of_parts = step_sd if answer.step else run_sd
    spread = {key: sd_of_parts(parts) for key, parts in several.items()}
    intervals: dict[str, Interval] = {
        name: _interval(name, value, _sd_of(name, spread[id(answer.own_parts.get(name, answer.parts))], powers[name]))
        for name, value in metrics.items()
        if value is not None and name in powers
    }
    title = scenario.title or answer.title + weights_in_words(scenario)
    fullest = max(answer.pools, key=lambda pool: pool.memory.total / pool.capacity_bytes)
    return Result(
        kind=kind_of(scenario), title=title, scenario_hash=scenario.hash, seed=scenario.seed,
        laws_hash=laws_hash(), silicost_version=package_version(), configuration=configuration_of(scenario),
        metrics=metrics, memory=fullest.memory,
        memory_capacity_bytes=fullest.capacity_bytes, fits=all(pool.fits for pool in answer.pools),
        energy=energy, bound=answer.bound, breakdown=answer.breakdown, intervals=intervals,
        provenance=provenance_of(prepared), pools=answer.pools, phases=answer.phases,
        roofs=tuple(roof for each in prepared for roof in roofs_of(each)), timeline=answer.timeline,
        reasons=answer.reasons, warnings=(*answer.warnings, *_warnings(scenario)),
    )  # fmt: skip


def _warnings(scenario: Scenario) -> tuple[str, ...]:
    """What is unusual about the workload and about what each pool does with it, each thing once."""
    of_pools = (warning for pool in scenario.pools for warning in pool_warnings(pool, scenario.workload))
    return (*warnings_of(scenario.workload), *dict.fromkeys(of_pools))


def _sd_of(name: str, sd: float, power: float) -> float:
    """Standard deviation of the log of a metric: that of the time, and for energy that of the power as well."""
    return math.hypot(power * sd, POWER if name in ENERGY_METRICS else 0.0)


def _interval(name: str, value: float, sd: float) -> Interval:
    """The interval of a metric; a fraction of a peak does not exceed 1."""
    bounds = interval(value, sd)
    if BY_NAME[name].dimension != "fraction":
        return bounds
    most = max(1.0, value)
    return Interval(*(min(bound, most) for bound in msgspec.structs.astuple(bounds)))


def _check_finite(metrics: dict[str, float | None]) -> None:
    """Refuse an answer that overflowed.

    Raises:
        InputError: with the metrics that are no numbers.
    """
    beyond = [name for name, value in metrics.items() if value is not None and not math.isfinite(value)]
    if beyond:
        raise InputError(
            f"{', '.join(beyond)} cannot be computed with these inputs; a size or a number of a spec is absurdly large "
            "or small"
        )


def _energy_powers(prepared: Sequence[Prepared], answer: Answer, energy: Energy) -> dict[str, float]:
    """How the energy metrics depend on time: static energy grows with it, what operators spend with its root.

    The power of math grows with the root of its rate (``simulator.kernels.power``), so that d log E / d log t lies
    midway between the static share of E and 1; bytes cost the same however long they take, a device at its limit spends
    by the second. A pool that draws less than its static power all the time (it idles) is static to the last joule.
    """
    static_j = sum(
        min(pool.energy_j, float(each.model.record["static_w"]) * pool.count * answer.duration_s)
        for each, pool in zip(prepared, answer.pools, strict=True)
    )
    hosts_j = energy.node - energy.device
    shares = (static_j / energy.device, (static_j + hosts_j) / energy.node)
    return dict(zip(ENERGY_METRICS, (0.5 * (1.0 + share) for share in shares), strict=True))


def energy_of(prepared: Sequence[Prepared], device_j: float, duration_s: float) -> Energy:
    """Device, node and facility energy; hosts are charged by the share of their devices that the run holds."""
    scenario = prepared[0].scenario
    return costs.energy_of(device_j, duration_s, sum(host_w(prepared).values()), scenario.site.pue.value)


def host_w(prepared: Sequence[Prepared]) -> dict[str, float]:
    """Draw of the hosts by pool [W]: each pays for its share of its nodes, all together at most for every node."""
    system = prepared[0].scenario.system
    if system.host_power is None:
        return {each.pool.name: 0.0 for each in prepared}
    held = sum(each.nodes for each in prepared)
    scale = min(1.0, system.nodes / held)
    return {each.pool.name: system.host_power.value * each.nodes * scale for each in prepared}


def paid_usd(prepared: Sequence[Prepared], pool_j: Mapping[str, float], duration_s: float) -> tuple[float | None, str]:
    """Price of holding all devices of the pools [USD], or None and why.

    Owned devices pay the electricity of theirs and of their share of the hosts as well; rent includes it.

    Args:
        pool_j: device energy by pool [J].
    """
    site, hosts = prepared[0].scenario.site, host_w(prepared)
    total = 0.0
    for each in prepared:
        price = each.pool.usd_per_device_s
        if price is None:
            return None, f"no price is known for {each.pool.device.id}; give one with --price"
        total += costs.usd(duration_s, each.pool.count, price.value)
        if each.pool.owned:
            name = each.pool.name
            owned = costs.energy_of(pool_j[name], duration_s, hosts[name], site.pue.value)
            total += owned.facility * site.electricity.value
    return total, ""


def pool_use(prepared: Prepared, memory: MemoryUse, energy_j: float, busy_s: float) -> PoolUse:
    """The record of one pool."""
    pool = prepared.pool
    return PoolUse(
        pool.name, pool.device.id, pool.device.device_class, pool.count, pool.runtime.id, memory,
        prepared.usable_bytes, energy_j, busy_s,
    )  # fmt: skip


def parts_of(prepared: Prepared, seconds: Mapping[str, float], errors: Mapping[str, Error]) -> tuple[Part, ...]:
    """Parts of a duration spent on one pool, by family; without an error of its own a family has that of its class."""
    device = prepared.pool.device
    known = {**errors, "collective": collective_error_of(prepared)}
    found = {family: known.get(family) or prior_error(device.device_class, family) for family in seconds}
    return tuple(
        Part(device.id, device.device_class, family, value, found[family]) for family, value in seconds.items()
    )


def collective_error_of(prepared: Prepared) -> Error:
    """That of the widest group: inside a node or between nodes, with a library that was fitted or not."""
    groups = prepared.communicators.values()
    nodes = max((round(group.outer.size) for group in groups), default=1)
    return collective_error(bool(fits_in(load_library(prepared.pool.runtime.collectives))), nodes)


def roofs_of(prepared: Prepared) -> tuple[Roof, ...]:
    """Peaks per dtype, memory and cache bandwidth of the device."""
    spec = prepared.pool.device
    roofs = [
        Roof(spec.id, f"{d} peak", "peak", spec.compute.peaks[d].value)
        for d in COMPUTE_DTYPES
        if d in spec.compute.peaks
    ]
    roofs.append(Roof(spec.id, spec.memory.kind or "memory", "memory", spec.memory.bandwidth.value))
    if spec.cache is not None:
        roofs.append(
            Roof(spec.id, spec.cache.kind or "cache", "cache", float(prepared.model.record["cache_bandwidth"]))
        )
    return tuple(roofs)
