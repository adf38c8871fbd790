"""What would make a scenario fit: a few changes that people make, priced, the cheapest first."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from hardware_specs.errors import InputError
from hardware_specs.systems import links_of, system_for
from simulator.result import Result
from simulator.scenario import Plan, Pool, Scenario, StaticBatch, TrainStep
from simulator.simulate import simulate
from simulator.steps.replicas import zero_stage
from workloads.formats import load_format

_MOST_WAYS = 64
_FORMATS = ("fp8", "int8", "int4")


def cheapest_fix(scenario: Scenario) -> str:
    """The cheapest change that fits, in words, to be put behind an error; "" for workloads that have none.

    Cheapest is the lowest price (without a price, energy) per token among changes of one thing at a time.
    """
    if scenario.mixed or not isinstance(scenario.workload, (StaticBatch, TrainStep)):
        return ""
    found: list[tuple[float, str]] = []
    for words, changed in _candidates(scenario):
        try:
            result = simulate(changed)
        except InputError:
            continue
        if result.fits:
            found.append((_cost(result), words))
    if not found:
        tried = "smaller or recomputed batches, narrower weights, other ways, shards, offloading"
        return f"; none of the single changes tried fits ({tried})"
    return "; the cheapest change that fits: " + min(found)[1]


def _cost(result: Result) -> float:
    """What ranks fixes: dollars per token where known, else joules."""
    per_token = result.metrics.get("usd_per_million_output_tokens")
    if per_token is None:
        per_token = result.metrics.get("usd_per_step")
    return per_token if per_token is not None else result.energy.device


def _candidates(scenario: Scenario) -> Iterator[tuple[str, Scenario]]:
    yield from _smaller_work(scenario)
    pool = scenario.pools[0]
    work = scenario.workload
    if isinstance(work, StaticBatch) and pool.formats.weight in ("", work.model.quantization):
        bits = load_format(pool.formats.weight or pool.formats.dtype).bits_per_weight
        for name in (name for name in _FORMATS if load_format(name).bits_per_weight < bits):
            formats = msgspec.structs.replace(pool.formats, weight=name)
            yield f"--weight-dtype {name}", _with_pool(scenario, msgspec.structs.replace(pool, formats=formats))
    for ways in (2, 4, 8):
        if pool.plan.dp % ways == 0:
            plan = msgspec.structs.replace(pool.plan, tp=pool.plan.tp * ways, dp=pool.plan.dp // ways)
            words = f"--tp {plan.tp} --dp {plan.dp} on the same devices"
            yield words, _with_pool(scenario, msgspec.structs.replace(pool, plan=plan))
    ways = pool.plan.tp * 2
    while ways <= _MOST_WAYS:
        plan = msgspec.structs.replace(pool.plan, tp=ways)
        wider = msgspec.structs.replace(pool, plan=plan, count=plan.devices)
        yield _on_system(scenario, wider)
        ways *= 2


def _smaller_work(scenario: Scenario) -> Iterator[tuple[str, Scenario]]:
    work = scenario.workload
    if isinstance(work, StaticBatch):
        most = int(simulate(scenario).metrics["max_batch"] or 0)
        if 0 < most < work.batch:
            yield (
                f"--batch {most}",
                msgspec.structs.replace(scenario, workload=msgspec.structs.replace(work, batch=most)),
            )
    if isinstance(work, TrainStep):
        pool = scenario.pools[0]
        changes: list[tuple[str, Plan]] = [
            (f"--recompute {recompute}", msgspec.structs.replace(pool.plan, recompute=recompute))
            for recompute in ("selective", "full")
            if recompute != pool.plan.recompute
        ]
        if pool.plan.micro_batch > 1:
            changes.append(("--micro-batch 1", msgspec.structs.replace(pool.plan, micro_batch=1)))
        if pool.plan.tp > 1 and not pool.plan.sequence:
            changes.append(("--seq-parallel", msgspec.structs.replace(pool.plan, sequence=True)))
        if pool.plan.dp * pool.plan.cp > 1:
            before = zero_stage(work, pool.plan, pool.runtime)
            changes += [
                (f"--zero {stage}", msgspec.structs.replace(pool.plan, zero=stage)) for stage in range(before + 1, 4)
            ]
        if not pool.plan.offload:
            changes += [
                (f"--offload {kinds}", msgspec.structs.replace(pool.plan, offload=kinds))
                for kinds in ("activations", "weights", "optimizer", "all")
            ]
        for words, plan in changes:
            yield words, _with_pool(scenario, msgspec.structs.replace(pool, plan=plan))


def _with_pool(scenario: Scenario, pool: Pool) -> Scenario:
    return msgspec.structs.replace(scenario, pools=(pool,))


def _on_system(scenario: Scenario, pool: Pool) -> tuple[str, Scenario]:
    """``pool`` on its own system if that is large enough, else on the usual one for its size, in words and as it is."""
    words = f"--tp {pool.plan.tp} --count {pool.count}"
    group = scenario.group_of(pool)
    if group.count * scenario.system.nodes >= pool.count:
        return words, _with_pool(scenario, pool)
    usual = scenario.system == system_for(pool.device, scenario.pools[0].count)
    system = system_for(pool.device, pool.count)
    changed = msgspec.structs.replace(scenario, pools=(pool,), system=system, links=links_of(system))
    return (words if usual else f"{words} (without --system {scenario.system.id})"), changed
