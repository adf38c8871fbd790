"""From a served run to the page that shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reports.numbers import number, quantity
from reports.page_data import Page, page_texts
from reports.serving import Measured, Objective, ServedCard, ValueCard
from reports.serving_page import render_served, verdict_of
from silicost import __version__
from silicost.output import json_text
from silicost.serving.output import json_of
from silicost.serving.page_latency import TITLES, distributions_of, latency_rows_of, objectives_of, with_ends
from silicost.serving.page_pools import links_of, pool_rows_of, splits_of, tenants_of
from silicost.serving.page_stages import graph_of
from silicost.serving.page_time import over_time_of
from silicost.serving.page_words import DEFINITIONS, definitions_of, prediction_of, runs_in_words, traffic_in_words
from simulator.identity import laws_hash

if TYPE_CHECKING:
    from silicost.serving.answer import Answer

_OVERLOADED = 0.9
"""Answers over arrivals a second below which a run is said to be overloaded."""
_FEW = 100
"""Requests below which nothing is said about overload."""


def page_and_result(page: Path, result: Path, answer: Answer) -> dict[Path, str | bytes]:
    """The page of a served run with its data, and its result as JSON, by the places of their files."""
    card = card_of(answer)
    return {**page_texts(page, render_served(card), Page("served", card)), result: json_text(json_of(answer))}


def card_of(answer: Answer) -> ServedCard:
    """Everything that the page of a served run shows."""
    fleet = answer.fleet
    objectives = objectives_of(answer)
    nodes, arrows = graph_of(answer)
    models = dict.fromkeys(filter(None, (pool.model for pool in answer.found.pools)))
    lead = fleet.table.description or f"{'; '.join(runs_in_words(pool) for pool in answer.found.pools)}."
    return ServedCard(
        title=fleet.table.title or f"Serving {', '.join(models) or 'searches'}", lead=lead,
        answer=answer_in_words(answer, objectives), what=traffic_in_words(fleet), objectives=objectives,
        cards=cards_of(answer), distributions=distributions_of(answer), latencies=latency_rows_of(answer),
        over_time=over_time_of(answer), pools=pool_rows_of(answer), splits=splits_of(answer), links=links_of(answer),
        nodes=nodes, arrows=arrows, tenants=tenants_of(answer), prediction=prediction_of(answer),
        notes=notes_of(answer), definitions=definitions_of(answer), laws_hash=laws_hash(),
        silicost_version=__version__,
    )  # fmt: skip


def value_of(answer: Answer, name: str, title: str = "") -> Measured:
    """A number of the run by the name that programs read, with its interval."""
    known = DEFINITIONS[name]
    value = answer.found.outcome.values[name]
    low, high = answer.intervals.get(name, (None, None))
    value, low, high = (math.nan if v is None else v * known.factor for v in (value, low, high))
    why = answer.found.outcome.reasons.get(name, "no request was answered")
    return Measured(name, title or known.title, known.dimension, value, low, high, why)


def latency_of(answer: Answer, kind: str, field: str, title: str) -> Measured:
    """A quantile of a latency with its interval."""
    found = getattr(answer.found.outcome.latencies[kind], field)
    value, low, high = with_ends(answer, f"{kind}.{field}", found)
    return Measured(f"{kind}.{field}", title, "s", value, low, high, "no request has one")


def cards_of(answer: Answer) -> tuple[ValueCard, ...]:
    """The summary: requests, latencies, dollars, joules, devices, tokens."""
    values = answer.found.outcome.values
    generates = answers_are_text(answer)
    goodput = values["goodput_requests_per_s"] is not None

    def several(names: Sequence[str]) -> tuple[Measured, ...]:
        return tuple(value_of(answer, name) for name in names)

    def steady(name: str) -> list[str]:
        return [name, *([f"steady_{name}"] if values[f"steady_{name}"] is not None else [])]

    served = ["requests", "completed", "rejected", *(name for name in ("lost", "retries") if values[name])]
    first = "goodput_requests_per_s" if goodput else "requests_per_s"
    rest = ["slo_attainment", "requests_per_s"] if goodput else ["goodput_requests_per_s"]
    usd = [*steady("usd_per_million_output_tokens")] if generates else []
    joules = [*steady("j_per_output_token")] if generates else []
    rest = [*rest, *steady("requests_per_s")[1:]]
    cards = [
        ValueCard("Requests", value_of(answer, first), several([*rest, *served, "duration_s"])),
        _latencies(answer),
        _card("Dollars", several([*usd, "usd_per_thousand_requests", "usd"])),
        _card("Energy", several([*joules, "j_per_request", "device_j", "facility_j", "carbon_g"])),
        _devices(answer),
    ]  # fmt: skip
    if generates:
        cards.append(_card("Tokens", several([*steady("output_tokens_per_s"), "total_tokens_per_s", "iterations"])))
    return tuple(cards)


def _latencies(answer: Answer) -> ValueCard:
    """The quantiles that objectives are of; those that no request has are left out."""
    found = [
        latency_of(answer, kind, field, f"{TITLES[kind]} {field}")
        for field, kinds in (
            ("p99", ("ttft_s", "tpot_s", "e2e_s")),
            ("p50", ("ttft_s", "tpot_s")),
            ("p99", ("queue_s",)),
        )
        for kind in kinds
    ]
    return ValueCard("Latency", found[0], tuple(each for each in found[1:] if math.isfinite(each.value)))


def answers_are_text(answer: Answer) -> bool:
    """Whether requests are answered with more than one token: else costs are of requests, not of tokens."""
    output = answer.fleet.traffic.output
    return answer.fleet.pools[answer.fleet.answering].generates and bool(len(output)) and int(output.max()) > 1


def _card(title: str, values: Sequence[Measured]) -> ValueCard:
    return ValueCard(title, values[0], tuple(values[1:]))


def _devices(answer: Answer) -> ValueCard:
    """How well devices are used; what is of the pool that answers says so."""
    several = len(answer.found.pools) > 1
    whose = f" of {answer.found.pools[answer.fleet.answering].name}" if several else ""
    names = ["mfu", "mbu", "running_mean", "waiting_mean", "kv_mean_fraction", "kv_peak_fraction"]
    if answer.found.outcome.values["prefix_hit_rate"] is not None:
        names.append("prefix_hit_rate")
    own = [value_of(answer, name, DEFINITIONS[name].title + whose) for name in names]
    return ValueCard("Devices", value_of(answer, "utilisation"), (*own, value_of(answer, "preemptions")))


def answer_in_words(answer: Answer, objectives: Sequence[Objective]) -> str:
    """Whether the fleet holds its objectives, and whether it keeps up with what arrives."""
    values = answer.found.outcome.values
    if not values["requests"]:
        return "No requests were asked for."
    if not values["completed"]:
        return "No request was answered: all are longer than the context or the cache of a replica, or none was there."
    return f"{_held(objectives) if objectives else _how_fast(answer)}{_overload(answer)}"


def _how_fast(answer: Answer) -> str:
    """What holds without objectives: how long requests wait."""
    kind = "ttft_s" if answer.found.outcome.latencies["ttft_s"].p99 is not None else "e2e_s"
    middle, last = (latency_of(answer, kind, field, "").value for field in ("p50", "p99"))
    what = "begin to be answered" if kind == "ttft_s" else "are answered"
    return (
        f"Half of the requests {what} within {quantity(middle, 's')}, 99 of 100 within {quantity(last, 's')}; "
        "an SLO would say whether that is good enough."
    )


def _held(objectives: Sequence[Objective]) -> str:
    missed = [each for each in objectives if not each.met]
    every = {1: "its objective", 2: "both objectives"}
    unsure = [each for each in objectives if verdict_of(each).endswith("not surely")]
    doubt = ""
    if unsure:
        doubt = f"; {'one' if len(unsure) == 1 else len(unsure)} of the verdicts is within the error of the prediction"
    count = len(objectives)
    if not missed:
        return f"It holds {every.get(count, f'all {count} objectives')}{doubt}."
    names = ", ".join(f"{e.title} p{100.0 * e.share:g}{f' of {e.whose}' if e.whose else ''}" for e in missed[:4])
    more = " and others" if len(missed) > 4 else ""
    many = f"{len(missed)} of {count} objectives"
    if len(missed) == count:
        many = every.get(count, f"all {count} objectives")
    return f"It misses {many}: {names}{more}{doubt}."


def _overload(answer: Answer) -> str:
    """What to say where requests arrive faster than they are answered."""
    arrival_s = answer.requests["arrival_s"]
    known = arrival_s[np.isfinite(arrival_s)]
    served = answer.found.outcome.values["requests_per_s"]
    waits = answer.fleet.traffic.after is not None or answer.fleet.traffic.concurrency
    if waits or len(known) < _FEW or served is None or np.ptp(known) <= 0.0:
        return ""
    arriving = (len(known) - 1) / float(np.ptp(known))
    if served >= _OVERLOADED * arriving:
        return ""
    return f" It is overloaded: {number(arriving)} requests arrive a second, {number(served)} are answered."


def notes_of(answer: Answer) -> tuple[str, ...]:
    """What the traffic says of itself, and what has no interval."""
    found = [f"Traffic: {note}" for note in answer.notes]
    if not answer.intervals and answer.found.outcome.values["completed"]:
        found.append("Intervals were not asked for.")
    elif answer.fleet.table.tenant and any(answer.fleet.slos.values()):
        found.append("The objectives of single tenants have no interval.")
    return tuple(found)
