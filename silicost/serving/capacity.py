"""The highest rate at which a fleet holds its objectives, what it costs there, and how many replicas a rate needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from hardware_specs.errors import InputError
from silicost.serving.answer import Answer, Fleet, ends_of_times, serve
from silicost.serving.capacity_runs import (
    CHANGING_JOBS,
    Factors,
    Subject,
    alone,
    at_rate,
    cannot_last,
    jobs_each,
    judge,
    keeps_time,
    lengths_of,
    long_enough,
    pattern_of,
    ready,
    rows_of,
    subject_of,
    with_replicas,
    with_traffic,
)
from silicost.serving.tables import FleetTable
from simulator.serving import capacity as search
from simulator.serving.capacity import Highest, Rows, highest_rate
from simulator.serving.outcome import Latency, latency_of
from simulator.serving.slo import Slo

MOST_REPLICAS: Final = 10_000


@dataclass(frozen=True)
class Capacity:
    """What a fleet can do.

    Args:
        answer: the run at the highest rate that held; None where no rate holds.
        latencies: of the requests that were judged there, by name.
        interval: ends of the 80% interval of the rate [1/s]; None: not asked for.
        why: code and words for why no rate holds, "" where one does.
        doubts: those of the notes by which the rate may be too high.
    """

    subject: Subject
    highest: Highest
    answer: Answer | None
    latencies: Mapping[str, Latency]
    interval: tuple[float, float] | None
    why: tuple[str, str] = ("", "")
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def rate_per_s(self) -> float:
        """The highest rate that held [1/s]; 0: none."""
        return self.highest.rate_per_s


@dataclass(frozen=True)
class Needed:
    """The replicas that a rate needs: their fleet, its run at this rate, and what the numbers that were tried break."""

    replicas: int
    answer: Answer
    latencies: Mapping[str, Latency]
    notes: tuple[str, ...] = ()
    tried: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()


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
    highest = highest_rate(
        lambda rate: cannot_last(subject, rate) or judge(subject.fleet, rate, same), subject.saturated_per_s
    )
    if not highest.rate_per_s:
        said = f"even {highest.above_per_s:.3g} requests/s break {', '.join(highest.binds)}"
        return Capacity(subject, highest, None, {}, None, ("slo", said))
    there = at_rate(subject.fleet, highest.rate_per_s)
    answer = serve(there, intervals=False)
    bounded = math.isfinite(highest.above_per_s)
    interval = _interval(subject, answer, highest.rate_per_s) if intervals and bounded else None
    return Capacity(
        subject, highest, answer, latencies_of(answer.requests), interval,
        notes=(*notes_of(subject.fleet, highest.rate_per_s, subject.answer_s), *_reversed(highest)),
        doubts=doubts_of(subject.fleet, highest.rate_per_s, subject.answer_s),
    )  # fmt: skip


def replicas_for(found: Capacity, rate_per_s: float, place: str = "--rate") -> Needed | None:
    """The fewest replicas of a fleet of one pool that hold the objectives at a rate; None: none up to 10,000 do.

    Args:
        found: the capacity of the fleet.

    Raises:
        InputError: several pools, or one that scales itself.
    """
    fleet = found.subject.fleet
    check_sizable(fleet.table, place)
    pool = fleet.pools[0]
    if not found.rate_per_s:
        return None
    each = found.rate_per_s / pool.table.replicas
    same = (1.0,)
    sized = long_enough(fleet, rate_per_s, found.subject.answer_s)
    lasting = replace(found.subject, fleet=sized)
    tried: dict[int, tuple[str, ...]] = {}

    def holds(number: int) -> bool:
        tried[number] = cannot_last(lasting, rate_per_s, number / pool.table.replicas) or judge(
            with_replicas(sized, {pool.name: number}), rate_per_s, same
        )
        return not tried[number]

    number = search.fewest(holds, math.ceil(rate_per_s / each * (1.0 - 1e-9)), MOST_REPLICAS)
    if number is None:
        return None
    answer = serve(at_rate(with_replicas(sized, {pool.name: number}), rate_per_s), intervals=False)
    notes = notes_of(sized, rate_per_s, found.subject.answer_s)
    doubts = doubts_of(sized, rate_per_s, found.subject.answer_s)
    return Needed(number, answer, latencies_of(answer.requests), notes, tried, doubts)


def replicas_between(found: Capacity, needed: Needed, rate_per_s: float) -> tuple[int, int] | None:
    """The fewest replicas for a rate where all times are at the fast and at the slow end of their 80% interval.

    None where the highest rate has no interval, or none holds at the slow end.
    """
    fleet = needed.answer.fleet
    name = fleet.pools[0].name
    if found.interval is None or not min(found.interval) > 0.0:
        return None
    ends = []
    for factors, each in zip(ends_of_times(fleet, needed.answer.found), reversed(found.interval), strict=True):

        def holds(number: int, factors: Factors = factors) -> bool:
            return not judge(with_replicas(fleet, {name: number}), rate_per_s, factors)

        guess = math.ceil(rate_per_s / each * found.subject.fleet.pools[0].table.replicas)
        ends.append(search.fewest(holds, guess, 4 * max(guess, needed.replicas)))
    numbers = [end for end in ends if end is not None]
    return (min(*numbers, needed.replicas), max(*numbers, needed.replicas)) if len(numbers) == len(ends) else None


def check_sizable(table: FleetTable, place: str = "--rate") -> None:
    """Refuse fleets whose number of replicas cannot be found.

    Raises:
        InputError: several pools, or one that scales itself.
    """
    if len(table.pool) != 1:
        raise InputError(
            f"{place}: the number of replicas is found for one pool, not for {len(table.pool)}; for a pool of prompts "
            "and one of answers use --find disaggregated"
        )
    if table.pool[0].autoscale:
        raise InputError(f"{place}: a pool that scales itself has no number of replicas to be found; leave it out")


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


def _alone_breaks(fleet: Fleet) -> tuple[str, str]:
    """Code and words for why requests that have the fleet for themselves break its objectives; "" where they do not."""
    if not fleet.traffic.requests:
        raise InputError(f"{fleet.place}: there are no requests")
    if keeps_time(fleet):
        return "", ""
    rows = rows_of(with_traffic(fleet, alone(fleet.traffic)), (1.0,) * len(fleet.pools))
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


def _interval(subject: Subject, answer: Answer, rate_per_s: float) -> tuple[float, float]:
    """Ends of the 80% interval of the rate: the search again where all times are at the ends of theirs."""
    rates = []
    for factors in ends_of_times(answer.fleet, answer.found):
        middle = float(np.exp(np.mean(np.log(factors))))

        def judged(rate: float, factors: Factors = factors, middle: float = middle) -> tuple[str, ...]:
            return cannot_last(subject, rate, 1.0 / middle) or judge(subject.fleet, rate, factors)

        rates.append(highest_rate(judged, rate_per_s / middle, below=()).rate_per_s)
    return min(rates), max(rates)


def notes_of(fleet: Fleet, rate_per_s: float, answer_s: float) -> tuple[str, ...]:
    """What a reader should know of the length of a run."""
    few = at_rate(fleet, rate_per_s).traffic.requests
    if few >= search.LEAST_REQUESTS:
        return doubts_of(fleet, rate_per_s, answer_s)
    shares = [bound.share for slo in fleet.slos.values() if slo for bound in slo.bounds]
    quantile = f"p{100.0 * max(shares):g}" if shares else "quantile"
    said = f"{few} requests: a {quantile} of few; give more with --requests"
    return (said, *doubts_of(fleet, rate_per_s, answer_s))


def doubts_of(fleet: Fleet, rate_per_s: float, answer_s: float) -> tuple[str, ...]:
    """Why the rate may be too high: a run that ends before all has come, or before an overload shows."""
    lasts_s, wanted_s = lengths_of(fleet, rate_per_s, answer_s)
    found = []
    requests = at_rate(fleet, rate_per_s).traffic.requests
    if pattern_of(fleet.table) and requests >= CHANGING_JOBS // max(jobs_each(fleet), 1):
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
    if not math.isfinite(highest.above_per_s):
        return ("no rate that was tried breaks the objectives: its requests are too few, or the bounds too wide",)
    if not highest.reversals:
        return ()
    rates = ", ".join(f"{trial.rate_per_s:.4g}/s ({', '.join(trial.broken)})" for trial in highest.reversals)
    return (f"rates below do not all hold: {rates} break the objectives too",)
