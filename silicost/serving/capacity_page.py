"""From what a fleet can do to the page that shows and proves it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from reports.calibration import Group
from reports.capacity import REQUESTS, TOKENS, CapacityCard, Goal, LoadPanel, Trials
from reports.numbers import number, quantity
from reports.serving import Measured, ValueCard
from silicost import __version__
from silicost.serving.capacity import Capacity, Needed, devices_of, replicas_between, usd_per_hour
from silicost.serving.capacity_loads import bounds_of, panels_of, tried_counts, tried_rates
from silicost.serving.capacity_output import notes_of, replicas_of
from silicost.serving.page import answers_are_text, value_of
from silicost.serving.page_latency import MEANINGS, TITLES
from silicost.serving.page_words import definitions_of, facts_of, runs_in_words, traffic_in_words
from simulator.identity import laws_hash
from simulator.serving import capacity as search
from simulator.serving.slo import Bound

if TYPE_CHECKING:
    from silicost.serving.answer import Answer, Fleet
    from silicost.serving.capacity_designs import Found
    from simulator.serving.outcome import Latency

INTERVAL: Final = (
    "The search is done again where every time is at the fast, then at the slow end of its 80% interval; the draw of "
    "arrivals and lengths is the seed's and not in it."
)
_OWN: Final = (
    ("Replicas", "Equal servers of the pool, each of the devices that its plan needs."),
    ("Highest rate", "Requests a second that hold every objective; 1% more break one."),
    ("Of saturated servers", "Requests a second that are completed where all are there at once."),
    ("Devices", "Devices of all replicas."),
    ("An hour", "Price of all devices, working or not."),
)


@dataclass(frozen=True)
class Shown:
    """A fleet at the rate that a page is about: its run there, and the latencies of the requests that count.

    ``interval`` are ends of the 80% interval of its highest rate [1/s].
    """

    answer: Answer
    latencies: Mapping[str, Latency]
    rate_per_s: float
    asked: bool
    interval: tuple[float, float] | None

    @property
    def fleet(self) -> Fleet:
        """The fleet at that rate."""
        return self.answer.fleet


def write_capacity_page(path: Path, card: CapacityCard) -> None:
    """The page of a capacity, with its data beside it.

    Raises:
        InputError: the place cannot be written.
    """
    from reports.capacity_page import write_capacity

    write_capacity(path, card)


def card_of(found: Found, rate_per_s: float | None) -> CapacityCard:
    """Everything that the page of one fleet shows.

    Args:
        rate_per_s: what was to be served; None: its highest rate is the answer.
    """
    capacity, needed = found
    if capacity.answer is None or (rate_per_s is not None and needed is None):
        return _without(capacity, rate_per_s)
    if needed is None or rate_per_s is None:
        shown = Shown(capacity.answer, capacity.latencies, capacity.rate_per_s, False, capacity.interval)
        span = None
    else:
        shown = Shown(needed.answer, needed.latencies, rate_per_s, True, None)
        span = replicas_between(capacity, needed, rate_per_s)
    goals = goals_of(shown.fleet)
    tables = [tried_rates(capacity, goals, chosen=not shown.asked)]
    if needed is not None:
        tables.insert(0, tried_counts(shown.fleet, needed, shown.rate_per_s, goals))
    count = needed.replicas if needed is not None else None
    doubts = needed.doubts if needed is not None and shown.asked else capacity.doubts
    said = " ".join((_answer(capacity, needed, shown, goals, span), *(f"But {doubt}." for doubt in doubts)))
    return shown_card(
        shown, said, _first(capacity, needed, shown, span),
        panels_of(shown.fleet, shown.rate_per_s, goals, count, capacity), tables, notes_of(found),
    )  # fmt: skip


def shown_card(
    shown: Shown, answer: str, first: ValueCard, panels: Sequence[LoadPanel], tables: Sequence[Trials],
    notes: Sequence[str],
) -> CapacityCard:  # fmt: skip
    """The page of a fleet at a rate."""
    run, fleet = shown.answer, shown.fleet
    low, high = shown.interval or (math.nan, math.nan)
    text = answers_are_text(run)
    names = dict.fromkeys(filter(None, (pool.model for pool in run.found.pools)))
    return CapacityCard(
        title=f"Capacity for {', '.join(names) or fleet.table.title or 'searches'}",
        lead=fleet.table.description or f"{'; '.join(runs_in_words(pool) for pool in run.found.pools)}.",
        answer=answer, what=traffic_in_words(fleet), work=TOKENS if text else REQUESTS,
        goals=tuple(goals_of(fleet)), rate_per_s=shown.rate_per_s, low_per_s=low, high_per_s=high, asked=shown.asked,
        cards=(first, *_cards(shown, text)), panels=tuple(panels), tables=tuple(tables),
        facts=(*facts_of(fleet), Group("intervals", (("80% interval", INTERVAL),))), notes=tuple(notes),
        definitions=(*definitions_of(run), *_OWN), laws_hash=laws_hash(), silicost_version=__version__,
    )  # fmt: skip


def goals_of(fleet: Fleet) -> list[Goal]:
    """Every bound of every tenant."""
    return [goal_of(bound, tenant) for tenant, slo in fleet.slos.items() for bound in (slo.bounds if slo else ())]


def goal_of(bound: Bound, tenant: str = "") -> Goal:
    """A bound as pages call it."""
    return Goal(f"{TITLES[f'{bound.kind}_s']} p{100.0 * bound.share:g}", bound.seconds, tenant)


def within(goals: Sequence[Goal]) -> str:
    """The objectives in words: "TTFT p99 ≤ 500 ms and TPOT p90 ≤ 50.0 ms"."""
    said = [f"{goal.name} ≤ {quantity(goal.bound_s, 's')}" for goal in goals]
    return " and ".join([", ".join(said[:-1]), said[-1]]) if len(said) > 1 else "".join(said)


def machines_in_words(fleet: Fleet) -> str:
    """All devices: "5 × a100-sxm-80gb"."""
    return " and ".join(f"{pool.devices * pool.table.replicas} × {_device(pool)}" for pool in fleet.pools)


def _device(pool: object) -> str:
    return str(pool.prepared.pool.device.id)  # type: ignore[attr-defined]


def several(many: int, what: str) -> str:
    """ "1 replica", "5 replicas"."""
    return f"{many:,} {what}{'s' if many != 1 else ''}"


def _without(capacity: Capacity, rate_per_s: float | None) -> CapacityCard:
    """The page of a fleet that cannot do it."""
    fleet = capacity.subject.fleet
    why = f"no rate holds the objectives: {capacity.why[1]}"
    if not capacity.why[0]:
        why = f"no number of replicas up to 10,000 serves {rate_per_s:g} requests/s within the objectives"
    goals = goals_of(fleet)
    return CapacityCard(
        title=f"Capacity for {fleet.table.title or machines_in_words(fleet)}", lead=fleet.table.description,
        answer=f"{why[:1].upper()}{why[1:]}.", what=f"Asked for: {within(goals)}.", goals=tuple(goals),
        tables=(tried_rates(capacity, goals, chosen=False),), facts=facts_of(fleet), notes=capacity.notes,
        definitions=tuple((TITLES[kind], MEANINGS[kind]) for kind in TITLES), laws_hash=laws_hash(),
        silicost_version=__version__,
    )  # fmt: skip


def _answer(
    capacity: Capacity, needed: Needed | None, shown: Shown, goals: Sequence[Goal], span: tuple[int, int] | None
) -> str:
    """How many devices, or which rate, and what one less or a little more breaks."""
    machines, usd = machines_in_words(shown.fleet), usd_per_hour(shown.answer)
    if needed is None or not shown.asked:
        rate = number(shown.rate_per_s)
        band = f" (80% from {' to '.join(number(end) for end in shown.interval)})" if shown.interval else ""
        breaks = f"; {number(capacity.highest.above_per_s)} break {_named(capacity.highest.binds, shown.fleet)}"
        known = math.isfinite(capacity.highest.above_per_s)
        return f"{machines}: up to {rate} requests/s{band} with {within(goals)}{breaks if known else ''}."
    price = f" for {number(usd)} USD/h" if usd is not None else ""
    replicas = several(needed.replicas, "replica")
    verb = "serve" if needed.replicas > 1 else "serves"
    said = f"{replicas} ({machines}) {verb} {shown.rate_per_s:g} requests/s with {within(goals)}{price}"
    fewer = needed.tried.get(needed.replicas - 1)
    if fewer:
        said += f"; {needed.replicas - 1:,} break{'s' * (needed.replicas == 2)} {_named(fewer, shown.fleet)}"
    if span is not None:
        said += f"; at the ends of the 80% interval {span[0]:,} to {span[1]:,} are needed"
    return f"{said}."


def _named(broken: Sequence[str], fleet: Fleet) -> str:
    """What is broken, bounds as pages call them: "TPOT p90"."""
    known = {
        f"{tenant}: {search.name_of(bound)}" if tenant else search.name_of(bound): goal_of(bound, tenant).name
        for _, tenant, bound in bounds_of(fleet)
    }
    return ", ".join(known.get(each, each) for each in broken)


def _first(capacity: Capacity, needed: Needed | None, shown: Shown, span: tuple[int, int] | None) -> ValueCard:
    """The answer as a card."""
    base = capacity.subject.fleet
    low, high = capacity.interval or (math.nan, math.nan)
    highest = Measured("rate_per_s", "Highest rate", "requests/s", capacity.rate_per_s, low, high)
    full = Measured("saturated_per_s", "Of saturated servers", "requests/s", capacity.subject.saturated_per_s)
    replicas = replicas_of(base)
    if needed is None or not shown.asked:
        devices = devices_of(base)
        own = [Measured("devices", "Devices", "count", devices)]
        own += [_rate("rate_per_s_per_replica", "A replica", highest, replicas)] if replicas else []
        return ValueCard("What it holds", highest, (*own, _rate("rate_per_s_per_device", "A device", highest, devices),
                                                    full))  # fmt: skip
    ends = (float(span[0]), float(span[1])) if span else (math.nan, math.nan)
    return ValueCard(
        "What it takes", Measured("replicas", "Replicas", "count", float(needed.replicas), *ends),
        (
            Measured("devices", "Devices", "count", float(devices_of(shown.fleet))),
            Measured("asked_per_s", "To be served", "requests/s", shown.rate_per_s),
            _rate("rate_per_s_per_replica", "One alone holds", highest, replicas or 1),
            _rate("saturated_per_s", "Saturated, one alone", full, replicas or 1),
        ),
    )  # fmt: skip


def _rate(name: str, title: str, whole: Measured, many: int) -> Measured:
    return whole._replace(
        name=name, title=title, value=whole.value / many, low=whole.low / many, high=whole.high / many
    )  # fmt: skip


def _cards(shown: Shown, text: bool) -> list[ValueCard]:
    """Latencies, dollars, joules and devices at the rate."""
    run = shown.answer
    latencies = [
        Measured(f"{kind}.{field}", f"{TITLES[kind]} {field}", "s", value, reason="no request has one")
        for kind, fields in (("ttft_s", ("p99", "p50")), ("tpot_s", ("p99", "p50")), ("e2e_s", ("p99",)),
                             ("queue_s", ("p99",)))
        for field in fields
        if (value := getattr(shown.latencies[kind], field)) is not None and np.isfinite(value)
    ]  # fmt: skip
    usd = usd_per_hour(run)
    hourly = Measured(
        "usd_per_hour", "An hour", "usd", math.nan if usd is None else usd, reason="no price is known; give one"
    )
    costs = [value_of(run, name) for name in (
        *(["usd_per_million_output_tokens"] if text else []), "usd_per_thousand_requests",
    )]  # fmt: skip
    joules = [value_of(run, name) for name in (*(["j_per_output_token"] if text else []), "j_per_request", "carbon_g")]
    found = [ValueCard("Latency", latencies[0], tuple(latencies[1:]))] if latencies else []
    busy = [value_of(run, name) for name in (
        "running_mean", "kv_peak_fraction", *(["output_tokens_per_s"] if text else []), "mfu", "mbu",
    )]  # fmt: skip
    return [
        *found, ValueCard("Dollars", hourly, tuple(costs)), ValueCard("Energy", joules[0], tuple(joules[1:])),
        ValueCard("Devices", value_of(run, "utilisation"), tuple(busy)),
    ]  # fmt: skip
