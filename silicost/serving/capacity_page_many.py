"""From a search over designs, or over pools for prompts and for answers, to the page of the best with all others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from hardware_specs.devices import load_device
from reports.capacity import TOKENS, CapacityCard, Trials, Tried, Work
from reports.numbers import number
from reports.serving import Measured, ValueCard
from silicost import __version__
from silicost.serving.capacity_designs import Order, designed, find
from silicost.serving.capacity_loads import Seen, bounds_of, latencies_of, panels_of, with_costs
from silicost.serving.capacity_output import AT_HIGHEST, LOWER, VERDICTS, summarise
from silicost.serving.capacity_page import Shown, card_of, goals_of, several, shown_card, within
from silicost.serving.capacity_split import Sized, Split, words
from simulator.identity import laws_hash
from simulator.serving import capacity as search

if TYPE_CHECKING:
    import pandas as pd

    from silicost.serving.answer import Fleet

MOST_ROWS: Final = 200
"""Designs of a table; the folder has all."""


def card_of_designs(frame: pd.DataFrame, order: Order) -> CapacityCard:
    """The page of the best design, with all designs in a table.

    Args:
        frame: rows of the search, as its folder has them.
    """
    names = [name for axis in order.axes for name in axis.names]
    found = summarise(frame, names, order.rate_per_s is not None)
    rows = _ordered(frame.to_dict("records"), found.objectives[0])
    what = f"{len(frame):,} designs of {', '.join(names).replace('_', ' ')}"
    if not found.feasible:
        why = "; ".join(f"{count:,}: {found.details[code]}" for code, count in found.reasons.most_common(3))
        table = Trials("Designs", "Design", tuple(_row(row, names, order, [], TOKENS) for row in rows[:MOST_ROWS]),
                       left_out=max(len(rows) - MOST_ROWS, 0))  # fmt: skip
        return _bare("Capacity of designs", f"No design is feasible: {why}.", f"{what}.", (table,))
    best = {name: rows[0][name] for name in names}
    shown = card_of(find(designed(order.fleet, best), order.rate_per_s, True), order.rate_per_s)
    table = _designs(rows, names, order, shown)
    left = f"{found.feasible:,} of {what} can do it"
    objective = {"usd_per_hour": "the cheapest", "usd_per_million_output_tokens": "the one with the cheapest tokens",
                 "devices": "the one with the fewest devices"}.get(found.objectives[0], "the best")  # fmt: skip
    answer = f"{left}; {objective}: {_named(rows[0], names)}. {shown.answer}"
    return _with(shown, answer, (table, *shown.tables))


def _designs(rows: Sequence[Mapping[str, Any]], names: Sequence[str], order: Order, shown: CapacityCard) -> Trials:
    fleet = find_bounds(order, {name: rows[0][name] for name in names})
    kept = [
        (goal.name, column)
        for goal, (_, tenant, bound) in zip(shown.goals, bounds_of(fleet), strict=True)
        if not tenant and (column := f"{bound.kind}_s.p{100.0 * bound.share:g}") in rows[0]
    ]
    columns = [column for _, column in kept]
    made = [_row(row, names, order, columns, shown.work) for row in rows[:MOST_ROWS]]
    made[0] = made[0]._replace(chosen=True)
    return Trials(
        "Designs", "Design", tuple(made), tuple(goal for goal, _ in kept), max(len(rows) - MOST_ROWS, 0),
        "Highest rate",
    )  # fmt: skip


def find_bounds(order: Order, values: Mapping[str, Any]) -> Fleet:
    """A design that is ready: its bounds are those of all."""
    from silicost.serving.capacity_runs import ready

    return ready(designed(order.fleet, values), "flags")


def _ordered(rows: Sequence[Mapping[Any, Any]], objective: str) -> list[dict[str, Any]]:
    """Feasible rows first, the best by ``objective`` first; unknown values last."""
    sign = 1.0 if objective in LOWER else -1.0

    def key(row: Mapping[Any, Any]) -> tuple[bool, bool, float]:
        value = float(row[objective])
        return not row["feasible"], math.isnan(value), 0.0 if math.isnan(value) else sign * value

    return [{str(name): value for name, value in row.items()} for row in sorted(rows, key=key)]


def _named(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """A design in words: "h100-sxm-80gb, tp 2"."""
    plain = ("model", "device", "runtime", "system", "price", "scheduler", "router")
    return ", ".join(str(row[name]) if name in plain else f"{name.replace('_', ' ')} {row[name]}" for name in names)


def _row(
    row: Mapping[str, Any], names: Sequence[str], order: Order, latencies: Sequence[str], work: Work
) -> Tried:  # fmt: skip
    tokens = work == TOKENS
    usd, joules = AT_HIGHEST if tokens else ("usd_per_thousand_requests", "j_per_request")
    name = _named(row, names)
    replicas = float(row["replicas"])
    if order.rate_per_s is not None and math.isfinite(replicas):
        name += f": {several(int(replicas), 'replica')}"
    device = str(row.get("device", order.fleet.pool[0].device))
    return Tried(
        name, bool(row["feasible"]), "" if row["feasible"] else str(row[VERDICTS[3]]),
        load_device(device).device_class, replicas, float(row["devices"]), float(row["rate_per_s"]),
        tuple(float(row[column]) for column in latencies), float(row["usd_per_hour"]), float(row[usd]),
        float(row[joules]), float(row["utilisation"]),
    )  # fmt: skip


def card_of_split(found: Split) -> CapacityCard:
    """The page of the best fleet for a rate, prompts and answers apart or not, with all others in a table."""
    fleets = [*found.split, *found.whole]
    said = f"{found.said[:1].upper()}{found.said[1:]}."
    refused = tuple(Tried(" and ".join(each.pools.values()), False, each.why) for each in found.refused)
    if not fleets:
        table = Trials("Fleets", "Fleet", refused)
        return _bare("Prompts and answers apart", said, f"{number(found.rate_per_s)} requests a second.", (table,))
    best = found.split[0] if found.pays else (*found.whole, *found.split)[0]
    goals = goals_of(best.answer.fleet)
    shown = Shown(best.answer, best.latencies, found.rate_per_s, True, None)
    ordered = [best, *(each for each in fleets if each is not best)]
    rows = [_sized_row(each, found.rate_per_s, each is best) for each in ordered]
    table = Trials("Fleets", "Fleet", (*rows, *refused), tuple(goal.name for goal in goals))
    answer = f"{words(best)}: {found.rate_per_s:g} requests/s with {within(goals)}. {said}"
    notes = tuple(dict.fromkeys(note for each in fleets for note in each.notes))
    return shown_card(
        shown, answer, _takes(best, found.rate_per_s),
        panels_of(best.answer.fleet, found.rate_per_s, goals, None, None), (table,), notes,
    )  # fmt: skip


def _sized_row(each: Sized, rate_per_s: float, chosen: bool) -> Tried:
    run = each.answer
    seen = Seen(run.fleet, rate_per_s, (), search.judged(run.requests))
    row = Tried(
        words(each), True, devices=float(each.devices), rate_per_s=rate_per_s, latencies=latencies_of(seen),
        chosen=chosen,
    )  # fmt: skip
    return with_costs(row, run)


def _takes(best: Sized, rate_per_s: float) -> ValueCard:
    pools = tuple(
        Measured(f"replicas.{name}", f"Replicas{f' of {name}' if name else ''}", "count", float(count))
        for name, (_, count) in best.pools.items()
    )
    asked = Measured("asked_per_s", "To be served", "requests/s", rate_per_s)
    return ValueCard("What it takes", Measured("devices", "Devices", "count", float(best.devices)), (*pools, asked))


def _bare(title: str, answer: str, what: str, tables: tuple[Trials, ...]) -> CapacityCard:
    return CapacityCard(
        title, "", answer, what, tables=tables, laws_hash=laws_hash(), silicost_version=__version__
    )  # fmt: skip


def _with(card: CapacityCard, answer: str, tables: tuple[Trials, ...]) -> CapacityCard:
    return replace(card, answer=answer, tables=tables)
