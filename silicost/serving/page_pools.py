"""Pools, links and tenants of a served run, for its page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from reports.numbers import quantity, share
from reports.serving import LinkRow, Measured, PoolRow, Slice, Split, TenantRow
from silicost.serving.page_limits import limit_of

if TYPE_CHECKING:
    from silicost.serving.answer import Answer
    from silicost.serving.pools import Pool
    from simulator.serving.fleet_outcome import PoolFigures

JOULES_PER_WH: Final = 3600.0


def pool_rows_of(answer: Answer) -> tuple[PoolRow, ...]:
    """A row for each pool."""
    rows = []
    for pool, found in zip(answer.fleet.pools, answer.found.pools, strict=True):
        runs = f"{found.model}, {found.runtime}" if found.model else f"search: {pool.table.index}"
        limit, why = limit_of(pool, found)
        rows.append(
            PoolRow(found.name, machines_of(found), found.device_class, runs, _figures(answer, pool, found), limit, why)
        )
    return tuple(rows)


def machines_of(found: PoolFigures) -> str:
    """Replicas and devices of a pool in words."""
    each = found.device if found.devices == 1 else f"({found.devices} × {found.device})"
    return f"{found.replicas} × {each}"


def _figures(answer: Answer, pool: Pool, found: PoolFigures) -> tuple[Measured, ...]:
    """Figures of a pool in the order of the table; what it cannot have has none."""
    setup = pool.setup
    unknown = answer.found.outcome.reasons.get("usd", "no price is known")

    def one(name: str, title: str, dimension: str, value: float | None, why: str = "it has none") -> Measured:
        return Measured(name, title, dimension, math.nan if value is None else float(value), reason=why)

    def where(has: object, value: float | None) -> float | None:
        return value if has else None

    fixed = "it does not scale"

    return (
        one("jobs", "Jobs", "count", found.jobs),
        one("replicas_mean", "Replicas, mean", "", where(setup.scaling, found.replicas_mean), fixed),
        one("replicas_peak", "Replicas, peak", "count", where(setup.scaling, found.replicas_peak), fixed),
        one("utilisation", "Busy", "fraction", found.utilisation, "it was never there"),
        one("mfu", "MFU", "fraction", found.mfu, "it runs no model"),
        one("mbu", "MBU", "fraction", found.mbu, "it runs no model"),
        one("host_share", "Host", "fraction", found.host_share),
        one("transfer_share", "Transfers", "fraction", where(found.transfer_share, found.transfer_share or 0.0)),
        one("running_mean", "Batch", "", found.running_mean),
        one("waiting_mean", "Waiting", "", found.waiting_mean),
        one("kv_mean_fraction", "Cache, mean", "fraction", found.kv_mean_fraction, "it keeps no cache"),
        one("kv_peak_fraction", "Cache, peak", "fraction", found.kv_peak_fraction, "it keeps no cache"),
        one("prefix_hit_rate", "Prefix hits", "fraction", found.prefix_hit_rate, "no prefix cache"),
        one("drafts_accepted", "Drafts kept", "fraction", found.drafts_accepted, "no drafts"),
        one("preemptions", "Preempted", "count", where(pool.generates, found.preemptions), "it keeps no cache"),
        one("swaps", "Swaps", "count", where(setup.swap_blocks, found.swaps), "it does not swap"),
        one("adapter_loads", "Adapter loads", "count", where(pool.adapters, found.adapter_loads), "no adapters"),
        one("device_j", "Energy", "Wh", found.device_j / JOULES_PER_WH),
        one("usd", "Cost", "usd", found.usd, unknown),
    )  # fmt: skip


def splits_of(answer: Answer) -> tuple[Split, ...]:
    """Where joules and dollars go."""
    pools, values = answer.found.pools, answer.found.outcome.values
    device, node, facility = (values[name] or 0.0 for name in ("device_j", "node_j", "facility_j"))
    joules = [Slice(pool.name, place, pool.device_j / JOULES_PER_WH) for place, pool in enumerate(pools)]
    joules.append(Slice("hosts", -1, (node - device) / JOULES_PER_WH))
    joules.append(Slice("cooling and losses", -2, (facility - node) / JOULES_PER_WH))
    dollars = tuple(
        Slice(pool.name, place, math.nan if pool.usd is None else pool.usd) for place, pool in enumerate(pools)
    )
    missing = answer.found.outcome.reasons.get("usd", "")
    rent = "Rent or depreciation of all devices for as long as they were there, working or not"
    own = any(pool.prepared.pool.owned for pool in answer.fleet.pools)
    note = f"{rent}; owned devices pay their electricity besides." if own else f"{rent}."
    return (
        Split("Energy of the site", "Wh", tuple(joules), ""),
        Split("Dollars", "usd", dollars, f"Some pools are left out: {missing}." if missing else note),
    )


def links_of(answer: Answer) -> tuple[LinkRow, ...]:
    """A row for each link between pools."""
    rows = []
    duration_s = answer.found.outcome.values["duration_s"] or 0.0
    for found, link in zip(answer.found.links, answer.fleet.pipeline.links, strict=True):
        rate = found.carried_bytes / duration_s if duration_s > 0.0 else math.nan
        busy, port_busy = (math.nan if value is None else value for value in (found.busy_share, found.port_busy_share))
        port = link.port_bytes_per_s if math.isfinite(link.port_bytes_per_s) else math.nan
        total = link.bytes_per_s if math.isfinite(link.bytes_per_s) else math.nan
        rows.append(
            LinkRow(" and ".join(found.between), (
                Measured("carried_bytes", "Carried", "bytes", found.carried_bytes),
                Measured("bytes_per_s", "Mean rate", "bytes_per_s", rate, reason="no time passed"),
                Measured("busy_share", "Busy", "fraction", busy, reason="no time passed"),
                Measured("port_busy_share", "Busiest port", "fraction", port_busy, reason="no time passed"),
                Measured("port", "A port", "bytes_per_s", port, reason="no limit"),
                Measured("total", "All together", "bytes_per_s", total, reason="no limit"),
            ))
        )  # fmt: skip
    return tuple(rows)


_TENANT: Final = (
    ("requests", "Requests", "count"), ("completed", "Answered", "count"), ("slo_attainment", "Good", "fraction"),
    ("ttft_s.p50", "TTFT p50", "s"), ("ttft_s.p99", "TTFT p99", "s"), ("tpot_s.p50", "TPOT p50", "s"),
    ("tpot_s.p99", "TPOT p99", "s"), ("e2e_s.p50", "E2E p50", "s"), ("e2e_s.p99", "E2E p99", "s"),
)  # fmt: skip


def tenants_of(answer: Answer) -> tuple[TenantRow, ...]:
    """A row for each tenant, with what it asks."""
    rows = []
    for tenant in answer.fleet.table.tenant:
        values = answer.found.tenants[tenant.name]
        asks = [f"{share(tenant.share)} of the requests", f"priority {tenant.priority}"]
        asks += [tenant.slo] if tenant.slo else []
        asks += [f"deadline {tenant.deadline}"] if tenant.deadline else []
        figures = []
        for name, title, dimension in _TENANT:
            value = values[name]
            why = "no objectives" if name == "slo_attainment" else "no request has one"
            figures.append(Measured(name, title, dimension, math.nan if value is None else value, reason=why))
        rows.append(TenantRow(tenant.name, ", ".join(asks), tuple(figures)))
    return tuple(rows)


def bandwidth_in_words(bytes_per_s: float) -> str:
    """A bandwidth, or that there is no limit."""
    return quantity(bytes_per_s, "bytes_per_s") if math.isfinite(bytes_per_s) else "no limit"
