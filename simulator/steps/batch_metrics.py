"""The metrics of a static inference batch, from its times and energy: one definition for one pool and for several."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from simulator.assemble import paid_usd
from simulator.metrics import BY_NAME
from simulator.prepared import Prepared
from simulator.scenario import StaticBatch
from workloads.lowering.inference import Phase, lower_step
from workloads.lowering.plan import Lowering, Precision
from workloads.models.architecture import Architecture
from workloads.runtimes.record import FUSIONS

NO_DECODE: Final = "only one output token: there is no decode step"
NO_LIMIT: Final = "memory does not limit it: prompts run in chunks and nothing of them is kept"
NO_TOKENS: Final = "an encoder produces no tokens"

MOST_BATCH: Final = 1 << 22
"""Where the search for the largest batch ends."""

_OF_DECODE = ("tpot_s", "decode_tokens_per_s", "mfu_decode", "mbu_decode")
_OF_TOKENS = (
    "output_tokens_per_s", "tokens_per_s_per_device", "j_per_output_token", "usd_per_million_output_tokens",
)  # fmt: skip


class BatchTotals(NamedTuple):
    """Seconds of a batch, and joules of its devices by pool; ``tpot_s`` is None where there is no decode step."""

    ttft_s: float
    tpot_s: float | None
    e2e_s: float
    pool_j: Mapping[str, float]
    max_batch: int


def batch_metrics(
    prepared: Sequence[Prepared], work: StaticBatch, totals: BatchTotals, mbu: float | None, no_mbu: str = "",
    idle: Mapping[str, Collection[str]] | None = None,
) -> tuple[dict[str, float | None], dict[str, str]]:  # fmt: skip
    """Metrics by name in their order, and why those without a value have none.

    Args:
        prepared: all pools that take part.
        idle: names of the pools that have nothing to do in "prefill" or "decode"; their peak does not count there.
        mbu: MBU of the decode, or None with the reason ``no_mbu``.
    """
    ttft_s, tpot, e2e_s, pool_j, largest = totals
    count = sum(each.pool.count for each in prepared)
    device_j = sum(pool_j.values())
    peak = {
        phase: sum(e.peak_flops * e.pool.count for e in prepared if e.pool.name not in (idle or {}).get(phase, ()))
        for phase in ("prefill", "decode")
    }
    tokens = float(work.batch * work.osl)
    paid, unknown = paid_usd(prepared, pool_j, e2e_s)
    values: dict[str, float | None] = {
        "ttft_s": ttft_s,
        "tpot_s": tpot,
        "e2e_s": e2e_s,
        "prefill_tokens_per_s": work.batch * work.isl / ttft_s,
        "decode_tokens_per_s": work.batch / tpot if tpot else None,
        "output_tokens_per_s": tokens / e2e_s,
        "total_tokens_per_s": work.batch * (work.isl + work.osl) / e2e_s,
        "tokens_per_s_per_device": tokens / e2e_s / count,
        "mfu_prefill": model_flops(prepared[0], work, "prefill") / (ttft_s * peak["prefill"]),
        "mfu_decode": model_flops(prepared[0], work, "decode") / (tpot * peak["decode"]) if tpot else None,
        "mbu_decode": mbu,
        "max_batch": float(largest) if largest < MOST_BATCH else None,
        "j_per_output_token": device_j / tokens,
        "usd_per_million_output_tokens": paid / tokens * 1e6 if paid is not None else None,
    }
    reasons = {"usd_per_million_output_tokens": unknown} if unknown else {}
    if largest >= MOST_BATCH:
        reasons["max_batch"] = NO_LIMIT
    if no_mbu:
        reasons["mbu_decode"] = no_mbu
    if not tpot:
        reasons |= dict.fromkeys(_OF_DECODE, NO_DECODE)
    if work.model.is_encoder:
        values["total_tokens_per_s"] = work.batch * work.isl / e2e_s
        values |= dict.fromkeys(_OF_TOKENS)
        reasons |= dict.fromkeys((*_OF_TOKENS, *_OF_DECODE), NO_TOKENS)
    return {name: values[name] for name in BY_NAME if name in values}, reasons


def model_flops(prepared: Prepared, work: StaticBatch, phase: Phase) -> float:
    """Model FLOPs of one step of the whole batch on the whole model; decode at its middle context."""
    q_len, kv_len = (work.isl, float(work.isl)) if phase == "prefill" else (1, work.isl + work.osl / 2.0)
    return work.batch * _sequence_flops(work.model, phase, q_len, kv_len, prepared.precision)


@lru_cache(maxsize=4096)
def _sequence_flops(arch: Architecture, phase: Phase, q_len: int, kv_len: float, precision: Precision) -> float:
    """Model FLOPs of one sequence, on which neither device nor plan has a say."""
    return lower_step(arch, phase, 1, q_len, kv_len, Lowering(precision, fusions=frozenset(FUSIONS))).flops


def largest_batch(used_bytes: Callable[[int], float], limit_bytes: float) -> int:
    """Largest batch whose memory is at most ``limit_bytes``, 0 where not even 1 fits; memory grows with the batch.

    Memory is affine in the batch but for a bend where a chunk is full, so that the line through two batches meets the
    limit at the answer or close to it: regula falsi. The guess is checked together with its neighbour, and then the
    middle, which halves what is left where the line was of no use.
    """
    low, high = 1, MOST_BATCH
    below, above = used_bytes(low), used_bytes(high)
    if below > limit_bytes:
        return 0
    if above <= limit_bytes:
        return high
    while high - low > 1:
        guess = low + int((limit_bytes - below) * ((high - low) / (above - below)))
        for batch in (guess, guess + 1, 0):
            batch = batch or (low + high) // 2
            if low < batch < high:
                used = used_bytes(batch)
                if used <= limit_bytes:
                    low, below = batch, used
                else:
                    high, above = batch, used
    return low
