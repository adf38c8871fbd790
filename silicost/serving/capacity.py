"""The highest rate at which a fleet holds its objectives, what it costs there, and how many replicas a rate needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np

from hardware_specs.errors import InputError
from silicost.serving.answer import Answer, Fleet, asked_of, ends_of_times, fleet_of, run_jobs, serve, traffic_of
from silicost.serving.pools import Pool
from silicost.serving.stages import pipeline_of
from silicost.serving.tables import FleetTable
from simulator.checks import check_count
from simulator.serving import capacity as search
from simulator.serving import cluster
from simulator.serving.capacity import Highest, Rows, highest_rate
from simulator.serving.fleet_outcome import request_table
from simulator.serving.outcome import Latency, latency_of, request_columns
from simulator.serving.requests import Asked
from simulator.serving.slo import Slo, parse_slo
from simulator.serving.uncertain import scaled
from workloads.traffic.arrivals import Arrivals, arrivals_of
from workloads.traffic.patterns import Bursts, Diurnal, Profile
from workloads.traffic.record import Traffic

MOST_REQUESTS: Final = 200_000
MOST_JOBS: Final = 40_000
"""Requests of a run at most where nobody says how many: of one plain pool, and jobs of others."""
PLAIN_REQUESTS: Final = 10_000
"""Requests of a run of one plain pool at least, where nobody says how many: they are cheap."""
CHANGING_JOBS: Final = 400_000
"""Jobs of a run at most whose rate changes with time: it must last as long as that takes, at any mean rate."""
BURSTS: Final = 4.0
"""A run lasts so many bursts on average, where nobody says how long."""
LONGER: Final = 1.25
"""Runs are so many times as long as needed at the rate that they are sized for, since the one found may be higher."""
MOST_REPLICAS: Final = 10_000
ALONE_GAP_S: Final = 1e5
"""Requests that come so far apart have a server for themselves."""
UNBOUNDED: Final = 1.0
"""Rate that stands in a table whose rate is to be found."""
Factors = tuple[float, ...]


@dataclass(frozen=True)
class Subject:
    """A fleet whose rate is sought: with as many requests as a run needs.

    Args:
        answer_s: of a request that has the fleet for itself, mean [s]; 0: not known.
        saturated_per_s: what the fleet completes where all requests are there at once [1/s].
    """

    fleet: Fleet
    answer_s: float
    saturated_per_s: float

    @property
    def requests(self) -> int:
        """Requests of a run."""
        return self.fleet.traffic.requests


@dataclass(frozen=True)
class Capacity:
    """What a fleet can do.

    Args:
        answer: the run at the highest rate that held; None where no rate holds.
        latencies: of the requests that were judged there, by name.
        interval: ends of the 80% interval of the rate [1/s]; None: not asked for.
        why: code and words for why no rate holds, "" where one does.
    """

    subject: Subject
    highest: Highest
    answer: Answer | None
    latencies: Mapping[str, Latency]
    interval: tuple[float, float] | None
    why: tuple[str, str] = ("", "")
    notes: tuple[str, ...] = ()

    @property
    def rate_per_s(self) -> float:
        """The highest rate that held [1/s]; 0: none."""
        return self.highest.rate_per_s


@dataclass(frozen=True)
class Needed:
    """The replicas that a rate needs: their fleet, and its run at this rate."""

    replicas: int
    answer: Answer
    latencies: Mapping[str, Latency]
    notes: tuple[str, ...] = ()


def capacity_of(table: FleetTable, place: str, *, intervals: bool = True) -> Capacity:
    """The highest rate at which the fleet of a table holds its objectives.

    Args:
        table: its traffic has no rate of its own that counts; without a number of requests as many as needed are drawn.
        intervals: search again at both ends of the interval of times.

    Raises:
        InputError: no objectives, a closed loop, anything in the table that cannot be.
    """
    fleet = ready(table, place)
    why = _alone_breaks(fleet)
    if why[0]:
        return Capacity(Subject(fleet, 0.0, 0.0), Highest(0.0, 0.0, (why[0],), ()), None, {}, None, why)
    subject = subject_of(fleet, fixed=table.traffic.requests is not None)
    same = (1.0,) * len(fleet.pools)
    highest = highest_rate(lambda rate: judge(subject.fleet, rate, same), subject.saturated_per_s)
    if not highest.rate_per_s:
        said = f"even {highest.above_per_s:.3g} requests/s break {', '.join(highest.binds)}"
        return Capacity(subject, highest, None, {}, None, ("slo", said))
    there = at_rate(subject.fleet, highest.rate_per_s)
    answer = serve(there, intervals=False)
    interval = _interval(subject.fleet, answer, highest.rate_per_s) if intervals else None
    return Capacity(
        subject, highest, answer, latencies_of(answer.requests), interval,
        notes=(*notes_of(subject.fleet, highest.rate_per_s, subject.answer_s), *_reversed(highest)),
    )  # fmt: skip


def replicas_for(found: Capacity, rate_per_s: float, place: str = "--rate") -> Needed | None:
    """The fewest replicas of a fleet of one pool that hold the objectives at a rate; None: none up to 10,000 do.

    Args:
        found: the capacity of the fleet.

    Raises:
        InputError: several pools, or one that scales itself.
    """
    fleet = found.subject.fleet
    if len(fleet.pools) != 1:
        raise InputError(
            f"{place}: the number of replicas is found for one pool, not for {len(fleet.pools)}; for a pool of prompts "
            "and one of answers use --find disaggregated"
        )
    pool = fleet.pools[0]
    if pool.setup.scaling:
        raise InputError(f"{place}: pool {pool.name} scales itself; say its replicas instead")
    if not found.rate_per_s:
        return None
    each = found.rate_per_s / pool.table.replicas
    same = (1.0,)
    sized = long_enough(fleet, rate_per_s, found.subject.answer_s)

    def holds(number: int) -> bool:
        return not judge(with_replicas(sized, {pool.name: number}), rate_per_s, same)

    number = search.fewest(holds, math.ceil(rate_per_s / each * (1.0 - 1e-9)), MOST_REPLICAS)
    if number is None:
        return None
    answer = serve(at_rate(with_replicas(sized, {pool.name: number}), rate_per_s), intervals=False)
    return Needed(number, answer, latencies_of(answer.requests), notes_of(sized, rate_per_s, found.subject.answer_s))


def ready(table: FleetTable, place: str) -> Fleet:
    """The fleet of a table, with requests enough to begin with.

    Raises:
        InputError: no objectives, a closed loop, anything in the table that cannot be.
    """
    _check_slos(table, place)
    traffic = table.traffic
    if traffic.concurrency:
        raise InputError(f"{place}: a closed loop has no rate that could be too high; leave --concurrency out")
    if traffic.requests is not None:
        check_count("--requests", traffic.requests, 100_000_000)
    if traffic.trace:
        return fleet_of(table, place)
    if traffic.rate and traffic.requests and _pattern(table):
        return fleet_of(table, place)
    period_s = _period_s(table)
    count = traffic.requests or max(search.LEAST_REQUESTS, min(math.ceil(UNBOUNDED * period_s), CHANGING_JOBS))
    return fleet_of(_asking(table, count / period_s if period_s else UNBOUNDED, count), place)


def _check_slos(table: FleetTable, place: str) -> None:
    """Refuse a search without objectives, or with none that would see a queue grow where the rate changes."""
    texts = [table.slo, *(tenant.slo for tenant in table.tenant)]
    if not any(texts):
        raise InputError(f"{place}: a capacity needs objectives: --slo ttft=500ms@p99,tpot=50ms@p90")
    if _pattern(table):
        for slo in (parse_slo(text, f"{place}: slo") for text in texts if text):
            if not any(bound.kind in search.QUEUED for bound in slo.bounds):
                raise InputError(
                    f"{place}: a rate that changes needs a bound on {', '.join(search.QUEUED)}: without one an "
                    "overload that passes cannot be told"
                )


def subject_of(fleet: Fleet, fixed: bool) -> Subject:
    """A fleet with as many requests as a run at its saturation needs, or with those that it has (``fixed``)."""
    answer_s = 0.0
    if not _keeps_time(fleet):
        rows = rows_of(_with(fleet, _alone(fleet.traffic)), (1.0,) * len(fleet.pools))
        answer_s = float(np.nanmean(rows["e2e_s"]))
    saturated = _saturated(fleet)
    if fleet.table.traffic.trace or (fixed and not _pattern(fleet.table)):
        return Subject(fleet, answer_s, saturated)
    return Subject(long_enough(fleet, saturated, answer_s), answer_s, saturated)


def long_enough(fleet: Fleet, rate_per_s: float, answer_s: float) -> Fleet:
    """``fleet`` with requests for a run at ``rate_per_s`` that tells an overload; never with fewer than it has."""
    traffic = fleet.table.traffic
    if traffic.trace:
        return fleet
    if _pattern(fleet.table):
        there = at_rate(fleet, LONGER * rate_per_s)
        if _longest(there.traffic) <= _longest(fleet.traffic):
            return fleet
        return replace(fleet_of(there.table, fleet.place), table=fleet.table, traffic=fleet.traffic)
    wanted = math.ceil(LONGER * rate_per_s * _scale(fleet) * search.run_s(fleet.slos, 2.0 * answer_s))
    wanted = max(wanted, PLAIN_REQUESTS if is_plain(fleet) else 0)
    most = MOST_REQUESTS if is_plain(fleet) else MOST_JOBS // max(_jobs_each(fleet), 1)
    count = max(min(wanted, most), fleet.traffic.requests)
    if count == fleet.traffic.requests:
        return fleet
    table = _asking(fleet.table, traffic.rate or UNBOUNDED, count)
    drawn = traffic_of(table.traffic, table.seed, fleet.place)
    if _longest(drawn) > _longest(fleet.traffic):
        return fleet_of(table, fleet.place)
    return replace(fleet, table=table, traffic=drawn)


def at_rate(fleet: Fleet, rate_per_s: float) -> Fleet:
    """The same requests of a fleet at another rate: gaps are scaled, lengths stay.

    Where the rate changes with time the run lasts as long as before, with more or fewer requests.
    """
    if fleet.table.traffic.trace:
        scale = _own_rate(fleet.traffic) / rate_per_s
        return _with(fleet, fleet.traffic._replace(arrival_s=fleet.traffic.arrival_s * scale))
    count = fleet.table.traffic.requests
    if _pattern(fleet.table):
        assert count is not None and fleet.table.traffic.rate is not None
        most = max(CHANGING_JOBS // max(_jobs_each(fleet), 1), 1)
        count = min(max(round(count * rate_per_s / fleet.table.traffic.rate), 1), most)
    table = _asking(fleet.table, rate_per_s, count)
    return replace(fleet, table=table, traffic=traffic_of(table.traffic, table.seed, fleet.place))


def with_replicas(fleet: Fleet, numbers: Mapping[str, int]) -> Fleet:
    """``fleet`` with other numbers of replicas of its pools, by name."""
    pools = {pool.name: _resized(pool, numbers.get(pool.name, pool.table.replicas)) for pool in fleet.pools}
    table = fleet.table
    tables = tuple(pools[each.name or each.device].table for each in table.pool)
    pipeline = pipeline_of(table.stage, table.link, pools, fleet.place)
    return replace(fleet, table=msgspec.structs.replace(table, pool=tables), pipeline=pipeline)


def _resized(pool: Pool, replicas: int) -> Pool:
    table = msgspec.structs.replace(pool.table, replicas=replicas)
    return replace(pool, table=table, setup=replace(pool.setup, replicas=replicas * pool.virtual))


def judge(fleet: Fleet, rate_per_s: float, factors: Factors) -> tuple[str, ...]:
    """What requests at a rate break, where times of each pool are ``factors`` as long."""
    rows = rows_of(at_rate(fleet, rate_per_s), factors)
    return search.broken(search.judged(rows), fleet.slos, halves=_pattern(fleet.table) is None)


def rows_of(fleet: Fleet, factors: Factors) -> Rows:
    """Columns of all requests of a run; of one plain pool from the fast path, which is the other one to the bit."""
    if is_plain(fleet):
        pool, traffic = fleet.pools[0], fleet.traffic
        assert pool.arch is not None
        tables = pool.setup.tables if factors[0] == 1.0 else scaled(pool.setup.tables, factors[0])
        asked = Asked(traffic.arrival_s, traffic.input, traffic.output)
        return request_columns(
            cluster.serve(
                pool.prepared, pool.arch, asked, pool.setup.limits, replicas=pool.setup.replicas,
                router=pool.setup.router, seed=fleet.table.seed, tables=tables,
            )
        )  # fmt: skip
    placed, requests = asked_of(fleet)
    return request_table(run_jobs(fleet, placed, factors), requests)


def is_plain(fleet: Fleet) -> bool:
    """Whether a fleet is one pool as the fast path runs it."""
    table, traffic = fleet.table, fleet.traffic
    if len(fleet.pools) != 1 or table.stage or table.tenant or table.failure or traffic.after is not None:
        return False
    pool = fleet.pools[0]
    own, plan, asked = pool.setup, pool.prepared.pool.plan, pool.table
    odd = (
        asked.speculation, asked.adapters, asked.prefix_cache, asked.autoscale, asked.failures, own.swap_blocks,
        own.waiting, own.drop_late, own.shares,
    )  # fmt: skip
    return (
        pool.generates and not any(odd) and own.schedule == "vllm-v1" and own.order == "fcfs"
        and own.router in cluster.ROUTERS and plan.pp == plan.dp == 1
    )  # fmt: skip


def latencies_of(rows: Rows) -> dict[str, Latency]:
    """Latencies of the requests that are judged, by name."""
    own = search.judged(rows)
    return {name: latency_of(own[name]) for name in ("ttft_s", "tpot_s", "e2e_s", "queue_s")}


def usd_per_hour(answer: Answer) -> float | None:
    """What the fleet of a run costs an hour; None without a price."""
    values = answer.found.outcome.values
    usd, seconds = values["usd"], values["duration_s"]
    return usd / seconds * 3600.0 if usd is not None and seconds else None


FIGURES: Final = (
    "requests_per_s", "goodput_requests_per_s", "output_tokens_per_s", "utilisation", "running_mean",
    "kv_peak_fraction", "usd_per_million_output_tokens", "usd_per_thousand_requests", "j_per_output_token",
    "j_per_request",
)  # fmt: skip
"""What is said of a run beside its latencies and what the fleet costs an hour."""


def figures_of(answer: Answer, latencies: Mapping[str, Latency]) -> dict[str, float | None]:
    """What a run came to, by name; latencies ("ttft_s.p99") are of the requests that are judged."""
    found: dict[str, float | None] = {
        f"{name}.{field}": getattr(latency, field) for name, latency in latencies.items() for field in Latency._fields
    }
    values = answer.found.outcome.values
    return found | {name: values[name] for name in FIGURES} | {"usd_per_hour": usd_per_hour(answer)}


def devices_of(fleet: Fleet) -> int:
    """Devices of all replicas; pools that share theirs count once."""
    groups = {pool.table.shares or f" {pool.name}": pool.devices * pool.table.replicas for pool in fleet.pools}
    return sum(groups.values())


def _asking(table: FleetTable, rate_per_s: float, requests: int | None) -> FleetTable:
    traffic = msgspec.structs.replace(table.traffic, rate=rate_per_s, requests=requests)
    return msgspec.structs.replace(table, traffic=traffic)


def _pattern(table: FleetTable) -> Diurnal | Profile | Bursts | None:
    """How the rate changes with time; None: it does not."""
    traffic = table.traffic
    if traffic.trace:
        return None
    found = arrivals_of(traffic.arrivals, UNBOUNDED, traffic.burstiness, "--arrivals")
    pattern = found.pattern if isinstance(found, Arrivals) else None
    return pattern if isinstance(pattern, (Diurnal, Profile, Bursts)) else None


def _period_s(table: FleetTable) -> float:
    """How long a run must last for all that its rate does [s]; 0: it is the same all the time."""
    pattern = _pattern(table)
    if pattern is None:
        return 0.0
    return BURSTS * pattern.every_s if isinstance(pattern, Bursts) else pattern.period_s


def _with(fleet: Fleet, traffic: Traffic) -> Fleet:
    return replace(fleet, traffic=traffic)


def _alone(traffic: Traffic) -> Traffic:
    """The same requests, so far apart that they never meet."""
    return traffic._replace(arrival_s=np.arange(float(traffic.requests)) * ALONE_GAP_S)


def _keeps_time(fleet: Fleet) -> bool:
    """Whether something happens in a fleet although no request comes: it cannot be watched for years."""
    return any(pool.setup.scaling or pool.setup.mtbf_s for pool in fleet.pools)


def _alone_breaks(fleet: Fleet) -> tuple[str, str]:
    """Code and words for why requests that have the fleet for themselves break its objectives; "" where they do not."""
    if not fleet.traffic.requests:
        raise InputError(f"{fleet.place}: there are no requests")
    if _keeps_time(fleet):
        return "", ""
    rows = rows_of(_with(fleet, _alone(fleet.traffic)), (1.0,) * len(fleet.pools))
    broken = search.broken(rows, fleet.slos, halves=False)
    if not broken:
        return "", ""
    if any(search.REJECTED in name for name in broken):
        share = 1.0 - float(np.mean(rows["completed"]))
        return "rejected", f"{share:.1%} of the requests are longer than the context or the cache of a replica"
    return "slo", "; ".join(_in_words(rows, slo, tenant) for tenant, slo in fleet.slos.items() if slo) + (
        ": requests that have the fleet for themselves break it"
    )


def _in_words(rows: Rows, slo: Slo, tenant: str) -> str:
    from reports.numbers import quantity

    said = []
    for bound in slo.bounds:
        values = rows[f"{bound.kind}_s"]
        known = values[np.isfinite(values)]
        if search.kept_share(rows, bound) < bound.share and len(known):
            least = quantity(float(np.quantile(known, bound.share)), "s")
            said.append(f"{search.name_of(bound)} is {least} at best, above {quantity(bound.seconds, 's')}")
    return (f"{tenant}: " if tenant else "") + ", ".join(said)


def _saturated(fleet: Fleet) -> float:
    """Requests (conversations) a second that a fleet completes where all are there at once."""
    slots = sum(min(pool.setup.limits.sequences, 1024) * pool.setup.replicas for pool in fleet.pools)
    most = MOST_REQUESTS if is_plain(fleet) else MOST_JOBS // max(_jobs_each(fleet), 1)
    traffic = fleet.traffic
    if 4 * slots > traffic.requests and not fleet.table.traffic.trace:
        count = max(min(4 * slots, most), traffic.requests)
        traffic = traffic_of(_asking(fleet.table, UNBOUNDED, count).traffic, fleet.table.seed, fleet.place)
    at_once = traffic._replace(arrival_s=np.zeros(traffic.requests))
    rows = rows_of(_with(fleet, at_once), (1.0,) * len(fleet.pools))
    rate = search.saturated_rate(rows["last_token_s"]) / _scale(fleet)
    if not rate > 0.0:
        raise InputError(f"{fleet.place}: no request could be served")
    return rate


def _scale(fleet: Fleet) -> float:
    """Requests of a conversation, mean; 1 without conversations."""
    session = fleet.traffic.session
    if session is None or fleet.table.traffic.trace:
        return 1.0
    return fleet.traffic.requests / max(len(np.unique(session)), 1)


def _jobs_each(fleet: Fleet) -> int:
    return sum(stage.table.fanout + (stage.decode is not None) for stage in fleet.pipeline.stages)


def _longest(traffic: Traffic) -> int:
    return int((traffic.input + traffic.output).max())


def _own_rate(traffic: Traffic) -> float:
    """Requests a second of a trace."""
    span_s = float(traffic.arrival_s[-1] - traffic.arrival_s[0])
    if not span_s > 0.0:
        raise InputError("--trace: its requests all come at once: it has no rate that could be scaled")
    return traffic.requests / span_s


def _interval(fleet: Fleet, answer: Answer, rate_per_s: float) -> tuple[float, float]:
    """Ends of the 80% interval of the rate: the search again where all times are at the ends of theirs."""
    rates = []
    for factors in ends_of_times(answer.fleet, answer.found):
        middle = float(np.exp(np.mean(np.log(factors))))

        def judged(rate: float, factors: Factors = factors) -> tuple[str, ...]:
            return judge(fleet, rate, factors)

        rates.append(highest_rate(judged, rate_per_s / middle, below=()).rate_per_s)
    return min(rates), max(rates)


def notes_of(fleet: Fleet, rate_per_s: float, answer_s: float) -> tuple[str, ...]:
    """What a reader should know of the length of a run."""
    traffic = at_rate(fleet, rate_per_s).traffic
    lasts_s = float(traffic.arrival_s[-1] - traffic.arrival_s[0])
    wanted_s = search.run_s(fleet.slos, 2.0 * answer_s)
    found = []
    if traffic.requests < search.LEAST_REQUESTS:
        found.append(f"{traffic.requests} requests: a p99 of few; give more with --requests")
    if _pattern(fleet.table) and traffic.requests >= CHANGING_JOBS // max(_jobs_each(fleet), 1):
        found.append(
            f"a run at this rate ends after {lasts_s:.3g} s, before all that the rate does over time has come; the "
            "rate may be too high (--arrivals poisson finds the one at a peak)"
        )
    if lasts_s < wanted_s:
        found.append(
            f"a run at this rate lasts {lasts_s:.3g} s, less than the {wanted_s:.3g} s in which an overload of 1% "
            "shows; the rate may be too high (--requests)"
        )
    return tuple(found)


def _reversed(highest: Highest) -> tuple[str, ...]:
    if not highest.reversals:
        return ()
    rates = ", ".join(f"{trial.rate_per_s:.4g}/s ({', '.join(trial.broken)})" for trial in highest.reversals)
    return (f"rates below do not all hold: {rates} break the objectives too",)
