"""What a fleet came to: latencies of whole requests, rates, energy and dollars; figures of each pool and each link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.assemble import host_w, paid_usd
from simulator.kernels import serving as kernel
from simulator.kernels.fleet import columns as c
from simulator.prepared import Prepared
from simulator.serving.fleet import FleetServed
from simulator.serving.jobs import Floats, Ints
from simulator.serving.model_work import model_bytes, model_flops, read_bytes
from simulator.serving.outcome import Latency, Outcome, gaps_of, latency_of, ratio
from simulator.serving.shared_devices import idle_s, power_of_bins, sharers
from simulator.serving.slo import Slo
from simulator.serving.steady import steady_values
from workloads.models.architecture import Architecture

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Member:
    """A pool of a served fleet: one replica, its model, and how many parts a replica is run as."""

    prepared: Prepared
    arch: Architecture | None
    virtual: int = 1


class Requests(NamedTuple):
    """Requests [n]: the job that each begins with; those that give its first tokens and those that end it [n, k], of
    which the last one counts; tokens of its prompt and answer; the tenant that it is of."""

    first: Ints
    answer: Ints
    last: Ints
    input: Ints
    output: Ints
    tenant: Ints


class PoolFigures(NamedTuple):
    """What one pool came to. Times in replica-seconds are those of whole replicas.

    Of pools that share devices each has its own busy time; idle power, hosts and price are split evenly, and MFU and
    MBU are over the whole time of the devices.
    """

    name: str
    device: str
    device_class: str
    model: str
    runtime: str
    replicas: int
    replicas_mean: float | None
    replicas_peak: int
    devices: int
    jobs: int
    active_s: float
    busy_s: float
    utilisation: float | None
    host_share: float | None
    transfer_share: float | None
    running_mean: float | None
    waiting_mean: float | None
    kv_peak_fraction: float | None
    kv_mean_fraction: float | None
    prefix_hit_rate: float | None
    preemptions: int
    swaps: int
    adapter_loads: int
    drafts_accepted: float | None
    iterations: int
    device_j: float
    node_j: float
    usd: float | None
    mfu: float | None
    mbu: float | None


class LinkFigures(NamedTuple):
    """What one link carried [B], and for which share of the run the whole of it and its busiest port were busy."""

    between: tuple[str, str]
    carried_bytes: float
    busy_share: float | None
    port_busy_share: float | None


@dataclass(frozen=True)
class FleetOutcome:
    """Everything that is said of one run of a fleet."""

    outcome: Outcome
    pools: tuple[PoolFigures, ...]
    links: tuple[LinkFigures, ...]
    tenants: Mapping[str, Mapping[str, float | None]]


HIDDEN: Final = 1 << 29
"""Caches of so many blocks are none."""


def request_table(served: FleetServed, requests: Requests) -> dict[str, npt.NDArray[Any]]:
    """What a person may want to know of each request, shape [n] each; NaN where it has no answer.

    Times to the first token and in the queue count from its arrival; those in the queue are of the
    job that answers. Where several jobs answer together it is the longest of theirs, and tokens have no gaps.
    """
    jobs = served.jobs
    done = (jobs.status[requests.last] == kernel.DONE).all(axis=1)
    lead = requests.answer[:, 0]
    nothing = np.where(done, 0.0, np.nan)
    arrival_s = np.where(jobs.ready_s[requests.first] >= 0.0, jobs.ready_s[requests.first], np.nan)
    first_s, last_s = jobs.first_s[requests.answer].max(axis=1), jobs.last_s[requests.last].max(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.where(requests.output > 1, (last_s - first_s) / (requests.output - 1), np.nan)
    if requests.answer.shape[1] > 1:
        gap[:] = np.nan
    queue_s = (jobs.scheduled_s - jobs.ready_s)[requests.answer].max(axis=1)
    return {
        "arrival_s": arrival_s, "input": requests.input, "output": requests.output, "tenant": requests.tenant,
        "replica": jobs.replica[lead], "preempted": jobs.preempted[requests.answer].sum(axis=1),
        "retries": jobs.retries[requests.answer].sum(axis=1), "cached": jobs.matched[requests.answer].sum(axis=1),
        "completed": done, "rejected": (jobs.status[requests.last] == kernel.REJECTED).any(axis=1),
        "scheduled_s": jobs.scheduled_s[lead] + nothing, "first_token_s": first_s + nothing,
        "last_token_s": last_s + nothing, "queue_s": queue_s + nothing,
        "ttft_s": first_s - arrival_s + nothing, "tpot_s": gap + nothing, "e2e_s": last_s - arrival_s + nothing,
    }  # fmt: skip


def fleet_outcome(
    served: FleetServed, members: Sequence[Member], requests: Requests, slos: Mapping[str, Slo | None],
    between: Sequence[tuple[str, str]], answering: int, table: Mapping[str, npt.NDArray[Any]] | None = None,
) -> FleetOutcome:  # fmt: skip
    """The outcome of ``served``.

    Args:
        members: the pools, in their order.
        slos: objectives by the name of the tenant, in the order of their numbers; None: none.
        between: names of the pools that each link joins.
        answering: number of the pool whose gaps between tokens and cache are those of the run.
    """
    table = request_table(served, requests) if table is None else table
    done = table["completed"]
    own = {name: values[done] for name, values in table.items()}
    latencies = {name: latency_of(own[name]) for name in ("ttft_s", "tpot_s", "e2e_s", "queue_s")}
    together = requests.answer.shape[1] > 1
    latencies["itl_s"] = latency_of(np.empty(0)) if together else gaps_of(served.gaps[answering])
    first_s = float(own["arrival_s"].min()) if done.any() else 0.0
    last_s = float(own["last_token_s"].max()) if done.any() else 0.0
    duration_s = last_s - first_s
    begin_s, end_s = _worked(served, table["arrival_s"], first_s, last_s)
    there = tuple(_there_s(served, number, begin_s, end_s) for number in range(len(members)))
    pools = tuple(_figures(served, number, member, there, end_s - begin_s) for number, member in enumerate(members))
    site = members[0].prepared.scenario.site
    device_j, node_j = sum(pool.device_j for pool in pools), sum(pool.node_j for pool in pools)
    facility_j = node_j * site.pue.value
    paid = [pool.usd for pool in pools]
    usd = None if any(each is None for each in paid) else float(sum(each or 0.0 for each in paid))
    tokens = float(own["output"].sum())
    good, judged = _good(own, slos)
    main = pools[answering]
    active_s = sum(pool.active_s / len(sharers(served, number)) for number, pool in enumerate(pools))
    values: dict[str, float | None] = {
        "requests": float(len(done)), "completed": float(done.sum()), "rejected": float(table["rejected"].sum()),
        "lost": float(len(done) - done.sum() - table["rejected"].sum()), "duration_s": duration_s,
        "requests_per_s": ratio(float(done.sum()), duration_s), "output_tokens_per_s": ratio(tokens, duration_s),
        "total_tokens_per_s": ratio(tokens + float(own["input"].sum()), duration_s),
        "goodput_requests_per_s": ratio(good, duration_s) if judged else None,
        "slo_attainment": good / len(done) if judged and len(done) else None,
        "device_j": device_j, "node_j": node_j, "facility_j": facility_j, "j_per_output_token": ratio(device_j, tokens),
        "j_per_request": ratio(device_j, float(done.sum())),
        "usd": usd, "usd_per_million_output_tokens": None if usd is None else ratio(1e6 * usd, tokens),
        "usd_per_thousand_requests": None if usd is None else ratio(1e3 * usd, float(done.sum())),
        "carbon_g": facility_j * site.carbon.value, "preemptions": float(sum(pool.preemptions for pool in pools)),
        "retries": float(table["retries"].sum()), "kv_peak_fraction": main.kv_peak_fraction,
        "kv_mean_fraction": main.kv_mean_fraction, "prefix_hit_rate": main.prefix_hit_rate,
        "running_mean": main.running_mean, "waiting_mean": main.waiting_mean,
        "utilisation": ratio(sum(pool.busy_s for pool in pools), active_s), "mfu": main.mfu, "mbu": main.mbu,
        "iterations": float(sum(pool.iterations for pool in pools)),
        "simulated_events": float(served.replicas[:, kernel.EVENTS].sum()) + float(len(served.jobs.status)),
    }  # fmt: skip
    steady, why_not = steady_values(served, [member.prepared for member in members], table)
    values |= steady
    links = tuple(
        LinkFigures(
            names,
            float(served.links.carried_bytes[k]),
            ratio(float(served.links.busy_s[k]), duration_s),
            ratio(float(served.links.port_busy_s[k].max()), duration_s),
        )
        for k, names in enumerate(between)
    )
    return FleetOutcome(
        Outcome(latencies, values, _reasons(members, slos, usd, judged, main) | why_not | _no_gaps(together)),
        pools,
        links,
        _tenants(table, slos),
    )


def _worked(served: FleetServed, arrival_s: Floats, first_s: float, last_s: float) -> tuple[float, float]:
    """From when to when pools worked [s]: also on requests that nobody answered."""
    ran = served.replicas[:, kernel.ITERATIONS] > 0.0
    came_s = arrival_s[np.isfinite(arrival_s)]
    if not ran.any() or not len(came_s):
        return first_s, last_s
    return float(came_s.min()), max(last_s, float(served.replicas[ran, kernel.TIME].max()))


def _good(own: Mapping[str, npt.NDArray[Any]], slos: Mapping[str, Slo | None]) -> tuple[float, bool]:
    """Requests that keep the objectives of their tenant, and whether there are any objectives."""
    good = np.zeros(len(own["ttft_s"]), np.bool_)
    for number, slo in enumerate(slos.values()):
        of_tenant = own["tenant"] == number
        good |= of_tenant & (slo.kept(own) if slo else True)
    return float(good.sum()), any(slo is not None for slo in slos.values())


def _reasons(
    members: Sequence[Member], slos: Mapping[str, Slo | None], usd: float | None, judged: bool, main: PoolFigures
) -> dict[str, str]:  # fmt: skip
    reasons: dict[str, str] = {}
    if usd is None:
        unknown = [m.prepared.pool.device.id for m in members if m.prepared.pool.usd_per_device_s is None]
        why = f"no price is known for {', '.join(dict.fromkeys(unknown))}; give one with --price"
        reasons |= dict.fromkeys(("usd", "usd_per_million_output_tokens", "usd_per_thousand_requests"), why)
    if not judged:
        reasons |= dict.fromkeys(("goodput_requests_per_s", "slo_attainment"), "no SLO was given; use --slo")
    if main.kv_peak_fraction is None:
        reasons |= dict.fromkeys(("kv_peak_fraction", "kv_mean_fraction"), "it keeps no cache")
    if main.prefix_hit_rate is None:
        reasons["prefix_hit_rate"] = "no prefix cache"
    if main.mfu is None:
        reasons |= dict.fromkeys(("mfu", "mbu"), "it runs no model")
    return reasons


def _no_gaps(together: bool) -> dict[str, str]:
    why = "several jobs answer a request side by side (fanout): their tokens do not follow one another"
    return dict.fromkeys(("tpot_s", "itl_s"), why) if together else {}


def _tenants(
    table: Mapping[str, npt.NDArray[Any]], slos: Mapping[str, Slo | None]
) -> dict[str, Mapping[str, float | None]]:  # fmt: skip
    """Requests, those completed, the share that keeps its objectives, and p99 latencies, by tenant."""
    found: dict[str, Mapping[str, float | None]] = {}
    for number, (name, slo) in enumerate(slos.items()):
        of_tenant = table["tenant"] == number
        done = of_tenant & table["completed"]
        own = {key: values[done] for key, values in table.items()}
        total = float(of_tenant.sum())
        found[name] = {
            "requests": total, "completed": float(done.sum()),
            "slo_attainment": float(slo.kept(own).sum()) / total if slo and total else None,
            **{f"{kind}.{field}": value for kind in ("ttft_s", "tpot_s", "e2e_s")
               for field, value in _ends(latency_of(own[kind])).items()},
        }  # fmt: skip
    return found


def _ends(latency: Latency) -> dict[str, float | None]:
    return {"p50": latency.p50, "p99": latency.p99}


def _figures(
    served: FleetServed, number: int, member: Member, there: Sequence[Floats], duration_s: float
) -> PoolFigures:  # fmt: skip
    """The figures of one pool over ``duration_s``; ``there``: seconds in which each replica of each pool was there."""
    setup, prepared = served.setups[number], member.prepared
    stats = served.replicas[served.own(number)]
    there_s, group = there[number], sharers(served, number)
    active_s = float(there_s.sum()) / member.virtual
    busy_s = float(stats[:, kernel.BUSY_S].sum())
    static_w = float(prepared.model.record["static_w"]) * setup.costs.devices
    device_j = float(stats[:, kernel.ENERGY_J].sum()) + static_w * idle_s(served, group, there) / len(group)
    hosts_w = sum(host_w((prepared,)).values()) / len(group)
    paid, _ = paid_usd((prepared,), {prepared.pool.name: device_j}, active_s / len(group))
    cache = setup.limits.blocks < HIDDEN
    whole = float(there_s.sum())
    prompts = float(stats[:, kernel.PREFILL_TOKENS].sum())
    hits = float(stats[:, c.HIT_TOKENS].sum())
    drafted = float(stats[:, c.DRAFTED].sum())
    pool, arch, mfu, mbu = prepared.pool, member.arch, None, None
    if arch is not None and active_s > 0.0:
        seconds = active_s * pool.count
        mfu = model_flops(served, number, arch, prepared.precision) / (seconds * prepared.peak_flops)
        mbu = model_bytes(served, number, prepared, arch) / (seconds * pool.device.memory.bandwidth.value)
    return PoolFigures(
        setup.name, pool.device.id, pool.device.device_class, arch.id if arch else "", pool.runtime.id,
        setup.replicas // member.virtual, ratio(active_s, duration_s), int((there_s > 0.0).sum()) // member.virtual,
        pool.count, int((served.jobs.pool == number).sum()), active_s,
        busy_s / member.virtual, ratio(busy_s, whole), ratio(float(stats[:, c.HOST_S].sum()), busy_s),
        ratio(float(stats[:, c.TRANSFER_S].sum()), busy_s),
        ratio(float(stats[:, kernel.RUNNING_S].sum()), whole / member.virtual),
        ratio(float(stats[:, kernel.QUEUE_S].sum()), whole / member.virtual),
        float(stats[:, kernel.KV_PEAK].max()) / setup.limits.blocks if cache else None,
        ratio(float(stats[:, kernel.KV_S].sum()), whole * setup.limits.blocks) if cache else None,
        ratio(hits, hits + prompts) if setup.unit_blocks else None, int(stats[:, kernel.PREEMPTIONS].sum()),
        int(stats[:, c.SWAPS].sum()), int(stats[:, c.LOADS].sum()),
        ratio(float(stats[:, c.ACCEPTED].sum()), drafted) if setup.drafts else None,
        int(stats[:, kernel.ITERATIONS].sum()), device_j, device_j + hosts_w * active_s, paid, mfu, mbu,
    )  # fmt: skip


def _there_s(served: FleetServed, pool: int, first_s: float, last_s: float) -> Floats:
    """Seconds in which each replica of a pool was there, between the first arrival and the last token."""
    rows, begins = served.own(pool), served.setups[pool].replicas
    status, stats = served.state[rows, c.STATUS], served.replicas[rows]
    found: Floats = stats[:, c.ACTIVE_S].copy()
    still = status != c.OFF
    found[still] += np.maximum(last_s - np.maximum(stats[still, c.SINCE], first_s), 0.0)
    early = np.arange(len(found)) < begins
    gone = early & (stats[:, c.ACTIVE_S] > 0.0)
    found[gone] = np.maximum(found[gone] - first_s, 0.0)
    return found


class Series(NamedTuple):
    """What one pool did over time, by bins: their ends [s], and means or rates in them, [bins] each."""

    pool: str
    end_s: Floats
    columns: Mapping[str, Floats]


def series_of(served: FleetServed, members: Sequence[Member]) -> tuple[Series, ...]:
    """Queue, batch, cache, shares of time, tokens and power of each pool over time."""
    found = []
    last = float(served.replicas[:, kernel.TIME].max())
    bins = max(1, min(int(np.ceil(last / served.bin_s)), served.bins.shape[1]))
    for number, (setup, member) in enumerate(zip(served.setups, members, strict=True)):
        cells, width = served.bins[number, :bins], served.bin_s
        blocks = setup.limits.blocks
        busy = cells[:, c.B_BUSY_S]
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = {
                name: np.where(busy > 0.0, cells[:, column] / busy, 0.0)
                for name, column in (("host_share", c.B_HOST_S), ("transfer_share", c.B_TRANSFER_S))
            }
        columns = {
            "waiting": cells[:, c.B_WAITING] / width, "running": cells[:, c.B_RUNNING] / width,
            "kv_fraction": cells[:, c.B_BLOCKS] / (width * blocks * setup.most),
            "busy_replicas": busy / width, **shares, "prompt_tokens_per_s": cells[:, c.B_PROMPT_TOKENS] / width,
            "tokens_per_s": cells[:, c.B_TOKENS] / width,
            "iterations_per_s": cells[:, c.B_ITERATIONS] / width,
            "power_w": power_of_bins(served, number, member.prepared, bins),
            **_intensity(served, number, member, cells, busy),
        }  # fmt: skip
        found.append(Series(setup.name, (np.arange(bins) + 1.0) * width, columns))
    return tuple(found)


def _intensity(
    served: FleetServed, number: int, member: Member, cells: Floats, busy: Floats
) -> dict[str, Floats]:  # fmt: skip
    """MFU and MBU of the busy time of each bin; of a pool that runs no model nothing. The FLOPs of all tokens are taken
    to be equal, prompts and answers alike."""
    arch, prepared = member.arch, member.prepared
    if arch is None:
        return {}
    tokens = cells[:, c.B_PROMPT_TOKENS] + cells[:, c.B_TOKENS]
    iterations = float(cells[:, c.B_ITERATIONS].sum())
    if not iterations:
        return {"mfu": busy * 0.0, "mbu": busy * 0.0}
    flops = model_flops(served, number, arch, prepared.precision) * tokens / tokens.sum()
    weights, each = read_bytes(prepared, arch, max(float(tokens.sum()) / iterations, 1.0))
    moved = weights * cells[:, c.B_ITERATIONS] + each * cells[:, c.B_READ_TOKENS]
    devices = prepared.pool.count / member.virtual
    bandwidth = prepared.pool.device.memory.bandwidth.value
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "mfu": np.where(busy > 0.0, flops / (busy * devices * prepared.peak_flops), 0.0),
            "mbu": np.where(busy > 0.0, moved / (busy * devices * bandwidth), 0.0),
        }
