"""The metrics of many static batches of one pool, as columns; each is defined in ``simulator.metrics``."""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator.assemble import host_w
from simulator.bulk.features import Floats, Shapes
from simulator.bulk.static_batches import Batches, Bools, memory_of, model_flops, moved_bytes, price_batches
from simulator.prepared import Prepared
from simulator.scenario import StaticBatch
from simulator.steps.batch_metrics import MOST_BATCH
from workloads.models.architecture import Architecture

METRICS: Final = (
    "ttft_s", "tpot_s", "e2e_s", "prefill_tokens_per_s", "decode_tokens_per_s", "output_tokens_per_s",
    "total_tokens_per_s", "tokens_per_s_per_device", "mfu_prefill", "mfu_decode", "mbu_decode", "max_batch",
    "j_per_output_token", "usd_per_million_output_tokens", "carbon_g", "memory_bytes", "device_j", "facility_j",
)  # fmt: skip
"""Columns that ``batch_columns`` can give: metrics, bytes on the fullest device, energy at two boundaries."""
_SHARES: Final = ("mfu_prefill", "mfu_decode", "mbu_decode")


def model_of(prepared: Prepared) -> Architecture:
    """The model of a pool that runs static batches.

    Raises:
        TypeError: it runs something else.
    """
    work = prepared.scenario.workload
    if not isinstance(work, StaticBatch):
        raise TypeError(f"{type(work).__name__} is no static batch")
    return work.model


def batch_columns(
    prepared: Prepared, work: Batches, wanted: tuple[str, ...]
) -> tuple[dict[str, Floats], Bools]:  # fmt: skip
    """The ``wanted`` columns of all batches, NaN where a metric has no value; and which batches fit, shape [n] each."""
    arch = model_of(prepared)
    pool, site = prepared.pool, prepared.scenario.site
    times, needs = price_batches(prepared, arch, work), memory_of(prepared, arch, work)
    batch, isl, osl = (column.astype(np.float64) for column in work)
    steps = np.where(osl > 1.0, osl - 1.0, np.nan)
    tpot_s, e2e_s = times.decode_s / steps, times.ttft_s + times.decode_s
    static_w = float(prepared.model.record["static_w"])
    device_j = (times.busy_j + static_w * (e2e_s - times.busy_s)) * pool.count
    hosts_w = sum(host_w((prepared,)).values())
    facility_j = (device_j + hosts_w * e2e_s) * site.pue.value
    tokens = batch * osl * (np.nan if arch.is_encoder else 1.0)
    read = batch * (isl + (0.0 if arch.is_encoder else osl))
    found: dict[str, Floats] = {
        "ttft_s": times.ttft_s,
        "tpot_s": tpot_s,
        "e2e_s": e2e_s,
        "prefill_tokens_per_s": batch * isl / times.ttft_s,
        "decode_tokens_per_s": batch / tpot_s,
        "output_tokens_per_s": tokens / e2e_s,
        "total_tokens_per_s": read / e2e_s,
        "tokens_per_s_per_device": tokens / e2e_s / pool.count,
        "max_batch": np.where(needs.max_batch < MOST_BATCH, needs.max_batch, np.nan),
        "j_per_output_token": device_j / tokens,
        "usd_per_million_output_tokens": _paid_usd(prepared, e2e_s, facility_j) / tokens * 1e6,
        "carbon_g": facility_j * site.carbon.value,
        "memory_bytes": needs.bytes,
        "device_j": device_j,
        "facility_j": facility_j,
    }
    if any(name in wanted for name in _SHARES):
        found |= _shares(prepared, arch, work, times.ttft_s, tpot_s)
    return {name: found[name] for name in wanted}, needs.fits


def _paid_usd(prepared: Prepared, e2e_s: Floats, facility_j: Floats) -> Floats:
    """``assemble.paid_usd`` of one pool; NaN without a price."""
    pool = prepared.pool
    if pool.usd_per_device_s is None:
        return np.full(len(e2e_s), np.nan)
    rent = e2e_s * pool.count * pool.usd_per_device_s.value
    return rent + facility_j * prepared.scenario.site.electricity.value if pool.owned else rent


def _shares(prepared: Prepared, arch: Architecture, work: Batches, ttft_s: Floats, tpot_s: Floats) -> dict[str, Floats]:
    """Fractions of peak and of bandwidth."""
    pool, plan = prepared.pool, prepared.pool.plan
    batch, isl, osl = (column.astype(np.float64) for column in work)
    one = np.ones_like(batch)
    peak = prepared.peak_flops * pool.count
    prompt = model_flops(prepared, arch, "prefill", Shapes(one, isl, isl))
    shares = {"mfu_prefill": batch * prompt / (ttft_s * peak)}
    if arch.is_encoder:
        return shares | dict.fromkeys(_SHARES[1:], np.full(len(batch), np.nan))
    middle = isl + osl / 2.0
    decode = model_flops(prepared, arch, "decode", Shapes(one, one, middle))
    replica = np.ceil(batch / plan.dp)
    moved = moved_bytes(prepared, arch, Shapes(replica, one, middle)) / plan.pp
    shares["mfu_decode"] = batch * decode / (tpot_s * peak)
    shares["mbu_decode"] = moved / (tpot_s * pool.device.memory.bandwidth.value)
    return shares
