"""What a served fleet came to, as programs and people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from simulator.serving.outcome import LATENCIES, as_json

if TYPE_CHECKING:
    from silicost.serving.answer import Answer

SHOWN: Final = (
    "requests", "completed", "rejected", "lost", "retries", "duration_s", "requests_per_s", "output_tokens_per_s",
    "steady_requests_per_s", "steady_output_tokens_per_s", "goodput_requests_per_s", "slo_attainment", "utilisation",
    "mfu", "mbu", "running_mean", "waiting_mean", "kv_mean_fraction", "kv_peak_fraction", "prefix_hit_rate",
    "preemptions", "j_per_output_token", "j_per_request", "usd_per_million_output_tokens", "usd_per_thousand_requests",
    "steady_j_per_output_token", "steady_usd_per_million_output_tokens", "carbon_g", "iterations",
)  # fmt: skip
DIMENSIONS: Final = {
    "duration_s": "s", "j_per_output_token": "j", "j_per_request": "j", "usd_per_million_output_tokens": "usd",
    "usd_per_thousand_requests": "usd", "steady_output_tokens_per_s": "tokens/s", "steady_j_per_output_token": "j",
    "steady_usd_per_million_output_tokens": "usd", "carbon_g": "g", "output_tokens_per_s": "tokens/s",
    **dict.fromkeys(
        ("slo_attainment", "utilisation", "mfu", "mbu", "kv_mean_fraction", "kv_peak_fraction", "prefix_hit_rate"),
        "fraction",
    ),
}  # fmt: skip


def json_of(answer: Answer) -> dict[str, Any]:
    """The keys that programs read."""
    ends = {name: {"p10": low, "p90": high} for name, (low, high) in answer.intervals.items()}
    found = answer.found
    pools = [pool._asdict() for pool in found.pools]
    links = [{**link._asdict(), "between": list(link.between)} for link in found.links]
    tenants = {name: dict(values) for name, values in found.tenants.items() if name}
    notes = list(answer.notes)
    return {
        **as_json(found.outcome), "pools": pools, "links": links, "tenants": tenants, "notes": notes, "intervals": ends,
    }  # fmt: skip


def latency_rows(answer: Answer) -> list[dict[str, str]]:
    """Latencies by kind."""
    found = answer.found.outcome.latencies
    return [
        {"latency": name, **{field: shown(value, "s") for field, value in found[name]._asdict().items()}}
        for name in LATENCIES
    ]


def value_rows(answer: Answer) -> list[dict[str, str]]:
    """All other numbers with their intervals."""
    values = answer.found.outcome.values
    rows = []
    for name in SHOWN:
        value = values[name]
        if value is None or (name in ("lost", "retries") and not value):
            continue
        low, high = answer.intervals.get(name, (None, None))
        dimension = DIMENSIONS.get(name, "")
        span = "" if low is None or high is None else f"{shown(low, dimension)} to {shown(high, dimension)}"
        rows.append({"what": name, "value": shown(value, dimension), "80% interval": span})
    return rows


def pool_rows(answer: Answer) -> list[dict[str, str]]:
    """The pools of a fleet of several."""
    return [
        {
            "pool": pool.name, "device": f"{pool.replicas} x {pool.devices} {pool.device}",
            "runs": pool.model or "search", "jobs": str(pool.jobs), "utilisation": shown(pool.utilisation, "fraction"),
            "running": shown(pool.running_mean, ""), "waiting": shown(pool.waiting_mean, ""),
            "energy": shown(pool.device_j, "j"), "usd": shown(pool.usd, "usd"),
        }
        for pool in answer.found.pools
    ]  # fmt: skip


def shown(value: float | None, dimension: str) -> str:
    """A number for people."""
    from reports.numbers import number, quantity, whole

    if value is None:
        return "-"
    if dimension:
        return quantity(value, dimension)
    return whole(value) if float(value).is_integer() else number(value)
