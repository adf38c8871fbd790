"""A served run in words: what its numbers mean, the traffic, and what the prediction rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from hardware_specs.facts import Fact
from reports.calibration import Group
from reports.numbers import number, quantity, whole
from silicost.serving.page_latency import MEANINGS, TITLES
from silicost.serving.page_pools import bandwidth_in_words, machines_of

if TYPE_CHECKING:
    from silicost.serving.answer import Answer, Fleet
    from silicost.serving.pools import Pool
    from simulator.serving.fleet_outcome import PoolFigures

PER_HOUR: Final = 3600.0
_WH: Final = 1.0 / 3600.0


STEADY: Final = (
    "the window between the arrival of the request at one tenth of all and that at nine tenths: without ramp and drain."
)


class Definition(NamedTuple):
    """A number of a run: how it is called, its dimension, its meaning, and what it is multiplied by to be shown."""

    title: str
    dimension: str
    meaning: str
    factor: float = 1.0


DEFINITIONS: Final = {
    "requests": Definition("Requests", "count", "All that arrive."),
    "completed": Definition("Answered", "count", "Requests whose last token was given."),
    "rejected": Definition(
        "Rejected", "count",
        "Requests that were turned away: longer than the context or the cache, a full queue, a deadline that was over.",
    ),
    "lost": Definition("Lost", "count", "Requests that no replica was left to answer."),
    "retries": Definition("Begun again", "count", "How often a request began again because its replica failed."),
    "duration_s": Definition("Duration", "s", "From the first arrival to the last token."),
    "requests_per_s": Definition("Answered a second", "requests/s", "Answered requests over the duration."),
    "goodput_requests_per_s": Definition(
        "Goodput", "requests/s", "Answered requests that keep every objective of theirs, over the duration."
    ),
    "slo_attainment": Definition(
        "Good requests", "fraction", "Requests that keep every objective of theirs, over all requests."
    ),
    "output_tokens_per_s": Definition("Output", "tokens/s", "Tokens of the answers over the duration."),
    "total_tokens_per_s": Definition("Input and output", "tokens/s", "Tokens of prompts and answers over it."),
    "steady_requests_per_s": Definition(
        "Answered a second, steady", "requests/s", f"The same of {STEADY}"
    ),
    "steady_output_tokens_per_s": Definition("Output, steady", "tokens/s", f"Tokens made in {STEADY}"),
    "steady_usd_per_million_output_tokens": Definition(
        "Per million output tokens, steady", "usd", f"Price of all devices over the tokens of {STEADY}"
    ),
    "steady_j_per_output_token": Definition(
        "Per output token, steady", "j", f"Energy of all devices over the tokens of {STEADY}"
    ),
    "usd": Definition("All of it", "usd", "Price of all devices from the first arrival to the last token."),
    "usd_per_million_output_tokens": Definition(
        "Per million output tokens", "usd",
        "Price of all devices, working or not, from the first arrival to the last token, over tokens of answers.",
    ),
    "usd_per_thousand_requests": Definition(
        "Per thousand requests", "usd", "The same price over the answered requests."
    ),
    "j_per_output_token": Definition(
        "Per output token", "j", "Energy of all devices, idle time included, over the tokens of the answers."
    ),
    "j_per_request": Definition("Per request", "j", "The same energy over the answered requests."),
    "device_j": Definition("Devices", "Wh", "Energy of all devices, idle time included.", _WH),
    "facility_j": Definition(
        "Site", "Wh", "Energy of devices and hosts, times the power usage effectiveness (PUE) of the site.", _WH
    ),
    "carbon_g": Definition("Carbon", "g", "Energy of the site times the carbon intensity of its grid."),
    "utilisation": Definition(
        "Busy", "fraction", "Time in which replicas run an iteration, over the time in which they were there."
    ),
    "mfu": Definition(
        "MFU", "fraction",
        "FLOPs that the model needs (causal attention counted half) over time times dense peak, idle time included.",
    ),
    "mbu": Definition(
        "MBU", "fraction",
        "Bytes that must be read (weights once an iteration, the cache) over time times bandwidth, idle time included.",
    ),
    "running_mean": Definition("Running batch", "", "Mean sequences that run on a replica."),
    "waiting_mean": Definition("Waiting", "", "Mean requests that wait at a replica."),
    "kv_mean_fraction": Definition("Cache, mean", "fraction", "Mean share of the blocks of the cache in use."),
    "kv_peak_fraction": Definition("Cache, peak", "fraction", "Largest share of the blocks in use at one replica."),
    "prefix_hit_rate": Definition("Prefix hits", "fraction", "Prompt tokens that were found in a cache."),
    "preemptions": Definition("Preempted", "count", "Sequences that were taken out because the cache was full."),
    "iterations": Definition("Iterations", "count", "Steps of all replicas."),
}  # fmt: skip

INTERVAL: Final = (
    "The same requests are served again with every time of every pool at the fast, then at the slow end of its 80% "
    "interval: a queue multiplies an error of the devices, and so this does too. The errors are those of laws, devices "
    "and runtimes on whole batches; the draw of arrivals and lengths is the seed's and not in them. Numbers of single "
    "pools, links and tenants have no interval."
)


def definitions_of(answer: Answer) -> tuple[tuple[str, str], ...]:
    """Title and meaning of every number that this page shows."""
    values = answer.found.outcome.values
    latencies = tuple((TITLES[kind], MEANINGS[kind]) for kind in TITLES)
    own = tuple(
        (known.title, known.meaning)
        for name, known in DEFINITIONS.items()
        if values[name] is not None and (name not in ("lost", "retries") or values[name])
    )
    return (*latencies, *own)


def runs_in_words(pool: PoolFigures) -> str:
    """What a pool runs on what."""
    return f"{pool.model or 'vector search'} on {machines_of(pool)}"


def traffic_in_words(fleet: Fleet) -> str:
    """How requests arrive and how long they are, in a sentence or two."""
    table, traffic = fleet.table.traffic, fleet.traffic
    count = whole(float(traffic.requests))
    if table.trace:
        faster = f" {table.speedup:g} times as fast" if table.speedup != 1.0 else ""
        how = f"{count} requests of a trace, replayed{faster}"
    elif table.concurrency:
        how = f"{count} requests of {table.concurrency:,} clients that send the next one once they are answered"
    else:
        shape = f", burstiness {table.burstiness:g}" if table.burstiness is not None else ""
        how = f"{count} requests, {number(table.rate or 0.0)} a second ({table.arrivals}{shape})"
    talk = f" in conversations of {table.sessions.turns} turns" if table.sessions else ""
    if not traffic.requests:
        return f"{how}{talk}."
    prompt, answer = float(np.mean(traffic.input)), float(np.mean(traffic.output))
    lengths = f"prompts of {number(prompt)} tokens on average"
    if fleet.pools[fleet.answering].generates:
        lengths += f", answers of {number(answer)}"
    return f"{how}{talk}; {lengths}."


def prediction_of(answer: Answer) -> tuple[Group, ...]:
    """Groups of facts: traffic, each pool, links, the site, what intervals mean."""
    return (*facts_of(answer.fleet), Group("intervals", (("80% interval", INTERVAL),)))


def facts_of(fleet: Fleet) -> tuple[Group, ...]:
    """Groups of facts: traffic, each pool, links, the site."""
    groups = [Group("traffic", _traffic_rows(fleet))]
    groups += [Group(f"pool {pool.name}", _pool_rows(pool)) for pool in fleet.pools]
    if fleet.pipeline.links:
        groups.append(Group("links", _link_rows(fleet)))
    site = fleet.pools[0].prepared.scenario.site
    groups.append(
        Group("site", (
            ("site", site.id), ("PUE", fact_in_words(site.pue)), ("carbon", fact_in_words(site.carbon)),
            ("electricity", fact_in_words(site.electricity)),
        ))
    )  # fmt: skip
    return tuple(groups)


def _traffic_rows(fleet: Fleet) -> tuple[tuple[str, str], ...]:
    table, traffic = fleet.table.traffic, fleet.traffic
    rows = [("requests", whole(float(traffic.requests))), ("arrivals", _arrivals(fleet))]
    if table.sessions:
        rows += [("turns", table.sessions.turns), ("pauses", table.sessions.think)]
        rows += [("system prompt", f"{table.sessions.system:,} tokens")] if table.sessions.system else []
    for name, law, values in (("prompts", table.isl, traffic.input), ("answers", table.osl, traffic.output)):
        if len(values):
            p50, p99 = np.quantile(values, (0.5, 0.99))
            seen = (
                f"mean {number(float(np.mean(values)))}, p50 {p50:,.0f}, p99 {p99:,.0f}, most {values.max():,} tokens"
            )
            rows.append((name, f"{law}; {seen}" if law else seen))
    rows += [("objectives", fleet.table.slo)] if fleet.table.slo else []
    rows += [(f"tenant {tenant.name}", f"{tenant.share:.3g} of the requests") for tenant in fleet.table.tenant]
    rows += [
        ("failure", f"replica {each.replica} of {each.pool} at {each.at}, {each.lasts or 'for good'}")
        for each in fleet.table.failure
    ]
    rows += [("note", note) for note in traffic.notes]
    return (*rows, ("seed", str(fleet.table.seed)))


def _arrivals(fleet: Fleet) -> str:
    table = fleet.table.traffic
    if table.trace:
        return f"trace, {table.trace_format or 'format by its content'}, {table.speedup:g} times as fast"
    if table.concurrency:
        return f"closed loop of {table.concurrency:,} clients"
    return f"{table.arrivals}, {number(table.rate or 0.0)} a second"


def fact_in_words(fact: Fact) -> str:
    """A fact with how it is known."""
    return f"{fact.text} ({fact.mark.value}: {fact.origin})"


def _pool_rows(pool: Pool) -> tuple[tuple[str, str], ...]:
    """Model, software, scheduler, limits and price of a pool."""
    ready, setup, table = pool.prepared, pool.setup, pool.table
    runtime, plan, limits = ready.pool.runtime, ready.pool.plan, pool.setup.limits
    per_replica = f"{ready.pool.count} × {ready.pool.device.id}"
    rows = [("runs", pool.arch.id if pool.arch else f"search: {table.index}")]
    rows += [("replicas", f"{table.replicas}, each {per_replica} ({ready.pool.device.name})")]
    parallel = [f"{name} {size}" for name, size in (("tp", plan.tp), ("pp", plan.pp), ("ep", plan.ep)) if size > 1]
    rows += [("plan", ", ".join(parallel))] if parallel else []
    rows += [("software", f"{runtime.name} {runtime.version} ({runtime.date})")]
    if pool.arch:
        formats = ready.pool.formats
        rows += [
            ("formats", f"{formats.dtype}, weights {formats.weight or formats.dtype}, cache {formats.kv or '16 bit'}")
        ]
    rows += [("scheduler", f"{setup.schedule}, order {setup.order}, router {setup.router}")]
    rows += [("sequences", f"at most {whole(limits.sequences)} at once on a replica" + _staged(pool))]
    if pool.generates:
        rows += [
            ("new tokens", f"at most {whole(limits.batched_tokens)} of an iteration"),
            ("cache", f"{whole(limits.blocks)} blocks of {limits.block_tokens} tokens, "
                      f"{whole(limits.blocks * limits.block_tokens)} tokens on a replica" + _staged(pool)),
            ("context", f"{whole(limits.context)} tokens at most"),
            ("memory in use", fact_in_words(runtime.memory_utilisation)),
        ]  # fmt: skip
    rows += _features(pool)
    price = ready.pool.usd_per_device_s
    if price is None:
        return (*rows, ("price", "none is known; give one with --price"))
    kind = "owned" if ready.pool.owned else "rented"
    hourly = f"{quantity(price.value * PER_HOUR, 'usd')} a device-hour, {kind}, {ready.pool.price_origin}"
    return (*rows, ("price", f"{hourly} ({price.mark.value}: {price.origin})"))


def _staged(pool: Pool) -> str:
    return f" and pipeline stage, of {pool.virtual}" if pool.virtual > 1 else ""


def _features(pool: Pool) -> list[tuple[str, str]]:
    """What a pool has beyond the usual."""
    table, setup = pool.table, pool.setup
    rows = []
    if table.speculation:
        spec = table.speculation
        draft = {"": "n-grams that are looked up", "eagle": "an EAGLE head"}.get(spec.draft, spec.draft)
        each = f"each accepted with {100.0 * setup.acceptance:.3g}% after those before it"
        rows.append(("drafts", f"{spec.depth} tokens of {draft}, {each} (as asked)"))
    if setup.unit_blocks:
        unit = setup.unit_blocks * setup.limits.block_tokens
        tier = f", {table.prefix_cache.host} of the host" if table.prefix_cache and table.prefix_cache.host else ""
        rows.append(("prefix cache", f"units of {unit} tokens{tier}"))
    rows += [("swap", f"{table.swap} of the host")] if table.swap else []
    if table.adapters:
        rows.append(
            ("adapters", f"{table.adapters.count} of rank {table.adapters.rank}, {table.adapters.slots} loaded")
        )
    if setup.scaling:
        scale = setup.scaling
        rows.append(("scaling", f"{scale.least} to {scale.most} replicas, {quantity(scale.start_s, 's')} to start one"))
    if table.failures:
        rows.append(("failures", f"every {table.failures.mtbf} a replica, {table.failures.mttr} to come back"))
    rows += [("shares devices", table.shares)] if table.shares else []
    rows += [("changed", f"{key} = {value}") for key, value in table.set.items()]
    return rows


def _link_rows(fleet: Fleet) -> tuple[tuple[str, str], ...]:
    """Each link: who said what it carries, and how much that is."""
    asked = {frozenset(table.between) for table in fleet.table.link}
    names = {number: pair for pair, number in fleet.pipeline.joins.items() if pair[0] < pair[1]}
    rows = []
    for place, link in enumerate(fleet.pipeline.links):
        whose = "as asked" if frozenset(names[place]) in asked else "assumed: what both ends reach of their networks"
        port, total = (bandwidth_in_words(value) for value in (link.port_bytes_per_s, link.bytes_per_s))
        latency = quantity(fleet.pipeline.latency_s[place], "s")
        rows.append((" and ".join(names[place]), f"{port} a port, {total} together, {latency} ({whose})"))
    return tuple(rows)
