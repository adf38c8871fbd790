"""The result of a static inference batch: metrics, memory, largest batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from simulator import costs, memory
from simulator.assemble import Answer, assemble, paid_usd, parts_of, pool_use
from simulator.metrics import BY_NAME
from simulator.prepared import Prepared
from simulator.result import MemoryUse, Result
from simulator.scenario import StaticBatch
from simulator.steps.pricing import PricedGraph, phase_cost
from simulator.steps.static_batch import BatchCost, price_batch
from simulator.timeline import Timeline
from workloads.lowering.inference import Phase, lower_step
from workloads.lowering.plan import Lowering
from workloads.runtimes.record import FUSIONS

POWERS = {
    "ttft_s": 1.0, "tpot_s": 1.0, "e2e_s": 1.0, "usd_per_million_output_tokens": 1.0, "j_per_output_token": 0.6,
    "carbon_g": 0.6, "prefill_tokens_per_s": -1.0, "decode_tokens_per_s": -1.0, "output_tokens_per_s": -1.0,
    "total_tokens_per_s": -1.0, "tokens_per_s_per_device": -1.0, "mfu_prefill": -1.0, "mfu_decode": -1.0,
    "mbu_decode": -1.0,
}  # fmt: skip
"""How each metric depends on time (see ``uncertainty.intervals.interval``)."""

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
    metrics, reasons = _metrics(prepared, work, cost, device_j)
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


def largest_batch(fits: Callable[[int], bool]) -> int:
    """Largest batch for which ``fits`` holds, 0 if it does not hold for 1; memory grows with the batch."""
    if not fits(1):
        return 0
    low, high = 1, 2
    while high < 1 << 22 and fits(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _device_joules(prepared: Prepared, cost: BatchCost) -> float:
    """Energy of all devices: what operators spend, and static power in host gaps and pipeline bubbles."""
    static_w = float(prepared.model.record[0]["static_w"])
    return (cost.busy_j + static_w * (cost.e2e_s - cost.busy_s)) * prepared.pool.count


def _metrics(
    prepared: Prepared, work: StaticBatch, cost: BatchCost, device_j: float
) -> tuple[dict[str, float | None], dict[str, str]]:
    pool = prepared.pool
    count, tpot = pool.count, cost.tpot_s
    tokens = float(work.batch * work.osl)
    rate = tokens / cost.e2e_s
    paid, unknown = paid_usd((prepared,), device_j, cost.e2e_s)
    values: dict[str, float | None] = {
        "ttft_s": cost.ttft_s,
        "tpot_s": tpot,
        "e2e_s": cost.e2e_s,
        "prefill_tokens_per_s": work.batch * work.isl / cost.ttft_s,
        "decode_tokens_per_s": work.batch / tpot if tpot else None,
        "output_tokens_per_s": rate,
        "total_tokens_per_s": work.batch * (work.isl + work.osl) / cost.e2e_s,
        "tokens_per_s_per_device": rate / count,
        "mfu_prefill": _mfu(prepared, work, "prefill", cost.ttft_s),
        "mfu_decode": _mfu(prepared, work, "decode", tpot) if tpot else None,
        "mbu_decode": _mbu(prepared, work, cost.decode, tpot) if tpot and cost.decode else None,
        "max_batch": float(max_batch(prepared, work)),
        "j_per_output_token": device_j / tokens,
        "usd_per_million_output_tokens": paid / tokens * 1e6 if paid is not None else None,
    }
    reasons = {"usd_per_million_output_tokens": unknown} if unknown else {}
    if not tpot:
        reasons |= dict.fromkeys(("tpot_s", "decode_tokens_per_s", "mfu_decode", "mbu_decode"), costs.NO_DECODE)
    return {name: values[name] for name in BY_NAME if name in values}, reasons


def _mfu(prepared: Prepared, work: StaticBatch, phase: Phase, seconds: float) -> float:
    """Model FLOPs of one step of the whole batch over what all devices could do meanwhile."""
    return model_flops(prepared, work, phase) / (seconds * prepared.peak_flops * prepared.pool.count)


def model_flops(prepared: Prepared, work: StaticBatch, phase: Phase) -> float:
    """Model FLOPs of one step of the whole batch on the whole model; decode at its middle context."""
    whole = Lowering(prepared.precision, fusions=frozenset(FUSIONS))
    q_len, kv_len = (work.isl, float(work.isl)) if phase == "prefill" else (1, work.isl + work.osl / 2.0)
    return lower_step(work.model, phase, work.batch, q_len, kv_len, whole).flops


def _mbu(prepared: Prepared, work: StaticBatch, decode: PricedGraph, tpot_s: float) -> float:
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
