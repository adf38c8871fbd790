"""Serve what a fleet table asks, and say what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError, UnknownName
from hardware_specs.files import beside
from hardware_specs.reader import convert, read_toml
from hardware_specs.units import parse_quantity
from silicost.serving.pools import (
    FLAGS,
    Pool,
    check_name,
    check_shares,
    check_whole,
    named_pools,
    placed,
    pool_of,
    quantity,
)
from silicost.serving.stages import Asked, Pipeline, Placed, pipeline_of, place
from silicost.serving.tables import FleetTable, TenantTable, TrafficTable
from silicost.serving.warm_up import warm_up_notes
from simulator.checks import check_count
from simulator.display import frame_of, html_of
from simulator.serving.fleet import FleetServed, Outage, serve_fleet
from simulator.serving.fleet_outcome import (
    FleetOutcome,
    Member,
    Requests,
    Series,
    fleet_outcome,
    request_table,
    series_of,
)
from simulator.serving.slo import Slo, parse_slo
from simulator.serving.uncertain import Ends, factors, interval_ends, scaled_setup
from workloads.traffic.record import Traffic, checked
from workloads.traffic.streams import stream

if TYPE_CHECKING:
    import pandas as pd

REQUESTS: Final = 1000
"""Requests that are drawn where nobody says how many."""
LEAST_RATE: Final = 1e-6
"""Lowest mean rate that is served [1/s]: a request in twelve days."""
MOST_SEED: Final = (1 << 63) - 3
"""Compiled fleets count from it in 64 bits."""


@dataclass(frozen=True)
class Fleet:
    """A fleet that is ready to serve: its table, pools, stages and tenants."""

    table: FleetTable
    place: str
    pipeline: Pipeline
    traffic: Traffic
    slos: Mapping[str, Slo | None]
    members: tuple[Member, ...]

    @property
    def pools(self) -> tuple[Pool, ...]:
        """Its pools."""
        return self.pipeline.pools

    @property
    def answering(self) -> int:
        """The number of the pool that ends requests."""
        stage = self.pipeline.stages[-1]
        return self.pools.index(stage.decode or stage.pool)


@dataclass(frozen=True)
class Answer:
    """A served run: what it came to, the ends of its 80% intervals by name, every request, the run over time,
    and what a reader should know of it."""

    fleet: Fleet
    found: FleetOutcome
    intervals: Mapping[str, Ends]
    requests: Mapping[str, npt.NDArray[Any]]
    series: tuple[Series, ...]
    served: FleetServed
    notes: tuple[str, ...] = ()

    def to_pandas(self) -> pd.DataFrame:
        """Numbers of the run by name in SI units with their 80% intervals; ``requests`` has each request."""
        return frame_of(self)

    def _repr_html_(self) -> str | None:
        """What a notebook shows."""
        return html_of(self)


def shipped_fleets() -> tuple[str, ...]:
    """Names of the fleets that come with the package."""
    folder = resources.files("silicost").joinpath("data/fleets")
    return tuple(sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_fleet(name: str) -> tuple[FleetTable, str]:
    """The fleet in the TOML file ``name``, or the shipped one of that name; and its place, for errors.

    Raises:
        UnknownName: neither a file nor a shipped fleet.
        InputError: a broken file.
    """
    path = Path(name)
    if not name.endswith(".toml"):
        known = shipped_fleets()
        if name not in known:
            raise UnknownName("fleet", name, known, "a .toml file, or one of " + ", ".join(known))
        path = Path(str(resources.files("silicost").joinpath(f"data/fleets/{name}.toml")))
    table = convert(read_toml(path), FleetTable, path.name, {})
    pools = tuple(
        msgspec.structs.replace(pool, **{key: beside(getattr(pool, key), path.parent) for key in _PATHS})
        for pool in table.pool
    )
    traffic = msgspec.structs.replace(
        table.traffic,
        trace=str(path.parent / table.traffic.trace) if table.traffic.trace else "",
        isl=_lengths_beside(table.traffic.isl, path.parent), osl=_lengths_beside(table.traffic.osl, path.parent),
    )  # fmt: skip
    return msgspec.structs.replace(table, pool=pools, traffic=traffic), path.name


_PATHS: Final = ("device", "model", "runtime", "system")
_LENGTHS: Final = (".csv", ".csv.gz", ".tsv", ".txt", ".json", ".parquet")
"""How names of files of lengths end (``workloads.traffic.lengths``)."""


def _lengths_beside(words: str, folder: Path) -> str:
    """A law of lengths as it is; a file of lengths taken from ``folder`` on."""
    return str(folder / words) if words.endswith(_LENGTHS) else words


def fleet_of(table: FleetTable, place_: str) -> Fleet:
    """A fleet that is ready to serve.

    Raises:
        InputError: anything in the table that cannot be.
    """
    with placed(place_):
        if not 0 <= table.seed <= MOST_SEED:
            raise InputError(f"seed {table.seed}: must be a whole number from 0 to {MOST_SEED}")
    with placed(f"{place_}: traffic"):
        traffic = traffic_of(table.traffic, table.seed, f"{place_}: traffic")
    longest = int((traffic.input + traffic.output).max()) + 1 if traffic.requests else 0
    unit = traffic.blocks.tokens if traffic.blocks is not None else 0
    own = {
        name for stage in table.stage if stage.shared or stage.input not in ("", "prompt") or stage.output
        for name in (stage.pool, stage.decode)
    }  # fmt: skip
    repeats = (
        traffic.session is not None or traffic.shared > 0 or unit > 0 or any(stage.shared for stage in table.stage)
    )  # fmt: skip
    pools = {
        # The longest sequence of a pool is known where it sees the traffic and nothing else.
        name: pool_of(
            each,
            table.site,
            0 if each.index or name in own else longest,
            unit,
            f"{place_}: pool {name}",
            repeats=repeats,
        )
        for name, each in named_pools(table.pool, place_).items()
    }
    check_shares(pools, place_)
    pipeline = pipeline_of(table.stage, table.link, pools, place_)
    members = tuple(Member(pool.prepared, pool.arch, pool.virtual) for pool in pools.values())
    return Fleet(table, place_, pipeline, traffic, _slos(table, place_), members)


def traffic_of(table: TrafficTable, seed: int, place_: str) -> Traffic:
    """The requests that a table asks for.

    Raises:
        InputError: no rate, concurrency or trace, or two of them; no lengths; numbers that cannot be.
    """
    from workloads.traffic.arrivals import arrivals_of
    from workloads.traffic.law_words import law_of_times, law_of_tokens
    from workloads.traffic.lengths import lengths_of
    from workloads.traffic.sessions import Sessions, draw_sessions
    from workloads.traffic.synthetic import draw_traffic

    ways = [name for name in ("rate", "concurrency", "trace") if getattr(table, name) not in (None, "")]
    if len(ways) != 1:
        said = "none is given" if not ways else f"{' and '.join('--' + name for name in ways)} are given"
        raise InputError(f"how requests arrive: give one of --rate, --concurrency and --trace; {said}")
    if table.trace:
        from workloads.traffic.traces import read_trace

        if table.sessions:
            raise InputError(f"{place_}: sessions: a trace has its own requests")
        form = table.trace_format or "auto"
        if not table.speedup > 0.0:
            raise InputError(f"--speedup {table.speedup:g}: must be above zero")
        return read_trace(Path(table.trace), form, speedup=table.speedup, most=table.requests)
    if table.trace_format or table.speedup != 1.0:
        raise InputError("--trace-format and --speedup: only a trace has them; give --trace as well")
    count = REQUESTS if table.requests is None else table.requests
    if count:
        check_count("--requests", count, 100_000_000)
    if not table.isl or (not table.osl and not table.isl.endswith(_LENGTHS)):
        raise InputError("--isl and --osl say how long prompts and answers are; both are needed")
    lengths = lengths_of(table.isl, table.osl or None)
    words = table.arrivals
    if table.concurrency is not None:
        check_count("--concurrency", table.concurrency)
        words = f"closed:concurrency={table.concurrency}"
    if table.rate is not None and 0.0 < table.rate < LEAST_RATE:
        raise InputError(f"--rate {table.rate:g}: must be at least {LEAST_RATE:g} requests a second")
    own = table.burstiness
    if own is not None and words == "poisson":
        words, own = f"gamma:burstiness={own!r}", None
    when = arrivals_of(words, table.rate, own, "--arrivals")
    if table.sessions:
        talk = Sessions(
            law_of_tokens(table.sessions.turns, f"{place_}.sessions.turns"), lengths,
            law_of_times(table.sessions.think, f"{place_}.sessions.think"), table.sessions.system,
            table.sessions.most_tokens,
        )  # fmt: skip
        return checked(draw_sessions(talk, when, count, seed))
    return draw_traffic(when, lengths, count, seed)


def _slos(table: FleetTable, place_: str) -> dict[str, Slo | None]:
    """Objectives by tenant; one without its own has those of the fleet."""
    common = parse_slo(table.slo, "--slo" if place_ == FLAGS else f"{place_}: slo") if table.slo else None
    if not table.tenant:
        return {"": common}
    found: dict[str, Slo | None] = {}
    for tenant in table.tenant:
        check_name(tenant.name, f"{place_}: tenant")
        where = f"{place_}: tenant {tenant.name}"
        if not tenant.name or tenant.name in found:
            raise InputError(f"{where}: is there twice" if tenant.name else f"{place_}: a tenant must have a name")
        if not 0.0 < tenant.share <= 1.0:
            raise InputError(f"{where}: share {tenant.share:g}: must be above 0 and at most 1")
        if not 0 <= tenant.priority < 64:
            raise InputError(f"{where}: priority {tenant.priority}: must be from 0 (goes first) to 63")
        quantity(tenant.deadline, "s", f"{where}: deadline", above_zero=True)
        found[tenant.name] = parse_slo(tenant.slo, f"{where}: slo") if tenant.slo else common
    total = sum(tenant.share for tenant in table.tenant)
    if abs(total - 1.0) > 1e-6:
        raise InputError(f"{place_}: shares of tenants add up to {total:g}; they must be 1 together")
    return found


def _asked(fleet: Fleet, number: npt.NDArray[np.int64]) -> Asked:
    tenants = fleet.table.tenant
    if not tenants:
        return Asked(None, None)
    priority = np.array([tenant.priority for tenant in tenants], np.int64)[number]
    deadline = np.array(
        [quantity(t.deadline, "s", f"tenant {t.name}: deadline", float("inf")) for t in tenants], np.float64
    )[number]
    return Asked(priority, deadline)


def _tenant(tenants: tuple[TenantTable, ...], count: int, seed: int) -> npt.NDArray[np.int64]:
    """The tenant of each request, drawn by its share, [count]."""
    if not tenants:
        return np.zeros(count, np.int64)
    ends = np.cumsum([tenant.share for tenant in tenants])
    drawn = np.searchsorted(ends, stream(seed, "tenants").random(count) * ends[-1], side="right")
    found: npt.NDArray[np.int64] = np.minimum(drawn, len(tenants) - 1).astype(np.int64)
    return found


def asked_of(fleet: Fleet) -> tuple[Placed, Requests]:
    """The jobs of the requests of a fleet, and the requests that they belong to.

    Raises:
        InputError: more jobs than there is room for.
    """
    table, traffic = fleet.table, fleet.traffic
    tenant = _tenant(table.tenant, traffic.requests, table.seed)
    with placed(fleet.place):
        jobs = place(fleet.pipeline, traffic, _asked(fleet, tenant), table.seed)
    return jobs, Requests(jobs.first, jobs.answer, jobs.last, traffic.input, _given(jobs), tenant)


def _given(jobs: Placed) -> npt.NDArray[np.int64]:
    """Tokens that each request is answered with, [n]: of an encoder or a search none."""
    output = jobs.work.output
    found: npt.NDArray[np.int64] = output[jobs.last].sum(axis=1)
    if jobs.last.shape[1] == 1:
        apart = jobs.last[:, 0] != jobs.answer[:, 0]
        found += np.where(apart, output[jobs.answer[:, 0]], 0)
    return found


def serve(fleet: Fleet, *, intervals: bool = True, slo: Slo | None = None) -> Answer:
    """Serve the requests of a fleet.

    Args:
        intervals: run the same requests at both ends of the interval of times as well.

    Raises:
        InputError: more jobs than there is room for.
    """
    jobs, requests = asked_of(fleet)
    served = run_jobs(fleet, jobs, (1.0,) * len(fleet.pools))
    rows = request_table(served, requests)
    found = _found(fleet, served, requests, rows)
    ends: Mapping[str, Ends] = {}
    if intervals and found.outcome.values["completed"]:
        both = ends_of_times(fleet, found)
        runs = [run_jobs(fleet, jobs, one) for one in both]
        ends = _around(found, interval_ends(*(_found(fleet, run, requests).outcome for run in runs)))
    notes = fleet.traffic.notes
    if (answer_s := found.outcome.latencies["e2e_s"].mean) is not None:
        notes += warm_up_notes(fleet.table.traffic, fleet.traffic, answer_s)
    return Answer(fleet, found, ends, rows, series_of(served, fleet.members), served, notes)


def _around(found: FleetOutcome, ends: Mapping[str, Ends]) -> dict[str, Ends]:
    """Intervals that hold the run itself too: idle power can be largest between the fast end and the slow one."""
    own = interval_ends(found.outcome, found.outcome)
    spans: dict[str, Ends] = {}
    for name, (low, high) in ends.items():
        value = own[name][0]
        spans[name] = (low, high)
        if low is not None and high is not None and value is not None:
            spans[name] = min(low, value), max(high, value)
    return spans


def _found(
    fleet: Fleet, served: FleetServed, requests: Requests, rows: Mapping[str, npt.NDArray[Any]] | None = None
) -> FleetOutcome:  # fmt: skip
    pairs = {number: names for names, number in fleet.pipeline.joins.items() if names[0] < names[1]}
    between = [pairs[number] for number in sorted(pairs)]
    return fleet_outcome(served, fleet.members, requests, fleet.slos, between, fleet.answering, rows)


def run_jobs(fleet: Fleet, jobs: Placed, factor: tuple[float, ...]) -> FleetServed:
    """Serve with times of each pool ``factor`` times as long."""
    setups = [scaled_setup(pool.setup, each) for pool, each in zip(fleet.pools, factor, strict=True)]
    with placed(fleet.place):
        return serve_fleet(
            setups, jobs.work, links=fleet.pipeline.links, outages=_outages(fleet), seed=fleet.table.seed
        )  # fmt: skip


def _outages(fleet: Fleet) -> list[Outage]:
    names = [pool.name for pool in fleet.pools]
    found = []
    for number, each in enumerate(fleet.table.failure):
        where = f"{fleet.place}: failure {number + 1}"
        if each.pool not in names:
            raise UnknownName("pool", each.pool, tuple(names), f"allowed: {', '.join(names)}", where)
        check_whole(fleet.pools[names.index(each.pool)].virtual, where)
        most = fleet.pools[names.index(each.pool)].setup.most
        if not 0 <= each.replica < most:
            raise InputError(f"{where}: replica {each.replica}: {each.pool} has replicas 0 to {most - 1}")
        at_s = parse_quantity(each.at, "s", f"{where}: at")
        if at_s < 0.0:
            raise InputError(f"{where}: at {each.at!r}: must be zero or more")
        lasts_s = quantity(each.lasts, "s", f"{where}: lasts", float("inf"), above_zero=True)
        found.append(Outage(names.index(each.pool), each.replica, at_s, lasts_s))
    return found


def ends_of_times(fleet: Fleet, found: FleetOutcome) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What multiplies the times of each pool at the ends of their 80% interval: all fast, all slow."""
    fast, slow = [], []
    prompt, output = float(np.mean(fleet.traffic.input)), float(np.mean(fleet.traffic.output))
    for pool, figures in zip(fleet.pools, found.pools, strict=True):
        running = max((figures.running_mean or 1.0) / pool.virtual, 1.0)
        one = SEARCH_FACTORS if pool.arch is None else factors(pool.prepared, running, prompt, output)
        fast.append(one[0])
        slow.append(one[1])
    return tuple(fast), tuple(slow)


SEARCH_FACTORS: Final = (1.0 / 1.55, 1.55)
"""Ends of the 80% interval of a search: what 90% of the published rows of ``docs/retrieval.md`` are within."""
