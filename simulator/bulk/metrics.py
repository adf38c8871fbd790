"""The metrics of many static batches of one pool, as columns; each is defined in ``simulator.metrics``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from simulator.assemble import host_w
from simulator.bulk.features import Floats, Shapes
from simulator.bulk.spreads import Phase, interval80, run_sd
from simulator.bulk.static_batches import Batches, Bools, memory_of, model_flops, moved_bytes, price_batches
from simulator.metrics import BY_NAME
from simulator.prepared import Prepared
from simulator.scenario import StaticBatch
from simulator.steps.batch_metrics import MOST_BATCH
from simulator.steps.inference_result import PHASE_METRICS, POWERS
from simulator.uncertainty.intervals import POWER
from workloads.models.architecture import Architecture

METRICS: Final = (
    "ttft_s", "tpot_s", "e2e_s", "prefill_tokens_per_s", "decode_tokens_per_s", "output_tokens_per_s",
    "total_tokens_per_s", "tokens_per_s_per_device", "mfu_prefill", "mfu_decode", "mbu_decode", "max_batch",
    "j_per_output_token", "usd_per_million_output_tokens", "carbon_g", "memory_bytes", "device_j", "facility_j",
    "model_quality",
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
    prepared: Prepared, work: Batches, wanted: tuple[str, ...], intervals: bool = False
) -> tuple[dict[str, Floats], Bools]:
    """The ``wanted`` columns of all batches, NaN where a metric has no value; and which batches fit, shape [n] each.

    Args:
        intervals: also NAME.p10 and NAME.p90 of each metric that has an interval.
    """
    arch = model_of(prepared)
    pool, site = prepared.pool, prepared.scenario.site
    prefill, decode = price_batches(prepared, arch, work, intervals)
    needs = memory_of(prepared, arch, work)
    batch, isl, osl = (column.astype(np.float64) for column in work)
    steps = np.where(osl > 1.0, osl - 1.0, np.nan)
    tpot_s, e2e_s = decode.total_s / steps, prefill.total_s + decode.total_s
    static_w = float(prepared.model.record["static_w"])
    device_j = (prefill.busy_j + decode.busy_j + static_w * (e2e_s - prefill.busy_s - decode.busy_s)) * pool.count
    hosts_w = sum(host_w((prepared,)).values())
    node_j = device_j + hosts_w * e2e_s
    facility_j = node_j * site.pue.value
    tokens = batch * osl * (np.nan if arch.is_encoder else 1.0)
    read = batch * (isl + (0.0 if arch.is_encoder else osl))
    found: dict[str, Floats] = {
        "ttft_s": prefill.total_s,
        "tpot_s": tpot_s,
        "e2e_s": e2e_s,
        "prefill_tokens_per_s": batch * isl / prefill.total_s,
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
        "model_quality": np.full(len(batch), pool.formats.quality or np.nan),
    }
    if any(name in wanted for name in _SHARES):
        found |= _shares(prepared, arch, work, prefill.total_s, tpot_s)
    columns = {name: found[name] for name in wanted}
    if intervals and prefill.sums is not None and decode.sums is not None:
        static_j = np.minimum(device_j, static_w * pool.count * e2e_s)
        powers = {
            "j_per_output_token": 0.5 * (1.0 + static_j / device_j),
            "carbon_g": 0.5 * (1.0 + (static_j + node_j - device_j) / node_j),
        }
        phases = {
            "prefill": Phase(prefill.sums, prefill.total_s, prefill.host_s),
            "decode": Phase(decode.sums, decode.total_s, decode.host_s),
        }
        columns |= _intervals(prepared, columns, phases, powers)
    return columns, needs.fits


def _intervals(
    prepared: Prepared, columns: Mapping[str, Floats], phases: Mapping[str, Phase], powers: Mapping[str, Floats]
) -> dict[str, Floats]:
    """Ends of the 80% intervals of the metrics among ``columns``, as ``assemble`` gives them."""
    own = {metric: phase for phase, metrics in PHASE_METRICS.items() for metric in metrics}
    found: dict[str, Floats] = {}
    spread: dict[str, Floats] = {}
    for name, value in columns.items():
        if name not in POWERS and name not in powers:
            continue
        phase = own.get(name, "")
        if phase not in spread:
            with np.errstate(invalid="ignore"):
                spread[phase] = run_sd(prepared, [phases[phase]] if phase else list(phases.values()))
        sd = np.hypot(powers[name] * spread[phase], POWER) if name in powers else spread[phase]
        found[f"{name}.p10"], found[f"{name}.p90"] = interval80(value, sd, BY_NAME[name].dimension == "fraction")
    return found


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
