"""``silicost require``: the least, or the largest, value of a number that holds metrics within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from reports.numbers import quantity
from silicost.commands import flags
from silicost.commands.asking import Points, Report, about_a_scenario, check_points
from silicost.output import Format, csv_text, print_json, print_table, write_out
from silicost.whatif_words import what_is_required

if TYPE_CHECKING:
    from silicost.questions import Asked, Span
    from simulator.decisions.inverse import Answer, Bound, Seen
    from simulator.decisions.sensitivity import Sensitivity
    from simulator.scenario import Scenario

WIDEST: Final = 1000.0
"""A knob is sought between a so-many-th of what it is and so many times that."""
MOST_LEVERS: Final = 6
"""Other knobs that are named beside an answer."""
LEAST: Final = 5e-3
"""Knobs of a smaller elasticity are not."""


@about_a_scenario
def require(
    asked: Asked,
    hold: Annotated[
        list[str],
        typer.Option("--hold", help="Bound to hold: 'tpot_s <= 30 ms'; may be repeated.", metavar="METRIC<=VALUE"),
    ],
    knob: Annotated[
        str, typer.Option("--knob", help="The number that is sought: device.memory.bandwidth.", metavar="PATH")
    ],
    range: Annotated[
        str,
        typer.Option(
            "--range", help="Where it is sought; default a thousandth to a thousand times.", metavar="LOW:HIGH"
        ),
    ] = "",
    points: Points = 65,
    report: Report = "",
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Least (or largest) value of a knob that holds metrics under bounds, and what binds them."""
    from hardware_specs.errors import DoesNotFit, InputError
    from silicost.questions import base_of
    from simulator.decisions.inverse import parse_bound

    check_points(points)
    base = base_of(asked)
    bounds = tuple(parse_bound(text, "--hold") for text in hold)
    for bound in bounds:
        if bound.metric not in base.metrics:
            raise InputError(f"--hold {bound.metric}: {base.title} has none (it has {', '.join(base.metrics)})")
    span = span_for(asked.scenario, knob, range)
    seen: dict[float, Seen] = {}
    found = answered(asked.scenario, bounds, span, points, seen)
    levers = levers_of(asked.scenario, bounds, span, found)
    whole = report_of(asked.name, bounds, span, found, seen, levers)
    if report:
        from silicost.whatif_pages import write_requirement

        write_requirement(report, asked.name, bounds, span, found, seen)
    if format is Format.JSON:
        print_json(whole)
    elif format is Format.CSV:
        write_out(csv_text(lines_of(whole)))
    else:
        _print_tables(asked.name, bounds, span, found, seen, levers)
    if found.kind == "nowhere":
        raise DoesNotFit(what_is_required(bounds, span, found))


