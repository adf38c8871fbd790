"""What serving came to: latencies, rates, energy and dollars, from the columns of requests and replicas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.assemble import host_w, paid_usd
from simulator.kernels import serving as kernel
from simulator.prepared import Prepared
from simulator.serving.cluster import GAPS_PER_DOUBLING, LEAST_GAP_S, Served
from simulator.serving.slo import Slo

Floats = npt.NDArray[np.float64]

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
COUNTS: Final = (
    "requests", "completed", "rejected", "lost", "preemptions", "retries", "iterations", "simulated_events",
)  # fmt: skip
"""Values that are whole numbers."""
LATENCIES: Final = ("ttft_s", "tpot_s", "itl_s", "e2e_s", "queue_s")


class Latency(NamedTuple):
    """Mean and quantiles of one kind of latency [s]; None where no request has it."""

    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None


class Outcome(NamedTuple):
    """Everything that is said of one run.

    ``latencies`` by name; ``values`` numbers by the names that programs read, None with a reason in ``reasons``.
    """

    latencies: dict[str, Latency]
    values: dict[str, float | None]
    reasons: dict[str, str]


def outcome_of(prepared: Prepared, served: Served, slo: Slo | None = None) -> Outcome:
    """The outcome of ``served``, whose replicas are the pool of ``prepared`` each.

    Args:
        slo: bounds that a request must keep to count as good.
    """
    requests, replicas = served.requests, served.replicas
    done = requests.status == kernel.DONE
    columns = request_columns(served)
    own = {name: values[done] for name, values in columns.items()}
    latencies = {name: latency_of(own[name]) for name in ("ttft_s", "tpot_s", "e2e_s", "queue_s")}
    latencies["itl_s"] = gaps_of(served.gaps)
    first = float(requests.arrival_s[done].min()) if done.any() else 0.0
    last = float(requests.last_s[done].max()) if done.any() else 0.0
    duration_s = last - first
    count = len(replicas)
    tokens = float(requests.output[done].sum())
    busy_s = float(replicas[:, kernel.BUSY_S].sum())
    static_w = float(prepared.model.record["static_w"]) * prepared.pool.count
    device_j = float(replicas[:, kernel.ENERGY_J].sum()) + static_w * max(count * duration_s - busy_s, 0.0)
    hosts_w = sum(host_w((prepared,)).values()) * count
    site = prepared.scenario.site
    node_j = device_j + hosts_w * duration_s
    facility_j = node_j * site.pue.value
    paid, unknown = paid_usd((prepared,), {prepared.pool.name: device_j / count}, duration_s)
    blocks = float(served.limits.blocks)
    integral = duration_s * count
    values: dict[str, float | None] = {
        "requests": float(len(done)), "completed": float(done.sum()),
        "rejected": float((requests.status == kernel.REJECTED).sum()), "duration_s": duration_s,
        "requests_per_s": ratio(float(done.sum()), duration_s),
        "output_tokens_per_s": ratio(tokens, duration_s),
        "total_tokens_per_s": ratio(tokens + float(requests.input[done].sum()), duration_s),
        "goodput_requests_per_s": ratio(float(slo.kept(own).sum()), duration_s) if slo else None,
        "slo_attainment": ratio(float(slo.kept(own).sum()), float(len(done))) if slo else None,
        "device_j": device_j, "node_j": node_j, "facility_j": facility_j,
        "j_per_output_token": ratio(device_j, tokens),
        "usd_per_million_output_tokens": ratio(1e6 * paid * count, tokens) if paid is not None else None,
        "carbon_g": facility_j * site.carbon.value,
        "preemptions": float(replicas[:, kernel.PREEMPTIONS].sum()),
        "kv_peak_fraction": float(replicas[:, kernel.KV_PEAK].max()) / blocks,
        "kv_mean_fraction": ratio(float(replicas[:, kernel.KV_S].sum()), integral * blocks),
        "running_mean": ratio(float(replicas[:, kernel.RUNNING_S].sum()), integral),
        "waiting_mean": ratio(float(replicas[:, kernel.QUEUE_S].sum()), integral),
        "utilisation": ratio(busy_s, integral),
        "iterations": float(replicas[:, kernel.ITERATIONS].sum()),
        "simulated_events": float(replicas[:, kernel.EVENTS].sum()) + float(len(done)),
    }  # fmt: skip
    reasons = {"usd_per_million_output_tokens": unknown} if unknown else {}
    if slo is None:
        reasons |= dict.fromkeys(("goodput_requests_per_s", "slo_attainment"), "no SLO was given; use --slo")
    return Outcome(latencies, values, reasons)


def request_columns(served: Served) -> dict[str, npt.NDArray[Any]]:
    """What a person may want to know of each request, shape [n] each; NaN where it has no answer."""
    q = served.requests
    done = q.status == kernel.DONE
    nothing = np.where(done, 0.0, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.where(q.output > 1, (q.last_s - q.first_s) / (q.output - 1), np.nan)
    return {
        "arrival_s": q.arrival_s, "input": q.input, "output": q.output, "replica": q.replica,
        "preempted": q.preempted, "completed": done, "scheduled_s": q.scheduled_s + nothing,
        "first_token_s": q.first_s + nothing, "last_token_s": q.last_s + nothing,
        "queue_s": q.scheduled_s - q.arrival_s + nothing, "ttft_s": q.first_s - q.arrival_s + nothing,
        "tpot_s": gap + nothing, "e2e_s": q.last_s - q.arrival_s + nothing,
    }  # fmt: skip


def latency_of(values: Floats) -> Latency:
    """Mean and quantiles of the values that are known."""
    known = values[np.isfinite(values)]
    if not len(known):
        return Latency(None, None, None, None, None)
    quantiles = np.quantile(known, list(QUANTILES.values()))
    return Latency(float(known.mean()), *(float(value) for value in quantiles))


def gaps_of(counts: npt.NDArray[np.int64]) -> Latency:
    """Mean and quantiles of gaps between tokens from their bins, geometric middles: within 2.2%."""
    total = int(counts.sum())
    if not total:
        return Latency(None, None, None, None, None)
    middles = LEAST_GAP_S * 2.0 ** ((np.arange(len(counts)) + 0.5) / GAPS_PER_DOUBLING)
    reached = np.cumsum(counts) / total
    found = [float(middles[int(np.searchsorted(reached, q))]) for q in QUANTILES.values()]
    return Latency(float((counts * middles).sum() / total), *found)


def ratio(part: float, whole: float) -> float | None:
    """``part / whole``; None of nothing."""
    return part / whole if whole > 0.0 else None


def as_json(outcome: Outcome) -> Mapping[str, Any]:
    """The keys that programs read."""
    values: dict[str, float | int | None] = {
        name: int(value) if name in COUNTS and value is not None else value for name, value in outcome.values.items()
    }
    energy = {name: values.pop(f"{name}_j") for name in ("device", "node", "facility")}
    latencies = {name: outcome.latencies[name]._asdict() for name in LATENCIES}
    return {
        "requests": values.pop("requests"), "duration_s": values.pop("duration_s"), **latencies, **values,
        "energy_j": energy, "reasons": outcome.reasons,
    }  # fmt: skip
