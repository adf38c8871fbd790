"""The result of a static inference batch: metrics, memory, largest batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from simulator import memory
from simulator.assemble import Answer, assemble, parts_of, pool_use
from simulator.prepared import Prepared
from simulator.result import MemoryUse, Result
from simulator.scenario import StaticBatch
from simulator.steps.batch_metrics import BatchTotals, batch_metrics, largest_batch
from simulator.steps.prefill import chunk_tokens
from simulator.steps.pricing import by_family, errors_by_family, joined, most_bound, phase_cost
from simulator.steps.static_batch import BatchCost, price_batch, prompt_phase
from simulator.timeline import Timeline
from workloads.lowering.inference import lower_step
from workloads.runtimes.record import FUSIONS

POWERS = {
    "ttft_s": 1.0, "tpot_s": 1.0, "e2e_s": 1.0, "usd_per_million_output_tokens": 1.0,
    "prefill_tokens_per_s": -1.0, "decode_tokens_per_s": -1.0, "output_tokens_per_s": -1.0,
    "total_tokens_per_s": -1.0, "tokens_per_s_per_device": -1.0, "mfu_prefill": -1.0, "mfu_decode": -1.0,
    "mbu_decode": -1.0,
}  # fmt: skip
"""How each metric but those of energy depends on time (see ``uncertainty.intervals.interval``)."""

PHASE_METRICS = {
    "prefill": ("ttft_s", "prefill_tokens_per_s", "mfu_prefill"),
    "decode": ("tpot_s", "decode_tokens_per_s", "mfu_decode", "mbu_decode"),
}
"""Metrics that depend on one phase alone."""


def inference_result(prepared: Prepared, work: StaticBatch, timeline: Timeline) -> Result:
    """Price ``work`` and say everything about it; ``timeline`` is what the engine saw of it, for pictures."""
    pool = prepared.pool
    cost = price_batch(work, pool.plan, prepared.how, prepared.model, prepared.communicators)
    prompt = prompt_phase(work.model)
    phases = [joined([phase_cost(prompt, s.priced, prepared.model, s.host_s, s.times) for s in cost.prefill])]
    bound: dict[str, str] = {prompt: most_bound([(s.priced, s.times) for s in cost.prefill], cost.prefill_host_s)}
    if cost.decode:
        middle = cost.decode[len(cost.decode) // 2]
        phases.append(phase_cost("decode", middle.priced, prepared.model, middle.host_s, cost.steps))
        bound["decode"] = most_bound([(middle.priced, 1.0)], middle.host_s)
    by_phase = breakdowns(cost)
    breakdown = _sum_of(by_phase.values())
    errors = {
        phase: errors_by_family([(s.priced, s.times) for s in steps], prepared.model)
        for phase, steps in (("prefill", cost.prefill), ("decode", cost.decode))
    }
    whole = errors_by_family([(s.priced, s.times) for s in (*cost.prefill, *cost.decode)], prepared.model)
    own = {phase: parts_of(prepared, by_phase[phase], errors[phase]) for phase in by_phase}
    device_j = _device_joules(prepared, cost)
    mbu = _mbu(prepared, work, cost.tpot_s) if cost.tpot_s else None
    totals = BatchTotals(cost.ttft_s, cost.tpot_s, cost.e2e_s, {pool.name: device_j}, max_batch(prepared, work))
    metrics, reasons = batch_metrics((prepared,), work, totals, mbu)
    answer = Answer(
        title=f"{work.model.id} on {pool.count} x {pool.device.id}",
        metrics=metrics, pools=(pool_use(prepared, memory_use(prepared, work), device_j, cost.busy_s),),
        duration_s=cost.e2e_s, bound=bound, breakdown=breakdown,
        parts=parts_of(prepared, breakdown, whole), phases=tuple(phases), powers=POWERS,
        reasons=reasons, timeline=timeline,
        own_parts={metric: own[phase] for phase in own for metric in PHASE_METRICS[phase]},
    )  # fmt: skip
    return assemble((prepared,), answer)


def memory_use(prepared: Prepared, work: StaticBatch) -> MemoryUse:
    """Bytes on the fullest device when every sequence has reached its full length."""
    arch, precision, sharding = work.model, prepared.precision, prepared.how.sharding
    runtime, plan = prepared.pool.runtime, prepared.pool.plan
    replica = -(-work.batch // plan.dp)
    rows = max(chunk_tokens(replica, work.isl, runtime.prefill_chunk, plan.pp, arch.is_encoder), replica)
    return MemoryUse(
        weights=memory.weight_bytes(arch, precision, sharding),
        kv=replica * memory.kv_bytes_per_sequence(arch, work.isl + work.osl, precision, sharding),
        activations=memory.inference_activation_bytes(arch, rows, replica, precision, sharding.tp),
        overhead=runtime.context.value,
    )


def max_batch(prepared: Prepared, work: StaticBatch) -> int:
    """Largest total batch of this length that fits (0: not even one sequence per replica)."""
    dp = prepared.pool.plan.dp

    def used_bytes(batch: int) -> float:
        return memory_use(prepared, StaticBatch(work.model, batch * dp, work.isl, work.osl)).total

    return largest_batch(used_bytes, prepared.usable_bytes) * dp


def _device_joules(prepared: Prepared, cost: BatchCost) -> float:
    """Energy of all devices: what operators spend, and static power in host gaps and pipeline bubbles."""
    static_w = float(prepared.model.record["static_w"])
    return (cost.busy_j + static_w * (cost.e2e_s - cost.busy_s)) * prepared.pool.count


def _mbu(prepared: Prepared, work: StaticBatch, tpot_s: float) -> float:
    """Bytes one device must move per decode step over what its memory could."""
    plan = prepared.pool.plan
    replica = -(-work.batch // plan.dp)
    how = replace(prepared.how, fusions=frozenset(FUSIONS))
    moved = lower_step(work.model, "decode", replica, 1, work.isl + work.osl / 2.0, how).moved_bytes / plan.pp
    return moved / (tpot_s * prepared.pool.device.memory.bandwidth.value)


def breakdowns(cost: BatchCost) -> dict[str, dict[str, float]]:
    """Seconds of each phase by family; together they sum to the end-to-end time."""
    found: dict[str, dict[str, float]] = {}
    rows = (
        ("prefill", cost.prefill, cost.ttft_s, cost.prefill_host_s),
        ("decode", cost.decode, cost.decode_s, cost.decode_host_s),
    )
    for phase, steps, total, host_s in rows:
        if not steps:
            continue
        families = by_family((step.priced, step.times) for step in steps)
        scale = (total - host_s) / sum(families.values())
        found[phase] = {family: value * scale for family, value in families.items()}
        if host_s > 0.0:
            found[phase]["host"] = host_s
    return found


def _sum_of(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Sums by key, in order of first appearance."""
    total: dict[str, float] = {}
    for row in rows:
        for key, value in row.items():
            total[key] = total.get(key, 0.0) + value
    return total
