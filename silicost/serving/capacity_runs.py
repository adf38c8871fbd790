"""Runs of a fleet at one rate after another: as many requests as tell an overload, drawn once, gaps scaled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np

from hardware_specs.errors import InputError
from silicost.serving.answer import Fleet, asked_of, fleet_of, run_jobs, traffic_of
from silicost.serving.pools import Pool
from silicost.serving.stages import pipeline_of
from silicost.serving.tables import FleetTable
from simulator.serving import capacity as search
from simulator.serving import cluster
from simulator.serving.capacity import Rows
from simulator.serving.fleet_outcome import request_table
from simulator.serving.outcome import request_columns
from simulator.serving.requests import Asked
from simulator.serving.slo import parse_slo
from simulator.serving.uncertain import scaled, scaled_host
from workloads.traffic.arrivals import Arrivals, arrivals_of
from workloads.traffic.patterns import Bursts, Diurnal, Profile
from workloads.traffic.record import Traffic

MOST_REQUESTS: Final = 200_000
MOST_JOBS: Final = 40_000
"""Requests of a run at most where nobody says how many: of one plain pool, and jobs of others."""
PLAIN_REQUESTS: Final = 10_000
"""Requests of a run of one plain pool at least, where nobody says how many: they are cheap."""
FEWEST: Final = 100
"""Requests of a run at least: fewer have no p99."""
CHANGING_JOBS: Final = 400_000
"""Jobs of a run at most whose rate changes with time: it must last as long as that takes, at any mean rate."""
BURSTS: Final = 10.0
"""A run lasts so many bursts on average, where nobody says how long."""
LONGER: Final = 1.25
"""Runs are so many times as long as needed at the rate that they are sized for, since the one found may be higher."""
ALONE_GAP_S: Final = 1e5
"""Requests that come so far apart have a server for themselves."""
UNBOUNDED: Final = 1.0
"""Rate that stands in a table whose rate is to be found."""
Factors = tuple[float, ...]


@dataclass(frozen=True)
class Subject:
    """A fleet whose rate is sought: with as many requests as a run needs.

    Args:
        answer_s: of a request that has the fleet for itself, and of the pauses of a conversation, mean [s]; 0: not
            known.
        saturated_per_s: what the fleet completes where all requests are there at once [1/s].
    """

    fleet: Fleet
    answer_s: float
    saturated_per_s: float

    @property
    def requests(self) -> int:
        """Requests of a run."""
        return self.fleet.traffic.requests


def ready(table: FleetTable, place: str) -> Fleet:
    """The fleet of a table, with requests enough to begin with.

    Raises:
        InputError: no objectives, a closed loop, anything in the table that cannot be.
    """
    _check_slos(table, place)
    traffic = table.traffic
    if traffic.concurrency:
        raise InputError(f"{place}: a closed loop has no rate that could be too high; leave --concurrency out")
    if traffic.requests is not None and not FEWEST <= traffic.requests <= 100_000_000:
        raise InputError(f"--requests {traffic.requests}: must be from {FEWEST} to 100000000 for a capacity")
    if traffic.trace:
        return fleet_of(table, place)
    if traffic.rate and traffic.requests and pattern_of(table):
        return fleet_of(table, place)
    period_s = _period_s(table)
    count = traffic.requests or max(search.LEAST_REQUESTS, min(math.ceil(UNBOUNDED * period_s), CHANGING_JOBS))
    return fleet_of(_asking(table, count / period_s if period_s else UNBOUNDED, count), place)


def subject_of(fleet: Fleet, fixed: bool) -> Subject:
    """A fleet with as many requests as a run at its saturation needs, or with those that it has (``fixed``)."""
    answer_s = 0.0
    if not keeps_time(fleet):
        rows = rows_of(with_traffic(fleet, alone(fleet.traffic)), (1.0,) * len(fleet.pools))
        answer_s = float(np.nanmean(rows["e2e_s"])) + _talk_s(fleet.traffic)
    saturated = saturated_of(fleet)
    if fleet.table.traffic.trace or (fixed and not pattern_of(fleet.table)):
        return Subject(fleet, answer_s, saturated)
    return Subject(long_enough(fleet, saturated, answer_s), answer_s, saturated)


def long_enough(fleet: Fleet, rate_per_s: float, answer_s: float) -> Fleet:
    """``fleet`` with requests for a run at ``rate_per_s`` that tells an overload; never with fewer than it has."""
    traffic = fleet.table.traffic
    if traffic.trace:
        return fleet
    if pattern_of(fleet.table):
        there = at_rate(fleet, LONGER * rate_per_s)
        if _longest(there.traffic) <= _longest(fleet.traffic):
            return fleet
        return replace(fleet_of(there.table, fleet.place), table=fleet.table, traffic=fleet.traffic)
    wanted = math.ceil(LONGER * rate_per_s * _scale(fleet) * search.run_s(fleet.slos, 2.0 * answer_s))
    wanted = max(wanted, PLAIN_REQUESTS if is_plain(fleet) else 0)
    most = MOST_REQUESTS if is_plain(fleet) else MOST_JOBS // max(jobs_each(fleet), 1)
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
        return with_traffic(fleet, fleet.traffic._replace(arrival_s=fleet.traffic.arrival_s * scale))
    count = fleet.table.traffic.requests
    if pattern_of(fleet.table):
        assert count is not None and fleet.table.traffic.rate is not None
        most = max(CHANGING_JOBS // max(jobs_each(fleet), 1), 1)
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


def judge(fleet: Fleet, rate_per_s: float, factors: Factors) -> tuple[str, ...]:
    """What requests at a rate break, where times of each pool are ``factors`` as long."""
    return broken_by(fleet, judged_at(fleet, rate_per_s, factors))


def lengths_of(fleet: Fleet, rate_per_s: float, answer_s: float) -> tuple[float, float]:
    """How long a run at a rate lasts, and how long one must last for an overload of 1% to show [s]."""
    arrival_s = at_rate(fleet, rate_per_s).traffic.arrival_s
    return float(arrival_s[-1] - arrival_s[0]), search.run_s(fleet.slos, 2.0 * answer_s)


def cannot_last(subject: Subject, rate_per_s: float, times: float = 1.0) -> tuple[str, ...]:
    """``overload`` for a rate above that of saturated servers whose run is too short to show that its queue grows.

    A rate that changes and a fleet that scales itself have no one saturated rate: they are judged by what they break.

    Args:
        times: how many times ``subject.saturated_per_s`` the servers complete, for more replicas or shorter times; 0:
            whether a run at this rate is too short at all.
    """
    fleet = subject.fleet
    if rate_per_s <= subject.saturated_per_s * times or pattern_of(fleet.table) or keeps_time(fleet):
        return ()
    lasts_s, wanted_s = lengths_of(fleet, rate_per_s, subject.answer_s)
    return (search.OVERLOAD,) if lasts_s < wanted_s else ()


def judged_at(fleet: Fleet, rate_per_s: float, factors: Factors) -> Rows:
    """Columns of the requests that count at a rate, where times of each pool are ``factors`` as long."""
    return search.judged(rows_of(at_rate(fleet, rate_per_s), factors))


def broken_by(fleet: Fleet, rows: Rows) -> tuple[str, ...]:
    """What requests that count break."""
    return search.broken(rows, fleet.slos, halves=pattern_of(fleet.table) is None)


def rows_of(fleet: Fleet, factors: Factors) -> Rows:
    """Columns of all requests of a run; of one plain pool from the fast path, which is the other one to the bit."""
    if is_plain(fleet):
        pool, traffic = fleet.pools[0], fleet.traffic
        assert pool.arch is not None
        ready, tables = pool.prepared, pool.setup.tables
        if factors[0] != 1.0:
            ready, tables = scaled_host(ready, factors[0]), scaled(tables, factors[0])
        asked = Asked(traffic.arrival_s, traffic.input, traffic.output)
        return request_columns(
            cluster.serve(
                ready, pool.arch, asked, pool.setup.limits, replicas=pool.setup.replicas,
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


def with_traffic(fleet: Fleet, traffic: Traffic) -> Fleet:
    """``fleet`` with other requests."""
    return replace(fleet, traffic=traffic)


def alone(traffic: Traffic) -> Traffic:
    """The same requests, so far apart that they never meet."""
    return traffic._replace(arrival_s=np.arange(float(traffic.requests)) * ALONE_GAP_S)


def pattern_of(table: FleetTable) -> Diurnal | Profile | Bursts | None:
    """How the rate changes with time; None: it does not."""
    traffic = table.traffic
    if traffic.trace:
        return None
    found = arrivals_of(traffic.arrivals, UNBOUNDED, traffic.burstiness, "--arrivals")
    pattern = found.pattern if isinstance(found, Arrivals) else None
    return pattern if isinstance(pattern, (Diurnal, Profile, Bursts)) else None


def keeps_time(fleet: Fleet) -> bool:
    """Whether something happens in a fleet although no request comes: it cannot be watched for years."""
    return any(pool.setup.scaling or pool.setup.mtbf_s for pool in fleet.pools)


def jobs_each(fleet: Fleet) -> int:
    """Jobs of a request."""
    return sum(stage.table.fanout + (stage.decode is not None) for stage in fleet.pipeline.stages)


def _check_slos(table: FleetTable, place: str) -> None:
    """Refuse a search without objectives, or with none that would see a queue grow where the rate changes."""
    texts = [table.slo, *(tenant.slo for tenant in table.tenant)]
    if not any(texts):
        raise InputError(f"{place}: a capacity needs objectives: --slo ttft=500ms@p99,tpot=50ms@p90")
    if pattern_of(table):
        for slo in (parse_slo(text, f"{place}: slo") for text in texts if text):
            if not any(bound.kind in search.QUEUED for bound in slo.bounds):
                raise InputError(
                    f"{place}: a rate that changes needs a bound on {', '.join(search.QUEUED)}: without one an "
                    "overload that passes cannot be told"
                )


def _resized(pool: Pool, replicas: int) -> Pool:
    table = msgspec.structs.replace(pool.table, replicas=replicas)
    return replace(pool, table=table, setup=replace(pool.setup, replicas=replicas * pool.virtual))


def _asking(table: FleetTable, rate_per_s: float, requests: int | None) -> FleetTable:
    traffic = msgspec.structs.replace(table.traffic, rate=rate_per_s, requests=requests)
    return msgspec.structs.replace(table, traffic=traffic)


def _period_s(table: FleetTable) -> float:
    """How long a run must last for all that its rate does, had it its nominal rate [s]; 0: it does not change."""
    pattern = pattern_of(table)
    if pattern is None:
        return 0.0
    return BURSTS * pattern.every_s * pattern.mean if isinstance(pattern, Bursts) else pattern.period_s


def saturated_of(fleet: Fleet) -> float:
    """Requests (conversations) a second that a fleet completes where all are there at once."""
    slots = sum(min(pool.setup.limits.sequences, 1024) * pool.setup.replicas for pool in fleet.pools)
    most = MOST_REQUESTS if is_plain(fleet) else MOST_JOBS // max(jobs_each(fleet), 1)
    traffic = fleet.traffic
    if 4 * slots > traffic.requests and not fleet.table.traffic.trace:
        count = max(min(4 * slots, most), traffic.requests)
        traffic = traffic_of(_asking(fleet.table, UNBOUNDED, count).traffic, fleet.table.seed, fleet.place)
    at_once = traffic._replace(arrival_s=np.zeros(traffic.requests))
    rows = rows_of(with_traffic(fleet, at_once), (1.0,) * len(fleet.pools))
    rate = search.saturated_rate(rows["last_token_s"]) / _scale(fleet)
    if not rate > 0.0:
        raise InputError(f"{fleet.place}: no request could be served", "rejected")
    return rate


def _scale(fleet: Fleet) -> float:
    """Requests of a conversation, mean; 1 without conversations."""
    session = fleet.traffic.session
    if session is None or fleet.table.traffic.trace:
        return 1.0
    return fleet.traffic.requests / max(len(np.unique(session)), 1)


def _talk_s(traffic: Traffic) -> float:
    """From the first to the last message of a conversation, were answers to take no time, mean [s]."""
    if traffic.session is None:
        return 0.0
    last_s = np.zeros(int(traffic.session.max()) + 1)
    first_s = np.full(len(last_s), np.inf)
    np.maximum.at(last_s, traffic.session, traffic.arrival_s)
    np.minimum.at(first_s, traffic.session, traffic.arrival_s)
    there = np.isfinite(first_s)
    return float(np.mean(last_s[there] - first_s[there]))


def _longest(traffic: Traffic) -> int:
    return int((traffic.input + traffic.output).max())


def _own_rate(traffic: Traffic) -> float:
    """Requests a second of a trace."""
    span_s = float(traffic.arrival_s[-1] - traffic.arrival_s[0])
    if not span_s > 0.0:
        raise InputError("--trace: its requests all come at once: it has no rate that could be scaled")
    return traffic.requests / span_s