def span_for(scenario: Scenario, path: str, text: str) -> Span:
    """Where a knob is sought: as ``text`` says, else as far as its range and ``WIDEST`` allow.

    Raises:
        InputError: an unknown knob, or a range that does not go up.
    """
    import math

    from hardware_specs.errors import InputError
    from silicost.questions import Span, span_of
    from simulator.decisions.knobs import knob_of

    if text:
        return span_of(f"{path}={text}", {"": scenario}, "--range")
    knob = knob_of(scenario, path, "--knob")
    if math.isnan(knob.value):
        raise InputError(f"--knob {path}: {knob.origin}; say with --range where it is sought")
    low, high = max(knob.value / WIDEST, knob.low), min(knob.value * WIDEST, knob.high)
    if knob.step:
        low, high = knob.step * max(1.0, low // knob.step), knob.step * (high // knob.step)
    return Span("", knob, low, high)


def answered(scenario: Scenario, bounds: Sequence[Bound], span: Span, points: int, seen: dict[float, Seen]) -> Answer:
    """The answer; ``seen`` is filled with what was asked on the way."""
    from hardware_specs.errors import InputError
    from simulator.decisions.inverse import Seen, solve
    from simulator.decisions.knobs import result_at

    def ask(x: float) -> Seen:
        try:
            result = result_at(scenario, [(span.knob, x)])
        except InputError as error:
            seen[x] = Seen((None,) * len(bounds), False, str(error))
        else:
            seen[x] = Seen(tuple(result.metrics.get(bound.metric) for bound in bounds), result.fits)
        return seen[x]

    return solve(ask, bounds, span.low, span.high, span.knob.step, points)


def levers_of(scenario: Scenario, bounds: Sequence[Bound], span: Span, found: Answer) -> list[Sensitivity]:
    """Other knobs that move the bound that binds, at the answer or what comes closest to one; the strongest first."""
    from simulator.decisions.knobs import knobs_of, scenario_at
    from simulator.decisions.sensitivity import elasticities, largest, ranked

    metric = _metric(bounds, found)
    if not metric or span.knob.path.startswith("device.parameters."):
        return []
    there = scenario_at(scenario, [(span.knob, found.nearest)])
    others = [knob for knob in knobs_of(there) if knob.path != span.knob.path]
    order = ranked(elasticities(there, (metric,), others), metric)
    return [each for each in order if largest(each.slopes[metric]) > LEAST]


def _metric(bounds: Sequence[Bound], found: Answer) -> str:
    """The metric that binds; "" where it is none."""
    from simulator.decisions.inverse import NO_MEMORY
    from simulator.decisions.sensitivity import MEMORY_SHARE

    if found.binding == NO_MEMORY:
        return MEMORY_SHARE
    return found.binding if found.binding in {bound.metric for bound in bounds} else ""


def report_of(
    name: str, bounds: Sequence[Bound], span: Span, found: Answer, seen: dict[float, Seen],
    levers: Sequence[Sensitivity],
) -> dict[str, Any]:  # fmt: skip
    """The answer as plain data, SI units."""
    knob, at = span.knob, seen[found.nearest]
    return {
        "schema": 1, "scenario": name, "knob": knob.path, "dimension": knob.dimension,
        "now": knob.value, "low": span.low, "high": span.high,
        "bounds": [bound._asdict() for bound in bounds], "kind": found.kind, "value": found.value,
        "set": None if found.value is None else f"{knob.path}={knob.written(found.value, 6)}",
        "nearest": found.nearest, "metrics": dict(zip((b.metric for b in bounds), at.values, strict=True)),
        "binding": found.binding, "verdict": what_is_required(bounds, span, found),
        "stretches": [stretch._asdict() for stretch in found.stretches], "exact": found.exact,
        "reversals": [reversal._asdict() for reversal in found.reversals],
        "levers": [
            {"path": each.knob.path, "value": each.knob.value, "dimension": each.knob.dimension,
             **each.slopes[_metric(bounds, found)]._asdict()}
            for each in levers
        ],
    }  # fmt: skip


def lines_of(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """A report as lines of CSV: one for each stretch of the knob."""
    known = {name: whole[name] for name in ("knob", "kind", "value", "binding")}
    return [{**known, **stretch, "exact": whole["exact"]} for stretch in whole["stretches"]]


def _print_tables(
    name: str, bounds: Sequence[Bound], span: Span, found: Answer, seen: dict[float, Seen],
    levers: Sequence[Sensitivity],
) -> None:  # fmt: skip
    from simulator.metrics import BY_NAME

    knob = span.knob
    if found.kind != "nowhere":
        write_out(f"{name}: {what_is_required(bounds, span, found)}\n\n")
    rows = []
    for stretch in found.stretches:
        row = {"from": knob.written(stretch.low, 6), "to": knob.written(stretch.high, 6)}
        for place, bound in enumerate(bounds):
            ends = (seen[end].values[place] for end in (stretch.low, stretch.high))
            row[bound.metric] = " to ".join(
                "-" if value is None else quantity(value, BY_NAME[bound.metric].dimension) for value in ends
            )
        rows.append(row | {"bounds": _state(stretch.state)})
    print_table(rows, f"{knob.path}")
    missed = "" if found.exact else "; a stretch between two points may be missed (--points)"
    for each in found.reversals:
        between = f"between {knob.written(each.low)} and {knob.written(each.high)}"
        write_out(f"{each.metric} is not monotone: it turns back {between}{missed}\n")
    if levers:
        write_out("\n")
        metric = _metric(bounds, found)
        lines = [_lever(each, metric) for each in levers[:MOST_LEVERS]]
        print_table(lines, f"what else moves {metric} at {knob.written(found.nearest)}: percent for one percent")


def _lever(each: Sensitivity, metric: str) -> dict[str, str]:
    from silicost.commands.sensitivity import written

    return {"knob": each.knob.path, "now": each.knob.written(each.knob.value), metric: written(each, metric)}


def _state(state: str) -> str:
    words = {"holds": "hold", "memory": "does not fit the memory", "refused": "cannot be asked"}
    return words.get(state, f"{state} fails")
