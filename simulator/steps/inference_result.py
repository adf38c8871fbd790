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
from simulator.steps.pricing import phase_cost
from simulator.steps.static_batch import BatchCost, price_batch
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
    host_s = cost.host_s
    phases = [phase_cost("prefill", cost.prefill, pool.device.id, host_s)]
    if cost.decode is not None:
        phases.append(phase_cost("decode", cost.decode, pool.device.id, host_s, cost.steps))
    by_phase = _breakdowns(cost, host_s)
    breakdown = _sum_of(by_phase.values())
    executions = _executions(cost)
    device_j = _device_joules(prepared, cost)
    mbu = _mbu(prepared, work, cost.tpot_s) if cost.tpot_s else None
    totals = BatchTotals(cost.ttft_s, cost.tpot_s, cost.e2e_s, {pool.name: device_j}, max_batch(prepared, work))
    metrics, reasons = batch_metrics((prepared,), work, totals, mbu)
    bound = {"prefill": cost.prefill.bound(host_s)}
    if cost.decode is not None:
        bound["decode"] = cost.decode.bound(host_s)
    answer = Answer(
        kind="simulate",
        title=f"{work.model.id} on {pool.count} x {pool.device.id}",
        metrics=metrics, pools=(pool_use(prepared, memory_use(prepared, work), device_j, cost.busy_s),),
        duration_s=cost.e2e_s, bound=bound, breakdown=breakdown,
        parts=parts_of(prepared, breakdown, _sum_of(executions.values())), phases=tuple(phases), powers=POWERS,
        reasons=reasons, timeline=timeline,
        own_parts={
            metric: parts_of(prepared, by_phase[phase], executions[phase])
            for phase in by_phase
            for metric in PHASE_METRICS[phase]
        },
    )  # fmt: skip
    return assemble((prepared,), answer)


def memory_use(prepared: Prepared, work: StaticBatch) -> MemoryUse:
    """Bytes on the fullest device when every sequence has reached its full length."""
    arch, precision, sharding = work.model, prepared.precision, prepared.how.sharding
    runtime, dp = prepared.pool.runtime, prepared.pool.plan.dp
    replica = -(-work.batch // dp)
    rows = replica * work.isl
    if runtime.prefill_chunk:
        rows = min(rows, max(runtime.prefill_chunk, replica))
    return MemoryUse(
        weights=memory.weight_bytes(arch, precision, sharding),
        kv=replica * memory.kv_bytes_per_sequence(arch, work.isl + work.osl, precision, sharding),
        activations=memory.inference_activation_bytes(arch, rows, replica, precision, sharding.tp),
        overhead=runtime.context.value,
    )


def max_batch(prepared: Prepared, work: StaticBatch) -> int:
    """Largest total batch of this length that fits (0: not even one sequence per replica)."""
    dp = prepared.pool.plan.dp

    def fits(batch: int) -> bool:
        whole = StaticBatch(work.model, batch * dp, work.isl, work.osl)
        return memory_use(prepared, whole).total <= prepared.usable_bytes

    return largest_batch(fits) * dp


def _device_joules(prepared: Prepared, cost: BatchCost) -> float:
    """Energy of all devices: what operators spend, and static power in host gaps and pipeline bubbles."""
    static_w = float(prepared.model.record[0]["static_w"])
    return (cost.busy_j + static_w * (cost.e2e_s - cost.busy_s)) * prepared.pool.count


def _mbu(prepared: Prepared, work: StaticBatch, tpot_s: float) -> float:
    """Bytes one device must move per decode step over what its memory could."""
    plan = prepared.pool.plan
    replica = -(-work.batch // plan.dp)
    how = replace(prepared.how, fusions=frozenset(FUSIONS))
    moved = lower_step(work.model, "decode", replica, 1, work.isl + work.osl / 2.0, how).moved_bytes / plan.pp
    return moved / (tpot_s * prepared.pool.device.memory.bandwidth.value)


def _breakdowns(cost: BatchCost, host_s: float) -> dict[str, dict[str, float]]:
    """Seconds of each phase by family; together they sum to the end-to-end time."""
    found: dict[str, dict[str, float]] = {}
    rows = (("prefill", cost.prefill, cost.ttft_s, 1), ("decode", cost.decode, cost.decode_s, cost.steps))
    for phase, priced, total, steps in rows:
        if priced is None:
            continue
        scale = (total - host_s * steps) / priced.total_s
        found[phase] = {family: value * scale for family, value in priced.seconds_by_family().items()}
        if host_s > 0.0:
            found[phase]["host"] = host_s * steps
    return found


def _executions(cost: BatchCost) -> dict[str, dict[str, float]]:
    """Executed operators of each phase by family, for the part of the error that averages out."""
    found: dict[str, dict[str, float]] = {}
    for phase, priced, steps in (("prefill", cost.prefill, 1), ("decode", cost.decode, cost.steps)):
        if priced is None:
            continue
        counts = found.setdefault(phase, {})
        for operator, repeat in zip(priced.graph.operators, priced.graph.repeat, strict=True):
            counts[operator.family] = counts.get(operator.family, 0.0) + float(repeat) * steps
    return found


def _sum_of(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Sums by key, in order of first appearance."""
    total: dict[str, float] = {}
    for row in rows:
        for key, value in row.items():
            total[key] = total.get(key, 0.0) + value
    return total
